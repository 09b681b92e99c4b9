"""What an application works on: the code, and what it has to be better than.

    code     the model's mean codes (N, Z)
    pca      the first Z principal components of the training images (N, min(Z, D))
    pixels   the images themselves (N, D)

All see the same images, those of evaluation: binary ones are drawn once and for ever.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset, Images, in_blocks
from minivae.data.stored import piece_of
from minivae.errors import UserError
from minivae.models import Autoencoder, MixtureVAE
from minivae.tensor import Tensor, no_grad

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

BLOCK = 500  # images encoded at once
CODE, BASELINES = "code", ("pca", "pixels")
FEATURES = (CODE, *BASELINES)


class Features(NamedTuple):
    """The training split and the split that is scored, (N, d) each."""

    train: Array
    test: Array


def flat(images: Images) -> Array:
    """Return images (N, C, H, W) as rows of pixels (N, D) in float64."""
    return np.asarray(images).reshape(len(images), -1).astype(np.float64)


def squares(x: Array, y: Array) -> Array:
    """Return Σ (x − y)² of each row, (N,)."""
    summed: Array = ((x - y) ** 2).sum(axis=1)
    return summed


def mean_codes(model: Autoencoder, images: Images) -> Array:
    """Return the mean codes (N, Z) of images in float64."""
    starts = range(0, len(images), BLOCK)
    parts = [model.embed(images[start : start + BLOCK]) for start in starts]
    return np.concatenate(parts).reshape(len(images), -1).astype(np.float64)


def fitted_pca(images: Images, components: int) -> PCA:
    """Return PCA of images; of as many components as there can be, at most."""
    from sklearn.decomposition import PCA

    most = min(components, len(images), math.prod(images.shape[1:]))
    is_one = piece_of(images) >= len(images)
    rows = flat(images) if is_one else rows_alike(images)
    return PCA(most, svd_solver="covariance_eigh").fit(rows)


def rows_alike(images: Images) -> Array:
    """Return rows (2 D, D) with the mean and the covariance of all images' pixels.

    With C = Σ v v' and n rows they are mean ± v √((n − 1) / 2): of a set that stays on
    the disk a block is in memory at a time.
    """
    N, D = len(images), math.prod(images.shape[1:])
    mean = sum(flat(x).sum(axis=0) for x in in_blocks(images)) / N
    apart = (flat(x) - mean for x in in_blocks(images))
    values, vectors = np.linalg.eigh(sum(x.T @ x for x in apart) / (N - 1))
    spread = (vectors * np.sqrt(values.clip(0) * (2 * D - 1) / 2)).T
    return np.concatenate([mean + spread, mean - spread])


def features(model: Autoencoder, data: Dataset, split: str) -> dict[str, Features]:
    """Return code, PCA of the same size and pixels, of training and of `split`."""
    check_shape(model, data)
    train, test = data.train.images, data.split(split).images
    pca = fitted_pca(train, model.latent)
    return {
        CODE: Features(mean_codes(model, train), mean_codes(model, test)),
        "pca": Features(pca.transform(flat(train)), pca.transform(flat(test))),
        "pixels": Features(flat(train), flat(test)),
    }


def check_shape(model: Autoencoder, data: Dataset) -> None:
    """Raise `UserError` if the model takes other images than the data set has."""
    if model.shape != data.shape:
        raise UserError(
            f"the model takes {model.shape} images, {data.name} {data.shape}"
        )


def check_latents(model: Autoencoder, latents: Sequence[int]) -> None:
    """Raise `UserError` for a latent that the model does not have."""
    for latent in latents:
        if not 0 <= latent < model.latent:
            raise UserError(f"no latent {latent}: there are 0 to {model.latent - 1}")


def labels_of(data: Dataset, split: str, purpose: str) -> Array:
    """Return the labels of a split; raises `UserError` for none, or one class."""
    labels = data.split(split).labels
    if labels is None:
        raise UserError(
            f"{data.name} has no labels, and {purpose} needs them: an .npz with "
            "`images` and `labels`"
        )
    labels = np.asarray(labels)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise UserError(
            f"{purpose} needs two classes or more: the {split} split of {data.name} "
            f"has only {data.class_name(int(classes[0]))}"
        )
    return labels


@no_grad()
def kl_per_latent(model: Autoencoder, images: Images) -> list[float]:
    """Return the mean KL of each latent; empty where it has none of its own."""
    if not model.has_kl or isinstance(model, MixtureVAE):
        return []
    sums = np.zeros(model.latent)
    for start in range(0, len(images), BLOCK):
        encoded: Any = model.encode(images[start : start + BLOCK])
        assert not isinstance(encoded, Tensor)
        sums += encoded.kl_per_latent().numpy().astype(np.float64).sum(axis=0)
    return [float(kl) for kl in sums / len(images)]


def about(model: Autoencoder, data: Dataset, split: str) -> dict[str, Any]:
    """Return what every application's document begins with."""
    return {
        "model": model.name,
        "latent": model.latent,
        "code": "mean",
        "data": data.name,
        "split": split,
        "n_images": len(data.split(split)),
    }
