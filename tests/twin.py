"""Asking PyTorch: cases go to tests/torch_twin.py in a process of its own.

The two sides exchange .npz files. Loaded into one process, their thread pools would
fight.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minivae.backend import Array

TWIN = Path(__file__).with_name("torch_twin.py")
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """What both sides compute: the kind, its options, and the arrays to start from."""

    kind: str
    options: dict[str, Any]
    given: Arrays = field(default_factory=dict)


def ask(cases: dict[str, Case], folder: Path) -> dict[str, Arrays]:
    """Return what torch answers to every case, from one process."""
    told = {n: {"kind": c.kind, "options": c.options} for n, c in cases.items()}
    given = {f"{n}/{part}": a for n, c in cases.items() for part, a in c.given.items()}
    np.savez(folder / "given.npz", cases=np.array(json.dumps(told)), **given)
    paths = [str(folder / "given.npz"), str(folder / "answers.npz")]
    command = [sys.executable, str(TWIN), *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers: dict[str, Arrays] = {name: {} for name in cases}
    with np.load(paths[1]) as file:
        for path, array in file.items():
            name, _, part = path.partition("/")
            answers[name][part] = array
    return answers


def error(ours: Array, theirs: Array) -> float:
    """Largest difference, relative to max(1, |theirs|)."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if not ours.size:
        return 0.0
    return float(np.max(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))))


def largest_error(ours: Arrays, theirs: Arrays) -> float:
    """Compare all that both sides computed; the names must be the same."""
    assert ours.keys() == theirs.keys()
    return max(error(ours[part], theirs[part]) for part in ours)
