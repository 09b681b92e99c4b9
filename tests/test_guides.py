"""The pages "Add an op" and "Add a rung" are run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OP, RUNG = ROOT / "minivae/ops/README.md", ROOT / "kernels/README.md"


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in fenced if name == language]


def write_files(page: Path, folder: Path) -> list[str]:
    """Write the blocks that begin with their file's name; returns the others."""
    rest = []
    for block in [*blocks(page, "python"), *blocks(page, "c")]:
        if found := re.match(r"(?:#|//) (\w+\.\w+)\n", block):
            (folder / found[1]).write_text(block, encoding="utf-8")
        else:
            rest.append(block)
    return rest


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the interpreter in a folder, with the tree on its path."""
    start = f"import sys; sys.path[:0] = ['', {str(ROOT)!r}, {str(ROOT / 'kernels')!r}]"
    run = [sys.executable, "-c", f"{start}\n{arguments[0]}", *arguments[1:]]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)


def benchmarks(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    run = "import runpy; runpy.run_module('benchmarks', run_name='__main__')"
    return python(folder, run, *arguments)


def test_the_new_op_passes_the_checker_and_trains(tmp_path: Path) -> None:
    check, train = write_files(OP, tmp_path)
    done = python(tmp_path, check)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"softsign/x \d+e-\d+ passed\n", done.stdout)
    done = python(tmp_path, train)
    assert done.stdout == "[[0.5  0.25]]\n", done.stderr


def test_the_checker_finds_the_new_op_wrong_where_it_is(tmp_path: Path) -> None:
    check, _ = write_files(OP, tmp_path)
    path = tmp_path / "softsign.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(")) ** 2", "))"), encoding="utf-8")
    assert "WRONG" in python(tmp_path, check).stdout


@pytest.mark.needs("ptx")
def test_the_new_rung_is_proved_and_listed(tmp_path: Path) -> None:
    assert not write_files(RUNG, tmp_path)
    (command,) = blocks(RUNG, "sh")
    arguments = command.split()[3:]
    done = benchmarks(tmp_path, *arguments, "--small", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert re.search(r"4 relu_pairs +not measured +8 +1\.00", done.stdout)


@pytest.mark.needs("ptx")
def test_the_broken_rung_is_refused_in_the_words_shown(tmp_path: Path) -> None:
    write_files(RUNG, tmp_path)
    kernel, (command,) = tmp_path / "pairs.cu", blocks(RUNG, "sh")
    text = kernel.read_text(encoding="utf-8")
    assert text.count("if (i < count) ") == 1
    kernel.write_text(text.replace("if (i < count) ", ""), encoding="utf-8")
    done = benchmarks(tmp_path, *command.split()[3:], "--small")
    assert done.returncode == 2
    assert not done.stdout
    (shown,) = blocks(RUNG, "")
    said = " ".join(done.stderr.split())
    for part in " ".join(shown.split()).split("..."):
        assert part.strip() in said


def test_the_rung_for_the_processor_is_proved_and_timed(tmp_path: Path) -> None:
    write_files(RUNG, tmp_path)
    done = benchmarks(
        *(tmp_path, "kernels", "--rung", "doubled:relu_doubled"),
        *("--small", "--rounds", "1", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert '"impl": "relu_doubled"' in done.stdout
