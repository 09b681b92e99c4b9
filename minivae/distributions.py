"""Distributions that know their parameters' meaning, and the likelihoods of decoders.

A pair (mu, logvar) is never passed around bare: `DiagGaussian` says that logvar is
log σ², and gives the standard deviation only under the name `std`.

Every distribution has `log_prob(z)`, in nats and summed over the event, and
`sample(noise)`. Those with a KL in closed form have `kl`; `kl_monte_carlo` estimates it
for any pair, with its standard error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from minivae import backend, ops
from minivae.backend import Array
from minivae.errors import UserError
from minivae.ops.losses import LOG_2PI, Reduction
from minivae.random import Noise
from minivae.tensor import Tensor, no_grad

NoiseLike = Noise | Array


class Density(Protocol):
    """What a KL can be estimated to."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density or probability of z, summed over the event's axes."""


def normal_noise(noise: NoiseLike, like: Tensor) -> Array:
    """Return standard normals of the shape, dtype and device of `like`.

    Noise given as an array may have axes in front: several draws for each code.
    """
    if isinstance(noise, Noise):
        noise = noise.normal(like.shape, like.dtype, like.data)
    return _fitting(noise, like)


def uniform_noise(noise: NoiseLike, like: Tensor) -> Array:
    """Return uniforms in (0, 1), otherwise as `normal_noise`."""
    if isinstance(noise, Noise):
        noise = noise.uniform(like.shape, like.dtype, like.data)
    return _fitting(noise, like)


def _fitting(noise: Array, like: Tensor) -> Array:
    if noise.shape[-like.ndim :] != like.shape:
        raise UserError(f"noise of shape {noise.shape} for a code of {like.shape}")
    return backend.xp_of(like.data).asarray(noise, dtype=like.dtype)


def _reduced(per_image: Tensor, reduction: Reduction) -> Tensor:
    return ops.mean(per_image) if reduction == "mean" else per_image


@dataclass(frozen=True)
class DiagGaussian:
    """N(mu, diag σ²) with logvar = log σ², tensors of (N, Z), or (N, C, H, W).

    `logvar` may broadcast against `mu`: one sigma for all pixels, or one for each.
    """

    mu: Tensor
    logvar: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean, under the name that every distribution has for it."""
        return self.mu

    @property
    def std(self) -> Tensor:
        """The standard deviation σ = exp(logvar / 2)."""
        return ops.exp(0.5 * self.logvar)

    @property
    def var(self) -> Tensor:
        """The variance σ² = exp(logvar)."""
        return ops.exp(self.logvar)

    def sample(self, noise: NoiseLike) -> Tensor:
        """Draw z = mu + σ ε; `noise` is ε itself or a `Noise` to draw it from."""
        return ops.reparameterize(self.mu, self.logvar, normal_noise(noise, self.mu))

    def kl(
        self, reduction: Reduction = "mean", prior: DiagGaussian | None = None
    ) -> Tensor:
        """KL from here to `prior` in nats, summed over latents.

        To N(0, 1), where no prior is given: ½ Σ mu² + σ² − 1 − log σ². To another
        Gaussian: the same, of the code measured in the prior's own units.
        """
        if prior is None:
            return ops.gaussian_kl(self.mu, self.logvar, reduction=reduction)
        mu, logvar = self.mu - prior.mu, self.logvar - prior.logvar
        scaled = mu**2 * ops.exp(-prior.logvar)
        terms = 0.5 * (scaled + (ops.expm1(logvar) - logvar))
        return _reduced(ops.sum(terms, axis=tuple(range(1, terms.ndim))), reduction)

    def kl_per_latent(self) -> Tensor:
        """The terms of the KL to N(0, 1), before they are summed: (N, Z)."""
        return 0.5 * (self.mu**2 + (ops.expm1(self.logvar) - self.logvar))

    def log_prob(self, z: Tensor | Array) -> Tensor:
        """Log density of z, summed over the axes of the event: (N,).

        z may have axes in front, several draws for each code: then (S, N).
        """
        terms = LOG_2PI + self.logvar + (z - self.mu) ** 2 * ops.exp(-self.logvar)
        return -0.5 * ops.sum(terms, axis=_event_axes(terms, self.mu))

    def copy(self) -> DiagGaussian:
        """Return the same distribution, which stays when parameters change."""
        mu, logvar = self.mu.data.copy(), self.logvar.data.copy()
        return DiagGaussian(Tensor(mu), Tensor(logvar))


def _event_axes(terms: Tensor, parameter: Tensor) -> tuple[int, ...]:
    """Return all axes but the batch's and those in front of it."""
    return tuple(range(terms.ndim - parameter.ndim + 1, terms.ndim))


def standard_normal(N: int, Z: int, dtype: Any = np.float32) -> DiagGaussian:
    """Return N(0, I) for a batch of N codes of Z latents."""
    zeros = Tensor(np.zeros((N, Z), dtype))
    return DiagGaussian(zeros, zeros)


@dataclass(frozen=True)
class Bernoulli:
    """Independent pixels, or latents, that are 1 with probability sigmoid(logits)."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The probability of a 1."""
        return ops.sigmoid(self.logits)

    def sample(self, noise: NoiseLike) -> Tensor:
        """Draw zeros and ones: 1 where a uniform is below the probability."""
        u = uniform_noise(noise, self.logits)
        drawn = u < self.mean.data  # uniforms are odd multiples of 2⁻²⁴: never 0
        return Tensor(drawn.astype(self.logits.dtype))

    def relaxed(self, noise: NoiseLike, temperature: float) -> Tensor:
        """Draw z = σ((logits + log u − log(1 − u)) / temperature), between 0 and 1.

        Colder is closer to 0/1. Source: Maddison, Mnih & Teh 2017, appendix B.
        """
        u = uniform_noise(noise, self.logits)
        xp = backend.xp_of(u)
        return ops.sigmoid((self.logits + (xp.log(u) - xp.log1p(-u))) / temperature)

    def log_prob(self, x: Tensor | Array) -> Tensor:
        """log p(x) of 0/1 data, summed over the event: (N,), or (S, N) of S draws."""
        x = x.data if isinstance(x, Tensor) else x
        if x.ndim > self.logits.ndim:
            logits = ops.broadcast_to(self.logits, shape=x.shape)
            event = x.shape[x.ndim - self.logits.ndim + 1 :]
            flat = ops.reshape(logits, shape=(-1, *event))
            nll = ops.bernoulli_nll(flat, x.reshape(-1, *event), reduction="none")
            return -ops.reshape(nll, shape=x.shape[: -len(event)])
        return -ops.bernoulli_nll(self.logits, x, reduction="none")

    def entropy_terms(self) -> Tensor:
        """−p log p − (1 − p) log(1 − p) of each element, exact at any logits."""
        size = ops.abs(self.logits)
        return size * ops.sigmoid(-size) + ops.softplus(-size)

    def kl(
        self, reduction: Reduction = "mean", prior: Bernoulli | None = None
    ) -> Tensor:
        """KL from here to `prior` (by default fair coins), summed over latents.

        Σ p log(p/p₀) + (1 − p) log((1 − p)/(1 − p₀)) = Σ −H(p) − p l₀ + log(1 + e^l₀),
        with l₀ the prior's logits.
        """
        terms = self.kl_per_latent(prior)
        return _reduced(ops.sum(terms, axis=tuple(range(1, terms.ndim))), reduction)

    def kl_per_latent(self, prior: Bernoulli | None = None) -> Tensor:
        """The terms of the KL before they are summed over latents: (N, Z)."""
        if prior is None:
            return math.log(2) - self.entropy_terms()
        cross = ops.softplus(prior.logits) - self.mean * prior.logits
        return cross - self.entropy_terms()


@dataclass(frozen=True)
class Mixture:
    """Σ_c w_c N(mu_c, diag exp logvar_c): weights softmax(logits) (C,), rest (C, Z).

    As a prior it has no KL in closed form: use `kl_monte_carlo`.
    """

    logits: Tensor
    mu: Tensor
    logvar: Tensor

    def log_prob(self, z: Tensor | Array) -> Tensor:
        """log Σ_c w_c N(z; c), over the last axis of z: (..., Z) to (...,)."""
        z = z if isinstance(z, Tensor) else Tensor(z)
        apart = ops.reshape(z, shape=(*z.shape[:-1], 1, z.shape[-1])) - self.mu
        terms = LOG_2PI + self.logvar + apart**2 * ops.exp(-self.logvar)
        weights = self.logits - ops.logsumexp(self.logits)
        return ops.logsumexp(weights - 0.5 * ops.sum(terms, axis=-1), axis=-1)

    def sample(self, n: int, noise: Noise) -> Tensor:
        """Draw n codes (n, Z), on the CPU: first which component, then from it."""
        weights = np.exp(self.logits.numpy().astype(np.float64))
        edges = np.cumsum(weights / weights.sum())[:-1]
        which = np.searchsorted(edges, noise.uniform((n,), np.float64))
        mu, std = self.mu.numpy()[which], np.exp(0.5 * self.logvar.numpy()[which])
        return Tensor(mu + std * noise.normal(mu.shape, mu.dtype))


class Estimate(NamedTuple):
    """A Monte-Carlo mean and its standard error, for each element of a batch."""

    value: Array
    error: Array


@no_grad()
def kl_monte_carlo(
    q: DiagGaussian | Bernoulli, prior: Density, noise: Noise, draws: int = 1000
) -> Estimate:
    """Estimate KL(q ‖ prior) = E_q[log q(z) − log prior(z)] by draws from q: (N,)."""
    if draws < 2:
        raise UserError(f"an estimate with its error needs 2 draws, not {draws}")
    values = []
    for _ in range(draws):
        z = q.sample(noise)
        terms = q.log_prob(z) - prior.log_prob(z)
        values.append(terms.numpy().astype(np.float64))
    drawn = np.stack(values)
    return Estimate(drawn.mean(axis=0), drawn.std(axis=0, ddof=1) / math.sqrt(draws))


Decoded = Tensor | DiagGaussian
"""What a decoder returns: logits, a mean image, or a mean with its logvar."""


@dataclass(frozen=True)
class Likelihood:
    """How a decoder's output is compared with an image.

    `recon` gives a number per image, in its `unit`; `mean` the image that is shown.
    `is_density` says whether it is −log of a normalised density: only then may there be
    talk of an ELBO.
    """

    name: str
    is_density: bool
    recon: Callable[..., Tensor]
    mean: Callable[[Any], Tensor]
    unit: str = "nats"


def _gaussian_recon(
    decoded: DiagGaussian, x: Array, reduction: Reduction = "mean"
) -> Tensor:
    return ops.gaussian_nll(decoded.mu, decoded.logvar, x, reduction=reduction)


def _itself(decoded: Tensor) -> Tensor:
    return decoded


LIKELIHOODS: dict[str, Likelihood] = {
    likelihood.name: likelihood
    for likelihood in (
        Likelihood("bernoulli", True, ops.bernoulli_nll, ops.sigmoid),
        Likelihood("soft_bce", False, ops.soft_bce, ops.sigmoid),
        Likelihood("gaussian", True, _gaussian_recon, lambda decoded: decoded.mu),
        Likelihood("squared_error", False, ops.squared_error, _itself, "squared error"),
    )
}


def likelihood_named(name: str) -> Likelihood:
    """Return a likelihood by name; raises `UserError` that lists the names."""
    if name not in LIKELIHOODS:
        raise UserError(f"no likelihood {name!r}; have {', '.join(LIKELIHOODS)}")
    return LIKELIHOODS[name]
