"""The variational autoencoder and beta-VAE.

    q(z|x) = N(mu(x), diag exp logvar(x)),   p(z) = N(0, I),   p(x|z) by the decoder
    loss = E_q[−log p(x|z)] + beta KL(q(z|x) ‖ p(z)),   beta = 1: the negative ELBO

Sources: Kingma & Welling 2014, eq. 10; Higgins et al. 2017, eq. 4.
"""

from __future__ import annotations

import math
from typing import Any

from minivae import nn, ops
from minivae.backend import Array
from minivae.distributions import DiagGaussian, NoiseLike
from minivae.errors import UserError
from minivae.models.base import Autoencoder, LossTerms
from minivae.ops.losses import LOG_2PI, Reduction
from minivae.random import Noise
from minivae.tensor import Tensor


class VAE(Autoencoder):
    """A Gaussian code with a standard normal prior; one draw of z a step."""

    name = "vae"
    has_kl = True

    def add_heads(self, noise: Noise) -> None:
        """Add two linear layers: the mean and the log variance of the code."""
        self.mu = nn.Linear(self.code_inputs, self.latent, noise)
        self.logvar = nn.Linear(self.code_inputs, self.latent, noise)

    def use_likelihood(self, name: str) -> None:
        """Set the likelihood; squared error is refused, since it sets no scale."""
        if name == "squared_error":
            raise UserError(
                "squared_error has no scale, so a VAE could not weigh it against the "
                "KL: use the likelihood gaussian, which learns its sigma"
            )
        super().use_likelihood(name)

    def encode(self, x: Tensor | Array, dropout: Noise | None = None) -> DiagGaussian:
        """Return the approximate posterior q(z|x)."""
        h = self.hidden_code(x, dropout)
        return DiagGaussian(self.mu(h), self.logvar(h))

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) = log N(z; 0, I), over the last axis."""
        return -0.5 * ops.sum(LOG_2PI + z**2, axis=-1)

    def loss_terms(
        self,
        x: Tensor | Array,
        noise: NoiseLike | None = None,
        *,
        warmth: float = 1.0,
        dropout: Noise | None = None,
        reduction: Reduction = "mean",
    ) -> LossTerms:
        """Return recon at one draw of z, the KL in closed form, and their sum."""
        if noise is None:
            raise UserError("a VAE's loss needs noise: a Noise, or an array (N, Z)")
        x = self.here(x)
        q = self.encode(x, dropout)
        z = q.sample(noise)
        recon = self.recon(z, x, dropout, reduction)
        return self.weigh(recon, q, z, warmth, reduction)

    def weigh(
        self,
        recon: Tensor,
        q: DiagGaussian,
        z: Tensor,
        warmth: float,
        reduction: Reduction,
    ) -> LossTerms:
        """Put recon and the KL together."""
        kl = q.kl(reduction)
        return LossTerms(recon + (warmth * self.beta) * kl, recon, kl)


class BetaVAE(VAE):
    """A VAE whose KL is multiplied by `beta`; with beta < 1 no bound on log p(x).

    Two other ways to weigh the KL, each a mean over images of a term of each image, so
    that the loss does not depend on which images share a batch:

    free_bits λ    recon + beta Σ_j max(λ, KL_j): no latent is pressed below λ nats.
                   Kingma et al. 2016, eq. 15, who take the batch's mean of KL_j.
    capacity C     recon + gamma |KL − C|: the code is to carry C nats, which rise
                   from 0 over the warm-up. Burgess et al. 2018, eq. 8.
    """

    name = "betavae"

    def __init__(
        self,
        shape: tuple[int, int, int],
        *args: Any,
        beta: float = 4.0,
        free_bits: float = 0.0,
        capacity: float | None = None,
        gamma: float = 1000.0,
        **options: Any,
    ) -> None:
        weights = {"beta": beta, "free_bits": free_bits, "gamma": gamma}
        if capacity is not None:
            weights["capacity"] = capacity
            if free_bits:
                raise UserError("give capacity or free_bits, not both")
        for name, value in weights.items():
            if not value >= 0 or not math.isfinite(value):
                raise UserError(f"{name} must not be negative or infinite: {value}")
        super().__init__(shape, *args, **options)
        self.beta, self.free_bits = beta, free_bits
        self.capacity, self.gamma = capacity, gamma

    def config(self) -> dict[str, Any]:
        """Return what it takes to build this model again, the weights included."""
        names = ("beta", "free_bits", "capacity", "gamma")
        return {**super().config(), **{name: getattr(self, name) for name in names}}

    @property
    def objective_formula(self) -> str | None:
        """How the KL is weighed, where it is not by beta alone."""
        if self.capacity is not None:
            return f"recon + {self.gamma:g} |KL − {self.capacity:g}|"
        if self.free_bits:
            return f"recon + {self.beta:g} Σ max({self.free_bits:g}, KLⱼ)"
        return None

    def weigh(
        self,
        recon: Tensor,
        q: DiagGaussian,
        z: Tensor,
        warmth: float,
        reduction: Reduction,
    ) -> LossTerms:
        """Put recon and the weighed KL together."""
        if self.capacity is None and not self.free_bits:
            return super().weigh(recon, q, z, warmth, reduction)
        if self.capacity is not None:
            each = q.kl("none")
            kl = _mean_if(reduction, each)
            now, then = (
                _mean_if(reduction, self.gamma * ops.abs(each - target))
                for target in (warmth * self.capacity, self.capacity)
            )
        else:
            latents = q.kl_per_latent()
            kl = _mean_if(reduction, ops.sum(latents, axis=1))
            held_up = ops.sum(ops.maximum(latents, self.free_bits), axis=1)
            then = self.beta * _mean_if(reduction, held_up)
            now = warmth * then
        return LossTerms(recon + now, recon, kl, recon + then)


def _mean_if(reduction: Reduction, per_image: Tensor) -> Tensor:
    return ops.mean(per_image) if reduction == "mean" else per_image
