"""The linear autoencoder is PCA: the same loss, the same subspace, the same projection.

    min |x − decoder(encoder(x))|² = Σ_{i>k} l_i,   decoder ∘ encoder = U_k U_kᵀ

Not the same weights: any invertible mixing of the code is allowed, and undone by the
decoder. PCA is scikit-learn's. Source: Baldi & Hornik 1989.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import linalg

from minivae.gradcheck import Claim
from minivae.verify.exact import digits, same_moments
from minivae.verify.linear import composed, images, linear_model, train

NEAR = 1e-3
LR = 0.02


def steps_for(latent: int) -> int:
    """How many steps training takes: neighbouring eigenvalues part late."""
    return 1000 if latent <= 5 else 3000


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about `latent` latents."""
    from sklearn.decomposition import PCA

    x = digits()
    pca = PCA(latent, svd_solver="full").fit(x)
    projected = pca.inverse_transform(pca.transform(x))
    least = float(((x - projected) ** 2).sum(1).mean())
    model = linear_model("ae", latent, likelihood="squared_error")
    train(model, images(same_moments(x)), steps_for(latent), LR)
    yield Claim.equal(
        "linear_ae/squared error",
        f"{latent} latents, trained, leave what PCA discards",
        least,
        model.loss_terms(images(x)).loss.item(),
        1e-6 * least,
        "Σ_{i>k} l_i",
    )
    basis = linalg.orth(model.state()["decoder.0.weight"])
    exact = pca.components_.T @ pca.components_
    yield Claim.equal(
        "linear_ae/subspace",
        "the decoder spans PCA's subspace: distance of the projectors, spectral norm",
        0.0,
        float(linalg.norm(basis @ basis.T - exact, 2)),
        NEAR,
        "P = U_k U_kᵀ",
    )
    rebuilt = model.reconstruct(images(x)).reshape(x.shape)
    apart = float(((rebuilt - projected) ** 2).sum(axis=1).mean())
    kept = float((projected**2).sum(axis=1).mean())
    yield Claim.compare(
        "linear_ae/projection",
        "its reconstructions are PCA's: mean squared distance over what is kept",
        kept,
        float((rebuilt**2).sum(axis=1).mean()),
        apart / kept,
        NEAR**2,
        "decoder ∘ encoder = U_k U_kᵀ",
    )
    within = pca.components_
    there = within @ composed(model) @ within.T
    yield Claim.compare(
        "linear_ae/projector",
        "decoder times encoder leaves each principal direction as it is",
        1.0,
        float(np.trace(there) / latent),
        float(np.abs(there - np.eye(latent)).max()),
        NEAR,
        "U_kᵀ A U_k = I",
    )
