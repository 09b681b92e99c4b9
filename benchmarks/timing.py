"""Timing in turns: what is to be compared is measured side by side, in one process.

A shared machine is faster now and slower then. Cases that take turns meet the same
weather, so that their ratio holds where their times do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minivae.backend import Array

REPEAT = 5  # timed calls of a case before the next case has its turn
SGEMM_SIZE = 1024
Case = TypeVar("Case")


class Timing(NamedTuple):
    """Percentiles of the time of one call, in milliseconds."""

    p20: float
    p50: float
    p80: float


def percentiles(seconds: Sequence[float]) -> Timing:
    """Return the 20th, 50th and 80th percentile, in milliseconds."""
    return Timing(*(float(p) for p in np.percentile(seconds, (20, 50, 80)) * 1e3))


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    start = perf_counter()
    function()
    return perf_counter() - start


def in_turns(
    cases: Mapping[Case, Callable[[], object]],
    rounds: int,
    repeat: int = REPEAT,
    around: Callable[[Case], AbstractContextManager[Any]] = nullcontext,
) -> dict[Case, Timing]:
    """Time every case `repeat` times, then the next one, and all that `rounds` times.

    Each turn begins with a call that is not counted, since the caches are full of what
    the case before left there; a first round is not counted at all. `around` makes the
    context of a case's turn.
    """
    seconds: dict[Case, list[float]] = {name: [] for name in cases}
    for number in range(-1, rounds):
        for name, function in cases.items():
            with around(name):
                function()
                times = [timed(function) for _ in range(repeat)]
            if number >= 0:
                seconds[name] += times
    return {name: percentiles(times) for name, times in seconds.items()}


class Sgemm:
    """A square float32 matrix product without temporaries: the machine's pace."""

    def __init__(self, size: int = SGEMM_SIZE) -> None:
        self.x: Array = np.random.default_rng(0).random((size, size), np.float32)
        self.out = np.empty_like(self.x)
        self.flops = 2 * size**3

    def __call__(self) -> None:
        """Multiply once."""
        np.matmul(self.x, self.x, out=self.out)
