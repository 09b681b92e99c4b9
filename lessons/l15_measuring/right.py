"""Lesson 15: right answers, written in other ways."""

import statistics

import numpy as np

from lessons.kit import right


@right(1)
def waits_before_too(work, clock, wait, warmup, repeats):
    times = np.empty(repeats)
    for i in range(-warmup, repeats):
        wait()
        before = clock()
        work()
        wait()
        if i >= 0:
            times[i] = clock() - before
    return tuple(np.quantile(times, [0.5, 0.2, 0.8]))


@right(1)
def a_list_of_three(work, clock, wait, warmup, repeats):
    def once():
        start = clock()
        work()
        wait()
        return clock() - start

    every = [once() for _ in range(warmup + repeats)][warmup:]
    return [
        statistics.median(every),
        np.percentile(every, 20),
        np.percentile(every, 80),
    ]


@right(1)
def start_is_the_last_end(work, clock, wait, warmup, repeats):
    for _ in range(warmup):
        work()
        wait()
    marks = [clock()]
    for _ in range(repeats):
        work()
        wait()
        marks.append(clock())
    each = np.diff(marks)
    return np.median(each), np.percentile(each, 20), np.percentile(each, 80)


@right(2)
def with_an_if(flops, moved, peak, bandwidth):
    intensity = flops / moved
    if intensity > peak / bandwidth:
        return flops / peak, intensity
    return moved / bandwidth, intensity


@right(2)
def from_the_rate(flops, moved, peak, bandwidth):
    rate = np.minimum(peak, bandwidth * flops / moved)
    return flops / rate, flops / moved


@right(2)
def in_float32(flops, moved, peak, bandwidth):
    flops, moved, peak, bandwidth = np.float32([flops, moved, peak, bandwidth])
    return [np.max([flops / peak, moved / bandwidth]), flops / moved]


@right(3)
def round_by_round(ours, theirs):
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    return statistics.median(ratios), ratios[0], ratios[-1]


@right(3)
def by_logarithms(ours, theirs):
    logs = np.log(ours) - np.log(theirs)
    return np.exp([np.median(logs), np.min(logs), np.max(logs)]).tolist()


@right(3)
def by_quantiles(ours, theirs):
    ratios = np.divide(np.float32(ours), np.float32(theirs))
    return tuple(np.quantile(ratios, [0.5, 0, 1]))
