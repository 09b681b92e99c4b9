"""A handout holds what a student needs, and no answer; nor does a page show one."""

from __future__ import annotations

import ast
import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.kit import commands
from lessons.kit.answers import source_of
from lessons.kit.exercises import ROOT, Lesson, lessons

LESSONS = list(lessons().values())


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handout") / "course"
    commands.handout(folder)
    return folder


def in_handout(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command of the lessons in a handout; exit code and all that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "lessons", *words],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{':'.join(p for p in sys.path if p)}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def steps(node: ast.AST, named: bool) -> set[str]:
    """What is assigned and returned in a piece of code, if it is more than a name.

    Unless `named`, all names are taken for one, and so are all numbers.
    """

    class Blank(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.Name:
            return ast.Name(name.id if named else "_")

        def visit_Constant(self, value: ast.Constant) -> ast.Constant:
            is_number = isinstance(value.value, (int, float)) and not named
            return ast.Constant(0) if is_number else value

    kinds = ast.Assign | ast.AugAssign | ast.Return
    made = [n.value for n in ast.walk(node) if isinstance(n, kinds) and n.value]
    blank = [Blank().visit(copy.deepcopy(value)) for value in made]
    return {ast.unparse(b) for b in blank if len(list(ast.walk(b))) > 6}


def test_a_handout_tells_students_of_what_it_has(handed_out: Path) -> None:
    (guide,) = (p for p in handed_out.rglob("*.md") if p.name != "hints.md")
    assert guide == handed_out / "README.md"
    text = guide.read_text("utf-8")
    assert "in this folder" in text
    said = set(re.findall(r"python -m lessons (\w+)", text))
    assert said == set(commands.COMMANDS) - {"solution", "handout", "notebooks"}
    for name in re.findall(r"`(lessons/[\w./]+)`", text):
        assert name == "lessons/out" or (handed_out / name).exists()
    absent = {*commands.TEACHERS, "git clone", "make ", "nstructor", "site"}
    assert not [word for word in absent if word in text]


def test_the_guide_of_a_handout_says_what_the_clones_says() -> None:
    said, there = (
        set(re.findall(r"^(?:\| |[234]\. |- ).*", (ROOT / f).read_text("utf-8"), re.M))
        for f in ("student.md", "README.md")
    )
    assert len(said) >= 12
    assert said <= there


def test_a_handout_holds_no_solution(handed_out: Path) -> None:
    names = {p.name for p in handed_out.rglob("*") if p.is_file()}
    assert not names & set(commands.TEACHERS)
    texts = "".join(p.read_text("utf-8") for p in handed_out.rglob("*.py"))
    for found in LESSONS:
        text = (found.folder / "solution.py").read_text("utf-8")
        for exercise in found.exercises:
            assert source_of(text, exercise.name) not in texts, exercise.label


@pytest.mark.parametrize("found", LESSONS, ids=lambda f: f.folder.name)
def test_a_page_shows_no_answer_to_its_own_exercises(found: Lesson) -> None:
    """Not under other names either, nor more than two thirds of its steps."""
    text = (found.folder / "lesson.py").read_text("utf-8")
    page = ast.parse(text)
    for node in ast.parse((found.folder / "solution.py").read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            named = len(steps(node, named=False)) < 2  # too little to know it by
            answer = steps(node, named)
            there = answer & steps(page, named)
            assert not answer or 3 * len(there) <= 2 * len(answer), node.name


def test_a_handout_can_be_checked(handed_out: Path) -> None:
    code, said = in_handout(handed_out, "check", "1", "--json")
    assert code == 1, said
    assert [o["state"] for o in json.loads(said)] == ["open"] * 3


def test_a_lesson_of_a_handout_goes_as_far_as_the_answers(handed_out: Path) -> None:
    folder = handed_out / "lessons" / lessons()[4].folder.name
    untouched_file = (folder / "exercise.py").read_text("utf-8")
    code, said = in_handout(handed_out, "run", "4")
    assert code == 1
    assert said.splitlines()[-2:] == [
        "Here the lesson needs matmul_rule: exercise 4.3 is open.",
        "Write it in exercise.py beside the lesson, check it, and run it again.",
    ]
    answers = (lessons()[4].folder / "solution.py").read_text("utf-8")
    (folder / "exercise.py").write_text(answers, "utf-8")
    code, said = in_handout(handed_out, "run", "4")
    (folder / "exercise.py").write_text(untouched_file, "utf-8")
    assert code == 0
    assert "matmul_rule is yours: exercise 4.3 is right." in said
