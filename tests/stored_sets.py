"""Sets of images in files of every kind, to be read whole or by blocks."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minivae as mv
from minivae.backend import Array
from minivae.data import Dataset

SPLITS = ("train", "validation", "test")
LEAST = 160  # the smallest block there is; its pieces are of 10 images


def numbered(count: int, side: int = 4) -> Array:
    """Byte images, no two alike: the first three pixels tell an image's number."""
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, side, side), dtype=np.uint8)
    number = np.arange(count)
    for pixel in range(3):
        images[:, 0, pixel] = number >> (8 * pixel) & 255
    return images


def numbers_of(images: Array) -> list[int]:
    """The numbers of images made by `numbered`, bytes or floats."""
    pixels = np.rint(images.reshape(len(images), -1)[:, :3] * 255).astype(int)
    return (pixels @ [1, 1 << 8, 1 << 16]).tolist()


def idx(array: Array, shape: tuple[int, ...] | None = None) -> bytes:
    """An IDX file of bytes; `shape` is what the header says, if it lies."""
    shape = array.shape if shape is None else shape
    header = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
    return header + array.astype(np.uint8).tobytes()


def _idx_pair(images: Array, folder: Path, pack: Callable[[bytes], bytes]) -> Path:
    suffix = "" if pack is bytes else ".gz"
    labels = folder / f"own-labels-idx1-ubyte{suffix}"
    labels.write_bytes(pack(idx(np.arange(len(images)))))
    path = folder / f"own-images-idx3-ubyte{suffix}"
    path.write_bytes(pack(idx(images)))
    return path


def _saved(save: Callable[..., None], path: Path, *arrays: Any, **named: Any) -> Path:
    save(path, *arrays, **named)
    return path


def _shards(images: Array, folder: Path) -> Path:
    """Three uneven shards of images and labels, of both suffixes that may be mixed."""
    path = folder / "own"
    path.mkdir()
    cuts = (len(images) // 7, len(images) // 2)
    parts = zip(
        np.split(images, cuts), np.split(np.arange(len(images)), cuts), strict=True
    )
    for k, (part, labels) in enumerate(parts):
        save = np.savez if k % 2 else np.savez_compressed
        save(path / f"{k}.npz", images=part, labels=labels)
    (path / "README").write_text("no shard")
    return path


def _plain_shards(images: Array, folder: Path) -> Path:
    path = folder / "own"
    path.mkdir()
    for k, part in enumerate(np.split(images, (3, 40))):
        np.save(path / f"{k}.npy", part)
    return path


KINDS: dict[str, Callable[[Array, Path], Path]] = {
    "npy": lambda x, to: _saved(np.save, to / "own.npy", x),
    "floats": lambda x, to: _saved(np.save, to / "own.npy", (x / 255).astype("<f4")),
    "doubles": lambda x, to: _saved(np.save, to / "own.npy", (x / 255).astype(">f8")),
    "booleans": lambda x, to: _saved(np.save, to / "own.npy", x > 127),
    "colours": lambda x, to: _saved(
        np.save, to / "own.npy", np.stack([x, 255 - x, x], axis=1)
    ),
    "npz": lambda x, to: _saved(np.savez, to / "own.npz", x),
    "labels": lambda x, to: _saved(
        np.savez_compressed, to / "own.npz", images=x, labels=np.arange(len(x)) % 5
    ),
    "idx": lambda x, to: _idx_pair(x, to, bytes),
    "idx.gz": lambda x, to: _idx_pair(x, to, gzip.compress),
    "shards": _shards,
    "npy shards": _plain_shards,
}
"""Ways of writing images into a folder; each returns what to load."""


def made(kind: str, count: int, folder: Path, mode: str = "gray") -> str:
    """Write a set; returns the name to load it by."""
    return f"{KINDS[kind](numbered(count), folder)}:{mode}"


def whole_split(data: Dataset, name: str) -> tuple[Array, Array | None]:
    """All images and labels of a split."""
    split = data.split(name)
    labels = None if split.labels is None else np.asarray(split.labels)
    return np.asarray(split.images), labels


def model_for(data: Dataset, **options: Any) -> mv.VAE:
    """Return a tiny model for a set's images."""
    return mv.VAE(data.shape, latent=2, hidden=(6,), **options)
