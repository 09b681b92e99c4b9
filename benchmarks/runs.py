"""What a sweep costs: runs per core-hour here, and a large study on many machines.

The run is one of the study's, cut short: its model, its images, its batch. It is timed
as `minivae sweep` makes it, in whole commands, less the same command again, which then
finds nothing to do. From runs of one epoch and of three follows what an epoch costs and
what a run costs beside them; from those, by arithmetic, the study.

The study: Locatello et al. (2019), "Challenging Common Assumptions in the Unsupervised
Learning of Disentangled Representations"; 10,800 of its models are public, each trained
for 300,000 steps of 64 images (google-research/disentanglement_lib, README.md and
config/unsupervised_study_v1/model_configs/shared.gin).
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.machine import cores
from benchmarks.timing import timed

if TYPE_CHECKING:
    from benchmarks.report import Row, Sheet
    from minivae.sweep import Pool, Task

RUNS, STEPS = 10_800, 300_000  # of the study
BETAS = (1.0, 2.0, 4.0, 6.0, 8.0, 16.0)
MACHINES = (1, 10, 100)
TRAINED = (
    *("--model", "betavae", "--arch", "burgess", "--latent", "10"),
    *("--data", "sprites64", "--batch", "64", "--lr", "1e-4", "--schedule", "constant"),
)
STEPS_AN_EPOCH = 150  # 9,600 images of sprites64 by 64
SHORT, LONG = 1, 3  # epochs
TIMED = 4  # runs in a sweep that is timed
WRITES = 20  # of a state, to learn the disk's rate
DAY = 86_400


class Place(NamedTuple):
    """How the cores are shared out."""

    workers: int
    threads: int  # of each

    def __str__(self) -> str:
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return f"{workers} of {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Swept:
    """A sweep of `runs` equal runs, timed: `seconds` without the command's own."""

    place: Place
    epochs: int
    runs: int
    seconds: float

    @property
    def run_s(self) -> float:
        """How long a worker has for a run."""
        return self.seconds * self.place.workers / self.runs

    @property
    def per_core_hour(self) -> float:
        """Runs that a core finishes in an hour."""
        return 3600 / (self.run_s * self.place.threads)


@dataclass(frozen=True)
class Costs:
    """What the study's arithmetic is made of, each number measured."""

    epoch_s: float  # with its validation and its saving, all cores at work
    fixed_s: float  # of a run beside its epochs: its start, its ledger, its scores
    epoch_mb: float  # saved after every epoch
    disk_mb_s: float  # at which a state is saved, to the disk and no further
    tasks_s: dict[str, float] = field(default_factory=dict)  # by the pool
    table_s: float = 0.0  # reading the ledgers of the whole study, and their page

    @property
    def run_s(self) -> float:
        """A run of the study, on one core of many at work."""
        return STEPS / STEPS_AN_EPOCH * self.epoch_s + self.fixed_s


@dataclass(frozen=True)
class Plan:
    """The study on so many workers."""

    workers: int
    rounds: int  # that the busiest worker has: a run is not divided
    days: float
    idle: float  # share of the workers' time in which the last runs are waited for
    disk_mb_s: float
    tasks_s: float  # that the scheduler has to give out


def plan(costs: Costs, workers: int, runs: int = RUNS) -> Plan:
    """Return what `runs` runs take where `workers` work at once.

    Each worker takes one run after another, so that the busiest has ⌈runs / workers⌉.
    """
    rounds = math.ceil(runs / workers)
    return Plan(
        workers,
        rounds,
        rounds * costs.run_s / DAY,
        1 - runs / (rounds * workers),
        min(workers, runs) * costs.epoch_mb / costs.epoch_s,
        min(workers, runs) / costs.run_s,
    )


def limits(costs: Costs, runs: int = RUNS) -> dict[str, float]:
    """Return how many workers each shared thing serves before it holds them up."""
    found = {
        "a disk as fast as this one": costs.disk_mb_s * costs.epoch_s / costs.epoch_mb,
        "the runs themselves: one each": float(runs),
    }
    for pool, rate in costs.tasks_s.items():
        found[f"giving out tasks, {pool}"] = rate * costs.run_s
    return dict(sorted(found.items(), key=lambda item: item[1]))


# Measuring


def places() -> list[Place]:
    """Return one worker, one on every core, and one with all cores' threads."""
    return list(dict.fromkeys([Place(1, 1), Place(cores(), 1), Place(1, cores())]))


def measure(rounds: int) -> tuple[list[Swept], Costs]:
    """Time the sweeps in turns, then what all their workers share."""
    full = Place(cores(), 1)
    cases = [(place, SHORT) for place in places()] + [(full, LONG)]
    seconds: dict[tuple[Place, int], list[float]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        for number in range(rounds):
            for place, epochs in cases:
                folder = out / f"{number}-{place.workers}-{place.threads}-{epochs}"
                seconds[place, epochs].append(swept(folder, place, epochs))
        run = next(out.glob("*/seed=0"))
        epoch_mb, disk_mb_s = saving(run, out / "written")
        tasks_s, table_s = {}, 0.0
        for kind, pool in pools().items():
            with pool as chosen:
                tasks_s[kind], table_s = empty_runs(chosen, out / kind, run)
    found = [
        Swept(place, epochs, TIMED, statistics.median(times))
        for (place, epochs), times in seconds.items()
    ]
    short, long = (s.run_s for s in found if s.place == full)
    epoch_s = (long - short) / (LONG - SHORT)
    fixed_s = short - SHORT * epoch_s
    return found, Costs(epoch_s, fixed_s, epoch_mb, disk_mb_s, tasks_s, table_s)


def swept(out: Path, place: Place, epochs: int, runs: int = TIMED) -> float:
    """Return the seconds of a sweep, less those of the same command again."""
    from benchmarks.figures import output_of

    command = [sys.executable, "-m", "minivae", "sweep", *TRAINED]
    command += ["--epochs", str(epochs), "--grid", f"seed=0..{runs - 1}"]
    command += ["--workers", str(place.workers), "--threads", str(place.threads)]
    command += ["--out", str(out)]
    return timed(lambda: output_of(command)) - timed(lambda: output_of(command))


def saving(run: Path, path: Path) -> tuple[float, float]:
    """Return the MB that a run saves after an epoch, and the MB/s of doing so.

    An epoch saves the state, and the weights where they are the best so far: here, as
    at most, after each.
    """
    from minivae import checkpoint
    from minivae.files import write

    names = (checkpoint.LAST, checkpoint.BEST)
    content = b"".join((run / name).read_bytes() for name in names)
    times = [timed(lambda: write(path, content)) for _ in range(WRITES)]
    mb = len(content) / 1e6
    return mb, mb / statistics.median(times)


def pools() -> dict[str, AbstractContextManager[Pool]]:
    """Return the pools that there are here, with a worker for each core."""
    from minivae.workers import on_this_machine

    found = {"this machine": nullcontext(on_this_machine(cores()))}
    try:
        import distributed  # noqa: F401
    except ImportError:
        return found  # the extra `cluster` is not installed
    return found | {"Dask": _Cluster()}


class _Cluster:
    """A Dask scheduler and a worker of one thread for each core, on loopback."""

    def __enter__(self) -> Pool:
        from distributed import LocalCluster

        from minivae.workers import on_cluster

        self.cluster = LocalCluster(
            n_workers=cores(), threads_per_worker=1, dashboard_address=None
        )
        return on_cluster(self.cluster.scheduler_address)

    def __exit__(self, *error: object) -> None:
        self.cluster.close()


def empty_runs(
    pool: Pool, out: Path, run: Path, runs: int = RUNS
) -> tuple[float, float]:
    """Return runs a second of a sweep that trains nothing, and seconds of its page.

    Its runs only write the ledger of another, `run`.
    """
    from minivae import sweep as sweeps
    from minivae.page import sweep as page

    grid = sweeps.combinations({"beta": BETAS, "seed": range(runs // len(BETAS))})
    base = {"model": "betavae", "data": "sprites64", "copied": str(run)}
    out.mkdir()
    sweep = sweeps.Sweep.open(out, base, grid, 1)
    seconds = timed(lambda: list(sweeps.run(sweep, written, pool)))
    shown = timed(lambda: page.page(sweep, sweep.groups()))
    return len(grid) / seconds, shown


def written(task: Task) -> None:
    """What an empty run does."""
    from minivae.sweep import LEDGER, write_ledger

    folder, copied = Path(task.folder), Path(task.options["copied"])
    folder.mkdir()
    write_ledger(folder, json.loads((copied / LEDGER).read_text(encoding="utf-8")))


# What it comes to


def rows_of(found: Sequence[Swept]) -> list[Row]:
    """Return a row for each sweep: the time of one of its runs."""
    from benchmarks.report import Row

    return [
        Row(f"run of {s.epochs} epochs, {s.place}", "minivae", 64, 1e3 * s.run_s)
        for s in found
    ]


def sheets(found: Sequence[Swept], costs: Costs) -> list[Sheet]:
    """Return the sweeps, the costs, the study on machines as this, and its limits."""
    from benchmarks.report import Sheet

    sweeps = [
        (
            str(s.place),
            str(s.epochs),
            f"{s.run_s:.1f}",
            f"{s.per_core_hour:.0f}",
        )
        for s in found
    ]
    tasks = [
        (f"runs given out, {k}", f"{v:.0f}", "a s") for k, v in costs.tasks_s.items()
    ]
    measured = [
        ("an epoch of 150 steps, every core at work", f"{costs.epoch_s:.2f}", "s"),
        ("a run, apart from its epochs", f"{costs.fixed_s:.1f}", "s"),
        ("saved after an epoch, at most", f"{costs.epoch_mb:.1f}", "MB"),
        ("saving, to the disk", f"{costs.disk_mb_s:.0f}", "MB/s"),
        *tasks,
        (f"the page of {RUNS:,} runs", f"{costs.table_s:.1f}", "s"),
    ]
    studies = []
    for machines in MACHINES:
        p = plan(costs, machines * cores())
        studies.append(
            (
                f"{machines}",
                f"{p.workers}",
                f"{p.rounds:,}",
                f"{p.days:,.1f}",
                f"{p.idle:.1%}",
                f"{p.disk_mb_s:.1f}",
                f"{p.tasks_s:.2g}",
            )
        )
    bounds = [(name, f"{workers:,.0f}") for name, workers in limits(costs).items()]
    return [
        Sheet(
            f"Measured: sweeps of {TIMED} runs",
            ("workers", "epochs", "s a run", "runs a core-hour"),
            sweeps,
        ),
        Sheet("Measured: what a run costs", ("figure", "value", "unit"), measured),
        Sheet(
            f"Computed: {RUNS:,} runs of {costs.run_s / 3600:.1f} hours, "
            f"{cores()} cores a machine",
            (
                *("machines", "workers", "runs each", "days", "idle"),
                *("MB/s saved", "tasks/s"),
            ),
            studies,
        ),
        Sheet(
            "Computed: workers that each serves",
            ("what", "workers"),
            bounds,
        ),
    ]
