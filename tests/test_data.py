"""Data: the same images in the same splits for ever, and every fault has its message.

The faults are files as they come from a broken download or a mistaken script; each is
refused with a `UserError` that names the file and what is wrong with it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerances import STANDARD_ERRORS

import minivae.data
from minivae.backend import Array
from minivae.data import MODES, NAMES, Dataset, Split, binarise, load, make_fashion10k
from minivae.errors import UserError
from minivae.random import Noise, Stream

PACKAGED = Path(minivae.data.__file__).parent / "fashion10k"
SPLITS = ("train", "validation", "test")
PIXELS = np.arange(24 * 16, dtype=np.uint8).reshape(24, 4, 4)
MIB = 1 << 20


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sizes(data: Dataset) -> list[int]:
    return [len(data.split(name)) for name in SPLITS]


def idx(array: Array, shape: tuple[int, ...] | None = None) -> bytes:
    """An IDX file of bytes; `shape` is what the header says, if it lies."""
    shape = array.shape if shape is None else shape
    header = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
    return header + array.astype(np.uint8).tobytes()


def npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write_pair(
    folder: Path, part: str, images: Array, pack: Callable[[bytes], bytes] | None = None
) -> None:
    """Write images and labels 0, 1, 2, ... as IDX files, packed by gzip if asked."""
    labels = np.arange(len(images))
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{part}-{kind}-ubyte{'.gz' if pack else ''}"
        path.write_bytes((pack or bytes)(idx(array)))


# Fashion-MNIST's 10,000 test images, shipped with the code


@pytest.fixture(scope="module")
def fashion10k() -> Dataset:
    return load("fashion10k")


def test_fashion10k_is_ten_thousand_grey_images_of_28_by_28(
    fashion10k: Dataset,
) -> None:
    assert fashion10k.shape == (1, 28, 28)
    assert sizes(fashion10k) == [8000, 1000, 1000]
    for name in SPLITS:
        grey = fashion10k.split(name).grey
        assert grey.dtype == np.float32
        assert grey.min() == 0
        assert grey.max() == 1
    assert not fashion10k.binary


def test_fashion10k_is_split_by_one_fixed_permutation(fashion10k: Dataset) -> None:
    with gzip.open(PACKAGED / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    with gzip.open(PACKAGED / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    images = pixels.reshape(10000, 1, 28, 28).astype(np.float32) / 255
    p = np.random.default_rng(0).permutation(10000)
    for name, rows in zip(SPLITS, (p[:8000], p[8000:9000], p[9000:]), strict=True):
        np.testing.assert_array_equal(fashion10k.split(name).grey, images[rows])
        np.testing.assert_array_equal(fashion10k.split(name).labels, labels[rows])


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", "ae8ef1512645b02ef59c9a08ebca724fa7feb0b57e58a71c706577c91c8c4394"),
        (
            "validation",
            "26b691cb53ecc16df6b4e905ae4255b34a41558922e0e595da8a11f7355c0292",
        ),
        ("test", "80abb7c6ddde122cc388305858cc3b4132a1e709988c8d87f9d9a936c89fce5e"),
    ],
)
def test_a_split_of_fashion10k_never_changes(
    split: str, expected: str, fashion10k: Dataset
) -> None:
    assert sha256(fashion10k.split(split).grey.tobytes()) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "t10k-images-idx3-ubyte.gz",
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
        ),
        (
            "LICENSE-fashion-mnist",
            "403544a39fe3a283dc872e762bcaa462a7c49b9bd99a8027617e6dcbe436a2ee",
        ),
    ],
)
def test_a_packaged_file_is_the_one_that_was_published(
    name: str, expected: str
) -> None:
    assert sha256((PACKAGED / name).read_bytes()) == expected


def test_the_packaged_files_stay_small_and_keep_their_licence() -> None:
    files = {path.name: path.stat().st_size for path in PACKAGED.iterdir()}
    assert sum(files.values()) < 5_000_000
    assert "MIT" in (PACKAGED / "LICENSE-fashion-mnist").read_text()


# The other sets


def test_digits_are_scikit_learns() -> None:
    data = load("digits")
    assert data.shape == (1, 8, 8)
    assert sizes(data) == [1439, 179, 179]
    assert set(np.unique(data.test.grey * 16)) == set(range(17))


@pytest.mark.parametrize("name", ["fashion10k", "digits"])
def test_no_image_is_in_two_splits(name: str) -> None:
    data = load(name)
    seen = [{image.tobytes() for image in data.split(s).grey} for s in SPLITS]
    assert len(set.union(*seen)) == sum(map(len, seen))


PACKINGS = pytest.mark.parametrize("pack", [None, gzip.compress], ids=["plain", "gz"])


@PACKINGS
@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_of_both_idx_pairs_the_last_sixth_of_training_validates(
    name: str, pack: Callable[[bytes], bytes] | None, tmp_path: Path
) -> None:
    write_pair(tmp_path, "train", PIXELS[:20], pack)
    write_pair(tmp_path, "t10k", PIXELS[20:], pack)
    data = load(name, tmp_path)
    parts = (PIXELS[:17], PIXELS[17:20], PIXELS[20:])
    labels = (range(17), range(17, 20), range(4))
    for split, images, expected in zip(SPLITS, parts, labels, strict=True):
        grey = images[:, None].astype(np.float32) / 255
        np.testing.assert_array_equal(data.split(split).grey, grey)
        np.testing.assert_array_equal(data.split(split).labels, expected)


@PACKINGS
def test_the_t10k_pair_alone_is_split_8_1_1(
    pack: Callable[[bytes], bytes] | None, tmp_path: Path
) -> None:
    write_pair(tmp_path, "t10k", PIXELS, pack)
    p = np.random.default_rng(0).permutation(24)
    labels = [load("mnist", tmp_path).split(name).labels for name in SPLITS]
    for rows, found in zip((p[:20], p[20:22], p[22:]), labels, strict=True):
        np.testing.assert_array_equal(found, rows)


def test_a_set_may_lie_in_a_folder_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    write_pair(tmp_path / "mnist", "t10k", PIXELS)
    assert sizes(load("mnist", tmp_path)) == [20, 2, 2]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "bool"])
@pytest.mark.parametrize("shape", [(16,), (4, 4), (1, 4, 4), (3, 4, 4)], ids=str)
def test_own_images_may_have_any_sensible_shape_and_type(
    shape: tuple[int, ...], dtype: str, suffix: str, tmp_path: Path
) -> None:
    values = np.random.default_rng(1).integers(0, 256, (20, *shape))
    scaled = {"uint8": values, "bool": values > 127}.get(dtype, values / 255)
    array = scaled.astype(dtype)
    path = tmp_path / f"own{suffix}"
    path.write_bytes(npy(array) if suffix == ".npy" else npz(images=array))
    data = load(str(path))
    assert data.name == "own:gray"
    assert data.shape == ((1,) * (3 - len(shape)) + shape)
    assert data.train.grey.dtype == np.float32
    expected = array.astype(np.float32) / (255 if dtype == "uint8" else 1)
    found = np.concatenate([data.split(name).grey for name in SPLITS])
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(found.reshape(20, *shape), expected[order])


def test_own_labels_go_with_their_images(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    path.write_bytes(npz(images=PIXELS, labels=PIXELS[:, 0, 0].astype(int)))
    for split in map(load(str(path)).split, SPLITS):
        np.testing.assert_array_equal(split.labels, split.grey[:, 0, 0, 0] * 255)


# Making images 0 or 1


@pytest.mark.parametrize("mode", ["threshold", "fixed", "dynamic"])
def test_a_binarised_set_is_0_or_1_everywhere(mode: str) -> None:
    data = load(f"digits:{mode}")
    assert data.binary
    for images in (*(data.split(name).images for name in SPLITS), data.epoch(3, 0)):
        assert images.dtype == np.float32
        assert set(np.unique(images)) == {0, 1}


def test_a_name_without_a_suffix_means_gray() -> None:
    plain, gray = load("digits"), load("digits:gray")
    assert plain.name == gray.name == "digits:gray"
    assert plain.digest() == gray.digest()
    assert plain.train.images is plain.train.grey


def test_a_digest_tells_modes_apart() -> None:
    digests = {load(f"digits:{mode}").digest() for mode in MODES}
    assert len(digests) == len(MODES)


def test_threshold_is_above_one_half() -> None:
    split = load("digits:threshold").test
    np.testing.assert_array_equal(split.images, split.grey > 0.5)
    assert (split.images[split.grey == 0.5] == 0).all()


@pytest.mark.parametrize("mode", ["gray", "threshold", "fixed"])
def test_only_dynamic_images_change_with_the_epoch(mode: str) -> None:
    data = load(f"digits:{mode}")
    np.testing.assert_array_equal(data.epoch(0, seed=0), data.train.images)
    np.testing.assert_array_equal(data.epoch(5, seed=9), data.train.images)


@pytest.mark.parametrize(("epoch", "seed"), [(1, 0), (0, 1), (1, 1)])
def test_dynamic_training_images_differ_by_epoch_and_by_seed(
    epoch: int, seed: int
) -> None:
    data = load("digits:dynamic")
    first, other = data.epoch(0, seed=0), data.epoch(epoch, seed)
    unsure = (data.train.grey > 0) & (data.train.grey < 1)
    assert (first != other)[unsure].mean() > 0.1
    assert (first == other)[~unsure].all()
    np.testing.assert_array_equal(other, data.epoch(epoch, seed))


@pytest.mark.parametrize("mode", ["fixed", "dynamic"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_is_evaluated_is_drawn_once_and_for_ever(mode: str, split: str) -> None:
    first, second = load(f"digits:{mode}"), load(f"digits:{mode}")
    first.epoch(7, seed=7)
    images = first.split(split).images
    np.testing.assert_array_equal(images, second.split(split).images)
    np.testing.assert_array_equal(images, load("digits:fixed").split(split).images)


def test_splits_are_drawn_from_streams_of_their_own() -> None:
    grey = np.full((50, 1, 4, 4), 0.5, np.float32)
    data = Dataset.from_parts("half", "fixed", [(grey, None)] * 3)
    drawn = {data.split(name).images.tobytes() for name in SPLITS}
    assert len(drawn) == 3


@pytest.mark.parametrize("count", [1, 7, 1500])
def test_a_draw_does_not_depend_on_how_many_are_drawn_with_it(count: int) -> None:
    grey = np.random.default_rng(0).random((2100, 1, 3, 3), np.float32)
    whole = Split(grey, None, "dynamic", Stream.BINARISE_TEST).images
    part = Split(grey[:count], None, "dynamic", Stream.BINARISE_TEST).images
    np.testing.assert_array_equal(part, whole[:count])


def test_the_mean_of_many_draws_is_the_grey_value() -> None:
    data = load("digits:dynamic")
    epochs, rows = 400, slice(0, 40)
    drawn = np.mean([data.epoch(e, seed=3)[rows] for e in range(epochs)], axis=0)
    p = data.train.grey[rows].astype(np.float64)
    certain = (p == 0) | (p == 1)
    np.testing.assert_array_equal(drawn[certain], p[certain])
    errors = ((drawn - p) / np.sqrt(p * (1 - p) / epochs + certain))[~certain]
    pixels = errors.size
    assert abs(errors.mean()) * math.sqrt(pixels) <= STANDARD_ERRORS
    # one pixel in 16,000 lies outside by chance: of these, hardly any
    assert (abs(errors) > STANDARD_ERRORS).sum() <= 2
    assert abs(errors.var() - 1) <= STANDARD_ERRORS * math.sqrt(2 / pixels)


def test_a_pixel_is_never_drawn_against_its_certainty() -> None:
    sure = np.repeat(np.array([0, 1], np.float32), 100_000).reshape(2, 1, 1, -1)
    np.testing.assert_array_equal(binarise(sure, Noise(0)), sure)


# Faults. Every message names the file.


def refused(load_it: Callable[[], object], *words: str) -> None:
    """The call raises one line that has all the words in it."""
    with pytest.raises(UserError) as caught:
        load_it()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


GOOD = idx(PIXELS)
PACKED = gzip.compress(GOOD)
IDX_FAULTS: dict[str, tuple[str, bytes, str]] = {
    "an empty": ("", b"", "begins with nothing"),
    "a magicless": ("", b"PNG!" + GOOD[4:], "begins with 504e4721, not 00000803"),
    "a signed": ("", b"\0\0\x09\x03" + GOOD[4:], "begins with 00000903"),
    "a label": ("", idx(PIXELS[0, 0]), "begins with 00000801"),
    "a headless": ("", GOOD[:9], "ends inside its header"),
    "a truncated": ("", GOOD[:-1], "promises 24 x 4 x 4 bytes and holds 383"),
    "a boastful": ("", idx(PIXELS, (2**32 - 1, 2**16, 2**16)), "too large to be read"),
    "a trailing": ("", GOOD + b"\0", "goes on after the 384 bytes"),
    "an imageless": ("", idx(PIXELS[:0]), "empty"),
    "a misnamed": (".gz", GOOD, "is not a gzip file, though its name says so"),
    "a half": (".gz", PACKED[: len(PACKED) // 2], "damaged gzip"),
    "a flipped": (".gz", PACKED[:-8] + bytes(8), "damaged gzip"),
    "a garbled": (".gz", PACKED[:30] + b"\xff" * 60, "damaged gzip"),
}


@pytest.mark.parametrize("fault", IDX_FAULTS)
def test_a_faulty_idx_file_is_refused(fault: str, tmp_path: Path) -> None:
    suffix, content, words = IDX_FAULTS[fault]
    write_pair(tmp_path, "t10k", PIXELS)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    path = tmp_path / f"t10k-images-idx3-ubyte{suffix}"
    path.write_bytes(content)
    refused(lambda: load("mnist", tmp_path), str(path), words)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_a_header_that_promises_terabytes_costs_no_memory(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    write_pair(tmp_path, "t10k", PIXELS)
    liar = tmp_path / "t10k-images-idx3-ubyte"
    liar.write_bytes(pack(idx(PIXELS, (2**32 - 1, 28, 28))))
    tracemalloc.start()
    try:
        refused(lambda: load("mnist", tmp_path), str(liar), "its header is wrong")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB


def test_images_without_their_labels_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "t10k", PIXELS)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    refused(lambda: load("mnist", tmp_path), str(tmp_path), "t10k labels")


def test_another_number_of_labels_than_images_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "t10k", PIXELS)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(23)))
    refused(lambda: load("mnist", tmp_path), "24 images", "(23,)")


def test_training_and_test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", PIXELS)
    write_pair(tmp_path, "t10k", PIXELS[:, :3])
    refused(lambda: load("mnist", tmp_path), str(tmp_path), "(4, 4)", "(3, 4)")


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    refused(lambda: load("mnist", tmp_path), "no files of mnist", str(tmp_path))


@pytest.mark.parametrize("made", [True, False], ids=["a file", "nothing"])
def test_a_data_dir_that_is_no_folder_is_refused(made: bool, tmp_path: Path) -> None:
    path = tmp_path / "here"
    if made:
        path.touch()
    refused(lambda: load("mnist", path), str(path), "not a folder")


FLOATS = PIXELS / 255
HEADER = npy(PIXELS)[:128]
HUGE = HEADER.replace(b"(24, 4, 4), }" + b" " * 9, b"(1000000000000, 9, 9)}")
NUMPY_FAULTS: dict[str, tuple[str, bytes, str]] = {
    "an empty": (".npy", b"", "begins with nothing"),
    "a text": (".npy", b"0.1 0.2 0.3", "begins with 302e31"),
    "a headless": (".npy", npy(PIXELS)[:20], "no readable NumPy file"),
    "a bracket": (".npy", HEADER.replace(b"4)", b"4("), "no readable NumPy file"),
    "a truncated": (".npy", npy(PIXELS)[:-1], "no readable NumPy file"),
    "a huge": (".npy", HUGE, "too large to be read whole"),
    "a huge member": (".npz", zipped(**{"images.npy": HUGE}), "too large to be read"),
    "a pickled": (".npy", npy(np.array([{}, {}], object)), "pickle"),
    "a pickled member": (".npz", npz(images=np.array([{}], object)), "pickle"),
    "a half zip": (".npz", npz(images=PIXELS)[:200], "no readable NumPy file"),
    "a text zip": (".npz", zipped(images=b"no array"), "a file that is no array"),
    "an imageless": (".npz", npz(a=PIXELS, b=PIXELS), "'images' (and perhaps"),
    "a bare": (".npz", npz(), "it holds nothing"),
    "an integer": (".npy", npy(PIXELS.astype(int)), "dtype int64"),
    "a complex": (".npy", npy(PIXELS.astype(complex)), "dtype complex128"),
    "a word": (".npy", npy(np.array(["word"] * 20)), "dtype <U4"),
    "a flat": (".npy", npy(FLOATS.ravel()), "shape (384,)"),
    "a deep": (".npy", npy(FLOATS[None, None]), "shape (1, 1, 24, 4, 4)"),
    "a NaN": (".npy", npy(np.where(FLOATS == 1, np.nan, FLOATS)), "NaN or infinite"),
    "an infinite": (".npy", npy(np.where(FLOATS == 1, np.inf, 0)), "NaN or infinite"),
    "an enormous": (".npy", npy(FLOATS * 1e300), "NaN or infinite"),
    "a negative": (".npy", npy(FLOATS - 0.5), "values from -0.5 to 0.5"),
    "a bright": (".npy", npy(FLOATS * 255), "values from 0 to 255"),
    "a pixelless": (".npy", npy(FLOATS[:, :0]), "is empty: shape (24, 0, 4)"),
    "a short": (".npy", npy(FLOATS[:9]), "9 images are too few"),
    "a mislabelled": (".npz", npz(images=PIXELS, labels=[1, 2]), "24 images"),
    "a float-labelled": (".npz", npz(images=PIXELS, labels=np.ones(24)), "float64"),
}


@pytest.mark.parametrize("fault", NUMPY_FAULTS)
def test_a_faulty_numpy_file_is_refused(fault: str, tmp_path: Path) -> None:
    suffix, content, words = NUMPY_FAULTS[fault]
    path = tmp_path / f"own{suffix}"
    path.write_bytes(content)
    refused(lambda: load(str(path)), str(path), words)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "none.npz")
    refused(lambda: load(path), f"there is no file {path}")
    refused(lambda: load(str(tmp_path)), "no data set")


@pytest.mark.parametrize("name", ["cifar", "", "digits.csv", ":gray"])
def test_an_unknown_name_is_refused_and_the_known_ones_are_listed(name: str) -> None:
    refused(lambda: load(name), "no data set", *NAMES)


@pytest.mark.parametrize("name", ["digits:grey", "digits:", "fashion10k:DYNAMIC"])
def test_an_unknown_mode_is_refused_and_the_known_ones_are_listed(name: str) -> None:
    refused(lambda: load(name), name, "gray, threshold, fixed, dynamic")


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UserError, match=re.escape("no split 'dev'; have train")):
        load("digits").split("dev")


def test_the_packaged_images_are_made_by_their_script(tmp_path: Path) -> None:
    made = make_fashion10k.make(make_fashion10k.PACKAGED, tmp_path / "made")
    assert len(made) == 2
    for path in made:
        packaged = make_fashion10k.PACKAGED / path.name
        assert path.read_bytes() == packaged.read_bytes()


def test_other_images_do_not_become_the_packaged_ones(tmp_path: Path) -> None:
    for path in make_fashion10k.PACKAGED.glob("*.gz"):
        (tmp_path / path.name).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(UserError, match="not the published file"):
        make_fashion10k.make(tmp_path, tmp_path / "made")
    assert not (tmp_path / "made").exists()
