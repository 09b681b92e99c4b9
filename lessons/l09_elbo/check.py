"""Lesson 9: the bound by what lies between it and log p; posteriors by conditioning."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from lessons.kit import Judge, Mistake, exercise

Array = Any
SIZES = [(3, 1), (4, 2), (5, 3), (2, 2), (6, 2)]  # pixels, latents
NOISE = (0.5, 0.3, 2.0, 0.7, 1.3)


def _joint(W: Array, s2: float) -> Array:
    """Cov(x) of the model."""
    return W @ W.T + s2 * np.eye(len(W))


def conditioned(x: Array, W: Array, s2: float) -> tuple[Array, Array]:
    """p(z | x) out of the joint Gaussian of z and x, by conditioning on x."""
    gain = W.T @ np.linalg.inv(_joint(W, s2))
    return gain @ x, np.eye(W.shape[1]) - gain @ W


def _gaussian_kl(mu: Array, S: Array, other: Array, T: Array) -> float:
    """KL(N(mu, S) ‖ N(other, T)), with full covariances."""
    inverse, apart = np.linalg.inv(T), other - mu
    logs = np.linalg.slogdet(T)[1] - np.linalg.slogdet(S)[1]
    return 0.5 * float(np.trace(inverse @ S) + apart @ inverse @ apart - len(mu) + logs)


def exact_elbo(x: Array, W: Array, s2: float, mu: Array, logvar: Array) -> float:
    """log p(x) − KL(q ‖ p(z | x)): no expectation is taken anywhere."""
    log_p = stats.multivariate_normal.logpdf(x, np.zeros(len(x)), _joint(W, s2))
    return log_p - _gaussian_kl(mu, np.diag(np.exp(logvar)), *conditioned(x, W, s2))


@exercise(1)
def elbo(judge: Judge) -> None:
    """log p(x) − ELBO is the KL from q to the posterior, for any q."""
    cases = []
    for (D, Z), s2 in zip(SIZES * 2, NOISE * 2, strict=True):
        normals = (judge.normal(*s) for s in ((D,), (D, Z), (Z,), (Z,)))
        x, W, mu, logvar = normals
        cases.append((x, W, s2, mu, logvar))

    def kl(mu: Array, logvar: Array) -> float:
        return _gaussian_kl(
            mu, np.diag(np.exp(logvar)), np.zeros(len(mu)), np.eye(len(mu))
        )

    def spread(W: Array, logvar: Array) -> float:  # E|W (z − µ)|²
        return float((np.exp(logvar) * (W**2).sum(axis=0)).sum())

    judge.match(
        cases,
        exact_elbo,
        [
            Mistake(
                "The log-likelihood is taken at the mean code. Its expectation over q "
                "is lower: z varies, and with it W z. This is no bound any more.",
                lambda x, W, s2, mu, v: (
                    exact_elbo(x, W, s2, mu, v) + 0.5 * spread(W, v) / s2
                ),
            ),
            Mistake(
                "The KL is added. It is what the bound pays: E_q[log p(x | z)] − KL.",
                lambda x, W, s2, mu, v: exact_elbo(x, W, s2, mu, v) + 2 * kl(mu, v),
            ),
            Mistake(
                "The KL is not in it.",
                lambda x, W, s2, mu, v: exact_elbo(x, W, s2, mu, v) + kl(mu, v),
            ),
            Mistake(
                "That is −ELBO, the loss. Wanted is the bound itself.",
                lambda *case: -exact_elbo(*case),
            ),
            Mistake(
                "The normaliser −D/2 log(2π s2) of the likelihood is missing: without "
                "it this is not a log-probability.",
                lambda x, W, s2, mu, v: (
                    exact_elbo(x, W, s2, mu, v) + 0.5 * len(x) * np.log(2 * np.pi * s2)
                ),
            ),
            Mistake(
                "The KL was averaged over the latents. It is their sum.",
                lambda x, W, s2, mu, v: (
                    exact_elbo(x, W, s2, mu, v) + kl(mu, v) * (1 - 1 / len(mu))
                ),
            ),
            Mistake(
                "You took exp(logvar) for σ. It is σ²: logvar is log σ².",
                lambda x, W, s2, mu, v: exact_elbo(x, W, s2, mu, 2 * v),
            ),
        ],
    )


@exercise(2)
def posterior(judge: Judge) -> None:
    """The posterior is the joint Gaussian of z and x, conditioned on x."""
    cases = [
        (judge.normal(D), judge.normal(D, Z), s2)
        for (D, Z), s2 in zip(SIZES, NOISE, strict=True)
    ]

    def information(W: Array, s2: float) -> Array:
        return W.T @ W + s2 * np.eye(W.shape[1])

    judge.match(
        cases,
        conditioned,
        [
            Mistake(
                "The prior is not in it: that is least squares, (WᵀW)⁻¹ Wᵀ x, which "
                "ignores that z ~ N(0, I).",
                lambda x, W, s2: (
                    np.linalg.pinv(W) @ x,
                    s2 * np.linalg.inv(W.T @ W),
                ),
            ),
            Mistake(
                "The mean is right; the covariance lacks the factor s2.",
                lambda x, W, s2: (
                    conditioned(x, W, s2)[0],
                    np.linalg.inv(information(W, s2)),
                ),
            ),
            Mistake(
                "The mean is right; the second value is the inverse of the covariance.",
                lambda x, W, s2: (
                    conditioned(x, W, s2)[0],
                    np.linalg.inv(conditioned(x, W, s2)[1]),
                ),
            ),
            Mistake(
                "The noise is not in it: you used WᵀW + I where WᵀW + s2 I belongs.",
                lambda x, W, s2: (
                    np.linalg.solve(information(W, 1.0), W.T @ x),
                    np.linalg.inv(information(W, 1.0)),
                ),
            ),
            Mistake(
                "The mean is right; of the covariance only the diagonal is there. The "
                "latents are not independent once x is known.",
                lambda x, W, s2: (
                    conditioned(x, W, s2)[0],
                    np.diag(np.diag(conditioned(x, W, s2)[1])),
                ),
            ),
            Mistake(
                "The mean was divided by s2 once too often.",
                lambda x, W, s2: (
                    conditioned(x, W, s2)[0] / s2,
                    conditioned(x, W, s2)[1],
                ),
            ),
        ],
        returns=("the mean", "the covariance"),
    )


def _points(means: Array, covariance: Array) -> Array:
    """Points (2 Z N, Z), of equal weight, with the means and the covariance of q.

    m ± √Z times a column of the covariance's root: expectations of squares are exact.
    """
    root = np.linalg.cholesky(covariance) * np.sqrt(means.shape[1])
    return np.concatenate([means + s * column for column in root.T for s in (1, -1)])


@exercise(3)
def m_step(judge: Judge) -> None:
    """Least squares on points that have the moments of q."""
    cases = []
    for D, Z in [(4, 2), (3, 1), (5, 3)]:
        root = judge.normal(Z, Z)
        covariance = root @ root.T / Z + 0.1 * np.eye(Z)
        cases.append((judge.normal(9, D), judge.normal(9, Z), covariance))

    def exact(X: Array, means: Array, covariance: Array) -> tuple[Array, float]:
        codes = _points(means, covariance)
        images = np.tile(X, (len(codes) // len(X), 1))
        W = np.linalg.lstsq(codes, images, rcond=None)[0].T
        return W, float(((images - codes @ W.T) ** 2).mean())

    def at_the_means(X: Array, means: Array, covariance: Array) -> tuple[Array, float]:
        W = np.linalg.lstsq(means, X, rcond=None)[0].T
        return W, float(((X - means @ W.T) ** 2).mean())

    def once(X: Array, means: Array, covariance: Array) -> tuple[Array, float]:
        W = np.linalg.solve(means.T @ means + covariance, means.T @ X).T
        spread = np.trace(W @ covariance @ W.T) / X.shape[1]
        return W, float(((X - means @ W.T) ** 2).mean() + spread)

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "The covariance of q is not in it: this is regression on the mean "
                "codes, as if z were known.",
                at_the_means,
            ),
            Mistake(
                "W is right; s2 leaves out that z varies under q: E|x − W z|² is "
                "larger than |x − W m|², by tr(W C Wᵀ).",
                lambda X, m, C: (
                    exact(X, m, C)[0],
                    ((X - m @ exact(X, m, C)[0].T) ** 2).mean(),
                ),
            ),
            Mistake(
                "W is right; s2 is the variance of one pixel: divide by N D, not by N.",
                lambda X, m, C: (exact(X, m, C)[0], exact(X, m, C)[1] * X.shape[1]),
            ),
            Mistake(
                "W is right; s2 was summed over the images, not averaged.",
                lambda X, m, C: (exact(X, m, C)[0], exact(X, m, C)[1] * len(X)),
            ),
            Mistake(
                "The covariance was added once. Every image has one: N times.", once
            ),
            Mistake(
                "W is transposed: it is (D, Z), and maps codes to images.",
                lambda X, m, C: (exact(X, m, C)[0].T, exact(X, m, C)[1]),
            ),
            Mistake(
                "W is right; the second value is the standard deviation, not s2.",
                lambda X, m, C: (exact(X, m, C)[0], exact(X, m, C)[1] ** 0.5),
            ),
        ],
        returns=("W", "s2"),
    )
