"""Where an autoencoder moves what it is shown: r(x) − x.

Of one that was trained on Gaussian noise of variance v the arrows point to where the
data are dense: r(x) − x ≈ v ∇ log p_v(x), the score of the noisy data's density.
Sources: Vincent 2011; Alain & Bengio 2014, theorem 1.
"""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError
from minivae.models import Autoencoder


def reconstruction_field(model: Autoencoder, points: Array) -> Array:
    """Return r(x) − x at points (N, D), D the model's pixels, in float64."""
    D = math.prod(model.shape)
    if points.ndim != 2 or points.shape[1] != D:
        raise UserError(f"this model's points are (N, {D}), not {points.shape}")
    images = points.reshape(-1, *model.shape)
    moved = model.reconstruct(images).astype(np.float64)
    return moved.reshape(points.shape) - points
