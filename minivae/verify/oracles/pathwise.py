"""Two gradients of one expectation: along the path of z, and by the score.

    E (z − a)², z ~ N(mu, s²):  value (mu − a)² + s²,  ∂/∂mu = 2 (mu − a),  ∂/∂s = 2 s

Both estimators have that mean; the score's variance is larger. The path's mean is had
exactly from the two points ±1 for ε, which have N(0, 1)'s moments up to the third.
Sources: Kingma & Welling 2014, section 2.3; Mohamed et al. 2020, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minivae import ops
from minivae.distributions import DiagGaussian
from minivae.gradcheck import Claim
from minivae.random import Noise, Stream
from minivae.tensor import Parameter, Tensor

A, MU, LOGVAR = 0.4, 1.3, -0.6
DRAWS = 20_000


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about value, gradients and variances."""
    s = math.exp(LOGVAR / 2)
    exact = {"mu": 2 * (MU - A), "s": 2 * s}
    value, by_mu, by_logvar = _pathwise(np.array([[1.0], [-1.0]]))
    yield Claim.equal(
        "pathwise/value",
        "E (z − a)² by the two points is the closed form",
        (MU - A) ** 2 + s**2,
        float(value),
        1e-12,
        "(mu − a)² + s²",
    )
    found = {"mu": by_mu.mean(), "s": 2 * by_logvar.mean() / s}  # ∂/∂s = 2/s ∂/∂logvar
    for name, number in exact.items():
        yield Claim.equal(
            f"pathwise/by {name}",
            "the sampler's gradient, expected over ε, is the closed form",
            number,
            float(found[name]),
            1e-12,
            "∂/∂mu = 2 (mu − a), ∂/∂s = 2 s",
        )
    eps = Noise(3, Stream.CHECK).normal((DRAWS, 1), np.float64)
    _, path, _ = _pathwise(eps)
    score = _score(eps)
    for name, draws in (("path", path), ("score", score)):
        error = draws.std(ddof=1) / math.sqrt(DRAWS)
        yield Claim.compare(
            f"pathwise/mean of the {name}",
            f"over {DRAWS:,} draws, in standard errors",
            exact["mu"],
            float(draws.mean()),
            abs(float(draws.mean()) - exact["mu"]) / error,
            4.0,
            "E ∂/∂mu (z − a)² = E (z − a)² ∂log q/∂mu",
        )
    yield Claim.at_most(
        "pathwise/variance",
        "the path's variance is smaller than the score's: their ratio",
        1.0,
        float(path.var() / score.var()),
        formula="Var path < Var score",
    )


def _pathwise(eps: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean value, and each draw's gradient by mu and logvar."""
    n = len(eps)
    mu, logvar = Parameter(np.full((n, 1), MU)), Parameter(np.full((n, 1), LOGVAR))
    f = (DiagGaussian(mu, logvar).sample(eps) - A) ** 2
    ops.sum(f).backward()
    assert mu.grad is not None
    assert logvar.grad is not None
    return float(f.numpy().mean()), mu.grad[:, 0], logvar.grad[:, 0]


def _score(eps: np.ndarray) -> np.ndarray:
    """Each draw's f(z) ∂log q(z)/∂mu, the density differentiated by the engine."""
    z = MU + math.exp(LOGVAR / 2) * eps
    mu = Parameter(np.full(eps.shape, MU))
    q = DiagGaussian(mu, Tensor(np.full(eps.shape, LOGVAR)))
    ops.sum(q.log_prob(z) * ((z - A) ** 2)[:, 0]).backward()
    assert mu.grad is not None
    return mu.grad[:, 0]
