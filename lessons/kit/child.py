"""The process that runs a learner's file: `python -m lessons.kit.child`, by `checking`.

Arguments: lesson, exercises, file, kind of judge, seconds for one exercise, bytes for
all, and where the outcomes are written.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path

from lessons.kit.answers import load
from lessons.kit.checking import OPEN, Outcome
from lessons.kit.exercises import Exercise, lesson
from lessons.kit.judge import Judge, Refusal

SHOWN = 400  # characters of what the learner's code prints


def main() -> None:
    """Judge exercises of a file; a line of JSON for each, as soon as it is done."""
    number, numbers, path, place, limit, memory, out = sys.argv[1:]
    _allow(int(memory))
    found = lesson(int(number))
    exercises = [found.exercise(int(k)) for k in numbers.split(",")]
    with Path(out).open("w", encoding="utf-8") as stream:
        for exercise in exercises:
            faulthandler.dump_traceback_later(float(limit), exit=True)
            outcome = judge(exercise, Path(path), place)
            faulthandler.cancel_dump_traceback_later()
            stream.write(json.dumps(asdict(outcome)) + "\n")
            stream.flush()
    sys.stderr.flush()
    os._exit(0)  # not waiting for threads that an answer may have started


def _allow(memory: int) -> None:
    """Let this process have so many bytes: beyond is a MemoryError, no dead machine."""
    with suppress(ImportError, ValueError, OSError):  # not every system can
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (memory, hard))


def judge(exercise: Exercise, path: Path, place: str) -> Outcome:
    """Load the file and check one exercise; what it prints is kept apart."""
    said, message, cases = io.StringIO(), "", 0
    judges: tuple[str, ...] = ()
    try:
        with redirect_stdout(said):
            module = load(path)
            answer = getattr(module, exercise.name, None)
            if answer is None:
                raise Refusal(f"there is no function {exercise.name} in the file")
            asked = judge_of(place)(answer, str(path))
            exercise.check(asked)
            cases, judges = asked.cases, asked.judges
    except NotImplementedError:
        message = OPEN
    except Refusal as refusal:
        message = str(refusal)
    printed = said.getvalue()[:SHOWN]
    label = exercise.label, exercise.name
    return Outcome(*label, not message, message, cases, judges, printed)


def judge_of(place: str) -> type[Judge]:
    """Return the kind of judge that a place has."""
    if place == "python":
        return Judge
    from lessons.kit import kernels

    return kernels.JUDGES[place]


if __name__ == "__main__":
    main()
