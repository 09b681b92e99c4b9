"""Lesson 8: densities by SciPy, the KL by an integral, estimates by the same draws."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy import integrate, stats

from lessons.kit import Judge, Mistake, exercise

Array = Any
LOG_2PI = np.log(2 * np.pi)


@exercise(1)
def log_normal(judge: Judge) -> None:
    """The density is SciPy's, and integrates to 1."""
    shapes = [(1, 1), (3, 4), (5, 2), (4, 4)] * 3
    cases = [tuple(judge.normal(*s) for _ in range(3)) for s in shapes]

    def exact(x: Array, mu: Array, logvar: Array) -> Array:
        return stats.norm.logpdf(x, mu, np.sqrt(np.exp(logvar)))

    def summed(x: Array, mu: Array, logvar: Array) -> Array:
        return exact(x, mu, logvar).sum(axis=-1)

    def total(x: Array, mu: Array, logvar: Array) -> Array:
        return exact(x, mu, logvar).sum()

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "You took exp(logvar) for σ. It is σ²: logvar is log σ².",
                lambda x, mu, logvar: stats.norm.logpdf(x, mu, np.exp(logvar)),
            ),
            Mistake(
                "log 2π is missing: this function of x does not integrate to 1.",
                lambda *case: exact(*case) + 0.5 * LOG_2PI,
            ),
            Mistake(
                "logvar itself is missing: a wide Gaussian is lower everywhere, since "
                "it must still integrate to 1.",
                lambda x, mu, logvar: exact(x, mu, logvar) + 0.5 * logvar,
            ),
            Mistake(
                "The sign is the other way round: this is −log N.",
                lambda *case: -exact(*case),
            ),
            Mistake(
                "This is N, the density; wanted is its logarithm.",
                lambda *case: np.exp(exact(*case)),
            ),
            Mistake(
                "The ½ before the square is missing.",
                lambda x, mu, logvar: (
                    exact(x, mu, logvar) - 0.5 * (x - mu) ** 2 * np.exp(-logvar)
                ),
            ),
            Mistake(
                "You summed over the last axis. Here each element is its own.", summed
            ),
            Mistake("You summed over everything. Here each element is its own.", total),
        ],
    )


@cache
def _kl_by_integral(mu: float, logvar: float) -> float:
    """∫ q (log q − log p) over ten standard deviations of q."""
    sigma = np.exp(0.5 * logvar)
    q, p = stats.norm(mu, sigma), stats.norm()
    area, _ = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)),
        mu - 10 * sigma,
        mu + 10 * sigma,
    )
    return float(area)


def _per_latent(mu: Array, logvar: Array) -> Array:
    return np.vectorize(_kl_by_integral)(mu, logvar)


@exercise(2)
def gaussian_kl(judge: Judge) -> None:
    """The closed form is the integral; 0 at the prior, and never below."""
    shapes = [(3, 4), (1, 4), (4, 1), (2, 5), (3, 3)]
    cases = [(judge.normal(*s), judge.normal(*s)) for s in shapes]

    def exact(mu: Array, logvar: Array) -> Array:
        return _per_latent(mu, logvar).sum(axis=1)

    def as_sigma(mu: Array, logvar: Array) -> Array:  # σ = exp(logvar)
        return 0.5 * (mu**2 + np.exp(2 * logvar) - 1 - 2 * logvar).sum(axis=1)

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "You averaged over the latents. They are independent, so their KLs "
                "add up: a sum over the Z latents.",
                lambda mu, logvar: exact(mu, logvar) / mu.shape[1],
            ),
            Mistake(
                "You averaged over the images too. Wanted is one number an image.",
                lambda mu, logvar: exact(mu, logvar).mean(),
            ),
            Mistake(
                "You summed over the images too. Wanted is one number an image.",
                lambda mu, logvar: exact(mu, logvar).sum(),
            ),
            Mistake("You summed over the images, not over the latents.", _by_latent),
            Mistake(
                "Nothing is summed: that is one number a latent; wanted is one an "
                "image.",
                _per_latent,
            ),
            Mistake(
                "The sign is the other way round: a KL is never negative.",
                lambda mu, logvar: -exact(mu, logvar),
            ),
            Mistake(
                "A ½ is missing, before all four terms.",
                lambda mu, logvar: 2 * exact(mu, logvar),
            ),
            Mistake(
                "You took exp(logvar) for σ. It is σ²: logvar is log σ².", as_sigma
            ),
            Mistake(
                "The −1 is missing: at the prior, mu = 0 and logvar = 0, the KL is 0.",
                lambda mu, logvar: exact(mu, logvar) + 0.5 * mu.shape[1],
            ),
            Mistake(
                "That is KL(N(0, I) ‖ q), from the prior to q. The KL is not "
                "symmetric; wanted is KL(q ‖ N(0, I)).",
                _reversed,
            ),
        ],
    )


def _by_latent(mu: Array, logvar: Array) -> Array:
    return _per_latent(mu, logvar).sum(axis=0)


def _reversed(mu: Array, logvar: Array) -> Array:
    return 0.5 * ((1 + mu**2) * np.exp(-logvar) - 1 + logvar).sum(axis=1)


@exercise(3)
def kl_by_sampling(judge: Judge) -> None:
    """The estimate is that of these very draws, and its error that of their mean."""
    cases = [
        (judge.normal(Z), judge.normal(Z), judge.normal(S, Z))
        for Z, S in [(1, 1000), (3, 2000), (2, 4000), (4, 1000)]
    ]

    def log_q(mu: Array, logvar: Array, z: Array) -> Array:
        return stats.norm.logpdf(z, mu, np.sqrt(np.exp(logvar))).sum(axis=1)

    def terms(mu: Array, logvar: Array, z: Array) -> Array:
        return log_q(mu, logvar, z) - stats.norm.logpdf(z).sum(axis=1)

    def draws(mu: Array, logvar: Array, eps: Array) -> Array:
        return mu + np.sqrt(np.exp(logvar)) * eps

    def values(*case: Array) -> Array:
        return terms(case[0], case[1], draws(*case))

    def exact(*case: Array) -> tuple[float, float]:
        return _mean_and_error(values(*case))

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "The draws have σ = exp(logvar). The standard deviation is "
                "exp(logvar / 2).",
                lambda mu, logvar, eps: _mean_and_error(
                    terms(mu, logvar, mu + np.exp(logvar) * eps)
                ),
            ),
            Mistake(
                "The draws are of the prior: eps as it is. The expectation is over q: "
                "z = mu + σ eps.",
                lambda mu, logvar, eps: _mean_and_error(terms(mu, logvar, eps)),
            ),
            Mistake(
                "The sign is the other way round: log q − log p, of draws of q.",
                lambda *case: _mean_and_error(-values(*case)),
            ),
            Mistake(
                "The latents were averaged. log q(z) is the sum over the latents: they "
                "are independent.",
                lambda *case: _mean_and_error(values(*case) / len(case[0])),
            ),
            Mistake(
                "log p(z) is not in it: that is the mean of log q(z) alone.",
                lambda *case: _mean_and_error(log_q(case[0], case[1], draws(*case))),
            ),
            Mistake(
                "The mean is right. The second number is the spread of single draws; "
                "the mean of S draws is √S times more certain.",
                lambda *case: (values(*case).mean(), values(*case).std()),
            ),
            Mistake(
                "The mean is right. The spread of the draws was divided by S; it "
                "shrinks with √S only.",
                lambda *case: (
                    values(*case).mean(),
                    values(*case).std() / len(case[2]),
                ),
            ),
        ],
        tolerance=SPREADS_AGREE,
        returns=("the mean", "the standard error"),
    )


SPREADS_AGREE = 1e-3  # a standard deviation divided by S or by S − 1, S = 1000 or more


def _mean_and_error(values: Array) -> tuple[float, float]:
    return values.mean(), values.std() / np.sqrt(len(values))
