"""Files that were made to harm: refused in one line, in bounded time and memory.

Good files are changed at random, thousands of times, and whatever reads them may raise
nothing but `UserError`. `MINIVAE_FUZZ=200000` sets how many inputs there are in all, in
the slow test 20,000. Done on 2026-11-26: 200,002 inputs, 9,091 of each of 22 kinds, in
less than 9 minutes; nothing else came through. (The first time one had, a member of an
archive whose name broke the message in two lines.)
"""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import time
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import inputs
from hypothesis import HealthCheck, given, settings
from tiny import a_run, few_digits, fit, run_files, small

import minivae as mv
from minivae import checkpoint, train
from minivae.cli.step import step
from minivae.data.files import MOST, as_images, read_idx, read_numpy
from minivae.errors import UserError
from minivae.models import MODELS
from minivae.page.report import report
from minivae.page.sweep import page as sweep_page
from minivae.run import stored
from minivae.study import exact_json
from minivae.sweep import LEDGER, MANIFEST, Sweep, split_axis

MOST_SECONDS, MOST_MB = 5.0, 512  # of one input, and of all of them


# Bombs and lies


def idx(*shape: int, content: bytes = b"") -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in shape)
    return bytes((0, 0, 8, len(shape))) + sizes + content


def zeros(start: bytes, size: int) -> bytes:
    """`start` and so many zeros, packed: a thousandth of their size."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        file.write(start)
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return packed.getvalue()


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    told = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(told, fields)
    return told.getvalue()


def archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return packed.getvalue()


HUGE = (1 << 16, 1 << 12, 1 << 12)
HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "terabytes in a header": (".idx", lambda: idx(*HUGE), "too large to be read whole"),
    "a bomb as large as it says": (
        ".gz",
        lambda: zeros(idx(1 << 11, 1 << 10, 1 << 10), 1 << 26),
        "too large to be read whole",
    ),
    "a bomb larger than it says": (
        ".gz",
        lambda: zeros(idx(10, 28, 28), 1 << 28),
        "goes on after the 7840 bytes",
    ),
    "terabytes in an .npy": (
        ".npy",
        lambda: header(HUGE),
        "too large to be read whole",
    ),
    "a negative size": (
        ".npy",
        lambda: header((-1, 8, 8)),
        "too large to be read whole",
    ),
    "terabytes in an .npz": (
        ".npz",
        lambda: archive(**{"images.npy": header(HUGE)}),
        "too large to be read whole",
    ),
    "too many labels": (
        ".npz",
        lambda: archive(
            **{"images.npy": header((20, 8, 8)) + bytes(1280)},
            **{"labels.npy": header((MOST + 1,))},
        ),
        "too large to be read whole",
    ),
    "a header that is no Python": (
        ".npy",
        lambda: b"\x93NUMPY\x01\x00\x14\x00\n  {'descr': 1}      \n",
        "is no readable NumPy file",
    ),
    "objects": (
        ".npz",
        lambda: archive(
            **{"images.npy": header((4,), "|O") + b"cos\nsystem\n(S'x'\ntR."}
        ),
        "need pickle",
    ),
    "a script": (".npz", lambda: archive(**{"images": b"import os"}), "no array"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_bombs_and_lies_are_refused_in_bounded_memory(
    name: str, tmp_path: Path
) -> None:
    suffix, make, words = HOSTILE[name]
    path = tmp_path / f"hostile{suffix}"
    path.write_bytes(make())
    before, began = peak_mb(), time.process_time()
    with pytest.raises(UserError, match=words) as told:
        read_idx(path, 3) if suffix in (".idx", ".gz") else read_numpy(path)
    assert "\n" not in str(told.value)
    assert peak_mb() - before <= 64
    assert time.process_time() - began <= MOST_SECONDS


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_a_member_with_a_path_is_read_and_written_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    path = folder / "own.npz"
    images = header((20, 8, 8)) + bytes(20 * 64)
    path.write_bytes(archive(**{"..__..__up.npy": images}))
    found, labels = read_numpy(path)
    assert (found.shape, labels) == ((20, 8, 8), None)
    assert list(tmp_path.rglob("*")) == [folder, path]


@pytest.mark.parametrize("name", ["a\r\nb", "a\x1b[2Jb", "a\u2028b"])
def test_a_name_of_control_letters_is_told_in_one_line(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.npz"
    labels = header((2,)) + bytes(2)
    path.write_bytes(archive(**{f"{name}.npy": labels, "labels.npy": labels}))
    with pytest.raises(UserError) as told:
        read_numpy(path)
    assert str(told.value).isprintable()
    assert ascii(name)[1:-1] in str(told.value)


DEEP = "[" * 100_000
NUMBER = "1" * 5_000


@pytest.mark.parametrize("text", [DEEP, '{"model": ' * 9_999, NUMBER, f"[{NUMBER}]"])
def test_json_that_is_too_deep_or_too_long_is_refused(
    text: str, tmp_path: Path
) -> None:
    for name in ("config.json", "metrics.jsonl", "sweep.json"):
        (tmp_path / name).write_text(text)
    for read in (
        checkpoint.read_config,
        checkpoint.read_metrics,
        Sweep.read,
        lambda _: exact_json.loads(text),
    ):
        with pytest.raises(UserError) as told:
            read(tmp_path)
        assert len(str(told.value)) < 480


# Whatever comes


@cache
def recording() -> bytes:
    model = small(likelihood="bernoulli")
    batch = few_digits().train.images[:2]
    return exact_json.dumps(mv.study.record(model, batch)).encode()


def saved(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


@cache
def ledger() -> bytes:
    run = fit(small(), few_digits())
    return json.dumps(mv.evaluate.ledger(run.model, few_digits(), draws=1)).encode()


IMAGES = np.arange(20 * 64, dtype=np.uint8).reshape(20, 8, 8)
MANY = np.tile(IMAGES, (20, 1, 1))
A_MANIFEST = json.dumps(
    {
        "axes": ["beta"],
        "base": {"model": "vae", "data": "digits", "hidden": [8]},
        "threads": 1,
        "runs": {"beta=1": {"beta": 1}, "beta=2": {"beta": 2}},
    }
).encode()


def own_images(path: Path) -> None:
    images, _ = read_numpy(path)
    as_images(images, str(path))


def by_blocks(suffix: str) -> Callable[[Path], None]:
    def reader(path: Path) -> None:
        path = path.replace(path.with_suffix(suffix))
        mv.data.load(str(path), block=160).digest()

    return reader


def in_a_run(name: str, read: Callable[[Path], Any]) -> Callable[[Path], None]:
    """What reads a run of which one file is the input."""

    def reader(path: Path) -> None:
        run = a_run(path.parent)
        path.replace(run / name)
        read(run)

    return reader


def in_a_sweep(name: str) -> Callable[[Path], None]:
    """What reads a sweep of which one file is the input, and draws its page."""

    def reader(path: Path) -> None:
        folder = path.parent / "sweep"
        if not folder.exists():
            (folder / "beta=1").mkdir(parents=True)
            (folder / MANIFEST).write_bytes(A_MANIFEST)
            (folder / "beta=1" / LEDGER).write_bytes(ledger())
        path.replace(folder / name)
        found = Sweep.read(folder)
        if groups := found.groups():
            sweep_page(found, groups)

    return reader


def whole_run(folder: Path) -> None:
    """Whatever a run is read for, but its data."""
    run = mv.load_run(folder)
    train.stored_options(folder, run.config)
    assert isinstance(run.finished, bool)
    assert report(run, few_digits(), json.loads(ledger()))


def options_of(name: str, **more: Any) -> bytes:
    options = {"arch": "conv", "channels": [2], "decoder_arch": "dense"} | more
    return json.dumps(MODELS[name]((1, 8, 8), 2, (4,), **options).config()).encode()


def as_a_model(path: Path) -> None:
    """Let the input be what a run's configuration says of the model, and build that."""
    rest = json.loads(run_files()["config.json"])
    rest.pop("model")
    told = b'{"model": ' + path.read_bytes() + b", " + json.dumps(rest).encode()[1:]
    (path.parent / "config.json").write_bytes(told)
    (path.parent / "checkpoint.safetensors").write_bytes(bytes(1 << 18))
    stored(path.parent)


def whole_recording(path: Path) -> None:
    """Whatever a recording is read for, by the command."""
    good, page = path.with_name("good"), path.with_name("page.html")
    good.write_bytes(recording())
    with redirect_stdout(io.StringIO()):
        step(read=path, plain=True, html=page)
        step(read=path, find_bug=True)
        step(diff=(path, good))


OPTIONS: dict[str, dict[str, Any]] = {
    "ae": {"tied": True, "decoder_arch": "conv"},
    "dae": {"noise": "mask:0.1"},
    "betavae": {"capacity": 2.0, "likelihood": "gaussian", "sigma": 0.5},
    "iwae": {"samples": 3},
    "bernoullivae": {"estimator": "exact"},
}
TARGETS: dict[str, tuple[Callable[[], bytes], Callable[[Path], Any]]] = {
    "idx": (lambda: idx(20, 8, 8, content=IMAGES.tobytes()), lambda p: read_idx(p, 3)),
    "idx.gz": (
        lambda: gzip.compress(idx(20, 8, 8, content=IMAGES.tobytes()), mtime=0),
        lambda p: read_idx(p, 3),
    ),
    "npy": (lambda: saved(np.save, IMAGES / 1280), own_images),
    "npz": (lambda: saved(np.savez_compressed, images=IMAGES), own_images),
    "a data set": (
        lambda: saved(np.savez, images=IMAGES, labels=np.arange(20)),
        lambda p: mv.data.load(str(p.replace(p.with_suffix(".npz")))),
    ),
    "npy by blocks": (lambda: saved(np.save, MANY / 1280), by_blocks(".npy")),
    "npz by blocks": (
        lambda: saved(np.savez_compressed, images=MANY, labels=np.arange(400)),
        by_blocks(".npz"),
    ),
    "idx.gz by blocks": (
        lambda: gzip.compress(idx(400, 8, 8, content=MANY.tobytes()), mtime=0),
        by_blocks(".gz"),
    ),
    "safetensors": (
        lambda: run_files()["last.safetensors"],
        lambda p: checkpoint.read_state(p, {}),
    ),
    "weights": (
        lambda: run_files()["checkpoint.safetensors"],
        checkpoint.read_tensors,
    ),
    "config": (
        lambda: run_files()["config.json"],
        in_a_run("config.json", whole_run),
    ),
    "metrics": (
        lambda: run_files()["metrics.jsonl"],
        in_a_run("metrics.jsonl", whole_run),
    ),
    **{
        f"the options of {name}": (partial(options_of, name, **more), as_a_model)
        for name, more in OPTIONS.items()
    },
    "best weights": (
        lambda: run_files()["checkpoint.safetensors"],
        in_a_run("checkpoint.safetensors", mv.load_run),
    ),
    "sweep": (lambda: A_MANIFEST, in_a_sweep(MANIFEST)),
    "ledger": (lambda: ledger(), in_a_sweep(f"beta=1/{LEDGER}")),
    "recording": (recording, whole_recording),
    "grid": (
        lambda: b"beta=1,2,4..9",
        lambda p: split_axis(p.read_bytes().decode("latin-1")),
    ),
}
"""What is read: a good file, and what reads it."""
IN_JSON = ("config", "metrics", "sweep", "ledger", "recording")
IN_JSON += tuple(name for name in TARGETS if name.startswith("the options"))


def fuzz(name: str, count: int, folder: Path) -> int:
    """Let so many inputs be read; returns how many of them were refused."""
    make, read = TARGETS[name]
    good, path = make(), folder / "input"
    path.write_bytes(good)
    if name != "safetensors":  # which is no state of a model without parameters
        read(path)
    refusals = seen = 0

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(name in IN_JSON))
    def one(change: tuple[Callable[..., bytes], Any]) -> None:
        nonlocal refusals, seen
        how, drawn = change
        path.write_bytes(how(good, *drawn))
        seen += 1
        began = time.process_time()
        told = ""
        try:
            read(path)
        except UserError as error:
            refusals, told = refusals + 1, str(error)
        assert "\n" not in told
        assert time.process_time() - began <= MOST_SECONDS

    before = peak_mb()
    one()
    assert peak_mb() - before <= MOST_MB
    assert seen >= min(count, 100)
    return refusals


@pytest.mark.parametrize("name", TARGETS)
def test_a_changed_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    assert fuzz(name, 40, tmp_path) > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TARGETS)
def test_thousands_of_changed_files_are_read_or_refused(
    name: str, tmp_path: Path
) -> None:
    count = int(os.environ.get("MINIVAE_FUZZ", "20000")) // len(TARGETS) + 1
    assert fuzz(name, count, tmp_path) > 0
