"""Recorded steps of lesson size, for the tests of what shows them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minivae import nn, ops
from minivae.models import Autoencoder, build
from minivae.page.step import step_page
from minivae.random import Noise, Stream
from minivae.study import Recording, record
from minivae.tensor import Tensor

CASES: dict[str, dict[str, Any]] = {
    "ae": {"name": "ae", "likelihood": "squared_error"},
    "vae": {"name": "vae"},
    "betavae": {"name": "betavae", "likelihood": "gaussian", "beta": 4.0},
    "bernoullivae": {"name": "bernoullivae"},
    "exact": {"name": "bernoullivae", "estimator": "exact"},
    "relaxed": {"name": "bernoullivae", "estimator": "relaxed", "activation": "elu"},
    "capacity": {"name": "betavae", "capacity": 0.5, "activation": "relu"},
    "conv": {
        "name": "vae",
        "arch": "conv",
        "shape": (1, 4, 4),
        "channels": (2, 3),
        "hidden": (5,),
        "likelihood": "soft_bce",
    },
}
"""Models of lesson size, by what is particular about them."""


class Fused(nn.Module):
    """A model of the reader's own, with an op of two outputs."""

    def __init__(self) -> None:
        self.mu = nn.Linear(3, 2, Noise(0))
        self.logvar = nn.Linear(3, 2, Noise(1))
        self.name_parameters()
        self.to(dtype=np.float64)

    def __call__(self, x: Any) -> Tensor:
        noise = Noise(2).normal((len(x), 2), np.float64)
        z, kl = ops.reparameterize_kl(self.mu(x), self.logvar(x), noise)
        return ops.sum(z * z) / 3 + kl


@cache
def fused() -> Recording:
    return record(Fused(), Noise(3).normal((4, 3), np.float64))


def model_of(case: str) -> Autoencoder:
    options = {
        "shape": (1, 2, 3),
        "latent": 2,
        "hidden": (4,),
        "likelihood": "bernoulli",
        "activation": "tanh",
        **CASES[case],
    }
    model = build(**options)
    model.to(dtype=np.float64)
    return model


def batch_of(case: str) -> tuple[Any, Any]:
    """Three images of the case's shape, and the noise of their loss."""
    model, noise = model_of(case), Noise(0, Stream.LATENT)
    images = (noise.uniform((3, *model.shape), np.float64) < 0.5).astype(np.float64)
    return images, model.loss_noise(noise, 3)


@cache
def recorded(case: str) -> Recording:
    return record(model_of(case), *batch_of(case))


EVERY = pytest.mark.parametrize("case", CASES)
FAST = ("vae", "bernoullivae")
IN_BROWSER = pytest.mark.parametrize(  # two of them, and all when slow
    "case",
    [
        case if case in FAST else pytest.param(case, marks=pytest.mark.slow)
        for case in CASES
    ],
)


def page_of(case: str, folder: Path) -> Path:
    """The page of a case in a file, which is written once."""
    path = folder / f"{case}.html"
    if not path.exists():
        path.write_text(step_page(recorded(case)), encoding="utf-8")
    return path


def large() -> Recording:
    """A step of 784-400-20 at batch 8."""
    model = build(
        "vae", shape=(1, 28, 28), latent=20, hidden=(400,), likelihood="soft_bce"
    )
    images = Noise(0).uniform((8, 1, 28, 28), np.float32)
    return record(model, images, Noise(1), checks=False)
