"""A denoising autoencoder's field is v times the score of the spoilt density.

    r(x) = E[clean | noisy = x] = x + v ∇ log p_v(x),   p_v = p ∗ N(0, v I)

For a mixture of Gaussians both sides are closed forms, and a small net with two hidden
layers comes near them where there are data.
Sources: Robbins 1956 (Tweedie's formula); Vincent 2011; Alain & Bengio 2014, theorem 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivae.evaluate.field import reconstruction_field
from minivae.gradcheck import Claim
from minivae.models import Autoencoder, build
from minivae.optim import Adam, scheduled_lr
from minivae.random import Noise, Stream
from minivae.verify.exact import GaussianMixture

VARIANCE = 0.1
ANGLES = 2 * np.pi * np.arange(5) / 5
MIXTURE = GaussianMixture(
    np.full(5, 0.2), np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), 0.02
)
"""Five Gaussians on a circle."""
STEPS, BATCH = 1500, 256


def drawn(n: int, noise: Noise) -> np.ndarray:
    """Draw n points of the mixture as images (n, 1, 1, 2)."""
    which = (noise.uniform((n,), np.float64) * len(MIXTURE.means)).astype(int)
    spread = np.sqrt(MIXTURE.s2) * noise.normal((n, 2), np.float64)
    return (MIXTURE.means[which] + spread).reshape(n, 1, 1, 2)


def trained(steps: int = STEPS) -> Autoencoder:
    """Return a denoising autoencoder of points in the plane."""
    model = build(
        "dae",
        shape=(1, 1, 2),
        latent=32,
        hidden=(64,),
        activation="tanh",
        code_activation="tanh",
        likelihood="squared_error",
        noise=f"gaussian:{VARIANCE}",
    )
    optimizer = Adam(model.parameters())
    points, noise = Noise(0, Stream.CHECK), Noise(0, model.noise_stream)
    for step in range(steps):
        optimizer.lr = scheduled_lr("cosine", 0.01, step, steps)
        optimizer.zero_grad()
        model.loss_terms(drawn(BATCH, points), noise).loss.backward()
        optimizer.step()
    return model


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about points in the plane, whatever `latent` is."""
    noise = Noise(1, Stream.CHECK)
    points = drawn(2000, noise).reshape(-1, 2)
    points = points + np.sqrt(VARIANCE) * noise.normal(points.shape, np.float64)
    field = VARIANCE * MIXTURE.spoilt(VARIANCE).score(points)
    conditional = MIXTURE.denoised(points, VARIANCE) - points
    yield Claim.equal(
        "score/Tweedie",
        "the mean clean point, less the noisy one, is v times the score",
        0.0,
        float(np.abs(conditional - field).max()),
        1e-12,
        "E[clean | x] − x = v ∇ log p_v(x)",
    )
    found = reconstruction_field(trained(), points)
    squares = float((field**2).sum(axis=1).mean())
    apart = float(((found - field) ** 2).sum(axis=1).mean())
    yield Claim.compare(
        "score/field",
        "the trained field is that within 5 %: mean squares over noisy points",
        squares,
        float((found**2).sum(axis=1).mean()),
        apart / squares,
        0.05,
        "r(x) − x = v ∇ log p_v(x)",
    )
