"""The other optimizers on a CUDA device, in Numba: a thread a parameter."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

import math

from numba import cuda

from minivae_kernels.launch import numba_kernel


@numba_kernel("real[::1], real[::1], real[::1], real, real, real, real, real, real")
def sgd(w, g, b, lr, momentum, scale, decay, of_b, of_g):
    """b ← μ b + g; the step is a weighted sum of both: Nesterov's, or b alone."""
    i = cuda.grid(1)
    if i < w.shape[0]:
        value = w[i]
        gradient = scale * g[i] + decay * value
        velocity = momentum * b[i] + gradient
        b[i] = velocity
        w[i] = value - lr * (of_b * velocity + of_g * gradient)


@numba_kernel("real[::1], real[::1], real[::1], real, real, real, real, real, real")
def scaled_descent(w, g, squares, lr, keep, add, eps, scale, decay):
    """s ← keep s + add g², and a step of lr g / (√s + ε)."""
    i = cuda.grid(1)
    if i < w.shape[0]:
        value = w[i]
        gradient = scale * g[i] + decay * value
        second = keep * squares[i] + add * gradient * gradient
        squares[i] = second
        w[i] = value - lr * gradient / (math.sqrt(second) + eps)
