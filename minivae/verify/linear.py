"""Linear models as the oracles use them: set to a known solution, trained, measured.

The expectation over ε of a linear model's loss is had without Monte Carlo: the loss is
quadratic in ε, and the 2Z points ±√Z e_j, equally weighted, have the mean and the
covariance of N(0, I), so they integrate every polynomial up to degree 3 exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minivae import models
from minivae.backend import Array
from minivae.models import Autoencoder
from minivae.optim import Adam, scheduled_lr
from minivae.random import Noise
from minivae.tensor import Tensor, no_grad
from minivae.verify.exact import Linear

SHAPE = (1, 8, 8)


def images(x: Array) -> Array:
    """Give digits (N, 64) the shape of images."""
    return x.reshape(-1, *SHAPE)


def linear_model(name: str, latent: int, **options: Any) -> Autoencoder:
    """Return a linear model in float64: of 8x8 images, with a Gaussian decoder."""
    own = {"shape": SHAPE, "likelihood": "gaussian", "hidden": (), "seed": 1}
    model = models.build(name, latent=latent, **own | options)
    return model.to(dtype=np.float64)


def set_to(model: Autoencoder, known: Linear, V: Array, d: Array) -> None:
    """Give a linear VAE the decoder of `known`, and q = N(V x, diag d)."""
    state = {name: np.zeros_like(value) for name, value in model.state().items()}
    state["decoder.0.weight"], state["mu.weight"] = known.W, V
    state["logvar.bias"] = np.log(d)
    if "recon_logvar" in state:
        state["recon_logvar"] = np.array(np.log(known.s2))
    model.load_state(state)


def at_the_posterior(name: str, known: Linear, **options: Any) -> Autoencoder:
    """Return a linear VAE that is `known`, whose q is the exact posterior.

    It must be one whose columns are orthogonal: only then is the posterior diagonal.
    """
    model = linear_model(name, known.W.shape[1], **options)
    set_to(model, known, known.encoder(), known.s2 / np.diag(known.M))
    return model


def read(model: Autoencoder) -> Linear:
    """Return the decoder of a linear VAE with one sigma as NumPy has it."""
    state = model.state()
    logvar = model.sigma_logvar.numpy()
    return Linear(
        state["decoder.0.weight"].astype(np.float64), float(np.exp(np.float64(logvar)))
    )


def cubature(latent: int, n: int) -> Array:
    """Return the 2Z points ±√Z e_j as noise for n codes: (2Z, n, Z)."""
    points = np.sqrt(latent) * np.concatenate([np.eye(latent), -np.eye(latent)])
    return np.repeat(points[:, None], n, axis=1)


@no_grad()
def expected_terms(model: Autoencoder, x: Array) -> tuple[float, float]:
    """Return recon and KL of a linear VAE, expected over ε exactly."""
    found = []
    for eps in cubature(model.latent, len(x)):
        terms = model.loss_terms(x, eps)
        assert terms.kl is not None
        found.append((terms.recon.item(), terms.kl.item()))
    recon, kl = np.mean(found, axis=0)
    return float(recon), float(kl)


def composed(model: Autoencoder) -> Array:
    """Return decoder times encoder of a linear autoencoder: (D, D)."""
    state = model.state()
    encoder = state["code_layer.weight"]
    return state.get("decoder.0.weight", encoder.T) @ encoder


def train(
    model: Autoencoder,
    x: Array,
    steps: int,
    lr: float = 0.03,
    loss: Callable[[], Tensor] | None = None,
) -> None:
    """Train by Adam on all images at once, the learning rate falling by a cosine.

    `loss` is what is minimised, if it is not the model's own of `x` under fresh noise.
    The mean's head has thrice the rate: its weights must grow to 1/√l, ten times those
    of the other layers.
    """
    heads = ("mu.", "code_layer.")
    named = model.named_parameters()
    groups = [
        [p for name, p in named.items() if name.startswith(heads) == is_head]
        for is_head in (True, False)
    ]
    rates = [
        (Adam(group, most), most)
        for group, most in zip(groups, (3 * lr, lr), strict=True)
        if group
    ]
    noise = Noise(0, model.noise_stream)
    for step in range(steps):
        for optimizer, most in rates:
            optimizer.lr = scheduled_lr("cosine", most, step, steps)
            optimizer.zero_grad()
        (loss() if loss else model.loss_terms(x, noise).loss).backward()
        for optimizer, _ in rates:
            optimizer.step()
