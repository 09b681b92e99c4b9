"""Philox4x32-10: random words from a counter and a key, in any order, on any machine.

    (c0, c1, c2, c3), (k0, k1)  ->  four 32-bit words

Ten rounds of two 32x32-bit multiplications scramble a 128-bit counter under a 64-bit
key. Nothing is carried from one call to the next: word i of a stream can be computed
without the words before it, which is why every thread of a kernel can draw its own.

Every family here takes `like=`, an array: the numbers then lie where it lies, and the
normals have its dtype.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3",
section 3.3; known answers in the Random123 distribution, `tests/kat_vectors`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minivae_kernels.cpu import inlined, kernel
from minivae_kernels.family import Cost, Family
from minivae_kernels.launch import (
    CudaC,
    Kernel,
    NumbaCuda,
    ceil_div,
    empty,
    filling,
    library,
)
from minivae_kernels.threads import by_rows, seconds

Words = NDArray[np.uint32]

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as 32-bit fractions
LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)
ROUNDS = 10
CHUNK = 4096  # counters at once: their intermediate words stay in the cache


def philox4x32(
    counter: tuple[NDArray[np.uint64], ...], key: tuple[int, int], rounds: int = ROUNDS
) -> tuple[NDArray[np.uint64], ...]:
    """Return the four words of each counter, as 64-bit integers below 2**32.

    `counter` is four arrays of equal shape, `key` two integers, all below 2**32.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = (p1 >> SHIFT) ^ c1 ^ np.uint64(k0)
        c2 = (p0 >> SHIFT) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & LOW, p0 & LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words_cost(seed: int, stream: int, first: int, count: int, **_: Any) -> Cost:
    """Write the words; per word 5 multiplications and 10 bit operations."""
    return Cost(bytes=4 * count, flops=40 * count)


def normals_cost(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> Cost:
    """Write float64, or like's; per number its word, half a log and root, a sine."""
    size = 8 if like is None else like.itemsize
    return Cost(bytes=size * count, flops=80 * count)


words = Family(
    "philox.words",
    "word i = Philox(counter = (i div 4, stream), key = seed)[i mod 4]",
    words_cost,
)
uniforms = Family("philox.uniforms", "u = (2 ⌊word / 2⁹⌋ + 1) 2⁻²⁴", words_cost)
normals = Family(
    "philox.normals", "z = √(−2 log u) cos 2πv,  √(−2 log u) sin 2πv", normals_cost
)


# References


@words.reference
def words_numpy(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> Words:
    """Return `count` words of a stream, from element `first` on.

    Element i is word i mod 4 of the counter (i div 4, stream) under the key `seed`:
    counter = (block low, block high, stream, 0), key = (seed low, seed high).
    """
    key = (seed & 0xFFFFFFFF, seed >> 32)
    first_block, last_block = first // 4, -(-(first + count) // 4)
    out = np.empty((last_block - first_block, 4), np.uint32)
    for start in range(first_block, last_block, CHUNK):
        stop = min(start + CHUNK, last_block)
        block = np.arange(start, stop, dtype=np.uint64)
        zero = np.zeros_like(block)
        counter = (block & LOW, block >> SHIFT, zero + np.uint64(stream), zero)
        rows = out[start - first_block : stop - first_block]
        for column, word in enumerate(philox4x32(counter, key)):
            rows[:, column] = word
    offset = first - 4 * first_block
    drawn = out.reshape(-1)[offset : offset + count]
    return library(like).asarray(drawn)


@uniforms.reference
def uniforms_numpy(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> NDArray[np.float32]:
    """Return `count` uniforms: the odd multiples of 2**-24 in (0, 1).

    u = (2 * (word >> 9) + 1) * 2**-24 is exact in float32 on every machine, and never
    0 or 1.
    """
    return as_uniforms(words(seed, stream, first, count, like=like))


def as_uniforms(drawn: Words) -> NDArray[np.float32]:
    """Return the uniform of each word."""
    odd = ((drawn >> np.uint32(9)) << np.uint32(1)) | np.uint32(1)
    return odd.astype(np.float32) * np.float32(2.0**-24)


@normals.reference
def normals_numpy(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> NDArray[np.floating]:
    """Return `count` standard normals by Box and Muller (1958), in float64.

    Elements 2j and 2j + 1 share the uniforms u, v of the same numbers: r cos(2 pi v)
    and r sin(2 pi v) with r = sqrt(-2 log u).
    """
    begin = first - first % 2
    pairs = -(-(first + count - begin) // 2)
    xp, u = library(like), uniforms(seed, stream, begin, 2 * pairs, like=like)
    u = u.astype(np.float64).reshape(pairs, 2)
    radius = xp.sqrt(-2 * xp.log(u[:, 0]))
    angle = 2 * np.pi * u[:, 1]
    z = xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=1)
    return _typed(z.reshape(-1)[first - begin : first - begin + count], like)


def _typed(drawn: Any, like: Any) -> Any:
    """Round float64 to the dtype of `like`."""
    return drawn if like is None else drawn.astype(like.dtype, copy=False)


# Compiled: one counter at a time, its words never leave the registers


@words.rung(1, runs_on="cpu", idea="ten rounds in registers, a block at a time")
def words_numba(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> Words:
    """The same words as the reference, bit for bit."""
    return _drawn(_words_loop, np.uint32, 4, seed, stream, first, count)


@uniforms.rung(1, runs_on="cpu", idea="no array of words in between")
def uniforms_numba(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> NDArray[np.float32]:
    """The same uniforms as the reference, bit for bit."""
    return _drawn(_uniforms_loop, np.float32, 4, seed, stream, first, count)


@normals.rung(1, runs_on="cpu", idea="two normals from two words, in one pass")
def normals_numba(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> NDArray[np.floating]:
    """The same normals as the reference, up to the last digits of log, cos and sin."""
    return _typed(
        _drawn(_normals_loop, np.float64, 8, seed, stream, first, count), like
    )


def _drawn(
    loop: Any, dtype: Any, size: int, seed: int, stream: int, first: int, count: int
) -> NDArray[Any]:
    """Run a loop over whole blocks of four, and cut out what was asked for."""
    first_block, last_block = first // 4, -(-(first + count) // 4)
    blocks = last_block - first_block
    out = np.empty((blocks, 4), dtype)
    key = np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)
    position = np.uint64(first_block), np.uint32(stream)
    by_rows(loop, blocks, seconds(16 * size * blocks), *position, *key, out)
    offset = first - 4 * first_block
    return out.reshape(-1)[offset : offset + count]


@inlined
def _block(index, stream, k0, k1):  # type: ignore[no-untyped-def]
    """The four words of block `index`, as in `philox4x32`."""
    c0, c1 = np.uint32(index & LOW), np.uint32(index >> SHIFT)
    c2, c3 = stream, np.uint32(0)
    for _ in range(ROUNDS):
        p0 = np.uint64(c0) * MULTIPLIERS[0]
        p1 = np.uint64(c2) * MULTIPLIERS[1]
        c0 = np.uint32(np.uint32(p1 >> SHIFT) ^ c1 ^ k0)
        c2 = np.uint32(np.uint32(p0 >> SHIFT) ^ c3 ^ k1)
        c1, c3 = np.uint32(p1 & LOW), np.uint32(p0 & LOW)
        k0, k1 = np.uint32(k0 + WEYL[0]), np.uint32(k1 + WEYL[1])
    return c0, c1, c2, c3


@inlined
def _uniform(word):  # type: ignore[no-untyped-def]
    odd = ((word >> np.uint32(9)) << np.uint32(1)) | np.uint32(1)
    return np.float32(odd) * np.float32(2.0**-24)


@kernel
def _words_loop(start, stop, first_block, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    for b in range(start, stop):
        w = _block(first_block + np.uint64(b), stream, k0, k1)
        for i in range(4):
            out[b, i] = w[i]


@kernel
def _uniforms_loop(start, stop, first_block, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    for b in range(start, stop):
        w = _block(first_block + np.uint64(b), stream, k0, k1)
        for i in range(4):
            out[b, i] = _uniform(w[i])


@kernel
def _normals_loop(start, stop, first_block, stream, k0, k1, out):  # type: ignore[no-untyped-def]
    for b in range(start, stop):
        w = _block(first_block + np.uint64(b), stream, k0, k1)
        for i in range(0, 4, 2):
            radius = math.sqrt(-2.0 * math.log(np.float64(_uniform(w[i]))))
            angle = 2.0 * math.pi * np.float64(_uniform(w[i + 1]))
            out[b, i] = radius * math.cos(angle)
            out[b, i + 1] = radius * math.sin(angle)


# On a CUDA device

THREADS = 256
WORD, UNIFORM, NORMAL = (
    NumbaCuda("philox_cuda", name, THREADS)
    for name in ("words", "uniforms", "standard_normals")
)
FOUR_WORDS, FOUR_UNIFORMS, FOUR_NORMALS = (
    CudaC("philox", name, THREADS) for name in ("words", "uniforms", "standard_normals")
)
SINE_TABLE = 48  # bytes of coefficients that a sine or cosine in float64 reads


def normals_moves(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> Cost:
    """The floor; in float64, a table besides."""
    floor = normals_cost(seed, stream, first, count, like=like)
    return Cost(floor.bytes, floor.flops, sine_table(count, like))


def sine_table(count: int, like: Any) -> dict[str, int]:
    """Return what Numba's float64 sines of `count` elements read besides."""
    double = like is None or like.dtype == np.float64
    return {"coefficients of sines": SINE_TABLE * count} if double else {}


EACH = "a thread an element: its block's other three words are thrown away"
FOURS = "a thread a block of four, stored by one 128-bit instruction"


def not_in_fours(
    seed: int, stream: int, first: int, count: int, **_: Any
) -> str | None:
    """Return why a kernel that draws whole blocks cannot start here."""
    if first % 4:
        return f"draws blocks of four: first must be a multiple of 4, got {first}"
    return None


@words.rung(2, runs_on="cuda", idea=EACH, kernels=(WORD,), cost=words_cost)
def words_each(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> Words:
    """The same words, bit for bit."""
    return _each(WORD, np.uint32, seed, stream, first, count, like)


@words.rung(
    3,
    runs_on="cuda",
    idea=FOURS,
    kernels=(FOUR_WORDS,),
    cost=words_cost,
    unless=not_in_fours,
)
def words_fours(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> Words:
    """The same words, bit for bit."""
    return _in_fours(FOUR_WORDS, np.uint32, seed, stream, first, count, like)


@uniforms.rung(2, runs_on="cuda", idea=EACH, kernels=(UNIFORM,), cost=words_cost)
def uniforms_each(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> NDArray[np.float32]:
    """The same uniforms, bit for bit."""
    return _each(UNIFORM, np.float32, seed, stream, first, count, like)


@uniforms.rung(
    3,
    runs_on="cuda",
    idea=FOURS,
    kernels=(FOUR_UNIFORMS,),
    cost=words_cost,
    unless=not_in_fours,
)
def uniforms_fours(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> NDArray[np.float32]:
    """The same uniforms, bit for bit."""
    return _in_fours(FOUR_UNIFORMS, np.float32, seed, stream, first, count, like)


@normals.rung(2, runs_on="cuda", idea=EACH, kernels=(NORMAL,), cost=normals_moves)
def normals_each(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> NDArray[np.floating]:
    """The same normals, within 2e-6 where they are computed in float32."""
    dtype = np.float64 if like is None else like.dtype
    return _each(NORMAL, dtype, seed, stream, first, count, like)


@normals.rung(
    3,
    runs_on="cuda",
    idea="four a thread, and sincospi: exact angles, no slow path, half the roots",
    kernels=(FOUR_NORMALS,),
    cost=normals_cost,
    unless=not_in_fours,
)
def normals_fours(
    seed: int, stream: int, first: int, count: int, *, like: Any = None
) -> NDArray[np.floating]:
    """The same normals, within 2e-6 where they are computed in float32."""
    dtype = np.float64 if like is None else like.dtype
    return _in_fours(FOUR_NORMALS, dtype, seed, stream, first, count, like)


def _each(
    kernel: Kernel,
    dtype: Any,
    seed: int,
    stream: int,
    first: int,
    count: int,
    like: Any,
) -> Any:
    out = empty(count, like, dtype)
    key = seed & 0xFFFFFFFF, seed >> 32
    kernel[ceil_div(count, THREADS), THREADS](*key, stream, first, out)
    return out


def _in_fours(
    kernel: Kernel,
    dtype: Any,
    seed: int,
    stream: int,
    first: int,
    count: int,
    like: Any,
) -> Any:
    out = empty(count, like, dtype)
    blocks = filling(ceil_div(count, 4), THREADS)
    key = seed & 0xFFFFFFFF, seed >> 32
    kernel[blocks, THREADS](*key, stream, first, out, count)
    return out
