"""`python -m lessons`: list, run, check, hint, solution, status, reset, handout.

Everything a learner can get wrong ends in one line on stderr and exit code 2. A wrong
answer to an exercise is no error: `check` says what is wrong with it and exits with 1.
"""

from __future__ import annotations

import json as jsonlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import Positional

from lessons.kit import answers, checking
from lessons.kit.checking import Outcome
from lessons.kit.exercises import ROOT, Lesson, at, lesson, lessons
from minivae.errors import UserError

WIDTH = 79
NO_BREAK = "\N{NO-BREAK SPACE}"
PRINTED = 4  # lines of what an answer prints
TEACHERS = ("solution.py", "right.py", "wrong.py", "notes.md")  # not in a handout
GUIDES = ("README.md", "student.md")  # there the students' stands on top
KEPT_OUT = ("__pycache__", "out", "site", *GUIDES, *TEACHERS)
SCRIPT = """\
import runpy, signal, sys
if hasattr(signal, "SIGPIPE"):  # end in silence when `head`, say, has read enough
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def list_() -> None:
    """Print the lessons and their exercises."""
    for number, found in lessons().items():
        print(f"{number:>3}  {found.title}")
        print(" " * 5 + ", ".join(f"{e.label} {e.name}" for e in found.exercises))
    print("\nread one: lessons/l01_chain_rule/lesson.py, or its page on the site")
    print("run it: python -m lessons run 1; its exercises: python -m lessons check 1")


def run(what: Positional[str]) -> int:
    """Run a lesson as a script; its figures are written into lessons/out.

    Args:
        what: a lesson, 8
    """
    found = _whole("run", what)
    environment = dict(os.environ, MPLBACKEND="Agg")
    path = [str(ROOT.parent), *(p for p in sys.path if p)]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")  # faster with nets so small
    script = found.folder / "lesson.py"
    command = [sys.executable, "-c", SCRIPT, str(script)]
    code = subprocess.run(command, env=environment).returncode
    return 0 if code == -getattr(signal, "SIGPIPE", 0) else code


def _whole(command: str, what: str) -> Lesson:
    """Return the lesson that a command takes whole; raises `UserError` for others."""
    if not (number := re.fullmatch(r"(\d+)(\.\d+)?", what)):
        raise UserError(f"{command} takes a lesson, {command} 8, not {what!r}")
    if number[2]:
        raise UserError(f"{command} takes a lesson: {command} {number[1]}")
    return lesson(int(what))


def check(what: Positional[str], file: Path | None = None, json: bool = False) -> int:
    """Check answers to a lesson, or to one exercise; exit code 1 unless all are right.

    Args:
        what: a lesson, 8, or an exercise, 8.2
        file: answers that are not in the lesson's exercise.py, a student's say
        json: print one JSON document and nothing else
    """
    found, exercises = at(what)
    if file is not None and not file.is_file():
        raise UserError(f"there is no file {file}")
    if file is None and not found.answers.is_file():
        raise UserError(
            f"{found.answers} is gone: python -m lessons reset {found.number} makes a "
            "new one"
        )
    outcomes = checking.check(found, exercises, file and file.resolve())
    if json:
        documents = [asdict(o) | {"state": o.state} for o in outcomes]
        print(jsonlib.dumps(documents, indent=2))
    else:
        print(f"lesson {found.number}  {found.title}\n")
        before = ""
        for outcome in outcomes:
            print(_told(outcome, before))
            before = outcome.message
        if any(o.state == "open" for o in outcomes):
            print(f"\nwrite what is open in {_near(file or found.answers)}")
    return 0 if all(o.passed for o in outcomes) else 1


def _told(outcome: Outcome, before: str = "") -> str:
    """What is said of one exercise, in short if it was said of the one before."""
    verdict = {"right": "ok", "wrong": "WRONG", "open": "open"}[outcome.state]
    head = f"  {outcome.label}  {outcome.name:<24} {verdict}"
    if outcome.passed:
        cases = "1 case" if outcome.cases == 1 else f"{outcome.cases} cases"
        lines = [f"{head:<38}  {cases}"]
        if outcome.judges:
            lines.append(f"{' ' * 7}judged by {', '.join(outcome.judges)}")
        return "\n".join(lines + _printed(outcome.printed))
    if outcome.state == "open":
        return head
    if outcome.message == before:
        return f"{head}  as above"
    lines = [head]
    for paragraph in outcome.message.splitlines():
        lines += textwrap.wrap(
            paragraph, WIDTH, initial_indent=" " * 7, subsequent_indent=" " * 7
        )
    if outcome.printed:
        lines += _printed(outcome.printed)
    lines.append(f"{' ' * 7}hint: python -m lessons hint {outcome.label}")
    return "\n".join(lines)


def _printed(text: str) -> list[str]:
    """What an answer printed, its first lines."""
    lines = text.strip().splitlines()
    more = ["..."] * (len(lines) > PRINTED)
    shown = [
        "your code printed:",
        *(f"| {x[:66]}".rstrip() for x in lines[:PRINTED]),
        *more,
    ]
    return [f"{' ' * 7}{line}" for line in shown] if lines else []


def hint(what: Positional[str], more: Positional[int] = 1) -> None:
    """Print a hint to an exercise: the idea, then the formula, then the first line.

    Args:
        what: an exercise, 8.2
        more: how many of its hints
    """
    found, exercises = _one(what)
    hints = _hints(found, exercises)
    if not 1 <= more <= len(hints):
        raise UserError(f"exercise {what} has hints 1 to {len(hints)}, not {more}")
    print("\n\n".join(_numbered(k + 1, text) for k, text in enumerate(hints[:more])))
    if more < len(hints):
        print(f"\nmore: python -m lessons hint {what} {more + 1}")


def _numbered(number: int, text: str) -> str:
    """A hint, its lines under each other behind its number; `...` stays in one line."""
    kept = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", NO_BREAK), text)
    return textwrap.fill(
        kept,
        WIDTH,
        initial_indent=f"{number}. ",
        subsequent_indent="   ",
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(NO_BREAK, " ")


def _one(what: str) -> tuple[Lesson, str]:
    found, exercises = at(what)
    if len(exercises) != 1 or "." not in what:
        raise UserError(f"say which exercise, {found.exercises[0].label} for example")
    return found, exercises[0].label


def _hints(found: Lesson, label: str) -> list[str]:
    """The hints to an exercise: the numbered items under its heading in hints.md."""
    text = (found.folder / "hints.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## {re.escape(label)}\b.*?\n(.*?)(?=^## |\Z)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    assert section, f"no hints for {label}"
    items = re.split(r"^\d+\. ", section[1], flags=re.MULTILINE)[1:]
    return [" ".join(item.split()) for item in items]


def solution(what: Positional[str]) -> None:
    """Print the course's answer to an exercise. Try the hints first.

    Args:
        what: an exercise, 8.2
    """
    found, label = _one(what)
    path = found.folder / "solution.py"
    if not path.exists():
        raise UserError("solutions are not in this copy of the course")
    name = next(e.name for e in found.exercises if e.label == label)
    print(answers.source_of(path.read_text(encoding="utf-8"), name))


def _near(path: Path) -> Path:
    """A path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def status() -> None:
    """Print how far you are: which exercises are right, wrong and open."""
    signs = {"right": "●", "wrong": "✗", "open": "○"}
    right = every = 0
    for number, found in lessons().items():
        states = ["open"] * len(found.exercises)
        if not answers.is_untouched(found):
            states = [o.state for o in checking.check(found)]
        marks = " ".join(signs[state] for state in states)
        right, every = right + states.count("right"), every + len(states)
        print(f"{number:>3}  {marks:<8} {found.title}")
    print(f"\n{right} of {every} exercises; ● right  ✗ wrong  ○ open")


def reset(what: Positional[str]) -> None:
    """Put a lesson's exercise.py back as it was; yours is moved aside, never lost.

    Args:
        what: a lesson, 8
    """
    found = _whole("reset", what)
    fresh = answers.fresh(found)
    if found.answers.exists():
        stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
        aside = _free(found.folder / f"exercise.{stamp}.py")
        found.answers.rename(aside)
        print(f"your answers are now in {_near(aside)}")
    found.answers.write_text(fresh, encoding="utf-8")
    print(f"{_near(found.answers)} is as it was")


def _free(path: Path) -> Path:
    """Return the path, or one beside it that nothing has."""
    numbered = (path.with_stem(f"{path.stem}-{i}") for i in range(2, 1000))
    return next(p for p in (path, *numbered) if not p.exists())


def handout(folder: Positional[Path]) -> None:
    """Write a copy for students: no solutions, no instructors' notes.

    Args:
        folder: where to; it must not exist yet
    """
    if folder.exists():
        raise UserError(f"{folder} exists: a handout is written into a new folder")
    target = folder / "lessons"
    shutil.copytree(
        ROOT,
        target,
        ignore=shutil.ignore_patterns(*KEPT_OUT, "exercise.py", "exercise.*.py"),
    )
    guide = (ROOT / "student.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(guide, encoding="utf-8")
    (target / "kit" / "untouched").mkdir()
    for found in lessons().values():
        text = answers.fresh(found)
        (target / found.folder.name / "exercise.py").write_text(text, encoding="utf-8")
        kept = target / "kit" / "untouched" / f"{found.folder.name}.py"
        kept.write_text(text, encoding="utf-8")
    print(f"{len(lessons())} lessons in {target}; in {folder}: python -m lessons list")


def notebooks(folder: Positional[Path]) -> None:
    """Write the lessons as notebooks, by jupytext.

    Args:
        folder: where to; made if need be
    """
    try:
        import jupytext
    except ModuleNotFoundError as error:
        raise UserError(
            "notebooks need jupytext: pip install 'minivae[site]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for found in lessons().values():
        path = folder / f"{found.folder.name}.ipynb"
        notebook: Any = jupytext.read(found.folder / "lesson.py")
        jupytext.write(notebook, path)
    print(f"{len(lessons())} notebooks in {folder}")


COMMANDS: dict[str, Callable[..., Any]] = {
    "list": list_,
    "run": run,
    "check": check,
    "hint": hint,
    "solution": solution,
    "status": status,
    "reset": reset,
    "handout": handout,
    "notebooks": notebooks,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 0, 1 (an answer is wrong), 2 (bad input) or 130."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="python -m lessons",
            description="A course in fifteen steps; its exercises check themselves.",
            args=list(sys.argv[1:] if arguments is None else arguments) or ["--help"],
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        sys.exit(code or 0)
    except UserError as error:
        print(f"lessons: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        print(f"lessons: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("lessons: interrupted", file=sys.stderr)
        sys.exit(130)
