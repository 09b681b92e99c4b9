"""Whole training steps: in every round a fresh process for each library and step.

A process may be slow for as long as it lives, so that one of each would not do. Only
one is alive at a time. It takes the steps that all must agree in, tells the memory that
these took, and then times more of them between two turns of a matrix product, which say
how fast the machine was just then.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from time import sleep
from typing import NamedTuple

import numpy as np

from benchmarks.peers import work
from benchmarks.peers.kernels import SETTLE
from benchmarks.peers.processes import MODULES, OURS, missing, working
from benchmarks.peers.ratios import (
    Line,
    largest_difference,
    ratio_of,
    refuse_disagreement,
    short,
)
from benchmarks.report import Row, Sheet
from benchmarks.steps import Array, Step, images_for
from benchmarks.timing import percentiles
from minivae.errors import UserError

SECONDS = 2.0  # of steps in a process
PROBE = 0.2  # seconds of the matrix product, before and after them
SGEMM_FLOPS = 2 * work.SGEMM_SIZE**3


class Turn(NamedTuple):
    """What one process has told."""

    described: str
    losses: list[float]
    start_mb: float | None
    peak_mb: float | None  # above the start
    steps: list[float]  # seconds of each call
    sgemms: list[float]


@dataclass
class Steps:
    """Everything that was found: the turns of each step in each library, by round."""

    sizes: dict[Step, str]
    flops: dict[Step, int]
    left_out: dict[str, str] = field(default_factory=lambda: missing())  # and why
    libraries: dict[str, str] = field(default_factory=dict)  # versions and threads
    losses: dict[Step, list[float]] = field(default_factory=dict)  # ours, the first
    difference: float = 0.0
    turns: dict[tuple[Step, str], list[Turn]] = field(default_factory=dict)

    def is_left_out(self, step: Step, impl: str) -> bool:
        """Whether a library cannot take a step here."""
        return not {impl, f"{impl}, {step}"}.isdisjoint(self.left_out)

    def first(self, step: Step, impl: str, given: Path) -> None:
        """See that a library takes the same steps; what cannot run is left out."""
        try:
            self.note(step, impl, take_turn(impl, given, timed=False))
        except UserError as error:
            if impl == OURS:
                raise
            self.left_out[f"{impl}, {step}"] = str(error)

    def note(self, step: Step, impl: str, turn: Turn) -> None:
        """Compare the losses of a turn with our first ones."""
        self.libraries[impl] = turn.described
        ours = self.losses.setdefault(step, turn.losses)
        found = largest_difference(ours, turn.losses)
        refuse_disagreement(found)
        self.difference = max(self.difference, found)


def take_turn(impl: str, given: Path, timed: bool) -> Turn:
    """Start a process, let it tell everything, and end it."""
    with working(impl, "step", given) as worker:
        losses = worker.ask("check")["step"]
        start_mb, peak_mb = worker.ask("memory")
        times: dict[str, list[float]] = {"step": [], "sgemm": []}
        for name, seconds in (("sgemm", PROBE), ("step", SECONDS), ("sgemm", PROBE)):
            if timed:
                sleep(SETTLE)
                times[name] += worker.ask("time", [name], seconds)[name]
        return Turn(worker.described, losses, start_mb, peak_mb, *times.values())


def compare(steps: Sequence[Step], rounds: int, grey: Array) -> Steps:
    """See that all libraries take the same steps, then let them take turns.

    In a first round nothing is timed: it fills the caches of compilers.
    """
    from benchmarks.workload import model_of, step_flops

    models = {step: model_of(step) for step in steps}
    found = Steps(
        {step: f"{model.stack} – {model.latent}" for step, model in models.items()},
        {step: step_flops(model, step.batch) for step, model in models.items()},
    )
    with tempfile.TemporaryDirectory() as folder:
        given = {step: Path(folder, f"{step}.npz") for step in steps}
        for step, model in models.items():
            arrays = work.make_step(step, model.state(), images_for(step, grey))
            np.savez(given[step], **arrays)
        for step, impl in product(steps, MODULES):
            if not found.is_left_out(step, impl):
                found.first(step, impl, given[step])
        for _, step, impl in product(range(rounds), steps, MODULES):
            if not found.is_left_out(step, impl):
                turn = take_turn(impl, given[step], timed=True)
                found.note(step, impl, turn)
                found.turns.setdefault((step, impl), []).append(turn)
    return found


# What it comes to


def lines_of(found: Steps) -> dict[Step, list[Line]]:
    """Return a line for each library that took a step, ours first."""
    lines: dict[Step, list[Line]] = {}
    for (step, impl), turns in found.turns.items():
        ours = [turn.steps for turn in found.turns[step, OURS]]
        timing = percentiles([call for turn in turns for call in turn.steps])
        ratio = None
        if impl != OURS:
            ratio = ratio_of(ours, [turn.steps for turn in turns])
        row = Row(
            step.name,
            impl,
            step.batch,
            *(timing.p50, timing.p20, timing.p80),
            ratio_to=ratio and OURS,
            ratio=ratio and ratio.p50,
            gflops=found.flops[step] / timing.p50 / 1e6,
            peak_mb=middle(turn.peak_mb for turn in turns),
        )
        start_mb = middle(turn.start_mb for turn in turns)
        line = Line(row, ratio, share_of_sgemm(turns, found.flops[step]), start_mb)
        lines.setdefault(step, []).append(line)
    return lines


def share_of_sgemm(turns: Sequence[Turn], flops: int) -> float:
    """Return the steps' rate over the matrix product's, the median of the processes."""
    return statistics.median(
        (flops / statistics.median(turn.steps))
        / (SGEMM_FLOPS / statistics.median(turn.sgemms))
        for turn in turns
    )


def middle(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that could be told."""
    told = [value for value in values if value is not None]
    return statistics.median(told) if told else None


def sheets(found: Steps) -> dict[Step, Sheet]:
    """Return a table for each step."""
    header = ("impl", "p50 ms", "p20", "p80", "GFLOP/s", "ratio", "20-80 %", "MB")
    return {
        step: Sheet(
            f"{step}: {found.sizes[step]}, {found.flops[step] / 1e9:.2f} GFLOP",
            header,
            [cells(line) for line in lines],
        )
        for step, lines in lines_of(found).items()
    }


def cells(line: Line) -> tuple[str, ...]:
    """Return a line of a table."""
    row = line.row
    memory = (line.start_mb, row.peak_mb)
    return (
        row.impl,
        *map(short, (row.p50_ms, row.p20_ms, row.p80_ms)),
        f"{row.gflops:.0f} ({line.of_sgemm:.0%})",
        "" if line.ratio is None else f"{line.ratio.p50:.2f}",
        str(line.ratio or ""),
        "" if None in memory else "{:.0f} + {:.0f}".format(*memory),
    )
