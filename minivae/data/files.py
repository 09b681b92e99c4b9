"""Reading images from files that may be wrong: every fault has its own message."""

from __future__ import annotations

import gzip
import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from minivae.backend import Array
from minivae.errors import UserError

GZIP_MAGIC, ZIP_MAGIC, NPY_MAGIC = b"\x1f\x8b", b"PK", b"\x93NUMPY"
IDX_UBYTE = 0x08
MOST = 1 << 30  # numbers in an array: a few bytes can unpack to any number of them
DAMAGED = (  # what NumPy and zipfile raise for files that are not what they say
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    SyntaxError,
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def idx_opened(path: Path) -> Iterator[IO[bytes]]:
    """Open an IDX file, as it is or compressed by gzip, and tell its faults."""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if path.suffix == ".gz" and not compressed:
                raise UserError(f"{path} is not a gzip file, though its name says so")
            if not compressed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as file:
                yield file  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip file: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def idx_header(file: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    """Read what an IDX file of unsigned bytes says of its shape.

    The header is two zero bytes, the type, the number of dimensions, and the sizes as
    32-bit big-endian integers. Format: LeCun, "The MNIST database", bottom of the page.
    """
    header = file.read(4 + 4 * dimensions)
    magic = bytes((0, 0, IDX_UBYTE, dimensions))
    if header[:4] != magic:
        raise UserError(
            f"{path} is no IDX file of {dimensions}-dimensional bytes: it begins with "
            f"{header[:4].hex() or 'nothing'}, not {magic.hex()}"
        )
    if len(header) < 4 + 4 * dimensions:
        raise UserError(f"{path} ends inside its header")
    return tuple(int(n) for n in np.frombuffer(header[4:], ">u4"))


def read_idx(path: Path, dimensions: int) -> Array:
    """Read an IDX file of unsigned bytes, as it is or compressed by gzip."""
    with idx_opened(path) as file:
        shape = idx_header(file, path, dimensions)
        size = math.prod(shape)
        _check_size(shape, path)
        blocks, missing = [], size
        while missing and (block := file.read(min(missing, 1 << 24))):
            blocks.append(block)  # in blocks: a header may lie about terabytes
            missing -= len(block)
        if missing:
            raise UserError(
                f"{path} promises {' x '.join(map(str, shape))} bytes "
                f"and holds {size - missing}: it was cut short, or its header is wrong"
            )
        if file.read(1):
            raise UserError(f"{path} goes on after the {size} bytes it promises")
    return np.frombuffer(b"".join(blocks), np.uint8).reshape(shape)


def labels_beside(path: Path) -> Path | None:
    """Return the IDX file of the labels of one of images, if it lies beside it."""
    if "images-idx3" not in path.name:
        return None
    name = path.name.removesuffix(".gz").replace("images-idx3", "labels-idx1")
    both = [path.with_name(name + suffix) for suffix in (".gz", "")]
    return next((p for p in both if p.is_file()), None)


def _check_size(shape: Sequence[int], path: Path) -> None:
    if min(shape, default=0) < 0 or math.prod(shape) > MOST:
        raise UserError(
            f"{path} promises {' x '.join(map(str, shape))} numbers: its header is "
            f"wrong, or it is too large to be read whole (at most {MOST:,}): --block "
            "reads it piece by piece"
        )


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read what an .npy says of itself: shape, whether by columns, and dtype."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of headers that Python 2 wrote
        version = npy.read_magic(file)
        first = {(1, 0): npy.read_array_header_1_0}
        shape, by_columns, dtype = first.get(version, npy.read_array_header_2_0)(file)
    return shape, by_columns, dtype


def _read_npy(file: IO[bytes], path: Path) -> Array:
    """Read an .npy, if it does not promise too much; never a pickle."""
    _check_size(npy_header(file)[0], path)
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return npy.read_array(file, allow_pickle=False)


def is_numpy(path: Path) -> bool:
    """Whether a file begins as an .npy or .npz does."""
    with faults_told(path), path.open("rb") as file:
        return file.read(len(NPY_MAGIC)).startswith((NPY_MAGIC, ZIP_MAGIC))


def read_numpy(path: Path) -> tuple[Array, Array | None]:
    """Read images, and labels if there are any, from an .npy or .npz file.

    An .npz holds `images` (or a single array) and perhaps `labels`.
    """
    with faults_told(path), path.open("rb") as file:
        start = file.read(len(NPY_MAGIC))
        file.seek(0)
        if not start.startswith((NPY_MAGIC, ZIP_MAGIC)):
            raise UserError(
                f"{path} is no .npy or .npz file: it begins with "
                f"{start.hex() or 'nothing'}"
            )
        if start == NPY_MAGIC:
            return _read_npy(file, path), None
        with zipfile.ZipFile(file) as archive:
            return _members(archive, path)


@contextmanager
def faults_told(path: Path) -> Iterator[None]:
    """Turn what NumPy and zipfile raise for a damaged file into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except MemoryError as error:
        raise UserError(
            f"{path} promises more than the memory can hold: {error}"
        ) from error
    except DAMAGED as error:
        if "pickle" in str(error):
            raise UserError(
                f"{path} holds Python objects, which need pickle and may run code: "
                "save plain numeric arrays"
            ) from error
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is no readable NumPy file: {reason}") from error


def member_names(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """Return which member of an .npz holds the images, and the labels if there are."""
    held = archive.namelist()
    names = [name.removesuffix(".npy") for name in held]
    key = "images" if "images" in names else names[0] if len(names) == 1 else ""
    if not key:
        raise UserError(
            f"{path} must hold an array named 'images' (and perhaps 'labels'), or "
            "'imgs' and 'latents_classes'; it holds "
            f"{', '.join(names) or 'nothing'}"
        )
    return [held[names.index(name)] for name in (key, "labels") if name in names]


def _members(archive: zipfile.ZipFile, path: Path) -> tuple[Array, Array | None]:
    """Return the images of an .npz, and its labels if it has any.

    Members are read, never unpacked: what they are called leads nowhere.
    """
    found = []
    for name in member_names(archive, path):
        with archive.open(name) as member:
            if member.read(len(NPY_MAGIC)) != NPY_MAGIC:
                raise UserError(f"{path} holds a file that is no array")
            member.seek(0)
            found.append(_read_npy(member, path))
    return found[0], found[1] if len(found) > 1 else None


def as_images(array: Array, source: str) -> Array:
    """Return images as float32 (N, C, H, W) in [0, 1], or say what is wrong.

    Bytes are divided by 255. (N, D) becomes one row of pixels, (N, H, W) one channel.
    """
    if array.dtype != np.uint8 and array.dtype.kind not in "fb":
        raise UserError(
            f"{source} has dtype {array.dtype}: images are bytes 0..255 or floats 0..1"
        )
    if array.ndim not in (2, 3, 4):
        raise UserError(
            f"{source} has shape {array.shape}: images are (N, D), (N, H, W) or "
            "(N, C, H, W)"
        )
    if array.size == 0:
        raise UserError(f"{source} is empty: shape {array.shape}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        images = array.astype(np.float32)
    if array.dtype == np.uint8:
        images /= 255
    if not np.isfinite(images).all():
        raise UserError(f"{source} has NaN or infinite pixels")
    if images.min() < 0 or images.max() > 1:
        raise UserError(
            f"{source} has values from {images.min():g} to {images.max():g}: "
            "pixels must lie in [0, 1]"
        )
    N = len(images)
    match images.ndim:
        case 2:
            return images.reshape(N, 1, 1, -1)
        case 3:
            return images[:, None]
    return images


def check_labels(labels: Array, count: int, source: str) -> Array:
    """Return integer labels (N,), or say how they do not match the images."""
    if labels.shape != (count,):
        raise UserError(f"{source}: {count} images, but labels of shape {labels.shape}")
    if labels.dtype.kind not in "iub":
        raise UserError(f"{source}: labels have dtype {labels.dtype}, not an integer")
    return labels.astype(np.int64)
