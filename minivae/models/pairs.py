"""−log p(x|z) of every image with every code: what sums over codes are made of."""

from __future__ import annotations

import numpy as np

from minivae import ops
from minivae.backend import Array, xp_of
from minivae.distributions import Decoded, DiagGaussian, Likelihood
from minivae.errors import UserError
from minivae.ops.losses import LOG_2PI
from minivae.tensor import Tensor

MOST_LATENTS = 12


def all_codes(latents: int, dtype: type = np.float32) -> Array:
    """Return the 2**latents codes of zeros and ones, (2**Z, Z).

    Raises `UserError` for more than 12 latents.
    """
    if latents > MOST_LATENTS:
        raise UserError(
            f"{latents} latents have 2^{latents} = {2**latents:,} codes: enumeration "
            f"takes at most {MOST_LATENTS} ({2**MOST_LATENTS:,} codes)"
        )
    numbers = np.arange(2**latents)[:, None] >> np.arange(latents)[::-1]
    return (numbers & 1).astype(dtype)


def pairwise_recon(likelihood: Likelihood, decoded: Decoded, x: Array) -> Tensor:
    """Return the reconstruction term of image n under decoded code c: (N, C).

    One matrix product instead of N times C images:
        Bernoulli    Σ_d log(1 + e^l_cd) − Σ_d x_nd l_cd
        Gaussian     ½ Σ_d log 2π + ℓ_d + (x_nd² − 2 x_nd μ_cd + μ_cd²) e^−ℓ_d
    """
    flat = x.reshape(len(x), -1)
    if isinstance(decoded, DiagGaussian):
        mu = ops.reshape(decoded.mu, shape=(len(decoded.mu.data), -1))
        D = flat.shape[1]
        logvar = ops.reshape(decoded.logvar, shape=(-1,))
        logvar = ops.broadcast_to(logvar, shape=(D,))
        precision = ops.exp(-logvar)
        square_x = ops.matmul(flat**2, ops.reshape(precision, shape=(D, 1)))
        square_mu = ops.sum(mu**2 * precision, axis=1)
        cross = ops.matmul(flat, (mu * precision).T)
        return 0.5 * (ops.sum(LOG_2PI + logvar) + (square_x - 2 * cross) + square_mu)
    if likelihood.name not in ("bernoulli", "soft_bce"):
        raise UserError(f"no sum over codes for the likelihood {likelihood.name}")
    likelihood.recon(Tensor(xp_of(x).zeros_like(x)), x)  # refuses what it must
    logits = ops.reshape(decoded, shape=(len(decoded.data), -1))
    return ops.sum(ops.softplus(logits), axis=1) - ops.matmul(flat, logits.T)
