"""Recorded steps of lesson size, for the tests of what shows them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from minivae.models import Autoencoder, build
from minivae.random import Noise, Stream
from minivae.study import Recording, record

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
