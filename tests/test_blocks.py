"""Data by blocks: the same images as in memory, each once an epoch, well shuffled.

A block is 16 pieces, and each piece is split 8 : 1 : 1 by itself. If one block holds
the whole set there is one piece, and everything is as in memory, bit for bit.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import SMALL, done, minivae, refused
from stops import BEST, LAST, METRICS, files, stopped, unchanged
from stored_sets import (
    KINDS,
    LEAST,
    SPLITS,
    made,
    model_for,
    numbered,
    numbers_of,
    whole_split,
)
from tiny import fit, same
from tolerances import STANDARD_ERRORS

import minivae as mv
from minivae.backend import Array
from minivae.data import MODES, Dataset, batches, load, stored
from minivae.data.stored import Stored
from minivae.errors import UserError
from minivae.evaluate.features import features, fitted_pca, flat, labels_of
from minivae.evaluate.likeness import nearest_training_image
from minivae.evaluate.moments import Moments
from minivae.random import Noise, Stream

each_kind = pytest.mark.parametrize("kind", KINDS)
each_mode = pytest.mark.parametrize("mode", MODES)


def epoch_of(data: Dataset, seed: int, size: int, done: int = 0) -> list[Array]:
    """The batches of an epoch, shuffled by a seed."""
    images = data.epoch(0, seed=0)
    return list(batches(images, np.random.default_rng(seed), size, done))


# If the block is the whole set


@each_mode
@each_kind
def test_a_block_of_the_whole_set_is_the_set_in_memory(
    kind: str, mode: str, tmp_path: Path
) -> None:
    name = made(kind, 200, tmp_path, mode)
    memory, blocks = load(name), load(name, block=200)
    assert isinstance(blocks.train.grey, Stored)
    assert (blocks.name, blocks.shape) == (memory.name, memory.shape)
    assert blocks.digest() == memory.digest()
    assert blocks.binary == memory.binary
    for split in SPLITS:
        for ours, theirs in zip(
            whole_split(blocks, split), whole_split(memory, split), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    for a, b in zip(epoch_of(blocks, 3, 32), epoch_of(memory, 3, 32), strict=True):
        np.testing.assert_array_equal(a, b)


@each_mode
@pytest.mark.parametrize("block", [200, 10_000])
def test_trained_from_one_block_the_weights_are_those_from_memory(
    mode: str, block: int, tmp_path: Path
) -> None:
    name = made("npy", 200, tmp_path, mode)
    runs = [
        fit(model_for(data, dropout=0.1), data, epochs=3, warmup=1)
        for data in (load(name), load(name, block=block))
    ]
    assert runs[0].metrics == runs[1].metrics
    assert same(runs[0].model.state(), runs[1].model.state())


@pytest.mark.parametrize("kind", ["floats", "idx.gz", "shards"])
def test_the_command_writes_the_same_weights(kind: str, tmp_path: Path) -> None:
    name = made(kind, 300, tmp_path, "dynamic")
    memory, blocks = tmp_path / "memory", tmp_path / "blocks"
    for out, block in ((memory, ()), (blocks, ("--block", 300))):
        done("train", *SMALL, "--batch", 64, "--data", name, *block, "--out", out)
    for path in (BEST, LAST, METRICS):
        assert (blocks / path).read_bytes() == (memory / path).read_bytes()
    ledgers = [done("evaluate", run, "--json") for run in (memory, blocks)]
    assert ledgers[0] == ledgers[1]
    assert "IWAE" in done("evaluate", memory, blocks)


# Of several blocks


@pytest.mark.parametrize("block", [160, 161, 319, 320, 500, 1007])
@pytest.mark.parametrize("count", [200, 1007])
def test_every_image_is_in_one_split_of_the_usual_size(
    count: int, block: int, tmp_path: Path
) -> None:
    name = made("npy", count, tmp_path)
    memory, blocks = load(name), load(name, block=block)
    found = [numbers_of(whole_split(blocks, split)[0]) for split in SPLITS]
    assert [*map(len, found)] == [len(memory.split(split)) for split in SPLITS]
    assert sorted(itertools.chain(*found)) == [*range(count)]


def test_each_piece_is_split_by_itself_8_1_1(tmp_path: Path) -> None:
    data = load(made("npy", 1007, tmp_path), block=320)  # pieces of 20 images
    found = [np.array(numbers_of(whole_split(data, split)[0])) for split in SPLITS]
    for piece in range(50):
        assert [(part // 20 == piece).sum() for part in found] == [16, 2, 2]
    for part in found:
        assert (np.diff(part // 20) >= 0).all()  # one piece after another
    orders = {tuple(found[0][16 * p : 16 * p + 16] % 20) for p in range(50)}
    assert len(orders) == 50  # each by a permutation of its own


@pytest.mark.parametrize("kind", ["labels", "idx", "shards"])
def test_labels_go_with_their_images(kind: str, tmp_path: Path) -> None:
    data = load(made(kind, 500, tmp_path), block=LEAST)
    modulus = {"labels": 5, "idx": 256, "shards": 500}[kind]
    for split in SPLITS:
        images, labels = whole_split(data, split)
        assert labels is not None
        assert labels.dtype == np.int64
        assert (np.array(numbers_of(images)) % modulus == labels).all()


@each_kind
def test_a_slice_is_that_of_the_array(kind: str, tmp_path: Path) -> None:
    data = load(made(kind, 333, tmp_path, "dynamic"), block=LEAST)
    rng = np.random.default_rng(0)
    for split in SPLITS:
        rows = data.split(split).images
        whole = np.concatenate([rows[i : i + 1] for i in range(len(rows))])
        assert rows.shape == whole.shape
        assert rows.size == whole.size
        for _ in range(20):
            a, b = rng.integers(-len(whole) - 3, len(whole) + 4, 2)
            np.testing.assert_array_equal(rows[a:b], whole[a:b])
        np.testing.assert_array_equal(rows[::-7], whole[::-7])
        np.testing.assert_array_equal(rows[-1], whole[-1])
        np.testing.assert_array_equal(rows[[3, 0, 3]], whole[[3, 0, 3]])
        np.testing.assert_array_equal(rows[np.array([], int)], whole[:0])
        with pytest.raises(IndexError):
            rows[len(whole)]


def test_a_digest_is_of_the_mode_and_all_images_in_order(tmp_path: Path) -> None:
    data = load(made("shards", 500, tmp_path, "fixed"), block=LEAST)
    images = [np.asarray(data.split(split).grey) for split in SPLITS]
    told = hashlib.sha256(b"fixed" + np.concatenate(images).tobytes()).hexdigest()
    assert data.digest() == told
    digests = {
        load(made("shards", 500, tmp_path / "x", mode), block=block).digest()
        for mode, block in itertools.product(MODES, (160, 320, 500))
        if not shutil.rmtree(tmp_path / "x", ignore_errors=True)
        and not (tmp_path / "x").mkdir()
    }
    assert len(digests) == 3 * len(MODES)  # another block is another split


@pytest.mark.parametrize("split", SPLITS)
def test_a_draw_goes_by_the_number_of_the_image(split: str, tmp_path: Path) -> None:
    streams = {
        "train": Stream.BINARISE_TRAIN,
        "validation": Stream.BINARISE_VALIDATION,
        "test": Stream.BINARISE_TEST,
    }
    data = load(made("npy", 500, tmp_path, "dynamic"), block=LEAST)
    part = data.split(split)
    grey, images = np.asarray(part.grey), np.asarray(part.images)
    drawn = Noise(0, streams[split]).uniform(grey.shape) < grey
    np.testing.assert_array_equal(images, drawn)
    if split == "train":
        for epoch in (0, 3):
            noise = Noise(7, Stream.BINARISE_TRAIN, epoch * grey.size)
            images = np.asarray(data.epoch(epoch, seed=7))
            np.testing.assert_array_equal(images, noise.uniform(grey.shape) < grey)


# Shuffled


@pytest.mark.parametrize("size", [1, 7, 64, 128, 300, 5000])
@pytest.mark.parametrize("block", [160, 400, 1007])
def test_an_epoch_has_every_image_once_in_as_many_steps(
    block: int, size: int, tmp_path: Path
) -> None:
    name = made("npy", 1007, tmp_path)
    memory, blocks = load(name), load(name, block=block)
    found = epoch_of(blocks, 1, size)
    lengths = [len(batch) for batch in found]
    assert lengths == [len(batch) for batch in epoch_of(memory, 1, size)]
    assert len(set(lengths[:-1])) <= 1
    seen = list(itertools.chain(*map(numbers_of, found)))
    assert len(set(seen)) == len(seen)
    assert sorted(seen) == sorted(numbers_of(whole_split(blocks, "train")[0]))
    other = list(itertools.chain(*map(numbers_of, epoch_of(blocks, 2, size))))
    assert other != seen


@pytest.mark.parametrize("left_out", [0, 1, 9, 10, 11, 50, 62, 63])
def test_batches_may_be_left_out_without_reading_them(
    left_out: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(made("npy", 1007, tmp_path), block=LEAST)
    whole = epoch_of(data, 1, 13)
    assert len(whole) == 63
    taken = []
    real = stored.Pieces.__getitem__
    monkeypatch.setattr(
        stored.Pieces,
        "__getitem__",
        lambda self, number: taken.append(number) or real(self, number),
    )
    rest = epoch_of(data, 1, 13, left_out)
    for a, b in zip(rest, whole[left_out:], strict=True):
        np.testing.assert_array_equal(a, b)
    # of the 16 pieces to a block, those of blocks that are left out stay unread
    assert len(set(taken)) <= math.ceil((819 - 13 * left_out) / 8) + 16


def test_a_block_is_of_16_pieces_from_all_over_the_file(tmp_path: Path) -> None:
    data = load(made("npy", 6400, tmp_path), block=LEAST)
    (first,) = epoch_of(data, 5, 128, 39)[:1]
    pieces = sorted({number // 10 for number in numbers_of(first)})
    assert len(pieces) == 16
    assert pieces[-1] - pieces[0] > 320


def test_two_images_meet_as_often_as_is_said(tmp_path: Path) -> None:
    """With blocks of W training images, batches of b, P pieces: of one piece with
    probability (b − 1) / (W − 1), of two with 15 / (P − 1) times that.
    """
    P, W, b, epochs = 64, 128, 16, 600
    data = load(made("npy", 10 * P, tmp_path), block=LEAST)
    train = numbers_of(whole_split(data, "train")[0])
    place = {number: i for i, number in enumerate(train)}
    one, two = (b - 1) / (W - 1), (b - 1) / (W - 1) * 15 / (P - 1)
    met = np.zeros((epochs, 2))
    for seed in range(epochs):
        batch_of = np.empty(len(train), int)
        for k, batch in enumerate(epoch_of(data, seed, b)):
            batch_of[[place[number] for number in numbers_of(batch)]] = k
        together = batch_of[:, None] == batch_of
        pieces = np.arange(len(train)) // 8
        alike = pieces[:, None] == pieces
        np.fill_diagonal(together, False)
        met[seed] = together[alike].sum() / (P * 8 * 7), together[~alike].mean()
    found, errors = met.mean(axis=0), met.std(axis=0) / math.sqrt(epochs)
    assert abs(found[0] - one) <= STANDARD_ERRORS * errors[0]
    # of every batch b (b − 1) pairs meet, so the other number is no second measurement
    assert abs(found[1] - two) <= STANDARD_ERRORS * errors[1]
    full = (b - 1) / (len(train) - 1)
    assert 0.93 <= two / full <= 0.96
    assert one / full == pytest.approx(len(train) / W, rel=0.01)


# Stopped


def start(data: Dataset, out: Path) -> mv.Run:
    return fit(model_for(data, dropout=0.2), data, out=out, epochs=2, batch=37)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a set of shards, and a run of 2 x 11 steps on it by blocks of 160."""
    folder = tmp_path_factory.mktemp("undisturbed")
    name = made("shards", 500, folder, "dynamic")
    start(load(name, block=LEAST), folder / "run")
    return name, folder / "run"


@pytest.mark.parametrize("number", [1, 3, 4, 7, 10, 11, 12, 15, 21, 22])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    number: int, undisturbed: tuple[str, Path], tmp_path: Path
) -> None:
    name, whole = undisturbed
    out = tmp_path / "run"
    stopped(number, out, lambda: start(load(name, block=LEAST), out))
    mv.resume(out, quiet=True)  # which loads the data again, by the same blocks
    assert files(out) == files(whole)


def test_the_command_resumes_by_the_same_blocks(
    undisturbed: tuple[str, Path], tmp_path: Path
) -> None:
    name, whole = undisturbed
    out = tmp_path / "run"
    stopped(15, out, lambda: start(load(name, block=LEAST), out))
    done("train", "--resume", out)
    for path, content in files(whole).items():
        assert (out / path).read_bytes() == content
    assert "is finished" in done("train", "--resume", out, "--block", LEAST)
    refused("its digest differs", "train", "--resume", out, "--block", 320)


@pytest.mark.parametrize("change", ["a pixel", "a shard less", "other order"])
def test_data_that_changed_between_runs_are_refused(
    change: str, tmp_path: Path
) -> None:
    name = made("shards", 500, tmp_path, "dynamic")
    out, shards = tmp_path / "run", sorted((tmp_path / "own").glob("*.npz"))
    stopped(7, out, lambda: start(load(name, block=LEAST), out))
    if change == "a pixel":
        held = dict(np.load(shards[2]))
        held["images"][-1, -1, -1] ^= 1
        np.savez(shards[2], **held)
    elif change == "a shard less":
        shards[1].unlink()
    else:
        shards[0].rename(shards[0].with_name("9.npz"))
    unchanged(out, "its digest differs", lambda: mv.resume(out, quiet=True))
    refused("its digest differs", "train", "--resume", out)


# Evaluated


def test_the_ledger_sums_up_without_keeping_the_images_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(made("npy", 5000, tmp_path, "dynamic"), block=400)
    model = model_for(data)
    fit(model, data, epochs=1)
    ledgers = importlib.import_module("minivae.evaluate.ledger")
    at_once = mv.evaluate.ledger(model, data, draws=2)
    longest, real = [], ledgers.each
    monkeypatch.setattr(ledgers, "KEPT", 100)
    monkeypatch.setattr(
        ledgers,
        "each",
        lambda f, items, like: longest.append(len(items)) or real(f, items, like),
    )
    by_and_by = mv.evaluate.ledger(model, data, draws=2, batch=50)
    assert longest == [2] * 5
    assert by_and_by.keys() == at_once.keys()
    for one, other in zip(*map(numbers_in, (by_and_by, at_once)), strict=True):
        assert abs(one - other) <= 1e-5 * abs(other)
    first = replace(data.test, grey=data.test.grey[:100])
    few = mv.evaluate.ledger(model, replace(data, test=first), draws=2)["log_p"]
    for key in ("value", "se", "n_images", "iwae_there"):
        assert abs(by_and_by["log_p"][key] - few[key]) <= 1e-5 * abs(few[key])


def numbers_in(ledger: dict[str, Any]) -> list[float]:
    """What a ledger measures over all images of a split."""
    keys = ("objective", "neg_elbo", "neg_elbo_se", "recon", "kl", "active_units")
    bounds = [number for bound in ledger["iwae"].values() for number in bound.values()]
    levels = [ledger["floor"], ledger["collapsed"], *ledger["kl_per_latent"]]
    return [*(ledger[key] for key in keys), *bounds, *levels]


@pytest.mark.parametrize("cuts", [(), (1,), (7, 8, 500), (999,)])
def test_moments_are_those_of_all_rows(cuts: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(5, 2, (1000, 3))
    moments = Moments()
    for part in np.split(values, cuts):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(moments.variance, values.var(axis=0), rtol=1e-13)
    single = Moments()
    for part in np.split(values[:, 0], cuts):
        single.add(part)
    error = values[:, 0].std(ddof=1) / math.sqrt(1000)
    assert single.error == pytest.approx(error, rel=1e-13)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line, by blocks."""
    folder = tmp_path_factory.mktemp("run")
    name = made("labels", 1000, folder, "dynamic")
    by_blocks = ("--data", name, "--block", 400, "--out", folder / "run")
    done("train", *SMALL, "--batch", 64, *by_blocks)
    return folder / "run"


PICTURES = ("sample", "reconstruct", "interpolate", "traverse", "manifold")


def test_the_applications_read_such_a_run(run: Path, tmp_path: Path) -> None:
    assert "own (blocks of 400):dynamic" in done("evaluate", run)
    options = ("--leave-out", 1, "--epochs", 1, "--out", tmp_path / "detect")
    done("detect", run, *options)
    model, data = mv.load_run(run).model, load(f"{run.parent / 'own.npz'}", block=400)
    for train, test in features(model, data, "test").values():
        assert (len(train), len(test)) == (800, 100)
    assert len(labels_of(data, "train", "this")) == 800


def test_pictures_and_their_numbers_never_need_all_images_at_once(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stored, "HELD", 1000)  # numbers: that is 62 images
    done("report", run)
    assert "blocks of 400" in (run / "report.html").read_text(encoding="utf-8")
    for command in (*PICTURES, "embed"):
        done(command, run, "--out", tmp_path / command)


def test_the_components_of_pieces_are_those_of_all_images(tmp_path: Path) -> None:
    data = load(made("npy", 1000, tmp_path), block=LEAST)
    by_pieces = fitted_pca(data.train.images, 5)
    at_once = fitted_pca(np.asarray(data.train.images), 5)
    x = flat(data.test.images)
    for a, b in (
        (by_pieces.explained_variance_, at_once.explained_variance_),
        (abs(by_pieces.transform(x)), abs(at_once.transform(x))),
    ):
        assert np.abs(a - b).max() <= 1e-9 * np.abs(b).max()


def test_the_nearest_image_of_pieces_is_that_of_all(tmp_path: Path) -> None:
    data = load(made("npy", 1000, tmp_path), block=LEAST)
    x, train = flat(data.test.images), flat(data.train.grey)
    nearest = ((x[:, None] - train) ** 2).sum(axis=2).min(axis=1)
    found = nearest_training_image(data.test.images[:], data)
    assert np.abs(found - nearest).max() <= 1e-9 * nearest.max()


def test_what_needs_all_images_at_once_says_so(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stored, "HELD", 1000)
    for command, *options in (
        ("probe",),
        ("cluster",),
        ("detect", "--leave-out", 1, "--out", tmp_path / "x"),
    ):
        outcome = minivae(command, run, *options)
        assert (outcome.code, outcome.out) == (2, "")
        assert "images in memory at once" in outcome.err.splitlines()[-1]
    assert not any(tmp_path.iterdir())


def test_runs_by_other_blocks_are_not_compared(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    name = run.parent / "own.npz"
    done("train", *SMALL, "--data", f"{name}:dynamic", "--block", 1000, "--out", other)
    refused("cannot be compared: data own (blocks of 400)", "evaluate", run, other)


def test_a_sweep_goes_by_blocks_too(tmp_path: Path) -> None:
    name = made("npy", 400, tmp_path, "dynamic")
    out = tmp_path / "sweep"
    options = (*SMALL, "--batch", 64, "--data", name, "--block", 160)
    done("sweep", "--grid", "seed=0..1", "--workers", 1, *options, "--out", out)
    alone = tmp_path / "alone"
    done("train", *options, "--seed", 1, "--threads", 1, "--out", alone)
    assert (out / "seed=1" / BEST).read_bytes() == (alone / BEST).read_bytes()


@pytest.mark.parametrize("block", [0, 159, -5, True, 1e6, "400"])
def test_a_block_that_is_too_small_or_no_number_is_refused(
    block: object, tmp_path: Path
) -> None:
    name = made("npy", 300, tmp_path)
    with pytest.raises(UserError, match="a block is at least 160 images, not"):
        load(name, block=block)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["digits", "fashion10k:dynamic", "mnist", "sprites16"])
def test_a_set_with_a_name_is_read_whole(name: str, tmp_path: Path) -> None:
    refused("is read whole: a block is of", "train", "--data", name, "--block", 500)


def test_a_few_images_are_too_few_by_blocks_too(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", numbered(9))
    refused(
        "9 images are too few", "train", "--data", tmp_path / "few.npy", "--block", 160
    )
