"""Wrong versions of a rule, made from the right one.

Most wrap the function; a dropped term is cut out of its syntax tree, so that no list of
terms has to be kept beside the rules.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minivae.tensor import Op, Rule

Change = Callable[[np.ndarray], Any]


def _one_element_off(gradient: np.ndarray) -> np.ndarray:
    wrong = np.array(gradient, order="C")
    wrong.reshape(-1)[wrong.size // 2] += 0.01 * max(1.0, float(np.abs(wrong).max()))
    return wrong


CHANGES: dict[str, Change] = {
    "times 2": lambda g: 2 * g,
    "zero": lambda g: np.zeros_like(g),
    "sign": lambda g: -g,
    "times 1.001": lambda g: 1.001 * g,
    "NaN": lambda g: np.full_like(g, np.nan),
    "one element off": _one_element_off,
}


def transposed(gradient: np.ndarray) -> np.ndarray:
    """Return a square gradient transposed."""
    return gradient.swapaxes(-1, -2)


def wrong_rules(op: Op[Any], name: str) -> Iterator[tuple[str, Rule]]:
    """Yield every wrong version of the rule of input `name`, with what is wrong."""
    rule = op.rules[name]
    for what, change in CHANGES.items():
        yield what, _wrapped(op, name, change)
    for number, function in enumerate(dropped_terms(rule.function)):
        yield f"term {number} dropped", Rule(rule.formula, function)


def _wrapped(op: Op[Any], name: str, change: Change) -> Rule:
    rule = op.rules[name]

    def one(*args: Any, **params: Any) -> Any:
        return change(np.asarray(rule.function(*args, **params), dtype=np.float64))

    def joint(*args: Any, **params: Any) -> Any:
        found = list(rule.function(*args, **params))
        for position, gradient in enumerate(found):
            mine = op.variadic or op.inputs[position] == name
            if mine and gradient is not None:
                found[position] = change(gradient)
        return found

    return Rule(rule.formula, joint if op.joint else one)


def transposing(op: Op[Any], name: str) -> Rule:
    """Return the rule with its result transposed."""
    return _wrapped(op, name, transposed)


@contextlib.contextmanager
def planted(op: Op[Any], name: str, wrong: Rule) -> Iterator[None]:
    """Put a wrong rule in the place of a right one."""
    before = dict(op.rules)
    names = list(op.rules) if op.joint else [name]
    op.rules.update(dict.fromkeys(names, wrong))
    try:
        yield
    finally:
        op.rules.update(before)


def dropped_terms(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Yield `function` with one side of one of its sums or differences left out."""
    source = textwrap.dedent(inspect.getsource(function))
    count = sum(map(_is_sum, ast.walk(ast.parse(source))))
    for target in range(count):
        for side in ("left", "right"):
            tree = _Drop(target, side).visit(ast.parse(source))
            definition = tree.body[0]
            definition.decorator_list = []
            code = compile(ast.fix_missing_locations(tree), "<mutant>", "exec")
            scope: dict[str, Any] = dict(function.__globals__)
            exec(code, scope)
            yield scope[definition.name]


def _is_sum(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub))


class _Drop(ast.NodeTransformer):
    """Replace the target-th sum by its left or its right side."""

    def __init__(self, target: int, side: str) -> None:
        self.target, self.side, self.seen = target, side, -1

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not _is_sum(node):
            return node
        self.seen += 1
        if self.seen != self.target:
            return node
        if self.side == "left":
            return node.left
        if isinstance(node.op, ast.Sub):
            return ast.UnaryOp(ast.USub(), node.right)
        return node.right
