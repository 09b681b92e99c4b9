"""The house keeps its plan: who imports whom, how much fits in a sitting."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest
from conftest import PARTS

ROOT = Path(__file__).parent.parent
PACKAGES = {"minivae": ROOT / "minivae", "minivae_kernels": ROOT / "kernels"}

LAYERS = [
    ["minivae_kernels", "errors", "files", "backend"],
    ["tensor"],
    ["random", "ops"],
    ["gradcheck"],
    ["nn", "distributions"],
    ["optim", "data"],
    ["models"],
    ["study"],
    ["progress", "interrupts", "checkpoint", "run", "train"],
    ["evaluate"],
    ["em"],
    ["verify"],
    ["beta"],
    ["sweep", "workers"],
    ["page"],
    ["cli"],
]
"""Each imports from those above it, and from its own line in the order of the line."""

KERNEL_CALLERS = ("ops", "random", "optim", "backend", "study", "cli")
READING_PATH = [
    "tensor.py",
    *(
        f"ops/{name}.py"
        for name in ("arithmetic", "shape", "reduce", "linear", "activations")
    ),
]
FILE_BUDGET, READING_BUDGET, INTERPRETER_BUDGET = 400, 600, 700
OUTSIDE = {"lessons", "benchmarks", "tests"}


def sources(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if "__pycache__" not in p.parts)


def imports(path: Path) -> set[str]:
    """The dotted modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(dotted: str) -> tuple[int, int] | None:
    """Where a module stands: line and place in it; None if it is not ours."""
    parts = dotted.split(".")
    name = parts[0] if parts[0] == "minivae_kernels" else ([*parts, ""])[1]
    if parts[0] not in PACKAGES:
        return None
    for line, names in enumerate(LAYERS):
        if name in names:
            return line, names.index(name)
    return None


def module_name(path: Path) -> str:
    inside = path.relative_to(ROOT).with_suffix("")
    return ".".join(inside.parts)


def wrong_way(path: Path, name: str) -> list[str]:
    """The imports of a file that go against the direction."""
    own = layer_of(name)
    if own is None:  # minivae/__init__ and __main__ may see everything
        return []
    found = []
    for target in sorted(imports(path)):
        theirs = layer_of(target)
        same_room = target.split(".")[:2] == name.split(".")[:2]
        if theirs is not None and not same_room and theirs >= own:
            found.append(f"{name} imports {target}")
    return found


@pytest.mark.parametrize(
    "path", sources(ROOT / "minivae"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_run_one_way(path: Path) -> None:
    assert not wrong_way(path, module_name(path))


def test_an_import_against_the_direction_is_found(tmp_path: Path) -> None:
    broken = tmp_path / "tensor.py"
    broken.write_text("def f():\n    from minivae.nn import Linear\n")
    assert wrong_way(broken, "minivae.tensor") == [
        "minivae.tensor imports minivae.nn.Linear"
    ]


def test_every_module_has_its_layer() -> None:
    names = {p.stem if p.is_file() else p.name for p in (ROOT / "minivae").iterdir()}
    placed = {name for line in LAYERS for name in line}
    ours = names - {"__init__", "__main__", "__pycache__", "py"}
    assert {n for n in ours if not n.startswith(("py.", "."))} <= placed


@pytest.mark.parametrize("path", sources(ROOT / "kernels"), ids=lambda p: p.name)
def test_kernels_never_import_the_engine(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[0] == "minivae"]


def test_only_a_few_rooms_know_kernels() -> None:
    for path in sources(ROOT / "minivae"):
        room = path.relative_to(ROOT / "minivae").parts[0].removesuffix(".py")
        called = [n for n in imports(path) if n.startswith("minivae_kernels")]
        assert not called or room in KERNEL_CALLERS, path


def test_nothing_imports_lessons_benchmarks_or_tests() -> None:
    for folder in PACKAGES.values():
        for path in sources(folder):
            assert not {name.split(".")[0] for name in imports(path)} & OUTSIDE, path


def test_importing_minivae_loads_nothing_heavy() -> None:
    heavy = ["matplotlib", "sklearn", "rich", "safetensors", "cupy", "tyro", "scipy"]
    check = f"import sys, minivae; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# Line budgets


def code_lines(source: str) -> int:
    """Lines that carry a token outside comments and docstrings."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            value = node.value
            if isinstance(value.value, str):
                documented |= set(range(value.lineno, (value.end_lineno or 0) + 1))
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    carrying: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            carrying |= set(range(token.start[0], token.end[0] + 1))
    return len(carrying - documented)


ALL_SOURCES = [
    path
    for folder in ("minivae", "kernels", "benchmarks", "lessons", "tests")
    for path in sources(ROOT / folder)
]


@pytest.mark.parametrize("path", ALL_SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_fits_in_a_sitting(path: Path) -> None:
    lines = code_lines(path.read_text(encoding="utf-8"))
    assert lines <= FILE_BUDGET, "over budget: split or delete, do not shorten names"


def reading_path() -> list[Path]:
    """The core, and whatever tensor.py imports from minivae but the backend."""
    core = {ROOT / "minivae" / name for name in READING_PATH}
    for name in imports(ROOT / "minivae" / "tensor.py"):
        room = name.split(".")
        if room[0] == "minivae" and room[1] != "backend":
            core.add(ROOT / "minivae" / f"{room[1]}.py")
    return sorted(core)


def test_the_core_fits_in_one_sitting() -> None:
    total = sum(code_lines(path.read_text(encoding="utf-8")) for path in reading_path())
    assert total <= READING_BUDGET, "over budget: split or delete, do not shorten names"


def test_the_interpreter_of_ptx_keeps_its_budget() -> None:
    folder = ROOT / "kernels/minivae_kernels/ptx"
    total = sum(code_lines(path.read_text("utf-8")) for path in sources(folder))
    assert total <= INTERPRETER_BUDGET, "over budget: find the better shape"


def test_code_lines_are_those_with_code() -> None:
    source = '''"""Title.

More.
"""

# a comment
def f():
    """Says."""

    return [
        1,  # one
    ]
'''
    assert code_lines(source) == 4
    assert code_lines(source + "x = 1\n" * FILE_BUDGET) > FILE_BUDGET


# What the tests need


@pytest.mark.parametrize("part", PARTS)
def test_an_optional_part_has_tests(part: str) -> None:
    mark = "mark.gpu" if part == "gpu" else f'mark.needs("{part}")'
    files = (ROOT / "tests").glob("test_*.py")
    assert any(mark in path.read_text(encoding="utf-8") for path in files)


def test_what_is_no_optional_part_cannot_be_required() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", __file__],
        env=os.environ | {"MINIVAE_REQUIRE": "ptx,tourch"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "MINIVAE_REQUIRE: no part is called tourch" in done.stderr


# What the project says of itself


def test_the_changelog_names_the_version() -> None:
    from importlib.metadata import version

    import minivae

    assert minivae.__doc__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## {re.escape(version('minivae'))} - \d{{4}}-\d\d-\d\d$"
    assert re.search(heading, changelog, re.MULTILINE)


def numbers(version: str) -> tuple[int, ...]:
    """A version's numbers; what is left out is 0."""
    found = [int(number) for number in version.split(".")]
    return tuple([*found, 0, 0][:3])


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "constraints-min.txt").read_text("utf-8")
    pins = [line.split("==") for line in text.splitlines() if line[:1] != "#"]
    bounds = [bound.partition(",")[0].split(">=") for bound in project["dependencies"]]
    assert [(name, numbers(v)) for name, v in pins] == [
        (name, numbers(v)) for name, v in bounds
    ]
