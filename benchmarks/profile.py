"""Where a step's time goes: by op, forward and backward, and what is around them.

While a `Stopwatch` is `watching`, a shim stands before every op's forward and rules and
before the few calls that frame a step; afterwards everything is as it was. Time is
counted where it is spent: what a watched function spends in another is the other's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.report import Sheet
from benchmarks.workload import Workload
from minivae.random import Noise
from minivae.tensor import Op, Tensor

DATA = "batch: gather and binarise"
NOISE = "latent noise"
OPTIMIZER = "optimizer"
FORWARD = "engine and layers, forward"
BACKWARD = "engine, backward"
REST = "rest"


class Stopwatch:
    """Seconds and calls by label, since the last `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything measured so far."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._inner = [0.0]  # seconds of watched calls within each running one

    def shim(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, its own time counted under `label`."""

        @wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = perf_counter() - start
                self.seconds[label] += elapsed - self._inner.pop()
                self.calls[label] += 1
                self._inner[-1] += elapsed

        return watched


@contextmanager
def watching(work: Workload) -> Iterator[Stopwatch]:
    """Put shims before all ops and the parts of a step; take them away afterwards."""
    watch = Stopwatch()
    parts: tuple[tuple[Any, str, str], ...] = (
        (work, "next_batch", DATA),
        (Noise, "normal", NOISE),
        (work.model, "loss_terms", FORWARD),
        (Tensor, "backward", BACKWARD),
        (work.optimizer, "step", OPTIMIZER),
        (work.optimizer, "zero_grad", OPTIMIZER),
    )
    with ExitStack() as stack:

        def watch_over(owner: Any, name: str, label: str) -> None:
            shim = watch.shim(label, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, shim))

        for op in Op.registry.values():
            watch_over(op, "forward", f"{op.name}, forward")
            if op.forward_with_saves:
                watch_over(op, "forward_with_saves", f"{op.name}, forward")
            rules = {
                name: rule._replace(
                    function=watch.shim(f"{op.name}, backward", rule.function)
                )
                for name, rule in op.rules.items()
            }
            stack.enter_context(patch.dict(op.rules, rules))
        for owner, name, label in parts:
            watch_over(owner, name, label)
        yield watch


@dataclass(frozen=True)
class Part:
    """A part of a step: its milliseconds, share and calls, each of one step."""

    part: str
    ms: float
    share: float
    calls: float


@dataclass(frozen=True)
class StepProfile:
    """The parts of a step, which sum to `step_ms`."""

    batch: int
    step_ms: float
    parts: list[Part]


def profile_step(work: Workload, steps: int) -> StepProfile:
    """Take `steps` steps with their data and return where their time went, on average.

    The average is over the steps whose time is between the 20th and 80th percentile,
    so that neither a hiccup nor a lucky moment counts, and the parts still add up.
    """
    for _ in range(3):
        work.step_with_data()
    taken: list[tuple[float, dict[str, float], Counter[str]]] = []
    with watching(work) as watch:
        for _ in range(steps):
            watch.reset()
            start = perf_counter()
            work.step_with_data()
            total = perf_counter() - start
            watch.seconds[REST] = total - sum(watch.seconds.values())
            taken.append((total, watch.seconds, watch.calls))
    low, high = np.percentile([total for total, _, _ in taken], (20, 80))
    middle = [step for step in taken if low <= step[0] <= high] or taken
    total = _mean(step[0] for step in middle)
    parts = [
        Part(
            name,
            1e3 * (spent := _mean(seconds[name] for _, seconds, _ in middle)),
            spent / total,
            _mean(calls[name] for _, _, calls in middle),
        )
        for name in middle[0][1]
    ]
    parts.sort(key=lambda part: -part.ms)
    return StepProfile(work.batch, 1e3 * total, parts)


def _mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))


def sheet(profile: StepProfile) -> Sheet:
    """Return the parts as a table, the largest first, with their sum."""
    rows = [
        (p.part, f"{p.ms:.3f}", f"{p.share:.1%}", f"{p.calls:.0f}" if p.calls else "")
        for p in profile.parts
    ]
    rows.append(("sum: the step with its data", f"{profile.step_ms:.3f}", "100.0%", ""))
    title = f"Where a step's time goes, batch {profile.batch}"
    return Sheet(title, ("part", "ms", "share", "calls"), rows)
