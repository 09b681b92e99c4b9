"""Images with factors in a file, in the layout of dSprites' .npz.

    imgs              (N, H, W) bytes: 0 and 1, or grey levels up to 255
    latents_classes   (N, F) integers: which value each factor has
    latents_values    (N, F) floats: what these stand for
    factor_names      (F,) words, in files made here; dSprites' own are known

dSprites' `metadata` is a pickle and never read. Images go into and out of a file block
by block, so that it may hold more than the memory does: of a set that is too large, a
part of each factor's values is kept.

Source: Matthey, Higgins, Hassabis & Lerchner 2017, dSprites, README.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from minivae.backend import Array
from minivae.data.factors import Factors
from minivae.data.files import as_images, faults_told, npy_header
from minivae.data.sprites import NAMES, SAMPLES, Sprites
from minivae.errors import UserError

DSPRITES = ("color", "shape", "scale", "orientation", "posX", "posY")
KINDS = ("color", "colour", "shape")  # factors whose values have no order
MOST = 1 << 27  # pixels that are kept: 512 MiB of float32
BLOCK = 1 << 22  # pixels read or drawn at once


class Factored(NamedTuple):
    """Images (N, C, H, W) with the classes (N, F) of their factors."""

    images: Array
    labels: Array | None  # the shape, if that is a factor
    classes: Array
    factors: Factors
    share: str  # " (31,104 of 737,280)" if not all images were kept


# Reading


def read_factored(path: Path, most: int = MOST) -> Factored | None:
    """Read a file with factors; None if it is no .npz or has no `latents_classes`.

    Factors of one value, such as dSprites' color, are left out. Raises `UserError`.
    """
    with faults_told(path):
        if not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if "latents_classes.npy" not in members:
                return None
            if "imgs.npy" not in members:
                raise UserError(f"{path} has latents_classes, but no array named imgs")
            classes = _array(archive, "latents_classes")
            named = "factor_names.npy" in members
            names = _array(archive, "factor_names") if named else None
            words = _names(classes, names, path)
            with archive.open("imgs.npy") as member:
                shape, dtype = _header(member, len(classes), path)
                varied = [k for k, own in enumerate(classes.T) if np.ptp(own)]
                if not varied:
                    raise UserError(f"{path}: no factor takes more than one value")
                classes = classes[:, varied]
                rows = thinned(classes, max(1, most // math.prod(shape[1:])))
                pixels = _rows(member, shape, dtype, rows)
    if pixels.dtype == np.uint8 and pixels.max(initial=0) <= 1:
        pixels = pixels.astype(bool)  # 0 and 1, not levels up to 255
    numbered = [np.unique(own, return_inverse=True) for own in classes[rows].T]
    own = np.stack([inverse for _, inverse in numbered], axis=1)
    chosen = tuple(words[k] for k in varied)
    kinds = tuple(name for name in chosen if name in KINDS)
    factors = Factors(chosen, tuple(len(values) for values, _ in numbered), kinds)
    shapes = own[:, chosen.index("shape")] if "shape" in chosen else None
    share = f" ({len(rows):,} of {len(classes):,})" if len(rows) < len(classes) else ""
    return Factored(as_images(pixels, str(path)), shapes, own, factors, share)


def thinned(classes: Array, most: int) -> Array:
    """Return which rows of classes (N, F) to keep, about `most` of a full grid at most.

    Of the factor with the most values one is given up, time and again; those kept are
    spread evenly, the first among them.
    """
    sizes = [int(own.max()) + 1 for own in classes.T]
    kept = list(sizes)
    while (
        len(classes) * math.prod(k / n for k, n in zip(kept, sizes, strict=True)) > most
        and max(kept) > 2
    ):
        kept[kept.index(max(kept))] -= 1
    keep = np.ones(len(classes), bool)
    for own, k, n in zip(classes.T, kept, sizes, strict=True):
        keep &= np.isin(own, np.arange(k) * n // k)
    return np.flatnonzero(keep)


def _array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(f"{name}.npy") as member:
        return npy.read_array(member, allow_pickle=False)


def _names(classes: Array, names: Array | None, path: Path) -> list[str]:
    """Return the factors' names, once `classes` are what they must be."""
    if classes.ndim != 2 or classes.dtype.kind not in "iu" or not classes.size:
        raise UserError(
            f"{path}: latents_classes are integers (N, F), not {classes.dtype} "
            f"{classes.shape}"
        )
    if classes.min() < 0 or classes.max() >= len(classes):
        raise UserError(
            f"{path}: latents_classes are numbers from 0, each less than the images' "
            f"number, not {classes.min()} to {classes.max()}"
        )
    F = classes.shape[1]
    if names is None:
        return [*DSPRITES] if len(DSPRITES) == F else [f"factor {k}" for k in range(F)]
    if names.shape != (F,) or names.dtype.kind != "U" or len({*names}) < F:
        raise UserError(f"{path}: factor_names are {F} words, each another")
    return [str(name) for name in names]


def _header(
    member: IO[bytes], count: int, path: Path
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read what an array says of itself: its shape and dtype."""
    shape, by_columns, dtype = npy_header(member)
    if by_columns or dtype.hasobject or dtype.kind not in "bfu":
        raise UserError(f"{path}: imgs are bytes or floats in C order, not {dtype}")
    if len(shape) not in (3, 4) or shape[0] != count or not math.prod(shape):
        raise UserError(
            f"{path}: latents_classes are of {count} images, imgs have the shape "
            f"{shape}"
        )
    return shape, dtype


def _rows(
    member: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], rows: Array
) -> Array:
    """Read an array's data from its start and keep some rows, in their order."""
    found = np.empty((len(rows), *shape[1:]), dtype)
    size = math.prod(shape[1:]) * dtype.itemsize
    block = max(1, BLOCK // math.prod(shape[1:]))
    for start in range(0, shape[0], block):
        count = min(block, shape[0] - start)
        data = member.read(count * size)
        if len(data) < count * size:
            raise ValueError(f"imgs end after image {start + len(data) // size}")
        first, last = np.searchsorted(rows, (start, start + count))
        images = np.frombuffer(data, dtype).reshape(count, *shape[1:])
        found[first:last] = images[rows[first:last] - start]
    return found


# Writing


def write_sprites(
    path: Path, sprites: Sprites, tell: Callable[[int], None] = lambda done: None
) -> None:
    """Draw all sprites into a file, which is whole or not there.

    `tell` hears how many are drawn. Raises `UserError`.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            zipped = zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
            with zipped as archive:
                _write(archive, sprites, tell)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _write(
    archive: zipfile.ZipFile, sprites: Sprites, tell: Callable[[int], None]
) -> None:
    N, S = len(sprites), sprites.size
    classes = sprites.factors.classes(np.arange(N))
    tables = {
        "factor_names": np.array(NAMES),
        "latents_classes": classes,
        "latents_values": sprites.values(classes),
    }
    for name, table in tables.items():
        with archive.open(f"{name}.npy", "w") as member:
            npy.write_array(member, table, allow_pickle=False)

    def drawn(start: int) -> bytes:
        levels = sprites.levels(classes[start : start + block])
        if not sprites.binary:
            levels = np.rint(levels * (255 / SAMPLES**2)).astype(np.uint8)
        return levels.tobytes()

    block, cores = max(1, BLOCK // S**2), os.cpu_count() or 1
    header = {"descr": "|u1", "fortran_order": False, "shape": (N, S, S)}
    with (
        archive.open("imgs.npy", "w", force_zip64=True) as member,
        ThreadPoolExecutor(cores) as pool,
    ):
        npy.write_array_header_1_0(member, header)
        starts = range(0, N, block)
        for i in range(0, len(starts), cores):  # as many blocks in memory as cores
            for content in pool.map(drawn, starts[i : i + cores]):
                member.write(content)
            tell(min(N, starts[i] + cores * block))
