"""Expectation maximisation, exact and generalised, and what a VAE is among them.

    log p(x; θ) = ELBO(q, θ) + KL(q ‖ p(z|x; θ))

The ELBO is a function of two things. Each method climbs it in its own way:

    exact EM          E: q becomes the posterior, the gap closes. M: θ becomes the best
                      for that q. log p never falls (Dempster, Laird & Rubin 1977).
    generalised EM    steps that move q alone, and steps that move θ alone
                      (Neal & Hinton 1998; `minivae train --em`)
    per-example VI    θ stands still; every image has a q of its own to move
    amortised VAE     one encoder gives every q, and both move at once

A place in the plane is a pair (gap, log p), whose difference is the ELBO.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.distributions import DiagGaussian
from minivae.errors import UserError
from minivae.evaluate.bounds import exact_log_p
from minivae.models import VAE, Autoencoder
from minivae.ops.losses import LOG_2PI
from minivae.optim import Adam, scheduled_lr
from minivae.random import Noise, Stream
from minivae.tensor import Parameter, no_grad


class Place(NamedTuple):
    """Where a method stands: nats per image, ELBO = log_p − gap."""

    gap: float
    log_p: float

    @property
    def elbo(self) -> float:
        """The ELBO."""
        return self.log_p - self.gap


# Exact EM


@dataclass
class PPCA:
    """Probabilistic PCA: x = W z + mean + noise of variance s2, z ~ N(0, I).

    Source: Tipping & Bishop 1999. `e_step` and `m_step` are theirs (eq. 25 to 30).
    """

    x: Array  # centred, (N, D)
    W: Array  # (D, k)
    s2: float

    @classmethod
    def start(cls, x: Array, latent: int, seed: int = 0) -> PPCA:
        """Start at a small random W, with all variance taken for noise."""
        x = x.reshape(len(x), -1).astype(np.float64)
        x = x - x.mean(axis=0)
        if not 0 < latent < x.shape[1]:
            raise UserError(f"{latent} latents for {x.shape[1]} pixels")
        W = Noise(seed, Stream.INITIALISE).normal((x.shape[1], latent), np.float64)
        return cls(x, 0.1 * W, float((x**2).mean()))

    def e_step(self) -> tuple[Array, Array]:
        """Return the posterior: means M⁻¹ Wᵀ x (N, k), covariance s2 M⁻¹."""
        M = self.W.T @ self.W + self.s2 * np.eye(self.W.shape[1])
        return self.x @ np.linalg.solve(M, self.W.T).T, self.s2 * np.linalg.inv(M)

    def m_step(self, mean: Array, covariance: Array) -> None:
        """Set W and s2 to the best for q = N(mean_n, covariance)."""
        N, D = self.x.shape
        second = mean.T @ mean + N * covariance  # Σ_n E z zᵀ
        self.W = np.linalg.solve(second, mean.T @ self.x).T
        explained = 2 * (self.x * (mean @ self.W.T)).sum()
        squares = (self.x**2).sum() - explained + np.trace(second @ self.W.T @ self.W)
        self.s2 = float(squares / (N * D))

    def log_p(self) -> float:
        """The mean log p(x)."""
        N, D = self.x.shape
        C = self.W @ self.W.T + self.s2 * np.eye(D)
        squares = (self.x * np.linalg.solve(C, self.x.T).T).sum() / N
        return float(-0.5 * (D * LOG_2PI + np.linalg.slogdet(C)[1] + squares))

    def gap(self, mean: Array, covariance: Array) -> float:
        """The mean KL from q = N(mean_n, covariance) to the posterior."""
        own_mean, own = self.e_step()
        inverse = np.linalg.inv(own)
        apart = mean - own_mean
        squares = ((apart @ inverse) * apart).sum(axis=1).mean()
        logs = np.linalg.slogdet(own)[1] - np.linalg.slogdet(covariance)[1]
        trace = np.trace(inverse @ covariance)
        return float(0.5 * (trace + squares - len(covariance) + logs))


def exact_em(x: Array, latent: int, steps: int, seed: int = 0) -> Iterator[Place]:
    """Yield the place after every E-step and every M-step of exact EM."""
    model = PPCA.start(x, latent, seed)
    mean = np.zeros((len(model.x), latent))
    covariance = np.eye(latent)  # q begins at the prior
    yield Place(model.gap(mean, covariance), model.log_p())
    for _ in range(steps):
        mean, covariance = model.e_step()
        yield Place(model.gap(mean, covariance), model.log_p())
        model.m_step(mean, covariance)
        yield Place(model.gap(mean, covariance), model.log_p())


# By gradients


@no_grad()
def place(model: Autoencoder, x: Array, q: DiagGaussian | None = None) -> Place:
    """Return where a VAE stands, with its own q or another; needs an exact log p."""
    exact = exact_log_p(model, x)
    if exact is None:
        raise UserError(
            "the plane needs log p(x): a linear Gaussian model, or at most two latents"
        )
    log_p = float(exact.log_p.mean())
    return Place(log_p - expected_elbo(model, x, q), log_p)


@no_grad()
def expected_elbo(model: Autoencoder, x: Array, q: DiagGaussian | None = None) -> float:
    """Return the mean ELBO, expected over ε by the points of `rule`."""
    q = q or model.encode(x)
    points, weights = rule(model, 16)
    recon = 0.0
    for point, weight in zip(points, weights, strict=True):
        eps = np.tile(point, (len(x), 1))
        recon += weight * model.recon(q.sample(eps), x, None, "mean").item()
    return -recon - q.kl().item()


def rule(model: Autoencoder, order: int) -> tuple[Array, Array]:
    """Return points (P, Z) and weights (P,) for an expectation over ε ~ N(0, I).

    ±√Z e_j for a linear decoder, whose recon is quadratic in ε: then it is exact. Else
    Gauss and Hermite's product rule of `order` points an axis, for one or two latents.
    """
    Z = model.latent
    if isinstance(model, VAE) and not model.hidden:
        points = np.sqrt(Z) * np.concatenate([np.eye(Z), -np.eye(Z)])
        return points, np.full(2 * Z, 0.5 / Z)
    if Z > 2:
        raise UserError(f"expectations are exact to two latents, not for {Z}")
    nodes, masses = np.polynomial.hermite_e.hermegauss(order)
    points = np.stack(np.meshgrid(*Z * [nodes], indexing="ij"), -1).reshape(-1, Z)
    weights = np.prod(np.meshgrid(*Z * [masses], indexing="ij"), axis=0).reshape(-1)
    return points, weights / weights.sum()


def climb(
    model: Autoencoder, x: Array, steps: int, *, em: bool, lr: float = 0.02
) -> Iterator[Place]:
    """Train on all images at once and yield the place before each step and at the end.

    With `em`, even steps move q alone and odd ones p alone.
    """
    optimizer, noise = Adam(model.parameters(), lr), Noise(0, Stream.LATENT)
    of_p = model.generative_parameters()
    for step in range(steps):
        yield place(model, x)
        optimizer.lr = scheduled_lr("cosine", lr, step, steps)
        optimizer.zero_grad()
        model.loss_terms(x, noise).loss.backward()
        for name, parameter in model.named_parameters().items():
            if em and (name in of_p) == (step % 2 == 0):
                parameter.grad = None
        optimizer.step()
    yield place(model, x)


def per_example(
    model: Autoencoder, x: Array, steps: int = 500, lr: float = 0.05
) -> Iterator[DiagGaussian]:
    """Yield q before each step and at the end: a mu and a logvar for every image.

    They start where the encoder puts them; the model's parameters stand still.
    """
    with no_grad():
        start = model.encode(x)
    q = DiagGaussian(
        Parameter(start.mu.data.copy()), Parameter(start.logvar.data.copy())
    )
    optimizer = Adam([q.mu, q.logvar], lr)  # type: ignore[list-item]
    points, weights = rule(model, 5)
    for step in range(steps):
        yield q.copy()
        optimizer.lr = scheduled_lr("cosine", lr, step, steps)
        for parameter in (*model.parameters(), q.mu, q.logvar):
            parameter.grad = None
        for point, weight in zip(points, weights, strict=True):
            z = q.sample(np.tile(point, (len(x), 1)))
            (float(weight) * model.recon(z, x, None, "mean")).backward()
        q.kl().backward()
        optimizer.step()
    yield q.copy()


class Gap(NamedTuple):
    """log p − ELBO of an encoder, in two parts. Cremer, Li & Duvenaud 2018, section 2.

    approximation   what no Gaussian of this shape could do better: log p − ELBO(q*)
    amortisation    what the encoder loses against a q of each image's own
    """

    log_p: float
    approximation: float
    amortisation: float


def gap(model: Autoencoder, x: Array, steps: int = 500) -> Gap:
    """Split the gap of a model with an exact log p into its two parts."""
    amortised = place(model, x)
    *_, own = per_example(model, x, steps)
    best = place(model, x, own)
    return Gap(best.log_p, best.gap, amortised.gap - best.gap)
