"""The one small experiment of the bug museum, done right.

A linear VAE with a Gaussian likelihood on 400 digits, whose ELBO is known in closed
form; where a mistake needs pixels of 0 and 1, a small nonlinear one with two latents,
whose ELBO is known by a product rule. The first group of methods is what it is made of,
on tensors; the rest is the protocol of `minivae.verify.protocol`, made from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special

from minivae import models, ops
from minivae.backend import Array
from minivae.distributions import DiagGaussian
from minivae.ops.losses import LOG_2PI
from minivae.optim import Adam
from minivae.random import Noise, Stream
from minivae.tensor import Tensor, no_grad
from minivae.verify.exact import binary_digits, digits

TRAIN, TEST = slice(0, 400), slice(400, 700)
STEPS, LR, POINTS = 300, 0.03, 12


class Experiment:
    """Model, loss, sampler, training loop, evaluation and estimators."""

    pixels = 64
    latent = 5
    likelihood = "gaussian"
    beta: float = 1.0
    sigma: str | float = "shared"
    hidden: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.net: Any = models.build(
            "vae",
            shape=(1, 8, 8),
            latent=self.latent,
            hidden=self.hidden,
            activation="tanh",
            likelihood=self.likelihood,
            sigma=self.sigma,
            seed=1,
        ).to(dtype=np.float64)
        self.curve: list[tuple[float, float]] = []  # reported and true −ELBO

    # What it is made of

    def posterior(self, x: Array) -> DiagGaussian:
        """q(z|x) of images (N, pixels)."""
        return self.net.encode(x.reshape(-1, 1, 8, 8))

    def draw_z(self, mu: Tensor, logvar: Tensor, eps: Array) -> Tensor:
        """The sampler: z = mu + e^(logvar/2) eps."""
        return ops.reparameterize(mu, logvar, eps)

    def divergence(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """KL(q ‖ N(0, I)) of each image."""
        return ops.gaussian_kl(mu, logvar, reduction="none")

    def nll(self, decoded: Tensor, x: Array) -> Tensor:
        """−log p(x|z) of each image."""
        return ops.gaussian_nll(decoded, self.logvar_x(), x, reduction="none")

    def objective(self, recon: Tensor, kl: Tensor) -> Tensor:
        """The loss of a batch from its images' terms."""
        return ops.mean(recon) + self.beta * ops.mean(kl)

    def logvar_x(self) -> Tensor:
        """log σ² of the pixels."""
        return self.net.sigma_logvar

    def generate(self, z: Tensor) -> Tensor:
        """The decoder: means or logits, (N, pixels)."""
        flat = self.net.decoder(z)
        return ops.reshape(flat, shape=(len(flat.data), self.pixels))

    def terms(self, x: Array, eps: Array) -> tuple[Tensor, Tensor, Tensor]:
        """loss, and each image's recon and KL."""
        q = self.posterior(x)
        recon = self.nll(self.generate(self.draw_z(q.mu, q.logvar, eps)), x)
        kl = self.divergence(q.mu, q.logvar)
        return self.objective(recon, kl), recon, kl

    def data(self) -> Array:
        """The images, in order."""
        return digits()

    def train(self, images: Array | None = None) -> None:
        """Train on all of the training images at once; keep the two curves."""
        x = self.data()[TRAIN] if images is None else images
        optimizer, noise = Adam(self.net.parameters(), LR), Noise(0, Stream.LATENT)
        for step in range(STEPS):
            if step % (STEPS // POINTS) == 0:
                self.curve.append((self.neg_elbo(x, len(x)), self.truth(x)))
            optimizer.zero_grad()
            eps = noise.normal((len(x), self.latent), np.float64)
            self.terms(x, eps)[0].backward()
            optimizer.step()

    # The truth, by NumPy

    def truth(self, x: Array) -> float:
        """The mean −ELBO, from what the encoder says and the decoder's weights."""
        mu, logvar = self.encode_plainly(x)
        state = self.net.state()
        W, m = state["decoder.0.weight"], state["decoder.0.bias"]
        s2 = self.sigma2
        squares = ((x - m - mu @ W.T) ** 2).sum(axis=1)
        squares += np.exp(logvar) @ (W**2).sum(axis=0)
        recon = 0.5 * (self.pixels * (LOG_2PI + math.log(s2)) + squares / s2)
        kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=1)
        return float((recon + kl).mean())

    def encode_plainly(self, x: Array) -> tuple[Array, Array]:
        """What q is for the truth: what `encode` says."""
        return self.encode(x)

    # The protocol

    @property
    def sigma2(self) -> float:
        """The variance of the pixels."""
        return math.exp(float(self.net.sigma_logvar.numpy()))

    @no_grad()
    def encode(self, x: Array) -> tuple[Array, Array]:
        """Return mu and logvar."""
        q = self.posterior(x)
        return q.mu.numpy(), q.logvar.numpy()

    @no_grad()
    def sample(self, mu: Array, logvar: Array, eps: Array) -> Array:
        """Return z."""
        return self.draw_z(Tensor(mu), Tensor(logvar), eps).numpy()

    @no_grad()
    def decode(self, z: Array) -> Array:
        """Return means or logits."""
        return self.generate(Tensor(z)).numpy()

    @no_grad()
    def log_likelihood(self, decoded: Array, x: Array) -> Array:
        """Return log p(x|z) of each image."""
        return -self.nll(Tensor(decoded), x).numpy()

    @no_grad()
    def kl(self, mu: Array, logvar: Array) -> Array:
        """Return the KL of each image."""
        return self.divergence(Tensor(mu), Tensor(logvar)).numpy()

    @no_grad()
    def loss(self, x: Array, eps: Array) -> tuple[float, float, float]:
        """Return loss, recon and kl, means over the batch."""
        loss, recon, kl = self.terms(x, eps)
        return loss.item(), float(recon.numpy().mean()), float(kl.numpy().mean())

    def validation_loss(self, x: Array, eps: Array) -> tuple[float, float, float]:
        """Return the same of a validation batch."""
        return self.loss(x, eps)

    def log_line(self, x: Array, eps: Array) -> dict[str, float]:
        """Return what is logged of a batch."""
        loss, recon, kl = self.loss(x, eps)
        return {"loss": loss, "recon": recon, "kl": kl}

    def each(self, x: Array, first: int) -> Array:
        """The −ELBO of each image at one draw, its noise chosen by its number."""
        mu, logvar = self.encode(x)
        position = first * self.latent
        eps = Noise(0, Stream.EVALUATE, position).normal(mu.shape, np.float64)
        decoded = self.decode(self.sample(mu, logvar, eps))
        return self.kl(mu, logvar) - self.log_likelihood(decoded, x)

    def neg_elbo(self, x: Array, batch: int) -> float:
        """Return the mean −ELBO over a data set."""
        total = 0.0
        for start in range(0, len(x), batch):
            total += float(self.each(x[start : start + batch], start).sum())
        return total / len(x)

    def log_weights(self, x: Array, k: int, seed: int) -> Array:
        """log p(x, z) − log q(z|x) of k draws of each image: (k, N)."""
        mu, logvar = self.encode(x)
        noise = Noise(seed, Stream.CHECK)
        found = np.empty((k, len(x)))
        for s in range(k):
            eps = noise.normal(mu.shape, np.float64)
            z = self.sample(mu, logvar, eps)
            ratio = 0.5 * (z**2 - eps**2 - logvar).sum(axis=1)
            found[s] = self.log_likelihood(self.decode(z), x) - ratio
        return found

    def iwae(self, x: Array, k: int, seed: int) -> Array:
        """Return the bound of k draws on log p(x), of each image."""
        return special.logsumexp(self.log_weights(x, k, seed), axis=0) - math.log(k)

    def draw(self, decoded: Array, seed: int) -> Array:
        """Return images drawn from the likelihood."""
        noise = Noise(seed, Stream.PRIOR).normal(decoded.shape, np.float64)
        return decoded + math.sqrt(self.sigma2) * noise

    def embed(self, x: Array) -> Array:
        """Return the codes that stand for images."""
        return self.encode(x)[0]

    def prior(self, n: int, seed: int) -> Array:
        """Return codes to generate from."""
        return Noise(seed, Stream.PRIOR).normal((n, self.latent), np.float64)

    def active_units(self, means: Array) -> int:
        """Return how many latents say anything."""
        return int((means.var(axis=0) > 0.01).sum())

    def log_densities(self, mu: Array, logvar: Array, z: Array) -> Array:
        """log q(z_ij | x_n) of every latent: (i, n, j)."""
        apart = (z[:, None] - mu) ** 2 * np.exp(-logvar)
        return -0.5 * (LOG_2PI + logvar + apart)

    def total_correlation(self, mu: Array, logvar: Array, z: Array) -> float:
        """Return E log q(z) − Σ_j log q(z_j) over all the data."""
        terms, log_n = self.log_densities(mu, logvar, z), math.log(len(mu))
        joint = special.logsumexp(terms.sum(axis=2), axis=1) - log_n
        each = (special.logsumexp(terms, axis=1) - log_n).sum(axis=1)
        return float((joint - each).mean())

    def information(self, code: Array, factor: Array) -> float:
        """The mutual information of two arrays of whole numbers, in nats."""
        joint = np.histogram2d(code, factor, bins=(20, len(np.unique(factor))))[0]
        p = joint / joint.sum()
        apart = special.rel_entr(p, np.outer(p.sum(axis=1), p.sum(axis=0)))
        return float(apart.sum())

    def columns(self, codes: Array) -> Sequence[Array]:
        """The latents of codes (N, Z), one after another."""
        return list(codes.T)

    def mig(self, codes: Array, factors: Array) -> float:
        """Return the mutual information gap. Chen et al. 2018, eq. 6."""
        gaps = []
        for factor in factors.T:
            found = sorted(self.information(c, factor) for c in self.columns(codes))
            entropy = self.information(factor, factor)
            gaps.append((found[-1] - found[-2]) / entropy)
        return float(np.mean(gaps))

    def warmth(self, steps: int, evaluations: int, length: int) -> float:
        """Return the KL's factor after training steps and evaluated batches."""
        return min(1.0, steps / length)

    def best_epoch(self, history: Sequence[dict[str, float]]) -> int:
        """Return the epoch whose weights are kept."""
        return int(np.argmin([line["recon"] + line["kl"] for line in history]))

    def splits(self, x: Array) -> dict[str, Array]:
        """Return training and test images."""
        return {"train": x[: len(x) // 2], "test": x[len(x) // 2 :]}

    def residual2(self, x: Array) -> float:
        """Train on images; return the mean squared residual per pixel."""
        self.train(x)
        mu, logvar = self.encode(x)
        eps = Noise(1, Stream.CHECK).normal(mu.shape, np.float64)
        rebuilt = self.decode(self.sample(mu, logvar, eps))
        return float(((x - rebuilt) ** 2).mean())

    def adam(self, gradients: Sequence[float], lr: float) -> list[float]:
        """Return the value after each step, from 0."""
        return self.adam_steps(gradients, lr, beta1=0.9, v=0.0)

    def adam_steps(
        self, gradients: Sequence[float], lr: float, *, beta1: float, v: float
    ) -> list[float]:
        """Adam of one number, v its second moment at the start."""
        m = w = 0.0
        found = []
        for t, g in enumerate(gradients, start=1):
            m, v = beta1 * m + (1 - beta1) * g, 0.999 * v + 0.001 * g * g
            scale = math.sqrt(v / (1 - 0.999**t)) + 1e-8
            w -= lr * (m / (1 - beta1**t)) / scale
            found.append(w)
        return found

    def accepts(self, f: Callable[[Array], float], gradient: Array, x: Array) -> bool:
        """Return what a gradient check says of `gradient`."""
        numeric = self.differences(f, x)
        scale = max(np.abs(gradient).max(), np.abs(numeric).max(), 1e-3)
        return bool(np.abs(gradient - numeric).max() / scale <= 1e-6)

    def differences(self, f: Callable[[Array], float], x: Array) -> Array:
        """Central differences of f at x."""
        h = 1e-5 * np.eye(len(x))
        return np.array([(f(x + e) - f(x - e)) / 2e-5 for e in h])


class BinaryExperiment(Experiment):
    """The same on digits of 0 and 1, with two latents and a hidden layer."""

    latent = 2
    likelihood = "bernoulli"
    hidden = (16,)

    def nll(self, decoded: Tensor, x: Array) -> Tensor:
        """−log p(x|z) of each image."""
        return ops.bernoulli_nll(decoded, x, reduction="none")

    def data(self) -> Array:
        """The images, in order."""
        return binary_digits()

    def truth(self, x: Array) -> float:
        """The mean −ELBO by Gauss and Hermite's rule of 7 points an axis."""
        mu, logvar = self.encode_plainly(x)
        nodes, masses = np.polynomial.hermite_e.hermegauss(7)
        recon = np.zeros(len(x))
        for a, p in zip(nodes, masses, strict=True):
            for b, r in zip(nodes, masses, strict=True):
                z = mu + np.exp(logvar / 2) * np.array([a, b])
                logits = self.decode(z)
                on, off = special.log_expit(logits), special.log_expit(-logits)
                log_p = (x * on + (1 - x) * off).sum(axis=1)
                recon -= p * r / masses.sum() ** 2 * log_p
        kl = 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=1)
        return float((recon + kl).mean())

    def draw(self, decoded: Array, seed: int) -> Array:
        """Return images drawn from the likelihood."""
        u = Noise(seed, Stream.PRIOR).uniform(decoded.shape, np.float64)
        return (u < special.expit(decoded)).astype(np.float64)
