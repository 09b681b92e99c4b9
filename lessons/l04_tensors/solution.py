"""Lesson 4: answers of the course."""

import numpy as np


def sum_rule(g: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """Exercise 4.1. Return x̄ of y = x.sum(axis), where `g` is ȳ: an array like x."""
    return np.broadcast_to(np.expand_dims(g, axis), x.shape).copy()


def unbroadcast(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Exercise 4.2. Return the adjoint of an array of `shape` that was broadcast.

    NumPy repeated the array to the shape of g: along new axes in front, and along axes
    where `shape` has a 1. `g` is the adjoint of what came of it.
    """
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    once = tuple(k for k, n in enumerate(shape) if n == 1)
    return g.sum(axis=once, keepdims=True)


def matmul_rule(
    g: np.ndarray, X: np.ndarray, W: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Exercise 4.3. Return (X̄, W̄) of Y = X W, where `g` (N, K) is Ȳ.

    X is (N, D) and W (D, K).
    """
    return g @ W.T, X.T @ g
