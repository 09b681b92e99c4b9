"""The linear autoencoder is PCA: the same loss, the same projection.

    min |x − decoder(encoder(x))|² = Σ_{i>k} l_i,   decoder ∘ encoder = U_k U_kᵀ

Not the same weights: any invertible mixing of the code is allowed, and undone by the
decoder. PCA is scikit-learn's. Source: Baldi & Hornik 1989.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivae.gradcheck import Claim
from minivae.verify.exact import digits
from minivae.verify.linear import images, linear_model, train

STEPS = 1500


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about `latent` latents."""
    from sklearn.decomposition import PCA

    x = digits()
    pca = PCA(latent, svd_solver="full").fit(x)
    least = float(((x - pca.inverse_transform(pca.transform(x))) ** 2).sum(1).mean())
    model = linear_model("ae", latent, likelihood="squared_error")
    train(model, images(x), STEPS)
    error = model.loss_terms(images(x)).loss.item()
    yield Claim.equal(
        "linear_ae/squared error",
        f"{latent} latents, trained, leave what PCA discards",
        least,
        error,
        1e-3 * least,
        "Σ_{i>k} l_i",
    )
    rebuilt = model.reconstruct(images(x)).reshape(x.shape)
    projected = pca.inverse_transform(pca.transform(x))
    apart = float(((rebuilt - projected) ** 2).sum(axis=1).mean())
    yield Claim.compare(
        "linear_ae/projection",
        "its reconstructions are PCA's: mean squared distance over what is kept",
        float((projected**2).sum(axis=1).mean()),
        float((rebuilt**2).sum(axis=1).mean()),
        apart / float((projected**2).sum(axis=1).mean()),
        1e-2,
        "decoder ∘ encoder = U_k U_kᵀ",
    )
    state = model.state()
    product = state["decoder.0.weight"] @ state["code_layer.weight"]
    within = pca.components_
    yield Claim.compare(
        "linear_ae/projector",
        "decoder times encoder leaves each principal direction as it is",
        1.0,
        float(np.einsum("kd,de,ke->k", within, product, within).mean()),
        float(np.abs(within @ product @ within.T - np.eye(latent)).max()),
        0.05,
        "U_kᵀ A U_k = I",
    )
