"""How sure a number is: 95 % intervals, and who wins by them.

Two sources of chance are told apart: which images were scored (they are resampled, all
methods alike, so that differences are paired), and which images were labelled (the
labelled subset is drawn several times). What one training of the model owes to its seed
is in neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError

LEVEL = 0.95
NORMAL = NormalDist().inv_cdf((1 + LEVEL) / 2)  # 1.96
RESAMPLES = 1000
FEWEST = 100  # resamples: their spread is then known to 7 %


class Interval(NamedTuple):
    """A number, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def resampling(
    N: int, strata: Array | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Array:
    """Return how often each of N images is in each resample: (1 + resamples, N).

    The first row is all ones: the images as they are. A statistic of such weights, one
    for each row, is what `bootstrap` takes. With `strata` (N,) every group of images
    keeps its size.
    """
    if resamples < FEWEST:
        raise UserError(f"an interval takes {FEWEST} resamples or more: {resamples}")
    rng = np.random.default_rng(seed)
    groups = np.zeros(N, np.int64) if strata is None else strata
    weights = np.ones((1 + resamples, N))
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        n = len(inside)
        weights[1:, inside] = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    return weights


def bootstrap(
    values: Array, least: float = -np.inf, most: float = np.inf, biased: bool = False
) -> Interval:
    """Return the interval of values (1 + resamples,), of which the first is v itself.

        v − b ± 1.96 s,   s the resamples' standard deviation; cut to [least, most]

    b is 0, or with `biased` the resamples' mean less v: a statistic that is too large
    on few images (mutual information) is so once more on their resamples. Normal
    approximation: Davison & Hinkley 1997, section 5.2.
    """
    value, resampled = float(values[0]), values[1:]
    bias = float(resampled.mean()) - value if biased else 0.0
    reach = NORMAL * float(resampled.std(ddof=1))
    ends = np.clip((value - bias - reach, value - bias + reach), least, most)
    return Interval(value, float(ends[0]), float(ends[1]))


def crossed(scores: Array) -> Interval:
    """Return the mean of scores (R, N), of N images under each of R draws.

        Var(mean) = σ_R² / R + σ_N² / N + σ² / (R N)

    Both draws and images are a sample. The mean squares of rows and of columns estimate
    the first and the second term with the third in each, the residual's takes it off
    once. Student's t with Satterthwaite's degrees of freedom. With one draw only the
    images are a sample. Source: Searle, Casella & McCulloch 1992, section 4.3; Owen
    2007 for why rows and columns count.
    """
    from scipy.stats import t as student

    R, N = scores.shape
    mean = float(scores.mean())
    rows, columns = scores.mean(axis=1), scores.mean(axis=0)
    means = [v for v in (rows, columns) if len(v) > 1]
    parts = [(float(v.var(ddof=1)) / len(v), len(v) - 1) for v in means]
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return Interval(mean, mean, mean)
    freedom = variance**2 / sum(part**2 / f for part, f in parts)
    if len(parts) == 2:
        residual = scores - rows[:, None] - columns + mean
        rest = float((residual**2).sum()) / ((R - 1) * (N - 1)) / (R * N)
        variance = max(variance - rest, *(part for part, _ in parts))
    reach = student.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(variance)
    return Interval(mean, mean - float(reach), mean + float(reach))


def proportion(count: int, total: int) -> Interval:
    """Return count / total with Wilson's interval."""
    from scipy.stats import binomtest

    ends = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return Interval(count / total, float(ends.low), float(ends.high))


# Who wins


@dataclass(frozen=True)
class Verdict:
    """The model's number less that of the best baseline, paired image by image."""

    ours: str
    baseline: str
    difference: Interval

    @property
    def winner(self) -> str:
        """ "model" or "baseline" if the interval leaves 0 out, else "neither"."""
        if self.difference.low > 0:
            return "model"
        return "baseline" if self.difference.high < 0 else "neither"

    @property
    def short(self) -> str:
        """Who wins, in two or three words."""
        return "no clear winner" if self.winner == "neither" else f"{self.winner} wins"

    def __str__(self) -> str:
        value, low, high = self.difference
        if self.winner == "neither":
            by = f"{_signed(value)} ({_signed(low)} to {_signed(high)})"
            return f"{self.short}: {self.ours} less {self.baseline} is {by}"
        winner, loser = self.ours, self.baseline
        if self.winner == "baseline":
            winner, loser = loser, winner
        ends = sorted((abs(low), abs(high)))
        by = f"{abs(value):.3f} ({ends[0]:.3f} to {ends[1]:.3f})"
        return f"{self.short}: {winner} over {loser}, by {by}"

    def document(self) -> dict[str, Any]:
        """Return the verdict as a part of a JSON document."""
        return {
            "winner": self.winner,
            "ours": self.ours,
            "baseline": self.baseline,
            "difference": self.difference._asdict(),
            "short": self.short,
            "text": str(self),
        }


def _signed(value: float) -> str:
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")


def best(values: Mapping[str, Interval]) -> str:
    """Return the name of the largest value, the first of equals."""
    return max(values, key=lambda name: values[name].value)
