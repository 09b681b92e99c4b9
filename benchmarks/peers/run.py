"""`python -m benchmarks peers`: the same training steps in minivae, PyTorch and JAX.

Before anything is timed all of them compute the same numbers, or there are no ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.peers import kernels as single
from benchmarks.peers import steps as whole
from benchmarks.peers.ratios import Line, settings
from benchmarks.report import Sheet
from minivae.errors import UserError


@dataclass
class Peers:
    """Everything that was found."""

    rounds: int
    steps: whole.Steps
    kernels: single.Kernels | None = None

    @property
    def left_out(self) -> dict[str, str]:
        """What could not be compared, and why."""
        return self.steps.left_out | (self.kernels.left_out if self.kernels else {})

    @property
    def difference(self) -> float:
        """The largest relative difference between the libraries' numbers."""
        of_kernels = self.kernels.difference if self.kernels else 0.0
        return max(self.steps.difference, of_kernels)

    def lines(self) -> list[Line]:
        """Return the lines of all tables, one after another."""
        of_steps = whole.lines_of(self.steps).values()
        return [line for lines in of_steps for line in lines] + (
            self.kernels.lines if self.kernels else []
        )

    def pages(self) -> dict[str, list[Sheet]]:
        """Return the tables by the markers that they are written between."""
        pages: dict[str, list[Sheet]] = {}
        for step, sheet in whole.sheets(self.steps).items():
            pages.setdefault(f"peers {step.arch}", []).append(sheet)
        if self.kernels:
            pages["peers kernels"] = [single.sheet(self.kernels)]
        return pages

    def notes(self) -> list[str]:
        """Return what has to be said beside the tables."""
        libraries = self.steps.libraries
        said = [
            "In brackets, the share of the rate of a matrix product in the same "
            "process; MB: resident before the step + its peak above that.",
            f"{', '.join(libraries.values())}; rounds: {self.rounds}.",
        ]
        if len(libraries) > 1:
            said.append(
                "Largest relative difference between the numbers that the libraries "
                f"must agree in: {self.difference:.1e}."
            )
        said += [f"The environment sets {setting}." for setting in settings()]
        return said + [f"{n} is left out: {why}." for n, why in self.left_out.items()]

    def document(self) -> dict[str, Any]:
        """Return what a row does not hold, for `--json`."""
        return {
            "rounds": self.rounds,
            "largest_difference": self.difference,
            "libraries": self.steps.libraries,
            "environment": settings(),
            "left_out": self.left_out,
            "ratios": [
                {
                    "benchmark": line.row.benchmark,
                    "impl": line.row.impl,
                    "batch": line.row.batch,
                    "of_sgemm": line.of_sgemm,
                    "start_mb": line.start_mb,
                    **(line.ratio._asdict() if line.ratio else {}),
                }
                for line in self.lines()
                if line.ratio or line.of_sgemm
            ],
        }


def with_notes(sheets: Sequence[Sheet], notes: Sequence[str]) -> list[Sheet]:
    """Put the notes below the last table."""
    *others, last = sheets
    return [*others, replace(last, notes=notes)]


def peers(
    arch: str | None = None,
    kernels: bool = False,
    rounds: int = 5,
    write: bool = False,
    json: bool = False,
) -> None:
    """Compare whole training steps with PyTorch and JAX.

    Args:
        arch: only the steps of dense, conv or burgess
        kernels: also single kernels with PyTorch's
        rounds: fresh processes of each library for each step; turns of each kernel
        write: also put the tables into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    from rich.console import Console

    from benchmarks import report
    from benchmarks.steps import DATA, STEPS
    from benchmarks.train import steps_of
    from minivae import data

    steps = STEPS if arch is None else steps_of(arch)
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    if write:  # not after minutes of measuring
        for page in (*(f"peers {step.arch}" for step in steps), "peers kernels"):
            report.split_page(page)
    minutes = len(steps) * (1 + rounds) / 2
    with Console(stderr=True).status(f"measuring, some {minutes:.0f} minutes"):
        grey = data.load(DATA).train.grey
        found = Peers(rounds, whole.compare(steps, rounds, grey))
        if kernels:
            found.kernels = single.compare(rounds, grey)
    pages, notes = found.pages(), found.notes()
    if write:
        for page, sheets in pages.items():
            report.write_page(page, with_notes(sheets, notes))
    if json:
        rows = [line.row for line in found.lines()]
        print(report.document(rows, peers=found.document()))
    else:
        everything = [sheet for sheets in pages.values() for sheet in sheets]
        report.print_sheets(with_notes(everything, notes))
