"""Which images are foreign to a model: those of a class that it has never seen.

The scores, each larger for stranger images:

    reconstruction  Σ (x − x̂)², x̂ the mean image decoded from the mean code
    −ELBO           −log w, a mean over k draws of z from q(z|x)
    −IWAE-k         −log of the mean of w over them, the tighter bound
    PCA residual    Σ (x − x_Z)², x_Z the projection on as many components as latents
    mean image      Σ (x − x̄)²

The last two are the baselines: they need no network. Where the likelihood is not a
density, the mean of −log w bounds nothing: it is called recon + KL, and has no IWAE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset, Images
from minivae.errors import UserError
from minivae.evaluate.bounds import draw, importance_bound
from minivae.evaluate.features import (
    BLOCK,
    about,
    check_shape,
    fitted_pca,
    flat,
    squares,
)
from minivae.evaluate.intervals import (
    RESAMPLES,
    Verdict,
    best,
    bootstrap,
    proportion,
    resampling,
)
from minivae.models import Autoencoder

BASELINES = ("PCA residual", "mean image")
ROWS = 100  # of weights at once, to bound the memory they take


class Detection(NamedTuple):
    """The document, and the scored images' scores by name, (N,) each."""

    document: dict[str, Any]
    scores: dict[str, Array]


def detect(
    model: Autoencoder,
    data: Dataset,
    images: Array,
    foreign: Array,
    *,
    k: int = 50,
    false_alarms: float = 0.05,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Detection:
    """Score `images`, those marked in `foreign` (N,) being strange to `data`.

    The model was trained on `data.train`, and so are the baselines. The threshold of a
    score is where `false_alarms` of the validation images lie above, which has no
    foreign ones; its false-positive rate and its detection rate are taken on `images`.
    Intervals of AUROC and average precision resample the foreign and the other images.
    Deterministic. Raises `UserError` where all images are foreign, or none.
    """
    check_shape(model, data)
    if not 0 < false_alarms < 1:
        raise UserError(f"the share of false alarms lies in (0, 1), not {false_alarms}")
    if not foreign.any() or foreign.all():
        which = "all" if foreign.all() else "none"
        raise UserError(f"{which} of the {len(foreign)} images to score are foreign")
    judge = Judge(model, data, k)
    scores, calm = judge(images), judge(data.validation.images)
    weights = resampling(len(foreign), foreign, resamples, seed)
    rows: list[dict[str, Any]] = []
    found = {}
    for name, values in scores.items():
        found[name] = ranked(values, foreign, weights)
        row: dict[str, Any] = {"score": name, "baseline": name in BASELINES}
        for metric, samples in zip(METRICS, found[name], strict=True):
            row[metric] = bootstrap(samples, 0.0, 1.0)._asdict()
        threshold = float(np.quantile(calm[name], 1 - false_alarms, method="higher"))
        rows.append(row | _alarms(values > threshold, foreign, threshold))
    document = {
        "n_images": len(foreign),
        "n_foreign": int(foreign.sum()),
        "false_alarms": false_alarms,
        "scores": rows,
        "verdicts": {
            metric: _verdict({name: both[i] for name, both in found.items()})
            for i, metric in enumerate(METRICS)
        },
        "below_chance": all(row["auroc"]["high"] < 0.5 for row in rows),
        "missing": judge.missing,
    }
    return Detection(about(model, data, "test") | document, scores)


def _alarms(raised: Array, foreign: Array, threshold: float) -> dict[str, Any]:
    false = proportion(int(raised[~foreign].sum()), int((~foreign).sum()))
    right = proportion(int(raised[foreign].sum()), int(foreign.sum()))
    return {
        "threshold": threshold,
        "false_positive_rate": false._asdict(),
        "detection_rate": right._asdict(),
    }


def _verdict(samples: Mapping[str, Array]) -> dict[str, Any]:
    """The best of the model's scores against the best of the baselines."""
    intervals = {name: bootstrap(values) for name, values in samples.items()}
    ours = best({n: v for n, v in intervals.items() if n not in BASELINES})
    rival = best({n: v for n, v in intervals.items() if n in BASELINES})
    verdict = Verdict(ours, rival, bootstrap(samples[ours] - samples[rival]))
    return verdict.document()


class Judge:
    """The scores of one model and of the baselines of its training images."""

    def __init__(self, model: Autoencoder, data: Dataset, k: int = 50) -> None:
        if k < 1:
            raise UserError(f"IWAE-k needs at least one draw, not k = {k}")
        self.model, self.k = model, k
        self.mean = flat(data.train.images).mean(axis=0)
        self.pca = fitted_pca(data.train.images, model.latent)
        self.bounded = model.has_kl and model.likelihood.is_density
        self.missing = None
        if not self.bounded:
            why = (
                f"{model.likelihood.name} is not a likelihood"
                if model.has_kl
                else "an autoencoder has no prior"
            )
            self.missing = f"no −ELBO and no IWAE: {why}"

    def __call__(self, images: Images) -> dict[str, Array]:
        """Return every score of images, (N,) each in float64."""
        starts = range(0, len(images), BLOCK)
        parts = [self._block(images[s : s + BLOCK], s) for s in starts]
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def _block(self, images: Array, first: int) -> dict[str, Array]:
        x = flat(images)
        scores = {"reconstruction": squares(x, flat(self.model.reconstruct(images)))}
        if self.model.has_kl:
            scores |= self._bounds(images, first)
        projected = self.pca.inverse_transform(self.pca.transform(x))
        residuals = (squares(x, projected), squares(x, self.mean))
        return scores | dict(zip(BASELINES, residuals, strict=True))

    def _bounds(self, images: Array, first: int) -> dict[str, Array]:
        log_w = draw(self.model, self.model.here(images), self.k, first).log_w
        mean = -importance_bound(log_w, 1)
        if not self.bounded:
            return {"recon + KL": mean}
        return {"−ELBO": mean, f"−IWAE-{self.k}": -importance_bound(log_w, self.k)}


# How well a score ranks, for many weights of the images at once

METRICS = ("auroc", "average_precision")


def ranked(scores: Array, foreign: Array, weights: Array) -> tuple[Array, Array]:
    """Return AUROC and average precision for each row of weights (B, N): (B,) each.

        AUROC = P(score of a foreign image > score of another), equal ones half
        AP = Σ (recall_t − recall_{t−1}) precision_t, over falling thresholds t

    scikit-learn's `roc_auc_score` and `average_precision_score` for one row.
    """
    order = np.argsort(-scores, kind="stable")
    falling, hit = scores[order], foreign[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    found = [
        _ranked(weights[start : start + ROWS, order], hit, last)
        for start in range(0, len(weights), ROWS)
    ]
    auroc, precision = (np.concatenate(values) for values in zip(*found, strict=True))
    return auroc, precision


def _ranked(weights: Array, hit: Array, last: Array) -> tuple[Array, Array]:
    """Of images in falling order; `last` are the last ones of equal scores."""
    true, false = (
        np.pad(np.cumsum(weights * mask, axis=1)[:, last], ((0, 0), (1, 0)))
        for mask in (hit, ~hit)
    )
    P, N = true[:, -1], false[:, -1]
    heights = (true[:, 1:] + true[:, :-1]) / 2
    auroc = (np.diff(false, axis=1) * heights).sum(axis=1) / (P * N)
    flagged = true[:, 1:] + false[:, 1:]
    precision = true[:, 1:] / np.where(flagged > 0, flagged, 1.0)
    return auroc, (np.diff(true, axis=1) * precision).sum(axis=1) / P
