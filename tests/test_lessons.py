"""The course checks itself: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from respelling import respelled

from lessons.kit import checking, commands
from lessons.kit.answers import Right, Wrong, untouched
from lessons.kit.exercises import ROOT, Exercise, Lesson, lessons
from lessons.kit.judge import Judge, Refusal
from minivae.errors import UserError

LESSONS = list(lessons().values())
FILES = {"lesson.py", "exercise.py", "check.py", "hints.md", "solution.py"}
FILES |= {"wrong.py", "right.py", "notes.md"}
LEAST_WRONG, LEAST_RIGHT = 5, 3
LONG = (6, 11, 12)  # lessons that train for more than ten seconds


def module(found: Lesson, name: str) -> Any:
    return importlib.import_module(f"{found.package}.{name}")


def answers(name: str) -> list[Any]:
    """All right, or all wrong, answers of the course, as parameters of a test."""
    made = []
    for found in LESSONS:
        for answer in vars(module(found, name.lower())).get(name, []):
            exercise = found.exercise(answer.exercise)
            label = f"{exercise.label}-{answer.answer.__name__}"
            made.append(pytest.param(exercise, answer, id=label))
    return made


EXERCISES = [
    pytest.param(e, id=f"{e.label}-{e.name}") for f in LESSONS for e in f.exercises
]
by_lesson = pytest.mark.parametrize("found", LESSONS, ids=lambda f: f.folder.name)


def without_names(told: str) -> str:
    """What was told, but for the learner's own names and lines in it."""
    return re.sub(r"line \d+(: .*)?", "line", told.replace("q_", ""))


def is_kernel(exercise: Exercise) -> bool:
    return "python" not in exercise.judges


def message(exercise: Exercise, given: Right | Wrong, respelt: bool = False) -> str:
    """What an answer is told; nothing if it is right."""
    if is_kernel(exercise):
        name = given.answer.__name__
        return kernels_told(exercise.lesson)[f"{name} respelt" if respelt else name]
    try:
        exercise.check(Judge(respelled(given.answer) if respelt else given.answer))
    except Refusal as refusal:
        return str(refusal)
    return ""


@cache
def kernels_told(lesson: int) -> dict[str, str]:
    """What each kernel of a lesson's right.py and wrong.py is told, by its name.

    In one process, since Numba is told before it is loaded that it shall simulate.
    """
    script = Path(__file__).with_name("judged_kernels.py")
    done = subprocess.run(
        [sys.executable, str(script), str(lesson)],
        env=dict(os.environ, NUMBA_ENABLE_CUDASIM="1"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, str] = json.loads(done.stdout)
    return told


@by_lesson
def test_a_lesson_has_all_its_files(found: Lesson) -> None:
    assert {p.name for p in found.folder.iterdir()} >= FILES
    assert 2 <= len(found.exercises) <= 3
    numbers = [e.number for e in found.exercises]
    assert numbers == list(range(1, len(numbers) + 1))


@by_lesson
def test_an_exercise_file_is_the_solution_without_its_answers(found: Lesson) -> None:
    text = (found.folder / "solution.py").read_text(encoding="utf-8")
    assert found.answers.read_text(encoding="utf-8") == untouched(text, found.number)


@by_lesson
def test_solutions_pass_and_untouched_exercises_are_open(found: Lesson) -> None:
    solved = checking.check(found, file=found.folder / "solution.py")
    assert [(o.label, o.message) for o in solved] == [
        (e.label, "") for e in found.exercises
    ]
    assert all(o.state == "open" for o in checking.check(found))


@pytest.mark.parametrize(("exercise", "given"), answers("RIGHT"))
def test_a_right_answer_written_another_way_passes(
    exercise: Exercise, given: Right
) -> None:
    assert message(exercise, given) == ""


@pytest.mark.parametrize(("exercise", "given"), answers("WRONG"))
def test_a_wrong_answer_is_told_its_mistake_however_it_is_spelled(
    exercise: Exercise, given: Wrong
) -> None:
    told = message(exercise, given)
    assert given.says in told
    assert without_names(message(exercise, given, respelt=True)) == without_names(told)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_an_exercise_has_answers_enough(exercise: Exercise) -> None:
    found = lessons()[exercise.lesson]
    for name, least in (("RIGHT", LEAST_RIGHT), ("WRONG", LEAST_WRONG)):
        given = vars(module(found, name.lower()))[name]
        assert sum(a.exercise == exercise.number for a in given) >= least
    hints = commands._hints(found, exercise.label)
    assert len(hints) == 3


@by_lesson
def test_wrong_answers_get_messages_of_their_own(found: Lesson) -> None:
    said = [(w.exercise, w.says) for w in module(found, "wrong").WRONG]
    assert len(said) == len(set(said))


@by_lesson
def test_a_lesson_needs_nothing_of_a_later_one(found: Lesson) -> None:
    for path in found.folder.glob("*.py"):
        for number in re.findall(r"lessons\.l(\d\d)_", path.read_text("utf-8")):
            assert int(number) <= found.number, f"{path} imports lesson {number}"


@by_lesson
def test_a_lesson_answers_three_questions_from_its_page(found: Lesson) -> None:
    """Each answer in notes.md names a heading and how a paragraph under it begins."""
    page = (found.folder / "lesson.py").read_text(encoding="utf-8")
    prose = re.sub(r"\s*\n# ?", " ", page)
    notes = " ".join((found.folder / "notes.md").read_text(encoding="utf-8").split())
    places = re.findall(r'\("([^"]+)", paragraph beginning "([^"]+)"', notes)
    assert len(places) == 3
    for heading, start in places:
        assert heading in prose
        assert start in prose


@pytest.mark.parametrize(
    "found",
    [pytest.param(f, marks=[pytest.mark.slow] * (f.number in LONG)) for f in LESSONS],
    ids=lambda f: f.folder.name,
)
def test_a_lesson_runs_alone(found: Lesson, tmp_path: Path) -> None:
    script = [sys.executable, "-m", "lessons", "run", str(found.number)]
    done = subprocess.run(script, cwd=ROOT.parent, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr.decode().strip()


# What a learner can do to a file

FIRST = lessons()[1]
GOOD = "def mul_rule(g, x, y):\n    return g * y, g * x\n"


def told(tmp_path: Path, text: str, found: Lesson = FIRST) -> str:
    """What the first exercise of a lesson, 1.1, says of a file with this text."""
    path = tmp_path / "exercise.py"
    path.write_text(text, encoding="utf-8")
    (outcome,) = checking.check(found, [found.exercise(1)], path)
    assert not outcome.passed
    return outcome.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def mul_rule(g, x, y)\n", "expected ':', at line 1"),
        ("import nothing_of_this_name\n", "No module named"),
        ("x = 1\n", "no function mul_rule"),
        ("def mul_rule(g, x, y):\n    pass\n", "is there a `return`?"),
        ("def mul_rule(g, x, y):\n    return 'z'\n", "2 values are wanted"),
        ("def mul_rule(g, x, y):\n    return 'a', 'b'\n", "of type str"),
        ("def mul_rule(g, x, y):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("def mul_rule(g, x):\n    return 1\n", "takes 2 positional arguments"),
        ("def mul_rule(g, x, y):\n    raise SystemExit\n", "ended Python itself"),
        (GOOD + "import os\nos._exit(0)\n", "ended Python itself"),
        (GOOD.replace("g * x", "g * y"), "Both inputs"),
        ("x = 1\0\n", "null bytes"),
        ("import ctypes\nctypes.string_at(0)\n", "Python crash (SIGSEGV)"),
        ("import os\nos.kill(os.getpid(), 9)\n", "use up the memory"),
        ("def mul_rule(g, x, y):\n    return mul_rule(g, x, y)\n", "RecursionError"),
        ("def mul_rule(g, x, y):\n    return bytearray(9 << 30)\n", "MemoryError"),
    ],
)
def test_a_broken_file_gets_an_answer_that_helps(
    tmp_path: Path, text: str, words: str
) -> None:
    assert words in told(tmp_path, text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("@cuda.jit\ndef block_sum", "def block_sum"), "write @cuda.jit in the line"),
        (("(x, out)", "(x)"), "it takes x; it is handed 2 arguments"),
        (("x[i] if i < x.size else 0", "x + 1"), "for +: 'array' and 'int'"),
        (("    t, i =", "    return 1\n    t, i ="), "A kernel returns nothing"),
        (
            ("    if t == 0", "    if i < x.size:\n        x[i] = 0\n    if t == 0"),
            "changes x",
        ),
    ],
)
def test_a_broken_kernel_gets_an_answer_that_helps(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    found = lessons()[14]
    text = (found.folder / "solution.py").read_text("utf-8")
    assert words in told(tmp_path, text.replace(*change), found)


def test_one_value_is_wanted_and_two_are_named() -> None:
    with pytest.raises(Refusal, match="returns 2 values; wanted is one"):
        Judge(lambda x: (x, x)).match([(1.0,)], lambda x: x)


def test_threads_that_an_answer_leaves_behind_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ended = subprocess.run, []

    def watched(*command: Any, **options: Any) -> Any:
        done = run(*command, **options)  # raises when the time is up
        ended.append(done.returncode)
        return done

    monkeypatch.setattr(subprocess, "run", watched)
    monkeypatch.setitem(checking.LIMITS, "python", 5)
    late = "import threading, time\n"
    late += "threading.Thread(target=time.sleep, args=(600,)).start()\n"
    path = tmp_path / "exercise.py"
    path.write_text(late + GOOD, "utf-8")
    checking.check(FIRST, [FIRST.exercise(1)], path)
    assert ended == [0]


def test_what_holds_for_the_whole_file_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "exercise.py"
    path.write_text("def mul_rule(\n", "utf-8")
    commands.check("1", file=path)
    said = capsys.readouterr().out
    assert said.count("no Python yet") == 1
    assert said.count("as above") == 2


def test_a_lost_exercise_file_can_be_had_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = Lesson(1, tmp_path / FIRST.folder.name)
    monkeypatch.setattr(commands, "at", lambda what: (clone, FIRST.exercises))
    with pytest.raises(UserError, match="reset 1 makes a new one"):
        commands.check("1")


def test_an_endless_loop_is_ended_and_its_line_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checking.LIMITS, "python", 2)
    text = "def mul_rule(g, x, y):\n    while True:\n        g = g + 1\n"
    assert re.search(r"loop without end\? It was at line [23]", told(tmp_path, text))


def test_what_an_answer_prints_is_shown_and_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "exercise.py"
    path.write_text(GOOD.replace("    return", "    print(x)\n    return"), "utf-8")
    (outcome,) = checking.check(FIRST, [FIRST.exercise(1)], path)
    assert outcome.passed
    assert outcome.printed


def test_an_argument_that_is_changed_is_named() -> None:
    def doubles(x: Any) -> Any:
        x *= 2
        return x

    judge = Judge(doubles)
    with pytest.raises(Refusal, match="changes its argument x"):
        judge.ask(judge.normal(3))


def test_a_difference_is_told_in_the_names_of_the_function() -> None:
    def halves(whole: float, *more: float) -> Any:
        return whole / 2, sum(more) / 2 + 1

    with pytest.raises(Refusal) as told:
        Judge(halves).match(
            [(3.0, 4.0, 2.0)],
            lambda *numbers: (numbers[0] / 2, sum(numbers[1:]) / 2),
            returns=("the half", "the rest"),
        )
    assert str(told.value).splitlines() == [
        "the rest is 4; expected 3 (a factor of 1.333 in every case)",
        "the half is right",
        "with whole = 3., more[0] = 4., more[1] = 2.",
    ]


def test_a_value_is_called_right_only_if_it_is_in_every_case() -> None:
    def sums(a: float, b: float) -> Any:
        return a + b + 1, a * a, 2 * a * b

    with pytest.raises(Refusal) as told:
        Judge(sums).match(
            [(1.0, 2.0), (2.0, 3.0)],
            lambda a, b: (a + b, a, a * b),
            returns=("sum", "first", "product"),
        )
    assert str(told.value).splitlines() == [
        "sum is 4; expected 3",
        "product is 4; expected 2 (a factor of 2 in every case)",
        "with a = 1., b = 2.",
    ]


def test_a_formula_of_a_hint_stays_in_one_line() -> None:
    formula = "`" + " + ".join(["p log p"] * 6) + "`"
    told = commands._numbered(2, f"{'so ' * 20}{formula} and more")
    assert told.splitlines()[1] == f"   {formula} and more"


def test_what_a_kernel_prints_names_its_thread_and_a_right_one_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (lessons()[13].folder / "solution.py").read_text("utf-8")
    path = tmp_path / "exercise.py"
    loud = text.replace("        out[i]", "        print(i)\n        out[i]")
    path.write_text(loud, "utf-8")
    commands.check("13.1", file=path)
    said = capsys.readouterr().out
    assert "| thread 0 of block 0: 0" in said
    if checking.missing("ptx"):
        assert " ok " in said
    else:
        assert "take the print" in said


def test_hints_stand_apart_under_their_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands.hint("14.2", 3)
    said = capsys.readouterr().out
    assert [h[:3] for h in said.split("\n\n")] == ["1. ", "2. ", "3. "]
    assert max(map(len, said.splitlines())) <= 79


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_solution_that_is_shown_is_whole(
    exercise: Exercise, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every name in it is there in the exercise file, or among what is shown."""
    commands.solution(exercise.label)
    shown = ast.parse(capsys.readouterr().out)
    scope = vars(module(lessons()[exercise.lesson], "exercise")) | vars(builtins)
    kinds = ast.Name | ast.arg | ast.FunctionDef
    named = [n for n in ast.walk(shown) if isinstance(n, kinds)]
    own = {n.arg for n in named if isinstance(n, ast.arg)}
    own |= {n.name for n in named if isinstance(n, ast.FunctionDef)}
    names = [n for n in named if isinstance(n, ast.Name)]
    own |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
    assert {n.id for n in names} <= own | set(scope)


def test_status_counts_what_is_right_wrong_and_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {}
    for number in (1, 4):
        folders[number] = Lesson(number, tmp_path / lessons()[number].folder.name)
        shutil.copytree(lessons()[number].folder, folders[number].folder)
    text = GOOD + "def tanh_rule(g, y):\n    return g\n"
    folders[1].answers.write_text(FIRST.answers.read_text("utf-8") + text, "utf-8")
    monkeypatch.setattr(commands, "lessons", lambda: folders)
    commands.status()
    first, second, _, last = capsys.readouterr().out.splitlines()
    assert first.split()[:4] == ["1", "●", "✗", "○"]
    assert second.split()[:4] == ["4", "○", "○", "○"]
    assert last.startswith("1 of 6 exercises")


def test_reset_moves_answers_aside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clone = Lesson(1, tmp_path / FIRST.folder.name)
    clone.folder.mkdir()
    for name in ("solution.py", "exercise.py"):
        (clone.folder / name).write_bytes((FIRST.folder / name).read_bytes())
    monkeypatch.setattr(commands, "lesson", lambda number: clone)
    fresh = clone.answers.read_text("utf-8")
    for text in ("my work\n", "my other work\n"):
        clone.answers.write_text(text, "utf-8")
        commands.reset("1")
        assert clone.answers.read_text("utf-8") == fresh
    kept = sorted(p.read_text("utf-8") for p in clone.folder.glob("exercise.*.py"))
    assert kept == ["my other work\n", "my work\n"]


@pytest.mark.parametrize("command", ["run", "reset"])
@pytest.mark.parametrize(
    ("what", "says"),
    [("11.2", "takes a lesson: {} 11"), ("x", "takes a lesson, {} 8, not 'x'")],
)
def test_a_command_for_a_lesson_says_what_it_takes(
    command: str, what: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main([command, what])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"lessons: {command} {says.format(command)}\n"


def test_a_lesson_ends_in_silence_when_its_reader_does() -> None:
    script = [sys.executable, "-m", "lessons", "run", "1"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        script, cwd=ROOT.parent, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
