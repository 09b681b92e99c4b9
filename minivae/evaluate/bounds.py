"""Bounds on log p(x) by importance sampling, and log p(x) itself where it can be had.

    log w_s = log p(x|z_s) + log p(z_s) − log q(z_s|x),    z_s ~ q(z|x)
    E log w = ELBO,    L_k = E log (1/k) Σ_{s<=k} w_s,    L_k <= L_{k+1} <= log p(x)

Exact where the integral over z can be done: a linear decoder with Gaussian noise (a
Gaussian again), two latents (a grid), or latents of 0 and 1 (a sum).

Sources: Burda, Grosse & Salakhutdinov 2016, eq. 8; Tipping & Bishop 1999, eq. 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minivae import ops
from minivae.backend import Array, xp_of
from minivae.distributions import Bernoulli, DiagGaussian
from minivae.errors import UserError
from minivae.models import VAE, Autoencoder, BernoulliVAE, MixtureVAE
from minivae.models.pairs import MOST_LATENTS, all_codes, pairwise_recon
from minivae.ops.losses import LOG_2PI
from minivae.tensor import Tensor, no_grad
from minivae.train import evaluation_noise

REACH = 6.0  # the grid's end in standard deviations of the prior: 2e-9 lies outside
GRIDS = (200, 400, 800)  # points along an axis, finer until the integral stays
SETTLED = 1e-3  # nats, between a grid and every second point of it
EXACT_IMAGES = 1000  # for log p by a grid or a sum
AGGREGATED = 2000  # images: the densities are of each under each
CODES_AT_ONCE = 4000
ENOUGH = 30  # images, for a standard error


class Draws(NamedTuple):
    """Of each draw and image: −log p(x|z) and log w, (S, N) in float64."""

    recon: Array
    log_w: Array


@no_grad()
def draw(
    model: Autoencoder, x: Array, draws: int, first: int = 0, log_w: bool = True
) -> Draws:
    """Draw `draws` codes of each image, under the noise of images from `first` on.

    Without `log_w` only the reconstruction terms are measured.
    """
    q = model.encode(x)
    recon, weights = np.empty((draws, len(x))), np.zeros((draws, len(x)))
    for s in range(draws):
        z = q.sample(evaluation_noise(model, first, len(x), s))
        recon[s] = model.recon(z, x, None, "none").numpy()
        if log_w:
            ratio = q.log_prob(z) - model.log_prior(z)
            weights[s] = -recon[s] - ratio.numpy()
    return Draws(recon, weights)


def importance_bound(log_w: Array, k: int) -> Array:
    """Return L_k of each image from log weights (S, N): (N,).

    The draws are taken in groups of k, and the groups' bounds averaged. So with the
    same draws L_j <= L_k for every j that divides k, image by image.
    """
    S, N = log_w.shape
    if not 1 <= k <= S:
        raise UserError(f"a bound of {k} draws from {S}")
    groups = log_w[: S // k * k].T.reshape(-1, k)
    return ops.logmeanexp(groups).numpy().reshape(N, S // k).mean(axis=1)


class Exact(NamedTuple):
    """log p(x) of each image, (N,), and how it was had."""

    log_p: Array
    method: str


@no_grad()
def exact_log_p(model: Autoencoder, x: Array) -> Exact | None:
    """Return log p(x) of images where it can be had, else None.

    By a grid, only if the integral has settled to 1e-3 nats.
    """
    if not model.has_kl or not model.likelihood.is_density:
        return None
    if isinstance(model, BernoulliVAE):
        if model.latent > MOST_LATENTS:
            return None
        return Exact(enumerated_log_p(model, x), "sum over codes")
    if is_linear_gaussian(model):
        return Exact(linear_gaussian_log_p(model, x), "linear Gaussian")
    if model.latent <= 2:
        found = quadrature_log_p(model, x)
        return None if found is None else Exact(found, "grid over latents")
    return None


def is_linear_gaussian(model: Autoencoder) -> bool:
    """Whether x = W z + m + noise with z ~ N(0, I) and Gaussian noise."""
    linear = isinstance(model, VAE) and not model.hidden
    return linear and not isinstance(model, MixtureVAE) and _is_gaussian(model)


def _is_gaussian(model: Autoencoder) -> bool:
    return model.likelihood_name == "gaussian"


def linear_parts(model: Autoencoder) -> tuple[Array, Array, Array]:
    """Return W (D, Z), m (D,) and the noise's variances (D,) of a linear decoder.

    They are read off what it decodes: m from 0, the columns of W from unit vectors.
    """
    Z, D = model.latent, math.prod(model.shape)
    decoded = model.decode(np.concatenate([np.zeros((1, Z)), np.eye(Z)]))
    assert isinstance(decoded, DiagGaussian)
    rows = decoded.mu.numpy().astype(np.float64).reshape(Z + 1, D)
    variances = np.exp(decoded.logvar.numpy().astype(np.float64))
    return (
        (rows[1:] - rows[0]).T,
        rows[0],
        np.broadcast_to(variances.reshape(-1), (D,)),
    )


def linear_gaussian_log_p(model: Autoencoder, x: Array) -> Array:
    """log N(x; m, W Wᵀ + diag s²), by way of the small matrix I + Wᵀ W / s²."""
    W, m, variances = linear_parts(model)
    scaled = W / np.sqrt(variances)[:, None]
    small = np.eye(W.shape[1]) + scaled.T @ scaled
    apart = (x.reshape(len(x), -1).astype(np.float64) - m) / np.sqrt(variances)
    seen = apart @ scaled
    squares = (apart**2).sum(axis=1) - (seen * np.linalg.solve(small, seen.T).T).sum(1)
    log_det = np.linalg.slogdet(small)[1] + np.log(variances).sum()
    return -0.5 * (len(m) * LOG_2PI + log_det + squares)


def enumerated_log_p(model: Autoencoder, x: Array) -> Array:
    """log Σ_c p(c) p(x|c) over all codes of zeros and ones."""
    codes = all_codes(model.latent)
    log_prior = np.full(len(codes), -model.latent * math.log(2))
    return _log_mean(model, x, codes, log_prior)


def quadrature_log_p(model: Autoencoder, x: Array) -> Array | None:
    """log ∫ p(z) p(x|z) dz on a grid over one or two latents; None if it is too fine.

    The grid is doubled until every second point of it gives the same integral.
    """
    for points in GRIDS:
        axis, step = np.linspace(-REACH, REACH, points, retstep=True)
        reach = np.meshgrid(*[axis] * model.latent, indexing="ij")
        codes = np.stack([r.reshape(-1) for r in reach], axis=1)
        there = xp_of(model.first_parameter().data).asarray(codes)
        log_prior = model.log_prior(Tensor(there)).numpy()
        measure = log_prior + model.latent * math.log(step)
        fine = _log_mean(model, x, codes, measure)
        index = np.indices((points,) * model.latent).reshape(model.latent, -1)
        second = (index % 2 == 0).all(axis=0)
        coarser = measure[second] + model.latent * math.log(2)
        coarse = _log_mean(model, x, codes[second], coarser)
        if float(np.abs(fine - coarse).mean()) <= SETTLED:
            return fine
    return None


def _log_mean(model: Autoencoder, x: Array, codes: Array, log_measure: Array) -> Array:
    """log Σ_c exp(log_measure_c) p(x|c), of each image, block by block of codes."""
    images = model.here(x)
    total = np.full(len(x), -np.inf)
    for start in range(0, len(codes), CODES_AT_ONCE):
        part = slice(start, start + CODES_AT_ONCE)
        decoded = model.decode(codes[part])
        recon = pairwise_recon(model.likelihood, decoded, images).numpy()
        terms = log_measure[part] - recon.astype(np.float64)
        top = np.maximum(terms.max(axis=1), total)
        here = np.exp(terms - top[:, None]).sum(axis=1)
        total = top + np.log(here + np.exp(total - top))
    return total


class BoundsError(ArithmeticError):
    """A bound lies above what it bounds: the model's evaluation is wrong."""


def assert_order(bounds: Sequence[tuple[str, Array]], errors: float = 4.0) -> None:
    """Raise `BoundsError` unless each lies below the next, within its standard error.

    `bounds` are (name, value of each image), from the lowest to the highest. Of fewer
    than 30 images the error is too uncertain itself: nothing is asserted.
    """
    for (low, a), (high, b) in pairwise(bounds):
        if len(a) < ENOUGH:
            return
        apart = b - a
        error = apart.std(ddof=1) / math.sqrt(len(apart))
        slack = errors * error + 1e-6 * max(1.0, float(np.abs(a).mean()))
        if not apart.mean() >= -slack:
            raise BoundsError(
                f"{low} is {a.mean():.4f}, above {high}, {b.mean():.4f} (standard "
                f"error of the difference {error:.4f}): one of them is wrong"
            )


# The aggregate posterior


class Aggregate(NamedTuple):
    """Mean KL = mutual information + marginal KL; marginal = TC + Σ_j KL_j."""

    images: int
    mutual_information: float
    marginal_kl: float
    total_correlation: float


@no_grad()
def aggregate(
    model: Autoencoder, x: Array, most: int = AGGREGATED, draws: int = 1
) -> Aggregate:
    """Split the KL by q(z) = (1/N) Σ_n q(z|x_n), over at most `most` images.

        mean KL(q(z|x) ‖ p) = MI(n; z) + KL(q(z) ‖ p),   0 <= MI <= log N
        TC = KL(q(z) ‖ Π_j q(z_j))

    The densities of every z drawn under every image's posterior are summed, N² of them
    for each latent. Source: Hoffman & Johnson 2016.
    """
    x = x[:most]
    q = model.encode(x)
    split = [_aggregate(model, q, len(x), draw) for draw in range(draws)]
    return Aggregate(len(x), *(float(v) for v in np.mean(split, axis=0)))


def _aggregate(
    model: Autoencoder, q: DiagGaussian | Bernoulli, N: int, draw: int
) -> tuple[float, float, float]:
    """Return MI, marginal KL and TC by one draw of z an image."""
    z_tensor = q.sample(evaluation_noise(model, 0, N, draw))
    z = z_tensor.numpy().astype(np.float64)
    joint, marginals, own = np.zeros((N, N)), np.zeros(N), np.zeros(N)
    for j in range(model.latent):
        log_q = _log_density(q, z, j)
        joint += log_q
        own += log_q.diagonal()
        marginals += _log_mean_rows(log_q)
    log_qz = _log_mean_rows(joint)
    log_prior = model.log_prior(z_tensor).numpy().astype(np.float64)
    mutual, marginal, total = own - log_qz, log_qz - log_prior, log_qz - marginals
    return float(mutual.mean()), float(marginal.mean()), float(total.mean())


def _log_density(q: DiagGaussian | Bernoulli, z: Array, j: int) -> Array:
    """log q_j(z_i | x_n) of every draw i under every image n: (N, N)."""
    own = z[:, j, None]
    if isinstance(q, DiagGaussian):
        mu, logvar = (t.numpy()[:, j].astype(np.float64) for t in (q.mu, q.logvar))
        return -0.5 * (LOG_2PI + logvar + (own - mu) ** 2 * np.exp(-logvar))
    logits = q.logits.numpy()[:, j].astype(np.float64)
    return own * logits - np.logaddexp(0, logits)


def _log_mean_rows(terms: Array) -> Array:
    top = terms.max(axis=1)
    return top + np.log(np.exp(terms - top[:, None]).mean(axis=1))
