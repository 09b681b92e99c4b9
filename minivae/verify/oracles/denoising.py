"""The linear denoising autoencoder is the Wiener filter; its field is the score.

    A = U_k diag(l_i / (l_i + v)) U_kᵀ      rank k, noise of variance v
    loss = Σ_{i<=k} l_i v / (l_i + v) + Σ_{i>k} l_i
    A x − x = v ∇ log N(x; 0, S + v I)      full rank

Noise is also what keeps more latents than pixels from the identity: 80 latents for 64
pixels have S (S + v I)⁻¹. The mean over the noise is had exactly, by pairs ±√D e_j.
Sources: Wiener 1949; Vincent 2011; Alain & Bengio 2014, theorem 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import linalg

from minivae.backend import Array
from minivae.gradcheck import Claim
from minivae.models import Autoencoder
from minivae.verify.exact import Spectrum, digits, same_moments
from minivae.verify.linear import composed, images, linear_model, train
from minivae.verify.oracles.linear_ae import LR, NEAR, steps_for
from minivae.verify.oracles.overcomplete import MORE

VARIANCE = 0.05
STEPS = 1000  # of the overcomplete one: the noise makes all directions alike


def design(x: Array) -> tuple[Array, Array]:
    """Return images and noise with the moments of centred data and of N(0, I): (4D, D).

    Each point has the pair ±√D e_j: no moment of image and noise together is left.
    """
    points = same_moments(x)
    eps = math.sqrt(x.shape[1]) * np.tile(np.eye(x.shape[1]), (2, 1))
    return np.concatenate([points, points]), np.concatenate([eps, -eps])


def trained(latent: int, steps: int) -> tuple[Autoencoder, float]:
    """Return a linear denoising autoencoder at its optimum, and its expected loss."""
    model = linear_model(
        "dae", latent, likelihood="squared_error", noise=f"gaussian:{VARIANCE}"
    )
    x, eps = map(images, design(digits()))
    train(model, x, steps, LR, loss=lambda: model.loss_terms(x, eps).loss)
    return model, model.loss_terms(x, eps).loss.item()


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about `latent` latents, and about more than there are pixels."""
    x = digits()
    spectrum, D = Spectrum.of(x), x.shape[1]
    for name, k, steps in (
        (f"{latent} latents", latent, steps_for(latent)),
        ("overcomplete", D + MORE, STEPS),
    ):
        model, loss = trained(k, steps)
        filter_, least = spectrum.wiener(VARIANCE, min(k, D))
        yield Claim.equal(
            f"denoising/{name}, loss",
            f"{k} latents under noise, trained, leave what the Wiener filter leaves",
            least,
            loss,
            1e-6 * least,
            "Σ l v / (l + v) + Σ rest",
        )
        yield Claim.equal(
            f"denoising/{name}, filter",
            "decoder times encoder is the Wiener filter: spectral norm of the rest",
            0.0,
            float(linalg.norm(composed(model) - filter_, 2)),
            NEAR,
            "U_k diag(l / (l + v)) U_kᵀ",
        )
    points = images(x[:200])
    field = (model.reconstruct(points) - points).reshape(-1, D)
    S = x.T @ x / len(x)
    score = -linalg.solve(S + VARIANCE * np.eye(D), x[:200].T, assume_a="pos").T
    yield Claim.compare(
        "denoising/score",
        "r(x) − x is v times the score: distance over length, over 200 digits",
        float(linalg.norm(VARIANCE * score)),
        float(linalg.norm(field)),
        float(linalg.norm(field - VARIANCE * score) / linalg.norm(VARIANCE * score)),
        NEAR,
        "r(x) − x = v ∇ log p_v(x)",
    )
