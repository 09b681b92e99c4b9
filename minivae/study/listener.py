"""Hearing of every op as it is applied, and calling it by a name a reader knows."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from minivae_kernels.family import heard

from minivae import nn, tensor
from minivae.backend import Array, is_array, to_numpy
from minivae.models import LossTerms
from minivae.study.recording import Source
from minivae.tensor import Node, Tensor

PACKAGE = Path(tensor.__file__).parent
ENGINE = (tensor.__file__, str(PACKAGE / "ops"))
CUSTOMARY = {"reparameterize": "z"}  # what the field calls an op's result


class Listener:
    """What was heard: nodes in order, and of each its name, module, line and rungs.

    `arrays` are known by name, so that an op that uses one can say so.
    """

    def __init__(self, model: Any, arrays: Mapping[str, Array]) -> None:
        self.paths: dict[int, str] = {}
        self.parameters: dict[int, str] = {}
        if isinstance(model, nn.Module):
            self.paths = {id(module): name for name, module in model.named_modules()}
            self.parameters = {id(p): n for n, p in model.named_parameters().items()}
        self.arrays = arrays
        self.nodes: list[Node] = []
        self.names: dict[Node, str] = {}
        self.modules: dict[Node, str] = {}
        self.sources: dict[Node, Source] = {}
        self.rungs: dict[Node, tuple[str, ...]] = {}
        self.numbers: dict[tuple[Node, int], str] = {}
        self._calls: list[tuple[str, str]] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear of what this thread does within the context."""
        before, tensor.mode.observer = tensor.mode.observer, self.hear
        try:
            with heard() as self._calls:
                yield
        finally:
            tensor.mode.observer = before

    def hear(self, node: Node) -> None:
        """Note the node, the module whose code made it, its line and its kernels."""
        module = self.paths.get(id(nn.active[-1]), "") if nn.active else ""
        self.nodes.append(node)
        name = module or CUSTOMARY.get(node.op.name, node.op.name)
        self.names[node] = fresh(name, set(self.names.values()))
        self.modules[node], self.sources[node] = module, _source()
        self.rungs[node] = rungs_of(self._calls)
        self._calls.clear()

    def name_terms(self, terms: LossTerms) -> None:
        """Call the nodes of the loss by their names in the loss."""
        for edge in terms.loss.node.edges if terms.loss.node else []:
            if edge and isinstance(edge[0], Node) and edge[0].op.name == "mul":
                self.rename(edge[0], "beta_kl")
                if not is_array(edge[0].inputs[0]):
                    self.numbers[edge[0], 0] = "beta"
        for name, term in (
            ("loss", terms.loss),
            ("recon", terms.recon),
            ("kl", terms.kl),
        ):
            if term is not None and term.node is not None:
                self.rename(term.node, name)

    def rename(self, node: Node, name: str) -> None:
        """Give a node another name."""
        del self.names[node]
        self.names[node] = fresh(name, set(self.names.values()))

    def name_of(self, node: Node, position: int) -> str:
        """Return the name of a node's input: node, parameter, known array or number."""
        edge, value = node.edges[position], node.inputs[position]
        if edge is not None:
            return self.source_name(edge)
        if not hasattr(value, "shape"):
            return f"{value:g}"
        return self.known_array(value) or "constant"

    def known_array(self, value: Array) -> str | None:
        """Return the name of a known array of which `value` is a view or a repeat."""
        value = to_numpy(value)
        for name, given in self.arrays.items():
            array = to_numpy(given)
            if not array.size or value.size % array.size:
                continue
            its_own = value.size == array.size and np.may_share_memory(array, value)
            # Two arrays of one constant may be equal by chance
            if (its_own or np.ptp(array) > 0) and np.array_equal(
                np.resize(array, value.shape), value, equal_nan=its_own
            ):
                return name
        return None

    def source_name(self, edge: tensor.Edge) -> str:
        """Return the name of what an edge points to."""
        source, output = edge
        if isinstance(source, Tensor):
            return self.leaf_name(source)
        if source.op.outputs is None:
            return self.names[source]
        return f"{self.names[source]}.{source.op.outputs._fields[output]}"

    def leaf_name(self, leaf: Tensor) -> str:
        """Return a parameter's name in the model, or its own."""
        return self.parameters.get(id(leaf)) or leaf.name or "leaf"


def fresh(name: str, taken: set[str]) -> str:
    """Return `name`, or the first of name#2, name#3, ... that is not taken."""
    if name not in taken:
        return name
    numbered = (f"{name}#{i}" for i in range(2, len(taken) + 3))
    return next(n for n in numbered if n not in taken)


def rungs_of(calls: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return kernel calls as "family/rung", each once; those that draw noise not."""
    shown = (f"{family}/{rung}" for family, rung in calls if "philox" not in family)
    return tuple(dict.fromkeys(shown))


def _source() -> Source:
    """Return the line of code, outside the engine, that applied the newest op."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(ENGINE):
        frame = frame.f_back
    if frame is None:
        return Source()
    path, line = frame.f_code.co_filename, frame.f_lineno
    return Source(relative(path), line, linecache.getline(path, line).strip())


def relative(path: str) -> str:
    """Return a file's path from the folder of our package, or else its bare name."""
    file = Path(path)
    inside = file.is_relative_to(PACKAGE)
    return (file.relative_to(PACKAGE.parent) if inside else Path(file.name)).as_posix()
