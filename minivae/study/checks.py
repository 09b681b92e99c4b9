"""Two independent numbers for every gradient of a recording, in float64.

local    a rule by itself: uᵀ ∂y/∂x by the rule, for a random u, beside the difference
         quotient of uᵀ y. It fails at the node whose rule is wrong, and nowhere else.
global   ∂loss/∂value as backward made it, beside the loss replayed with that value
         moved. It fails at every node whose gradient went through the wrong rule.

A large array is moved along a few random directions at once instead of element by
element; if that fails, some elements are looked at, to name one. In a large graph only
parameters are moved for the global checks. A rule is checked at the values of the step;
where they lie on kinks (relu at 0), or are not finite, nearby.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from minivae_kernels.devices import running_at_home

from minivae import tensor
from minivae.backend import Array
from minivae.gradcheck import STEP, TOLERANCE, Claim, Quotients, quotients, verdict
from minivae.random import Noise, Stream
from minivae.study.recording import Check, Node, Recording
from minivae.study.tape import Graph, Place, Run, Step, Tape
from minivae.tensor import Op, Tensor

MOST_ELEMENTS = {"local": 256, "global": 64}  # of an array that is moved one by one
DIRECTIONS = 4
SAMPLE = 64  # elements to look for a culprit among
NEARBY = (0.0, 0.1, 1.0)  # how far from the values of the step; at 1, elsewhere
MOST_REPLAYED = 250  # ops of a graph in which every node's value is moved
MOST_VALUES = 100_000  # numbers in such a graph; in a larger one parameters are moved

Scalar = Callable[[Array], float]


def checked(recording: Recording, *, whole: bool = True) -> Recording:
    """Return the recording with the local checks, and if `whole` the global ones."""
    with running_at_home(), np.errstate(all="ignore"):
        tape = Tape(recording, double=True)
        run = tape.run()
        graph = tape.graph(run)
        local = {step.id: list(_local(tape, step, graph)) for step in tape.steps}
        all_round = _globals(tape, run, graph) if whole else {}

    def with_checks(node: Node) -> Node:
        mine = (*local.get(node.id, ()), *all_round.get(node.id, ()))
        steps = tuple(map(with_checks, node.steps)) if node.folded else node.steps
        return replace(node, checks=mine, steps=steps)

    return replace(
        recording,
        leaves=tuple(
            replace(leaf, checks=tuple(all_round.get(leaf.id, ())))
            for leaf in recording.leaves
        ),
        nodes=tuple(map(with_checks, recording.nodes)),
    )


# Local: one rule by itself


def _local(tape: Tape, step: Step, graph: Graph) -> Iterator[Check]:
    """Yield a check for each input of a step that a gradient goes to."""
    node = graph.nodes[step.id]
    name = tape.names[step.id]
    for position, edge in enumerate(node.edges):
        if edge is not None:
            yield _check_rule(node, position, f"{name}/{_input(step.op, position)}")


def _input(op: Op[Any], position: int) -> str:
    """Return what the op calls an input: x, or xs[1] of an op that takes any number."""
    return f"{op.inputs[0]}[{position}]" if op.variadic else op.inputs[position]


def _check_rule(node: tensor.Node, position: int, name: str) -> Check:
    """Check the rule of one input, where it says something: near the step's values."""
    found: list[Check] = []
    for far in NEARBY:
        noise = Noise(position, Stream.CHECK)
        there = _moved_inputs(node, far, noise)
        check = _check_rule_at(there, position, name, noise)
        if check.claim.passed or _tells(check.claim):
            return check
        found.append(check)
    if not any(_finite(_moved_inputs(node, far, noise)) for far in NEARBY):
        reason = "the op's value is not finite, here and nearby"
        return _silent("local", position, name, reason, found[0].claim.formula)
    return found[0]


def _finite(node: tensor.Node) -> bool:
    """Tell whether all outputs of a node are finite numbers."""
    outs = node.out if node.op.outputs is not None else (node.out,)
    return all(np.isfinite(out).all() for out in outs)


def _tells(claim: Claim) -> bool:
    """Tell whether a claim that did not pass shows two finite numbers."""
    return bool(np.isfinite([claim.exact, claim.measured]).all())


def _moved_inputs(node: tensor.Node, far: float, noise: Noise) -> tensor.Node:
    """Return the node with the inputs that have rules moved by `far` of their size."""
    inputs = list(node.inputs)
    for i, edge in enumerate(node.edges):
        if edge is not None and far:
            value = np.asarray(inputs[i], np.float64)
            step = noise.normal(value.shape, np.float64)
            near = np.where(np.isfinite(value), value, 1.0) * (1 + far * step)
            inputs[i] = near if far < 1 else 0.5 + np.abs(step)  # where log has a value
    if not far:
        return node
    if node.op.forward_with_saves:
        out, saved = node.op.forward_with_saves(*inputs, **node.params)
    else:
        out, saved = node.op.forward(*inputs, **node.params), None
    return replace(node, inputs=inputs, out=out, saved=saved)


def _check_rule_at(node: tensor.Node, position: int, name: str, noise: Noise) -> Check:
    op, x = node.op, np.asarray(node.inputs[position], np.float64)
    outs = node.out if op.outputs is not None else (node.out,)
    upstream = [noise.normal(np.shape(out), np.float64) for out in outs]
    # 0-d arrays, not floats: a rule may pass a float 1.0 through
    upstream = [np.asarray(u) for u in upstream]

    def phi(value: Array) -> float:
        inputs = [*node.inputs]
        inputs[position] = value
        made = op.forward(*inputs, **node.params)
        made = made if op.outputs is not None else (made,)
        return sum(float((y * u).sum()) for y, u in zip(made, upstream, strict=True))

    g = op.outputs(*upstream) if op.outputs is not None else upstream[0]
    formula = op.rule_of(position).formula
    try:
        raw = np.asarray(_pulled(node, g, position), np.float64)
        gradient = raw
        if raw.shape != x.shape:
            gradient, _ = tensor.unbroadcast(raw, x.shape)
    except Exception as error:  # a rule may be a learner's, and anything may be wrong
        return _broken("local", position, name, error, formula)
    return _compare("local", position, name, phi, x, gradient, formula)


def _pulled(node: tensor.Node, g: Any, position: int) -> Any:
    """Apply the rule of one input only, so that another's fault is not its own."""
    edges = [edge if i == position else None for i, edge in enumerate(node.edges)]
    ((_, raw),) = node.op.pull(replace(node, edges=edges), g)
    return raw


def _broken(
    kind: str, position: int, name: str, error: Exception, formula: str
) -> Check:
    text = f"the rule raises {type(error).__name__}: {error}"
    claim = Claim.compare(name, text, np.nan, np.nan, np.inf, TOLERANCE, formula)
    return Check(kind, position, "element", None, claim)


def _silent(
    kind: str, position: int, name: str, reason: str, formula: str = ""
) -> Check:
    """Return a check without a verdict."""
    claim = Claim.compare(name, reason, np.nan, np.nan, np.inf, TOLERANCE, formula)
    return Check(kind, position, "none", None, claim)


# Global: the loss, replayed


def _globals(tape: Tape, run: Run, graph: Graph) -> dict[str, list[Check]]:
    """Return the checks of every value that backward reached, by leaf or node."""
    adjoints = _adjoints(tape, graph)
    if adjoints is None:
        return {}
    numbers = sum(np.size(value) for value in run.values.values())
    computed = numbers - sum(np.size(value) for value in tape.given.values())
    few = len(tape.steps) > MOST_REPLAYED or computed > MOST_VALUES
    directions = 1 if computed > MOST_VALUES else DIRECTIONS
    whole_is_finite = bool(np.isfinite(run.values[tape.root]))
    visible = {place: name for name, place in tape.places.items()}
    found: dict[str, list[Check]] = {}
    for place, analytic in adjoints.items():
        if place not in visible or (few and place[0] not in graph.leaves):
            continue
        value = np.asarray(run.values[place], np.float64)

        def loss(moved: Array, place: Place = place) -> float:
            return tape.moved(run, place, moved)

        name = visible[place]
        if whole_is_finite:
            check = _compare(
                "global", place[1], name, loss, value, analytic, directions=directions
            )
        else:
            check = _silent("global", place[1], name, "the loss is not finite")
        found.setdefault(tape.visible_id(place), []).append(check)
    return found


def _adjoints(tape: Tape, graph: Graph) -> dict[Place, Array] | None:
    """Return ∂loss/∂value as the engine finds it; None if backward cannot be run."""
    ids = {node: id for id, node in graph.nodes.items()}
    root = Tensor(0.0)
    root.node, root.output = graph.nodes[tape.root[0]], tape.root[1]
    root.data, root.requires_grad = np.asarray(0.0), True
    found: dict[Place, Array] = {}
    try:
        for event in tensor.backward_steps(root):
            if isinstance(event, tensor.Delivery):
                continue
            if isinstance(event, tensor.Contribution):
                several = event.node.op.outputs is not None
                arrived = event.upstream if several else (event.upstream,)
                for output, g in enumerate(arrived):
                    found[ids[event.node], output] = g
    except Exception:  # of a rule: the local checks name it
        return None
    for id, leaf in graph.leaves.items():
        if leaf.grad is not None:
            found[id, 0] = leaf.grad
    shapes = {place: np.shape(_value(graph, place)) for place in found}
    return {
        place: np.broadcast_to(np.asarray(g, np.float64), shapes[place])
        for place, g in found.items()
    }


def _value(graph: Graph, place: Place) -> Any:
    id, output = place
    if id in graph.leaves:
        return graph.leaves[id].data
    node = graph.nodes[id]
    return node.out[output] if node.op.outputs is not None else node.out


# Analytic beside numeric


def _compare(
    kind: str,
    position: int,
    name: str,
    phi: Scalar,
    value: Array,
    gradient: Array,
    formula: str = "",
    directions: int = DIRECTIONS,
) -> Check:
    """Compare the gradient of phi at `value` with difference quotients."""
    if value.size <= MOST_ELEMENTS[kind]:
        elements = np.arange(value.size)
        return _by_element(
            kind, position, "element", name, phi, value, gradient, elements, formula
        )
    claim = _by_direction(name, phi, value, gradient, formula, directions)
    if claim is None:
        return _silent(kind, position, name, "a kink on every direction", formula)
    if not claim.passed:
        some = np.linspace(0, value.size - 1, SAMPLE).astype(int)
        check = _by_element(
            kind, position, "sample", name, phi, value, gradient, some, formula
        )
        if not check.claim.passed and _tells(check.claim):
            return check
    return Check(kind, position, "projection", None, claim)


def _by_element(
    kind: str,
    position: int,
    method: str,
    name: str,
    phi: Scalar,
    value: Array,
    gradient: Array,
    elements: Array,
    formula: str,
) -> Check:
    steps = STEP * np.maximum(1, np.abs(value.reshape(-1)[elements]))

    def along(i: int, t: float) -> float:
        moved = value.copy()
        moved.reshape(-1)[elements[i]] += t
        return phi(moved)

    numeric = quotients(along, steps, TOLERANCE)
    analytic = gradient.reshape(-1)[elements]
    aside = ""
    if kind == "global" and not numeric.kink.all():
        # Nothing can be moved away from a kink here: what is smooth has to do
        smooth = ~numeric.kink
        aside = f"; {numeric.kink.sum()} at kinks set aside" if not smooth.all() else ""
        elements, analytic = elements[smooth], analytic[smooth]
        numeric = Quotients(numeric.slope[smooth], numeric.kink[smooth])
    indices = [
        tuple(int(j) for j in np.unravel_index(e, value.shape)) for e in elements
    ]
    labels = [f"{name}{list(index) if index else ''}" for index in indices]
    claim = verdict(name, analytic, numeric, labels, TOLERANCE)
    claim = replace(claim, claim=claim.claim + aside, formula=formula)
    if not numeric.conclusive:
        return Check(kind, position, "none", None, claim)
    return Check(kind, position, method, indices[numeric.worst(analytic)], claim)


def _by_direction(
    name: str,
    phi: Scalar,
    value: Array,
    gradient: Array,
    formula: str,
    directions: int,
) -> Claim | None:
    """Compare slopes along random directions; one on which a kink lies is replaced.

    Returns None if kinks lie on nearly all.
    """
    noise = Noise(1, Stream.CHECK)
    size = np.maximum(1, np.abs(value))
    analytic: list[float] = []
    slopes: list[float] = []
    # Moving many elements at once crosses kinks of few: shorter steps cross fewer
    for step in np.repeat([STEP, STEP / 10, STEP / 100], directions):
        direction = size * noise.normal(value.shape, np.float64)

        def along(i: int, t: float, direction: Array = direction) -> float:
            return phi(value + t * direction)

        found = quotients(along, np.array([step]), TOLERANCE)
        if not found.kink[0]:
            analytic.append(float((gradient * direction).sum()))
            slopes.append(float(found.slope[0]))
        if len(slopes) == directions:
            break
    if not slopes:
        return None
    numeric = Quotients(np.array(slopes), np.zeros(len(slopes), bool))
    names = [f"direction {i}" for i in range(len(slopes))]
    claim = verdict(name, np.array(analytic), numeric, names, TOLERANCE)
    return replace(claim, formula=formula)
