"""Whether classes lie apart by themselves: k-means, which sees no labels.

It is fitted to the training split; the scored split's images go to the nearest centre,
and their clusters are compared with their labels by

    NMI  I(cluster; label) / ½ (H(cluster) + H(label)), in [0, 1]
    ARI  the pairs of images on which both agree, adjusted: 0 by chance, 1 if the same
         (Hubert & Arabie 1985, eq. 5)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset
from minivae.errors import UserError
from minivae.evaluate.features import (
    BASELINES,
    CODE,
    Features,
    about,
    features,
    labels_of,
)
from minivae.evaluate.intervals import RESAMPLES, Verdict, best, bootstrap, resampling
from minivae.models import Autoencoder

RESTARTS = 10


def cluster(
    model: Autoencoder,
    data: Dataset,
    *,
    clusters: int | None = None,
    restarts: int = RESTARTS,
    split: str = "test",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Score k-means on mean codes, on PCA of their size, and on pixels.

    As many clusters as classes if not said. The best of `restarts` starts by k-means'
    own objective counts. Intervals resample the scored images, the centres held.
    Raises `UserError` without labels and for one class only.
    """
    truth = labels_of(data, split, "cluster")
    k = len(np.unique(truth)) if clusters is None else clusters
    if not 2 <= k <= len(data.train):
        raise UserError(f"clusters must be 2 to {len(data.train)}, not {k}")
    if restarts < 1:
        raise UserError(f"k-means needs at least one start, not {restarts}")
    found = score_features(
        features(model, data, split), truth, k, restarts, resamples, seed
    )
    document = about(model, data, split) | {"clusters": k, "restarts": restarts}
    return document | {"resamples": resamples, "seed": seed} | found


def score_features(
    given: Mapping[str, Features],
    truth: Array,
    clusters: int,
    restarts: int = RESTARTS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Return NMI and ARI of each kind of features, and who wins."""
    weights = resampling(len(truth), resamples=resamples, seed=seed)
    assigned = {
        name: k_means(pair, clusters, restarts, seed) for name, pair in given.items()
    }
    rows: dict[str, dict[str, Any]] = {name: {} for name in given}
    verdicts = {}
    for metric, (statistic, least, biased) in METRICS.items():
        values = {
            name: statistic(tables(truth, clusters_of, weights))
            for name, clusters_of in assigned.items()
        }
        intervals = {n: bootstrap(v, least, 1.0, biased) for n, v in values.items()}
        for name, interval in intervals.items():
            rows[name][metric] = interval._asdict()
        rival = best({name: intervals[name] for name in BASELINES})
        apart = bootstrap(values[CODE] - values[rival], biased=biased)
        verdict = Verdict(CODE, rival, apart)
        verdicts[metric] = verdict.document()
    return {"rows": rows, "verdicts": verdicts}


def k_means(pair: Features, clusters: int, restarts: int, seed: int) -> Array:
    """Fit k-means to the training part; returns the clusters of the scored part."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # fewer distinct points than clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(clusters, n_init=restarts, random_state=seed).fit(pair.train)
    assigned: Array = fitted.predict(pair.test)
    return assigned


# Two partitions compared, for many weights of the images at once


def tables(a: Array, b: Array, weights: Array) -> Array:
    """Return the weight of the images in each pair of groups: (rows, A, B)."""
    _, row = np.unique(a, return_inverse=True)
    _, column = np.unique(b, return_inverse=True)
    A, B = row.max() + 1, column.max() + 1
    belongs = np.zeros((len(a), A * B))
    belongs[np.arange(len(a)), row * B + column] = 1.0
    return (weights @ belongs).reshape(len(weights), A, B)


def nmi(counts: Array) -> Array:
    """Return the mutual information of tables over the mean of the two entropies."""
    p = counts / counts.sum(axis=(1, 2), keepdims=True)
    row, column = _entropy(p.sum(axis=2)), _entropy(p.sum(axis=1))
    mutual = row + column - _entropy(p.reshape(len(p), -1))
    mean = (row + column) / 2
    same = mean == 0  # one group on both sides
    return np.where(same, 1.0, mutual / np.where(same, 1.0, mean)).clip(0, 1)


def _entropy(p: Array) -> Array:
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)


def ari(counts: Array) -> Array:
    """Return the adjusted Rand index of tables."""
    both = _pairs(counts).sum(axis=(1, 2))
    rows, columns = (_pairs(counts.sum(axis=axis)).sum(axis=1) for axis in (2, 1))
    chance = rows * columns / _pairs(counts.sum(axis=(1, 2)))
    room = (rows + columns) / 2 - chance
    same = room == 0  # all alone, or all together, on both sides
    return np.where(same, 1.0, (both - chance) / np.where(same, 1.0, room))


def _pairs(n: Array) -> Array:
    return n * (n - 1) / 2


METRICS = {"nmi": (nmi, 0.0, True), "ari": (ari, -1.0, False)}
"""The statistic, the least it can be, and whether it is too large on few images.

A resample of ARI is too large for another reason, which the images do not share: an
image that is in it twice makes a pair with itself.
"""
