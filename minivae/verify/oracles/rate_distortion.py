"""The beta-VAE's sweep lies on the Gaussian rate-distortion curve.

    t2 = beta s2,  R = ½ Σ_{i<=k} log⁺(l_i/t2),  D = Σ_{i<=k} min(l_i, t2) + Σ_{i>k} l_i

For a linear model the optimum is reverse water-filling: a latent whose eigenvalue is
under the level t2 is dropped. With sigma learned, beta raises sigma, which raises the
level once more: s2 = Σ_inactive l / (D − beta n).

A latent whose eigenvalue is near the level grows or collapses slowly, and under plain
noise one cannot tell which of the two it does; so these models train under noise whose
moments are exact. Sources: Cover & Thomas 2006, section 10.3; Lucas et al. 2019;
Higgins et al. 2017.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minivae.gradcheck import Claim
from minivae.models import Autoencoder
from minivae.verify.exact import Spectrum, digits
from minivae.verify.linear import (
    expected_terms,
    images,
    linear_model,
    opposite,
    read,
    train,
    twice,
)

SIGMA2, BETAS = 0.05, (1.0, 2.5, 6.0)
LEARNED_BETA = 4.0
STEPS, LR = 1000, 0.06
FORMULA = "R = ½ Σ log⁺(l/t2), D = Σ min(l, t2) + Σ rest"


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield rate and distortion for a sweep of beta, and the learned sigma."""
    x = images(digits())
    spectrum = Spectrum.of(digits())
    for beta in BETAS:
        sigma = math.sqrt(SIGMA2)
        model = linear_model("betavae", latent, beta=beta, sigma=sigma)
        train(model, twice(x), STEPS, LR, draw=opposite(len(x), latent))
        rate, distortion = spectrum.rate_distortion(beta * SIGMA2, latent)
        measured = measure(model, x)
        for name, exact, found in zip(
            ("rate", "distortion"), (rate, distortion), measured, strict=True
        ):
            yield Claim.compare(
                f"rate_distortion/beta {beta:g}, {name}",
                f"at beta {beta:g} the {name} is that of the curve, within 1 %",
                exact,
                found,
                abs(found / exact - 1),
                0.01,
                FORMULA,
            )
    model = linear_model("betavae", latent, beta=LEARNED_BETA)
    train(model, twice(x), STEPS, LR, draw=opposite(len(x), latent))
    s2, active = spectrum.learned_sigma2(LEARNED_BETA, latent)
    yield Claim.compare(
        "rate_distortion/learned sigma",
        f"at beta {LEARNED_BETA:g} sigma² is learned, and amplified, within 1 %",
        s2,
        read(model).s2,
        abs(read(model).s2 / s2 - 1),
        0.01,
        "s2 = Σ_inactive l / (D − beta n)",
    )
    lengths = np.sqrt((read(model).W ** 2).sum(axis=0))
    yield Claim.equal(
        "rate_distortion/active latents",
        "as many latents stay as eigenvalues lie above beta s2",
        active,
        int((lengths > 0.05 * lengths.max()).sum()),
        0,
        "l_i > beta s2",
    )


def measure(model: Autoencoder, x: np.ndarray) -> tuple[float, float]:
    """Return KL and E |x − x̂|² of a linear VAE, from its own two terms."""
    recon, kl = expected_terms(model, x)
    s2, D = read(model).s2, math.prod(model.shape)
    return kl, s2 * (2 * recon - D * math.log(2 * math.pi * s2))
