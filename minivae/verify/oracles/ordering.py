"""Bounds in their order: ELBO <= IWAE-k <= log p, and the gap is a KL.

    log p(x) − ELBO = KL(q ‖ posterior),    ELBO = L_1 <= L_k <= L_{k+1} <= log p(x)

The linear model at its maximum, with a q spoiled on purpose (mean times 0.8, variance
times 1.5), so that every bound is loose by an amount that is known. Burda et al. 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from minivae.evaluate.bounds import draw, importance_bound
from minivae.gradcheck import Claim
from minivae.verify.exact import Spectrum, digits, gaussian_kl
from minivae.verify.linear import expected_terms, images, linear_model, set_to

IMAGES, KS = 400, (1, 5, 50, 500)


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about a spoiled q of `latent` latents, of five at most.

    The draws that make up for a gap grow exponentially with it, and it with latents.
    """
    latent = min(latent, 5)
    x = digits()[:IMAGES]
    known = Spectrum.of(digits()).best(latent)
    V, d = 0.8 * known.encoder(), 1.5 * known.s2 / np.diag(known.M)
    model = linear_model("vae", latent)
    set_to(model, known, V, d)
    elbo, log_p = known.elbo(x, V, d), known.log_p(x)
    recon, kl = expected_terms(model, images(x))
    yield Claim.equal(
        "ordering/ELBO",
        "the expected ELBO is the closed form's",
        float(elbo.mean()),
        -recon - kl,
        1e-9,
        "E_q log p(x|z) − KL(q ‖ p)",
    )
    mean, covariance = known.posterior(x)
    own = np.diag(covariance)
    gap = gaussian_kl(x @ V.T, np.log(d), mean, np.log(own)).sum(axis=1)
    yield Claim.equal(
        "ordering/the gap",
        "what the ELBO lacks is the KL from q to the posterior",
        float(gap.mean()),
        float(log_p.mean()) + recon + kl,
        1e-9,
        "log p − ELBO = KL(q ‖ posterior)",
    )
    log_w = draw(model, images(x), KS[-1]).log_w
    bounds = {k: importance_bound(log_w, k) for k in KS}
    apart = bounds[1] - elbo
    error = apart.std(ddof=1) / np.sqrt(IMAGES)
    yield Claim.compare(
        "ordering/IWAE-1",
        "one draw's bound is the ELBO on average, in standard errors",
        float(elbo.mean()),
        float(bounds[1].mean()),
        abs(float(apart.mean())) / error,
        4.0,
        "E log w = ELBO",
    )
    for j, k in pairwise(KS):
        yield Claim.at_most(
            f"ordering/IWAE-{j} <= IWAE-{k}",
            "more draws, a higher bound",
            float(bounds[k].mean()),
            float(bounds[j].mean()),
            formula="L_j <= L_k",
        )
    apart = log_p - bounds[KS[-1]]
    error = apart.std(ddof=1) / np.sqrt(IMAGES)
    yield Claim.at_most(
        f"ordering/IWAE-{KS[-1]} <= log p",
        "no bound is above log p, within 4 standard errors",
        float(log_p.mean()),
        float(bounds[KS[-1]].mean()),
        4 * error,
        "L_k <= log p",
    )
    yield Claim.equal(
        f"ordering/IWAE-{KS[-1]} is near",
        "and with many draws it is nearly there, in nats",
        float(log_p.mean()),
        float(bounds[KS[-1]].mean()),
        0.02,
        "L_k → log p",
    )
