"""What a data set is here: grey images, a split, and a way of making them 0 or 1.

The way is part of the name (after the colon), because numbers measured under different
ones cannot be compared:

    gray       the intensities as they are (also when nothing is said)
    threshold  1 where the intensity is above one half
    fixed      one Bernoulli draw a pixel, the same for ever
    dynamic    for training a new draw each epoch; elsewhere as `fixed`
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.data.factors import Factors
from minivae.data.stored import Images, each, in_blocks
from minivae.errors import UserError
from minivae.random import Noise, Stream

MODES = ("gray", "threshold", "fixed", "dynamic")
DRAW_SEED = 0  # of the draws that are the same for ever
BLOCK = 1000  # images drawn at once, to bound the memory that the noise takes


def binarise(grey: Array, noise: Noise) -> Array:
    """Draw every pixel: 1 with probability `grey`, else 0.

    Image i of width D uses elements i D ... (i + 1) D of the noise, counted from its
    position, so that an image's draw does not depend on how many are drawn with it.
    """
    drawn = np.empty_like(grey)
    for start in range(0, len(grey), BLOCK):
        block = grey[start : start + BLOCK]
        drawn[start : start + BLOCK] = noise.uniform(block.shape) < block
    return drawn


@dataclass(frozen=True)
class Split:
    """One part of a data set: `grey` images (N, C, H, W) in [0, 1], and labels.

    `factors` are the classes (N, F) of the set's factors, if it has any.
    """

    grey: Images
    labels: Images | None
    mode: str
    stream: Stream
    factors: Array | None = None

    def __len__(self) -> int:
        return len(self.grey)

    @cached_property
    def images(self) -> Images:
        """The images as evaluation sees them: always the same."""
        if self.mode == "gray":
            return self.grey
        if self.mode == "threshold":
            return each(self.grey, lambda grey, _: (grey > 0.5).astype(np.float32))
        return self.drawn(DRAW_SEED)

    def drawn(self, seed: int, times: int = 0) -> Images:
        """Return the images drawn 0 or 1, after so many draws of all of them."""
        before, D = times * self.grey.size, math.prod(self.grey.shape[1:])

        def draw(grey: Array, first: int) -> Array:
            return binarise(grey, Noise(seed, self.stream, before + first * D))

        return each(self.grey, draw)


@dataclass(frozen=True)
class Dataset:
    """A named data set in three parts that share no image."""

    name: str
    mode: str
    source: str  # what to give to `load` to get it again
    data_dir: str | None
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] = ()  # what the labels 0, 1, ... are called, if they are
    factors: Factors | None = None  # what varies in the images, if that is known
    block: int | None = None  # images in memory at once, if not all

    @classmethod
    def from_parts(
        cls,
        name: str,
        mode: str,
        parts: Sequence[tuple[Any, ...]],
        source: str = "",
        data_dir: str | None = None,
        classes: tuple[str, ...] = (),
        factors: Factors | None = None,
    ) -> Dataset:
        """Make a data set of (images, labels) of train, validation and test.

        With `factors` each part has a third array: the images' classes (N, F).
        """
        streams = (
            Stream.BINARISE_TRAIN,
            Stream.BINARISE_VALIDATION,
            Stream.BINARISE_TEST,
        )
        train, validation, test = (
            Split(images, labels, mode, stream, *known)
            for (images, labels, *known), stream in zip(parts, streams, strict=True)
        )
        named = f"{name}:{mode}"
        return cls(
            named,
            mode,
            source or named,
            data_dir,
            train,
            validation,
            test,
            classes,
            factors,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, C, H, W = self.train.grey.shape
        return C, H, W

    @cached_property
    def binary(self) -> bool:
        """Whether every pixel that a model sees is 0 or 1."""
        return self.mode != "gray" or all(
            bool(((x == 0) | (x == 1)).all()) for x in in_blocks(self.train.grey)
        )

    def split(self, name: str) -> Split:
        """Return the split called "train", "validation" or "test"."""
        if name not in ("train", "validation", "test"):
            raise UserError(f"no split {name!r}; have train, validation, test")
        split: Split = getattr(self, name)
        return split

    def epoch(self, epoch: int, seed: int) -> Images:
        """Return the training images of an epoch: under `dynamic`, drawn for it."""
        if self.mode != "dynamic":
            return self.train.images
        return self.train.drawn(seed, epoch)

    def class_name(self, label: int) -> str:
        """Return what a label is called, or its number."""
        known = 0 <= label < len(self.classes)
        return self.classes[label] if known else str(label)

    def told(self) -> dict[str, Any]:
        """Return what `load_again` needs to load it again, and to know it by."""
        told = {"name": self.name, "source": self.source, "data_dir": self.data_dir}
        blocks = {} if self.block is None else {"block": self.block}
        return told | {"sha256": self.digest()} | blocks

    def digest(self) -> str:
        """Return the SHA-256 of the mode and all grey images, in order."""
        sha = hashlib.sha256(self.mode.encode())
        for split in (self.train, self.validation, self.test):
            for grey in in_blocks(split.grey):
                sha.update(np.ascontiguousarray(grey).data)
        return sha.hexdigest()
