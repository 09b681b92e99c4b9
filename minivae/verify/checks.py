"""The checks of a VAE through the protocol: what each claims, and how it measures it.

A check sees a subject only through its parts. The exact number beside each is NumPy's
or SciPy's. Tolerances are relative to max(1, |exact|), and allow for float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from minivae.backend import Array
from minivae.errors import UserError
from minivae.gradcheck import Claim
from minivae.verify.protocol import Subject, check_parts

N = 12
RELATIVE = 1e-5
ERRORS = 4.5  # standard errors allowed to the worst of several numbers


@dataclass(frozen=True)
class Check:
    """A named check: which optional parts and which likelihood it needs."""

    name: str
    claim: str
    formula: str
    measure: Callable[[Any], tuple[float, float, float, float]]
    needs: tuple[str, ...]
    likelihood: str | None

    def applies(self, subject: Any) -> bool:
        """Whether the subject has what this check looks at."""
        has = all(hasattr(subject, part) for part in self.needs)
        return has and self.likelihood in (None, subject.likelihood)

    def __call__(self, subject: Any) -> Claim:
        """Measure; what a part raises is a failure, and told."""
        try:
            exact, measured, error, tolerance = self.measure(subject)
        except Exception as problem:  # a reader's class may raise anything
            text = f"{self.claim}: {type(problem).__name__}: {problem}"
            numbers = (math.nan, math.nan, math.nan, RELATIVE)
            return Claim.compare(self.name, text, *numbers, self.formula)
        return Claim.compare(
            self.name, self.claim, exact, measured, error, tolerance, self.formula
        )


CHECKS: dict[str, Check] = {}
Measured = tuple[float, float, float, float]


def check(
    claim: str, formula: str, *needs: str, likelihood: str | None = None
) -> Callable[[Callable[[Any], Measured]], Check]:
    """Register a function that returns exact, measured, error and tolerance."""

    def register(function: Callable[[Any], Measured]) -> Check:
        made = Check(function.__name__, claim, formula, function, needs, likelihood)
        CHECKS[made.name] = made
        return made

    return register


def judge(subject: Subject, only: str | None = None) -> Iterator[Claim]:
    """Yield the claims of all checks that apply to a subject, or of one.

    Raises `UserError` if a part is missing, or the one check does not apply.
    """
    check_parts(subject)
    if only is not None:
        if only not in CHECKS:
            raise UserError(f"no check {only!r}; have {', '.join(CHECKS)}")
        if not CHECKS[only].applies(subject):
            needs = ", ".join(CHECKS[only].needs) or CHECKS[only].likelihood
            raise UserError(f"{only} needs {needs}, which this model lacks")
    for found in CHECKS.values():
        if only in (None, found.name) and found.applies(subject):
            yield found(subject)


# What the checks are made of


def images(subject: Subject, n: int = N) -> Array:
    """Return images that fit the likelihood: 0/1, or anything."""
    rng = np.random.default_rng(0)
    if subject.likelihood == "bernoulli":
        return (rng.random((n, subject.pixels)) < 0.4).astype(np.float64)
    return 0.3 * rng.normal(size=(n, subject.pixels))


def gaussians(subject: Subject, n: int = N) -> tuple[Array, Array, Array]:
    """Return mu, logvar and eps, well away from 0."""
    rng = np.random.default_rng(1)
    shape = (n, subject.latent)
    return rng.normal(size=shape), 1.5 * rng.normal(size=shape), rng.normal(size=shape)


def closed_kl(mu: Array, logvar: Array) -> Array:
    """½ Σ mu² + e^logvar − 1 − logvar."""
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=1)


def log_density(subject: Any, decoded: Array, x: Array) -> Array:
    """log p(x|z) by SciPy."""
    if subject.likelihood == "bernoulli":
        on, off = special.log_expit(decoded), special.log_expit(-decoded)
        return (x * on + (1 - x) * off).sum(axis=1)
    scale = math.sqrt(subject.sigma2)
    return stats.norm.logpdf(x, decoded, scale).sum(axis=1)


def compared(exact: Any, measured: Any) -> Measured:
    """Compare numbers element by element; the worst counts."""
    e, m = (np.asarray(a, np.float64) for a in (exact, measured))
    if e.shape != m.shape:
        raise ValueError(f"returned {m.shape}, not {e.shape}")
    error = float((np.abs(m - e) / np.maximum(1, np.abs(e))).max())
    return float(e.mean()), float(m.mean()), error, RELATIVE


def within(exact: float, draws: Array) -> Measured:
    """Compare a mean of draws with what it must be, in standard errors."""
    error = float(draws.std(ddof=1) / math.sqrt(len(draws)))
    mean = float(draws.mean())
    off = abs(mean - exact) / max(error, 1e-12 * max(1.0, abs(exact)))
    return exact, mean, off, ERRORS


# Sampler and KL


@check("the draws of q have the variance exp(logvar)", "Var z = e^logvar")
def draws_have_the_variance(subject: Subject) -> Measured:
    mu, logvar, _ = gaussians(subject)
    up, down = (subject.sample(mu, logvar, np.full_like(mu, e)) for e in (1.0, -1.0))
    return compared(np.exp(logvar), (np.asarray(up) - np.asarray(down)) ** 2 / 4)


@check("the draws of q have the mean mu", "E z = mu")
def draws_have_the_mean(subject: Subject) -> Measured:
    mu, logvar, eps = gaussians(subject)
    up, down = (np.asarray(subject.sample(mu, logvar, e)) for e in (eps, -eps))
    return compared(mu, (up + down) / 2)


@check("the KL is the closed form, summed over latents", "½ Σ mu² + e^a − 1 − a")
def kl_is_the_closed_form(subject: Subject) -> Measured:
    mu, logvar, _ = gaussians(subject)
    return compared(closed_kl(mu, logvar), subject.kl(mu, logvar))


@check("E_q[log q − log p] over the sampler's draws is the KL", "E_q[log q − log p]")
def kl_is_that_of_the_draws(subject: Subject) -> Measured:
    mu, logvar, _ = gaussians(subject, 1)
    eps = np.random.default_rng(2).normal(size=(4000, subject.latent))
    mu, logvar = (np.repeat(a, len(eps), axis=0) for a in (mu, logvar))
    z = np.asarray(subject.sample(mu, logvar, eps), np.float64)
    log_q = stats.norm.logpdf(z, mu, np.exp(logvar / 2)).sum(axis=1)
    log_p = stats.norm.logpdf(z).sum(axis=1)
    return within(float(np.asarray(subject.kl(mu[:1], logvar[:1]))[0]), log_q - log_p)


@check("latents that are N(0, 1) under q cost nothing", "KL(q₁ q₂) = KL(q₁)")
def latents_at_the_prior_cost_nothing(subject: Subject) -> Measured:
    mu, logvar, _ = gaussians(subject)
    wider = [np.hstack([a, np.zeros_like(a)]) for a in (mu, logvar)]
    return compared(subject.kl(mu, logvar), subject.kl(*wider))


# The likelihood


@check("log p(x|z) is the log density, normaliser and all", "log p(x|z)")
def log_likelihood_is_the_density(subject: Subject) -> Measured:
    x = images(subject)
    decoded = 5 * np.random.default_rng(3).normal(size=x.shape)
    exact = log_density(subject, decoded, x)
    return compared(exact, subject.log_likelihood(decoded, x))


@check("twice the pixels have twice the log likelihood", "log p(x, x) = 2 log p(x)")
def tiled_pixels_count_twice(subject: Subject) -> Measured:
    x = images(subject)
    decoded = np.random.default_rng(3).normal(size=x.shape)
    once = np.asarray(subject.log_likelihood(decoded, x))
    twice = subject.log_likelihood(np.hstack([decoded] * 2), np.hstack([x] * 2))
    return compared(2 * once, twice)


@check(
    "where x = 0 a sure logit of 20 is still pushed down",
    "∂/∂l −log p(0) = σ(l)",
    likelihood="bernoulli",
)
def a_sure_logit_has_a_gradient(subject: Subject) -> Measured:
    x = np.zeros((2, subject.pixels))
    decoded = np.zeros_like(x)
    decoded[:, 0] = (20.5, 19.5)
    high, low = np.asarray(subject.log_likelihood(decoded, x), np.float64)
    exact = float(special.expit(20.0))
    return exact, low - high, abs(low - high - exact), 1e-3


@check(
    "grey pixels are refused: 0/1 is all it gives probability to",
    "Σ_{x in {0, 1}} p(x) = 1",
    likelihood="bernoulli",
)
def grey_pixels_are_refused(subject: Subject) -> Measured:
    grey = np.full((2, subject.pixels), 0.5)
    try:
        subject.log_likelihood(np.zeros_like(grey), grey)
    except ValueError:
        return 1.0, 1.0, 0.0, 0.0
    return 1.0, 0.0, 1.0, 0.0


@check("drawn images have the likelihood's mean", "E x = σ(l), or mu", "draw")
def draws_of_images_have_the_mean(subject: Any) -> Measured:
    decoded = np.tile(np.linspace(-2, 2, subject.pixels), (2000, 1))
    drawn = np.asarray(subject.draw(decoded, 0), np.float64)
    bernoulli = subject.likelihood == "bernoulli"
    exact = special.expit(decoded[0]) if bernoulli else decoded[0]
    variance = exact * (1 - exact) if bernoulli else subject.sigma2
    off = np.abs(drawn.mean(axis=0) - exact) / np.sqrt(variance / len(drawn))
    return float(exact.mean()), float(drawn.mean()), float(off.max()), ERRORS


# The identity of the linear model


@check(
    "in a linear model with its exact q every draw's weight is p(x)",
    "log p(x|z) + log p(z) − log q(z|x) = log p(x)",
    likelihood="gaussian",
)
def bayes_identity(subject: Any) -> Measured:
    rng = np.random.default_rng(4)
    k, D, s2 = subject.latent, subject.pixels, float(subject.sigma2)
    W = np.linalg.qr(rng.normal(size=(D, k)))[0] * np.linspace(1, 2, k)
    x = images(subject)
    M = (W**2).sum(axis=0) + s2
    mu, logvar = x @ W / M, np.tile(np.log(s2 / M), (len(x), 1))
    eps = rng.normal(size=mu.shape)
    z = np.asarray(subject.sample(mu, logvar, eps), np.float64)
    log_px = np.asarray(subject.log_likelihood(z @ W.T, x))
    log_q = -0.5 * (math.log(2 * math.pi) + logvar + eps**2).sum(axis=1)
    weights = log_px + stats.norm.logpdf(z).sum(axis=1) - log_q
    covariance = W @ W.T + s2 * np.eye(D)
    exact = stats.multivariate_normal(np.zeros(D), covariance).logpdf(x)
    return compared(exact, weights)


# The loss


def batch(subject: Subject) -> tuple[Array, Array]:
    """Return images and noise."""
    return images(subject), gaussians(subject)[2]


@check("the loss's recon is −log p(x|z) at the drawn z", "recon = −log p(x|z)")
def recon_is_that_of_the_parts(subject: Subject) -> Measured:
    x, eps = batch(subject)
    z = subject.sample(*subject.encode(x), eps)
    exact = -log_density(subject, np.asarray(subject.decode(z), np.float64), x)
    return compared(exact.mean(), subject.loss(x, eps)[1])


@check("the loss's kl is the closed form of its q", "kl = KL(q(z|x) ‖ p)")
def kl_is_that_of_the_parts(subject: Subject) -> Measured:
    x, eps = batch(subject)
    mu, logvar = (np.asarray(a, np.float64) for a in subject.encode(x))
    return compared(closed_kl(mu, logvar).mean(), subject.loss(x, eps)[2])


@check("the loss is recon + beta kl", "loss = recon + beta kl")
def loss_is_recon_plus_beta_kl(subject: Any) -> Measured:
    loss, recon, kl = subject.loss(*batch(subject))
    return compared(recon + getattr(subject, "beta", 1.0) * kl, loss)


@check("the loss's slope by beta is the KL", "∂loss/∂beta = kl", "beta")
def slope_by_beta_is_the_kl(subject: Any) -> Measured:
    x, eps = batch(subject)
    before = subject.beta
    low, _, kl = subject.loss(x, eps)
    subject.beta = before + 1.0
    try:
        high = subject.loss(x, eps)[0]
    finally:
        subject.beta = before
    return compared(kl, high - low)


@check("the same images twice have the same loss", "a mean over the batch")
def duplicated_batch_has_the_same_loss(subject: Subject) -> Measured:
    x, eps = batch(subject)
    twice = subject.loss(np.vstack([x, x]), np.vstack([eps, eps]))
    return compared(subject.loss(x, eps), twice)


@check(
    "training and validation have one loss",
    "loss(train) = loss(val)",
    "validation_loss",
)
def validation_has_the_loss_of_training(subject: Any) -> Measured:
    x, eps = batch(subject)
    return compared(subject.loss(x, eps), subject.validation_loss(x, eps))


@check("an image is encoded alike in any company", "q(z|x) does not depend on x'")
def encoded_alike_in_any_company(subject: Subject) -> Measured:
    x = images(subject)
    alone = [np.asarray(a) for a in subject.encode(x[:1])]
    among = [np.asarray(a)[:1] for a in subject.encode(x)]
    return compared(np.hstack(alone), np.hstack(among))


@check(
    "what is logged adds up, and the KL is not negative", "loss, recon, kl", "log_line"
)
def the_log_adds_up(subject: Any) -> Measured:
    x, eps = batch(subject)
    line = subject.log_line(x, eps)
    mu, logvar = (np.asarray(a, np.float64) for a in subject.encode(x))
    kl = closed_kl(mu, logvar).mean()
    beta = getattr(subject, "beta", 1.0)
    exact = [line["recon"] + beta * kl, kl]
    return compared(exact, [line["loss"], line["kl"]])
