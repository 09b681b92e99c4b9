"""Masking noise, marginalised: the best linear map from images with pixels missing.

    A = q Q [q² Q + p q diag Q]⁻¹,   loss = tr Q − q tr(A Q),   q = 1 − p

Q is the second moment of the images, here digits of 4 x 4 pixels, centred. The mean
over all 2^D masks is had exactly, from masks with the same first two moments.
Source: Chen, Xu, Weinberger & Sha 2012, section 3 (marginalized denoising).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy import linalg

from minivae.backend import Array
from minivae.gradcheck import Claim
from minivae.models import Autoencoder
from minivae.tensor import Tensor
from minivae.verify.exact import (
    coarse_digits,
    marginalised_masking,
    mask_design,
    same_moments,
)
from minivae.verify.linear import composed, linear_model, train
from minivae.verify.oracles.linear_ae import NEAR

P = 0.3
SHAPE = (1, 4, 4)
STEPS = 1500


def expected_loss(model: Autoencoder, x: Array) -> Tensor:
    """The loss of images (N, D), its mean over all masks, by the model's own noise."""
    masks, weights = mask_design(x.shape[1], P)
    u = np.where(masks, (1 + P) / 2, P / 2)  # uniforms that keep, and that drop
    images = np.repeat(x, len(masks), axis=0).reshape(-1, *SHAPE)
    noise = np.tile(u, (len(x), 1)).reshape(-1, *SHAPE)
    each = model.loss_terms(images, noise, reduction="none").loss
    return (each * (np.tile(weights, len(x)) / len(x))).sum()


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about as many latents as pixels, whatever `latent` is."""
    x = coarse_digits()
    D = x.shape[1]
    A, least = marginalised_masking(x.T @ x / len(x), P)
    options = {"likelihood": "squared_error", "noise": f"mask:{P}"}
    model = linear_model("dae", D, shape=SHAPE, **options)
    points = same_moments(x)
    loss = partial(expected_loss, model, points)
    train(model, points, STEPS, loss=loss)
    yield Claim.equal(
        "masking/loss",
        f"pixels missing with probability {P}: the trained loss is the least there is",
        least,
        loss().item(),
        1e-6 * least,
        "tr Q − q tr(A Q)",
    )
    yield Claim.equal(
        "masking/filter",
        "decoder times encoder is the marginalised solution: spectral norm of the rest",
        0.0,
        float(linalg.norm(composed(model) - A, 2)),
        NEAR,
        "q Q [q² Q + p q diag Q]⁻¹",
    )
