"""The variational autoencoder and beta-VAE.

    q(z|x) = N(mu(x), diag exp logvar(x)),   p(z) = N(0, I),   p(x|z) by the decoder
    loss = E_q[−log p(x|z)] + beta KL(q(z|x) ‖ p(z)),   beta = 1: the negative ELBO

Sources: Kingma & Welling 2014, eq. 10; Higgins et al. 2017, eq. 4.
"""

from __future__ import annotations

import math
from typing import Any

from minivae import nn
from minivae.backend import Array
from minivae.distributions import DiagGaussian, NoiseLike
from minivae.errors import UserError
from minivae.models.base import Autoencoder, LossTerms
from minivae.ops.losses import Reduction
from minivae.random import Noise
from minivae.tensor import Tensor


class VAE(Autoencoder):
    """A Gaussian code with a standard normal prior; one draw of z a step."""

    name = "vae"
    has_kl = True

    def add_heads(self, noise: Noise) -> None:
        """Add two linear layers: the mean and the log variance of the code."""
        self.mu = nn.Linear(self.hidden[-1], self.latent, noise)
        self.logvar = nn.Linear(self.hidden[-1], self.latent, noise)

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
        kl = q.kl(reduction)
        return LossTerms(recon + (warmth * self.beta) * kl, recon, kl)


class BetaVAE(VAE):
    """A VAE whose KL is multiplied by `beta`; a bound on log p(x) only for beta = 1."""

    name = "betavae"

    def __init__(
        self, shape: tuple[int, int, int], *args: Any, beta: float = 4.0, **options: Any
    ) -> None:
        if not beta >= 0 or not math.isfinite(beta):
            raise UserError(f"beta must not be negative or infinite: {beta}")
        super().__init__(shape, *args, **options)
        self.beta = beta

    def config(self) -> dict[str, Any]:
        """Return what it takes to build this model again, beta included."""
        return {**super().config(), "beta": self.beta}
