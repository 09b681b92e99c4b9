"""Bias and activation in place on a CUDA device, in Numba: a thread an element."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

from numba import cuda

from minivae_kernels.launch import numba_kernel


@numba_kernel("real[:,::1], real[::1], int32")
def bias_activation(z, bias, relu):
    """z ← act(z + b); NaN stays NaN."""
    i, O = cuda.grid(1), z.shape[1]  # noqa: E741
    if i < z.size:
        n, o = i // O, i % O
        total = z[n, o] + bias[o]
        z[n, o] = z.dtype.type(0) if relu and total < z.dtype.type(0) else total
