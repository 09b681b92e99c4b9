"""Lesson 12: right answers, written in other ways."""

import math

import numpy as np

from lessons.kit import right


@right(1)
def one_by_one(decode, z, latent, values):
    pictures = []
    for value in values:
        code = np.array(z)
        code[latent] = value
        pictures.append(decode(code[None])[0])
    return np.stack(pictures)


@right(1)
def by_where(decode, z, latent, values):
    is_moved = np.arange(len(z)) == latent
    return decode(np.where(is_moved, np.asarray(values)[:, None], z[None]))


@right(1)
def as_lists_in_float32(decode, z, latent, values):
    z = [float(np.float32(v)) for v in z]
    return decode([z[:latent] + [float(v)] + z[latent + 1 :] for v in values])


@right(2)
def by_entropies(code, factor, bins=20):
    def entropy(counts):
        p = counts[counts > 0] / len(code)
        return -(p * np.log(p)).sum()

    values = np.unique(factor)
    edges = np.append(values - 0.5, values[-1] + 0.5)
    counts = np.histogram2d(code, factor, [bins, edges])[0]
    return entropy(counts.sum(axis=1)) + entropy(counts.sum(axis=0)) - entropy(counts)


@right(2)
def by_dictionaries(code, factor, bins=20):
    low, width = min(code), (max(code) - min(code)) / bins
    pairs, cells, kinds = {}, {}, {}
    for c, f in zip(code, factor):
        b = min(int((c - low) / width), bins - 1)
        for counts, key in ((pairs, (b, f)), (cells, b), (kinds, f)):
            counts[key] = counts.get(key, 0) + 1
    N = len(code)
    return sum(
        n / N * math.log(n * N / (cells[b] * kinds[f])) for (b, f), n in pairs.items()
    )


@right(2)
def by_differences(code, factor, bins=20):
    cell = np.digitize(code, np.linspace(code.min(), code.max(), bins + 1)[1:-1])
    told = 0.0
    for b in np.unique(cell):
        here = factor[cell == b]
        for f in np.unique(here):
            share, before = np.mean(here == f), np.mean(factor == f)
            told += len(here) / len(code) * share * np.log(np.float32(share / before))
    return np.float32(told)


@right(3)
def by_partition(information, entropies):
    shares = information / entropies
    second, first = np.partition(shares, -2, axis=0)[-2:]
    return np.mean(first - second)


@right(3)
def without_the_best(information, entropies):
    best = information.argmax(axis=0)
    rest = information.copy()
    rest[best, np.arange(len(best))] = -1
    return ((information.max(axis=0) - rest.max(axis=0)) / entropies).mean()


@right(3)
def factor_by_factor(information, entropies):
    total = 0.0
    for k in range(len(entropies)):
        first, second = sorted(np.float32(information[:, k]))[::-1][:2]
        total += (first - second) / entropies[k]
    return total / len(entropies)
