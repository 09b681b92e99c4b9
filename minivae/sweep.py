"""A grid of trainings: a run folder for each, on all cores here or on a cluster.

    DIR/sweep.json              the axes, what all runs share, threads, the runs' names
    DIR/beta=4,seed=1/          a run, as any other, with its ledger in ledger.json
    DIR/beta=4,seed=2/          ...

A run is finished when it has its ledger. Whatever dies, a worker, the scheduler or the
sweep itself, the same command goes on: finished runs are left alone, a run that was
begun goes on from its last saved state, to the bytes it would have had undisturbed.

Who works is a pool: a generator that takes tasks and the function that does one, and
yields an `Outcome` for each, in the order in which they end.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import numpy as np

from minivae import checkpoint
from minivae.errors import UserError
from minivae.files import fits, parsed, read_text, write

MANIFEST, LEDGER, PAGE = "sweep.json", "ledger.json", "sweep.html"
SEED = "seed"  # the axis over which means and deviations are taken
MOST_RUNS = 100_000
METRICS = {  # of a ledger, by the path to it: what tables and pages call it
    "objective": "objective",
    "neg_elbo": "−ELBO",
    "recon": "recon",
    "kl": "KL",
    "active_units": "active units",
    "disentanglement.mig": "MIG",
    "disentanglement.dci.disentanglement": "DCI",
    "disentanglement.factor_vae": "FactorVAE",
}
Value: TypeAlias = int | float | str | bool
PLACE = tuple[Value, ...]


@dataclass(frozen=True)
class Task:
    """One run that is to be brought to its end, in a process that may be anywhere."""

    folder: str
    options: dict[str, Any]  # of `minivae train`
    threads: int


@dataclass(frozen=True)
class Outcome:
    """What came of a task: nothing to tell, or why it failed."""

    task: Task
    failure: str = ""


Work: TypeAlias = Callable[[Task], None]
Pool: TypeAlias = Callable[[Sequence[Task], Work], Iterator[Outcome]]


# The grid


def split_axis(text: str) -> tuple[str, list[str]]:
    """Return name and values of an axis: "beta=1,2,4", "seed=0..9" (both ends)."""
    if not text.isprintable():
        raise UserError(f"--grid {text[:40]!r} has letters that cannot be printed")
    name, equals, told = text.partition("=")
    name = name.strip().replace("-", "_")
    if not (name and equals and told.strip()):
        raise UserError(
            f"--grid takes an option and its values, as beta=1,2,4 or seed=0..9, not "
            f"{text!r}"
        )
    values: list[str] = []
    for word in told.split(","):
        first, dots, last = word.partition("..")
        if not dots:
            values.append(word.strip())
            continue
        try:
            numbers = range(int(first), int(last) + 1)
        except ValueError as error:
            raise UserError(f"--grid {text}: {word!r} is no range, as 0..9") from error
        count = max(0, numbers.stop - numbers.start)  # len() has a limit
        if not 1 <= count <= MOST_RUNS:
            raise UserError(f"--grid {text}: {word!r} has {count:,} values")
        values += map(str, numbers)
    if len(set(values)) < len(values) or "" in values:
        raise UserError(f"--grid {text}: a value is empty, or there twice")
    return name, values


def combinations(axes: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """Return every combination of the axes' values, the last axis fastest."""
    if not axes:
        raise UserError("a sweep over what? give a --grid, as --grid seed=0..9")
    count = math.prod(map(len, axes.values()))
    if count > MOST_RUNS:
        raise UserError(f"a sweep has at most {MOST_RUNS:,} runs, not {count:,}")
    return [dict(zip(axes, v, strict=True)) for v in itertools.product(*axes.values())]


def folder_name(place: Mapping[str, Value]) -> str:
    """Return the name of a run's folder, which no value can lead out of the sweep's."""
    told = ",".join(f"{name}={_text(value)}" for name, value in place.items())
    if len(told) > 200:
        raise UserError(f"the name of a run is too long for a folder: {told[:80]} ...")
    return told


def _text(value: Value) -> str:
    return quote(f"{value:g}" if isinstance(value, float) else str(value), safe="")


def cores_here() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared_out(workers: int | None, threads: int | None) -> tuple[int, int]:
    """Return workers and threads of each, so that no core has two threads."""
    cores = cores_here()
    for name, count in (("workers", workers), ("threads", threads)):
        if count is not None and count < 1:
            raise UserError(f"{name} must be at least 1, not {count}")
    if workers and threads and workers * threads > max(cores, workers):
        raise UserError(
            f"{workers} workers of {threads} threads are more than the {cores} cores "
            "here: leave one of the two out"
        )
    workers = workers or max(1, cores // (threads or 1))
    return workers, threads or max(1, cores // workers)


# The folder


@dataclass
class Sweep:
    """A sweep's folder: what all runs share, and where in the grid each one is."""

    path: Path
    base: dict[str, Any]
    axes: list[str]
    threads: int
    runs: dict[str, dict[str, Value]] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        path: Path,
        base: dict[str, Any],
        grid: Sequence[Mapping[str, Value]],
        threads: int,
    ) -> Sweep:
        """Begin a sweep in a folder, or go on with the one there, its grid enlarged."""
        runs = {folder_name(place): dict(place) for place in grid}
        if len(runs) < len(grid):
            raise UserError("two combinations of the grid have the same name")
        sweep = cls(path, base, list(grid[0]), threads, runs)
        if (path / MANIFEST).exists():
            old = cls.read(path)
            for name in ("axes", "threads"):
                here, there = getattr(sweep, name), getattr(old, name)
                if here != there:
                    raise UserError(
                        f"{path} holds a sweep with other {name}: {there} there, "
                        f"{here} here; give the same, or another folder"
                    )
            for name in sorted(base.keys() | old.base.keys()):
                here, there = base.get(name), old.base.get(name)
                if here != there:
                    raise UserError(
                        f"{path} holds a sweep with {name} {there}, not {here}: give "
                        "the same options, or another folder"
                    )
            sweep.runs = old.runs | runs
        checkpoint.write_json(
            path / MANIFEST,
            {"axes": sweep.axes, "base": base, "threads": threads, "runs": sweep.runs},
        )
        return sweep

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """Read the manifest of a sweep's folder; raises `UserError`."""
        try:
            held = parsed(read_text(path / MANIFEST))
            base, axes, runs = held["base"], held["axes"], held["runs"]
            if not fits(axes, tuple[str, ...]):
                raise TypeError("an axis has no name")
            for name, place in runs.items():
                if not (list(place) == axes and fits([*place.values()], PLACE)):
                    raise ValueError("a run has no place in the grid")
                if name != folder_name(place):
                    raise ValueError("a run has the name of another")
            if not fits(held["threads"], int):
                raise TypeError("threads is no whole number")
            return cls(path, dict(base), axes, held["threads"], runs)
        except OSError as error:
            raise UserError(f"{path} is no sweep: it has no {MANIFEST}") from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise UserError(f"{path / MANIFEST} is not of a sweep: {error}") from error

    def tasks(self) -> list[Task]:
        """Return what is still to be done."""
        return [
            Task(str(self.path / name), self.base | place, self.threads)
            for name, place in self.runs.items()
            if not (self.path / name / LEDGER).exists()
        ]

    def ledger(self, name: str) -> dict[str, Any] | None:
        """Return the ledger of a run, if it is finished; raises `UserError`."""
        path = self.path / name / LEDGER
        if not path.exists():
            return None
        try:
            held = parsed(read_text(path))
            if not fits(held["objective"], float):
                raise ValueError("its objective is no finite number")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is no ledger: {error}; remove it") from error
        return dict(held)

    def groups(self) -> list[Group]:
        """Return the finished runs by their place in the grid, seeds together."""
        found: dict[tuple[Value, ...], Group] = {}
        for name, place in self.runs.items():
            ledger = self.ledger(name)
            if ledger is None:
                continue
            key = {axis: v for axis, v in place.items() if axis != SEED}
            group = found.setdefault(tuple(key.values()), Group(key))
            for path in METRICS:
                value: Any = ledger
                for step in path.split("."):
                    value = value.get(step) if isinstance(value, dict) else None
                if fits(value, float):
                    group.values.setdefault(path, []).append(float(value))
            group.count += 1
        return sorted(
            found.values(), key=lambda g: [_order(v) for v in g.place.values()]
        )


def _order(value: Value) -> tuple[int, float, str]:
    """Numbers in their order, before words in theirs."""
    is_word = isinstance(value, str)
    return (int(is_word), 0.0 if is_word else float(value), str(value))


@dataclass
class Group:
    """The runs that differ in nothing but the seed, and their metrics."""

    place: dict[str, Value]
    values: dict[str, list[float]] = field(default_factory=dict)
    count: int = 0

    def of(self, metric: str) -> tuple[float, float] | None:
        """Return mean and standard deviation over seeds (of one, 0), if measured."""
        values = self.values.get(metric)
        if not values:
            return None
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return float(np.mean(values)), spread


def write_ledger(folder: Path, numbers: Mapping[str, Any]) -> None:
    """Write the ledger of a run, by which it is finished."""
    write(folder / LEDGER, (json.dumps(numbers, indent=2) + "\n").encode())


def run(sweep: Sweep, work: Work, pool: Pool) -> Iterable[tuple[int, Outcome]]:
    """Do what is still to be done; yields how many are left, and each outcome.

    Holds the sweep's folder meanwhile. Raises `UserError` where a run is said to be
    done and is not here: a cluster must see the folder under the same name.
    """
    tasks = sweep.tasks()
    with checkpoint.claimed(sweep.path):
        for done, outcome in enumerate(pool(tasks, work), 1):
            if (
                not outcome.failure
                and not (Path(outcome.task.folder) / LEDGER).exists()
            ):
                raise UserError(
                    f"{outcome.task.folder} was trained where it cannot be seen from "
                    "here: the folder of the sweep must be on a disk that all share"
                )
            yield len(tasks) - done, outcome
