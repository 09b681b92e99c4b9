"""Philox4x32-10: random words from a counter and a key, in any order, on any machine.

    (c0, c1, c2, c3), (k0, k1)  ->  four 32-bit words

Ten rounds of two 32x32-bit multiplications scramble a 128-bit counter under a 64-bit
key. Nothing is carried from one call to the next: word i of a stream can be computed
without the words before it, which is why every thread of a kernel can draw its own.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3",
section 3.3; known answers in the Random123 distribution, `tests/kat_vectors`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def words(seed: int, stream: int, first: int, count: int) -> Words:
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
    return out.reshape(-1)[offset : offset + count]


def uniforms(seed: int, stream: int, first: int, count: int) -> NDArray[np.float32]:
    """Return `count` uniforms: the odd multiples of 2**-24 in (0, 1).

    u = (2 * (word >> 9) + 1) * 2**-24 is exact in float32 on every machine, and never
    0 or 1.
    """
    odd = ((words(seed, stream, first, count) >> np.uint32(9)) << np.uint32(1)) | 1
    return odd.astype(np.float32) * np.float32(2.0**-24)


def normals(seed: int, stream: int, first: int, count: int) -> NDArray[np.float64]:
    """Return `count` standard normals by Box and Muller (1958), in float64.

    Elements 2j and 2j + 1 share the uniforms u, v of the same numbers: r cos(2 pi v)
    and r sin(2 pi v) with r = sqrt(-2 log u).
    """
    begin = first - first % 2
    pairs = -(-(first + count - begin) // 2)
    u = uniforms(seed, stream, begin, 2 * pairs).astype(np.float64).reshape(pairs, 2)
    radius = np.sqrt(-2 * np.log(u[:, 0]))
    angle = 2 * np.pi * u[:, 1]
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return z.reshape(-1)[first - begin : first - begin + count]
