"""From the engine's nodes to plain ones: every array copied once, every edge a name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from minivae_kernels.family import heard

from minivae import tensor
from minivae.backend import Array, is_array, to_numpy
from minivae.errors import UserError
from minivae.study.listener import Listener, fresh, relative, rungs_of
from minivae.study.recording import (
    Event,
    Leaf,
    Node,
    Output,
    Ref,
    Rule,
    Source,
    Value,
)
from minivae.tensor import Contribution, Delivery, Edge, Op, Tensor, Unbroadcast

Engine = tensor.Node


class Copies:
    """Copies of arrays, one of each: what is shared stays shared, nothing changes."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Any, Array]] = {}

    def of(self, value: Any) -> Value:
        """Return a read-only NumPy copy of an array; numbers as they are."""
        if not is_array(value):
            if isinstance(value, (bool, np.bool_)):
                return np.array(value)
            return value.item() if isinstance(value, np.number) else value
        if id(value) not in self._kept:
            copy = np.array(to_numpy(value), order="C")
            copy.setflags(write=False)
            self._kept[id(value)] = value, copy  # the original too: ids are not reused
        return self._kept[id(value)][1]

    def of_all(self, values: Any, op: Op[Any]) -> tuple[Value, ...]:
        """Return copies of an op's outputs or their adjoints, one or several."""
        several = values if op.outputs is not None else (values,)
        return tuple(self.of(value) for value in several)


class Backward(NamedTuple):
    """The events, the kernels that rules ran by node, and why it ended early, if so."""

    events: list[Event]
    rungs: dict[str, tuple[str, ...]]
    stopped: str


class Transcript:
    """The leaves and nodes of a graph, as they are met.

    `prefix` begins the ids, `known` says to what an array belongs that came from
    outside. Names are the listener's; `kinds` says which of its arrays are noise.
    """

    def __init__(
        self,
        listener: Listener,
        copies: Copies,
        *,
        prefix: str = "",
        kinds: dict[str, str] | None = None,
        outside: Iterable[tuple[Any, Ref]] = (),
    ) -> None:
        self.listener, self.copies = listener, copies
        self.prefix, self.kinds = prefix, kinds or {}
        self.ids = {n: f"{prefix}n{i}" for i, n in enumerate(listener.nodes)}
        if prefix:
            self.ids = {n: f"{prefix}{i}" for i, n in enumerate(listener.nodes)}
        self.outside = list(outside)  # pairs: the arrays stay alive, so that ids hold
        self.leaves: list[Leaf] = []
        self.refs: dict[Any, Ref] = {id(key): ref for key, ref in self.outside}
        self.alive: list[Any] = []
        self.taken = set(listener.names.values())

    def nodes(self, *, opened: bool = True) -> list[Node]:
        """Return the nodes that were heard; `opened`, the fused ones with steps."""
        return [self._node(node, opened) for node in self.listener.nodes]

    def _node(self, node: Engine, opened: bool) -> Node:
        heard, op = self.listener, node.op
        inputs = tuple(self._input(node, i) for i in range(len(node.inputs)))
        name = heard.names[node]
        fields = op.outputs._fields if op.outputs is not None else (name,)
        outputs = self.copies.of_all(node.out, op)
        steps: list[Node] = []
        constants: list[Leaf] = []
        if opened and op.unfused is not None:
            steps, constants = open_steps(node, self.ids[node], inputs, self.copies)
        return Node(
            id=self.ids[node],
            name=name,
            group="",
            module=heard.modules[node],
            op=op.name,
            formula=op.formula,
            inputs=inputs,
            params=dict(node.params),
            outputs=tuple(map(Output, fields, outputs)),
            source=heard.sources[node],
            rules=rules_of(op, len(inputs)),
            rungs=heard.rungs[node],
            steps=tuple(steps),
            constants=tuple(constants),
        )

    def _input(self, node: Engine, position: int) -> Ref:
        edge, value = node.edges[position], node.inputs[position]
        if edge is not None:
            return self.ref_of(edge)
        if id(value) in self.refs:
            return self.refs[id(value)]
        if not is_array(value):
            name = self.listener.numbers.get((node, position), f"{value:g}")
            return self._leaf(name, "number", value)
        name = self.listener.known_array(value) or ""
        if not name:
            return self._remember(value, self._leaf("constant", "constant", value))
        given = self.listener.arrays[name]
        if id(given) not in self.refs:
            self.give(name)
        ref = self.refs[id(given)]
        return ref if value.shape == given.shape else Ref(ref.id, 0, value.shape)

    def give(self, name: str) -> None:
        """Add one of the known arrays as a leaf, if it is not there yet."""
        array = self.listener.arrays[name]
        if id(array) not in self.refs:
            kind = self.kinds.get(name, "input")
            self._remember(array, self._leaf(name, kind, array))

    def ref_of(self, edge: Edge) -> Ref:
        """Return what the gradient along an edge goes to."""
        source, output = edge
        if not isinstance(source, Tensor):
            return Ref(self.ids[source], output)
        if id(source) not in self.refs:
            given = self.listener.arrays.items()  # a batch may be a tensor itself
            own = next((name for name, array in given if array is source.data), "")
            name = own or self.listener.leaf_name(source)
            ref = self._remember(source, self._leaf(name, "parameter", source.data))
            if own:
                self._remember(source.data, ref)
        return self.refs[id(source)]

    def _remember(self, key: Any, ref: Ref) -> Ref:
        self.refs[id(key)] = ref
        self.alive.append(key)
        return ref

    def _leaf(self, name: str, kind: str, value: Any) -> Ref:
        name = fresh(name, self.taken)
        self.taken.add(name)
        id = f"{self.prefix}l{len(self.leaves)}"
        self.leaves.append(Leaf(id, name, kind, "", self.copies.of(value)))
        return Ref(id)

    def events(self, loss: Tensor) -> Backward:
        """Play the tape backward, and tell what happened.

        Gradients are delivered to the leaves, as by `backward()`. A rule that raises
        ends it, and is no error here: what was wrong with it is for the checks.
        """
        found: list[Event] = []
        steps: list[Any] = []
        rungs: dict[str, tuple[str, ...]] = {}
        stopped = ""
        with heard() as calls:
            try:
                for step in tensor.backward_steps(loss):
                    steps.append(step)
                    if calls and not isinstance(step, Delivery):
                        rungs[self.ids[step.node]] = rungs_of(calls)
                        calls.clear()
            except Exception as error:
                if not steps and isinstance(error, UserError):
                    raise  # of the engine: a leaf has changed
                stopped = f"backward stopped at a {type(error).__name__}: {error}"
        sums: dict[Ref, tuple[int, Any]] = {}
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if isinstance(step, Contribution):
                arrives = self.copies.of_all(step.upstream, step.node.op)
                adds = not isinstance(following, Unbroadcast)
                found.append(self._event(step, arrives, step.raw, adds, sums))
            elif isinstance(step, Unbroadcast):
                arrives = (found[-1].gradient,)
                found.append(self._event(step, arrives, step.gradient, True, sums))
        return Backward(found, rungs, stopped)

    def _event(
        self,
        step: Contribution | Unbroadcast,
        upstream: tuple[Value, ...],
        gradient: Any,
        adds: bool,
        sums: dict[Ref, tuple[int, Any]],
    ) -> Event:
        edge = step.node.edges[step.position]
        assert edge is not None
        receiver = self.ref_of(edge)
        count, total = sums.get(receiver, (0, None))
        if adds:
            count, total = count + 1, gradient if total is None else total + gradient
            sums[receiver] = count, total
        summed = isinstance(step, Unbroadcast)
        return Event(
            kind="unbroadcast" if summed else "contribution",
            sender=self.ids[step.node],
            position=step.position,
            receiver=receiver.id,
            output=receiver.output,
            upstream=upstream,
            gradient=self.copies.of(gradient),
            axes=step.axes if isinstance(step, Unbroadcast) else (),
            adds=adds,
            count=count,
            total=self.copies.of(total) if adds else None,
        )


def open_steps(
    node: Engine, id: str, inputs: Sequence[Ref], copies: Copies
) -> tuple[list[Node], list[Leaf]]:
    """Run the `unfused` composition of a fused op; return its nodes and constants."""
    assert node.op.unfused is not None
    given = [
        value if edge is None else Tensor(value, requires_grad=True)
        for value, edge in zip(node.inputs, node.edges, strict=True)
    ]
    listener = Listener(None, {})
    with listener.listening(), np.errstate(all="ignore"):
        node.op.unfused(*given, **node.params)
    # Arrays of constants reach the steps as they are, or reshaped to their own leaf
    outside = [(key, ref) for key, ref in zip(given, inputs, strict=True)]
    inner = Transcript(listener, copies, prefix=f"{id}.", outside=outside)
    return inner.nodes(opened=False), inner.leaves


def rules_of(op: Op[Any], inputs: int) -> tuple[Rule | None, ...]:
    """Return the rule of each input in words and code, None where it is constant."""
    names = op.inputs * inputs if op.variadic else op.inputs[:inputs]
    found = []
    for name in names:
        rule = op.rules.get(name)
        found.append(
            Rule(name, rule.formula, _code_of(rule.function)) if rule else None
        )
    return tuple(found)


@cache
def _code_of(function: Any) -> Source:
    """Return the lines of a function, as far as they can be found."""
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or ""
    except (OSError, TypeError):
        return Source()
    return Source(relative(file), first, "".join(lines).rstrip())
