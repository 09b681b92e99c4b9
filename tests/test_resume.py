"""Nothing is lost: what was stopped goes on, and ends with the same bytes.

A training is stopped in this process by a hook in its step or in its writing; whole
processes are stopped in `test_stopping.py`, and killed in `test_resume_slow.py`.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import done
from stops import (
    BEST,
    CONFIG,
    LAST,
    METRICS,
    Killed,
    after_step,
    die_at_write,
    files,
    kill,
    stopped,
    unchanged,
)
from threadpoolctl import ThreadpoolController, threadpool_limits
from tiny import few_digits, fit, same, small

import minivae as mv
from minivae.data import Dataset
from minivae.models import Autoencoder


@pytest.fixture
def data() -> Dataset:
    return few_digits()


OPTIONS: dict[str, tuple[Callable[[], Autoencoder], dict[str, Any]]] = {
    "vae": (lambda: small(), {"epochs": 3}),
    "betavae": (
        lambda: small("betavae", dropout=0.2, beta=2),
        {"epochs": 3, "optimizer": "adamw", "warmup": 2, "schedule": "step"},
    ),
    "ae": (
        lambda: small("ae", dropout=0.1, likelihood="gaussian"),
        {"epochs": 3, "optimizer": "rmsprop", "clip_norm": 1.0, "threads": 1},
    ),
    "conv": (
        lambda: small("vae", arch="conv", channels=(3,), dropout=0.1),
        {"epochs": 3, "optimizer": "rmsprop"},
    ),
    "dae": (
        lambda: small("dae", noise="salt:0.2", tied=True, l1=0.01, dropout=0.1),
        {"epochs": 3},
    ),
    "early": (
        lambda: small("ae"),
        {"epochs": 30, "lr": 0.3, "schedule": "constant", "patience": 2},
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that trains under some options, undisturbed, once for each."""
    made: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp("whole") / name
            start(name, out)
            made[name] = out
        return made[name]

    return run


def start(name: str, out: Path) -> mv.Run:
    make, options = OPTIONS[name]
    return fit(make(), few_digits(), out=out, **options)


# The same bytes


@pytest.mark.parametrize("number", [1, 4, 6, 8, 11, 12])
@pytest.mark.parametrize("name", ["vae", "betavae", "ae", "conv", "dae"])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    name: str, number: int, data: Dataset, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    out = tmp_path / "run"
    stopped(number, out, lambda: start(name, out))
    run = mv.resume(out, data, quiet=True)
    assert files(out) == files(whole(name))
    undisturbed = mv.load_run(whole(name))
    assert same(run.model.state(), undisturbed.model.state())
    assert (run.config, run.metrics) == (undisturbed.config, undisturbed.metrics)


def test_a_training_stopped_at_every_step_ends_with_the_same_bytes(
    data: Dataset, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    out = tmp_path / "run"
    stopped(1, out, lambda: start("betavae", out))
    for number in range(2, 13):
        stopped(number, out, lambda: mv.resume(out, data, quiet=True))
    mv.resume(out, data, quiet=True)
    assert files(out) == files(whole("betavae"))


def test_a_state_in_the_middle_of_an_epoch_loses_no_step(
    data: Dataset, tmp_path: Path
) -> None:
    stopped(6, tmp_path, lambda: start("vae", tmp_path))
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        for number in range(1, 13):
            after_step(patch, number, lambda number=number: taken.append(number))
        mv.resume(tmp_path, data, quiet=True)
    assert taken == [7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("number", [1, 4, 5, 9, 12])
def test_a_killed_training_repeats_its_epoch_to_the_same_bytes(
    number: int, data: Dataset, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, number, kill)
        with pytest.raises(Killed):
            start("betavae", out)
    finished = (number - 1) // 4
    assert (LAST in files(out)) == bool(finished)
    mv.resume(out, data, quiet=True)
    assert files(out) == files(whole("betavae"))


@pytest.mark.parametrize("moment", ["before", "half", "after"])
@pytest.mark.parametrize("name", ["betavae", "early"])
def test_a_training_killed_at_any_of_its_writes_ends_with_the_same_bytes(
    name: str,
    moment: str,
    data: Dataset,
    tmp_path: Path,
    whole: Callable[[str], Path],
) -> None:
    for number in itertools.count(1):
        out = tmp_path / f"{number}"
        with pytest.MonkeyPatch.context() as patch:
            die_at_write(patch, number, moment)
            try:
                start(name, out)
            except Killed:
                pass
            else:
                break
        if CONFIG not in files(out):
            assert (number, moment != "after") == (1, True)
            unchanged(out, "it has no config", lambda out=out: mv.resume(out, data))
        else:
            mv.resume(out, data, quiet=True)
            assert files(out) == files(whole(name)), number
    assert number > 9


@pytest.mark.parametrize("number", [2, 5, 12, 21])
def test_early_stopping_counts_on_over_a_stop(
    number: int, data: Dataset, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    run = mv.load_run(whole("early"))
    assert run.best_epoch < len(run.metrics) < 30
    assert run.finished
    assert 4 * len(run.metrics) > number
    stopped(number, tmp_path, lambda: start("early", tmp_path))
    mv.resume(tmp_path, data, quiet=True)
    assert files(tmp_path) == files(whole("early"))


def test_without_a_saved_state_training_begins_at_step_0(
    data: Dataset, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    shutil.copy(whole("betavae") / CONFIG, tmp_path)
    (tmp_path / METRICS).write_text("of an epoch that was not saved\n")
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 1, kill)
        with pytest.raises(Killed):
            mv.resume(tmp_path, data, quiet=True)
    assert list(files(tmp_path)) == [CONFIG]
    mv.resume(tmp_path, data, quiet=True)
    assert files(tmp_path) == files(whole("betavae"))


def test_metrics_are_cut_back_to_the_saved_state(data: Dataset, tmp_path: Path) -> None:
    stopped(6, tmp_path, lambda: start("vae", tmp_path))
    text = (tmp_path / METRICS).read_text()
    (tmp_path / METRICS).write_text(text + text.replace('"epoch": 1', '"epoch": 2'))
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 7, kill)
        with pytest.raises(Killed):
            mv.resume(tmp_path, data, quiet=True)
    assert (tmp_path / METRICS).read_text() == text


def test_a_checkpoint_behind_the_state_is_mended_before_training_goes_on(
    data: Dataset, tmp_path: Path
) -> None:
    killed, other = tmp_path / "killed", tmp_path / "other"
    with pytest.MonkeyPatch.context() as patch:
        die_at_write(patch, 4, "before")  # config, metrics, last, and then the best
        with pytest.raises(Killed):
            start("vae", killed)
    assert BEST not in files(killed)
    stopped(5, killed, lambda: mv.resume(killed, data, quiet=True))
    stopped(5, other, lambda: start("vae", other))
    assert files(killed) == files(other)


def test_the_threads_recorded_are_those_of_the_blas_alone(
    data: Dataset, tmp_path: Path
) -> None:
    # scikit-learn, which read the digits, has brought an OpenMP with its own number
    with threadpool_limits(1, "blas"), threadpool_limits(2, "openmp"):
        assert fit(small(), data, out=tmp_path).config["threads"] == 1


def test_a_training_goes_on_with_the_threads_it_began_with(
    data: Dataset, tmp_path: Path
) -> None:
    def threads() -> set[int]:
        libraries = ThreadpoolController().select(user_api="blas").info()
        return {library["num_threads"] for library in libraries}

    seen: list[set[int]] = []
    with threadpool_limits(1, "blas"):
        stopped(2, tmp_path, lambda: start("vae", tmp_path))
    with threadpool_limits(2, "blas"), pytest.MonkeyPatch.context() as patch:
        if threads() != {2}:
            pytest.skip("this BLAS has one thread")
        after_step(patch, 3, lambda: seen.append(threads()))
        mv.resume(tmp_path, data, quiet=True)
    assert seen == [{1}]


# A run that is over


@pytest.mark.parametrize("name", ["vae", "early"])
def test_a_finished_run_says_so_and_stays_as_it_is(
    name: str, data: Dataset, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    out = Path(shutil.copytree(whole(name), tmp_path / "run"))
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    run = mv.resume(out, data, quiet=True)
    assert run.trained == 0
    assert same(run.model.state(), mv.load_run(out).model.state())
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert files(out) == files(whole(name))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line, of two epochs."""
    out = tmp_path_factory.mktemp("digits") / "run"
    done("train", *SMALL, "--out", out)
    return out


SMALL = ("--hidden", 8, "--latent", 2, "--epochs", 2, "--data", "digits:dynamic")


def test_the_command_says_that_a_run_is_finished(digits: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in digits.rglob("*")}
    told = done("train", "--resume", digits)
    assert told.startswith(f"{digits} is finished, 2 epochs")
    assert told.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in digits.rglob("*")} == before


def test_the_command_goes_on_to_the_whole_folder(digits: Path, tmp_path: Path) -> None:
    shutil.copy(digits / CONFIG, tmp_path)
    done("train", f"--resume={tmp_path}", "--epochs", 2, "--data", "digits:dynamic")
    own = {path.name: path.read_bytes() for path in digits.rglob("*.*")}
    assert len(own) == 9
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.*")} == own
