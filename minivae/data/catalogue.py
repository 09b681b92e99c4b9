"""The data sets that have names, and where their files are looked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.data.dataset import MODES, Dataset
from minivae.data.download import SOURCES, cache_folder, is_whole
from minivae.data.factor_files import read_factored
from minivae.data.files import (
    MOST,
    as_images,
    check_labels,
    is_numpy,
    labels_beside,
    read_idx,
    read_numpy,
)
from minivae.data.rows import Rows, open_rows
from minivae.data.sprites import SHAPES, SIDES, SMALL, Sprites
from minivae.data.stored import LEAST, Pieces, split_rows
from minivae.errors import UserError

PACKAGED = Path(__file__).parent / "fashion10k"
DEBIAN = {"fashion": Path("/usr/share/datasets/fashion-mnist")}
CLOTHES = (
    *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
CLASSES = {"fashion10k": CLOTHES, "fashion": CLOTHES}  # elsewhere a number says it
SPRITES = {f"sprites{size}": size for size in SIDES}
Parts = list[tuple[Any, ...]]  # of each split: images, labels if any, perhaps classes


class Place(NamedTuple):
    """Where a data set would be read from, or how to get it."""

    name: str
    kind: str  # packaged, drawn, given, cache, Debian or missing
    text: str


def places(data_dir: str | Path | None = None) -> list[Place]:
    """Return, for each name, where `load` would find its files."""
    packaged = [
        Place("fashion10k", "packaged", str(PACKAGED)),
        Place("digits", "packaged", "in scikit-learn"),
    ]
    drawn = [Place(name, "drawn", "when it is loaded") for name in SPRITES]
    return packaged + drawn + [_place(name, data_dir) for name in SOURCES]


def _place(name: str, data_dir: str | Path | None) -> Place:
    for folder in _folders(name, data_dir):
        if is_whole(folder, name):
            kind = "Debian" if folder == DEBIAN.get(name) else "cache"
            return Place(name, kind if data_dir is None else "given", str(folder))
    option = "" if data_dir is None else f" --data-dir {data_dir}"
    return Place(name, "missing", f"minivae data get {name}{option}")


def load(
    name: str, data_dir: str | Path | None = None, block: int | None = None
) -> Dataset:
    """Load a data set by name, such as "fashion10k:dynamic", or from a file of yours.

    Names: "fashion10k" (10,000 images of Fashion-MNIST, shipped here), "digits"
    (scikit-learn, 8x8), "sprites16", "sprites32" and "sprites64" (drawn, with known
    factors), "fashion" and "mnist" (IDX files in `data_dir`, in the cache folder or in
    Debian's), and the path of an .npz or .npy file, of an IDX file of images, or of a
    folder of .npz and .npy files. After a colon comes one of the modes of
    `minivae.data.dataset`. With `block` the images of your files stay on the disk, and
    so many of them are in memory at once. Raises `UserError`.
    """
    base, colon, mode = name.rpartition(":")
    if not colon or (mode not in MODES and is_own(name)):
        base, mode = name, "gray"
    if mode not in MODES:
        raise UserError(f"{name}: no mode {mode!r}; have {', '.join(MODES)}")
    if block is not None and (type(block) is not int or block < LEAST):
        raise UserError(f"a block is at least {LEAST} images, not {block!r}")
    if block is not None and base in NAMES:
        raise UserError(
            f"{base} is read whole: a block is of a file or folder of yours"
        )
    if base in READERS:
        folder = None if data_dir is None else str(Path(data_dir).resolve())
        parts = READERS[base](data_dir)
        classes = CLASSES.get(base, ())
        return Dataset.from_parts(base, mode, parts, f"{base}:{mode}", folder, classes)
    if base in SPRITES:
        return _sprites(base, mode)
    if is_own(base):
        path = Path(base)
        return _own(path, mode) if block is None else _by_blocks(path, mode, block)
    raise UserError(
        f"no data set {base!r}; have {', '.join(NAMES)}, or the path of an .npz, .npy "
        "or IDX file, or of a folder of them"
    )


def load_again(told: Mapping[str, Any], data_dir: str | Path | None = None) -> Dataset:
    """Load a set from what it told of itself; `data_dir` is where it has moved to."""
    return load(told["source"], data_dir or told["data_dir"], told.get("block"))


def is_own(name: str) -> bool:
    """Whether a name is that of a file, or of a folder, of the user's."""
    path = Path(name)
    is_idx = path.suffix == ".gz" or path.name.endswith("-ubyte")
    is_file = is_idx or path.suffix in (".npz", ".npy")
    return name not in NAMES and (is_file or (name != "" and path.is_dir()))


def _split(source: str, images: Array, *others: Array | None) -> Parts:
    """Split images, and what goes with them, 8 : 1 : 1 by one fixed permutation."""
    _check_count(len(images), source)
    return [
        (images[part], *(None if a is None else a[part] for a in others))
        for part in split_rows(len(images))
    ]


def _check_count(N: int, source: str) -> None:
    if N < 10:
        raise UserError(
            f"{source}: {N} images are too few to split in three, 10 are needed"
        )


def _fashion10k(data_dir: str | Path | None) -> Parts:
    return _split("fashion10k", *_read_pair(PACKAGED, "t10k"))


def _digits(data_dir: str | Path | None) -> Parts:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    return _split("digits", images, digits.target.astype(np.int64))


def _idx_set(name: str, data_dir: str | Path | None) -> Parts:
    """Read a set of IDX files: both pairs, or the one called t10k alone.

    Of both, the last sixth of the training images is the validation split.
    """
    folders = _folders(name, data_dir)
    for folder in folders:
        if not _find(folder, "t10k-images-idx3-ubyte"):
            continue
        test = _read_pair(folder, "t10k")
        if not _find(folder, "train-images-idx3-ubyte"):
            return _split(str(folder), *test)
        images, labels = _read_pair(folder, "train")
        if images.shape[1:] != test[0].shape[1:]:
            raise UserError(
                f"{folder}: training images are {images.shape[2:]}, test images "
                f"{test[0].shape[2:]}"
            )
        cut = len(images) - len(images) // 6
        return [(images[:cut], labels[:cut]), (images[cut:], labels[cut:]), test]
    looked = ", ".join(str(folder) for folder in folders)
    raise UserError(
        f"no files of {name} (looked in {looked}): `minivae data get {name}` downloads "
        "them, --data-dir says where they are"
    )


def _folders(name: str, data_dir: str | Path | None) -> list[Path]:
    if data_dir is not None:
        if not Path(data_dir).is_dir():
            raise UserError(f"the data dir {data_dir} is not a folder")
        return [Path(data_dir), Path(data_dir) / name]
    return [cache_folder(name)] + ([DEBIAN[name]] if name in DEBIAN else [])


def _find(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}.gz", folder / stem)
    return next((path for path in candidates if path.is_file()), None)


def _read_pair(folder: Path, part: str) -> tuple[Array, Array]:
    paths = [
        _find(folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")
    ]
    if paths[0] is None or paths[1] is None:
        raise UserError(f"{folder} needs both the {part} images and the {part} labels")
    images = as_images(read_idx(paths[0], 3), str(paths[0]))
    labels = read_idx(paths[1], 1)
    return images, check_labels(labels, len(images), str(paths[1]))


def _sprites(name: str, mode: str) -> Dataset:
    """Draw the small grid of sprites, its shapes as labels."""
    sprites = Sprites(SPRITES[name], SMALL)
    classes = sprites.factors.classes(np.arange(len(sprites)))
    parts = _split(name, sprites.draw(classes), classes[:, 0], classes)
    source, factors = f"{name}:{mode}", sprites.factors
    return Dataset.from_parts(name, mode, parts, source, None, SHAPES, factors)


def _own(path: Path, mode: str) -> Dataset:
    """Read a file or a folder of the user's, with factors if it has them."""
    source = f"{path.resolve()}:{mode}"
    if path.is_file() and (held := read_factored(path)):
        parts = _split(str(path), held.images, held.labels, held.classes)
        name = f"{path.stem}{held.share}"
        return Dataset.from_parts(name, mode, parts, source, factors=held.factors)
    images, labels = _read_own(path)
    images = as_images(images, str(path))
    if labels is not None:
        labels = check_labels(labels, len(images), str(path))
    parts = _split(str(path), images, labels)
    return Dataset.from_parts(path.absolute().stem, mode, parts, source)


def _read_own(path: Path) -> tuple[Array, Array | None]:
    """Read images, and labels if there are any, as they are in the files."""
    if path.is_dir():
        images, labels = open_rows(path)
        _check_at_once(len(images), images, path)
        known = None if labels is None else labels.read(0, len(labels))
        return images.read(0, len(images)), known
    if path.suffix in (".npz", ".npy") or is_numpy(path):
        return read_numpy(path)
    beside = labels_beside(path)
    return read_idx(path, 3), None if beside is None else read_idx(beside, 1)


def _by_blocks(path: Path, mode: str, block: int) -> Dataset:
    """Return a set whose images, and labels, are read by blocks."""
    images, labels = open_rows(path)
    N, source = len(images), str(path)
    _check_count(N, source)
    _check_at_once(min(block, N), images, path)
    size = N if block >= N else block // LEAST * 10  # a whole number of tenths
    held = Pieces(images, size, source)
    known = labels and Pieces(labels, size, source)

    def whole_numbers(rows: Array, where: str) -> Array:
        return check_labels(rows, len(rows), where)

    parts = [
        (held.split(which, as_images), known and known.split(which, whole_numbers))
        for which in range(3)
    ]
    # another block is another split: numbers measured on the two do not compare
    name = path.absolute().stem + ("" if block >= N else f" (blocks of {block:,})")
    data = Dataset.from_parts(name, mode, parts, f"{path.resolve()}:{mode}")
    return replace(data, block=block)


def _check_at_once(count: int, rows: Rows, path: Path) -> None:
    """Raise `UserError` if so many rows are too many for an array."""
    shape = (count, *rows.shape[1:])
    if math.prod(shape) > MOST:
        raise UserError(
            f"{path}: {' x '.join(map(str, shape))} numbers are too many to be read at "
            f"once (at most {MOST:,}): give a smaller --block"
        )


READERS: dict[str, Callable[[str | Path | None], Parts]] = {
    "fashion10k": _fashion10k,
    "digits": _digits,
    "fashion": lambda data_dir: _idx_set("fashion", data_dir),
    "mnist": lambda data_dir: _idx_set("mnist", data_dir),
}
NAMES = (*READERS, *SPRITES)
