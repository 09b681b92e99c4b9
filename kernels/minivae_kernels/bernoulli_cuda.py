"""Binary cross-entropy on a CUDA device, in Numba: from an atomic a pixel to partials.

A kernel is the program of one thread. In all of these, block (n, c) has the pixels of
image n from 256 c on. Loss and gradient are two kernels here, so that logits and target
are read twice. `zero` and `one` have the arrays' dtype: a literal would make a float32
sum float64.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

import math

from numba import cuda

from minivae_kernels.launch import numba_kernel

THREADS = 256  # of a block, a power of 2
WARPS = THREADS // 32
ALL_LANES = 0xFFFFFFFF


@cuda.jit(device=True)
def loss(l, x, zero):  # noqa: E741
    """−log p(x) of one pixel."""
    return max(l, zero) - l * x + math.log1p(math.exp(-abs(l)))


@numba_kernel("real[:,::1], real[:,::1], real[::1]")
def atomic(logits, target, values):
    """A thread a pixel, and all threads of an image add to one word.

    One at a time: D additions wait for each other, and their order is chance.
    """
    n, d = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if d < logits.shape[1]:
        zero = values.dtype.type(0)
        cuda.atomic.add(values, n, loss(logits[n, d], target[n, d], zero))


@numba_kernel("real[:,::1], real[:,::1], real[:,::1]")
def block_tree(logits, target, partials):
    """A tree of additions in shared memory, and a partial sum a block.

    After each barrier half of the threads have nothing left to do.
    """
    shared = cuda.shared.array(THREADS, logits.dtype)
    zero = logits.dtype.type(0)
    t = cuda.threadIdx.x
    n, d = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + t
    shared[t] = loss(logits[n, d], target[n, d], zero) if d < logits.shape[1] else zero
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        partials[n, cuda.blockIdx.y] = shared[0]


@cuda.jit(device=True)
def block_sum(value, of_warp, zero):
    """Sum over the block by warp shuffles: one barrier, not nine; thread 0 has it.

    Lanes hand their sums to each other through registers; then the first warp adds up
    the warps.
    """
    lane, warp = cuda.threadIdx.x % 32, cuda.threadIdx.x // 32
    for distance in (16, 8, 4, 2, 1):
        value += cuda.shfl_down_sync(ALL_LANES, value, distance)
    if lane == 0:
        of_warp[warp] = value
    cuda.syncthreads()
    value = of_warp[lane] if lane < WARPS else zero
    for distance in (4, 2, 1):
        value += cuda.shfl_down_sync(ALL_LANES, value, distance)
    return value


@numba_kernel("real[:,::1], real[:,::1], real[:,::1]")
def warp_shuffles(logits, target, partials):
    """The same partial sums, by shuffles."""
    of_warp = cuda.shared.array(WARPS, logits.dtype)
    zero = logits.dtype.type(0)
    n, d = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    term = loss(logits[n, d], target[n, d], zero) if d < logits.shape[1] else zero
    total = block_sum(term, of_warp, zero)
    if cuda.threadIdx.x == 0:
        partials[n, cuda.blockIdx.y] = total


@numba_kernel("real[:,::1], real[::1]")
def add_partials(partials, values):
    """A thread an image adds its partial sums in their order: always the same bits."""
    n = cuda.grid(1)
    if n < values.shape[0]:
        total = values.dtype.type(0)
        for chunk in range(partials.shape[1]):
            total += partials[n, chunk]
        values[n] = total


@numba_kernel("real[:,::1], real[:,::1], real[::1]")
def block_stride(logits, target, values):
    """A block an image: each thread walks on by 256 pixels; no partial sums."""
    of_warp = cuda.shared.array(WARPS, logits.dtype)
    zero = logits.dtype.type(0)
    n, total = cuda.blockIdx.x, zero
    for d in range(cuda.threadIdx.x, logits.shape[1], THREADS):
        total += loss(logits[n, d], target[n, d], zero)
    total = block_sum(total, of_warp, zero)
    if cuda.threadIdx.x == 0:
        values[n] = total


@numba_kernel("real[:,::1], real[:,::1], real, real[:,::1]")
def gradient(logits, target, scale, out):
    """A thread a pixel: σ(l) − x, by a second pass over the same arrays."""
    n, d = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if d < logits.shape[1]:
        zero, one = out.dtype.type(0), out.dtype.type(1)
        l = logits[n, d]  # noqa: E741
        t = math.exp(-abs(l))
        sigmoid = (one if l >= zero else t) / (one + t)
        out[n, d] = scale * (sigmoid - target[n, d])
