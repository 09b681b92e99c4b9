"""Checking answers in a process of their own, which may be ended if it hangs.

The learner's code runs in a child: a fresh interpreter that loads the file, judges one
exercise after the other and writes a line of JSON for each. What it prints is caught.
An endless loop ends the child, not the command.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lessons.kit.exercises import ROOT, Exercise, Lesson

LIMITS = {"python": 20, "simulator": 60, "ptx": 60}  # seconds: a machine may be busy
MEMORY = 4 << 30  # bytes of a child, counted as addresses: compilers reserve many
OPEN = "not written yet"


@dataclass(frozen=True)
class Outcome:
    """What became of one exercise."""

    label: str
    name: str
    passed: bool
    message: str  # what is wrong; empty if nothing is
    cases: int = 0
    judges: tuple[str, ...] = ()
    printed: str = ""  # by the learner's code

    @property
    def state(self) -> str:
        """One of "right", "wrong" and "open": nothing was written yet."""
        if self.passed:
            return "right"
        return "open" if self.message == OPEN else "wrong"


def check(
    lesson: Lesson,
    exercises: Sequence[Exercise] | None = None,
    file: Path | None = None,
) -> list[Outcome]:
    """Check answers: those of the lesson's `exercise.py`, or of another file."""
    todo = lesson.exercises if exercises is None else list(exercises)
    path = lesson.answers if file is None else file
    found: dict[str, Outcome] = {}
    for place in LIMITS:
        here = [
            e for e in todo if place in e.judges and _still_good(found.get(e.label))
        ]
        if here and not missing(place):
            for outcome in _judge_all(lesson, here, path, place):
                before = found.get(outcome.label)
                found[outcome.label] = _both(before, outcome)
    return [found[e.label] for e in todo]


def missing(place: str) -> str | None:
    """Why a kind of judge cannot be had here; None if it can."""
    if place != "ptx":
        return None
    from minivae_kernels import devices

    return devices.why_no_ptx() or devices.why_no_numba_cuda()


def _still_good(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.passed


def _both(first: Outcome | None, second: Outcome) -> Outcome:
    if first is None:
        return second
    merged = asdict(second) | {
        "judges": first.judges + second.judges,
        "cases": max(first.cases, second.cases),
        "printed": first.printed or second.printed,
    }
    return Outcome(**merged)


def _judge_all(
    lesson: Lesson, exercises: list[Exercise], path: Path, place: str
) -> list[Outcome]:
    """Judge exercises in a child; where one hangs, the rest in another child."""
    found: list[Outcome] = []
    while len(found) < len(exercises):
        todo = exercises[len(found) :]
        made = _child(lesson, todo, path, place)
        found += made
        if len(made) < len(todo):  # it ended at the next one
            found.append(_ended(todo[len(made)], place, path))
    return found


def _child(
    lesson: Lesson, exercises: list[Exercise], path: Path, place: str
) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcomes"
        numbers = ",".join(str(e.number) for e in exercises)
        environment = dict(os.environ, PYTHONPATH=_path(), OPENBLAS_NUM_THREADS="1")
        if place == "simulator":
            environment["NUMBA_ENABLE_CUDASIM"] = "1"
        command = [sys.executable, "-m", "lessons.kit.child", str(lesson.number)]
        # Each exercise has its own limit inside; this one is for a child that is stuck
        limit = LIMITS[place] * (len(exercises) + 1) + 10
        try:
            limits = str(LIMITS[place]), str(MEMORY)
            process = subprocess.run(
                [*command, numbers, str(path), place, *limits, str(out)],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit,
                check=False,
            )
            noise, code = process.stderr.decode(errors="replace"), process.returncode
        except subprocess.TimeoutExpired:
            noise, code = "Timeout", 0
        lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
        outcomes = [Outcome(**_tuples(json.loads(line))) for line in lines]
        if len(outcomes) < len(exercises):
            _last_words[exercises[len(outcomes)].label] = noise, code
        return outcomes


_last_words: dict[str, tuple[str, int]] = {}
"""Of each exercise at which a child ended: what it wrote to stderr, its exit code."""


def _ended(exercise: Exercise, place: str, path: Path) -> Outcome:
    """Tell why a child ended: the time was up, or the learner's code ended it."""
    noise, code = _last_words.pop(exercise.label, ("", 0))
    own = re.findall(rf'File "{re.escape(str(path))}", line (\d+)', noise)
    if "Timeout" in noise:  # ours, or the word that faulthandler begins with
        says = f"it did not end within {LIMITS[place]} s: is there a loop without end?"
        if own:  # faulthandler writes the innermost frame first
            line = path.read_text(encoding="utf-8").splitlines()[int(own[0]) - 1]
            says += f" It was at line {own[0]}: {line.strip()}"
    elif code < 0:
        name = signal.Signals(-code).name
        says = f"it made Python crash ({name}): was memory touched that is not its own?"
        if name == "SIGKILL":
            says = "it was killed: did it use up the memory of the machine?"
    else:
        says = "it ended Python itself: an exercise returns, it does not exit"
    return Outcome(exercise.label, exercise.name, False, says, judges=(place,))


def _path() -> str:
    """Where the child finds the course, and what this process finds."""
    return os.pathsep.join([str(ROOT.parent), *(p for p in sys.path if p)])


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
