"""Lesson 7: your answers.

Edit this file, then: python -m lessons check 7

One image at a time: x is (C, H, W), the weights w are (O, C, K, K), y is (O, H', W').
"""

import numpy as np


def conv2d(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Exercise 7.1. Return y of a convolution layer (without bias).

    y[o, i, j] = Σ over c, a, b of w[o, c, a, b] · p[c, i·stride + a, j·stride + b],
    where p is x with `padding` zeros on all four sides. y is as large as fits:
    H' = (H + 2·padding − K) // stride + 1.
    """
    raise NotImplementedError("exercise 7.1")


def conv_x_rule(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], stride: int, padding: int
) -> np.ndarray:
    """Exercise 7.2. Return x̄ (C, H, W) of y = conv2d(x, w, stride, padding).

    g (O, H', W') is ȳ, and `size` is (H, W), which g does not always tell. This is also
    the forward pass of a transposed convolution.
    """
    raise NotImplementedError("exercise 7.2")
