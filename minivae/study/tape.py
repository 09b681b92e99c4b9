"""Playing a recording again: from its leaves forward, with any value changed.

A `Tape` needs the recording alone, one that was read from a file too; the ops are those
of `Op.registry`, by name. As recorded, it gives the same loss, bit for bit. In double,
it is where a recording is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minivae import tensor
from minivae.backend import Array
from minivae.errors import UserError
from minivae.study.recording import Leaf, Node, Recording, Ref, Value
from minivae.tensor import Op, Tensor

Place: TypeAlias = tuple[str, int]
"""A value: the id of a leaf or node, and which of its outputs."""
Change: TypeAlias = "Array | float | Mapping[tuple[int, ...], float]"
"""A whole new value, or new numbers for single elements, by index."""


@dataclass(frozen=True)
class Step:
    """One op to apply."""

    id: str
    op: Op[Any]
    inputs: tuple[Ref, ...]
    params: dict[str, Any]

    @property
    def outputs(self) -> int:
        """How many values it makes."""
        return 1 if self.op.outputs is None else len(self.op.outputs._fields)


class Run(NamedTuple):
    """All values of a replay, by place, and what fused ops saved, by id."""

    values: dict[Place, Any]
    saved: dict[str, Any]


class Graph(NamedTuple):
    """The engine's leaves and nodes of a run, by id."""

    leaves: dict[str, Tensor]
    nodes: dict[str, tensor.Node]


class Tape:
    """A recording that can be run. `double` computes in float64 whatever it was in."""

    def __init__(self, recording: Recording, *, double: bool = False) -> None:
        self.recording, self.double = recording, double
        self.given: dict[Place, Any] = {}
        self.steps: list[Step] = []
        self._aliases: dict[Place, Place] = {}
        self._after: dict[str, list[Step]] = {}
        for leaf in recording.leaves:
            self._give(leaf)
        for node in recording.nodes:
            self._add(node)
        self.root = self._place(recording.loss)

    def _give(self, leaf: Leaf) -> None:
        value = leaf.value
        if self.double and isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value = value.astype(np.float64)
        self.given[leaf.id, 0] = value

    def _add(self, node: Node) -> None:
        if not node.folded:
            op = Op.registry.get(node.op)
            if op is None:
                raise UserError(
                    f"no op is called {node.op!r} here: import the module that "
                    f"declares it, and replay {node.name} then"
                )
            inputs = tuple(self._resolved(ref) for ref in node.inputs)
            self.steps.append(Step(node.id, op, inputs, node.params))
            return
        for leaf in node.constants:
            self._give(leaf)
        for step in node.steps:
            self._add(step)
        for output, ref in enumerate(node.makes):
            self._aliases[node.id, output] = self._place(ref)

    def _resolved(self, ref: Ref) -> Ref:
        id, output = self._place(ref)
        return Ref(id, output, ref.shape)

    def _place(self, ref: Ref) -> Place:
        return self._aliases.get((ref.id, ref.output), (ref.id, ref.output))

    @cached_property
    def places(self) -> dict[str, Place]:
        """Every value by the name that a reader knows."""
        recording = self.recording
        refs = [Ref(leaf.id) for leaf in recording.leaves]
        for node in recording.nodes:
            refs += [Ref(node.id, i) for i in range(len(node.outputs))]
        return {recording.label(ref): self._place(ref) for ref in refs}

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of all steps, those inside of folded nodes too, by id."""
        found: dict[str, str] = {}
        waiting = list(self.recording.nodes)
        while waiting:
            node = waiting.pop()
            found[node.id] = node.name
            waiting += node.steps if node.folded else ()
        return found

    def visible_id(self, place: Place) -> str:
        """Return the id of the leaf or node, folded or not, that shows a value."""
        shown = {inside: outside for outside, inside in self._aliases.items()}
        return shown.get(place, place)[0]

    @cached_property
    def _followers(self) -> dict[str, int]:
        """For each leaf and node, the steps that depend on it, as bits of a number."""
        reached: dict[str, int] = {}
        for number in range(len(self.steps) - 1, -1, -1):
            step = self.steps[number]
            mine = reached.get(step.id, 0) | 1 << number
            for ref in step.inputs:
                reached[ref.id] = reached.get(ref.id, 0) | mine
        return reached

    def after(self, id: str) -> list[Step]:
        """Return the steps that depend on a leaf or node, in order."""
        if id not in self._after:
            bits = self._followers.get(id, 0)
            self._after[id] = [s for i, s in enumerate(self.steps) if bits >> i & 1]
        return self._after[id]

    @np.errstate(all="ignore")
    def run(self, changes: Mapping[str, Change] | None = None) -> Run:
        """Apply every op in order; a changed value stays, whatever its op makes."""
        values, saved = dict(self.given), dict[str, Any]()
        fixed = self._fixed(changes or {})
        values.update((p, v) for p, v in fixed.items() if p in self.given)
        for step in self.steps:
            made, saved[step.id] = self.apply(step, values)
            values.update(made)
            for output in range(len(made)):
                if (step.id, output) in fixed:
                    values[step.id, output] = fixed[step.id, output]
        return Run(values, saved)

    def values(self, changes: Mapping[str, Change] | None = None) -> dict[str, Value]:
        """Return every value by name, after some changes."""
        values = self.run(changes).values
        return {name: values[place] for name, place in self.places.items()}

    def loss(self, changes: Mapping[str, Change] | None = None) -> float:
        """Return the loss, after some changes."""
        return float(self.run(changes).values[self.root])

    @np.errstate(all="ignore")
    def moved(self, run: Run, place: Place, value: Any) -> float:
        """Return the loss of `run` with one value replaced, what follows it redone."""
        values = _Overlay(run.values)
        values[place] = value
        for step in self.after(place[0]):
            values.update(self.apply(step, values)[0])
        return float(values[self.root])

    def apply(
        self, step: Step, values: Mapping[Place, Any]
    ) -> tuple[dict[Place, Any], Any]:
        """Run one op on what is there: its outputs by place, and what it saved."""
        op, inputs = step.op, [self.input(ref, values) for ref in step.inputs]
        if op.forward_with_saves:
            out, saved = op.forward_with_saves(*inputs, **step.params)
        else:
            out, saved = op.forward(*inputs, **step.params), None
        several = out if op.outputs is not None else (out,)
        return {(step.id, i): value for i, value in enumerate(several)}, saved

    def graph(self, run: Run) -> Graph:
        """Return the tape that the engine would have made of a run."""
        leaves: dict[str, Tensor] = {}
        for leaf in self.recording.leaves:
            if leaf.kind == "parameter":
                value = run.values[leaf.id, 0]
                leaves[leaf.id] = Tensor(value, requires_grad=True, name=leaf.name)
        nodes: dict[str, tensor.Node] = {}
        for step in self.steps:
            edges: list[Any] = []
            for ref in step.inputs:
                source = nodes.get(ref.id) or leaves.get(ref.id)
                edges.append((source, ref.output) if source is not None else None)
            for name in step.op.constant:
                edges[step.op.inputs.index(name)] = None
            inputs = [self.input(ref, run.values) for ref in step.inputs]
            out = [run.values[step.id, i] for i in range(step.outputs)]
            nodes[step.id] = tensor.Node(
                step.op,
                inputs,
                step.params,
                out[0] if step.op.outputs is None else step.op.outputs(*out),
                run.saved[step.id],
                edges,
            )
        return Graph(leaves, nodes)

    @staticmethod
    def input(ref: Ref, values: Mapping[Place, Any]) -> Any:
        """Return what a reference points to, in the shape in which it is used."""
        value = values[ref.id, ref.output]
        if ref.shape is None:
            return value
        if value.size == np.prod(ref.shape):
            return value.reshape(ref.shape)
        return np.resize(value, ref.shape)

    def _fixed(self, changes: Mapping[str, Change]) -> dict[Place, Any]:
        """Return the values that changes ask for; refuse what does not fit."""
        fixed = {}
        for name, change in changes.items():
            item = self.recording.by_name.get(name)
            if name not in self.places:
                raise UserError(f"nothing is called {name!r} in this recording")
            if isinstance(item, Leaf) and not item.traced:
                raise UserError(
                    f"{name} cannot be changed: the model uses it outside the tape, "
                    "so a replay would not follow; record again with another one"
                )
            place = self.places[name]
            fixed[place] = _changed(name, self._recorded(name), change)
        return fixed

    def _recorded(self, name: str) -> Any:
        place = self.places[name]
        if place in self.given:
            return self.given[place]
        item = self.recording.by_name.get(name)
        if item is None:  # one of several outputs
            item = self.recording.by_id[place[0]]
        value = item.value if isinstance(item, Leaf) else item.outputs[place[1]].value
        return np.asarray(value, np.float64) if self.double else value


class _Overlay(dict[Place, Any]):
    """A few values over those of a run."""

    def __init__(self, below: Mapping[Place, Any]) -> None:
        self.below = below

    def __missing__(self, place: Place) -> Any:
        return self.below[place]


def _changed(name: str, value: Any, change: Change) -> Any:
    """Return a value with a change made; the dtype stays, and so must the shape."""
    if not isinstance(value, np.ndarray):
        if not isinstance(change, (int, float)):
            raise UserError(f"{name} is a number, and is changed to a number")
        return change
    if isinstance(change, Mapping):
        new = value.copy()
        for index, number in change.items():
            try:
                new[index] = number
            except IndexError as error:
                raise UserError(f"{name} has no element {index}: {error}") from error
        return new
    new = np.asarray(change, value.dtype)
    if new.shape != value.shape:
        raise UserError(f"{name} is {value.shape}, and the change {new.shape}")
    return new
