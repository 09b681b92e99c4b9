"""Intervals cover the truth as often as they say, and verdicts follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import FLOAT64

from minivae.errors import UserError
from minivae.evaluate.cluster import METRICS, ari, nmi, tables
from minivae.evaluate.detect import ranked
from minivae.evaluate.embed import trust_terms
from minivae.evaluate.intervals import (
    Interval,
    Verdict,
    best,
    bootstrap,
    crossed,
    proportion,
    resampling,
)

TIMES = 300
COVERAGE = (0.90, 0.985)
"""Of 300 intervals of 95 %: three to four standard errors either way."""


def covered(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([low <= truth <= high for _, low, high in intervals]))


# The two kinds of chance


@pytest.mark.parametrize(
    ("draws", "images", "noise"),
    [(10, 200, 0.0), (10, 200, 1.0), (1, 50, 0.2), (5, 1000, 0.3), (20, 20, 0.5)],
)
def test_crossed_covers_the_mean_of_draws_and_images(
    draws: int, images: int, noise: float
) -> None:
    rng = np.random.default_rng(0)

    def scores() -> Interval:
        of_draw = 0.05 * rng.standard_normal((draws, 1)) * (draws > 1)
        of_image = 0.5 * rng.standard_normal((1, images))
        rest = noise * rng.standard_normal((draws, images))
        return crossed(0.7 + of_draw + of_image + rest)

    share = covered([scores() for _ in range(TIMES)], 0.7)
    assert COVERAGE[0] <= share <= COVERAGE[1]


def test_of_one_draw_it_is_students_interval() -> None:
    from scipy import stats

    values = np.random.default_rng(1).random(30)
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    expected = (values.mean(), low, high)
    np.testing.assert_allclose(crossed(values[None]), expected, rtol=FLOAT64)


def test_draws_that_agree_do_not_shorten_it() -> None:
    values = np.random.default_rng(2).random(40)
    once, often = crossed(values[None]), crossed(np.repeat(values[None], 9, axis=0))
    np.testing.assert_allclose(often, once, rtol=1e-9)


def test_what_never_varies_has_no_width() -> None:
    assert crossed(np.ones((3, 4))) == (1, 1, 1)
    assert crossed(np.ones((1, 1))) == (1, 1, 1)


def test_the_interval_of_auroc_covers_it() -> None:
    from scipy.stats import norm

    rng, truth = np.random.default_rng(3), float(norm.cdf(1.2 / np.sqrt(2)))
    foreign = np.arange(150) < 50
    intervals = []
    for seed in range(TIMES):
        scores = rng.standard_normal(150) + 1.2 * foreign
        weights = resampling(150, foreign, 100, seed)
        intervals.append(bootstrap(ranked(scores, foreign, weights)[0], 0, 1))
    assert COVERAGE[0] <= covered(intervals, truth) <= COVERAGE[1]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kept", [0.4, 0.8])
def test_the_interval_of_a_clustering_covers_it(metric: str, kept: float) -> None:
    statistic, least, biased = METRICS[metric]
    K, N = 4, 300
    shares = np.full((K, K), (1 - kept) / K) + kept * np.eye(K)
    truth = float(statistic(1e9 * shares[None])[0])
    rng, intervals = np.random.default_rng(4), []
    for seed in range(TIMES):
        pairs = rng.choice(K * K, N, p=shares.reshape(-1) / K)
        weights = resampling(N, resamples=100, seed=seed)
        values = statistic(tables(pairs // K, pairs % K, weights))
        intervals.append(bootstrap(values, least, 1.0, biased))
    assert COVERAGE[0] <= covered(intervals, truth) <= COVERAGE[1]


def test_a_proportion_of_none_has_an_upper_end() -> None:
    value, low, high = proportion(0, 100)
    assert (value, low) == (0, 0)
    assert 0.01 < high < 0.05


# Resamples


def test_the_first_resample_is_the_images_themselves() -> None:
    weights = resampling(50, resamples=100)
    assert weights.shape == (101, 50)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 50).all()
    assert (weights[1:] != 1).any(axis=1).all()


def test_strata_keep_their_sizes() -> None:
    strata = np.arange(50) % 3
    weights = resampling(50, strata, 100)
    for group in range(3):
        inside = strata == group
        assert (weights[:, inside].sum(axis=1) == inside.sum()).all()


def test_resamples_follow_their_seed() -> None:
    first = resampling(20, seed=5)
    assert (first == resampling(20, seed=5)).all()
    assert (first != resampling(20, seed=6)).any()


def test_too_few_resamples_are_refused() -> None:
    with pytest.raises(UserError, match="100 resamples or more: 99"):
        resampling(10, resamples=99)


def test_a_bias_of_the_resamples_is_taken_off_once() -> None:
    values = np.concatenate([[0.5], np.linspace(0.5, 0.7, 1001)])
    plain, biased = bootstrap(values), bootstrap(values, biased=True)
    assert plain.value == biased.value == 0.5
    np.testing.assert_allclose(np.subtract(plain[1:], biased[1:]), 0.1)
    np.testing.assert_allclose(plain.low + plain.high, 1.0)
    assert bootstrap(values, least=0.45).low == 0.45


# Statistics of weighted images: scikit-learn's, of images repeated


@pytest.mark.parametrize("seed", range(5))
def test_clustering_metrics_are_scikit_learns(seed: int) -> None:
    from sklearn import metrics

    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, 60), rng.integers(0, 2 + seed, 60)
    b = np.where(rng.random(60) < 0.5, a, b)
    weights = rng.integers(0, 4, (3, 60))
    counts = tables(a, b, weights)
    for row, w in enumerate(weights):
        many, others = np.repeat(a, w), np.repeat(b, w)
        expected = metrics.normalized_mutual_info_score(many, others)
        assert abs(nmi(counts)[row] - expected) <= 1e-10
        expected = metrics.adjusted_rand_score(many, others)
        assert abs(ari(counts)[row] - expected) <= 1e-10


def test_clustering_metrics_do_not_care_for_names() -> None:
    rng = np.random.default_rng(0)
    a, b, ones = rng.integers(0, 5, 80), rng.integers(0, 3, 80), np.ones((1, 80))
    renamed = np.array([2, 0, 1])[b] + 7
    for metric in (nmi, ari):
        value = metric(tables(a, b, ones))
        np.testing.assert_allclose(metric(tables(a, renamed, ones)), value)
        np.testing.assert_allclose(metric(tables(b, a, ones)), value)
        np.testing.assert_allclose(metric(tables(a, -a, ones)), 1)


@pytest.mark.parametrize("groups", [1, 30])
def test_all_together_and_all_alone_agree_with_themselves(groups: int) -> None:
    a = np.arange(30) % groups
    counts = tables(a, a, np.ones((1, 30)))
    assert nmi(counts)[0] == ari(counts)[0] == 1


@pytest.mark.parametrize("levels", [3, 1000], ids=["ties", "no ties"])
def test_rankings_are_scikit_learns(levels: int) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    scores, foreign = rng.integers(0, levels, 90) / levels, rng.random(90) < 0.3
    weights = rng.integers(0, 3, (250, 90)).astype(float)
    auroc, precision = ranked(scores, foreign, weights)
    for row in (0, 99, 100, 249):
        options = {"y_true": foreign, "y_score": scores, "sample_weight": weights[row]}
        assert abs(auroc[row] - roc_auc_score(**options)) <= 1e-12
        assert abs(precision[row] - average_precision_score(**options)) <= 1e-12


def test_rankings_turn_with_their_scores() -> None:
    rng = np.random.default_rng(1)
    scores, foreign, ones = rng.random(60), rng.random(60) < 0.4, np.ones((1, 60))
    auroc = ranked(scores, foreign, ones)[0]
    np.testing.assert_allclose(ranked(-scores, foreign, ones)[0], 1 - auroc)
    np.testing.assert_allclose(ranked(np.exp(scores), foreign, ones)[0], auroc)
    np.testing.assert_allclose(ranked(scores, ~foreign, ones)[0], 1 - auroc)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_trustworthiness_is_scikit_learns(k: int) -> None:
    from sklearn.manifold import trustworthiness

    rng = np.random.default_rng(0)
    high = rng.standard_normal((60, 7))
    for low in (high[:, :2], rng.standard_normal((60, 2)), high):
        expected = trustworthiness(high, low, n_neighbors=k)
        assert abs(trust_terms(high, low, k).mean() - expected) <= FLOAT64


# Verdicts


@pytest.mark.parametrize(
    ("difference", "winner", "words"),
    [
        ((0.2, 0.1, 0.3), "model", "model wins: code over PCA, by 0.200 (0.100 to"),
        ((-0.2, -0.3, -0.1), "baseline", "baseline wins: PCA over code, by 0.200 (0.1"),
        ((0.1, -0.1, 0.3), "neither", "no clear winner: code less PCA is +0.100 (−0."),
        ((0.0, 0.0, 0.0), "neither", "no clear winner: code less PCA is 0.000"),
    ],
)
def test_a_verdict_says_who_wins(
    difference: tuple[float, float, float], winner: str, words: str
) -> None:
    verdict = Verdict("code", "PCA", Interval(*difference))
    assert verdict.winner == winner
    assert str(verdict).startswith(words)
    assert str(verdict).startswith(verdict.short)


def test_the_best_is_the_largest() -> None:
    values = {"a": Interval(1, 0, 9), "b": Interval(2, 1, 3), "c": Interval(2, 2, 2)}
    assert best(values) == "b"
