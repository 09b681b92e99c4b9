"""ELBO surgery: the mean KL is information about the image plus a marginal KL.

    mean KL = MI(n; z) + KL(q(z) ‖ p),   KL(q(z) ‖ p) = TC + Σ_j KL(q(z_j) ‖ p)

with q(z) = (1/N) Σ_n q(z|x_n). Two latents, so that every integral over this mixture is
a sum on a grid. Source: Hoffman & Johnson 2016; Chen et al. 2018, eq. 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from minivae.evaluate.bounds import aggregate
from minivae.gradcheck import Claim
from minivae.random import Noise, Stream
from minivae.verify.exact import Linear, digits, gaussian_kl
from minivae.verify.linear import images, linear_model, set_to

IMAGES, DRAWS, POINTS, REACH = 40, 200, 500, 9.0


def claims(latent: int = 2) -> Iterator[Claim]:
    """Yield the claims about 40 posteriors over two latents."""
    x = digits()[:IMAGES]
    V = 0.5 * Noise(8, Stream.CHECK).normal((2, 64), np.float64)
    d, zero = np.array([0.3, 0.6]), np.zeros(2)
    model = linear_model("vae", 2)
    set_to(model, Linear(np.zeros((64, 2)), 1.0), V, d)
    mean = x @ V.T
    axis, step = np.linspace(-REACH, REACH, POINTS, retstep=True)
    each = [
        stats.norm.pdf(axis, mean[:, j, None], math.sqrt(d[j])) for j in range(2)
    ]  # (N, points)
    joint = np.einsum("na,nb->ab", *each) / IMAGES
    first, second = (density.mean(axis=0) for density in each)
    prior = stats.norm.pdf(axis)
    log_joint, log_prior = np.log(joint), np.log(np.outer(prior, prior))
    log_product = np.log(np.outer(first, second))
    mean_kl = float(gaussian_kl(mean, np.log(d), zero, zero).sum(axis=1).mean())

    def expected(values: np.ndarray) -> tuple[float, float]:
        """Mean of a function of z under q(z), and its standard deviation."""
        weights = joint * step**2
        center = float((weights * values).sum())
        return center, math.sqrt(float((weights * (values - center) ** 2).sum()))

    marginal, spread = expected(log_joint - log_prior)
    total, total_spread = expected(log_joint - log_product)
    found = aggregate(model, images(x), draws=DRAWS)
    count = math.sqrt(IMAGES * DRAWS)
    for name, exact, measured, std, formula in (
        ("marginal KL", marginal, found.marginal_kl, spread, "∫ q log q/p"),
        ("total correlation", total, found.total_correlation, total_spread,
         "∫ q log q/(q₁ q₂)"),
    ):  # fmt: skip
        yield Claim.compare(
            f"surgery/{name}",
            f"over {IMAGES * DRAWS:,} draws is the integral, in standard errors",
            exact,
            measured,
            abs(measured - exact) / (std / count),
            4.0,
            formula,
        )
    yield Claim.equal(
        "surgery/mutual information",
        "with the marginal KL it makes up the mean KL, in nats",
        mean_kl - marginal,
        found.mutual_information,
        0.05,
        "mean KL = MI + KL(q(z) ‖ p)",
    )
    yield Claim.at_most(
        "surgery/at most log N",
        "a code cannot tell more than which image it is of",
        math.log(IMAGES),
        found.mutual_information,
        formula="MI <= log N",
    )
