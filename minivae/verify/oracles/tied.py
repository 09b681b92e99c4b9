"""Tied weights: the linear autoencoder is PCA, and its weights are orthonormal too.

    min_W |x − Wᵀ W x|² = Σ_{i>k} l_i,   Wᵀ W = U_k U_kᵀ,   W Wᵀ = I

Where weights are free, any mixing of the code can be undone by the decoder; here only a
rotation can. Sources: Baldi & Hornik 1989; Oja 1982.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import linalg

from minivae.gradcheck import Claim
from minivae.verify.exact import Spectrum, digits, same_moments
from minivae.verify.linear import composed, images, linear_model, train
from minivae.verify.oracles.linear_ae import LR, NEAR, steps_for


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about `latent` latents."""
    x = digits()
    spectrum = Spectrum.of(x)
    model = linear_model("ae", latent, likelihood="squared_error", tied=True)
    train(model, images(same_moments(x)), steps_for(latent), LR)
    least = spectrum.discarded(latent)
    yield Claim.equal(
        "tied/squared error",
        f"{latent} latents with one weight, trained, leave what PCA discards",
        least,
        model.loss_terms(images(x)).loss.item(),
        1e-6 * least,
        "Σ_{i>k} l_i",
    )
    U = spectrum.U[:, :latent]
    yield Claim.equal(
        "tied/projector",
        "decoder times encoder is PCA's projector: spectral norm of the difference",
        0.0,
        float(linalg.norm(composed(model) - U @ U.T, 2)),
        NEAR,
        "Wᵀ W = U_k U_kᵀ",
    )
    weight = model.state()["code_layer.weight"]
    yield Claim.equal(
        "tied/orthonormal",
        "the rows of the weight are orthonormal: largest element of W Wᵀ − I",
        0.0,
        float(np.abs(weight @ weight.T - np.eye(latent)).max()),
        NEAR,
        "W Wᵀ = I",
    )
