"""Ways of stopping a training in this process, and of seeing what that left behind."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minivae import checkpoint, train
from minivae.errors import UserError
from minivae.models import Autoencoder

CONFIG, METRICS = "config.json", "metrics.jsonl"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"
PREVIOUS = "previous.safetensors"


class Killed(BaseException):
    """What no training catches: as near to SIGKILL as one process can come."""


def files(folder: Path) -> dict[str, bytes]:
    """The files of a run, but for the lock of who trains in it."""
    paths = sorted(path for path in folder.iterdir() if path.name != checkpoint.LOCK)
    return {path.name: path.read_bytes() for path in paths}


def after_step(
    patch: pytest.MonkeyPatch, number: int, event: Callable[[], Any]
) -> None:
    """Let `event` happen when the update with this number is over."""
    real = train.train_step

    def hooked(model: Autoencoder, optimizer: Any, *rest: Any) -> Any:
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


def die_at_write(patch: pytest.MonkeyPatch, number: int, moment: str) -> None:
    """Let the writing of a file, counted from 1, kill the training."""
    write, calls = checkpoint.write, itertools.count(1)

    def dying(path: Path, content: bytes, keep: Path | None = None) -> None:
        dies = next(calls) == number
        if dies and moment == "half":
            path.with_name(path.name + ".part").write_bytes(content[:50])
        if not dies or moment == "after":
            write(path, content, keep)
        if dies:
            kill()

    patch.setattr(checkpoint, "write", dying)


def unchanged(folder: Path, words: str, action: Callable[[], Any]) -> None:
    before = files(folder)
    with pytest.raises(UserError, match=words) as told:
        action()
    assert "\n" not in str(told.value)
    assert files(folder) == before
