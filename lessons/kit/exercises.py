"""The lessons that are here, and the exercises of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from lessons.kit.judge import Judge
from minivae.errors import UserError

ROOT = Path(__file__).parent.parent
FOLDER = re.compile(r"l(\d\d)_\w+")


@dataclass(frozen=True)
class Exercise:
    """One function that a learner writes, and the check of it.

    The check asks a `Judge` and returns, or raises `Refusal` with what to say. `judges`
    are the kinds of process it is run in, one after the other: "python" for most.
    """

    lesson: int
    number: int
    name: str
    check: Callable[[Judge], None]
    judges: tuple[str, ...] = ("python",)

    @property
    def label(self) -> str:
        """The lesson's number and its own: "8.2"."""
        return f"{self.lesson}.{self.number}"


@dataclass(frozen=True)
class Lesson:
    """A folder of the course."""

    number: int
    folder: Path

    @property
    def package(self) -> str:
        """The dotted name of the folder."""
        return f"lessons.{self.folder.name}"

    @property
    def answers(self) -> Path:
        """The file that the learner edits."""
        return self.folder / "exercise.py"

    @property
    def title(self) -> str:
        """The first heading of the lesson."""
        text = (self.folder / "lesson.py").read_text(encoding="utf-8")
        heading = re.search(r"^# # (?:\d+\. )?(.+)$", text, re.MULTILINE)
        assert heading, f"{self.folder.name}/lesson.py has no heading"
        return heading[1]

    @property
    def check(self) -> ModuleType:
        """The module `check.py`; importing it registers the exercises."""
        return import_module(f"{self.package}.check")

    @property
    def exercises(self) -> list[Exercise]:
        """The exercises, by number."""
        every = [e for e in vars(self.check).values() if isinstance(e, Exercise)]
        return sorted(every, key=lambda e: e.number)

    def exercise(self, number: int) -> Exercise:
        """Return one exercise; raises `UserError` if there is none of that number."""
        for found in self.exercises:
            if found.number == number:
                return found
        have = ", ".join(e.label for e in self.exercises)
        raise UserError(
            f"no exercise {self.number}.{number}; lesson {self.number} has {have}"
        )


def exercise(
    number: int, *, judges: tuple[str, ...] = ("python",)
) -> Callable[[Callable[[Judge], None]], Exercise]:
    """Make a check an exercise of its lesson: of the function that has its name."""

    def register(check: Callable[[Judge], None]) -> Exercise:
        folder = FOLDER.search(check.__module__)
        assert folder, f"{check.__module__} is no lesson's"
        return Exercise(int(folder[1]), number, check.__name__, check, judges)

    return register


@cache
def lessons() -> dict[int, Lesson]:
    """Return the lessons by number."""
    folders = sorted(path for path in ROOT.iterdir() if FOLDER.fullmatch(path.name))
    return {n: Lesson(n, path) for path in folders for n in [int(path.name[1:3])]}


def lesson(number: int) -> Lesson:
    """Return a lesson; raises `UserError` if there is none of that number."""
    if number not in lessons():
        have = f"{min(lessons())} to {max(lessons())}" if lessons() else "none"
        raise UserError(f"no lesson {number}; there are {have}")
    return lessons()[number]


def at(label: str) -> tuple[Lesson, list[Exercise]]:
    """Return the lesson and the exercises that "8" or "8.2" means."""
    if not (parts := re.fullmatch(r"(\d+)(?:\.(\d+))?", label)):
        raise UserError(f"say a lesson, 8, or an exercise, 8.2, not {label!r}")
    found = lesson(int(parts[1]))
    return found, [found.exercise(int(parts[2]))] if parts[2] else found.exercises
