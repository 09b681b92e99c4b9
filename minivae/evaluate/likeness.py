"""Numbers beside the pictures: is the model better than a linear one, or than none?

    reconstruct, manifold  squared error of test images rebuilt from the mean code,
                           beside as many principal components
    interpolate            squared distance of a path's middle from the nearest training
                           image, beside the middle of two faded grey images
    sample                 the same of samples, beside those of a Gaussian on as many
                           principal components, and of test images

A distance between pixels forgives blur: a grey compromise is near to everything. Small
is good only where it is not smaller than the test images' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset, in_blocks
from minivae.errors import UserError
from minivae.evaluate.features import (
    BLOCK,
    about,
    check_shape,
    fitted_pca,
    flat,
    squares,
)
from minivae.evaluate.intervals import Verdict, crossed
from minivae.evaluate.pictures import PATHS, path_between
from minivae.models import Autoencoder
from minivae.random import Noise, Stream

COUNT = 500  # samples, or pairs of images, that are measured


def reconstruction(model: Autoencoder, data: Dataset, split: str) -> dict[str, Any]:
    """Return the squared error an image from mean codes, and from PCA of their size."""
    check_shape(model, data)
    images = data.split(split).images
    pca = fitted_pca(data.train.images, model.latent)
    by_code, by_pca = [], []
    for start in range(0, len(images), BLOCK):
        x = images[start : start + BLOCK]
        pixels = flat(x)
        by_code.append(squares(pixels, flat(model.reconstruct(x))))
        linear = pca.inverse_transform(pca.transform(pixels))
        by_pca.append(squares(pixels, linear))
    errors = {
        "code": np.concatenate(by_code),
        f"PCA of {pca.n_components_}": np.concatenate(by_pca),
    }
    return _document(about(model, data, split), "squared error", errors, ("code",))


def interpolation(
    model: Autoencoder, data: Dataset, split: str, seed: int = 0
) -> dict[str, Any]:
    """Return how far the middles of 500 random pairs are from the training images."""
    check_shape(model, data)
    images = data.split(split)
    if len(images) < 2:
        raise UserError(f"the {split} split of {data.name} has no two images")
    rng = np.random.default_rng(seed)
    pairs = [rng.choice(len(images), 2, replace=False) for _ in range(COUNT)]
    distances = {}
    for path in PATHS:
        middles = [path_between(model, images, (a, b), 3, path)[1] for a, b in pairs]
        distances[path] = nearest_training_image(np.stack(middles), data)
    document = about(model, data, split) | {"pairs": COUNT}
    return _document(document, DISTANCE, distances, ("linear", "spherical"))


def sampling(model: Autoencoder, data: Dataset, seed: int = 0) -> dict[str, Any]:
    """Return how far 500 samples are from the training images."""
    check_shape(model, data)
    noise = Noise(seed, Stream.PRIOR)
    pca = fitted_pca(data.train.images, model.latent)
    draws = Noise(seed, Stream.PRIOR).normal((COUNT, pca.n_components_), np.float64)
    linear = pca.inverse_transform(draws * np.sqrt(pca.explained_variance_))
    distances = {
        "samples": nearest_training_image(model.sample(COUNT, noise), data),
        f"PCA of {pca.n_components_}": nearest_training_image(
            linear.clip(0, 1).reshape(-1, *data.shape), data
        ),
        "test images": nearest_training_image(data.test.grey[:COUNT], data),
    }
    document = about(model, data, "test") | {"code": None, "samples": COUNT}
    return _document(document, DISTANCE, distances, ("samples",), ("test images",))


DISTANCE = "squared distance from the nearest training image"


def _document(
    start: Mapping[str, Any],
    measure: str,
    values: Mapping[str, Array],
    ours: tuple[str, ...],
    references: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return rows and verdicts of what is the better the smaller."""
    (rival,) = [name for name in values if name not in ours + references]
    verdicts = {
        name: Verdict(name, rival, crossed((values[rival] - values[name])[None]))
        for name in ours
    }
    return dict(start) | {
        "measure": measure,
        "rows": {name: crossed(v[None])._asdict() for name, v in values.items()},
        "verdicts": {name: verdict.document() for name, verdict in verdicts.items()},
    }


def nearest_training_image(images: Array, data: Dataset) -> Array:
    """Return each image's squared distance from the nearest grey training image."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=1, algorithm="brute")
    nearest = np.full(len(images), np.inf)
    for grey in in_blocks(data.train.grey):
        distances, _ = search.fit(flat(grey)).kneighbors(flat(images))
        nearest = np.minimum(nearest, distances[:, 0])
    return nearest**2
