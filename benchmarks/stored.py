"""What a set of growing size costs in memory: read whole, and read by blocks.

A whole `minivae train` each time, of a tiny model and one epoch, with its ledger,
pictures and report: whatever holds all images would show.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.report import Row, Sheet

TIMES = (1, 2, 5, 10, 20)
IMAGES, SIDE = 20_000, 28  # once; of bytes
BLOCK = 10_000
HOW = {"whole": (), "by blocks": ("--block", str(BLOCK))}
TRAINED = (
    *("--epochs", "1", "--batch", "1000", "--hidden", "8", "--latent", "2"),
    *("--likelihood", "soft_bce"),
)


@dataclass
class Grown:
    """Peaks and times of training on sets of growing size."""

    how: str
    peaks_mb: list[list[float]] = field(default_factory=list)  # by round, by size
    seconds: list[list[float]] = field(default_factory=list)

    def medians(self) -> list[tuple[float, float]]:
        """Return the median peak and time at each size."""
        return [
            (statistics.median(peaks), statistics.median(times))
            for peaks, times in zip(
                zip(*self.peaks_mb, strict=True),
                zip(*self.seconds, strict=True),
                strict=True,
            )
        ]


def measure(rounds: int) -> list[Grown]:
    """Train on every size, whole and by blocks in turn."""
    found = {how: Grown(how) for how in HOW}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "images.npy")
        for _ in range(rounds):
            for one in found.values():
                one.peaks_mb.append([])
                one.seconds.append([])
            for times in TIMES:
                write(path, times * IMAGES)
                for how, options in HOW.items():
                    peak, seconds = trained(path, options)
                    found[how].peaks_mb[-1].append(peak)
                    found[how].seconds[-1].append(seconds)
    return list(found.values())


def write(path: Path, count: int) -> None:
    """Write random images, the same few again and again."""
    some = np.random.default_rng(0).integers(0, 256, (1000, SIDE, SIDE), np.uint8)
    images: Any = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(count, SIDE, SIDE)
    )
    for first in range(0, count, len(some)):
        images[first : first + len(some)] = some[: count - first]


def trained(path: Path, options: Sequence[str]) -> tuple[float, float]:
    """Return the peak resident memory (MB) and the seconds of a `minivae train`."""
    from benchmarks.figures import PEAK_OF, output_of

    with tempfile.TemporaryDirectory() as out:
        train = [sys.executable, "-m", "minivae", "train", "--data", f"{path}:gray"]
        train += [*TRAINED, *options, "--out", str(Path(out, "run"))]
        start = perf_counter()
        peak = output_of([sys.executable, "-c", PEAK_OF, *train])
        return int(peak) / 1e6, perf_counter() - start


def rows_of(found: Sequence[Grown]) -> list[Row]:
    """Return a row for each size."""
    from benchmarks.report import Row

    return [
        Row(
            f"train on {times * IMAGES} images, {one.how}",
            "minivae",
            p50_ms=1e3 * seconds,
            peak_mb=peak,
        )
        for one in found
        for times, (peak, seconds) in zip(TIMES, one.medians(), strict=True)
    ]


def sheet(found: Sequence[Grown]) -> Sheet:
    """Return sizes downwards, both ways of reading side by side."""
    from benchmarks.report import Sheet

    header, columns = ["size", "images", "file MB"], [[], [], []]
    for times in TIMES:
        count = times * IMAGES
        columns[0].append(f"{times}x")
        columns[1].append(f"{count:,}")
        columns[2].append(f"{count * SIDE * SIDE / 1e6:.0f}")
    for one in found:
        header += [f"{one.how}, MB", "s"]
        peaks, seconds = zip(*one.medians(), strict=True)
        columns += [[f"{p:.0f}" for p in peaks], [f"{s:.1f}" for s in seconds]]
    title = f"Measured: memory against the size of a set, blocks of {BLOCK:,}"
    return Sheet(title, header, list(zip(*columns, strict=True)))
