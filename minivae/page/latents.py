"""The map of a model's codes: which two directions to draw, and in what words."""

from __future__ import annotations

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset
from minivae.evaluate.embed import plane
from minivae.models import Autoencoder
from minivae.page import drawing

POINTS = 1500  # drawn at most: more would only hide one another


def latent_map(model: Autoencoder, data: Dataset, kl: list[float]) -> tuple[str, str]:
    """Return the drawing of test images' codes by class, as HTML, and its caption."""
    images = data.test.images[:POINTS]
    labels = data.test.labels
    labels = np.zeros(len(images), np.int64) if labels is None else labels[:POINTS]
    present, groups = np.unique(labels, return_inverse=True)
    names = [data.class_name(int(label)) for label in present]
    points, (x_name, y_name), which = _chosen(model.embed(images), kl)
    prior = model.has_kl and model.latent > 1
    kind = "Mean codes" if model.has_kl else "Codes"
    drawn = drawing.scatter(
        points,
        groups,
        names,
        x_name=x_name,
        y_name=y_name,
        prior=prior,
        text=f"{kind} of {len(images)} test images, {x_name} against {y_name}"
        + (f", in {len(names)} classes: {', '.join(names)}" if len(names) > 1 else ""),
    )
    caption = f"{kind} of {len(images):,} test images: {which}."
    if len(names) > 1:
        drawn += drawing.legend(names)
        caption += " Names stand near their classes' medians."
    if prior:
        caption += " Circles: one and two standard deviations of the prior."
    return drawn, caption


def _chosen(codes: Array, kl: list[float]) -> tuple[Array, tuple[str, str], str]:
    """Return points (N, 2) of codes (N, Z), the names of the axes, and the choice.

    One latent is drawn against the image's number.
    """
    N, Z = codes.shape
    codes = codes.astype(np.float64)
    if Z == 1:
        spread = codes.std() or 1.0
        height = np.linspace(-2 * spread, 2 * spread, N)
        points = np.stack([codes[:, 0], height], axis=1)
        return points, ("latent 0", "images, one above another"), "there is one latent"
    return plane(codes, kl)
