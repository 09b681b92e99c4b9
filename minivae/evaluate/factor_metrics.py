"""Scores of disentanglement: does each latent follow one factor, and each factor one?

All take codes (N, Z), with real numbers, and the classes (N, F) of the factors that the
N images were made from. None sees a model, and none changes if latents are permuted,
shifted, or multiplied by numbers other than 0. All but modularity and DCI's first also
ask that a factor be in *one* latent: a code that holds all of it twice loses.

              range            chance          a latent for each factor, and no others
    higgins   1/F ... 1        1/F             1
    factor    1/F ... 1        1/F             1
    mig       0 ... 1          about 0         1
    sap       0 ... 1          about 0         1, and 1 − 1/K where a factor has K kinds
    modularity  0 ... 1        about ½         1
    dci       0 ... 1 each     about 0, the    1, 1, 1
                               last about 1/K

On N images an information of (B − 1)(K − 1) / 2N nats is found where there is none
(`mi_bias`). It is the same for all latents, so that MIG, a difference, hardly feels it;
modularity is a ratio and cannot tell little from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError
from minivae.random import Noise

BINS = 20  # of a latent, in mutual information. Locatello et al. 2019, appendix
PAIRS, VOTES = 64, (1000, 500)  # Higgins: for a vote; to learn from and to be scored
GROUP, GROUP_VOTES = 64, (800, 800)  # FactorVAE
TREES = 50


def check(
    codes: Array, classes: Array, names: Sequence[str] | None = None, least: int = 2
) -> tuple[Array, Array]:
    """Return codes in float64 and classes as integers; raises `UserError`.

    `names` are the factors', for the message; there must be `least` of them.
    """
    codes, classes = np.ascontiguousarray(codes, np.float64), np.asarray(classes)
    if codes.ndim != 2 or classes.ndim != 2 or len(codes) != len(classes):
        raise UserError(
            f"codes (N, Z) and classes (N, F) are needed, not {codes.shape} and "
            f"{classes.shape}"
        )
    if not codes.size or not np.isfinite(codes).all():
        raise UserError("codes are empty, or not all finite")
    if classes.dtype.kind not in "iub":
        raise UserError(f"classes are integers, not {classes.dtype}")
    if classes.shape[1] < least:
        raise UserError(
            f"disentanglement is between two factors or more, not {classes.shape[1]}"
        )
    for k, own in enumerate(classes.T):
        if not np.ptp(own):
            name = names[k] if names else f"factor {k}"
            raise UserError(
                f"{name} has one value in all {len(own)} images: leave it out, or take "
                "more images"
            )
    return codes, classes.astype(np.int64)


# Mutual information


def in_bins(codes: Array, bins: int = BINS) -> Array:
    """Number each latent's values by equal bins between its smallest and largest."""
    if bins < 2:
        raise UserError(f"at least two bins are needed, not {bins}")
    low, reach = codes.min(axis=0), np.ptp(codes, axis=0)
    share = (codes - low) / np.where(reach, reach, 1)
    return np.minimum((share * bins).astype(np.int64), bins - 1)


def mutual_information(codes: Array, classes: Array, bins: int = BINS) -> Array:
    """I(z_j; f_k) in nats, latents in bins: (Z, F)."""
    from sklearn.metrics import mutual_info_score

    codes, classes = check(codes, classes, least=1)
    found = [
        [mutual_info_score(own, factor) for factor in classes.T]
        for own in in_bins(codes, bins).T
    ]
    return np.maximum(found, 0)


def entropies(classes: Array) -> Array:
    """H(f_k) in nats: (F,)."""
    shares = [np.unique(own, return_counts=True)[1] / len(own) for own in classes.T]
    return np.array([-(p * np.log(p)).sum() for p in shares])


def mi_bias(codes: Array, classes: Array, bins: int = BINS) -> Array:
    """About how many nats of I(z_j; f_k) are found where there are none: (Z, F).

    (B − 1)(K − 1) / 2N for B bins that are in use. Miller 1955.
    """
    codes, classes = check(codes, classes, least=1)
    used = np.array([len(np.unique(own)) for own in in_bins(codes, bins).T])
    values = np.array([len(np.unique(own)) for own in classes.T])
    return np.outer(used - 1, values - 1) / (2 * len(codes))


def mig(codes: Array, classes: Array, bins: int = BINS) -> float:
    """The mutual information gap: how far the best latent is ahead of the second.

        (1/F) Σ_k [I(z_first; f_k) − I(z_second; f_k)] / H(f_k)

    From 0 to 1; a factor with more values than there are bins cannot reach 1. Source:
    Chen, Li, Grosse & Duvenaud 2018, eq. 6; here of mean codes in bins, as Locatello et
    al. 2019 have it.
    """
    codes, classes = check(codes, classes)
    shares = mutual_information(codes, classes, bins) / entropies(classes)
    return float(_gap(shares, np.zeros(shares.shape[1])).mean())


def _gap(scores: Array, nothing: Array) -> Array:
    """The largest of each column (Z, F) less the second, or less what nothing gets."""
    ranked = np.sort(np.concatenate([scores, nothing[None]]), axis=0)
    return ranked[-1] - ranked[-2]


def modularity(codes: Array, classes: Array, bins: int = BINS) -> float:
    """Whether each latent tells of one factor only; 0 if it tells of none.

        (1/Z) Σ_j [1 − Σ_{k≠best} I(z_j; f_k)² / ((F − 1) I(z_j; f_best)²)]

    From 0 to 1, and blind to whether all factors are there. Of a latent that tells of
    nothing, ratios of chance remain: about ½. Source: Ridgeway & Mozer 2018, eq. 2.
    """
    codes, classes = check(codes, classes)
    squares = mutual_information(codes, classes, bins) ** 2
    best = squares.max(axis=1)
    others = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    each = 1 - others / np.where(best, best, 1)
    return float(np.where(best, each, 0).mean())


# Predicting factors


class DCI(NamedTuple):
    """Each from 0 to 1."""

    disentanglement: float  # a latent matters to one factor
    completeness: float  # one latent matters to a factor
    informativeness: float  # share of classes guessed right on images held out


def dci(codes: Array, classes: Array, noise: Noise) -> DCI:
    """Disentanglement, completeness and informativeness, by random forests.

        D = Σ_j ρ_j [1 − H_F(R_j. / Σ_k R_jk)],   ρ_j = Σ_k R_jk / Σ R
        C = (1/F) Σ_k [1 − H_Z(R_.k / Σ_j R_jk)]

    R_jk is how much latent j matters to guessing factor k, and H_n the entropy with
    logarithms to the base n. Half of the images, chosen by `noise`, teach a forest of
    each factor, and the others score it. Source: Eastwood & Williams 2018, section 2.
    """
    from sklearn.ensemble import RandomForestClassifier

    codes, classes = check(codes, classes)
    codes = _standard(codes)  # trees take a spread below 1e-7 for none
    learn, score = _halves(len(codes), noise)
    seed = int(noise.words(1)[0])
    importance, right = [], []
    for own in classes.T:
        forest = RandomForestClassifier(TREES, max_features=None, random_state=seed)
        forest.fit(codes[learn], own[learn])
        importance.append(forest.feature_importances_)
        right.append(forest.score(codes[score], own[score]))
    R = np.array(importance).T
    whole = R.sum()
    weights = R.sum(axis=1) / whole if whole else np.zeros(len(R))
    D = float((weights * _certainty(R)).sum())
    return DCI(D, float(_certainty(R.T).mean()), float(np.mean(right)))


def _certainty(R: Array) -> Array:
    """1 − H(R_i. / Σ R_i.) to the base of the row's length; 0 of an empty row."""
    total = R.sum(axis=1, keepdims=True)
    p = R / np.where(total, total, 1)
    logs = np.log(np.where(p > 0, p, 1))
    base = np.log(R.shape[1]) if R.shape[1] > 1 else 1.0
    return np.where(total[:, 0] > 0, 1 + (p * logs).sum(axis=1) / base, 0)


def _halves(N: int, noise: Noise) -> tuple[Array, Array]:
    order = np.argsort(noise.words(N), kind="stable")
    return order[: N // 2], order[N // 2 :]


def sap(
    codes: Array, classes: Array, noise: Noise, unordered: Sequence[int] = ()
) -> float:
    """Separated attribute predictability: one latent alone, and the second best.

        (1/F) Σ_k [S_first,k − S_second,k]

    S_jk is the squared correlation of latent j with factor k. Of a factor with K kinds
    (its number is in `unordered`) it is the accuracy, averaged over kinds, of K − 1
    thresholds on the latent, learnt on half of the images and scored on the others; a
    guess is right 1/K of the time. Source: Kumar et al. 2018, section 3.
    """
    codes, classes = check(codes, classes)
    codes = _standard(codes)
    halves = _halves(len(codes), noise)
    scores = [
        _by_thresholds(codes, own, *halves) if k in unordered else _squared(codes, own)
        for k, own in enumerate(classes.T)
    ]
    kinds = [len(np.unique(own)) for own in classes.T]
    guess = [1 / K if k in unordered else 0.0 for k, K in enumerate(kinds)]
    return float(_gap(np.array(scores).T, np.array(guess)).mean())


def _squared(codes: Array, factor: Array) -> Array:
    """Squared correlation of each standard latent with a factor."""
    f = (factor - factor.mean()) / factor.std()
    return (f @ codes / len(codes)) ** 2


def _by_thresholds(codes: Array, kinds: Array, learn: Array, score: Array) -> Array:
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    K = len(np.unique(kinds))
    found = []
    for z in codes.T:
        tree = DecisionTreeClassifier(
            max_leaf_nodes=K, class_weight="balanced", random_state=0
        )
        tree.fit(z[learn, None], kinds[learn])
        guessed, true = tree.predict(z[score, None]), kinds[score]
        found.append(recall_score(true, guessed, average="macro", zero_division=0))
    return np.array(found)


# Votes: one factor is held, and what stays the same must tell which


def higgins(
    codes: Array,
    classes: Array,
    noise: Noise,
    votes: tuple[int, int] = VOTES,
    pairs: int = PAIRS,
) -> float:
    """The beta-VAE metric: which factor do pairs of images share?

    For a vote, `pairs` pairs of images with the same value of one factor are drawn, and
    the absolute differences of their codes averaged: (Z,). A linear classifier (here
    logistic regression) learns the factor from votes[0] of these and is scored on
    votes[1]. Each factor has the same number of votes, so that chance is 1/F. Source:
    Higgins et al. 2017, section 3. It saturates: 1 is reached by codes that others
    find mixed.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes, classes = check(codes, classes)
    z = _standard(codes)
    learn, score = (_shared(z, classes, noise, n, pairs) for n in votes)
    if not z.any():
        return 1 / classes.shape[1]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(model.fit(*learn).score(*score))


def _shared(
    z: Array, classes: Array, noise: Noise, votes: int, pairs: int
) -> tuple[Array, Array]:
    """Return mean differences (V, Z) and which factor each vote is of (V,)."""
    N, F = classes.shape
    each = max(1, votes // F)
    found = []
    for own in classes.T:
        first = _draw(noise, (each, pairs), N)
        second = _fellows(own, own[first], noise)
        found.append(np.abs(z[first] - z[second]).mean(axis=1))
    return np.concatenate(found), np.repeat(np.arange(F), each)


def factor_vae(
    codes: Array,
    classes: Array,
    noise: Noise,
    votes: tuple[int, int] = GROUP_VOTES,
    group: int = GROUP,
) -> float:
    """The FactorVAE score: which latent varies least while a factor is held?

    For a vote, `group` images with one value of a factor are drawn. The latent whose
    variance among them, over its variance among all, is smallest casts it. votes[0]
    say which factor each latent most often speaks for; the score is the share of
    votes[1] that this gets right. Latents that never vary do not vote, and without any
    the score is 1/F, as by chance. Source: Kim & Mnih 2018, section 4.
    """
    codes, classes = check(codes, classes)
    z = _standard(codes)
    z = z[:, z.any(axis=0)]
    F = classes.shape[1]
    if not z.shape[1]:
        return 1 / F
    (learnt, of), (voted, true) = (_steady(z, classes, noise, n, group) for n in votes)
    counts = np.zeros((z.shape[1], F), np.int64)
    np.add.at(counts, (learnt, of), 1)
    return float((counts.argmax(axis=1)[voted] == true).mean())


def _steady(
    z: Array, classes: Array, noise: Noise, votes: int, group: int
) -> tuple[Array, Array]:
    """Return the latent that each vote is cast by, and which factor it is of."""
    N, F = classes.shape
    each = max(1, votes // F)
    found = []
    for own in classes.T:
        value = own[_draw(noise, (each, 1), N)]
        rows = _fellows(own, np.repeat(value, group, axis=1), noise)
        found.append(z[rows].var(axis=1).argmin(axis=1))
    return np.concatenate(found), np.repeat(np.arange(F), each)


def _standard(codes: Array) -> Array:
    """Give each latent mean 0 and variance 1; one that never varies becomes 0."""
    centred = codes - codes.mean(axis=0)
    varies = np.ptp(codes, axis=0) > 0
    return np.where(varies, centred / np.where(varies, codes.std(axis=0), 1), 0)


def _draw(noise: Noise, shape: tuple[int, ...], below: int) -> Array:
    """Draw whole numbers from 0 to below − 1."""
    return (noise.uniform(shape, np.float64) * below).astype(np.int64)


def _fellows(own: Array, values: Array, noise: Noise) -> Array:
    """Draw, for each value of a factor, an image that has it."""
    order = np.argsort(own, kind="stable")
    first = np.searchsorted(own[order], values, "left")
    count = np.searchsorted(own[order], values, "right") - first
    drawn = noise.uniform(values.shape, np.float64)
    return order[first + (drawn * count).astype(np.int64)]


def scores(
    codes: Array,
    classes: Array,
    noise: Noise,
    *,
    unordered: Sequence[int] = (),
    bins: int = BINS,
) -> dict[str, Any]:
    """Return all scores by name, `dci` as a dictionary of three."""
    return {
        "higgins": higgins(codes, classes, noise),
        "factor_vae": factor_vae(codes, classes, noise),
        "mig": mig(codes, classes, bins),
        "sap": sap(codes, classes, noise, unordered),
        "modularity": modularity(codes, classes, bins),
        "dci": dci(codes, classes, noise)._asdict(),
    }
