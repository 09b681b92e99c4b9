"""Philox on a CUDA device, in Numba: a thread draws one element, wherever it lies.

Words are 64-bit numbers below 2**32, so that a product of two is exact.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

import math

from numba import cuda, float32, uint32, uint64

from minivae_kernels.launch import numba_kernel
from minivae_kernels.philox import LOW, MULTIPLIERS, ROUNDS, SHIFT, WEYL

M0, M1 = MULTIPLIERS
W0, W1 = uint64(WEYL[0]), uint64(WEYL[1])


@cuda.jit(device=True)
def philox(block, stream, low, high):
    """The four words of block `block` of a stream under the key (low, high)."""
    c0, c1, c2, c3 = block & LOW, block >> SHIFT, uint64(stream), uint64(0)
    k0, k1 = uint64(low), uint64(high)
    for _ in range(ROUNDS):
        p0, p1 = c0 * M0, c2 * M1
        c0 = (p1 >> SHIFT) ^ c1 ^ k0
        c2 = (p0 >> SHIFT) ^ c3 ^ k1
        c1, c3 = p1 & LOW, p0 & LOW
        k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    return c0, c1, c2, c3


@cuda.jit(device=True)
def word(element, stream, low, high):
    """Word `element` of a stream; its block's other three are thrown away."""
    c0, c1, c2, c3 = philox(element >> uint64(2), stream, low, high)
    even, odd = (c2, c3) if element & uint64(2) else (c0, c1)
    return uint32(odd if element & uint64(1) else even)


@cuda.jit(device=True)
def uniform(drawn):
    """The uniform of a word: (2 ⌊word / 2⁹⌋ + 1) 2⁻²⁴, exact in float32."""
    odd = uint32(uint32(uint32(drawn) >> uint32(9)) << uint32(1)) | uint32(1)
    return float32(odd) * float32(2.0**-24)


@cuda.jit(device=True)
def normal(element, stream, low, high, real):
    """Normal `element` of a stream, computed in the type `real` (Box and Muller).

    The angle is 2π (v − ½), in [−π, π], where it is rounded less: both signs change.
    """
    c0, c1, c2, c3 = philox(element >> uint64(2), stream, low, high)
    first, second = (c2, c3) if element & uint64(2) else (c0, c1)
    radius = math.sqrt(real(-2) * math.log(real(uniform(first))))
    angle = real(2 * math.pi) * (real(uniform(second)) - real(0.5))
    turned = math.sin(angle) if element & uint64(1) else math.cos(angle)
    return -radius * turned


@numba_kernel("uint32, uint32, uint32, uint64, uint32[::1]")
def words(low, high, stream, first, out):
    """Thread i stores word first + i."""
    i = cuda.grid(1)
    if i < out.shape[0]:
        out[i] = word(first + uint64(i), stream, low, high)


@numba_kernel("uint32, uint32, uint32, uint64, float32[::1]")
def uniforms(low, high, stream, first, out):
    """Thread i stores uniform first + i."""
    i = cuda.grid(1)
    if i < out.shape[0]:
        out[i] = uniform(word(first + uint64(i), stream, low, high))


@numba_kernel("uint32, uint32, uint32, uint64, real[::1]")
def standard_normals(low, high, stream, first, out):
    """Thread i stores normal first + i."""
    i = cuda.grid(1)
    if i < out.shape[0]:
        out[i] = normal(first + uint64(i), stream, low, high, out.dtype.type)
