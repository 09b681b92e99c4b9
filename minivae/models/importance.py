"""The importance-weighted autoencoder, and a VAE with a mixture for its prior.

    L_k = E log (1/k) Σ_s w_s,    w_s = p(x|z_s) p(z_s) / q(z_s|x),    z_s ~ q(z|x)

L_1 is the ELBO, L_k <= L_{k+1} <= log p(x). Source: Burda, Grosse & Salakhutdinov 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae import ops
from minivae.backend import Array, xp_of
from minivae.distributions import DiagGaussian, Mixture, NoiseLike
from minivae.errors import UserError
from minivae.models.base import LossTerms
from minivae.models.surrogate import held
from minivae.models.vae import VAE
from minivae.ops.losses import Reduction
from minivae.random import Noise
from minivae.tensor import Parameter, Tensor

MOST_SAMPLES = 10_000  # of the bound that a training takes


class IWAE(VAE):
    """A VAE trained on the bound L_k of `samples` draws an image.

    With `sticking`, q's parameters stand still in log q(z|x): what is left out is the
    score, whose mean is 0 for one draw, and the gradient's variance vanishes where q is
    the posterior (Roeder, Wu & Duvenaud 2017). For several draws it is biased (Tucker
    et al. 2019). `recon` is the mean over the draws, `kl` the closed form: neither is a
    part of the loss.
    """

    name = "iwae"

    def __init__(
        self,
        shape: tuple[int, int, int],
        *args: Any,
        samples: int = 5,
        sticking: bool = False,
        **options: Any,
    ) -> None:
        if not 1 <= samples <= MOST_SAMPLES:
            raise UserError(
                f"the bound takes at least one draw of z, at most {MOST_SAMPLES:,}, "
                f"not {samples}"
            )
        super().__init__(shape, *args, **options)
        self.samples = self.draws = samples
        self.sticking = sticking

    def config(self) -> dict[str, Any]:
        """Return what it takes to build this model again."""
        own = {"samples": self.samples, "sticking": self.sticking}
        return {**super().config(), **own}

    @property
    def objective_formula(self) -> str | None:
        """The bound, by its number of draws."""
        return f"−IWAE-{self.samples}"

    def loss_terms(
        self,
        x: Tensor | Array,
        noise: NoiseLike | None = None,
        *,
        warmth: float = 1.0,
        dropout: Noise | None = None,
        reduction: Reduction = "mean",
    ) -> LossTerms:
        """Return −L_k as the loss; `noise` as an array is (k, N, Z), or (N, Z)."""
        if noise is None:
            raise UserError("an IWAE's loss needs noise: a Noise, or (k, N, Z)")
        images: Array = self.here(x)
        q = self.encode(images, dropout)
        if isinstance(noise, Noise):
            noise = self.loss_noise(noise, len(images))
        z = q.sample(noise.reshape(-1, *q.mu.shape))
        recon, ratio = self.weight_terms(images, q, z, dropout)

        def bound(weight: float) -> Tensor:
            log_w = ops.transpose(-recon - weight * ratio)
            per_image = ops.logmeanexp(log_w)
            return -(ops.mean(per_image) if reduction == "mean" else per_image)

        each = ops.mean(recon, axis=0)
        shown = ops.mean(each) if reduction == "mean" else each
        loss = bound(warmth)
        objective = loss if warmth == 1 else bound(1.0)
        return LossTerms(loss, shown, q.kl(reduction), objective)

    def weight_terms(
        self, x: Array, q: DiagGaussian, z: Tensor, dropout: Noise | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return −log p(x|z) and log q(z|x) − log p(z) of draws z (k, N, Z): (k, N)."""
        k, N, Z = z.shape
        repeated = xp_of(x).broadcast_to(x, (k, *x.shape)).reshape(k * N, *x.shape[1:])
        flat = ops.reshape(z, shape=(k * N, Z))
        recon = self.recon(flat, repeated, dropout, "none")
        density = DiagGaussian(held(q.mu), held(q.logvar)) if self.sticking else q
        ratio = density.log_prob(z) - self.log_prior(z)
        return ops.reshape(recon, shape=(k, N)), ratio


class MixtureVAE(VAE):
    """A VAE whose prior is a learned mixture of two Gaussians.

    The KL to a mixture has no closed form: log q(z|x) − log p(z) at the draw of the
    step stands for it, whose mean it is.
    """

    name = "mixturevae"
    COMPONENTS = 2

    def add_heads(self, noise: Noise) -> None:
        """Add the heads of q, and the prior: its components start one unit off 0."""
        super().add_heads(noise)
        C, Z = self.COMPONENTS, self.latent
        signs = np.where(np.arange(Z) % 2, -1, 1).astype(np.float32)
        self.prior_logits = Parameter(np.zeros(C, np.float32))
        self.prior_mu = Parameter(np.stack([signs, -signs]))
        self.prior_logvar = Parameter(np.zeros((C, Z), np.float32))

    @property
    def prior(self) -> Mixture:
        """The prior over codes."""
        return Mixture(self.prior_logits, self.prior_mu, self.prior_logvar)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) under the mixture."""
        return self.prior.log_prob(z)

    def weigh(
        self,
        recon: Tensor,
        q: DiagGaussian,
        z: Tensor,
        warmth: float,
        reduction: Reduction,
    ) -> LossTerms:
        """Put recon and the KL's estimate at z together."""
        each = q.log_prob(z) - self.log_prior(z)
        kl = ops.mean(each) if reduction == "mean" else each
        return LossTerms(recon + warmth * kl, recon, kl)

    def sample(self, n: int, noise: NoiseLike) -> Array:
        """Decode n draws of the mixture to mean images; takes a `Noise`."""
        if n < 1:
            raise UserError(f"cannot draw {n} samples")
        if not isinstance(noise, Noise):
            raise UserError("drawing from a mixture takes a Noise, not an array")
        return self.picture(self.prior.sample(n, noise).numpy())
