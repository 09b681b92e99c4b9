"""Mutants of kernels: made of every kind, and noticed."""

from __future__ import annotations

import re

import pytest
from minivae_kernels import family
from minivae_kernels.nvrtc import FOLDER
from minivae_kernels.proof import faults

from benchmarks.mutants import KINDS, SAME, all_mutants, mutants_of, verdict

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
def test_each_kind_that_can_occur_in_a_file_does(path: object) -> None:
    kinds = {mutant.kind for mutant in mutants_of(path)}  # type: ignore[arg-type]
    text = path.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    for kind in ("barrier dropped", "sum lost", "xor lost"):
        if re.search(KINDS[kind][0], text):
            assert kind in kinds


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
