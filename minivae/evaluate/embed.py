"""A picture of the codes in two dimensions, beside the best linear one of the pixels.

How far a picture can be trusted: whether images that are neighbours in it were
neighbours among the pixels,

    T = 1 − 2 / (N k (2N − 3k − 1)) Σ_i Σ_{j in U_k(i)} (r(i, j) − k)

with r(i, j) the rank of j among the pixel neighbours of i, and U_k(i) those of the k
neighbours in the picture that are not among the k by pixels. Source: Venna & Kaski
2001. The yardstick is the distance of pixels, which is what PCA keeps: a code that
groups images by what they show may well lose.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset
from minivae.errors import UserError
from minivae.evaluate.features import (
    about,
    check_latents,
    check_shape,
    fitted_pca,
    flat,
    mean_codes,
)
from minivae.evaluate.intervals import Verdict, crossed
from minivae.evaluate.pictures import ranked_latents
from minivae.models import Autoencoder

MOST = 2000  # images: the ranks are a matrix of their square
WAYS = ("pca", "kl")


class Embedding(NamedTuple):
    """Points of code and baseline (N, 2), the codes (N, Z), and the numbers."""

    code: Array
    pca: Array
    codes: Array
    axes: tuple[str, str]
    labels: Array | None
    document: dict[str, Any]


def embed(
    model: Autoencoder,
    data: Dataset,
    *,
    latents: tuple[int, int] | None = None,
    by: str = "pca",
    neighbours: int = 5,
    split: str = "test",
) -> Embedding:
    """Place the first 2,000 images of a split in the plane, by mean code and by PCA.

    Two latents are drawn as they are, or the two asked for. Of more, the first two
    principal components of the training images' codes (`by` "pca"), which show what
    varies most, or the two latents of the largest KL ("kl"). The baseline is the first
    two principal components of the training images' pixels. Raises `UserError` for a
    code of one number and for latents that are not there.
    """
    check_shape(model, data)
    part = data.split(split)
    images, labels = part.images[:MOST], part.labels
    N = len(images)
    if not 1 <= neighbours < N / 2:
        raise UserError(
            f"trustworthiness of {N} images takes 1 to {(N - 1) // 2} neighbours, "
            f"not {neighbours}"
        )
    codes = mean_codes(model, images)
    code, axes = plane(model, data, codes, latents, by)
    pca = fitted_pca(data.train.images, 2).transform(flat(images))
    terms = {
        name: trust_terms(flat(images), points, neighbours)
        for name, points in (("code", code), ("pca", pca))
    }
    verdict = Verdict("code", "PCA", crossed((terms["code"] - terms["pca"])[None]))
    found = {name: crossed(term[None])._asdict() for name, term in terms.items()}
    document = about(model, data, split) | {
        "n_images": N,
        "axes": list(axes),
        "neighbours": neighbours,
        "trustworthiness": found,
        "verdict": verdict.document(),
    }
    shown = None if labels is None else labels[:MOST]
    return Embedding(code, pca, codes, axes, shown, document)


def plane(
    model: Autoencoder,
    data: Dataset,
    codes: Array,
    latents: tuple[int, int] | None = None,
    by: str = "pca",
) -> tuple[Array, tuple[str, str]]:
    """Return points (N, 2) of codes (N, Z), and what the two axes are."""
    if by not in WAYS:
        raise UserError(f"by is {' or '.join(WAYS)}, not {by}")
    Z = model.latent
    if latents is not None:
        check_latents(model, latents)
        a, b = latents
        return codes[:, [a, b]], (f"latent {a}", f"latent {b}")
    if Z < 2:
        raise UserError("a picture in the plane needs two latents; this model has one")
    if Z == 2:
        return codes, ("latent 0", "latent 1")
    if by == "kl":
        (a, b, *_), _, what = ranked_latents(model, data)
        if what != "KL":
            raise UserError(f"the latents of {model.name} have no KL of their own")
        return codes[:, [a, b]], (f"latent {a}, largest KL", f"latent {b}, next")
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="covariance_eigh")
    pca.fit(mean_codes(model, data.train.images))
    shares = pca.explained_variance_ratio_
    first, second = (
        f"component {i} of {Z} latents ({100 * share:.0f} % of variance)"
        for i, share in enumerate(shares, start=1)
    )
    return pca.transform(codes), (first, second)


def trust_terms(high: Array, low: Array, k: int) -> Array:
    """Return each image's term of the trustworthiness, (N,): T is their mean.

    scikit-learn's `trustworthiness` gives T alone, and an interval needs the terms.
    """
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    N = len(high)
    distances = pairwise_distances(high)
    np.fill_diagonal(distances, np.inf)
    order = distances.argsort(axis=1)
    ranks = np.empty((N, N), np.int64)
    np.put_along_axis(ranks, order, np.arange(1, N + 1)[None], axis=1)
    near = NearestNeighbors(n_neighbors=k).fit(low).kneighbors(return_distance=False)
    beyond = np.maximum(np.take_along_axis(ranks, near, axis=1) - k, 0)
    terms: Array = 1 - beyond.sum(axis=1) * (2 / (k * (2 * N - 3 * k - 1)))
    return terms
