"""`python -m benchmarks train --peers`: the same work in minivae, PyTorch and JAX.

Each library has a process of its own, which stays warm; they take turns. Before the
first turn all of them compute the same numbers, or there are no ratios.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import IO, Any

import numpy as np

from benchmarks.peers import plan as plans
from benchmarks.peers import work
from benchmarks.peers.plan import MODULES, Comparison, Entry
from benchmarks.report import Row, Sheet
from benchmarks.timing import percentiles
from minivae.errors import UserError

ROOT = Path(__file__).parents[2]
AGREEMENT = 1e-4  # largest relative difference that is rounding in float32
SECONDS = 0.3  # of a turn
SETTLE = 0.05  # seconds after which the threads of the turn before have gone to sleep
DATA = "fashion10k:gray"

Seconds = dict[tuple[int, Entry], list[list[float]]]
"""The calls of each turn, by the comparison's number and the entry."""


# Workers


class Worker:
    """A process that has one library loaded, and how to ask it."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.process, self.errors = process, errors
        self.described: str = self.answer()

    def ask(self, *question: Any) -> Any:
        """Send a question and wait for its answer."""
        assert self.process.stdin is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> Any:
        """Return the next answer; raises `UserError` if the process has ended."""
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        told = self.errors.read().strip().splitlines() or ["it says nothing"]
        raise UserError(f"a process to be compared with failed: {told[-1]}")


@contextmanager
def working(library: str, given: Path) -> Iterator[Worker]:
    """Start a worker; it ends with the context."""
    command = [sys.executable, "-m", "benchmarks.peers.worker", MODULES[library]]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            [*command, str(given)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Worker(process, errors)
        finally:
            process.kill()


# Agreement


def largest_difference(
    checks: Mapping[str, Mapping[str, Sequence[float]]], plan: Sequence[Comparison]
) -> float:
    """Return max |theirs − ours| / |ours| over the numbers of all entries."""
    found = [0.0]
    for comparison in plan:
        ours, *others = (checks[e.library][e.case] for e in comparison.entries)
        for theirs in others:
            pairs = zip(ours, theirs, strict=True)
            found += [abs(b - a) / abs(a) for a, b in pairs]
    return float(np.max(found))  # NaN, if there is one


def refuse_disagreement(difference: float) -> None:
    """Raise `UserError` if what is timed is not the same work."""
    if not difference <= AGREEMENT:
        raise UserError(
            f"the libraries do not compute the same: the largest relative difference "
            f"is {difference:.1e}, more than {AGREEMENT:.0e}, so there are no ratios"
        )


# Turns


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


@dataclass(frozen=True)
class Ratio:
    """Our time over theirs: the median of the rounds, and how far they spread."""

    p20: float
    p50: float
    p80: float


@dataclass(frozen=True)
class Line:
    """A row, and the spread of its ratio."""

    row: Row
    ratio: Ratio | None


def ratio_of(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]
) -> Ratio:
    """Pair the medians of each round; both are seconds of calls by round."""
    paired = [
        statistics.median(a) / statistics.median(b)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return Ratio(*(float(p) for p in np.percentile(paired, (20, 50, 80))))


def lines_of(
    plan: Sequence[Comparison], seconds: Seconds, flops: Mapping[str, float]
) -> list[Line]:
    """Return a line for each entry; `flops` of a call are looked up by its case."""
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
                gflops=flops[entry.case] / timing.p50 / 1e6
                if entry.case in flops
                else None,
            )
            lines.append(Line(row, ratio))
    return lines


# The whole of it


def settings() -> list[str]:
    """Return the environment's words on threads and BLAS kernels, which all inherit."""
    prefixes = ("OPENBLAS_", "OMP_", "MKL_", "XLA_")
    return [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(prefixes)]


@dataclass
class Peers:
    """Everything that was found."""

    lines: list[Line]
    rounds: int
    difference: float
    libraries: dict[str, str]  # what each says of its version and threads
    left_out: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Return what has to be said beside the table."""
        said = [f"{', '.join(self.libraries.values())}; rounds: {self.rounds}."]
        if len(self.libraries) > 1:
            said.append(
                "Largest relative difference between the libraries' losses, gradients "
                f"and updated weights: {self.difference:.1e}."
            )
        said += [f"The environment sets {setting}." for setting in settings()]
        return said + [
            f"{name} is not installed and left out: pip install 'minivae[peers]'."
            for name in self.left_out
        ]

    def document(self) -> dict[str, Any]:
        """Return what a row does not hold, for `--json`."""
        return {
            "rounds": self.rounds,
            "largest_difference": self.difference,
            "libraries": self.libraries,
            "environment": settings(),
            "left_out": self.left_out,
            "ratios": [
                {
                    "benchmark": line.row.benchmark,
                    "impl": line.row.impl,
                    "batch": line.row.batch,
                    "p20": line.ratio.p20,
                    "p50": line.ratio.p50,
                    "p80": line.ratio.p80,
                }
                for line in self.lines
                if line.ratio is not None
            ],
        }


def compare(rounds: int) -> Peers:
    """Start the workers, see that they agree, and let them take turns."""
    from benchmarks.workload import step_flops
    from minivae import VAE, data

    model = VAE((1, 28, 28), work.Z, (work.H,), likelihood="bernoulli")
    libraries = plans.installed()
    plan = plans.plan(libraries)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        given = Path(folder) / "given.npz"
        np.savez(given, **work.make(model.state(), data.load(DATA).train.grey))
        workers = {
            library: stack.enter_context(working(library, given))
            for library in libraries
        }
        checks = {library: worker.ask("check") for library, worker in workers.items()}
        difference = largest_difference(checks, plan)
        refuse_disagreement(difference)
        seconds = take_turns(workers, plan, rounds)
        described = {library: worker.described for library, worker in workers.items()}
    flops = {f"step {batch}": step_flops(model, batch) for batch in work.BATCHES}
    flops["sgemm"] = 2 * work.SGEMM_SIZE**3
    left_out = [name for name in MODULES if name not in libraries]
    lines = lines_of(plan, seconds, flops)
    return Peers(lines, rounds, difference, described, left_out)


def sheet(found: Peers) -> Sheet:
    """Return the lines as a table."""
    header = ("case", "impl", "p50 ms", "p20", "p80", "GFLOP/s", "ratio", "20-80 %")
    rows = [
        (
            f"{line.row.benchmark} {line.row.batch or ''}".strip(),
            line.row.impl,
            *map(_short, (line.row.p50_ms, line.row.p20_ms, line.row.p80_ms)),
            "" if line.row.gflops is None else f"{line.row.gflops:.0f}",
            *_spread(line.ratio),
        )
        for line in found.lines
    ]
    title = "The same work in minivae, PyTorch and JAX; ratio: minivae's time over its"
    return Sheet(title, header, rows, found.notes(), words=2)


def _short(ms: float | None) -> str:
    assert ms is not None
    return f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}" if ms >= 1 else f"{ms:.3f}"


def _spread(ratio: Ratio | None) -> tuple[str, str]:
    if ratio is None:
        return "", ""
    return f"{ratio.p50:.2f}", f"{ratio.p20:.2f}-{ratio.p80:.2f}"


def peers(rounds: int = 20, write: bool = False, json: bool = False) -> None:
    """Compare a training step and single kernels with PyTorch and JAX.

    Args:
        rounds: turns that each library gets in every comparison
        write: also put the table into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    from rich.console import Console

    from benchmarks import report

    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    if write:
        report.split_page("peers")  # not after minutes of measuring
    with Console(stderr=True).status(f"measuring, some {rounds / 6:.0f} minutes"):
        found = compare(rounds)
    sheets = [sheet(found)]
    if write:
        report.write_page("peers", sheets)
    if json:
        rows = [line.row for line in found.lines]
        print(report.document(rows, peers=found.document()))
    else:
        report.print_sheets(sheets)
