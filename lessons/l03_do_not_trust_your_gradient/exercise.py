"""Lesson 3: your answers.

Edit this file, then: python -m lessons check 3
"""

from collections.abc import Callable

import numpy as np


def numeric_gradient(
    f: Callable[[np.ndarray], float], x: np.ndarray, h: float
) -> np.ndarray:
    """Exercise 3.1. Return the central differences of a scalar f: an array like x.

    Element i is (f(x + h eᵢ) − f(x − h eᵢ)) / 2h, where eᵢ moves element i alone.
    """
    raise NotImplementedError("exercise 3.1")


def rule_is_right(
    f: Callable[[np.ndarray], np.ndarray],
    rule: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    g: np.ndarray,
) -> bool:
    """Exercise 3.2. Say whether `rule` is the rule of f, at x, for the upstream g.

    f takes an array and returns one, of any shape. rule(g, x) must be Σ g ∂f/∂x, an
    array like x. Accept what is right to 1e-6 of its size. Refuse what is 0.1 % off in
    any element, of another shape, or not a number.
    """
    raise NotImplementedError("exercise 3.2")
