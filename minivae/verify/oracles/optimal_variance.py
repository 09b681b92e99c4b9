"""The best shared sigma² is the mean squared residual per pixel.

    s2* = E |x − x̂|² / D,  then  −ELBO = D/2 (1 + log 2π s2*) + KL

so that minimising the logarithm of the mean squared error is the same problem. It holds
for any images; 100 digits are few enough for the interpreter of PTX too. Source:
Rybkin, Daniilidis & Levine 2021 (sigma-VAE), section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import optimize, stats

from minivae import ops
from minivae.gradcheck import Claim
from minivae.random import Noise, Stream
from minivae.tensor import Parameter
from minivae.verify.exact import Spectrum, digits
from minivae.verify.linear import at_the_posterior, expected_terms, images

IMAGES = 100


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about the likelihood alone, and about a whole linear VAE."""
    noise = Noise(5, Stream.CHECK)
    x, mu = noise.normal((2, 6, 64), np.float64)
    best = float(((x - mu) ** 2).mean())

    def by_scipy(logvar: float) -> float:
        return -float(stats.norm.logpdf(x, mu, math.exp(logvar / 2)).sum(1).mean())

    logvar = Parameter(np.array(math.log(best)))
    nll = ops.gaussian_nll(mu, logvar, x)
    nll.backward()
    assert logvar.grad is not None
    least = optimize.minimize_scalar(by_scipy, bracket=(-2, 2), tol=1e-12)
    yield Claim.equal(
        "optimal_variance/the least",
        "at the mean squared residual the negative log likelihood is SciPy's minimum",
        float(least.fun),
        nll.item(),
        1e-9,
        "s2* = mean (x − x̂)²",
    )
    yield Claim.equal(
        "optimal_variance/slope",
        "there its slope by log s2 is 0",
        0.0,
        float(logvar.grad),
        1e-12,
        "½ (D − Σ (x − x̂)² / s2) = 0",
    )
    some = digits()[:IMAGES]
    some = some - some.mean(axis=0)
    known = Spectrum.of(some).best(latent)
    recon, kl = expected_terms(at_the_posterior("vae", known), images(some))
    D = len(known.W)
    yield Claim.equal(
        "optimal_variance/a whole VAE",
        "at the maximum of the linear VAE, −ELBO has the short form",
        D / 2 * (1 + math.log(2 * math.pi * known.s2)) + kl,
        recon + kl,
        1e-8,
        "D/2 (1 + log 2π s2*) + KL",
    )
