"""Lesson 15: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


def _times(work, clock, wait, warmup, repeats):
    for _ in range(warmup):
        work()
    wait()
    found = []
    for _ in range(repeats):
        start = clock()
        work()
        wait()
        found.append(clock() - start)
    return np.array(found)


@wrong(1, "does not wait")
def no_wait(work, clock, wait, warmup, repeats):
    for _ in range(warmup):
        work()
    wait()
    found = []
    for _ in range(repeats):
        start = clock()
        work()
        found.append(clock() - start)
    return np.median(found), np.percentile(found, 20), np.percentile(found, 80)


@wrong(1, "belongs to no other")
def warmup_counted(work, clock, wait, warmup, repeats):
    found = _times(work, clock, wait, 0, warmup + repeats)
    return np.median(found), np.percentile(found, 20), np.percentile(found, 80)


@wrong(1, "not made before, but timed")
def no_warmup(work, clock, wait, warmup, repeats):
    found = _times(work, clock, wait, 0, repeats)
    return np.median(found), np.percentile(found, 20), np.percentile(found, 80)


@wrong(1, "timed as one")
def mean_of_a_loop(work, clock, wait, warmup, repeats):
    for _ in range(warmup):
        work()
    wait()
    start = clock()
    for _ in range(repeats):
        work()
    wait()
    each = (clock() - start) / repeats
    return each, each, each


@wrong(1, "value is the mean")
def mean_first(work, clock, wait, warmup, repeats):
    found = _times(work, clock, wait, warmup, repeats)
    return found.mean(), np.percentile(found, 20), np.percentile(found, 80)


@wrong(1, "percentiles are neither")
def extremes(work, clock, wait, warmup, repeats):
    found = _times(work, clock, wait, warmup, repeats)
    return np.median(found), found.min(), found.max()


@wrong(2, "added the two times")
def added(flops, moved, peak, bandwidth):
    return flops / peak + moved / bandwidth, flops / moved


@wrong(2, "shorter of the two")
def shorter(flops, moved, peak, bandwidth):
    return min(flops / peak, moved / bandwidth), flops / moved


@wrong(2, "Only the bytes")
def bytes_only(flops, moved, peak, bandwidth):
    return moved / bandwidth, flops / moved


@wrong(2, "Only the operations")
def flops_only(flops, moved, peak, bandwidth):
    return flops / peak, flops / moved


@wrong(2, "upside down")
def inverse_intensity(flops, moved, peak, bandwidth):
    return max(flops / peak, moved / bandwidth), moved / flops


@wrong(2, "wanted are seconds")
def the_rate(flops, moved, peak, bandwidth):
    intensity = flops / moved
    return min(peak, bandwidth * intensity), intensity


@wrong(3, "two medians")
def of_medians(ours, theirs):
    ratios = ours / theirs
    return np.median(ours) / np.median(theirs), ratios.min(), ratios.max()


@wrong(3, "two least times")
def of_the_best(ours, theirs):
    ratios = ours / theirs
    return min(ours) / min(theirs), min(ratios), max(ratios)


@wrong(3, "theirs / ours")
def upside_down(ours, theirs):
    ratios = theirs / ours
    return np.median(ratios), ratios.min(), ratios.max()


@wrong(3, "mean of the ratios")
def mean_ratio(ours, theirs):
    ratios = ours / theirs
    return ratios.mean(), ratios.min(), ratios.max()


@wrong(3, "ratio of the sums")
def of_sums(ours, theirs):
    ratios = ours / theirs
    return sum(ours) / sum(theirs), ratios.min(), ratios.max()
