"""One point of the scaling plot, measured in a process of its own.

    python -m benchmarks.point step|epoch mlp|conv28 SIZE

prints {"seconds": of each call, "peak_mb": above what was resident before}.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import numpy as np

import minivae as mv
from benchmarks.memory import Memory
from benchmarks.peers.worker import turn
from benchmarks.steps import DATA, STEPS, Step
from benchmarks.timing import timed
from benchmarks.workload import Workload, model_of
from minivae import backend
from minivae.backend import Array
from minivae.data import Dataset

SECONDS = 1.0  # of steps
VALIDATED = 100  # images after an epoch


def step(step: Step, grey: Array, batch: int) -> tuple[list[float], float | None]:
    """Return the seconds of steps on `batch` images, and the peak memory."""
    memory = Memory()
    backend.keep_freed_memory()
    work = Workload.of(step._replace(batch=batch), grey)
    with backend.limited_threads(None):  # as in training
        times = turn({"step": work.step}, SECONDS)["step"]
    return times, memory.peak_mb()


def epoch(step: Step, grey: Array, count: int) -> tuple[list[float], float | None]:
    """Return the seconds of `mv.fit` on `count` images for an epoch, and the memory.

    A first training, on one batch, loads what it needs and is not counted.
    """
    images = grey[np.arange(count) % len(grey)]
    memory = Memory()

    def fit(count: int) -> None:
        parts = [(part, None) for part in (images[:count], grey[:VALIDATED])]
        data = Dataset.from_parts("images", "dynamic", [*parts, parts[1]])
        options: dict[str, Any] = {"epochs": 1, "batch": step.batch, "quiet": True}
        mv.fit(model_of(step), data, **options)

    fit(step.batch)
    return [timed(partial(fit, count))], memory.peak_mb()


def main(what: str, name: str, size: str) -> None:
    """Measure and print."""
    grey = mv.data.load(DATA).train.grey
    chosen = next(step for step in STEPS if step.name == name)
    seconds, peak_mb = {"step": step, "epoch": epoch}[what](chosen, grey, int(size))
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main(*sys.argv[1:])
