"""A model of this project, judged as any other: its parts as functions of arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae import ops
from minivae.backend import Array
from minivae.distributions import Bernoulli, DiagGaussian
from minivae.evaluate.bounds import draw, importance_bound
from minivae.models import BetaVAE
from minivae.random import Noise, Stream
from minivae.tensor import Tensor, no_grad
from minivae.train import evaluation_noise


class OfModel:
    """A VAE with Gaussian latents behind the protocol."""

    def __init__(self, model: BetaVAE) -> None:
        self.model = model
        self.pixels, self.latent = math.prod(model.shape), model.latent
        self.likelihood = model.likelihood.name

    beta = property(
        lambda self: self.model.beta, lambda self, b: setattr(self.model, "beta", b)
    )

    @property
    def sigma2(self) -> float:
        """The decoder's variance."""
        return math.exp(float(self.model.sigma_logvar.numpy()))

    def images(self, x: Array) -> Array:
        """Give rows of pixels the shape of images."""
        return x.reshape(len(x), *self.model.shape)

    @no_grad()
    def encode(self, x: Array) -> tuple[Array, Array]:
        """Return mu and logvar."""
        q = self.model.encode(self.images(x))
        return q.mu.numpy(), q.logvar.numpy()

    @no_grad()
    def sample(self, mu: Array, logvar: Array, eps: Array) -> Array:
        """Return z."""
        return DiagGaussian(Tensor(mu), Tensor(logvar)).sample(eps).numpy()

    @no_grad()
    def decode(self, z: Array) -> Array:
        """Return logits or means."""
        decoded = self.model.decode(z)
        decoded = decoded.mu if isinstance(decoded, DiagGaussian) else decoded
        return decoded.numpy().reshape(len(z), -1)

    @no_grad()
    def log_likelihood(self, decoded: Array, x: Array) -> Array:
        """Return log p(x|z), by the ops of the likelihood."""
        if self.likelihood == "bernoulli":
            return -ops.bernoulli_nll(decoded, x, reduction="none").numpy()
        logvar = np.asarray(math.log(self.sigma2))
        return -ops.gaussian_nll(decoded, logvar, x, reduction="none").numpy()

    @no_grad()
    def kl(self, mu: Array, logvar: Array) -> Array:
        """Return the KL to N(0, I)."""
        return DiagGaussian(Tensor(mu), Tensor(logvar)).kl("none").numpy()

    @no_grad()
    def loss(self, x: Array, eps: Array) -> tuple[float, float, float]:
        """Return loss, recon and kl of a batch."""
        loss, recon, kl, _ = self.model.loss_terms(self.images(x), eps)
        assert kl is not None
        return loss.item(), recon.item(), kl.item()

    @no_grad()
    def neg_elbo(self, x: Array, batch: int) -> float:
        """Return the mean −ELBO under the evaluation noise, by batches."""
        images, total = self.images(x), 0.0
        for start in range(0, len(x), batch):
            part = images[start : start + batch]
            noise = evaluation_noise(self.model, start, len(part), 0)
            terms = self.model.loss_terms(part, noise, reduction="none")
            assert terms.kl is not None
            total += float((terms.recon.numpy() + terms.kl.numpy()).sum())
        return total / len(x)

    def iwae(self, x: Array, k: int, seed: int) -> Array:
        """Return L_k of each image; the seed chooses among the evaluation's draws."""
        drawn = draw(self.model, self.images(x), k, first=seed * 1_000_003)
        return importance_bound(drawn.log_w, k)

    def draw(self, decoded: Array, seed: int) -> Array:
        """Return an image drawn from the likelihood."""
        noise: Any = Noise(seed, Stream.PRIOR)
        if self.likelihood == "bernoulli":
            return Bernoulli(Tensor(decoded)).sample(noise).numpy()
        logvar = Tensor(np.asarray(math.log(self.sigma2)))
        return DiagGaussian(Tensor(decoded), logvar).sample(noise).numpy()

    def embed(self, x: Array) -> Array:
        """Return mean codes."""
        return self.model.embed(self.images(x))

    def prior(self, n: int, seed: int) -> Array:
        """Return the codes that `sample` decodes."""
        return self.model.code_noise(Noise(seed, Stream.PRIOR), n)
