"""The recorder: run one training step and keep everything that happens.

It runs the step that training runs: the same forward pass, the same `backward_steps`,
the same optimizer. It only listens.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from minivae import nn, tensor
from minivae.backend import Array, to_numpy
from minivae.models import Autoencoder, LossTerms
from minivae.optim import Optimizer
from minivae.study.recording import (
    Backward,
    Forward,
    Recording,
    Terms,
    Update,
    Value,
)
from minivae.tensor import Contribution, Node, Tensor, Unbroadcast, no_grad

PACKAGE = Path(tensor.__file__).parent
ENGINE = (tensor.__file__, str(PACKAGE / "ops"))
CUSTOMARY = {"reparameterize": "z"}  # what the field calls an op's result


def record(
    model: Autoencoder, batch: Array, noise: Array, optimizer: Optimizer
) -> Recording:
    """Train `model` for one step on `batch` and return all of it.

    `noise` is what the loss takes, given so that the step can be repeated: ε (N, Z),
    or what a denoising autoencoder's images are spoilt with. The model is left with
    its new parameters.
    """
    inputs = model.step_inputs(batch, noise)
    listener = Listener(model, inputs)
    tensor.mode.observer = listener.hear
    try:
        terms = model.loss_terms(batch, noise)
    finally:
        tensor.mode.observer = None
    listener.name_terms(terms)
    optimizer.zero_grad()
    backward = _backward(terms.loss, listener)
    before = model.state()
    optimizer.step()
    updates = [
        Update(name, before[name], to_numpy(p.grad).copy(), p.numpy().copy())
        for name, p in model.named_parameters().items()
        if p.grad is not None
    ]
    predicted = sum(
        float((u.gradient * (u.new_value - u.value)).sum()) for u in updates
    )
    with no_grad():
        after = model.loss_terms(batch, noise).loss.item()
    return Recording(
        title=_title(model, batch),
        inputs=[Value(name, array) for name, array in inputs.items()],
        forward=listener.forward(),
        terms=_terms_by_image(model, before, batch, noise),
        backward=backward,
        optimizer=f"{type(optimizer).__name__}, learning rate {optimizer.lr:g}",
        updates=updates,
        loss=terms.loss.item(),
        loss_predicted=terms.loss.item() + predicted,
        loss_after=after,
    )


class Listener:
    """Hears of every node as it is made, and gives it a name a reader knows."""

    def __init__(self, model: Autoencoder, arrays: dict[str, Array]) -> None:
        self.paths = {id(module): name for name, module in model.named_modules()}
        self.arrays = arrays
        self.nodes: list[Node] = []
        self.names: dict[Node, str] = {}
        self.heard: dict[Node, tuple[str, str]] = {}

    def hear(self, node: Node) -> None:
        """Note the node, the module whose code made it, and the line of source."""
        module = self.paths.get(id(nn.active[-1]), "") if nn.active else ""
        self.nodes.append(node)
        self.names[node] = self._fresh(
            module or CUSTOMARY.get(node.op.name, node.op.name)
        )
        self.heard[node] = module, _source()

    def _fresh(self, name: str) -> str:
        taken = set(self.names.values())
        if name not in taken:
            return name
        return next(
            n for i in range(2, len(taken) + 3) if (n := f"{name}#{i}") not in taken
        )

    def name_terms(self, terms: LossTerms) -> None:
        """Call the nodes of the loss by their names in the loss."""
        for edge in terms.loss.node.edges if terms.loss.node else []:
            if (
                edge is not None
                and isinstance(edge[0], Node)
                and edge[0].op.name == "mul"
            ):
                self.names[edge[0]] = "beta_kl"
        for name, term in (
            ("loss", terms.loss),
            ("recon", terms.recon),
            ("kl", terms.kl),
        ):
            if term is not None and term.node is not None:
                self.names[term.node] = name

    def name_of(self, node: Node, position: int) -> str:
        """Return the name of a node's input: node, parameter, known array or number."""
        edge, value = node.edges[position], node.inputs[position]
        if edge is None:
            if not hasattr(value, "shape"):
                return f"{value:g}"
            same = (n for n, a in self.arrays.items() if _is_made_of(value, a))
            return next(same, "constant")
        return self.source_name(edge)

    def source_name(self, edge: tensor.Edge) -> str:
        """Return the name of what an edge points to."""
        source, output = edge
        if isinstance(source, Tensor):
            return source.name or "leaf"
        if source.op.outputs is None:
            return self.names[source]
        return f"{self.names[source]}.{source.op.outputs._fields[output]}"

    def forward(self) -> list[Forward]:
        """Return all nodes in the order in which they were made."""
        return [
            Forward(
                self.names[node],
                node.op.name,
                node.op.formula,
                *self.heard[node],
                [self.name_of(node, i) for i in range(len(node.inputs))],
                node.params,
                self._outputs(node),
            )
            for node in self.nodes
        ]

    def _outputs(self, node: Node) -> list[Value]:
        name = self.names[node]
        if node.op.outputs is None:
            return [Value(name, to_numpy(node.out))]
        fields = zip(node.op.outputs._fields, node.out, strict=True)
        return [Value(f"{name}.{field}", to_numpy(array)) for field, array in fields]


def _is_made_of(value: Array, array: Array) -> bool:
    """Whether `value` is `array`, reshaped, or a copy of it."""
    if np.shares_memory(value, array):
        return True
    flat = to_numpy(value).reshape(-1), to_numpy(array).reshape(-1)
    return np.array_equal(*flat, equal_nan=True)


def _backward(loss: Tensor, listener: Listener) -> list[Backward]:
    """Play the tape backward; what the engine yields, with running totals."""
    found: list[Backward] = []
    counts: dict[str, tuple[int, Any]] = {}
    events = list(tensor.backward_steps(loss))
    for i, event in enumerate(events):
        if not isinstance(event, Contribution):
            continue
        node, position = event.node, event.position
        axes: tuple[int, ...] = ()
        gradient = event.raw
        if isinstance(following := events[i + 1], Unbroadcast):
            axes, gradient = following.axes, following.gradient
        edge = node.edges[position]
        assert edge is not None
        receiver = listener.source_name(edge)
        count, total = counts.get(receiver, (0, None))
        total = gradient if total is None else total + gradient
        counts[receiver] = count + 1, total
        found.append(
            Backward(
                listener.names[node],
                receiver,
                position,
                node.op.rule_of(position).formula,
                event.upstream,
                event.raw,
                axes,
                gradient,
                count + 1,
                total,
            )
        )
    return found


def _terms_by_image(
    model: Autoencoder, weights: dict[str, Array], batch: Array, noise: Array
) -> Terms:
    """Return recon by image and KL by latent, under the weights before the update."""
    after = model.state()
    model.load_state(weights)
    with no_grad():
        recon = model.loss_terms(batch, noise, reduction="none").recon.numpy()
        q = model.encode(batch)
    model.load_state(after)
    has_kl = not isinstance(q, Tensor)
    kl = q.kl_per_latent().numpy() if has_kl else np.zeros((len(batch), 0))
    return Terms(recon, kl, model.beta)


def _title(model: Autoencoder, batch: Array) -> str:
    weight = f", beta {model.beta:g}" if model.has_kl else ""
    return (
        f"{type(model).__name__} {model.sizes}, {model.likelihood.name}{weight}, "
        f"batch {len(batch)}, {batch.dtype}"
    )


def _source() -> str:
    """Return file:line of the code, outside the engine, that applied the newest op."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(ENGINE):
        frame = frame.f_back
    if frame is None:
        return ""
    path = Path(frame.f_code.co_filename)
    inside = path.is_relative_to(PACKAGE)
    shown = path.relative_to(PACKAGE.parent) if inside else Path(path.name)
    return f"{shown.as_posix()}:{frame.f_lineno}"
