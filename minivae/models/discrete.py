"""A VAE with latents of 0 and 1, and four gradients of an expectation over them.

    q(z|x) = Π_j Bernoulli(σ(l_j(x))),    p(z) = fair coins
    loss = E_q[−log p(x|z)] + KL(q ‖ p),  the KL in closed form

There is no z = mu + sigma eps through which to differentiate the first term.
`estimator` chooses what is done instead, f(z) being −log p(x|z) and l the logits:

    exact             the sum over all 2^Z codes, up to 12 latents
    reinforce         f(z) ∂log q(z)/∂l: unbiased. Williams 1992. With the baseline two
                      draws, each less the other's f. Kool, van Hoof & Welling 2019
    straight_through  ∂f/∂z ∂σ(l)/∂l at a drawn z: biased. Bengio et al. 2013
    relaxed           z between 0 and 1 at a temperature: biased. Maddison et al. 2017
"""

from __future__ import annotations

import math
from typing import Any

from minivae import nn, ops
from minivae.backend import Array, xp_of
from minivae.distributions import Bernoulli, NoiseLike
from minivae.errors import UserError
from minivae.models.base import Autoencoder, LossTerms
from minivae.models.pairs import all_codes, pairwise_recon
from minivae.models.surrogate import held
from minivae.ops.losses import Reduction
from minivae.random import Noise
from minivae.tensor import Tensor

ESTIMATORS = ("exact", "reinforce", "straight_through", "relaxed")


class BernoulliVAE(Autoencoder):
    """A VAE with 0/1 latents; `reinforce` alone takes two draws of z a step."""

    name = "bernoullivae"
    has_kl = True

    def __init__(
        self,
        shape: tuple[int, int, int],
        *args: Any,
        estimator: str = "reinforce",
        baseline: bool = True,
        temperature: float = 0.5,
        **options: Any,
    ) -> None:
        if estimator not in ESTIMATORS:
            raise UserError(f"no estimator {estimator!r}; have {', '.join(ESTIMATORS)}")
        if not 0 < temperature < math.inf:
            raise UserError(f"the temperature must be positive, not {temperature}")
        super().__init__(shape, *args, **options)
        self.estimator, self.baseline = estimator, baseline
        self.temperature = temperature
        self.draws = 2 if estimator == "reinforce" and baseline else 1
        if estimator == "exact":
            all_codes(self.latent)

    def add_heads(self, noise: Noise) -> None:
        """Add one linear layer: the logits of the latents."""
        self.logits = nn.Linear(self.code_inputs, self.latent, noise)

    def use_likelihood(self, name: str) -> None:
        """Set the likelihood; squared error is refused, since it sets no scale."""
        if name == "squared_error":
            raise UserError("squared_error has no scale: use the likelihood gaussian")
        super().use_likelihood(name)

    def config(self) -> dict[str, Any]:
        """Return what it takes to build this model again."""
        names = ("estimator", "baseline", "temperature")
        return {**super().config(), **{name: getattr(self, name) for name in names}}

    def code_noise(self, noise: Noise, n: int) -> Array:
        """Draw what it takes to sample n codes once: uniforms (n, Z)."""
        return noise.uniform((n, self.latent), self.dtype)

    def step_inputs(self, x: Array, noise: Array) -> dict[str, Array]:
        """Return the images, and the uniforms that codes are drawn with."""
        return {"x": x, "u": noise}

    def encode(self, x: Tensor | Array, dropout: Noise | None = None) -> Bernoulli:
        """Return the approximate posterior q(z|x)."""
        return Bernoulli(self.logits(self.hidden_code(x, dropout)))

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) = −Z log 2, over the last axis."""
        return 0.0 * ops.sum(z, axis=-1) - math.log(2) * self.latent

    def sample(self, n: int, noise: NoiseLike) -> Array:
        """Decode n codes of fair coins to mean images."""
        if n < 1:
            raise UserError(f"cannot draw {n} samples")
        like = Bernoulli(Tensor(self.here([[0.0] * self.latent] * n)))
        return self.picture(like.sample(noise))

    def loss_terms(
        self,
        x: Tensor | Array,
        noise: NoiseLike | None = None,
        *,
        warmth: float = 1.0,
        dropout: Noise | None = None,
        reduction: Reduction = "mean",
    ) -> LossTerms:
        """Return the expected recon, or an estimate of it, and the exact KL.

        `noise` as an array holds uniforms, (N, Z), or (2, N, Z) with the baseline.
        """
        images: Array = self.here(x)
        q = self.encode(images, dropout)
        if isinstance(noise, Noise):
            noise = self.loss_noise(noise, len(images))
        if self.estimator == "exact":
            recon = self.expected_recon(images, q, dropout)
        elif noise is None:
            raise UserError("this loss needs noise: a Noise, or uniforms (N, Z)")
        elif self.estimator == "reinforce":
            recon = self._reinforce(images, q, noise, dropout)
        else:
            if self.estimator == "relaxed":
                z = q.relaxed(noise, self.temperature)
            else:
                z = held(q.sample(noise) - q.mean) + q.mean
            recon = self.recon(z, images, dropout, "none")
        recon = ops.mean(recon) if reduction == "mean" else recon
        kl = q.kl(reduction)
        return LossTerms(recon + warmth * kl, recon, kl)

    def expected_recon(
        self, x: Array, q: Bernoulli, dropout: Noise | None = None
    ) -> Tensor:
        """E_q[−log p(x|z)] of each image, by the sum over all codes: (N,)."""
        codes = xp_of(x).asarray(all_codes(self.latent), dtype=x.dtype)
        normaliser = ops.sum(ops.softplus(q.logits), axis=1, keepdims=True)
        log_q = ops.matmul(q.logits, codes.T) - normaliser
        decoded = self.decode(codes, dropout)
        pairs = pairwise_recon(self.likelihood, decoded, x)
        return ops.sum(ops.exp(log_q) * pairs, axis=1)

    def _reinforce(
        self, x: Array, q: Bernoulli, noise: Array, dropout: Noise | None
    ) -> Tensor:
        """The mean f of the draws, its gradient that of f ∂log q(z)."""
        draws = noise.reshape(-1, *q.logits.shape)
        codes = [q.sample(u) for u in draws]
        recons = [self.recon(z, x, dropout, "none") for z in codes]
        total: Any = 0.0
        for s, (z, f) in enumerate(zip(codes, recons, strict=True)):
            score = f
            if len(draws) > 1:
                others = [r for i, r in enumerate(recons) if i != s]
                score = f - sum(others[1:], others[0]) / len(others)
            log_q = q.log_prob(z)
            total = total + (f + held(score) * (log_q - held(log_q)))
        return total / len(draws)
