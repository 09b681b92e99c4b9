"""The column sum on a CUDA device, in Numba: twice the same additions."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

from numba import cuda

from minivae_kernels.launch import numba_kernel

THREADS = 256  # of a block, a power of 2


@numba_kernel("real[:,::1], real[::1]")
def block_a_column(g, out):
    """A block adds one column. Neighbouring threads read a whole row apart.

    So each 4 bytes cost a memory transaction of 32.
    """
    shared = cuda.shared.array(THREADS, g.dtype)
    o, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = g.dtype.type(0)
    for n in range(t, g.shape[0], THREADS):
        total += g[n, o]
    shared[t] = total
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[o] = shared[0]


@numba_kernel("real[:,::1], real[::1]")
def thread_a_column(g, out):
    """A thread adds one column. Neighbouring threads read neighbouring elements."""
    o = cuda.grid(1)
    if o < out.shape[0]:
        total = g.dtype.type(0)
        for n in range(g.shape[0]):
            total += g[n, o]
        out[o] = total
