"""EM never lowers log p, and what a VAE does is EM by small steps.

    E: q = posterior, so ELBO = log p.   M: W' = S W (s2 I + M⁻¹ Wᵀ S W)⁻¹, s2' = ...

Steps that move q alone leave log p where it is; steps that move p alone leave q. For a
linear decoder whose columns are not orthogonal the best diagonal q is known, and so are
both parts of the gap: approximation = ½ (Σ_j log M_jj − log det M).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from minivae import em
from minivae.gradcheck import Claim
from minivae.random import Noise, Stream
from minivae.verify.exact import Linear, Spectrum, digits, gaussian_kl
from minivae.verify.linear import images, linear_model, set_to

STEPS, IMAGES = 300, 300


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about exact EM, generalised EM and per-example inference."""
    x = digits()
    places = list(em.exact_em(x, latent, STEPS))
    rises = [b.log_p - a.log_p for a, b in pairwise(places)]
    yield Claim.at_most(
        "em/log p never falls",
        f"the largest fall of log p in {STEPS} steps of exact EM",
        0.0,
        -min(rises),
        1e-10,
        "log p(θ') >= log p(θ)",
    )
    elbos = [b.elbo - a.elbo for a, b in pairwise(places)]
    yield Claim.at_most(
        "em/the ELBO never falls",
        "nor does the ELBO, in E-steps or in M-steps",
        0.0,
        -min(elbos),
        1e-10,
        "ELBO(q', θ) >= ELBO(q, θ), ELBO(q', θ') >= ELBO(q', θ)",
    )
    yield Claim.equal(
        "em/the gap closes",
        "after every E-step the ELBO is log p: the largest gap left",
        0.0,
        max(abs(place.gap) for place in places[1::2]),
        1e-10,
        "KL(q ‖ posterior) = 0",
    )
    best = Spectrum.of(x).best_log_p(latent)
    yield Claim.equal(
        "em/the maximum",
        "exact EM arrives at the largest log p there is",
        best,
        places[-1].log_p,
        1e-6 if latent <= 5 else 1e-2,
        "−½ [D log 2π + Σ log l_i + (D − k) log s2 + D]",
    )
    yield from _generalised(latent)
    yield from _per_example(latent)


def _generalised(latent: int) -> Iterator[Claim]:
    model = linear_model("vae", latent)
    walked = list(em.climb(model, images(digits()[:IMAGES]), 40, em=True))
    still = max(abs(b.log_p - a.log_p) for a, b in list(pairwise(walked))[::2])
    yield Claim.equal(
        "em/E-steps leave p alone",
        "log p does not move while only the encoder does",
        0.0,
        still,
        0.0,
        "∂log p/∂φ = 0",
    )
    yield Claim.at_most(
        "em/generalised EM climbs",
        "from its first place to its last the ELBO rises: minus the rise, in nats",
        0.0,
        walked[0].elbo - walked[-1].elbo,
        formula="ELBO(q', θ') > ELBO(q, θ)",
    )


def _per_example(latent: int) -> Iterator[Claim]:
    x = digits()[:IMAGES]
    noise = Noise(7, Stream.CHECK)
    best = Spectrum.of(digits()).best(latent)
    mixing = np.eye(latent) + 0.3 * noise.normal((latent, latent), np.float64)
    known = Linear(best.W @ mixing, best.s2)
    V, d = 0.9 * known.encoder(), 1.3 * known.s2 / np.diag(known.M)
    model = linear_model("vae", latent)
    set_to(model, known, V, d)
    M = known.M
    approximation = 0.5 * (np.log(np.diag(M)).sum() - np.linalg.slogdet(M)[1])
    mean, _ = known.posterior(x)
    own, zero = known.s2 / np.diag(M), np.zeros(latent)
    # the posterior's precision is M / s2, whose diagonal is all that q's variances see
    apart = (x @ V.T - mean) @ (M / known.s2)
    squares = 0.5 * (apart * (x @ V.T - mean)).sum(axis=1).mean()
    amortisation = squares + gaussian_kl(zero, np.log(d), zero, np.log(own)).sum()
    found = em.gap(model, images(x), steps=400)
    yield Claim.equal(
        "em/approximation gap",
        "the best q of each image's own lacks what a diagonal q must",
        float(approximation),
        found.approximation,
        1e-3,
        "½ (Σ_j log M_jj − log det M)",
    )
    yield Claim.equal(
        "em/amortisation gap",
        "and the encoder lacks the rest",
        float(amortisation),
        found.amortisation,
        1e-3,
        "KL(q ‖ posterior) − approximation",
    )
