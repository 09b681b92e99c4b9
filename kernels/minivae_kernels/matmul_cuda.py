"""The matrix product on a CUDA device, in Numba: who reads what, and how often.

Z = act(X Y + b), a thread an element of Z. X and Y may be transposed views.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

from numba import cuda

from minivae_kernels.launch import numba_kernel

TILE = 16  # a block is 16 x 16 threads
BIAS, BIAS_RELU = 1, 2  # epilogues; 0 is none


@cuda.jit(device=True)
def finished(total, bias, o, epilogue, zero):
    """Add the bias and apply the activation, while the sum is in a register."""
    if epilogue >= BIAS:
        total += bias[o]
    return zero if epilogue == BIAS_RELU and total < zero else total


@cuda.jit(device=True)
def product(x, y, n, o, zero):
    """Σ_k x_nk y_ko."""
    total = zero
    for k in range(x.shape[1]):
        total += x[n, k] * y[k, o]
    return total


@numba_kernel("real[:,:], real[:,:], real[::1], real[:,::1], int32")
def naive(x, y, bias, z, epilogue):
    """Neighbouring threads have neighbouring rows: they read and write a row apart."""
    n, o = cuda.grid(2)
    if n < z.shape[0] and o < z.shape[1]:
        zero = z.dtype.type(0)
        z[n, o] = finished(product(x, y, n, o, zero), bias, o, epilogue, zero)


@numba_kernel("real[:,:], real[:,:], real[::1], real[:,::1], int32")
def coalesced(x, y, bias, z, epilogue):
    """Neighbouring threads have neighbouring columns: one word of this is exchanged."""
    o, n = cuda.grid(2)
    if n < z.shape[0] and o < z.shape[1]:
        zero = z.dtype.type(0)
        z[n, o] = finished(product(x, y, n, o, zero), bias, o, epilogue, zero)


@numba_kernel("real[:,:], real[:,:], real[::1], real[:,::1], int32")
def shared_tile(x, y, bias, z, epilogue):
    """A block loads tiles of X and Y once and shares them: a 16th of the traffic.

    All threads take part in loading, also those outside of Z; so nobody may leave
    before the last barrier.
    """
    x_tile = cuda.shared.array((TILE, TILE), x.dtype)
    y_tile = cuda.shared.array((TILE, TILE), x.dtype)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    n, o = cuda.blockIdx.y * TILE + ty, cuda.blockIdx.x * TILE + tx
    zero = z.dtype.type(0)
    total, K = zero, x.shape[1]
    for start in range(0, K, TILE):
        inside = n < z.shape[0] and start + tx < K
        x_tile[ty, tx] = x[n, start + tx] if inside else zero
        inside = o < z.shape[1] and start + ty < K
        y_tile[ty, tx] = y[start + ty, o] if inside else zero
        cuda.syncthreads()
        for k in range(TILE):
            total += x_tile[ty, k] * y_tile[k, tx]
        cuda.syncthreads()
    if n < z.shape[0] and o < z.shape[1]:
        z[n, o] = finished(total, bias, o, epilogue, zero)
