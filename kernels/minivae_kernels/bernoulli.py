"""Binary cross-entropy from logits: value per image and gradient, in one pass.

    L_n = Σ_d log(1 + exp l) − l x        ∂L_n/∂l = σ(l) − x

Both come from one t = exp(−|l|): log(1 + exp l) = max(l, 0) + log(1 + t), and σ(l) is
1 / (1 + t) or t / (1 + t). Nothing overflows, and no probability is clipped.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae_kernels.cpu import (
    check_shapes,
    contiguous,
    exp_f32,
    f32,
    kernel,
    log1p_unit_f32,
)
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.launch import (
    CudaC,
    Kernel,
    NumbaCuda,
    ceil_div,
    contiguous_on,
    empty,
    filling,
    unaligned,
)
from minivae_kernels.threads import by_rows, seconds


def cost(logits: Any, target: Any, scale: float = 1.0) -> Cost:
    """Read l and x, write the gradient; about 10 operations, exp, log1p, 1/x."""
    return Cost(bytes=3 * logits.nbytes, flops=40 * logits.size)


bernoulli = Family("bernoulli", "L = Σ log(1 + eˡ) − l x,  l̄ = σ(l) − x", cost)


@bernoulli.reference
def bernoulli_numpy(logits: Any, target: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """Return L (N,) and scale ∂L/∂l (N, D), by array expressions."""
    xp = library(logits, target)
    t = xp.exp(-xp.abs(logits))
    values = xp.maximum(logits, 0) - logits * target + xp.log1p(t)
    gradient = xp.where(logits >= 0, 1, t) / (1 + t) - target
    return values.sum(axis=1), scale * gradient


@bernoulli.rung(1, runs_on="cpu", idea="one pass over memory: no temporaries")
def bernoulli_numba(logits: Any, target: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """A loop over pixels, with exp and log1p of libm."""
    return _run(_libm_loop, logits, target, scale)


@bernoulli.rung(2, runs_on="cpu", idea="polynomials for exp and log1p: vector units")
def bernoulli_polynomial(
    logits: Any, target: Any, scale: float = 1.0
) -> tuple[Any, Any]:
    """The same loop, in float32 with functions that LLVM can vectorize."""
    loop = _vector_loop if logits.dtype == np.float32 else _libm_loop
    return _run(loop, logits, target, scale)


def _run(loop: Any, logits: Any, target: Any, scale: float) -> tuple[Any, Any]:
    check_shapes(logits=logits, target=target)
    logits, target = contiguous(logits, target)
    values, gradient = np.empty(len(logits), logits.dtype), np.empty_like(logits)
    factor = logits.dtype.type(scale)
    work = seconds(3 * logits.nbytes)
    by_rows(loop, len(logits), work, logits, target, factor, values, gradient)
    return values, gradient


@kernel
def _libm_loop(start, stop, logits, target, scale, values, gradient):  # type: ignore[no-untyped-def]
    zero = scale - scale
    for n in range(start, stop):
        total = zero
        for d in range(logits.shape[1]):
            l, x = logits[n, d], target[n, d]  # noqa: E741
            t = math.exp(-abs(l))
            total += max(l, zero) - l * x + math.log1p(t)
            gradient[n, d] = scale * ((1 if l >= 0 else t) / (1 + t) - x)
        values[n] = total


@kernel
def _vector_loop(start, stop, logits, target, scale, values, gradient):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        total = f32(0.0)
        for d in range(logits.shape[1]):
            l, x = logits[n, d], target[n, d]  # noqa: E741
            t = exp_f32(-abs(l))
            total += max(l, f32(0.0)) - l * x + log1p_unit_f32(t)
            inverse = f32(1.0) / (f32(1.0) + t)
            gradient[n, d] = scale * ((inverse if l >= 0 else t * inverse) - x)
        values[n] = total


# On a CUDA device. First in Numba: loss and gradient are two kernels, 20 bytes a pixel

THREADS = 256
ATOMIC, TREE, SHUFFLES, ADD, STRIDE, GRADIENT = (
    NumbaCuda("bernoulli_cuda", name, THREADS)
    for name in (
        "atomic",
        "block_tree",
        "warp_shuffles",
        "add_partials",
        "block_stride",
        "gradient",
    )
)


def two_passes(logits: Any, target: Any, scale: float = 1.0) -> Cost:
    """Loss: read l and x, write a value an image. Gradient: read both again."""
    values = len(logits) * logits.itemsize
    return Cost(5 * logits.nbytes, 40 * logits.size, {"values": values})


def with_atomics(logits: Any, target: Any, scale: float = 1.0) -> Cost:
    """The same, but every pixel's loss is read and written on its own."""
    beside = {"values, a pixel at a time": 2 * logits.nbytes}
    return Cost(5 * logits.nbytes, 40 * logits.size, beside)


def with_partials(logits: Any, target: Any, scale: float = 1.0) -> Cost:
    """The same, and a sum of each 256 pixels of an image, written and read."""
    N, D = logits.shape
    partials = 2 * N * ceil_div(D, THREADS) * logits.itemsize
    beside = {"values": N * logits.itemsize, "partials": partials}
    return Cost(5 * logits.nbytes, 40 * logits.size, beside)


@bernoulli.rung(
    3,
    runs_on="cuda",
    idea="a thread a pixel; each adds its loss to its image's, by an atomic",
    kernels=(ATOMIC, GRADIENT),
    cost=with_atomics,
)
def bernoulli_atomic(logits: Any, target: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """Right, but not the same bits each time: float additions in any order."""
    logits, target = _on_device(logits, target)
    values = empty(len(logits), logits)
    values[...] = 0
    ATOMIC[_chunks(logits), THREADS](logits, target, values)
    return values, _gradient(logits, target, scale)


@bernoulli.rung(
    4,
    runs_on="cuda",
    idea="a tree in shared memory: one partial sum a block, and barriers",
    kernels=(TREE, ADD, GRADIENT),
    cost=with_partials,
)
def bernoulli_block_tree(
    logits: Any, target: Any, scale: float = 1.0
) -> tuple[Any, Any]:
    """Deterministic: partial sums are added in their order."""
    return _by_partials(TREE, logits, target, scale)


@bernoulli.rung(
    5,
    runs_on="cuda",
    idea="warp shuffles: sums go from lane to lane, with one barrier",
    kernels=(SHUFFLES, ADD, GRADIENT),
    cost=with_partials,
)
def bernoulli_warp_shuffles(
    logits: Any, target: Any, scale: float = 1.0
) -> tuple[Any, Any]:
    """The same partial sums without trips to shared memory."""
    return _by_partials(SHUFFLES, logits, target, scale)


@bernoulli.rung(
    6,
    runs_on="cuda",
    idea="a block an image, its threads walk over it: no partial sums",
    kernels=(STRIDE, GRADIENT),
    cost=two_passes,
)
def bernoulli_block_stride(
    logits: Any, target: Any, scale: float = 1.0
) -> tuple[Any, Any]:
    """Any number of pixels by a block of one size; two launches, not three."""
    logits, target = _on_device(logits, target)
    values = empty(len(logits), logits)
    STRIDE[len(logits), THREADS](logits, target, values)
    return values, _gradient(logits, target, scale)


def _on_device(logits: Any, target: Any) -> tuple[Any, ...]:
    check_shapes(logits=logits, target=target)
    return contiguous_on(logits, target)


def _chunks(logits: Any) -> tuple[int, int]:
    """Return a grid of a block for each 256 pixels of an image."""
    return len(logits), ceil_div(logits.shape[1], THREADS)


def _by_partials(
    kernel: Kernel, logits: Any, target: Any, scale: float
) -> tuple[Any, Any]:
    logits, target = _on_device(logits, target)
    partials, values = empty(_chunks(logits), logits), empty(len(logits), logits)
    kernel[_chunks(logits), THREADS](logits, target, partials)
    ADD[ceil_div(len(logits), THREADS), THREADS](partials, values)
    return values, _gradient(logits, target, scale)


def _gradient(logits: Any, target: Any, scale: float) -> Any:
    out = empty(logits.shape, logits)
    GRADIENT[_chunks(logits), THREADS](logits, target, scale, out)
    return out


# Then in CUDA C: loss and gradient in one pass, 12 bytes a pixel

ONE_PASS = CudaC("bernoulli", "one_pass", THREADS)
VECTORS = CudaC("bernoulli", "vectors", THREADS)
FAST = CudaC("bernoulli", "vectors", THREADS, FAST=1)


def one_pass(logits: Any, target: Any, scale: float = 1.0) -> Cost:
    """Read l and x, write the gradient, and a value an image."""
    values = len(logits) * logits.itemsize
    return Cost(3 * logits.nbytes, 40 * logits.size, {"values": values})


@bernoulli.rung(
    7,
    runs_on="cuda",
    idea="loss and gradient from one exp, in one pass: 12 bytes a pixel, not 20",
    kernels=(ONE_PASS,),
    cost=one_pass,
)
def bernoulli_one_pass(logits: Any, target: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """A block an image. The only rung that changes the floor."""
    logits, target = _on_device(logits, target)
    values, gradient = empty(len(logits), logits), empty(logits.shape, logits)
    N, D = logits.shape
    ONE_PASS[N, THREADS](logits, target, scale, values, gradient, D)
    return values, gradient


@bernoulli.rung(
    8,
    runs_on="cuda",
    idea="four pixels a lane by 128-bit loads, a warp an image: no barrier",
    kernels=(VECTORS,),
    cost=one_pass,
    unless=unaligned,
)
def bernoulli_vectors(logits: Any, target: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """More bytes in flight for each instruction; warps never wait for each other."""
    return _by_vectors(VECTORS, logits, target, scale)


@bernoulli.rung(
    9,
    runs_on="cuda",
    idea="the hardware's own exp, log and division: fewer digits, fewer instructions",
    kernels=(FAST,),
    cost=one_pass,
    unless=unaligned,
    dtypes=(np.dtype(np.float32),),
)
def bernoulli_fast(logits: Any, target: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """An absolute error of 4e-7 a pixel; its bytes are the floor, so time is theirs."""
    return _by_vectors(FAST, logits, target, scale)


def _by_vectors(
    kernel: Kernel, logits: Any, target: Any, scale: float
) -> tuple[Any, Any]:
    logits, target = _on_device(logits, target)
    values, gradient = empty(len(logits), logits), empty(logits.shape, logits)
    N, D = logits.shape
    blocks = filling(N * 32, THREADS)
    kernel[blocks, THREADS](logits, target, scale, values, gradient, N, D // 4)
    return values, gradient
