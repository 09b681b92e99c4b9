"""Single kernels beside PyTorch's: the loss, its memory traffic, the update, draws.

A kernel takes a fraction of a millisecond, so the processes stay warm and take turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import NamedTuple

import numpy as np

from benchmarks.peers import work
from benchmarks.peers.processes import OURS, Worker, missing, working
from benchmarks.peers.ratios import (
    Line,
    largest_difference,
    ratio_of,
    refuse_disagreement,
    short,
)
from benchmarks.peers.work import COPIED, DRAWN, LOSSES
from benchmarks.report import Row, Sheet
from benchmarks.steps import STEPS, Array
from benchmarks.timing import percentiles

TORCH = "torch"
SECONDS = 0.3  # of a turn
SETTLE = 0.05  # seconds after which the threads of the turn before have gone to sleep


class Entry(NamedTuple):
    """One line of a comparison: what it is called, and the case that is timed."""

    impl: str
    library: str
    case: str


class Comparison(NamedTuple):
    """Entries that do the same work; the first is ours, the others are rated by it.

    Entries of one library are timed call by call in turns, within one process.
    """

    benchmark: str
    batch: int | None
    entries: tuple[Entry, ...]


Seconds = dict[tuple[int, Entry], list[list[float]]]
"""The calls of each turn, by the comparison's number and the entry."""


def plan(libraries: Collection[str]) -> list[Comparison]:
    """Return all comparisons, without the entries of libraries that are not here."""

    def ours(case: str) -> Entry:
        return Entry(OURS, OURS, case)

    flat = Entry("torch, flat", TORCH, "adam")
    by_parameter = Entry("torch, list", TORCH, "adam by parameter")
    losses = [f"loss {batch}" for batch in LOSSES]
    everything = [
        *(
            Comparison("loss", batch, (ours(case), Entry(TORCH, TORCH, case)))
            for batch, case in zip(LOSSES, losses, strict=True)
        ),
        Comparison(
            "bernoulli", COPIED, (ours("bernoulli"), Entry("copy", OURS, "copy"))
        ),
        Comparison("adam", None, (ours("adam"), flat, by_parameter)),
        Comparison("Adam.step", None, (ours("adam step"), by_parameter)),
        *(Comparison("noise", b, (ours(f"noise {b}"),)) for b in DRAWN),
        *(Comparison("pixels", b, (ours(f"pixels {b}"),)) for b in DRAWN),
    ]
    return [
        c._replace(entries=tuple(e for e in c.entries if e.library in libraries))
        for c in everything
    ]


def take_turns(
    workers: Mapping[str, Worker], plan: Sequence[Comparison], rounds: int
) -> Seconds:
    """Time every comparison, library after library, and all that `rounds` times."""
    seconds: Seconds = {}
    for _ in range(rounds):
        for number, comparison in enumerate(plan):
            for library in dict.fromkeys(entry.library for entry in comparison.entries):
                sleep(SETTLE)
                here = [e for e in comparison.entries if e.library == library]
                names = [entry.case for entry in here]
                times = workers[library].ask("time", names, len(names) * SECONDS)
                for entry in here:
                    seconds.setdefault((number, entry), []).append(times[entry.case])
    return seconds


def disagreement(
    checks: Mapping[str, Mapping[str, Sequence[float]]], plan: Sequence[Comparison]
) -> float:
    """Return the largest relative difference over the numbers of all entries."""
    found = [0.0]
    for comparison in plan:
        ours, *others = (checks[e.library][e.case] for e in comparison.entries)
        found += [largest_difference(ours, theirs) for theirs in others]
    return float(np.max(found))


def lines_of(plan: Sequence[Comparison], seconds: Seconds) -> list[Line]:
    """Return a line for each entry."""
    lines = []
    for number, comparison in enumerate(plan):
        first = comparison.entries[0]
        for entry in comparison.entries:
            rounds = seconds[number, entry]
            timing = percentiles([call for calls in rounds for call in calls])
            ratio = None
            if entry is not first:
                ratio = ratio_of(seconds[number, first], rounds)
            row = Row(
                comparison.benchmark,
                entry.impl,
                comparison.batch,
                *(timing.p50, timing.p20, timing.p80),
                ratio_to=ratio and first.impl,
                ratio=ratio and ratio.p50,
            )
            lines.append(Line(row, ratio))
    return lines


@dataclass
class Kernels:
    """Everything that was found."""

    lines: list[Line]
    difference: float
    libraries: dict[str, str]  # what each says of its version and threads
    left_out: dict[str, str]  # and why


def compare(rounds: int, grey: Array) -> Kernels:
    """Start the workers, see that they agree, and let them take turns."""
    from benchmarks.workload import model_of

    left_out = {name: why for name, why in missing().items() if name == TORCH}
    libraries = [name for name in (OURS, TORCH) if name not in left_out]
    compared = plan(libraries)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        given = Path(folder) / "given.npz"
        np.savez(given, **work.make_kernels(model_of(STEPS[0]).state(), grey))
        workers = {
            library: stack.enter_context(working(library, "kernels", given))
            for library in libraries
        }
        checks = {library: worker.ask("check") for library, worker in workers.items()}
        difference = disagreement(checks, compared)
        refuse_disagreement(difference)
        seconds = take_turns(workers, compared, rounds)
        described = {library: worker.described for library, worker in workers.items()}
    return Kernels(lines_of(compared, seconds), difference, described, left_out)


def sheet(found: Kernels) -> Sheet:
    """Return the lines as a table."""
    header = ("case", "impl", "p50 ms", "p20", "p80", "ratio", "20-80 %")
    rows = [
        (
            f"{line.row.benchmark} {line.row.batch or ''}".strip(),
            line.row.impl,
            *map(short, (line.row.p50_ms, line.row.p20_ms, line.row.p80_ms)),
            "" if line.ratio is None else f"{line.ratio.p50:.2f}",
            str(line.ratio or ""),
        )
        for line in found.lines
    ]
    title = "Single kernels; ratio: minivae's time over the row's"
    return Sheet(title, header, rows, words=2)
