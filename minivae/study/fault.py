"""Where a step goes wrong: the first number in it that is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae import tensor
from minivae.backend import Array, xp_of
from minivae.distributions import NoiseLike
from minivae.models import Autoencoder
from minivae.random import Noise
from minivae.study.listener import Listener
from minivae.tensor import Contribution, Delivery, Node, Tensor


def first_fault(
    model: Autoencoder,
    batch: Array,
    noise: NoiseLike | None,
    *,
    warmth: float = 1.0,
    dropout: Noise | None = None,
) -> str | None:
    """Replay a step without its update; say which result is the first not finite.

    Forward that is an op (its name, call, formula, module or line of source), backward
    a rule. Returns None if all are finite. `noise` and `dropout` stand where they
    stood before the step. The gradients left behind are those of the replay.
    """
    for parameter in model.parameters():
        parameter.grad = None
    listener = Listener(model, {"x": batch})
    with listener.listening(), np.errstate(all="ignore"):
        terms = model.loss_terms(batch, noise, warmth=warmth, dropout=dropout)
    listener.name_terms(terms)
    with np.errstate(all="ignore"):
        for node in listener.nodes:
            if not _finite(node.out):
                return _op(listener, node)
        return _rule(listener, terms.loss)


def _op(listener: Listener, node: Node) -> str:
    """Describe an op whose result is the first that is not finite."""
    inputs = [listener.name_of(node, i) for i in range(len(node.inputs))]
    name, module = listener.names[node], listener.modules[node]
    text = f"{name} = {node.op.name}({', '.join(inputs)}), {node.op.formula}"
    if name != module:  # not named after it
        text += f", in {module or listener.sources[node]}"
    given = zip(inputs, node.inputs, strict=True)
    if bad := [label for label, value in given if not _finite(value)]:
        text += f", of which {' and '.join(bad)} was not finite before"
    return text


def _rule(listener: Listener, loss: Tensor) -> str | None:
    """Describe the rule, or the sum of what rules sent, that is first not finite."""
    for event in tensor.backward_steps(loss):
        if isinstance(event, Delivery):
            if not _finite(event.gradient):
                return f"the sum of what reaches {event.leaf.name}"
            continue
        sender, edge = listener.names[event.node], event.node.edges[event.position]
        if isinstance(event, Contribution):
            if not _finite(event.upstream):
                return f"the sum of what reaches {sender}"
            gradient = event.raw
        else:
            gradient = event.gradient
        if not _finite(gradient):
            assert edge is not None
            formula = event.node.op.rule_of(event.position).formula
            return f"the rule of {sender} for {listener.source_name(edge)}, {formula}"
    return None


def _finite(value: Any) -> bool:
    if isinstance(value, tuple):  # of an op with several outputs
        return all(map(_finite, value))
    return bool(xp_of(value).isfinite(value).all())
