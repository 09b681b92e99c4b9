"""Distributions that know their parameters' meaning, and the likelihoods of decoders.

A pair (mu, logvar) is never passed around bare: `DiagGaussian` says that logvar is
log σ², and gives the standard deviation only under the name `std`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minivae import backend, ops
from minivae.backend import Array
from minivae.errors import UserError
from minivae.ops.losses import LOG_2PI, Reduction
from minivae.random import Noise
from minivae.tensor import Tensor

NoiseLike = Noise | Array


def normal_noise(noise: NoiseLike, like: Tensor) -> Array:
    """Return standard normals of the shape, dtype and device of `like`.

    Noise given as an array may have axes in front: several draws for each code.
    """
    if isinstance(noise, Noise):
        noise = noise.normal(like.shape, like.dtype, like.data)
    elif noise.shape[-like.ndim :] != like.shape:
        raise UserError(f"noise of shape {noise.shape} for a code of {like.shape}")
    return backend.xp_of(like.data).asarray(noise, dtype=like.dtype)


@dataclass(frozen=True)
class DiagGaussian:
    """N(mu, diag σ²) with logvar = log σ², both tensors of shape (N, Z)."""

    mu: Tensor
    logvar: Tensor

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

    def kl(self, reduction: Reduction = "mean") -> Tensor:
        """KL from here to N(0, 1) in nats: ½ Σ mu² + σ² − 1 − log σ² over latents."""
        return ops.gaussian_kl(self.mu, self.logvar, reduction=reduction)

    def kl_per_latent(self) -> Tensor:
        """The terms of the KL before they are summed over latents: (N, Z)."""
        return 0.5 * (self.mu**2 + (ops.expm1(self.logvar) - self.logvar))

    def log_prob(self, z: Tensor | Array) -> Tensor:
        """Log density of z, summed over all axes but the first: (N,)."""
        terms = LOG_2PI + self.logvar + (z - self.mu) ** 2 / self.var
        return -0.5 * ops.sum(terms, axis=tuple(range(1, terms.ndim)))


@dataclass(frozen=True)
class Bernoulli:
    """Independent pixels that are 1 with probability sigmoid(logits)."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The probability of a 1."""
        return ops.sigmoid(self.logits)

    def sample(self, noise: Noise) -> Tensor:
        """Draw 0/1 pixels."""
        u = noise.uniform(self.logits.shape, like=self.logits.data)
        return Tensor((u < self.mean.data).astype(self.logits.dtype))

    def log_prob(self, x: Array) -> Tensor:
        """log p(x) of 0/1 data, summed over pixels: (N,)."""
        return -ops.bernoulli_nll(self.logits, x, reduction="none")


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
