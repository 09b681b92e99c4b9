"""Noise as a value: seed, stream and position say every random number beforehand.

There is no global random state. A sampler is handed its noise, or a `Noise` to draw it
from; whoever holds the same three integers draws the same numbers again, in any order
and on any device.
"""

from __future__ import annotations

import math
from enum import IntEnum

import minivae_kernels as kernels
import numpy as np
from numpy.typing import DTypeLike

from minivae.backend import Array
from minivae.errors import UserError


class Stream(IntEnum):
    """What a stream of one seed is used for; distinct streams are independent."""

    INITIALISE = 1
    LATENT = 2
    DROPOUT = 3
    BINARISE_TRAIN = 4
    BINARISE_VALIDATION = 5
    BINARISE_TEST = 6
    EVALUATE = 7
    PRIOR = 8
    CHECK = 9
    CORRUPT = 10
    FACTORS = 20


class Noise:
    """A reader of one Philox4x32-10 stream, at a position counted in elements.

    Element i of the stream is a function of (seed, stream, i) alone. Drawing moves
    `position` on by the number of elements drawn.
    """

    def __init__(self, seed: int, stream: int = 0, position: int = 0) -> None:
        if not 0 <= seed < 1 << 64:
            raise UserError(f"seed must be in [0, 2**64), not {seed}")
        if not 0 <= stream < 1 << 32 or not 0 <= position < 1 << 64:
            raise UserError(f"no stream {stream} or position {position}")
        self.seed, self.stream, self.position = seed, int(stream), position

    def __repr__(self) -> str:
        return f"Noise({self.seed}, {self.stream}, {self.position})"

    def at(self, position: int) -> Noise:
        """Return another reader of the same stream, at `position`."""
        return Noise(self.seed, self.stream, position)

    def _advance(self, shape: tuple[int, ...]) -> tuple[int, int]:
        first, count = self.position, math.prod(shape)
        self.position += count
        return first, count

    def words(self, count: int) -> Array:
        """Draw `count` 32-bit words."""
        first, count = self._advance((count,))
        return kernels.family("philox.words")(self.seed, self.stream, first, count)

    def uniform(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike = np.float32,
        like: Array | None = None,
    ) -> Array:
        """Draw uniforms in (0, 1), odd multiples of 2**-24: the same in every dtype.

        They lie where the array `like` does; without it they are NumPy's.
        """
        first, count = self._advance(shape)
        family = kernels.family("philox.uniforms")
        drawn = family(self.seed, self.stream, first, count, like=like)
        return drawn.astype(dtype, copy=False).reshape(shape)

    def normal(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike = np.float32,
        like: Array | None = None,
    ) -> Array:
        """Draw standard normals, of the dtype and place of `like` if that is given.

        On the CPU those of float32 are the rounded numbers of float64; on a device they
        are computed in float32, and within 2e-6 of them.
        """
        first, count = self._advance(shape)
        family = kernels.family("philox.normals")
        like = np.empty(0, dtype) if like is None else like
        drawn = family(self.seed, self.stream, first, count, like=like)
        return drawn.reshape(shape)
