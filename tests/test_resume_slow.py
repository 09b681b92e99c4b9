"""A training killed ten times, where it hurts, ends with the bytes of a whole one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MORTAL = """
import os, signal, sys
from minivae import checkpoint, cli, train

step, file, moment = int(sys.argv[1]), sys.argv[2], sys.argv[3]
taken = 0
real_step, real_write = train.train_step, checkpoint.write

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def mortal_step(model, optimizer, *rest):
    global taken
    result = real_step(model, optimizer, *rest)
    taken = optimizer.steps
    if taken == step and not file:
        die()
    return result

def mortal_write(path, content, keep=None):
    dies = taken == step and path.name == file
    if dies and moment == "begun":
        path.with_name(path.name + ".part").write_bytes(content[: len(content) // 2])
    elif dies and moment == "not renamed":
        path.with_name(path.name + ".part").write_bytes(content)
    if not dies or moment == "renamed":
        real_write(path, content, keep)
    if dies:
        die()

train.train_step, checkpoint.write = mortal_step, mortal_write
cli.main(sys.argv[4:])
"""
CONFIG, METRICS = "config.json", "metrics.jsonl"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"
PREVIOUS = "previous.safetensors"
FILES = (CONFIG, METRICS, BEST, LAST, PREVIOUS)
STEPS = 12  # in an epoch: 1,439 images, 128 in a batch
MOMENTS = [  # after which step; in the writing of which file, if any; and where in it
    (5, "", "in the first epoch, before the first save"),
    (1 * STEPS, METRICS, "renamed"),
    (1 * STEPS, LAST, "begun"),
    (2 * STEPS, LAST, "not renamed"),
    (2 * STEPS, LAST, "renamed"),
    (3 * STEPS, BEST, "begun"),
    (4 * STEPS + 7, "", "in the middle of an epoch"),
    (6 * STEPS, "", "before an epoch is measured"),
    (7 * STEPS, BEST, "renamed"),
    (8 * STEPS, LAST, "renamed"),
]
OPTIONS = {
    "vae": ("--dropout", "0.1", "--warmup", "2"),
    "ae": ("--model", "ae", "--optimizer", "adamw", "--schedule", "step"),
}


def process(*arguments: str, step: int = 0, file: str = "", at: str = "") -> int:
    command = [sys.executable, "-c", MORTAL, str(step), file, at, "train", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert "Traceback" not in ended.stderr
    return ended.returncode


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", OPTIONS)
def test_ten_kills_leave_no_trace(name: str, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    common = ("--data", "digits:dynamic", "--epochs", "8", *OPTIONS[name])
    assert process(*common, "--out", str(whole)) == 0
    arguments: tuple[str, ...] = (*common, "--out", str(killed))
    for step, file, at in MOMENTS:
        code = process(*arguments, step=step, file=file, at=at)
        assert code == -signal.SIGKILL, (step, file, at)
        arguments = ("--resume", str(killed))
    assert process(*arguments) == 0
    for path in FILES:
        assert (killed / path).read_bytes() == (whole / path).read_bytes(), path
    assert {path.name for path in killed.glob("*.*")} == set(FILES)
