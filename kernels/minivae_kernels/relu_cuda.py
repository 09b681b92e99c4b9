"""The rectifier and its gradient on a CUDA device, in Numba: a thread an element."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

from numba import cuda

from minivae_kernels.launch import numba_kernel


@numba_kernel("real[::1], real[::1]")
def forward(x, y):
    """y = max(x, 0); NaN stays NaN."""
    i = cuda.grid(1)
    if i < y.size:
        value, zero = x[i], y.dtype.type(0)
        y[i] = zero if value < zero else value


@numba_kernel("real[::1], real[::1], real[::1]")
def backward(y_bar, y, x_bar):
    """x̄ = ȳ where y > 0, else 0; what is not finite stays so."""
    i = cuda.grid(1)
    if i < y.size:
        g, zero = y_bar[i], y.dtype.type(0)
        x_bar[i] = g if y[i] > zero else g * zero
