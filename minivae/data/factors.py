"""Ground-truth factors: what varies in a set of images, and how many values it takes.

A set with factors says of each image which value each factor has, as numbers from 0:
its classes. In a full grid every combination is there once, and the number of an image
is its classes read as digits, the last factor fastest:

    index = ((c₁ K₂ + c₂) K₃ + c₃) ...        for sizes K₁, K₂, K₃ ...
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError


@dataclass(frozen=True)
class Factors:
    """Names of factors, how many values each takes, and which have no order."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    unordered: tuple[str, ...] = ()  # values are kinds, such as shapes: no more or less

    def __post_init__(self) -> None:
        if len(self.names) != len(self.sizes) or len({*self.names}) < len(self.names):
            raise UserError(f"factors {self.names} do not match sizes {self.sizes}")
        if not self.sizes or min(self.sizes) < 1:
            raise UserError(f"each factor takes at least one value: sizes {self.sizes}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def combinations(self) -> int:
        """How many images a full grid has."""
        return math.prod(self.sizes)

    def number(self, name: str) -> int:
        """Return which factor has a name."""
        if name not in self.names:
            raise UserError(f"no factor {name!r}; have {', '.join(self.names)}")
        return self.names.index(name)

    def classes(self, index: Array | Sequence[int]) -> Array:
        """Return the classes (N, F) of images (N,) of the full grid."""
        index = np.asarray(index, np.int64)
        outside = index[(index < 0) | (index >= self.combinations)]
        if outside.size:
            raise UserError(
                f"no image {outside.flat[0]}: there are 0 to {self.combinations - 1}"
            )
        return np.stack(np.unravel_index(index, self.sizes), axis=-1)

    def index(self, classes: Array | Sequence[Sequence[int]]) -> Array:
        """Return which images of the full grid have these classes: (N, F) to (N,)."""
        classes = np.asarray(classes, np.int64)
        self.check(classes)
        return np.ravel_multi_index(tuple(classes.T), self.sizes)

    def check(self, classes: Array) -> None:
        """Raise `UserError` unless `classes` are (N, F), each within its size."""
        if classes.ndim != 2 or classes.shape[1] != len(self):
            raise UserError(
                f"classes of {len(self)} factors have the shape (N, {len(self)}), not "
                f"{classes.shape}"
            )
        for name, size, own in zip(self.names, self.sizes, classes.T, strict=True):
            if own.size and not 0 <= own.min() <= own.max() < size:
                raise UserError(
                    f"{name} takes the values 0 to {size - 1}, not {own.min()} to "
                    f"{own.max()}"
                )
