"""Lesson 15: a clock and a device that only pretend, so that the truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.kit import Judge, Mistake, exercise

Array = Any
LAUNCH = 1e-5  # seconds of the host that handing over a piece of work takes
COLD = 40.0  # how many times longer the first calls take


class Device:
    """Works on what it was given, one piece after the other, while its clock runs."""

    def __init__(self, durations: Array, warmup: int) -> None:
        self.durations, self.warmup = list(durations), warmup
        self.now, self.free_at, self.calls = 0.0, 0.0, 0

    def work(self) -> None:
        """Hand over a piece of work."""
        long = self.durations[(self.calls - self.warmup) % len(self.durations)]
        cold = COLD if self.calls < self.warmup else 1.0
        self.calls += 1
        self.now += LAUNCH
        self.free_at = max(self.free_at, self.now) + cold * long

    def wait(self) -> None:
        """Return when all is done."""
        self.now = max(self.now, self.free_at)

    def clock(self) -> float:
        """Return the time in seconds."""
        return self.now


def _case(judge: Judge, warmup: int, repeats: int) -> tuple[Any, ...]:
    durations = 1e-3 * (1 + 0.1 * judge.uniform(repeats))
    durations[-1] = 0.05  # somebody else used the machine
    durations[: repeats // 3] *= 1.5
    device = Device(durations, warmup)
    return device.work, device.clock, device.wait, warmup, repeats


@exercise(1)
def bench(judge: Judge) -> None:
    """The device knows how long each piece took."""
    cases = [_case(judge, w, r) for w, r in [(3, 20), (1, 15), (5, 31)]]

    def exact(work: Any, clock: Any, wait: Any, warmup: int, repeats: int) -> Any:
        seconds = LAUNCH + np.array(work.__self__.durations)
        p20, p50, p80 = np.percentile(seconds, (20, 50, 80))
        return p50, p20, p80

    def timed(
        work: Any, clock: Any, wait: Any, warmup: int, repeats: int, waits: bool = True
    ) -> Array:
        for _ in range(warmup):
            work()
        wait()
        seconds = []
        for _ in range(repeats):
            start = clock()
            work()
            if waits:
                wait()
            seconds.append(clock() - start)
        return np.array(seconds)

    def three(seconds: Array) -> tuple[float, ...]:
        return tuple(np.percentile(seconds, (50, 20, 80)))

    def cold(*case: Any) -> tuple[float, ...]:
        work, clock, wait, warmup, repeats = case
        return three(timed(work, clock, wait, 0, repeats + warmup))

    def only_cold(*case: Any) -> tuple[float, ...]:
        work, clock, wait, _, repeats = case
        return three(timed(work, clock, wait, 0, repeats))

    def one_wait(*case: Any) -> tuple[float, ...]:
        work, clock, wait, warmup, repeats = case
        for _ in range(warmup):
            work()
        wait()
        start = clock()
        for _ in range(repeats):
            work()
        wait()
        return (float((clock() - start) / repeats),) * 3

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "It does not wait: that is how long handing the work over takes. The "
                "device is still busy when the clock is read.",
                lambda *case: three(timed(*case, waits=False)),
            ),
            Mistake(
                "The first calls are in it: what is compiled, loaded or allocated at "
                "the first call belongs to no other.",
                cold,
            ),
            Mistake(
                "The first calls are in it: they were not made before, but timed.",
                only_cold,
            ),
            Mistake(
                "All calls were timed as one: their mean, without any spread, and one "
                "disturbed call is in it.",
                one_wait,
            ),
            Mistake(
                "The first value is the mean. One call that was disturbed moves it; "
                "the median stays.",
                lambda *case: _mean_and_percentiles(timed(*case)),
            ),
            Mistake(
                "These are least, median and largest. The least is luck, the largest "
                "an accident: percentiles are neither.",
                lambda *case: _spread(timed(*case)),
            ),
        ],
        returns=("the median", "the 20th percentile", "the 80th percentile"),
    )


def _mean_and_percentiles(seconds: Array) -> tuple[float, ...]:
    return (float(seconds.mean()), *np.percentile(seconds, (20, 80)))


def _spread(seconds: Array) -> tuple[float, float, float]:
    return float(np.median(seconds)), float(seconds.min()), float(seconds.max())


@exercise(2)
def floor_seconds(judge: Judge) -> None:
    """Whichever of the two takes longer; they go on at the same time."""
    cases = [
        (2e9, 1e6, 1e12, 1e11),
        (1e6, 4e8, 1e12, 1e11),
        (1e9, 1e9, 1e12, 1e11),
        (3e10, 2e7, 4e11, 5e10),
        (5e8, 5e7, 1e11, 1e10),
    ]

    def by_hand(flops: float, moved: float, peak: float, bandwidth: float) -> Any:
        tries = [flops / peak, moved / bandwidth]
        return sorted(tries)[-1], flops / moved

    judge.match(
        cases,
        by_hand,
        [
            Mistake(
                "You added the two times. A machine moves and computes at once: the "
                "longer of the two is the floor.",
                lambda f, m, p, b: (f / p + m / b, f / m),
            ),
            Mistake(
                "You took the shorter of the two times. Both must be done: the longer "
                "is the floor.",
                lambda f, m, p, b: (min(f / p, m / b), f / m),
            ),
            Mistake(
                "Only the bytes are in it. Where there is much to compute for each of "
                "them, the arithmetic is the limit.",
                lambda f, m, p, b: (m / b, f / m),
            ),
            Mistake(
                "Only the operations are in it. Most kernels of a VAE wait for memory.",
                lambda f, m, p, b: (f / p, f / m),
            ),
            Mistake(
                "The seconds are right. The intensity is upside down: operations a "
                "byte.",
                lambda f, m, p, b: (max(f / p, m / b), m / f),
            ),
            Mistake(
                "That is the rate that can be reached, in operations a second; wanted "
                "are seconds.",
                lambda f, m, p, b: (min(p, b * f / m), f / m),
            ),
        ],
        returns=("the seconds", "the intensity"),
    )


@exercise(3)
def paired_ratio(judge: Judge) -> None:
    """A machine that is slower in some rounds changes nothing."""
    cases = []
    for n in (5, 9, 7):
        ours, theirs = 1 + 0.05 * judge.uniform(n), 2 + 0.4 * judge.uniform(n)
        weather = np.exp(1.5 * judge.normal(n))
        cases.append((ours * weather, theirs * weather))

    def exact(ours: Array, theirs: Array) -> tuple[float, ...]:
        ratios = [a / b for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
        ordered = sorted(ratios)
        return ordered[len(ordered) // 2], ordered[0], ordered[-1]

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "The ratio of the two medians: they may come from different rounds, "
                "one of a fast minute and one of a slow. Divide within each round.",
                lambda a, b: (np.median(a) / np.median(b), *exact(a, b)[1:]),
            ),
            Mistake(
                "The ratio of the two least times: they may come from different "
                "rounds. Divide within each round.",
                lambda a, b: (a.min() / b.min(), *exact(a, b)[1:]),
            ),
            Mistake(
                "Upside down: that is theirs / ours.",
                lambda a, b: (
                    float(np.median(b / a)),
                    float((b / a).min()),
                    float((b / a).max()),
                ),
            ),
            Mistake(
                "The first is the mean of the ratios. One disturbed round moves it; "
                "the median stays.",
                lambda a, b: (float(np.mean(a / b)), *exact(a, b)[1:]),
            ),
            Mistake(
                "The ratio of the sums: slow rounds count more than fast ones.",
                lambda a, b: (a.sum() / b.sum(), *exact(a, b)[1:]),
            ),
        ],
        returns=("the median", "the least", "the largest"),
    )
