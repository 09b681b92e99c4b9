"""What cannot be gone on with is refused with the reason, and nothing changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import done, minivae, refused
from safetensors.numpy import save_file
from stops import (
    BEST,
    CONFIG,
    LAST,
    METRICS,
    PREVIOUS,
    Killed,
    after_step,
    files,
    kill,
    stopped,
    unchanged,
)
from tiny import few_digits, fit, small

import minivae as mv
from minivae import checkpoint
from minivae.data import Dataset
from minivae.errors import UserError


@pytest.fixture
def data() -> Dataset:
    return few_digits()


def start(out: Path) -> mv.Run:
    return fit(small(), few_digits(), out=out, epochs=3)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line, of two epochs."""
    out = tmp_path_factory.mktemp("digits") / "run"
    options = ("--hidden", 8, "--latent", 2, "--epochs", 2, "--data", "digits:dynamic")
    done("train", *options, "--out", out)
    return out


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
    stopped(5, tmp_path, lambda: start(tmp_path))
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
    "another JSON": (metadata({"minivae": "[1]"}), "is damaged: its SHA-256"),
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
    stopped(6, tmp_path, lambda: start(tmp_path))
    (tmp_path / PREVIOUS).unlink()  # with it, what is only damaged would be mended
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
    stopped(6, tmp_path, lambda: start(tmp_path))
    config = json.loads((tmp_path / CONFIG).read_text())
    (config[group] if group else config)[key] = value
    (tmp_path / CONFIG).write_text(json.dumps(config))
    unchanged(tmp_path, words, lambda: mv.resume(tmp_path, data))


def test_weights_of_another_dtype_are_not_loaded(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    start(run)
    weights = checkpoint.read_tensors(run / BEST)
    weights[W] = weights[W].astype(np.float16)
    checkpoint.write_tensors(run / BEST, weights)
    unchanged(run, "float32 here, float16 there", lambda: mv.load_run(run))


def test_a_run_without_an_epoch_yet_says_how_to_go_on(tmp_path: Path) -> None:
    stopped(2, tmp_path, lambda: start(tmp_path))
    with pytest.raises(UserError, match=r"go on with it: minivae train --resume "):
        mv.load_run(tmp_path)


def test_a_folder_with_a_run_that_only_began_is_not_overwritten(
    data: Dataset, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 1, kill)
        with pytest.raises(Killed):
            start(tmp_path)
    assert list(files(tmp_path)) == [CONFIG]
    unchanged(tmp_path, "or go on with it: minivae", lambda: start(tmp_path))
