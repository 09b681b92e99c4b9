"""Mutants of kernels: made of every kind, and noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from minivae_kernels import family
from minivae_kernels.nvrtc import FOLDER
from minivae_kernels.proof import faults

from benchmarks.mutants import (
    KINDS,
    SAME,
    all_mutants,
    code_lines,
    mutants_of,
    verdict,
    without_comment,
)

FILES = sorted(p for end in ("*.cu", "*.cuh", "*_cuda.py") for p in FOLDER.glob(end))
ONE_A_FILE = [[m for m in mutants_of(p) if not m.reason][-1] for p in FILES]


def test_there_are_enough_and_each_is_one_line_of_a_kernel_changed() -> None:
    every = all_mutants()
    assert sum(not m.file.endswith(".py") for m in every) >= 60
    assert sum(m.file.endswith(".py") for m in every) >= 40
    for mutant in every:
        right = (FOLDER / mutant.file).read_text(encoding="utf-8").splitlines()
        wrong = mutant.text.splitlines()
        differing = [
            i for i, (a, b) in enumerate(zip(right, wrong, strict=True)) if a != b
        ]
        assert differing == [mutant.line - 1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_kind_that_can_occur_in_a_file_does(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    code = [without_comment(path, lines[number]) for number in code_lines(path, text)]
    can = {k for k, (pattern, _) in KINDS.items() if any_in(pattern, code)}
    assert {mutant.kind for mutant in mutants_of(path)} == can


def any_in(pattern: str, lines: list[str]) -> bool:
    return any(re.search(pattern, line) for line in lines)


def test_what_is_listed_as_the_same_is_among_the_mutants() -> None:
    made = {(m.file, m.kind, m.now) for m in all_mutants()}
    assert SAME.keys() <= made
    assert all(SAME.values())


@pytest.mark.needs("ptx")
@pytest.mark.slow
@pytest.mark.parametrize("mutant", ONE_A_FILE, ids=lambda m: f"{m.file}:{m.line}")
def test_a_mutant_of_each_file_is_noticed(mutant: object) -> None:
    assert verdict(mutant)  # type: ignore[arg-type]


@pytest.mark.needs("ptx")
def test_a_dropped_barrier_is_noticed_and_the_right_kernel_is_back_after_it() -> None:
    dropped = [
        m for m in mutants_of(FOLDER / "colsum.cu") if m.kind == "barrier dropped"
    ]
    assert "RaceError" in verdict(dropped[0])
    colsum = family("colsum")
    assert not list(faults(colsum, colsum.rungs[-1], [(65, 20)]))
