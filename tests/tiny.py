"""A few digits and tiny models, for what does not depend on size.

An epoch of `fit` is 4 steps, of 25, 25, 25 and 5 images.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import minivae as mv
from minivae import train
from minivae.backend import Array
from minivae.data import Dataset, load
from minivae.models import Autoencoder
from minivae.train import Run

MODELS: dict[str, Callable[..., Autoencoder]] = {
    "ae": mv.AE,
    "dae": mv.DenoisingAE,
    "vae": mv.VAE,
    "betavae": mv.BetaVAE,
    "iwae": mv.IWAE,
    "mixturevae": mv.MixtureVAE,
    "bernoullivae": mv.BernoulliVAE,
}


@cache
def few_digits() -> Dataset:
    """Return 80, 40 and 40 digits, binarised anew each epoch."""
    digits = load("digits")
    parts = [
        (digits.train.grey[a:b], None) for a, b in ((0, 80), (80, 120), (120, 160))
    ]
    return Dataset.from_parts("few", "dynamic", parts, "digits:dynamic")


def small(name: str = "vae", **options: Any) -> Autoencoder:
    """Return a model with two latents and one hidden layer of 8 units."""
    return MODELS[name]((1, 8, 8), latent=2, hidden=(8,), **options)


def fit(model: Autoencoder, data: Dataset, **options: Any) -> Run:
    """Train for two epochs, if nothing else is said."""
    given = {"epochs": 2, "batch": 25, "lr": 0.01, "quiet": True, **options}
    return mv.fit(model, data, **given)


@cache
def run_files() -> dict[str, bytes]:
    """Return the files of a small run, by name."""
    with tempfile.TemporaryDirectory() as folder:
        fit(small(), few_digits(), out=Path(folder) / "run")
        return {p.name: p.read_bytes() for p in (Path(folder) / "run").iterdir()}


def a_run(folder: Path) -> Path:
    """Return a copy of that run, to be broken."""
    run = folder / "run"
    if not run.exists():
        run.mkdir()
        for name, content in run_files().items():
            (run / name).write_bytes(content)
    return run


def same(a: dict[str, Array], b: dict[str, Array]) -> bool:
    """Whether two models' weights are equal, bit for bit."""
    return a.keys() == b.keys() and all(
        a[name].tobytes() == b[name].tobytes() for name in a
    )


def script_validation(monkeypatch: pytest.MonkeyPatch, *objectives: float) -> None:
    """Let the validation objective be what is written here, the last one for ever."""
    told = itertools.chain(objectives, itertools.repeat(objectives[-1]))

    def scripted(model: Autoencoder, images: Array) -> dict[str, float]:
        return {"recon": 0.0, "kl": 0.0, "objective": next(told)}

    monkeypatch.setattr(train, "validate", scripted)
