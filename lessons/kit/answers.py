"""Answers: the learner's, the right and wrong ones of the course, and which to use.

`right.py` and `wrong.py` are how the checks are checked: every right answer must pass,
every wrong one must get its own message.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from lessons.kit.exercises import ROOT, Lesson, at
from lessons.kit.judge import Refusal, stumbled

Answer = TypeVar("Answer", bound=Callable[..., Any])


class Right(NamedTuple):
    """A right answer, written in another way than the solution."""

    exercise: int
    answer: Callable[..., Any]


class Wrong(NamedTuple):
    """A typical wrong answer, and words that its message must have."""

    exercise: int
    answer: Callable[..., Any]
    says: str


def right(exercise: int) -> Callable[[Answer], Answer]:
    """Mark a function of `right.py` as a right answer to an exercise of its lesson."""

    def mark(answer: Answer) -> Answer:
        _list(answer, "RIGHT").append(Right(exercise, answer))
        return answer

    return mark


def wrong(exercise: int, says: str) -> Callable[[Answer], Answer]:
    """Mark a function of `wrong.py`: `says` are words of the message it must get."""

    def mark(answer: Answer) -> Answer:
        _list(answer, "WRONG").append(Wrong(exercise, answer, says))
        return answer

    return mark


def _list(answer: Callable[..., Any], name: str) -> list[Any]:
    """The list of a kind of answers in the module that the function is defined in."""
    function = getattr(answer, "py_func", getattr(answer, "fn", answer))
    found: list[Any] = function.__globals__.setdefault(name, [])
    return found


def load(path: Path) -> ModuleType:
    """Run a learner's file as a module; raises `Refusal` if it cannot be run."""
    spec = importlib.util.spec_from_file_location(f"answers_{path.parent.name}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where Numba looks for a function's module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        line = f", at line {error.lineno}: {(error.text or '').strip()}"
        at = line if error.lineno else ""
        raise Refusal(f"the file is no Python yet: {error.msg}{at}") from error
    except Exception as error:
        raise Refusal(f"the file {stumbled(error, str(path))}") from error
    return module


def yours(label: str) -> Any:
    """Return the learner's answer to an exercise if it is right, else the course's.

    Prints one line that says which. In a handout, which has no solutions, the lesson
    ends here.
    """
    from lessons.kit.checking import check

    lesson, (exercise,) = at(label)
    state = "open" if is_untouched(lesson) else check(lesson, [exercise])[0].state
    if state == "right":
        print(f"{exercise.name} is yours: exercise {label} is right.")
        return getattr(load(lesson.answers), exercise.name)
    yet = {"open": "open", "wrong": "not right yet"}[state]
    if not (lesson.folder / "solution.py").exists():
        print(f"Here the lesson needs {exercise.name}: exercise {label} is {yet}.")
        print("Write it in exercise.py beside the lesson, check it, and run it again.")
        sys.exit(1)
    print(f"{exercise.name} is the course's until yours is right: {label} is {yet}.")
    return getattr(import_module(f"{lesson.package}.solution"), exercise.name)


def fresh(lesson: Lesson) -> str:
    """Return the exercise file of a lesson as a learner first finds it."""
    kept = ROOT / "kit" / "untouched" / f"{lesson.folder.name}.py"
    if kept.exists():  # in a handout, where there are no solutions
        return kept.read_text(encoding="utf-8")
    text = (lesson.folder / "solution.py").read_text(encoding="utf-8")
    return untouched(text, lesson.number)


def is_untouched(lesson: Lesson) -> bool:
    """Whether nobody has written into a lesson's exercise file."""
    path = lesson.answers
    if not path.is_file():
        return False
    return path.read_bytes().replace(b"\r\n", b"\n") == fresh(lesson).encode()


def untouched(solution: str, number: int) -> str:
    """Return the exercise file that belongs to a solution: the answers taken out.

    Of the file's docstring all but the first line stays. Of a function whose docstring
    says "Exercise N.k" the body is left out. A function
    whose name begins with an underscore helps the solution only, and is left out whole.
    """
    tree, lines = ast.parse(solution), solution.splitlines()
    out = [f'"""Lesson {number}: your answers.', ""]
    out += [f"Edit this file, then: python -m lessons check {number}"]
    out += [*(ast.get_docstring(tree) or "").splitlines()[1:], '"""']
    last = tree.body[0].end_lineno or 0  # of the docstring
    for node in tree.body[1:]:
        marks = getattr(node, "decorator_list", [])
        first, end = (
            min([node.lineno, *(m.lineno for m in marks)]),
            node.end_lineno or 0,
        )
        between, text = lines[last : first - 1], lines[first - 1 : end]
        last = end
        if isinstance(node, ast.FunctionDef):
            if node.name.startswith("_"):
                continue
            if said := re.search(r"Exercise (\d+\.\d+)", ast.get_docstring(node) or ""):
                doc = (node.body[0].end_lineno or 0) - first + 1
                stub = f'    raise NotImplementedError("exercise {said[1]}")'
                text = [*text[:doc], stub]
        out += between + text
    return "\n".join(out) + "\n"


def source_of(text: str, name: str) -> str:
    """Return the text of a function, with its decorators, out of a file's text.

    What helps the solution only (see `untouched`) follows, if the function calls it.
    """
    nodes = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
    (wanted,) = (n for n in nodes if n.name == name)
    called = {n.id for n in ast.walk(wanted) if isinstance(n, ast.Name)}
    helpers = [n for n in nodes if n.name.startswith("_") and n.name in called]
    return "\n\n\n".join(_lines_of(node, text) for node in [wanted, *helpers])


def _lines_of(node: ast.FunctionDef, text: str) -> str:
    first = min([node.lineno, *(m.lineno for m in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
