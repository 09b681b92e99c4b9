"""Lesson 2: random graphs; an order is judged by what it promises, not by its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lessons.kit import Judge, Mistake, Refusal, derivative, exercise
from lessons.kit.judge import close

Graph = dict[str, list[str]]

DIAMOND: Graph = {"b": ["a"], "c": ["a"], "loss": ["b", "c"]}
LADDER: Graph = {"b": ["a"], "c": ["b", "a"], "d": ["c", "b"], "loss": ["d", "a"]}
SQUARE: Graph = {"b": ["a", "a"], "loss": ["b", "a"]}
LATE: Graph = {"b": ["a"], "loss": ["a", "b"]}  # the short way is named first
ASIDE: Graph = {"b": ["a"], "unused": ["b", "a"], "loss": ["b"]}


def random_graph(judge: Judge, inputs: int = 2, made: int = 8) -> Graph:
    """Values v0, v1 ...; each is made from one or two of those before it."""
    graph: Graph = {}
    for i in range(inputs, inputs + made):
        picks = (judge.uniform(2) * i).astype(int)
        graph[f"v{i}"] = [f"v{k}" for k in picks[: 1 + int(judge.uniform() < 0.7)]]
    graph["loss"] = [f"v{inputs + made - 1}", f"v{inputs + made - 2}"]
    return graph


def leads_to(graph: Mapping[str, Sequence[str]], loss: str) -> set[str]:
    """The values that the loss is made from, and the loss."""
    found, waiting = {loss}, [loss]
    while waiting:
        new = set(graph.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found


@exercise(1)
def backward_order(judge: Judge) -> None:
    """Each value once, after all that are made from it; nothing that does not count."""
    graphs = [DIAMOND, LATE, LADDER, SQUARE, ASIDE]
    graphs += [random_graph(judge) for _ in range(15)]
    for graph in graphs:
        order = judge.ask(graph, "loss")
        if not isinstance(order, list | tuple):
            raise Refusal(f"it returns a {type(order).__name__}; wanted is a list")
        _judge_order(graph, list(order))
    deep = {f"v{i + 1}": [f"v{i}"] for i in range(5000)} | {"loss": ["v5000"]}
    try:
        _judge_order(deep, list(judge.ask(deep, "loss")))
    except Refusal as refusal:
        if "RecursionError" not in str(refusal):
            raise
        raise Refusal(
            "It calls itself once for each step of a path, and Python stops at about "
            "1000. Networks are deeper than that: keep a list of what waits."
        ) from None


def _judge_order(graph: Graph, order: list[Any]) -> None:
    wanted = leads_to(graph, "loss")
    about = "" if len(wanted) > 6 else f"\nin the graph {graph}"
    if not order or "loss" not in order:
        raise Refusal(f"The loss itself is not in the order.{about}")
    if doubled := sorted({v for v in order if order.count(v) > 1}):
        raise Refusal(
            f"{doubled[0]} comes more than once: its rule would be run again, with an "
            f"adjoint that was used already.{about}"
        )
    if missing := sorted(wanted - set(order)):
        raise Refusal(f"{missing[0]} is missing, and the loss is made from it.{about}")
    if extra := sorted(set(order) - wanted):
        raise Refusal(f"{extra[0]} is in it, but does not lead to the loss.{about}")
    if order[0] != "loss" and order[-1] == "loss":
        raise Refusal(f"That is the order of the forward pass: the loss last.{about}")
    place = {value: i for i, value in enumerate(order)}
    for value, sources in graph.items():
        for source in sources:
            if value in place and place[source] < place[value]:
                raise Refusal(
                    f"{source} comes before {value}, which is made from it: when its "
                    f"turn comes, its adjoint is not complete.{about}"
                )


Rules = dict[str, Callable[[float], list[float]]]


def rules_of(graph: Graph, weights: Mapping[str, list[float]]) -> Rules:
    """The rules of a graph of weighted sums: each sends its adjoint times weights."""

    def rule(own: list[float]) -> Callable[[float], list[float]]:
        return lambda g: [g * w for w in own]

    return {value: rule(weights[value]) for value in graph}


def loss_of(graph: Graph, weights: Mapping[str, list[float]], moved: dict[str, float]):
    """The loss when some values are moved by so much: forward, in the order given."""
    values: dict[str, float] = {}
    for sources in graph.values():
        for source in sources:
            if source not in graph:
                values[source] = 1.0 + moved.get(source, 0.0)
    for value, sources in graph.items():
        terms = zip(weights[value], sources, strict=True)
        values[value] = sum(w * values[s] for w, s in terms) + moved.get(value, 0.0)
    return values["loss"]


@exercise(2)
def backward(judge: Judge) -> None:
    """Adjoints by moving each value a little and running the graph forward."""
    cases, exact = [], []
    graphs = [DIAMOND, LADDER, SQUARE, LATE, *(random_graph(judge) for _ in range(8))]
    for graph in graphs:
        # not all equal, and none of them 1: a mistake must not cancel
        weights = {v: (judge.normal(len(s)) + 2).tolist() for v, s in graph.items()}
        order = _some_order(graph)
        cases.append((graph, rules_of(graph, weights), order))
        exact.append(_by_differences(graph, weights, order))
    got = []
    for case in cases:
        adjoints = judge.ask(*case)
        if not isinstance(adjoints, dict):
            raise Refusal(
                f"it returns a {type(adjoints).__name__}; wanted is a dict of adjoints"
            )
        if missing := [v for v in case[2] if v not in adjoints]:
            raise Refusal(f"the adjoint of {missing[0]} is missing")
        got.append(tuple(np.asarray(adjoints[v], float) for v in case[2]))
    known = Judge(lambda i: got[i])  # the answers are there: look them up
    other = Mistake(_difference(cases, got, exact), lambda i: got[i])
    known.match(
        [(i,) for i in range(len(got))],
        lambda i: exact[i],
        [*_mistakes(cases), other],
    )


def _difference(cases: list[Any], got: list[Any], exact: list[Any]) -> str:
    """Tell the first adjoint that is another, by name, and in which graph."""
    for (graph, _, order), ours, theirs in zip(cases, got, exact, strict=True):
        for value, a, b in zip(order, ours, theirs, strict=True):
            if not close(a, b):
                said = f"the adjoint of {value} is {a:.6g}; expected {b:.6g}"
                return f"{said}\nin the graph {graph}"
    return ""


def _by_differences(graph: Graph, weights: Any, order: list[str]) -> tuple[Any, ...]:
    return tuple(
        derivative(lambda d, v=v: loss_of(graph, weights, {v: float(d)}), 0.0)
        for v in order
    )


def _some_order(graph: Graph) -> list[str]:
    """A backward order: the graph's values were made in the order of the dict."""
    wanted = leads_to(graph, "loss")
    given = sorted({s for sources in graph.values() for s in sources} - set(graph))
    return [v for v in [*reversed(graph), *given] if v in wanted]


def _mistakes(cases: list[Any]) -> list[Mistake]:
    def walk(i: int, add: Callable[[dict[str, float], str, float], None], seed=1.0):
        graph, rules, order = cases[i]
        found = dict.fromkeys(order, 0.0) | {order[0]: seed}
        for value in order:
            for source, g in zip(
                graph.get(value, ()),
                rules[value](found[value]) if value in graph else (),
                strict=True,
            ):
                add(found, source, g)
        return tuple(found[v] for v in order)

    def overwrite(found: dict[str, float], source: str, g: float) -> None:
        found[source] = g

    def keep_first(found: dict[str, float], source: str, g: float) -> None:
        found[source] = found[source] or g

    def accumulate(found: dict[str, float], source: str, g: float) -> None:
        found[source] += g

    def multiply(found: dict[str, float], source: str, g: float) -> None:
        found[source] = found[source] * g if found[source] else g

    def once_a_step(i: int) -> tuple[float, ...]:
        graph, rules, order = cases[i]
        found = dict.fromkeys(order, 0.0) | {order[0]: 1.0}
        for value in order:
            if value in graph:
                sent = dict(zip(graph[value], rules[value](found[value]), strict=True))
                for source, g in sent.items():
                    found[source] += g
        return tuple(found[v] for v in order)

    def from_ones(i: int) -> tuple[float, ...]:
        graph, rules, order = cases[i]
        found = dict.fromkeys(order, 0.0) | {order[0]: 1.0}
        for value in order:
            if value in graph:
                for source, g in zip(graph[value], rules[value](1.0), strict=True):
                    found[source] += g
        return tuple(found[v] for v in order)

    return [
        Mistake(
            "Where a value is used twice, the second contribution replaced the first. "
            "Adjoints are added: each way to the loss counts.",
            lambda i: walk(i, overwrite),
        ),
        Mistake(
            "Where a value is used twice, only the first contribution was kept. "
            "Adjoints are added: each way to the loss counts.",
            lambda i: walk(i, keep_first),
        ),
        Mistake(
            "Where a value is used twice, the contributions were multiplied. Along a "
            "path factors multiply; paths are added.",
            lambda i: walk(i, multiply),
        ),
        Mistake(
            "A value that is used twice by the SAME step, as in a · a, was sent one "
            "of the two only.",
            once_a_step,
        ),
        Mistake(
            "Every rule was called with 1. Call it with the adjoint of its own value.",
            from_ones,
        ),
        Mistake(
            "All adjoints are 0: the loss must begin with 1, since it moves with "
            "itself.",
            lambda i: walk(i, accumulate, seed=0.0),
        ),
    ]
