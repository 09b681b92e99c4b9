"""Lesson 3: answers of the course."""

from collections.abc import Callable

import numpy as np


def numeric_gradient(
    f: Callable[[np.ndarray], float], x: np.ndarray, h: float
) -> np.ndarray:
    """Exercise 3.1. Return the central differences of a scalar f: an array like x.

    Element i is (f(x + h eᵢ) − f(x − h eᵢ)) / 2h, where eᵢ moves element i alone.
    """
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[i] += h
        behind[i] -= h
        gradient[i] = (f(ahead) - f(behind)) / (2 * h)
    return gradient


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
    sent = np.asarray(rule(g, x))
    if sent.shape != x.shape or not np.isfinite(sent).all():
        return False
    exact = numeric_gradient(lambda moved: float(np.sum(g * f(moved))), x, 1e-5)
    scale = max(np.abs(exact).max(), np.abs(sent).max(), 1e-3)
    return bool(np.abs(sent - exact).max() <= 1e-6 * scale)
