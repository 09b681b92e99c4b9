"""Lesson 7: answers of the course.

One image at a time: x is (C, H, W), the weights w are (O, C, K, K), y is (O, H', W').
"""

import numpy as np


def conv2d(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Exercise 7.1. Return y of a convolution layer (without bias).

    y[o, i, j] = Σ over c, a, b of w[o, c, a, b] · p[c, i·stride + a, j·stride + b],
    where p is x with `padding` zeros on all four sides. y is as large as fits:
    H' = (H + 2·padding − K) // stride + 1.
    """
    K = w.shape[-1]
    p = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(p, (K, K), axis=(1, 2))
    return np.einsum("chwab,ocab->ohw", windows[:, ::stride, ::stride], w)


def conv_x_rule(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], stride: int, padding: int
) -> np.ndarray:
    """Exercise 7.2. Return x̄ (C, H, W) of y = conv2d(x, w, stride, padding).

    g (O, H', W') is ȳ, and `size` is (H, W), which g does not always tell. This is also
    the forward pass of a transposed convolution.
    """
    K, (H, W) = w.shape[-1], size
    p = np.zeros((w.shape[1], H + 2 * padding, W + 2 * padding))
    for i, j in np.ndindex(g.shape[1:]):
        window = np.einsum("o,ocab->cab", g[:, i, j], w)
        p[:, i * stride : i * stride + K, j * stride : j * stride + K] += window
    return p[:, padding : padding + H, padding : padding + W]
