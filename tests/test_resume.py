"""Nothing is lost: what was stopped goes on, and ends with the same bytes.

A training is stopped in this process by a hook in its step or in its writing; whole
processes are stopped in `test_stopping.py`, and killed in `test_resume_slow.py`.
"""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import done, minivae, refused
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits
from tiny import few_digits, fit, same, small

import minivae as mv
from minivae import checkpoint, train
from minivae.data import Dataset
from minivae.errors import UserError
from minivae.models import Autoencoder

CONFIG, METRICS = "config.json", "metrics.jsonl"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"


class Killed(BaseException):
    """What no training catches: as near to SIGKILL as one process can come."""


@pytest.fixture
def data() -> Dataset:
    return few_digits()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def after_step(
    patch: pytest.MonkeyPatch, number: int, event: Callable[[], Any]
) -> None:
    """Let `event` happen when the update with this number is over."""
    real = train.train_step

    def hooked(model: Autoencoder, optimizer: Any, *rest: Any) -> tuple[float, float]:
        result = real(model, optimizer, *rest)
        if optimizer.steps == number:
            event()
        return result

    patch.setattr(train, "train_step", hooked)


def ask_to_stop(patch: pytest.MonkeyPatch, number: int) -> None:
    after_step(patch, number, lambda: signal.raise_signal(signal.SIGINT))


def kill() -> None:
    raise Killed


def stopped(number: int, out: Path, action: Callable[[], Any]) -> None:
    """Do something that trains in `out`, and stop it after step `number`."""
    with pytest.MonkeyPatch.context() as patch:
        ask_to_stop(patch, number)
        with pytest.raises(KeyboardInterrupt, match=f"stopped after step {number}, "):
            action()
    assert (out / LAST).exists()


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
@pytest.mark.parametrize("name", ["vae", "betavae", "ae"])
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


def die_at_write(patch: pytest.MonkeyPatch, number: int, moment: str) -> None:
    """Let the writing of a file, counted from 1, kill the training."""
    write, calls = checkpoint.write, itertools.count(1)

    def dying(path: Path, content: bytes) -> None:
        dies = next(calls) == number
        if dies and moment == "half":
            path.with_name(path.name + ".part").write_bytes(content[:50])
        if not dies or moment == "after":
            write(path, content)
        if dies:
            kill()

    patch.setattr(checkpoint, "write", dying)


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


# What is refused, and changes nothing


def unchanged(folder: Path, words: str, action: Callable[[], Any]) -> None:
    before = files(folder)
    with pytest.raises(UserError, match=words) as told:
        action()
    assert "\n" not in str(told.value)
    assert files(folder) == before


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("epochs", 40, "was started with epochs 2, not 40"),
        ("hidden", 9, "was started with hidden (8,), not (9,)"),
        ("lr", 0.1, "was started with lr 0.002, not 0.1"),
        ("seed", 1, "was started with seed 0, not 1"),
        ("model", "ae", "was started with model vae, not ae"),
        ("beta", 2, "was started with beta None, not 2.0"),
        ("threads", 3, "was started with threads None, not 3"),
        ("out", "elsewhere", "was started with out"),
        ("data", "digits:fixed", "its digest differs"),
    ],
)
def test_options_that_contradict_the_run_are_refused(
    option: str, value: object, words: str, digits: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(digits, tmp_path / "run"))
    (run / LAST).unlink()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    refused(words, "train", f"--{option}", value, "--resume", run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("none", "there is no run folder"), ("", "is not a run: it has no config.json")],
)
def test_what_is_no_run_is_refused(name: str, words: str, tmp_path: Path) -> None:
    refused(words, "train", "--resume", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_resume_without_a_folder_is_pointed_out() -> None:
    outcome = minivae("train", "--resume")
    assert outcome.code == 2
    assert "--resume" in outcome.err


def test_data_that_changed_are_refused(data: Dataset, tmp_path: Path) -> None:
    stopped(5, tmp_path, lambda: start("vae", tmp_path))
    other = replace(data, train=replace(data.train, grey=data.train.grey[::-1]))
    unchanged(tmp_path, "digest differs", lambda: mv.resume(tmp_path, other))


def foreign(change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Any:
    """A fault that changes the arrays and the rest of last.safetensors."""

    def fault(run: Path) -> None:
        own = small().state()
        expected = checkpoint.read_tensors(run / LAST)
        assert own.keys() < expected.keys()
        tensors, rest = checkpoint.read_state(run / LAST, expected)
        change(tensors, rest)
        checkpoint.write_tensors(run / LAST, tensors, rest)

    return fault


def metadata(content: dict[str, str] | None) -> Any:
    def fault(run: Path) -> None:
        save_file(checkpoint.read_tensors(run / LAST), run / LAST, content)

    return fault


def truncate(name: str, keep: float) -> Any:
    def fault(run: Path) -> None:
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: int(keep * len(content))])

    return fault


def bfloat16(run: Path) -> None:
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    (run / LAST).write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")


W = "encoder.1.weight"
BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (truncate(LAST, 0), "no readable safetensors"),
    "half a header": (truncate(LAST, 0.01), "no readable safetensors"),
    "a half state": (truncate(LAST, 0.5), "no readable safetensors"),
    "all but a byte": (truncate(LAST, 0.9999), "no readable safetensors"),
    "a folder": (lambda run: ((run / LAST).unlink(), (run / LAST).mkdir()), "no read"),
    "no metadata": (metadata(None), "was not written by minivae"),
    "other metadata": (metadata({"format": "pt"}), "was not written by minivae"),
    "no JSON": (metadata({"minivae": "{"}), "was not written by minivae"),
    "another JSON": (metadata({"minivae": "[1]"}), "not the state of a run: no 'epoch"),
    "bfloat16": (bfloat16, "that NumPy can hold"),
    "another name": (
        foreign(lambda t, r: t.update(x=t.pop(W))),
        "another model's: par",
    ),
    "one more": (foreign(lambda t, r: t.update(x=t[W])), "do not match: x"),
    "no moments": (
        foreign(lambda t, r: t.pop("optimizer.exp_avg")),
        "do not match: op",
    ),
    "another shape": (
        foreign(lambda t, r: t.update({W: t[W][:, :5]})),
        r"weight is \(8, 64\) here, \(8, 5\) there",
    ),
    "another dtype": (
        foreign(lambda t, r: t.update({W: t[W].astype(np.float64)})),
        "weight is float32 here, float64 there",
    ),
    "no step": (foreign(lambda t, r: r.pop("step")), "no 'step' that works"),
    "half a step": (foreign(lambda t, r: r.update(step=5.5)), "no 'step' that works"),
    "a minus": (foreign(lambda t, r: r.update(latent=-1)), "no 'latent' that works"),
    "no sums": (foreign(lambda t, r: r.update(sums=[1])), "no 'sums' that work"),
    "no order": (foreign(lambda t, r: r.update(order={})), "no 'order' that works"),
    "a late step": (
        foreign(lambda t, r: r.update(step=9)),
        "not the state of this run",
    ),
    "a late epoch": (foreign(lambda t, r: r.update(epoch=2)), "the state of this run"),
    "half the metrics": (truncate(METRICS, 0.5), "a line that is not JSON"),
    "no metrics": (lambda run: (run / METRICS).unlink(), "has no metrics.jsonl"),
    "half the best": (truncate(BEST, 0.5), "no readable safetensors"),
    "no best": (lambda run: (run / BEST).unlink(), "there is no"),
    "another's best": (
        lambda run: checkpoint.write_tensors(run / BEST, small("ae").state()),
        "another model's: parameters do not match",
    ),
    "half the config": (truncate(CONFIG, 0.5), "is not valid JSON"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_or_foreign_state_is_refused(
    fault: str, data: Dataset, tmp_path: Path
) -> None:
    breaking, words = BROKEN[fault]
    stopped(6, tmp_path, lambda: start("vae", tmp_path))
    breaking(tmp_path)
    if fault == "a folder":
        with pytest.raises(UserError, match=words):
            mv.resume(tmp_path, data)
    else:
        unchanged(tmp_path, words, lambda: mv.resume(tmp_path, data))


@pytest.mark.parametrize(
    ("group", "key", "value", "words"),
    [
        ("train", "epochs", "many", "config.json does not say how to train"),
        ("train", "momentum", 1, "unexpected keyword argument 'momentum'"),
        ("train", "optimizer", "lion", "no optimizer 'lion'"),
        (None, "threads", None, "threads is None"),
        ("model", "latent", 3, "is another model's"),
    ],
)
def test_a_configuration_that_is_not_ours_is_refused(
    group: str | None,
    key: str,
    value: object,
    words: str,
    data: Dataset,
    tmp_path: Path,
) -> None:
    stopped(6, tmp_path, lambda: start("vae", tmp_path))
    config = json.loads((tmp_path / CONFIG).read_text())
    (config[group] if group else config)[key] = value
    (tmp_path / CONFIG).write_text(json.dumps(config))
    unchanged(tmp_path, words, lambda: mv.resume(tmp_path, data))


def test_weights_of_another_dtype_are_not_loaded(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole("vae"), tmp_path / "run"))
    weights = checkpoint.read_tensors(run / BEST)
    weights[W] = weights[W].astype(np.float16)
    checkpoint.write_tensors(run / BEST, weights)
    unchanged(run, "float32 here, float16 there", lambda: mv.load_run(run))


def test_a_run_without_an_epoch_yet_says_how_to_go_on(tmp_path: Path) -> None:
    stopped(2, tmp_path, lambda: start("vae", tmp_path))
    with pytest.raises(UserError, match=r"go on with it: minivae train --resume "):
        mv.load_run(tmp_path)


def test_a_folder_with_a_run_that_only_began_is_not_overwritten(
    data: Dataset, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 1, kill)
        with pytest.raises(Killed):
            start("vae", tmp_path)
    assert list(files(tmp_path)) == [CONFIG]
    unchanged(tmp_path, "or go on with it: minivae", lambda: start("vae", tmp_path))
