"""How much a code says about classes: classifiers on few labels, on code and baselines.

Labelled images come from the training split alone, and are drawn several times, as
many of each class as can be; all features share the draws. Accuracy is taken on the
scored split. Features are centred and divided by one number, their root mean variance:
the same for code, PCA and pixels, and nothing that a classifier could profit from.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
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
from minivae.evaluate.intervals import Verdict, best, crossed
from minivae.models import Autoencoder

SIZES: tuple[int | str, ...] = (10, 100, 1000, "all")
PENALTIES = (0.001, 0.01, 0.1, 1.0)  # C of the logistic regression, to choose from
HELD_OUT = 5  # one labelled image in so many chooses C, if a class has that many
NEIGHBOURS = 5


def probe(
    model: Autoencoder,
    data: Dataset,
    *,
    labels: Sequence[int | str] | None = None,
    draws: int = 10,
    split: str = "test",
    seed: int = 0,
) -> dict[str, Any]:
    """Score logistic regression and k-NN on mean codes, PCA of their size, and pixels.

    `labels` says how many labelled images: numbers, or "all"; by default those of 10,
    100, 1000 and all that there are. The intervals are over draws and scored images.
    Deterministic for one seed. Raises `UserError` without labels, for one class only,
    and for fewer labelled images than classes.
    """
    known = labels_of(data, "train", "probe")
    truth = labels_of(data, split, "probe")
    found = score_features(
        features(model, data, split), known, truth, labels, draws, seed
    )
    document = about(model, data, split) | {"classes": len(np.unique(known))}
    return document | {"seed": seed, "rows": found}


def score_features(
    given: Mapping[str, Features],
    known: Array,
    truth: Array,
    labels: Sequence[int | str] | None = None,
    draws: int = 10,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return a row for each classifier and number of labels: accuracies and verdict."""
    if draws < 1:
        raise UserError(f"the labelled images are drawn at least once, not {draws}")
    scaled = {name: standardised(pair) for name, pair in given.items()}
    rows = []
    for size in checked_sizes(labels, known):
        n = len(known) if size == "all" else int(size)
        times = 1 if n == len(known) else draws
        subsets = [labelled_subset(known, n, seed, draw) for draw in range(times)]
        for classifier, fit in CLASSIFIERS.items():
            hits = {
                name: np.stack(
                    [fit(pair.train[s], known[s], pair.test) == truth for s in subsets]
                ).astype(np.float64)
                for name, pair in scaled.items()
            }
            row = {"classifier": classifier, "labels": size, "n": n, "draws": times}
            rows.append(row | _compared(hits))
    return sorted(rows, key=lambda row: list(CLASSIFIERS).index(row["classifier"]))


def _compared(hits: Mapping[str, Array]) -> dict[str, Any]:
    accuracy = {name: crossed(matrix) for name, matrix in hits.items()}
    rival = best({name: accuracy[name] for name in BASELINES})
    verdict = Verdict(CODE, rival, crossed(hits[CODE] - hits[rival]))
    return {
        "accuracy": {name: found._asdict() for name, found in accuracy.items()},
        "verdict": verdict.document(),
    }


def checked_sizes(
    labels: Sequence[int | str] | None, known: Array
) -> Sequence[int | str]:
    """Return how many labelled images to take, or say what is wrong with a number."""
    N, K = len(known), len(np.unique(known))
    if labels is None:
        return [n for n in SIZES if n == "all" or K <= int(n) < N]
    if not labels:
        raise UserError("how many labelled images? say: --labels 100 all")
    for size in labels:
        if size == "all":
            continue
        if isinstance(size, str) and not size.isdecimal():
            raise UserError(f"labels are whole numbers or all, not {size}")
        if int(size) < K:
            raise UserError(f"{size} labelled images are fewer than the {K} classes")
        if int(size) > N:
            raise UserError(f"{size} labelled images asked of {N} in training")
    return labels


def labelled_subset(labels: Array, n: int, seed: int, draw: int) -> Array:
    """Return the numbers of n images, as many of each class as can be.

    The images of a class are put in random order; then all first ones are taken, all
    second ones, and so on, classes in random order, until there are n.
    """
    rng = np.random.default_rng((seed, draw))
    shuffled = rng.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        mine = shuffled[labels[shuffled] == label]
        turn[mine] = np.arange(len(mine))
    order = np.lexsort((rng.random(len(labels)), turn))
    return np.sort(order[:n])


def standardised(pair: Features) -> Features:
    """Centre features by the training split's mean, and divide by one number."""
    mean = pair.train.mean(axis=0)
    scale = np.sqrt(pair.train.var(axis=0).mean()) or 1.0
    return Features((pair.train - mean) / scale, (pair.test - mean) / scale)


# The classifiers: features and labels to learn from, features to judge -> labels


def logistic(x: Array, y: Array, x_test: Array) -> Array:
    """Multinomial logistic regression with an L2 penalty.

    The penalty is chosen on every fifth labelled image, where each class has five, and
    then all are learnt from; of fewer, C = 1.
    """
    held = _every_fifth_of_a_class(y)
    C = 1.0
    if held is not None:
        hits = [
            float((_fit(x[~held], y[~held], c).predict(x[held]) == y[held]).mean())
            for c in PENALTIES
        ]
        C = PENALTIES[int(np.argmax(hits))]
    return _fit(x, y, C).predict(x_test)


def _fit(x: Array, y: Array, C: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # near its optimum it classifies as well
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=C, max_iter=1000).fit(x, y)


def _every_fifth_of_a_class(y: Array) -> Array | None:
    held = np.zeros(len(y), bool)
    for label in np.unique(y):
        mine = np.flatnonzero(y == label)
        if len(mine) < HELD_OUT:
            return None
        held[mine[::HELD_OUT]] = True
    return held


def nearest(x: Array, y: Array, x_test: Array) -> Array:
    """The class of most of the 5 nearest labelled images; of fewer a class, of one."""
    from sklearn.neighbors import KNeighborsClassifier

    fewest = int(np.unique(y, return_counts=True)[1].min())
    k = NEIGHBOURS if fewest >= NEIGHBOURS else 1
    return KNeighborsClassifier(k, algorithm="brute").fit(x, y).predict(x_test)


CLASSIFIERS = {"logistic": logistic, "k-NN": nearest}
