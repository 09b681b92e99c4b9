"""The command `minivae`, run in this process."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from minivae.cli import main

SMALL = ("--hidden", 8, "--latent", 2, "--epochs", 1, "--batch", 256)


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code and its output."""

    code: int | str | None
    out: str
    err: str


def minivae(*arguments: object) -> Outcome:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    return Outcome(exit.value.code, out.getvalue(), err.getvalue())


def done(*arguments: object) -> str:
    """Run a command that must succeed; returns what it printed."""
    outcome = minivae(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome.out


def refused(words: str, *arguments: object) -> None:
    """Run a command that must fail with one line on stderr that has `words` in it."""
    outcome = minivae(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("minivae: ")
    assert outcome.err.count("\n") == 1, outcome.err
    assert len(outcome.err) < 480
    assert words in outcome.err
