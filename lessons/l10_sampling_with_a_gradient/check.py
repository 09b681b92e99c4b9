"""Lesson 10: draws by quantiles; gradients, the noise held fast, by differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from lessons.kit import Judge, Mistake, derivative, exercise

Array = Any


@exercise(1)
def sample(judge: Judge) -> None:
    """Element by element: the draw of q at the quantile that eps has."""
    shapes = [(4,), (3, 2), (2, 5)]
    cases = [tuple(judge.normal(*s) for _ in range(3)) for s in shapes]

    def exact(mu: Array, logvar: Array, eps: Array) -> Array:
        return stats.norm.ppf(stats.norm.cdf(eps), mu, np.sqrt(np.exp(logvar)))

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "The draws are too wide where logvar > 0, too narrow elsewhere: you "
                "took exp(logvar) for σ. It is σ².",
                lambda mu, logvar, eps: mu + np.exp(logvar) * eps,
            ),
            Mistake(
                "You took logvar itself for σ.",
                lambda mu, logvar, eps: mu + logvar * eps,
            ),
            Mistake(
                "The mean is not in it: these are draws of N(0, σ²).",
                lambda mu, logvar, eps: np.exp(0.5 * logvar) * eps,
            ),
            Mistake(
                "The width is not in it: these are draws of N(mu, 1).",
                lambda mu, logvar, eps: mu + eps,
            ),
            Mistake(
                "You stretched the mean too: σ (mu + eps). First stretch, then move.",
                lambda mu, logvar, eps: np.exp(0.5 * logvar) * (mu + eps),
            ),
            Mistake(
                "That is the way back: (x − mu) / σ makes standard normals of draws.",
                lambda mu, logvar, eps: (eps - mu) / np.exp(0.5 * logvar),
            ),
        ],
    )


def _f(z: Array) -> Array:
    return np.sin(2 * z) + 0.5 * z**2


def _slope(z: Array) -> Array:
    return 2 * np.cos(2 * z) + z


def _draws(judge: Judge) -> list[tuple[float, float, Array]]:
    sizes = (5, 1, 12, 40, 7)
    pairs = judge.normal(len(sizes), 2).tolist()
    return [(m, v, judge.normal(S)) for (m, v), S in zip(pairs, sizes, strict=True)]


@exercise(2)
def pathwise_gradient(judge: Judge) -> None:
    """With eps held fast the mean of f(z) is a function of mu and logvar."""
    mus, cases = {}, []
    for mu, logvar, eps in _draws(judge):
        slopes = _slope(mu + np.exp(0.5 * logvar) * eps)
        mus[float(slopes[0])] = mu
        cases.append((slopes, eps, logvar))

    def exact(slopes: Array, eps: Array, logvar: float) -> tuple[float, float]:
        mu = mus[float(slopes[0])]

        def mean(m: float, v: float) -> float:
            return float(_f(m + np.exp(0.5 * v) * eps).mean())

        by_mu = derivative(lambda m: mean(float(m), logvar), mu)
        by_logvar = derivative(lambda v: mean(mu, float(v)), logvar)
        return float(by_mu), float(by_logvar)

    def parts(slopes: Array, eps: Array, logvar: float) -> tuple[float, float, float]:
        return slopes.mean(), (slopes * eps).mean(), np.exp(0.5 * logvar)

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "By mu it is right. By logvar a ½ is missing: σ = exp(logvar / 2), and "
                "dσ/dlogvar = σ/2.",
                lambda *case: (parts(*case)[0], parts(*case)[1] * parts(*case)[2]),
            ),
            Mistake(
                "By mu it is right. The second is the gradient by σ; wanted is that by "
                "logvar: times dσ/dlogvar.",
                lambda *case: (parts(*case)[0], parts(*case)[1]),
            ),
            Mistake(
                "By mu it is right. By logvar the noise is missing: z moves by eps "
                "times what σ moves by.",
                lambda *case: (parts(*case)[0], parts(*case)[0] * parts(*case)[2] / 2),
            ),
            Mistake(
                "By mu it is right. By logvar you used σ² / 2 where σ / 2 belongs.",
                lambda *case: (
                    parts(*case)[0],
                    parts(*case)[1] * parts(*case)[2] ** 2 / 2,
                ),
            ),
            Mistake(
                "The draws were added up. The expectation is estimated by their mean.",
                lambda *case: tuple(len(case[0]) * v for v in exact(*case)),
            ),
            Mistake(
                "By mu you multiplied by σ: z moves as much as mu does.",
                lambda *case: (parts(*case)[0] * parts(*case)[2], exact(*case)[1]),
            ),
        ],
        returns=("the estimate by mu", "the estimate by logvar"),
    )


@exercise(3)
def score_gradient(judge: Judge) -> None:
    """With z held fast, the mean of f(z) log q(z) has this gradient."""
    cases = []
    for mu, logvar, eps in _draws(judge):
        z = mu + np.exp(0.5 * logvar) * eps
        cases.append((_f(z), z, mu, logvar))

    def weighted(
        values: Array, z: Array, mu: float, logvar: float
    ) -> tuple[float, float]:
        def mean(m: float, v: float) -> float:
            log_q = stats.norm.logpdf(z, m, np.sqrt(np.exp(v)))
            return float((values * log_q).mean())

        by_mu = derivative(lambda m: mean(float(m), logvar), mu)
        by_logvar = derivative(lambda v: mean(mu, float(v)), logvar)
        return float(by_mu), float(by_logvar)

    judge.match(
        cases,
        weighted,
        [
            Mistake(
                "f is not in it: that is the mean of ∇ log q, which is 0 for many "
                "draws.",
                lambda values, *rest: weighted(np.ones_like(values), *rest),
            ),
            Mistake(
                "The mean of f times the mean of ∇ log q. The product belongs inside: "
                "each draw's f times its own score.",
                lambda values, *rest: weighted(
                    np.full_like(values, values.mean()), *rest
                ),
            ),
            Mistake(
                "The score by mu is (z − mu) / σ². You divided by σ.",
                lambda values, z, mu, logvar: (
                    weighted(values, z, mu, logvar)[0] * np.exp(0.5 * logvar),
                    weighted(values, z, mu, logvar)[1],
                ),
            ),
            Mistake(
                "The sign is the other way round: ∂ log q/∂mu = (z − mu) / σ².",
                lambda *case: tuple(-v for v in weighted(*case)),
            ),
            Mistake(
                "By mu it is right. By logvar the −1 is missing: it comes from the "
                "normaliser of q.",
                lambda values, z, mu, logvar: (
                    weighted(values, z, mu, logvar)[0],
                    0.5 * (values * (z - mu) ** 2).mean() / np.exp(logvar),
                ),
            ),
            Mistake(
                "By mu it is right. By logvar a ½ is missing.",
                lambda *case: (weighted(*case)[0], 2 * weighted(*case)[1]),
            ),
            Mistake(
                "The draws were added up. The expectation is estimated by their mean.",
                lambda *case: tuple(len(case[0]) * v for v in weighted(*case)),
            ),
        ],
        returns=("the estimate by mu", "the estimate by logvar"),
    )
