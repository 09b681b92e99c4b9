"""Derivatives by central differences: what the checks trust instead of a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
STEP = 1e-5  # error O(h²) of the formula, O(1e-16 / h) of the arithmetic: about 1e-10


def derivative(f: Callable[[Array], Any], x: Array) -> Array:
    """Return ∂f/∂x of a scalar function, element by element: an array like x."""
    x = np.asarray(x, dtype=np.float64)
    moves = STEP * np.eye(x.size).reshape(-1, *x.shape)
    slopes = [(float(f(x + v)) - float(f(x - v))) / (2 * STEP) for v in moves]
    return np.array(slopes).reshape(x.shape)


def pullback(f: Callable[..., Array], inputs: tuple[Array, ...], g: Array) -> Any:
    """Return Σ g ∂f/∂x for each input x: what a rule for f must send, a tuple."""

    def along(k: int) -> Callable[[Array], Any]:
        return lambda x: np.sum(g * f(*inputs[:k], x, *inputs[k + 1 :]))

    return tuple(derivative(along(k), inputs[k]) for k in range(len(inputs)))
