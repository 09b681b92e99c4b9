"""Bayes identity: at the exact posterior every importance weight is p(x).

    log p(x|z) + log p(z) − log q(z|x) = log p(x)   for every z, if q is the posterior

The linear model at its maximum likelihood has orthogonal columns, so its posterior is
diagonal and a VAE can hold it: N(M⁻¹ Wᵀ x, s2 M⁻¹). There is no Monte Carlo in this
test: it holds for each draw, however far out. Wherever sampler, density, prior or
likelihood disagree about one constant, it fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minivae.evaluate.bounds import draw, importance_bound
from minivae.gradcheck import Claim
from minivae.models import Autoencoder
from minivae.random import Noise, Stream
from minivae.tensor import no_grad
from minivae.verify.exact import Spectrum, digits
from minivae.verify.linear import at_the_posterior, images

IMAGES, DRAWS = 200, 20
FORMULA = "log p(x|z) + log p(z) − log q(z|x) = log p(x)"


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the identity's claims for `latent` latents."""
    x = digits()[:IMAGES]
    known = Spectrum.of(digits()).best(latent)
    exact = known.log_p(x)
    model = at_the_posterior("vae", known)
    log_w = draw(model, images(x), DRAWS).log_w
    worst = np.abs(log_w - exact).max()
    yield Claim.compare(
        "bayes_identity/every draw",
        f"{DRAWS} draws of {IMAGES} images all have log w = log p(x)",
        exact.mean(),
        log_w.mean(),
        worst,
        1e-10,
        FORMULA,
    )
    for k in (5, DRAWS):
        bound = importance_bound(log_w, k)
        yield Claim.compare(
            f"bayes_identity/IWAE-{k}",
            f"the bound of {k} draws is log p(x)",
            exact.mean(),
            bound.mean(),
            np.abs(bound - exact).max(),
            1e-10,
            f"log (1/{k}) Σ w = log p(x)",
        )
    yield _far_out(model, x, exact)
    yield from _gradients(latent)


@no_grad()
def _far_out(model: Autoencoder, x: np.ndarray, exact: np.ndarray) -> Claim:
    q = model.encode(images(x))
    z = q.sample(20 * Noise(1, Stream.CHECK).normal(q.mu.shape, np.float64))
    log_px = -model.recon(z, images(x), None, "none").numpy()
    weights = log_px + model.log_prior(z).numpy() - q.log_prob(z).numpy()
    size = np.abs(log_px).max()  # thousands of nats cancel here
    return Claim.compare(
        "bayes_identity/far out",
        "draws of 20 standard deviations too, relative to the terms that cancel",
        exact.mean(),
        weights.mean(),
        np.abs(weights - exact).max() / size,
        1e-12,
        FORMULA,
    )


def _gradients(latent: int) -> Iterator[Claim]:
    """At the posterior the encoder's gradient vanishes, if the score is left out."""
    known = Spectrum.of(digits()).best(latent)
    sizes = {}
    for sticking in (True, False):
        model = at_the_posterior("iwae", known, samples=1, sticking=sticking)
        model.loss_terms(
            images(digits()[:IMAGES]), Noise(2, Stream.CHECK)
        ).loss.backward()
        moved = (
            p.grad for n, p in model.named_parameters().items() if n[:2] in ("mu", "lo")
        )
        sizes[sticking] = max(float(np.abs(g).max()) for g in moved if g is not None)
    yield Claim.equal(
        "bayes_identity/sticking the landing",
        "without the score, one draw's gradient by the encoder is 0",
        0.0,
        sizes[True],
        1e-9,
        "∂z/∂φ ∂(log p(x, z) − log q(z))/∂z = 0",
    )
    yield Claim.at_most(
        "bayes_identity/the score",
        "with it that gradient is not 0, though its mean is: −log₁₀ of its size",
        3.0,
        -math.log10(sizes[False]) if sizes[False] > 0 else math.inf,
        formula="E ∂log q(z; φ)/∂φ = 0",
    )
