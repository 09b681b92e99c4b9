"""What is made of the times: agreement first, then ratios paired by round."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.report import Row
from minivae.errors import UserError

AGREEMENT = 1e-4  # largest relative difference that is rounding in float32


class Ratio(NamedTuple):
    """Our time over theirs: the median of the rounds, and how far they spread."""

    p20: float
    p50: float
    p80: float

    def __str__(self) -> str:
        return f"{self.p20:.2f}-{self.p80:.2f}"


@dataclass(frozen=True)
class Line:
    """A row, the spread of its ratio, and its rate beside a matrix product's."""

    row: Row
    ratio: Ratio | None
    of_sgemm: float | None = None
    start_mb: float | None = None  # resident before the step; the row has what it adds


def ratio_of(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]
) -> Ratio:
    """Pair the medians of each round; both are seconds of calls by round."""
    paired = [
        statistics.median(a) / statistics.median(b)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return Ratio(*(float(p) for p in np.percentile(paired, (20, 50, 80))))


def largest_difference(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """Return max |theirs − ours| / |ours|; NaN, if there is one."""
    pairs = zip(ours, theirs, strict=True)
    return float(np.max([0.0, *(abs(b - a) / abs(a) for a, b in pairs)]))


def refuse_disagreement(difference: float) -> None:
    """Raise `UserError` if what is timed is not the same work."""
    if not difference <= AGREEMENT:
        raise UserError(
            f"the libraries do not compute the same: the largest relative difference "
            f"is {difference:.1e}, more than {AGREEMENT:.0e}, so there are no ratios"
        )


def settings() -> list[str]:
    """Return the environment's words on threads and BLAS kernels, which all inherit."""
    prefixes = ("OPENBLAS_", "OMP_", "MKL_", "XLA_", "NUMBA_", "TORCH")
    return [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(prefixes)]


def short(ms: float | None) -> str:
    """Return milliseconds with three digits that count."""
    assert ms is not None
    if ms >= 100:
        return f"{ms:.0f}"
    return f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}" if ms >= 1 else f"{ms:.3f}"
