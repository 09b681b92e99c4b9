"""A model's codes against the factors that its images were made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset, Factors
from minivae.errors import UserError
from minivae.evaluate import factor_metrics as metrics
from minivae.evaluate.ledger import ACTIVE_VARIANCE
from minivae.models import Autoencoder
from minivae.random import Noise, Stream
from minivae.tensor import no_grad


def known_factors(data: Dataset) -> Factors:
    """Return the factors of a data set; raises `UserError` if it has none."""
    if data.factors is None:
        raise UserError(
            f"{data.name} has no factors, and disentanglement is measured against "
            "known ones: sprites16, sprites32 and sprites64 have them, and an .npz "
            "with imgs and latents_classes"
        )
    return data.factors


@no_grad()
def disentanglement(
    model: Autoencoder,
    data: Dataset,
    *,
    split: str = "test",
    images: int | None = None,
    latents: Sequence[int] | None = None,
    bins: int = metrics.BINS,
    seed: int = 0,
    batch: int = 500,
) -> dict[str, Any]:
    """Score the mean codes of a split (or its first `images`) against its factors.

    A latent counts if it is active: by the ledger's rule where there is a prior, else
    if it varies at all. What an inactive latent still says is below what the decoder
    hears, and scores that divide by its spread would hear it. `latents` chooses some.
    The same seed gives the same scores, whatever the `batch`, up to rounding. Raises
    `UserError` where there is nothing to measure.
    """
    factors = known_factors(data)
    part = data.split(split)
    N = len(part) if images is None else images
    if not 1 <= N <= len(part):
        raise UserError(f"{N} images asked for: {split} of {data.name} has {len(part)}")
    if model.shape != data.shape:
        raise UserError(f"the model takes {model.shape}, {data.name} has {data.shape}")
    if batch < 1:
        raise UserError(f"batch must be at least 1, not {batch}")
    assert part.factors is not None
    chosen = _latents(model, latents)
    x, classes = part.images[:N], part.factors[:N]
    starts = range(0, N, batch)
    codes = np.concatenate([model.embed(x[i : i + batch]) for i in starts])
    codes, classes = metrics.check(codes, classes, factors.names)
    variances = codes.var(axis=0)
    least = ACTIVE_VARIANCE if model.has_kl else 0.0
    active = [j for j in chosen if variances[j] > least]
    found: dict[str, Any] = {
        "split": split,
        "n_images": N,
        "bins": bins,
        "seed": seed,
        "factors": dict(zip(factors.names, factors.sizes, strict=True)),
        "latents": active,
    }
    # without an active latent the code is a constant
    codes = codes[:, active] if active else np.zeros((N, 1))
    kinds = [factors.number(name) for name in factors.unordered]
    noise = Noise(seed, Stream.FACTORS)
    found |= metrics.scores(codes, classes, noise, unordered=kinds, bins=bins)
    return found | {
        "mutual_information": _listed(
            metrics.mutual_information(codes, classes, bins), active
        ),
        "mi_bias": _listed(metrics.mi_bias(codes, classes, bins), active),
        "entropy": metrics.entropies(classes).tolist(),
    }


def _latents(model: Autoencoder, latents: Sequence[int] | None) -> list[int]:
    if latents is None:
        return list(range(model.latent))
    for j in latents:
        if not 0 <= j < model.latent:
            raise UserError(f"no latent {j}: there are 0 to {model.latent - 1}")
    if not latents or len({*latents}) < len(latents):
        raise UserError(f"latents are each named once, not {list(latents)}")
    return list(latents)


def _listed(matrix: Array, active: list[int]) -> list[list[float]]:
    return [[float(v) for v in row] for row in matrix] if active else []


def score_rows(found: dict[str, Any]) -> list[tuple[str, float, str]]:
    """Return name, score and what it means, a row for each score."""
    chance = 1 / len(found["factors"])
    dci = found["dci"]
    return [
        (
            "beta-VAE metric",
            found["higgins"],
            f"Higgins et al. 2017; chance {chance:.2f}",
        ),
        (
            "FactorVAE score",
            found["factor_vae"],
            f"Kim & Mnih 2018; chance {chance:.2f}",
        ),
        ("MIG", found["mig"], "Chen et al. 2018; chance 0"),
        ("SAP", found["sap"], "Kumar et al. 2018; chance 0"),
        ("modularity", found["modularity"], "Ridgeway & Mozer 2018; chance about 0.5"),
        ("DCI disentanglement", dci["disentanglement"], "Eastwood & Williams 2018"),
        ("DCI completeness", dci["completeness"], "one latent for a factor"),
        ("DCI informativeness", dci["informativeness"], "classes guessed right"),
    ]
