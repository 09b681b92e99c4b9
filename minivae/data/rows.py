"""Rows of numbers in files, read from where they lie.

A file is an IDX of bytes, an .npy or an .npz, and may be one of several that continue
each other. Rows of an .npy and of a plain IDX file are read from the file itself, by
plain reads: nothing is mapped into memory. What is packed (.gz, .npz) is unpacked,
once, into a temporary file without a name, and read from there.
"""

from __future__ import annotations

import gzip
import math
import os
import shutil
import tempfile
import weakref
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.data.download import cache_folder
from minivae.data.files import (
    NPY_MAGIC,
    faults_told,
    idx_header,
    idx_opened,
    is_numpy,
    labels_beside,
    member_names,
    npy_header,
)
from minivae.errors import UserError

COPIED = 1 << 20  # bytes unpacked at once
BYTES = np.dtype(np.uint8)


class UnreadableError(UserError):
    """A file that was good when it was opened is gone now, or another one."""


class Section(NamedTuple):
    """An array in a file: `shape` of `dtype` from a byte on."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    stamp: tuple[int, ...] | None = None  # of the file; None: it was unpacked

    @property
    def row(self) -> int:
        """The bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


class Scratch:
    """A temporary file without a name, made when it is first written to."""

    def __init__(self) -> None:
        self.folder = cache_folder("unpacked")
        self.size = 0
        self._file: IO[bytes] | None = None

    @property
    def file(self) -> IO[bytes]:
        """The file."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(buffering=0, dir=self.folder)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        return self._file

    def add(self, packed: IO[bytes], size: int, path: Path) -> int:
        """Unpack the next `size` bytes of `path`; returns where they begin here."""
        start, left = self.size, size
        try:
            file = self.file
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise UserError(
                f"{path} is unpacked into {self.folder}, where nothing can be written: "
                f"{error.strerror}"
            ) from error
        if size > free:
            raise UserError(
                f"{path} promises {size:,} bytes, and {self.folder}, where it would be "
                f"unpacked, has {free:,} free: make room, or its header is wrong"
            )
        while left and (content := packed.read(min(left, COPIED))):
            rest = memoryview(content)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                raise UserError(
                    f"cannot unpack {path} into {self.folder}: {error.strerror}"
                ) from error
            left -= len(content)
            self.size += len(content)
        if left:
            raise UserError(
                f"{path} promises {size:,} bytes and holds {size - left:,}: it was cut "
                "short, or its header is wrong"
            )
        return start


class Rows:
    """The rows of sections that continue each other; raises `UserError` if some do not.

    `shape` counts all rows.
    """

    def __init__(self, sections: Sequence[Section], scratch: Scratch) -> None:
        first = sections[0]
        for other in sections[1:]:
            kinds = [(s.shape[1:], s.dtype) for s in (first, other)]
            if kinds[0] != kinds[1]:
                raise UserError(
                    f"{other.path} has rows of {_kind(other)}, {first.path} of "
                    f"{_kind(first)}: one set has rows of one kind"
                )
        self.sections, self.scratch = sections, scratch
        self.firsts = [0, *accumulate(section.shape[0] for section in sections)]
        self.shape, self.dtype = (self.firsts[-1], *first.shape[1:]), first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> Array:
        """Read rows; raises `UnreadableError` if a file is not what it was."""
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        at = start
        while at < stop:
            number = bisect_right(self.firsts, at) - 1
            here = min(stop, self.firsts[number + 1])
            into = rows[at - start : here - start].reshape(-1).view(np.uint8)
            self._fill(into, self.sections[number], at - self.firsts[number])
            at = here
        return rows

    def _fill(self, into: Array, section: Section, row: int) -> None:
        """Read the bytes of rows from number `row` of a section on."""
        with self._opened(section) as file:
            left, place = into.data, section.start + row * section.row
            while len(left):
                count = os.preadv(file, [left], place)
                if not count:
                    raise UnreadableError(f"{section.path} has become shorter")
                left, place = left[count:], place + count

    @contextmanager
    def _opened(self, section: Section) -> Iterator[int]:
        """Return the number of the open file that a section lies in."""
        try:
            if section.stamp is None:
                yield self.scratch.file.fileno()
                return
            with section.path.open("rb", buffering=0) as file:
                if stamp_of(file) != section.stamp:
                    raise UnreadableError(f"{section.path} has changed meanwhile")
                yield file.fileno()
        except OSError as error:
            raise UnreadableError(
                f"{section.path} cannot be read any more: {error.strerror}"
            ) from error


def _kind(section: Section) -> str:
    shape = " x ".join(map(str, section.shape[1:])) or "one number"
    return f"{shape}, {section.dtype}"


def stamp_of(file: IO[bytes]) -> tuple[int, ...]:
    """Return what a file does not keep if it is replaced or written to."""
    told = os.fstat(file.fileno())
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns


# What lies where


def shards(path: Path) -> list[Path]:
    """Return the files of a set: `path`, or the NumPy files in it by their names."""
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix in (".npy", ".npz"))
    if not found:
        raise UserError(f"no data set in {path}: it holds no .npy or .npz file")
    return found


def open_rows(path: Path) -> tuple[Rows, Rows | None]:
    """Find the rows of images, and of labels if there are any; raises `UserError`."""
    scratch = Scratch()
    found = [_arrays(shard, scratch) for shard in shards(path)]
    images = Rows([shard[0] for shard in found], scratch)
    labelled = [shard for shard in found if len(shard) > 1]
    if not labelled:
        return images, None
    for shard in found:
        if len(shard) < 2:
            raise UserError(
                f"{shard[0].path} has no labels, and {labelled[0][0].path} has some"
            )
        if shard[1].shape != shard[0].shape[:1]:
            raise UserError(
                f"{shard[1].path}: {shard[0].shape[0]} images, but labels of shape "
                f"{shard[1].shape}"
            )
    return images, Rows([shard[1] for shard in found], scratch)


def _arrays(path: Path, scratch: Scratch) -> list[Section]:
    """Find the images of a file, and the labels that go with them."""
    if is_numpy(path):
        with faults_told(path), path.open("rb") as file:
            if file.peek(len(NPY_MAGIC)).startswith(NPY_MAGIC):
                return [_npy(file, path, None)]
            with zipfile.ZipFile(file) as archive:
                if "latents_classes.npy" in archive.namelist():
                    raise UserError(
                        f"{path} has factors, and is read without --block: of a set "
                        "that is too large a part of each factor's values is kept"
                    )
                found = []
                for name in member_names(archive, path):
                    with archive.open(name) as member:
                        found.append(_npy(member, path, scratch))
                return found
    beside = labels_beside(path)
    return [_idx(path, 3, scratch)] + ([_idx(beside, 1, scratch)] if beside else [])


def _npy(file: IO[bytes], path: Path, scratch: Scratch | None) -> Section:
    """Find the array of an .npy, and unpack it if it is packed."""
    shape, by_columns, dtype = npy_header(file)
    if by_columns and len(shape) > 1:
        raise UserError(
            f"{path} is stored column by column: save np.ascontiguousarray of it"
        )
    return _section(file, path, shape, dtype, scratch)


def _idx(path: Path, dimensions: int, scratch: Scratch) -> Section:
    """Find the array of an IDX file, and unpack it if it is packed."""
    with idx_opened(path) as file:
        shape = idx_header(file, path, dimensions)
        packed = scratch if isinstance(file, gzip.GzipFile) else None
        section = _section(file, path, shape, BYTES, packed)
        if packed and file.read(1):
            raise UserError(
                f"{path} goes on after the {math.prod(shape)} bytes it promises"
            )
        return section


def _section(
    file: IO[bytes],
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    packed: Scratch | None,
) -> Section:
    """Return the array that begins where a file stands, once it is all there."""
    if not shape or min(shape) < 0 or dtype.kind not in "biuf":
        raise UserError(f"{path} holds no rows of numbers: {dtype}, shape {shape}")
    size = math.prod(shape) * dtype.itemsize
    if packed:
        return Section(path, shape, dtype, packed.add(file, size, path))
    start, end = file.tell(), os.fstat(file.fileno()).st_size
    if end - start < size:
        raise UserError(
            f"{path} promises {size:,} bytes and holds {end - start:,}: it was cut "
            "short, or its header is wrong"
        )
    return Section(path, shape, dtype, start, stamp_of(file))
