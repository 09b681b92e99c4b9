"""Files that are read by blocks: what is wrong with one is told in one line.

Before training, if a file lies about itself; in the middle of it, if one is gone or
another one now: then all is saved, and resuming goes on once the file is back.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import SMALL, minivae, refused
from stops import LAST, after_step, files
from stored_sets import LEAST, idx, made, model_for, numbered
from test_hostile import archive, header, zeros
from tiny import fit

import minivae as mv
from minivae.data import UnreadableError, load, rows
from minivae.errors import UserError

X = numbered(500)
HUGE = (1 << 16, 1 << 12, 1 << 12)


def saved(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    import io

    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def spoiled(value: float) -> bytes:
    """An .npy of floats, one of which, in the 44th of 50 pieces, is none."""
    images = X / 255
    images[437, 2, 2] = value
    return saved(np.save, images)


PACKED = gzip.compress(idx(X), mtime=0)
FAULTS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "terabytes in an .npy": (
        ".npy",
        lambda: header(HUGE),
        "promises 1,099,511,627,776",
    ),
    "terabytes in an IDX file": (
        "-ubyte",
        lambda: idx(X, HUGE),
        "promises 1,099,511,627,776 bytes and holds 8,000",
    ),
    "petabytes in a .gz": (
        ".gz",
        lambda: gzip.compress(idx(X, (1 << 31, 1 << 11, 1 << 11))),
        "promises 9,007,199,254,740,992 bytes, and",
    ),
    "petabytes in an .npz": (
        ".npz",
        lambda: archive(**{"images.npy": header((1 << 31, 1 << 11, 1 << 11))}),
        "promises 9,007,199,254,740,992 bytes, and",
    ),
    "a bomb": (".gz", lambda: zeros(idx(X), 1 << 28), "goes on after the 8000 bytes"),
    "a cut .npy": (".npy", lambda: saved(np.save, X)[:-1], "and holds 7,999"),
    "a cut IDX file": ("-ubyte", lambda: idx(X)[:-1], "and holds 7,999"),
    "a cut .gz": (".gz", lambda: PACKED[: len(PACKED) // 2], "damaged gzip file"),
    "a short .gz": (".gz", lambda: gzip.compress(idx(X)[:-9]), "and holds 7,991"),
    "a flipped .gz": (".gz", lambda: PACKED[:-8] + bytes(8), "damaged gzip file"),
    "a cut .npz": (".npz", lambda: saved(np.savez, X)[:4000], "no readable NumPy"),
    "a short .npz": (
        ".npz",
        lambda: archive(**{"images.npy": saved(np.save, X)[:-9]}),
        "and holds 7,991",
    ),
    "a script": (".npz", lambda: archive(**{"images": b"import os"}), "no readable"),
    "two arrays": (".npz", lambda: saved(np.savez, a=X, b=X), "named 'images'"),
    "objects": (".npy", lambda: saved(np.save, np.array([{}] * 200)), "object"),
    "a negative size": (".npy", lambda: header((-1, 8, 8)), "no rows of numbers"),
    "one number": (".npy", lambda: saved(np.save, np.float32(1)), "no rows of numbers"),
    "words": (".npy", lambda: saved(np.save, np.array(["a"] * 200)), "no rows of"),
    "integers": (".npy", lambda: saved(np.save, X.astype(int)), "dtype int64"),
    "a row": (".npy", lambda: saved(np.save, X[:, 0, 0]), "shape (1,)"),
    "no pixels": (".npy", lambda: saved(np.save, X[:, :0]), "is empty"),
    "no images": (".npy", lambda: saved(np.save, X[:0]), "0 images are too few"),
    "columns": (".npy", lambda: saved(np.save, np.asfortranarray(X)), "by column"),
    "a NaN": (".npy", lambda: spoiled(np.nan), "(images 430 to 439) has NaN"),
    "a bright one": (".npy", lambda: spoiled(7), "(images 430 to 439) has values from"),
    "too few labels": (
        ".npz",
        lambda: saved(np.savez, images=X, labels=np.arange(499)),
        "500 images, but labels of shape (499,)",
    ),
    "factors": (
        ".npz",
        lambda: saved(np.savez, imgs=X, latents_classes=np.zeros((500, 2), int)),
        "has factors, and is read without --block",
    ),
    "a text": (".npy", lambda: b"0.1 0.2", "begins with 302e3120"),
    "nothing": (".npy", lambda: b"", "begins with nothing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_refused_before_training(fault: str, tmp_path: Path) -> None:
    suffix, make, words = FAULTS[fault]
    path, out = tmp_path / f"own{suffix}", tmp_path / "run"
    path.write_bytes(make())
    refused(words, "train", "--data", path, "--block", LEAST, *SMALL, "--out", out)
    assert not out.exists() or not any(out.iterdir())


@pytest.mark.parametrize("block", [None, LEAST])
def test_an_unpacked_copy_beside_is_not_taken_for_labels(
    block: int | None, tmp_path: Path
) -> None:
    (tmp_path / "own").write_bytes(idx(X))
    (tmp_path / "own.gz").write_bytes(PACKED)
    assert load(str(tmp_path / "own.gz"), block=block).test.labels is None


def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=X, labels=np.ones(500))
    with pytest.raises(UserError, match="labels have dtype float64, not an integer"):
        load(str(tmp_path / "own.npz"), block=LEAST)


def test_images_too_large_to_be_read_whole_are_read_by_blocks_that_are_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sparse.npy"
    with path.open("wb") as file:
        file.write(header((4096, 1 << 12, 1 << 10)))
        file.truncate(128 + (1 << 34))
    with pytest.raises(UserError, match="--block reads it piece by piece"):
        load(str(path))
    with pytest.raises(UserError, match="4096 x 4096 x 1024 numbers are too many"):
        load(str(path), block=5000)
    assert load(str(path), block=160).train.grey.shape == (3278, 1, 4096, 1024)


# Shards


def test_shards_continue_each_other_by_their_names(tmp_path: Path) -> None:
    for name, part in zip(("b", "a", "c"), np.split(X, (17, 300)), strict=True):
        np.save(tmp_path / f"{name}.npy", part)
    whole = tmp_path / "whole.npz"
    np.savez(whole, np.concatenate([X[17:300], X[:17], X[300:]]))
    shards = tmp_path / "shards"
    shards.mkdir()
    for name in "abc":
        (tmp_path / f"{name}.npy").rename(shards / f"{name}.npy")
    for block in (None, LEAST, 500):
        assert load(str(shards), block=block).digest() == (
            load(str(whole), block=block).digest()
        )


SHARDS: dict[str, tuple[dict[str, Any], str]] = {
    "another shape": ({"images": X[:, :3]}, "b.npz has rows of 3 x 4, uint8"),
    "another dtype": ({"images": X / 255}, "b.npz has rows of 4 x 4, float64"),
    "more colours": ({"images": X[:, None]}, "b.npz has rows of 1 x 4 x 4, uint8"),
    "no labels": ({"labels": None}, "b.npz has no labels, and"),
    "a label too few": ({"labels": np.arange(499)}, "b.npz: 500 images, but labels"),
    "other labels": (
        {"labels": np.arange(500, dtype="i2")},
        "rows of one number, int16",
    ),
}


@pytest.mark.parametrize("block", [(), ("--block", LEAST)], ids=["whole", "blocks"])
@pytest.mark.parametrize("fault", SHARDS)
def test_a_shard_unlike_the_others_is_refused(
    fault: str, block: tuple[object, ...], tmp_path: Path
) -> None:
    good = {"images": X, "labels": np.arange(500)}
    change, words = SHARDS[fault]
    np.savez(tmp_path / "a.npz", **good)
    bad = {name: array for name, array in (good | change).items() if array is not None}
    np.savez(tmp_path / "b.npz", **bad)
    refused(words, "train", "--data", tmp_path, *block, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("block", [(), ("--block", LEAST)], ids=["whole", "blocks"])
def test_a_folder_without_shards_is_refused(
    block: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "images.png").write_bytes(b"no shard")
    refused("holds no .npy or .npz file", "train", "--data", tmp_path, *block)


# Unpacked


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, not made yet."""
    monkeypatch.setattr(rows, "cache_folder", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "unpacked"


def test_what_is_unpacked_has_no_name_and_goes_with_the_set(
    cache: Path, tmp_path: Path
) -> None:
    data = load(made("idx.gz", 500, tmp_path), block=LEAST)
    assert cache.is_dir()
    assert not any(cache.iterdir())
    held = data.train.grey[:]
    (tmp_path / "own-images-idx3-ubyte.gz").unlink()  # it is not needed any more
    np.testing.assert_array_equal(data.train.grey[:], held)
    before = len(os.listdir("/proc/self/fd"))
    del data
    assert len(os.listdir("/proc/self/fd")) == before - 1


@pytest.mark.parametrize("kind", ["npy", "idx", "npy shards"])
def test_what_is_not_packed_is_read_where_it_lies(
    kind: str, cache: Path, tmp_path: Path
) -> None:
    load(made(kind, 500, tmp_path), block=LEAST).digest()
    assert not cache.exists()


def test_a_disk_without_room_is_told(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = made("labels", 500, tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=7999)
    with monkeypatch.context() as patch:
        patch.setattr(rows.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(UserError, match=r"8,000 bytes, and .* has 7,999 free"):
            load(name, block=LEAST)


LIMITED = """
import resource, sys
from minivae.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
main(sys.argv[1:])
"""


def test_a_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    name = made("labels", 500, tmp_path)
    command = (
        "train",
        "--data",
        name,
        "--block",
        "160",
        "--out",
        str(tmp_path / "run"),
    )
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, *command],
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
    )
    assert ended.returncode == 2
    assert re.fullmatch(
        r"minivae: cannot unpack .*/own.npz into .*/unpacked: File too large\n",
        ended.stderr,
    )


def test_a_cache_that_cannot_be_written_to_is_told(cache: Path, tmp_path: Path) -> None:
    cache.parent.write_text("no folder")
    with pytest.raises(UserError, match="where nothing can be written: Not a dir"):
        load(made("npz", 500, tmp_path), block=LEAST)


# In the middle of a training

CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (Path.unlink, "cannot be read any more: No such file"),
    "shorter": (lambda p: os.truncate(p, 999), "has changed meanwhile"),
    "written to": (lambda p: os.utime(p, (0, 0)), "has changed meanwhile"),
    "replaced": (lambda p: shutil.copy(p, p.with_suffix(".x")).replace(p), "changed"),
    "no file any more": (lambda p: (p.unlink(), p.mkdir()), "cannot be read any more"),
}


@pytest.mark.parametrize("step", [3, 4, 11, 13])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_in_training_loses_nothing(
    change: str, step: int, tmp_path: Path
) -> None:
    """Steps 3 and 4 are of the first epoch's first block, 11 is its last."""
    name, out = made("npy shards", 500, tmp_path), tmp_path / "run"
    shard, copy = tmp_path / "own" / "2.npy", tmp_path / "copy.npy"
    shutil.copy(shard, copy)
    act, words = CHANGES[change]

    def start(to: Path) -> mv.Run:
        data = load(name, block=LEAST)
        return fit(model_for(data), data, out=to, epochs=2, batch=37)

    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, step, lambda: act(shard))
        with pytest.raises(UserError, match=words) as told:
            start(out)
    assert "\n" not in str(told.value)
    assert "all is saved; go on with: minivae train --resume" in str(told.value)
    assert (out / LAST).exists()
    if shard.is_dir():
        shard.rmdir()
    shutil.copy(copy, shard)
    mv.resume(out, quiet=True)
    start(tmp_path / "whole")
    assert files(out) == files(tmp_path / "whole")


def test_the_command_tells_it_in_one_line(tmp_path: Path) -> None:
    name, out = made("npy", 500, tmp_path, "dynamic"), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 9, (tmp_path / "own.npy").unlink)
        outcome = minivae(
            *("train", "--data", name, "--block", LEAST, "--out", out, "--latent", 2),
            *("--hidden", 4, "--batch", 37, "--epochs", 2),
        )
    assert outcome.code == 2
    last = outcome.err.splitlines()[-1]
    assert last.startswith(f"minivae: {tmp_path / 'own.npy'} cannot be read any more")
    assert last.endswith(f"all is saved; go on with: minivae train --resume {out}")
    refused("there is no file", "train", "--resume", out)


def test_without_a_folder_nothing_can_be_saved(tmp_path: Path) -> None:
    data = load(made("npy", 500, tmp_path), block=LEAST)
    (tmp_path / "own.npy").unlink()
    with pytest.raises(UnreadableError, match="cannot be read any more"):
        data.digest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mv.data.Dataset, "digest", lambda self: "")
        patch.setattr(mv.data.Dataset, "binary", False)
        with pytest.raises(UserError, match="nothing was saved, for want of a folder"):
            fit(model_for(data), data)


# Memory

TRAIN = """
import resource, sys
cap, name, block = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if cap:
    resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
import minivae as mv
data = mv.data.load(name, block=block)
model = mv.VAE(data.shape, latent=2, hidden=(8,))
run = mv.fit(model, data, epochs=1, batch=500, quiet=True, threads=2)
ledger = mv.evaluate.ledger(model, data, draws=1, iwae=())
assert run.metrics[-1]["step"] == -(-len(data.train) // 500)
assert ledger["n_images"] == len(data.test)
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(int(line.split()[1]) * 1024)
"""
MB = 10**6


def write_large(path: Path, count: int) -> None:
    """Write `count` images of 28 x 28 bytes, 10,000 at a time."""
    block = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), np.uint8)
    with path.open("wb") as file:
        file.write(header((count, 28, 28)))
        for start in range(0, count, len(block)):
            file.write(block[: count - start].tobytes())


def peak_of_training(path: Path, cap: int = 0) -> int:
    """Train for an epoch, and evaluate, in a process of its own; returns its peak of
    resident bytes, pages of files counted.
    """
    name = f"{path}:dynamic"
    command = [sys.executable, "-c", TRAIN, str(cap), name, "10000"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_gigabytes_train_in_600_megabytes_and_size_costs_no_memory(
    tmp_path: Path,
) -> None:
    """A limit on what may be allocated holds while it trains, and what was resident
    at most is measured besides. Nothing is mapped, so no page of the file is in either.
    """
    peaks = {}
    for times in (1, 5, 20):
        path = tmp_path / "large.npy"
        write_large(path, 128_000 * times)
        peaks[times] = peak_of_training(path, cap=600 * MB)
        if times == 20:
            assert path.stat().st_size > 2000 * MB
        path.unlink()
    print({times: round(peak / MB) for times, peak in peaks.items()})
    assert max(peaks.values()) <= 600 * MB
    assert max(peaks.values()) - min(peaks.values()) <= 16 * MB


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["floats", "idx.gz", "shards"])
def test_other_files_cost_no_more_memory(kind: str, tmp_path: Path) -> None:
    peaks = []
    for count in (30_000, 240_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        write_as(kind, count, folder)
        peaks.append(peak_of_training(folder / NAMES.get(kind, "")))
        shutil.rmtree(folder)
    assert peaks[1] - peaks[0] <= 16 * MB


NAMES = {"floats": "large.npy", "idx.gz": "large-images-idx3-ubyte.gz"}


def write_as(kind: str, count: int, folder: Path) -> None:
    """Write many images, 10,000 at a time."""
    block = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), np.uint8)
    blocks = [block] * (count // len(block))
    if kind == "shards":
        for k, images in enumerate(blocks):
            np.savez(folder / f"{k:03}.npz", images=images, labels=np.arange(10_000))
    elif kind == "floats":
        with (folder / NAMES[kind]).open("wb") as file:
            file.write(header((count, 28, 28), "<f4"))
            for images in blocks:
                file.write((images / np.float32(255)).tobytes())
    else:
        start = idx(np.empty(0), (count, 28, 28))
        with gzip.open(folder / NAMES[kind], "wb", compresslevel=1) as packed:
            packed.write(start)
            for images in blocks:
                packed.write(images.tobytes())
