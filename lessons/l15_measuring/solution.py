"""Lesson 15: answers of the course."""

from collections.abc import Callable

import numpy as np


def bench(
    work: Callable[[], None],
    clock: Callable[[], float],
    wait: Callable[[], None],
    warmup: int,
    repeats: int,
) -> tuple[float, float, float]:
    """Exercise 15.1. Return median, 20th and 80th percentile of the seconds of a call.

    `work()` hands work to a device and may return before it is done. `wait()` returns
    when all that was handed over is done. `clock()` says how late it is, in seconds.
    The first `warmup` calls do not count. Each of the `repeats` others is timed by
    itself, from a device that has nothing to do until its work is done.
    """
    for _ in range(warmup):
        work()
    wait()
    seconds = []
    for _ in range(repeats):
        start = clock()
        work()
        wait()
        seconds.append(clock() - start)
    p20, p50, p80 = np.percentile(seconds, (20, 50, 80))
    return float(p50), float(p20), float(p80)


def floor_seconds(
    flops: float, moved: float, peak: float, bandwidth: float
) -> tuple[float, float]:
    """Exercise 15.2. Return (seconds, intensity): what no kernel can be faster than.

    `flops` operations and `moved` bytes, on a machine that does at most `peak`
    operations a second and moves at most `bandwidth` bytes a second, both at once. The
    intensity is in operations a byte.
    """
    return max(flops / peak, moved / bandwidth), flops / moved


def paired_ratio(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Exercise 15.3. Return the median, least and largest ratio ours / theirs.

    ours[i] and theirs[i] are seconds measured in turn, in round i. The machine may be
    slower in one round than in another.
    """
    ratios = ours / theirs
    return float(np.median(ratios)), float(ratios.min()), float(ratios.max())
