"""The bound ledger: what a model's objective is made of, and between what it lies.

All terms are in nats per image. Two numbers say what the objective can be:

    floor      Σ H(x_i), the entropy of the pixels: grey pixels taken as probabilities
               leave at least that much unexplained, to any model
    collapsed  what a decoder gets that ignores its code and always says the mean image
               of the training split, with a KL of 0

Where there is a likelihood, the bounds stand in their order, and that is asserted:

    floor <= −log p(x) <= −L_50 <= −L_5 <= −ELBO
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minivae.backend import Array, each, limited_threads
from minivae.data import Dataset, Images
from minivae.errors import UserError
from minivae.evaluate.bounds import (
    AGGREGATED,
    EXACT_IMAGES,
    aggregate,
    assert_order,
    draw,
    exact_log_p,
    importance_bound,
)
from minivae.evaluate.features import flat
from minivae.evaluate.moments import Moments
from minivae.models import Autoencoder, MixtureVAE
from minivae.ops.losses import LOG_2PI
from minivae.tensor import Tensor, no_grad
from minivae.train import validate

ACTIVE_VARIANCE = 0.01  # Burda, Grosse, Salakhutdinov 2016, section 5.1.1
IWAE = (5, 50)
BLOCK = 500  # images turned to float64 at once
KEPT = 10_000  # images whose numbers are kept one by one until they are summed up


@limited_threads(None)  # as in training
@no_grad()
def ledger(
    model: Autoencoder,
    data: Dataset,
    *,
    split: str = "test",
    draws: int = 16,
    batch: int = 500,
    iwae: Sequence[int] = IWAE,
) -> dict[str, Any]:
    """Measure a model on a split, with `draws` codes an image from fixed noise.

    Deterministic, and up to rounding independent of `batch` and of how many threads
    there are. `neg_elbo` is recon + kl (beta is not in it) where the model has a
    posterior and its likelihood is a density, else None; `neg_elbo_se` its standard
    error over images. There too `iwae` has −L_k for each k asked for, and `log_p` the
    exact mean, if it can be had. An active unit is a latent whose posterior mean varies
    by more than 0.01 over the images. Raises `BoundsError` if a bound lies above what
    it bounds.
    """
    if draws < 1 or batch < 1:
        raise UserError(f"draws and batch must be at least 1, not {draws} and {batch}")
    if any(k < 1 for k in iwae):
        raise UserError(f"IWAE-k needs at least one draw, not k = {min(iwae)}")
    images = data.split(split).images
    if model.shape != images.shape[1:]:
        raise UserError(
            f"the model takes {model.shape} images, {data.name} {data.shape}"
        )
    is_bound = model.has_kl and model.likelihood.is_density
    ks = sorted(set(iwae)) if is_bound else []
    over, log_p = _summed_up(model, images, batch, draws, ks)
    found = _summary(model, data, split, over)
    found["iwae"] = {
        str(k): {
            "value": -float(over[f"IWAE-{k}"].mean),
            "se": over[f"IWAE-{k}"].error,
        }
        for k in ks
    }
    found |= _weights(model, found)
    if model.objective_formula:
        found["objective"] = validate(model, images, batch)["objective"]
    found["aggregate"] = None
    if model.has_kl:
        x = model.here(images[:AGGREGATED])
        found["aggregate"] = aggregate(model, x)._asdict()
    found["log_p"] = log_p
    return found


def _summed_up(
    model: Autoencoder, images: Images, batch: int, draws: int, ks: Sequence[int]
) -> tuple[dict[str, Moments], dict[str, Any] | None]:
    """Measure all images, and assert that the bounds stand in their order.

    Returns recon, kl, means, ELBO and IWAE-k over the images, and the exact log p. The
    numbers of a group of batches are kept at a time, so that a larger set takes no more
    memory.
    """
    measure = partial(_measure, model, images, batch, draws, ks)
    starts, group = range(0, len(images), batch), math.ceil(KEPT / batch)
    over: defaultdict[str, Moments] = defaultdict(Moments)
    log_p = None
    for first in range(0, len(starts), group):
        here = starts[first : first + group]
        measured = each(measure, here, model.first_parameter().data)
        recon, kl, means, *bounds = map(np.concatenate, zip(*measured, strict=True))
        columns = {"recon": recon, "kl": kl, "means": means}
        order = [("ELBO", -(recon + kl.sum(axis=1)))]
        order += [(f"IWAE-{k}", bound) for k, bound in zip(ks, bounds, strict=True)]
        for name, values in (columns | dict(order)).items():
            over[name].add(values)
        if model.has_kl and model.likelihood.is_density:
            assert_order(order)
            if not first:
                some = images[: min(EXACT_IMAGES, len(recon))]
                log_p = _exact(model, some, order)
    return over, log_p


@no_grad()
def _measure(
    model: Autoencoder,
    images: Images,
    batch: int,
    draws: int,
    ks: Sequence[int],
    first: int,
) -> tuple[Array, ...]:
    """Measure the batch that begins at image `first`.

    Returns recon (N,), kl (N, Z), mean codes (N, Z) and L_k (N,) for each k.
    """
    x = model.here(images[first : first + batch])
    encoded = model.encode(x)
    if isinstance(encoded, Tensor):
        recon = model.recon(encoded, x, None, "none").numpy().astype(np.float64)
        return recon, np.zeros((len(x), 0)), encoded.numpy().astype(np.float64)
    drawn = draw(model, x, max([draws, *ks]), first, bool(ks) or not _closed(model))
    kl = encoded.kl_per_latent().numpy().astype(np.float64)
    recon = drawn.recon[:draws].mean(axis=0)
    if not _closed(model):  # no KL by latent: its estimate stands in one column
        kl = (-drawn.log_w - drawn.recon)[:draws].mean(axis=0)[:, None]
    means = encoded.mean.numpy().astype(np.float64)
    return recon, kl, means, *(importance_bound(drawn.log_w, k) for k in ks)


def _closed(model: Autoencoder) -> bool:
    """Whether the KL to the model's prior has a closed form, latent by latent."""
    return not isinstance(model, MixtureVAE)


def _exact(
    model: Autoencoder, some: Array, order: list[tuple[str, Array]]
) -> dict[str, Any] | None:
    """Return the exact log p of some images; asserts that no bound is above it."""
    exact = exact_log_p(model, some)
    if exact is None:
        return None
    below = [(name, bound[: len(some)]) for name, bound in order]
    assert_order([below[-1], ("log p", exact.log_p)])
    return {
        "value": float(exact.log_p.mean()),
        "se": standard_error(exact.log_p),
        "method": exact.method,
        "n_images": len(some),
        "iwae_there": float(below[-1][1].mean()),
    }


def _weights(model: Autoencoder, found: dict[str, Any]) -> dict[str, Any]:
    """Return what the KL weighs, in numbers that compare across programs.

    normalised_beta  beta Z / D. Higgins et al. 2017, appendix A.6
    tau2             beta σ², for a Gaussian decoder: the variance at which beta is 1
    effective_beta   tau2 over the mean squared residual: beta if σ² were the best one
    """
    numbers = dict.fromkeys(("normalised_beta", "sigma2", "tau2", "effective_beta"))
    if not model.has_kl:
        return numbers
    D = math.prod(model.shape)
    found_beta: Any = {
        "normalised_beta": model.beta * model.latent / D,
        "effective_beta": model.beta,
    }
    if model.likelihood.name == "gaussian":
        logvar = model.sigma_logvar.numpy().astype(np.float64)
        sigma2 = float(np.exp(logvar).mean())
        found_beta |= {"sigma2": sigma2, "tau2": model.beta * sigma2}
        # recon = ½ Σ log 2π + ℓ + r² e^−ℓ, of which the last is the residual's share
        constant = 0.5 * D * (LOG_2PI + float(logvar.mean()))
        residual = 2 * (found["recon"] - constant) / D
        found_beta["effective_beta"] = model.beta / residual
    return numbers | found_beta


def _summary(
    model: Autoencoder, data: Dataset, split: str, over: dict[str, Moments]
) -> dict[str, Any]:
    recon = float(over["recon"].mean)
    kl = np.asarray(over["kl"].mean)
    is_bound = model.has_kl and model.likelihood.is_density
    return {
        "model": model.name,
        **subject(model, data, split),
        "unit": model.likelihood.unit,
        "beta": model.beta if model.has_kl else None,
        "objective_formula": model.objective_formula,
        "noise": model.config().get("noise"),
        "objective": recon + model.beta * float(kl.sum()),
        "neg_elbo": -float(over["ELBO"].mean) if is_bound else None,
        "neg_elbo_se": over["ELBO"].error if is_bound else None,
        "recon": recon,
        "kl": float(kl.sum()),
        "kl_per_latent": kl.tolist() if _closed(model) else [],
        "active_units": int((over["means"].variance > ACTIVE_VARIANCE).sum()),
        "floor": floor(model.likelihood.name, data, split),
        "collapsed": collapsed(model.likelihood.name, data, split),
    }


def subject(model: Autoencoder, data: Dataset, split: str) -> dict[str, Any]:
    """Return what a ledger is of, as it says itself, without measuring anything."""
    return {
        "likelihood": model.likelihood.name,
        "data": data.name,
        "split": split,
        "n_images": len(data.split(split)),
    }


SAME = {
    "likelihood": "their nats are of different densities",
    "data": "other images, another split or another way to 0 and 1 is another set",
    "split": "they saw different images",
    "n_images": "they saw different images",
}


def comparable(subjects: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Raise `UserError` if ledgers may not stand in one table, and say why.

    `subjects` are theirs, or the ledgers themselves.
    """
    for name, other in zip(names[1:], subjects[1:], strict=True):
        for key, reason in SAME.items():
            if subjects[0][key] != other[key]:
                raise UserError(
                    f"{names[0]} and {name} cannot be compared: {key} "
                    f"{subjects[0][key]} and {other[key]}; {reason}"
                )


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
    return cross_entropy(_intensities(data, split))


def collapsed(likelihood: str, data: Dataset, split: str) -> float | None:
    """Return the reconstruction term of the constant mean image of training.

    A Gaussian decoder has the training split's residual variance as its sigma²; where
    that is 0, its density has no bound and the answer is None.
    """
    images, train = _intensities(data, split), _intensities(data, "train")
    mean = _mean_over(train, lambda x: x)
    if likelihood in ("bernoulli", "soft_bce"):
        N = len(data.train)
        # a pixel that was never lit in training may be lit here: not impossible
        return cross_entropy(images, mean.clip(0.5 / N, 1 - 0.5 / N))
    squares = float(_mean_over(images, lambda x: ((x - mean) ** 2).sum(axis=1)))
    if likelihood == "squared_error":
        return squares
    D = math.prod(images.shape[1:])
    variance = float(_mean_over(train, lambda x: ((x - mean) ** 2).mean(axis=1)))
    if variance == 0:
        return None
    return 0.5 * (D * (LOG_2PI + math.log(variance)) + squares / variance)


def _intensities(data: Dataset, split: str) -> Images:
    """Return the probability of a 1 for every pixel."""
    part = data.split(split)
    drawn = part.mode in ("fixed", "dynamic")
    return part.grey if drawn else part.images


def cross_entropy(images: Images, probabilities: Array | None = None) -> float:
    """Return the mean over images of −Σ x log p + (1 − x) log(1 − p); 0 log 0 = 0.

    p is the same for every image, or x itself: then it is the pixels' entropy.
    """
    tiny = np.finfo(np.float64).tiny

    def of_each(x: Array) -> Array:
        p = x if probabilities is None else probabilities
        logs = np.log(np.maximum(p, tiny)), np.log(np.maximum(1 - p, tiny))
        return -(x * logs[0] + (1 - x) * logs[1]).sum(axis=1)

    return float(_mean_over(images, of_each))


def _mean_over(images: Images, of_each: Callable[[Array], Array]) -> Array:
    """Return the mean of what `of_each` makes of pixels (N, D), block by block."""
    starts = range(0, len(images), BLOCK)
    blocks = (images[start : start + BLOCK] for start in starts)
    sums = (of_each(flat(block)).sum(axis=0) for block in blocks)
    return np.asarray(sum(sums) / len(images))
