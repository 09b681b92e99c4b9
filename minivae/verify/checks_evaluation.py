"""The checks of what stands around a model: evaluation, metrics, schedules, splits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special, stats

from minivae.backend import Array
from minivae.verify.checks import (
    ERRORS,
    Measured,
    check,
    closed_kl,
    compared,
    gaussians,
    images,
    log_density,
)

MANY = 150  # images for an evaluation
DRAWS = 200


def elbo_draws(subject: Any, x: Array, draws: int) -> Array:
    """Return draws of each image's ELBO from encoder and decoder alone: (S, N)."""
    mu, logvar = (np.asarray(a, np.float64) for a in subject.encode(x))
    rng = np.random.default_rng(6)
    kl = closed_kl(mu, logvar)
    found = np.empty((draws, len(x)))
    for s in range(draws):
        z = mu + np.exp(logvar / 2) * rng.normal(size=mu.shape)
        decoded = np.asarray(subject.decode(z), np.float64)
        found[s] = log_density(subject, decoded, x) - kl
    return found


@check("the reported −ELBO is the same in any batch", "a mean over images", "neg_elbo")
def evaluation_ignores_the_batch_size(subject: Any) -> Measured:
    x = images(subject, MANY)
    whole = subject.neg_elbo(x, MANY)
    return compared([whole] * 2, [subject.neg_elbo(x, b) for b in (64, 7)])


@check("the reported −ELBO is that of drawn z, not of mean codes", "E_q", "neg_elbo")
def evaluation_is_the_expectation(subject: Any) -> Measured:
    x = images(subject, MANY)
    draws = elbo_draws(subject, x, DRAWS)
    exact, reported = -float(draws.mean()), subject.neg_elbo(x, MANY)
    one_draw = float(draws.std(axis=0, ddof=1).mean()) / math.sqrt(MANY)
    return exact, reported, abs(reported - exact) / one_draw, ERRORS


@check("one importance draw is the ELBO on average", "E log w = ELBO", "iwae")
def iwae_1_is_the_elbo(subject: Any) -> Measured:
    x = images(subject)
    own = elbo_draws(subject, x, DRAWS).mean(axis=1)
    found = [np.mean(subject.iwae(x, 1, seed)) for seed in range(DRAWS)]
    return two_means(own, np.array(found, np.float64))


@check("the bound of 50 draws is the log of their mean weight", "log (1/k) Σ w", "iwae")
def iwae_is_the_log_of_the_mean(subject: Any) -> Measured:
    x = images(subject)
    found = np.array([np.mean(subject.iwae(x, 50, s)) for s in range(40)], np.float64)
    own = np.array([importance(subject, x, 50, s) for s in range(40)])
    return two_means(own, found)


def two_means(own: Array, found: Array) -> Measured:
    """Compare two sets of draws by their means, in standard errors."""
    errors = (a.std(ddof=1) / math.sqrt(len(a)) for a in (found, own))
    off = abs(float(found.mean() - own.mean())) / max(math.hypot(*errors), 1e-12)
    return float(own.mean()), float(found.mean()), off, ERRORS


def importance(subject: Any, x: Array, k: int, seed: int) -> float:
    """Return the mean L_k by encoder and decoder alone."""
    mu, logvar = (np.asarray(a, np.float64) for a in subject.encode(x))
    rng = np.random.default_rng([7, seed])
    terms = np.empty((k, len(x)))
    for s in range(k):
        z = mu + np.exp(logvar / 2) * rng.normal(size=mu.shape)
        log_q = stats.norm.logpdf(z, mu, np.exp(logvar / 2)).sum(axis=1)
        log_px = log_density(subject, np.asarray(subject.decode(z), np.float64), x)
        terms[s] = log_px + stats.norm.logpdf(z).sum(axis=1) - log_q
    return float((special.logsumexp(terms, axis=0) - math.log(k)).mean())


@check("the code that stands for an image is its mean", "embed(x) = mu(x)", "embed")
def embedding_is_the_mean(subject: Any) -> Measured:
    x = images(subject)
    exact = np.asarray(subject.encode(x)[0], np.float64)
    found = [np.asarray(subject.embed(x), np.float64) for _ in range(2)]
    return compared(np.stack([exact, exact]), np.stack(found))


@check("codes to generate from are N(0, I)", "E z = 0, Var z = 1", "prior")
def prior_is_standard_normal(subject: Any) -> Measured:
    z = np.asarray(subject.prior(4000, 0), np.float64)
    moments = [z.mean(axis=0), (z**2).mean(axis=0) - 1]
    errors = [1 / math.sqrt(len(z)), math.sqrt(2 / len(z))]
    off = max(float(np.abs(m).max() / e) for m, e in zip(moments, errors, strict=True))
    return 1.0, float(z.var()), off, ERRORS


@check("a latent that never moves is not active", "Var_x E_q[z] > 0.01", "active_units")
def constant_latents_are_not_active(subject: Any) -> Measured:
    means = np.random.default_rng(8).normal(size=(200, 5))
    means[:, (1, 3)] = 0.7
    return compared(3, subject.active_units(means))


@check(
    "on all the data, total correlation is the brute-force sum",
    "E log q(z) − Σ_j log q(z_j)",
    "total_correlation",
)
def total_correlation_is_brute_force(subject: Any) -> Measured:
    mu, logvar, eps = gaussians(subject, 60)
    z = mu + np.exp(logvar / 2) * eps
    terms = stats.norm.logpdf(z[:, None], mu, np.exp(logvar / 2))  # (i, n, Z)
    joint = special.logsumexp(terms.sum(axis=2), axis=1) - math.log(60)
    each = (special.logsumexp(terms, axis=1) - math.log(60)).sum(axis=1)
    exact = float((joint - each).mean())
    return compared(exact, subject.total_correlation(mu, logvar, z))


@check("a code that is the factors has a mutual information gap of 1", "MIG = 1", "mig")
def identity_code_has_mig_1(subject: Any) -> Measured:
    factors = np.stack(np.meshgrid(range(4), range(5), range(3)), -1).reshape(-1, 3)
    factors = np.repeat(factors, 5, axis=0)
    found = subject.mig(factors.astype(np.float64), factors)
    return 1.0, float(found), abs(float(found) - 1), 1e-6


@check("evaluating does not move the schedule", "a function of trained steps", "warmth")
def evaluation_leaves_the_schedule(subject: Any) -> Measured:
    return compared(subject.warmth(10, 0, 100), subject.warmth(10, 25, 100))


@check(
    "the epoch kept has the best unannealed −ELBO", "argmin recon + kl", "best_epoch"
)
def the_best_epoch_is_by_the_elbo(subject: Any) -> Measured:
    history = [
        {"recon": 60.0, "kl": 60.0, "warmth": 0.1},
        {"recon": 70.0, "kl": 25.0, "warmth": 0.5},
        {"recon": 75.0, "kl": 14.0, "warmth": 1.0},
    ]
    return compared(2, subject.best_epoch(history))


@check("no test image was trained on", "train ∩ test = ∅", "splits")
def splits_share_no_image(subject: Any) -> Measured:
    x = images(subject, MANY)
    parts = {name: {row.tobytes() for row in np.asarray(part, np.float64)}
             for name, part in subject.splits(x).items()}  # fmt: skip
    return compared(0, len(parts["train"] & parts["test"]))


@check(
    "the decoder's variance is its mean squared residual, within 10 %",
    "s2 = E (x − x̂)²",
    "residual2",
    likelihood="gaussian",
)
def sigma_is_that_of_the_residual(subject: Any) -> Measured:
    from minivae.verify.exact import digits

    residual = float(subject.residual2(digits()[:400]))
    ratio = float(subject.sigma2) / residual
    return 1.0, ratio, abs(math.log(ratio)), 0.1


@check("Adam's steps are those of its paper", "m̂ / (√v̂ + ε)", "adam")
def adam_is_that_of_the_paper(subject: Any) -> Measured:
    gradients = np.random.default_rng(9).normal(size=5) * 0.01
    m = v = w = 0.0
    exact = []
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        exact.append(w)
    return compared(exact, subject.adam(gradients, 0.1))


@check("its gradient check rejects what is 5 % wrong", "|a − n| <= 1e-6", "accepts")
def a_wrong_gradient_is_rejected(subject: Any) -> Measured:
    def f(x: Array) -> float:
        return float(np.sum(np.exp(x) + x**2))

    x = np.array([0.3, -0.8, 1.1])
    right = np.exp(x) + 2 * x
    verdicts = [subject.accepts(f, right * s, x) for s in (1.0, 1.05)]
    return compared([1.0, 0.0], [float(v) for v in verdicts])
