"""Stopped on purpose, or because a number is not finite: told in one line, saved."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import done, minivae, refused
from stops import LAST, after_step, ask_to_stop, files
from tiny import few_digits, fit, same, small

import minivae as mv
from minivae import checkpoint, ops, train
from minivae.data import Dataset
from minivae.errors import UserError
from minivae.interrupts import SIGNALS, Interrupts
from minivae.random import Noise
from minivae.study import first_fault
from minivae.tensor import Node, Op
from minivae.train import train_step


@pytest.fixture
def data() -> Dataset:
    return few_digits()


# Ctrl-C and SIGTERM

SLOWLY = """
import signal, time
from minivae import cli, train
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
step = train.train_step
def slow_step(*given):
    time.sleep(0.05)
    return step(*given)
train.train_step = slow_step
cli.main()
"""
DIGITS = ("--data", "digits:dynamic", "--hidden", "8", "--latent", "2", "--epochs", "4")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_process_that_is_stopped_says_how_to_go_on_and_loses_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    out, whole = tmp_path / "it's a run", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, "train", *DIGITS, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("epoch   1/4")
    time.sleep(0.3)
    process.send_signal(number)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    before, line = told.rpartition("minivae: ")[::2]
    assert all(text.startswith("epoch ") for text in before.splitlines())
    assert line.count("\n") == 1
    rest = json.loads(state(out)["minivae"])
    assert 12 < rest["step"] < 48
    start, _, command = line.partition("; go on with: ")
    assert start == f"stopped after step {rest['step']}, all is saved"
    assert command == f"minivae train --resume '{tmp_path}/it'\"'\"'s a run'\n"
    done("train", "--resume", out)
    done("train", *DIGITS, "--out", whole)
    for path in whole.rglob("*.*"):
        other = out / path.relative_to(whole)
        assert path.read_bytes() == other.read_bytes(), path


def state(run: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(run / LAST, "numpy") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


def test_ctrl_c_in_the_command_exits_with_130(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        ask_to_stop(patch, 3)
        outcome = minivae("train", *DIGITS, "--out", tmp_path)
    assert outcome.code == 130
    assert outcome.err.startswith("minivae: stopped after step 3, all is saved; go on")
    assert outcome.err.count("\n") == 1


def test_the_step_is_finished_before_training_stops(
    data: Dataset, tmp_path: Path
) -> None:
    real, finished = train_step, []

    def interrupted(*given: Any) -> tuple[float, float]:
        if len(finished) == 5:
            signal.raise_signal(signal.SIGTERM)
        result = real(*given)
        finished.append(given[1].steps)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match="stopped after step 6,"):
            fit(small(), data, out=tmp_path)
    assert finished == [1, 2, 3, 4, 5, 6]
    assert json.loads(state(tmp_path)["minivae"])["step"] == 6


def test_a_stop_while_measuring_keeps_the_epoch(data: Dataset, tmp_path: Path) -> None:
    real = train.validate

    def interrupted(*given: Any) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "validate", interrupted)
        with pytest.raises(KeyboardInterrupt, match="stopped after step 4,"):
            fit(small(), data, out=tmp_path)
    assert len(mv.load_run(tmp_path).metrics) == 1


def test_without_a_folder_it_is_said_that_nothing_was_saved(data: Dataset) -> None:
    with pytest.MonkeyPatch.context() as patch:
        ask_to_stop(patch, 2)
        with pytest.raises(KeyboardInterrupt, match="step 2; nothing was saved"):
            fit(small(), data)


@pytest.mark.parametrize("name", ["metrics.jsonl", LAST])
def test_a_second_ctrl_c_stops_at_once_and_leaves_whole_files(
    name: str, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = os.replace, []

    def impatient(source: Path, target: Path) -> None:
        calls.append(target.name)
        if calls.count(name) == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", impatient)
        with pytest.raises(KeyboardInterrupt) as told:
            fit(small(), data, out=tmp_path)
    assert str(told.value) == ""
    assert not [found for found in files(tmp_path) if found.endswith(".part")]
    mv.resume(tmp_path, data, quiet=True)
    fit(small(), data, out=tmp_path / "whole")
    whole = files(tmp_path / "whole")
    assert {found: (tmp_path / found).read_bytes() for found in whole} == whole


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


def test_handlers_are_those_from_before_when_training_is_over(data: Dataset) -> None:
    before, seen = handlers(), []
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 1, lambda: seen.append(handlers()))
        fit(small(), data)
        assert handlers() == before
        ask_to_stop(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            fit(small(), data)
    assert handlers() == before
    assert not set(seen[0]) & set(before)


def test_another_thread_trains_and_touches_no_handler(data: Dataset) -> None:
    before, seen = handlers(), []
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, 1, lambda: seen.append(handlers()))
        thread = threading.Thread(target=fit, args=(small(), data))
        thread.start()
        thread.join()
    assert seen == [before]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
        assert not interrupts.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_was_asked_too_late_to_be_seen_is_not_forgotten() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGTERM)


# Numbers that are not finite


def poison_op(patch: pytest.MonkeyPatch, op: Op[Any], value: float = math.nan) -> None:
    """Let an op return `value` in one place, with or without a gradient wanted."""

    def poisoned(real: Callable[..., Any], saves: bool) -> Callable[..., Any]:
        def forward(*inputs: Any, **params: Any) -> Any:
            result = real(*inputs, **params)
            out = np.array(result[0] if saves else result)
            out[(0,) * out.ndim] = value
            return (out, result[1]) if saves else out

        return forward

    patch.setattr(op, "forward", poisoned(op.forward, False))
    if op.forward_with_saves:
        patch.setattr(op, "forward_with_saves", poisoned(op.forward_with_saves, True))


def poison_rule(
    patch: pytest.MonkeyPatch, name: str, position: int, value: float = math.nan
) -> None:
    """Let the rule of an op for one input return `value` in one place."""
    real = Op.pull

    def pull(self: Op[Any], node: Node, g: Any) -> list[tuple[int, Any]]:
        raws = real(self, node, g)
        if self.name != name:
            return raws
        raws = [(i, np.array(raw)) for i, raw in raws]
        raws[position][1][0] = value
        return raws

    patch.setattr(Op, "pull", pull)


def test_the_first_op_that_is_not_finite_is_named(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = small(likelihood="bernoulli"), data.train.images[:5]
    assert first_fault(model, x, Noise(0)) is None
    with monkeypatch.context() as patch:
        poison_op(patch, ops.reparameterize)
        fault = first_fault(model, x, Noise(0))
    assert fault is not None
    assert fault.startswith("z = reparameterize(mu, logvar, constant), z = μ + ")
    assert ", in minivae/distributions.py:" in fault
    with monkeypatch.context() as patch:
        poison_op(patch, ops.gaussian_kl, math.inf)
        fault = first_fault(model, x, Noise(0))
    assert fault is not None
    assert fault.startswith("kl = gaussian_kl(mu, logvar), L = ½ Σ ")


def test_a_module_is_named_by_its_path(data: Dataset) -> None:
    model, x = small(likelihood="bernoulli"), data.train.images[:5]
    model.decoder.layers[0].weight.data[3, 1] = np.inf
    fault = first_fault(model, x, Noise(0))
    assert fault is not None
    assert fault.startswith("decoder.0 = linear(z, decoder.0.weight, decoder.0.bias), ")
    assert fault.endswith(", of which decoder.0.weight was not finite before")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_rule_that_is_not_finite_is_named(
    value: float, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = small(likelihood="bernoulli"), data.train.images[:5]
    poison_rule(monkeypatch, "gaussian_kl", 1, value)
    fault = first_fault(model, x, Noise(0))
    assert fault is not None
    assert fault.startswith("the rule of kl for logvar, ℓ̄ = ")


def test_a_sum_of_finite_gradients_that_is_not_finite_is_named(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = small(likelihood="bernoulli"), data.train.images[:5]
    poison_rule(monkeypatch, "gaussian_kl", 0, 3e38)
    poison_rule(monkeypatch, "reparameterize", 0, 3e38)
    fault = first_fault(model, x, Noise(0))
    assert fault == "the sum of what reaches mu"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forward", r"the loss became nan at step 6, first in z = reparameterize\("),
        (
            "backward",
            "the gradient's norm became nan at step 6, first in the rule of z",
        ),
    ],
)
def test_a_step_that_is_not_finite_is_stopped_before_its_update(
    name: str, words: str, data: Dataset, tmp_path: Path
) -> None:
    model = small(dropout=0.1)
    with pytest.MonkeyPatch.context() as patch:
        states: list[Any] = []

        def plant() -> None:
            states.extend([model.state(), files(tmp_path)])
            if name == "forward":
                poison_op(patch, ops.reparameterize)
            else:
                poison_rule(patch, "reparameterize", 1)

        after_step(patch, 5, plant)
        with pytest.raises(UserError, match=words) as told:
            fit(model, data, out=tmp_path)
    assert "\n" not in str(told.value)
    assert same(model.state(), states[0])
    assert files(tmp_path) == states[1]
    assert json.loads(state(tmp_path)["minivae"])["step"] == 4
    mv.resume(tmp_path, data, quiet=True)
    whole = fit(small(dropout=0.1), data, out=tmp_path / "whole")
    assert whole.path is not None
    for file, content in files(whole.path).items():
        assert (tmp_path / file).read_bytes() == content


def test_a_gradient_whose_squares_overflow_is_still_finite(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_rule(monkeypatch, "reparameterize", 1, 1e30)
    with np.errstate(over="ignore"):
        assert len(fit(small(), data, epochs=1, clip_norm=1.0).metrics) == 1


def test_the_replay_sees_the_batch_and_the_noise_of_the_step(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def watched(model: Any, x: Any, noise: Any, *, warmth: float, dropout: Any) -> str:
        seen.extend([x, noise.position, dropout.position, warmth])
        return "?"

    monkeypatch.setattr(train, "first_fault", watched)
    poison_op(monkeypatch, ops.gaussian_kl)
    model = small(likelihood="bernoulli", dropout=0.1)
    optimizer = mv.optim.Adam(model.parameters(), 0.01)
    x, dropout = data.train.images[:5], Noise(0, 3, 16)
    with pytest.raises(UserError, match=r"first in \?; try"):
        train_step(model, optimizer, x, Noise(0, 2, 10), 0.5, dropout)
    assert seen[0] is x
    assert seen[1:] == [10, 16, 0.5]
    assert dropout.position > 16


def test_a_first_epoch_that_diverges_leaves_no_run_behind(
    data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="became"):
        fit(small(), data, optimizer="sgd", lr=1e30, out=tmp_path)
    assert files(tmp_path) == {}
    assert fit(small(), data, out=tmp_path).path == tmp_path


def test_a_training_resumed_that_diverges_stays_resumable(
    data: Dataset, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        ask_to_stop(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            fit(small(), data, out=tmp_path)
    before = files(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        poison_op(patch, ops.reparameterize)
        with pytest.raises(UserError, match="at step 2"):
            mv.resume(tmp_path, data, quiet=True)
    assert files(tmp_path) == before
    (tmp_path / LAST).unlink()
    with pytest.MonkeyPatch.context() as patch:
        poison_op(patch, ops.reparameterize)
        with pytest.raises(UserError, match="at step 1"):
            mv.resume(tmp_path, data, quiet=True)
    assert list(files(tmp_path)) == [checkpoint.CONFIG]


def test_a_huge_learning_rate_ends_in_one_line(tmp_path: Path) -> None:
    wild = ("--optimizer", "sgd", "--lr", 1e30, *DIGITS)
    refused(" at step 2, first in ", "train", *wild, "--out", tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())
