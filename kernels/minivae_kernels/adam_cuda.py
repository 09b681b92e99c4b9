"""Adam on a CUDA device, in Numba: a thread a parameter."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

import math

from numba import cuda

from minivae_kernels.launch import numba_kernel


@numba_kernel(
    "real[::1], real[::1], real[::1], real[::1], "
    "real, real, real, real, real, real, real, real, real, real"
)
def adam(w, g, m, v, rate, b1, r1, b2, r2, inverse, eps, scale, decay, q):
    """Everything that one parameter needs, in registers: no temporary arrays."""
    i = cuda.grid(1)
    if i < w.shape[0]:
        value = w[i]
        gradient = scale * g[i] + decay * value
        first = b1 * m[i] + r1 * gradient
        second = b2 * v[i] + r2 * gradient * gradient
        m[i], v[i] = first, second
        w[i] = q * value - rate * first / (math.sqrt(second) * inverse + eps)
