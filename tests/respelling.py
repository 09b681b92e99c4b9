"""A function spelled in another way: the same work under other names."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def respelled(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with all its own names changed and its text laid out anew."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.decorator_list = []
    own = {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        if isinstance(node, ast.FunctionDef) and node is not function:
            own.add(node.name)
    for node in ast.walk(function):
        if isinstance(node, ast.arg) and node.arg in own:
            node.arg = f"q_{node.arg}"
        if isinstance(node, ast.Name) and node.id in own:
            node.id = f"q_{node.id}"
        if isinstance(node, ast.FunctionDef) and node is not function:
            node.name = f"q_{node.name}"
    name, scope = function.name, dict(answer.__globals__)
    exec(compile(ast.unparse(tree), "<respelled>", "exec"), scope)
    respelt: Callable[..., Any] = scope[name]
    return respelt
