"""The KLs in closed form: against numerical integration, and against draws.

KL(N(mu, e^a) ‖ N(0, 1)) = ½ (mu² + e^a − 1 − a),  ∂/∂mu = mu,  ∂/∂a = ½ (e^a − 1)
KL(Bernoulli p ‖ p₀) = p log(p/p₀) + (1 − p) log((1 − p)/(1 − p₀))
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import integrate, special, stats

from minivae.distributions import Bernoulli, DiagGaussian, kl_monte_carlo
from minivae.gradcheck import Claim
from minivae.random import Noise, Stream
from minivae.tensor import Parameter, Tensor

POINTS = [(0.0, 0.0), (1.5, 0.0), (0.3, -2.0), (-2.0, 1.0)]
PRIOR = (0.5, 0.7)


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about Gaussian and Bernoulli KLs."""
    formula = "½ (mu² + e^a − 1 − a)"
    for m, v in POINTS:
        for of, b in ((0.0, 0.0), PRIOR):
            q = DiagGaussian(Tensor(np.array([[m]])), Tensor(np.array([[v]])))
            prior = DiagGaussian(Tensor(np.array([[of]])), Tensor(np.array([[b]])))
            standard = (of, b) == (0.0, 0.0)
            found = q.kl() if standard else q.kl("mean", prior)
            yield Claim.equal(
                f"kl/N({m:g}, e^{v:g}) to N({of:g}, e^{b:g})",
                "the closed form is the integral of q log q/p",
                _integral(m, v, of, b),
                found.item(),
                1e-8,
                formula,
            )
    at = Noise(1, Stream.CHECK).normal((2, 4, 3), np.float64)
    mu, a = Parameter(at[0]), Parameter(at[1])
    DiagGaussian(mu, a).kl().backward()
    for name, parameter, exact in (
        ("mu", mu, at[0] / 4),
        ("a", a, 0.5 * np.expm1(at[1]) / 4),
    ):
        assert parameter.grad is not None
        yield Claim.compare(
            f"kl/gradient by {name}",
            "is the closed form's, a mean over the batch",
            float(np.abs(exact).max()),
            float(np.abs(parameter.grad).max()),
            float(np.abs(parameter.grad - exact).max()),
            1e-14,
            "∂/∂mu = mu, ∂/∂a = ½ (e^a − 1)",
        )
    yield from _draws(at)
    yield from _coins(at)


def _integral(mu: float, a: float, of: float, b: float) -> float:
    q, p = stats.norm(mu, np.exp(a / 2)), stats.norm(of, np.exp(b / 2))
    reach = 12 * np.exp(a / 2)

    def inside(z: float) -> float:
        return float(q.pdf(z) * (q.logpdf(z) - p.logpdf(z)))

    found, _ = integrate.quad(inside, mu - reach, mu + reach, limit=200)
    return float(found)


def _draws(at: np.ndarray) -> Iterator[Claim]:
    q = DiagGaussian(Tensor(at[0]), Tensor(at[1]))
    prior = DiagGaussian(Tensor(np.zeros((4, 3))), Tensor(np.zeros((4, 3))))
    estimate = kl_monte_carlo(q, prior, Noise(2, Stream.CHECK), 4000)
    closed = 0.5 * (at[0] ** 2 + np.expm1(at[1]) - at[1]).sum(axis=1)
    yield Claim.compare(
        "kl/of the sampler",
        "E_q[log q − log p] over 4,000 draws is the closed form, in standard errors",
        float(closed.mean()),
        float(estimate.value.mean()),
        float((np.abs(estimate.value - closed) / estimate.error).max()),
        4.0,
        "E_q[log q(z) − log p(z)]",
    )


def _coins(at: np.ndarray) -> Iterator[Claim]:
    q, prior = Bernoulli(Tensor(2 * at[0])), Bernoulli(Tensor(at[1]))
    p, p0 = special.expit(2 * at[0]), special.expit(at[1])
    exact = (special.rel_entr(p, p0) + special.rel_entr(1 - p, 1 - p0)).sum(axis=1)
    yield Claim.equal(
        "kl/coins",
        "the KL of Bernoulli latents is the sum over both faces",
        float(exact.mean()),
        q.kl("mean", prior).item(),
        1e-12,
        "p log(p/p₀) + (1 − p) log((1 − p)/(1 − p₀))",
    )
