"""Images that stay on the disk, and are read piece by piece when they are asked for.

The rows of a set are cut into pieces, 16 to a block. Each piece is split 8 : 1 : 1 by a
fixed permutation of its own, and a split is what the pieces give it, one after another.
A set that fits into one block is one piece, and split as a set in memory is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from minivae.backend import Array
from minivae.data.rows import Rows
from minivae.errors import UserError

PIECES = 16  # of a block
LEAST = 10 * PIECES  # images of a block: every piece has a tenth to validate by
HELD = 1 << 27  # numbers, at most, for who needs all at once: 512 MiB of float32


def split_sizes(N: int) -> tuple[int, int, int]:
    """Return how many of N rows train, validate and test: 8 : 1 : 1."""
    tenth = N // 10
    return N - 2 * tenth, tenth, tenth


def split_rows(N: int, seed: int = 0) -> list[Array]:
    """Split N rows by one fixed permutation."""
    train, validation, _ = split_sizes(N)
    order = np.random.default_rng(seed).permutation(N)
    return np.split(order, (train, train + validation))


class Stored:
    """Rows that are read when they are asked for, of one split of a set.

    `stored[a:b]`, `stored[3]` and `stored[[3, 5]]` are arrays, as those of an array
    are. `piece` rows are read at once: slices between its multiples read nothing twice.
    """

    def __init__(
        self, shape: tuple[int, ...], piece: int, read: Callable[[int, int], Array]
    ) -> None:
        self.shape, self.piece, self._read = shape, piece, read

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    def __getitem__(
        self, rows: int | np.integer[Any] | slice | Sequence[int] | Array
    ) -> Array:
        numbers = range(len(self))  # which has an array's ends and errors
        if isinstance(rows, (int, np.integer)):
            number = numbers[rows]
            return self._read(number, number + 1)[0]
        if not isinstance(rows, slice):
            chosen: Sequence[int] = [numbers[row] for row in rows]
        elif (chosen := numbers[rows]).step == 1:
            return self._read(chosen.start, max(chosen.start, chosen.stop))
        return joined([self._read(0, 0), *(self._read(i, i + 1) for i in chosen)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.size > HELD:
            raise UserError(
                f"this needs {len(self):,} images in memory at once, and they were "
                "left on the disk to be read by blocks: use a smaller set for it"
            )
        return np.asarray(self[:], dtype)

    def then(self, make: Callable[[Array, int], Array]) -> Stored:
        """Return what `make(rows, number of the first)` makes of these rows."""
        return Stored(self.shape, self.piece, lambda a, b: make(self._read(a, b), a))


class Pieces:
    """The rows of a set, cut into pieces of `size`, the last of which may be short."""

    def __init__(self, rows: Rows, size: int, source: str) -> None:
        self.rows, self.size, self.source = rows, size, source
        self._last: tuple[int, list[Array]] = (-1, [])

    def __getitem__(self, number: int) -> list[Array]:
        """Read a piece: its rows of train, validation and test."""
        last, parts = self._last
        if last != number:
            rows = self.rows.read(*self.bounds(number))
            parts = [rows[own] for own in split_rows(len(rows), number)]
            self._last = number, parts
        return parts

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first row of a piece, and the first after it."""
        return number * self.size, min((number + 1) * self.size, len(self.rows))

    def where(self, number: int) -> str:
        """Return words for what is wrong in a piece to begin with."""
        first, after = self.bounds(number)
        if after - first == len(self.rows):
            return self.source
        return f"{self.source} (images {first:,} to {after - 1:,})"

    def split(self, which: int, make: Callable[[Array, str], Array]) -> Stored:
        """Return what `make(rows, where they are)` makes of the rows of one split."""
        like = make(np.zeros((1, *self.rows.shape[1:]), self.rows.dtype), self.source)
        whole, rest = divmod(len(self.rows), self.size)
        piece, more = split_sizes(self.size)[which], split_sizes(rest)[which]

        def read(first: int, stop: int) -> Array:
            parts = [like[:0]]
            for number in range(first // piece, math.ceil(stop / piece)):
                start = number * piece
                rows = self[number][which][max(first - start, 0) : stop - start]
                parts += [make(rows, self.where(number))] if len(rows) else []
            return parts[-1] if len(parts) < 3 else np.concatenate(parts)

        return Stored((whole * piece + more, *like.shape[1:]), piece, read)


Images: TypeAlias = Array | Stored
"""Images, or their labels, in memory or on the disk."""


def each(images: Images, make: Callable[[Array, int], Array]) -> Images:
    """Return `make(images, number of the first)`: of those in memory now, at once; of
    those on the disk whenever they are read.
    """
    return images.then(make) if isinstance(images, Stored) else make(images, 0)


def piece_of(images: Images) -> int:
    """Return how many images to take at once: of those in memory, all."""
    return max(1, images.piece if isinstance(images, Stored) else len(images))


def in_blocks(images: Images) -> Iterator[Array]:
    """Yield all images in their order, a block at a time: of those in memory, all."""
    block = PIECES * piece_of(images)
    return (images[first : first + block] for first in range(0, len(images), block))


def batches(
    images: Images, shuffle: np.random.Generator, size: int, done: int = 0
) -> Iterator[Array]:
    """Yield shuffled images, `size` at a time, the last few fewer.

    The first `done` batches are left out. In memory all images are shuffled. On the
    disk the pieces are, and the images of 16 of them, a block, before the next 16 are
    read; a batch may begin in one block and end in the next.

    With P pieces, W images a block and batches of b, two images are in one batch with
    probability p = (b − 1) / (W − 1) if they are of one piece, and 15 p / (P − 1) if
    they are not, where a full shuffle of N images has (b − 1) / (N − 1).
    """
    piece, left_out = piece_of(images), done * size
    firsts = shuffle.permutation(range(0, len(images), piece))
    batch: list[Array] = []  # of its images, what the blocks until now have given
    missing = size
    for block in np.split(firsts, range(PIECES, len(firsts), PIECES)):
        count = sum(min(piece, len(images) - first) for first in block)
        order = shuffle.permutation(count)[left_out:]
        left_out = max(0, left_out - count)
        if not len(order):
            continue
        held = joined([images[first : first + piece] for first in block])
        for rows in np.split(order, range(missing, len(order), size)):
            batch.append(held[rows])
            missing -= len(rows)
            if not missing:
                yield joined(batch)
                batch, missing = [], size
        del held  # before the next block is read
    if batch:
        yield joined(batch)


def joined(parts: Sequence[Array]) -> Array:
    """Return arrays one after another; of one, itself."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
