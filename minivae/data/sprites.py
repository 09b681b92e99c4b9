"""Sprites: images drawn from five known factors, for the study of disentanglement.

A white shape on black, drawn on a canvas of 64 units a side, whatever the number of
pixels. Scale s runs from ½ to 1, positions x and y from 0 to 1:

    centre     (16 + 32 x, 16 + 32 y), y downwards
    square     side 20 s
    ellipse    half axes 13 s (across) and 7 s
    heart      20 s wide, point down, its centroid 1.93 s above the centre
    turned     counter-clockwise

Each shape turns within its own period: an orientation k of K is the angle P k / K with
P = 90° for the square, 180° for the ellipse, 360° for the heart. So no two orientations
look the same, and a class of orientation says what can be seen.

The sizes are those measured on dSprites (Matthey et al. 2017), whose angles instead
run from 0 to 360° inclusive for every shape. These are other images: scores on them are
not to be compared with published ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minivae.backend import Array
from minivae.data.factors import Factors
from minivae.errors import UserError

CANVAS = 64.0
SHAPES = ("square", "ellipse", "heart")
PERIODS = np.array([90.0, 180.0, 360.0])  # degrees after which a shape is itself again
NAMES = ("shape", "scale", "orientation", "x", "y")
FULL = (3, 6, 40, 32, 32)  # 737,280 images
SMALL = (3, 4, 10, 10, 10)  # 12,000: those of the data sets sprites16, 32 and 64
SIDES = (16, 32, 64)  # pixels
SAMPLES = 4  # along each side of a pixel: a grey level is a share of its 16 points
AT_ONCE = 1 << 14  # points looked at together: more would not stay in the cache

HEART_RISE = 1.41  # puts the centroid of the curve, at 0.52, to 1.93
REACH = (math.sqrt(200), 13.0, 11.3)  # of each shape from its centre, at scale 1


def in_square(u: Array, v: Array) -> Array:
    """max(|u|, |v|) <= 10."""
    return np.maximum(np.abs(u), np.abs(v)) <= 10


def in_ellipse(u: Array, v: Array) -> Array:
    """(u / 13)² + (v / 7)² <= 1."""
    return (u / 13) ** 2 + (v / 7) ** 2 <= 1


def in_heart(u: Array, v: Array) -> Array:
    """|y − (4 − 2c² − 8c⁴)| <= c (19 − 8c²), where c = √(1 − |x/16|^⅔).

    The curve x = 16 sin³ t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t, solved for y:
    with c = cos t, its upper half has c >= 0 and its lower half −c. x and y are here in
    units of 10 / 16.
    """
    x, y = u * 1.6, (v - HEART_RISE) * 1.6
    c2 = 1 - np.cbrt(np.abs(x) / 16) ** 2
    c = np.sqrt(np.maximum(c2, 0))
    inside = np.abs(y - (4 - 2 * c2 - 8 * c2**2)) <= c * (19 - 8 * c2)
    return inside & (c2 >= 0)


INSIDE: tuple[Callable[[Array, Array], Array], ...] = (in_square, in_ellipse, in_heart)


class Sprites:
    """A full grid of sprites, drawn when they are asked for.

    `sizes` are the numbers of shapes, scales, orientations, and positions x and y.
    `sprites[rows]` are images (N, 1, S, S) in [0, 1], of one number (1, S, S); nothing
    is held. Anti-aliased, a pixel is the share of 16 points in it that lie within the
    shape; `binary`, it is 1 if its centre does.
    """

    def __init__(
        self, size: int = 64, sizes: Sequence[int] = FULL, binary: bool = False
    ) -> None:
        if size not in SIDES:
            raise UserError(f"sprites have 16, 32 or 64 pixels a side, not {size}")
        if len(sizes) != len(NAMES):
            raise UserError(f"five sizes for {', '.join(NAMES)}, not {len(sizes)}")
        self.factors = Factors(NAMES, tuple(int(n) for n in sizes), ("shape",))
        if sizes[0] > len(SHAPES):
            raise UserError(f"there are {len(SHAPES)} shapes, not {sizes[0]}")
        if self.factors.combinations > 1 << 40:
            raise UserError(f"{' x '.join(map(str, sizes))} images are too many")
        self.size, self.binary = size, binary

    def __len__(self) -> int:
        return self.factors.combinations

    def __getitem__(self, rows: int | slice | Array | Sequence[int]) -> Array:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        index = np.asarray(rows)
        if index.ndim > 1 or (index.size and index.dtype.kind not in "iu"):
            raise UserError("sprites are indexed by a number, a slice or numbers (N,)")
        drawn = self.draw(self.factors.classes(np.atleast_1d(index)))
        return drawn if index.ndim else drawn[0]

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    def at(self, **classes: int) -> Array:
        """Return the image (1, S, S) with classes by name: at(shape=2, x=5).

        A factor that is not named has its middle value.
        """
        for name in classes:
            self.factors.number(name)
        middle = {n: k // 2 for n, k in zip(NAMES, self.factors.sizes, strict=True)}
        chosen: Array = self[self.factors.index([[*(middle | classes).values()]])]
        return chosen[0]

    def values(self, classes: Array) -> Array:
        """Return what classes (N, 5) stand for, in the units of this module's text.

        Shape is its number, orientation an angle in degrees.
        """
        K = self.factors.sizes
        scale = _spaced(classes[:, 1], K[1], 0.5, 1.0)
        angle = PERIODS[classes[:, 0]] * classes[:, 2] / K[2]
        x, y = (_spaced(classes[:, i], K[i], 0.0, 1.0) for i in (3, 4))
        return np.stack([classes[:, 0].astype(np.float64), scale, angle, x, y], axis=1)

    def draw(self, classes: Array) -> Array:
        """Draw the images of classes (N, 5): (N, 1, S, S) in [0, 1]."""
        return self.levels(classes) / np.float32(1 if self.binary else SAMPLES**2)

    def levels(self, classes: Array) -> Array:
        """Count for each pixel the points within the shape: (N, 1, S, S), bytes."""
        self.factors.check(classes)
        values = self.values(classes)
        counts = np.zeros((len(classes), self.size, self.size), np.uint8)
        for shape in range(len(SHAPES)):
            mine = np.flatnonzero(classes[:, 0] == shape)
            side = min(self.size, self._window(shape))
            block = max(1, AT_ONCE // (side * self._samples) ** 2)
            for start in range(0, len(mine), block):
                rows = mine[start : start + block]
                self._draw_window(counts, rows, shape, values[rows])
        return counts[:, None]

    @property
    def _samples(self) -> int:
        return 1 if self.binary else SAMPLES

    def _window(self, shape: int) -> int:
        """How many pixels a side hold a shape wherever its centre is."""
        return math.ceil(2 * REACH[shape] * self.size / CANVAS) + 1

    def _draw_window(
        self, counts: Array, rows: Array, shape: int, values: Array
    ) -> None:
        """Draw images of one shape, each in the small square of pixels around it."""
        unit, W, K = self.size / CANVAS, self._window(shape), self._samples
        _, scale, angle, x, y = values.T
        left, top = (
            np.clip((unit * (16 + 32 * p - REACH[shape])).astype(int), 0, self.size - W)
            for p in (x, y)
        )
        inner = (np.arange(W * K) + 0.5) / K  # points along the square, in pixels
        across = (inner + left[:, None]) / unit - (16 + 32 * x[:, None])
        up = (16 + 32 * y[:, None]) - (inner + top[:, None]) / unit
        cos, sin = np.cos(np.radians(angle)) / scale, np.sin(np.radians(angle)) / scale
        u = (cos[:, None] * across)[:, None, :] + (sin[:, None] * up)[:, :, None]
        v = (cos[:, None] * up)[:, :, None] - (sin[:, None] * across)[:, None, :]
        inside = INSIDE[shape](u, v).reshape(len(rows), W, K, W, K)
        square = np.arange(W)
        counts[
            rows[:, None, None],
            top[:, None, None] + square[:, None],
            left[:, None, None] + square,
        ] = inside.sum(axis=(2, 4), dtype=np.uint8)


def _spaced(classes: Array, count: int, low: float, high: float) -> Array:
    """Return `count` values evenly from `low` to `high`; the middle, if it is one."""
    if count == 1:
        return np.full(len(classes), (low + high) / 2)
    return low + (high - low) * classes / (count - 1)
