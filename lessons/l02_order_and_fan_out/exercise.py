"""Lesson 2: your answers.

Edit this file, then: python -m lessons check 2
"""

from collections.abc import Callable, Mapping, Sequence

Graph = Mapping[str, Sequence[str]]
"""Of each value that is made: the values it is made from, in the order of its rule."""
Rule = Callable[[float], Sequence[float]]
"""Takes the adjoint of a value; returns what it sends to each value it is made from."""


def backward_order(graph: Graph, loss: str) -> list[str]:
    """Exercise 2.1. Return what `loss` is made from, itself first, given values last.

    Every value comes after all the values that are made from it, so that its adjoint is
    complete when its turn comes. Values that do not lead to the loss are left out.
    """
    raise NotImplementedError("exercise 2.1")


def backward(
    graph: Graph, rules: Mapping[str, Rule], order: Sequence[str]
) -> dict[str, float]:
    """Exercise 2.2. Return the adjoint of every value of `order`, a backward order.

    The first value of `order` is the loss, whose adjoint is 1. `rules[v]`, called with
    the adjoint of v, returns what v sends to graph[v][0], graph[v][1], and so on. A
    value can be in graph[v] twice.
    """
    raise NotImplementedError("exercise 2.2")
