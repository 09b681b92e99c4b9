"""The bound ledger: what a model's objective is made of, and between what it lies.

All terms are in nats per image. Two numbers say what the objective can be:

    floor      Σ H(x_i), the entropy of the pixels: grey pixels taken as probabilities
               leave at least that much unexplained, to any model
    collapsed  what a decoder gets that ignores its code and always says the mean image
               of the training split, with a KL of 0
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset
from minivae.errors import UserError
from minivae.models import Autoencoder
from minivae.ops.losses import LOG_2PI
from minivae.tensor import Tensor, no_grad
from minivae.train import evaluation_noise

ACTIVE_VARIANCE = 0.01  # Burda, Grosse, Salakhutdinov 2016, section 5.1.1


@no_grad()
def ledger(
    model: Autoencoder,
    data: Dataset,
    *,
    split: str = "test",
    draws: int = 16,
    batch: int = 500,
) -> dict[str, Any]:
    """Measure a model on a split, with `draws` codes an image from fixed noise.

    Deterministic, and up to rounding independent of `batch`. `neg_elbo` is recon + kl
    (beta is not in it) where the model has a posterior and its likelihood is a density,
    else None; `neg_elbo_se` its standard error over images. An active unit is a latent
    whose posterior mean varies by more than 0.01 over the images.
    """
    if draws < 1 or batch < 1:
        raise UserError(f"draws and batch must be at least 1, not {draws} and {batch}")
    images = data.split(split).images
    if model.shape != images.shape[1:]:
        raise UserError(
            f"the model takes {model.shape} images, {data.name} {data.shape}"
        )
    recon, kl, means = [], [], []
    for start in range(0, len(images), batch):
        x = model.here(images[start : start + batch])
        encoded = model.encode(x)
        if not isinstance(encoded, Tensor):
            noise = (evaluation_noise(model, start, len(x), s) for s in range(draws))
            recon.append(
                np.mean(
                    [_recon(model, encoded.sample(eps), x) for eps in noise], axis=0
                )
            )
            kl.append(encoded.kl_per_latent().numpy().astype(np.float64))
            means.append(encoded.mean.numpy().astype(np.float64))
        else:
            recon.append(_recon(model, encoded, x))
            kl.append(np.zeros((len(x), 0)))
            means.append(encoded.numpy().astype(np.float64))
    return _summary(model, data, split, *map(np.concatenate, (recon, kl, means)))


def _recon(model: Autoencoder, z: Any, x: Array) -> Array:
    return model.recon(z, x, None, "none").numpy().astype(np.float64)


def _summary(
    model: Autoencoder, data: Dataset, split: str, recon: Array, kl: Array, means: Array
) -> dict[str, Any]:
    per_image = recon + kl.sum(axis=1)
    is_bound = model.has_kl and model.likelihood.is_density
    return {
        "model": model.name,
        "likelihood": model.likelihood.name,
        "data": data.name,
        "split": split,
        "n_images": len(recon),
        "unit": model.likelihood.unit,
        "beta": model.beta if model.has_kl else None,
        "objective": float(recon.mean() + model.beta * kl.sum(axis=1).mean()),
        "neg_elbo": float(per_image.mean()) if is_bound else None,
        "neg_elbo_se": standard_error(per_image) if is_bound else None,
        "recon": float(recon.mean()),
        "kl": float(kl.sum(axis=1).mean()),
        "kl_per_latent": [float(k) for k in kl.mean(axis=0)],
        "active_units": int((means.var(axis=0) > ACTIVE_VARIANCE).sum()),
        "floor": floor(model.likelihood.name, data, split),
        "collapsed": collapsed(model.likelihood.name, data, split),
    }


def standard_error(values: Array) -> float:
    """Return the standard error of the mean of independent values."""
    return (
        float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
    )


def floor(likelihood: str, data: Dataset, split: str) -> float | None:
    """Return the mean entropy of the images' pixels, or None where nothing bounds.

    Under `dynamic` and `fixed` the 0/1 images are draws from the grey ones: whatever a
    model knows, E[−log p(x)] >= H(x). Data that are 0/1 in themselves have no floor
    but 0.
    """
    if likelihood not in ("bernoulli", "soft_bce"):
        return None
    return float(cross_entropy(_intensities(data, split), _intensities(data, split)))


def collapsed(likelihood: str, data: Dataset, split: str) -> float | None:
    """Return the reconstruction term of the constant mean image of training.

    A Gaussian decoder has the training split's residual variance as its sigma²; where
    that is 0, its density has no bound and the answer is None.
    """
    images, mean = _intensities(data, split), _intensities(data, "train").mean(axis=0)
    if likelihood in ("bernoulli", "soft_bce"):
        N = len(data.train)
        # a pixel that was never lit in training may be lit here: not impossible
        return cross_entropy(images, mean.clip(0.5 / N, 1 - 0.5 / N))
    squares = float(((images - mean) ** 2).sum(axis=1).mean())
    if likelihood == "squared_error":
        return squares
    D = images.shape[1]
    variance = float(((_intensities(data, "train") - mean) ** 2).mean())
    if variance == 0:
        return None
    return 0.5 * (D * (LOG_2PI + math.log(variance)) + squares / variance)


def _intensities(data: Dataset, split: str) -> Array:
    """Return the probability of a 1 for every pixel, (N, D) in float64."""
    part = data.split(split)
    drawn = part.mode in ("fixed", "dynamic")
    images = part.grey if drawn else part.images
    return images.reshape(len(images), -1).astype(np.float64)


def cross_entropy(images: Array, probabilities: Array) -> float:
    """Return the mean over images of −Σ x log p + (1 − x) log(1 − p); 0 log 0 = 0."""
    tiny = np.finfo(np.float64).tiny
    p, q = np.maximum(probabilities, tiny), np.maximum(1 - probabilities, tiny)
    terms = images * np.log(p) + (1 - images) * np.log(q)
    return float(-terms.sum(axis=1).mean())
