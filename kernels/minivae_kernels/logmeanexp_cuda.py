"""The log of a mean of exponentials on a CUDA device, in Numba: a thread a row."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

import math

from numba import cuda

from minivae_kernels.launch import numba_kernel


@numba_kernel("real[:,::1], real[::1], real[:,::1]")
def thread_a_row(w, values, weights):
    """The definition: largest, sum, weights. Neighbours read a row apart."""
    n, S = cuda.grid(1), w.shape[1]
    if n < values.shape[0]:
        largest, total = w[n, 0], values.dtype.type(0)
        for s in range(1, S):
            largest = max(largest, w[n, s])
        shift = values.dtype.type(0) if largest == -math.inf else largest
        for s in range(S):
            total += math.exp(w[n, s] - shift)
        values[n] = largest + math.log(total / values.dtype.type(S))
        for s in range(S):
            weights[n, s] = math.exp(w[n, s] - shift) / total
