"""Every check of the protocol, on the VAE of this project.

What must not change when the batch is doubled, the pixels tiled, latents appended or
beta moved; and what sampler, KL, likelihood, bound and evaluation must be. The checks
see the model as they see a reader's own class: `minivae verify --model`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from minivae import models
from minivae.gradcheck import Claim
from minivae.models import BetaVAE
from minivae.random import Noise, Stream
from minivae.verify.adapter import OfModel
from minivae.verify.checks import N, images, log_density
from minivae.verify.suite import judge


def subject(likelihood: str, latent: int = 3) -> OfModel:
    """Return a small VAE behind the protocol."""
    model = models.build(
        "betavae",
        shape=(1, 4, 3),
        latent=latent,
        hidden=(8,),
        activation="tanh",
        likelihood=likelihood,
        beta=1.0,
        seed=2,
    )
    assert isinstance(model, BetaVAE)
    return OfModel(model.to(dtype=np.float64))


def claims(latent: int = 3) -> Iterator[Claim]:
    """Yield the claims about a Bernoulli and a Gaussian VAE."""
    for likelihood in ("bernoulli", "gaussian"):
        for claim in judge(subject(likelihood)):
            yield replace(claim, name=f"metamorphic/{likelihood}/{claim.name}")
        yield from _moved(likelihood)


def _moved(likelihood: str) -> Iterator[Claim]:
    """Claims that take hold of the weights: the same model in another guise."""
    model = subject(likelihood).model
    x, eps = images(OfModel(model)), Noise(4, Stream.CHECK).normal((N, 3), np.float64)
    x = x.reshape(-1, *model.shape)
    before, state = model.loss_terms(x, eps).loss.item(), model.state()
    order, signs = [2, 0, 1], np.array([-1.0, 1.0, -1.0])
    weight = "decoder.0.weight"
    permuted, swapped, silent = dict(state), dict(state), dict(state)
    for name in ("mu.weight", "mu.bias", "logvar.weight", "logvar.bias"):
        permuted[name] = state[name][order]
        silent[name] = np.zeros_like(state[name])
    permuted[weight] = state[weight][:, order]
    for name in ("mu.weight", "mu.bias"):
        swapped[name] = (signs * state[name].T).T
    swapped[weight] = state[weight] * signs
    for name, guise, noise in (
        ("latents_permuted", permuted, eps[:, order]),
        ("signs_of_mu_swapped", swapped, eps * signs),
    ):
        model.load_state(guise)
        yield Claim.equal(
            f"metamorphic/{likelihood}/{name}",
            "with the decoder's columns the loss is the same",
            before,
            model.loss_terms(x, noise).loss.item(),
            1e-12,
            "loss(P z; W Pᵀ) = loss(z; W)",
        )
    silent[weight] = np.zeros_like(state[weight])
    model.load_state(silent)
    flat = x.reshape(N, -1)
    constant = OfModel(model).decode(np.zeros((1, 3)))
    nll = -log_density(OfModel(model), np.repeat(constant, N, axis=0), flat).mean()
    yield Claim.equal(
        f"metamorphic/{likelihood}/a_silent_code_costs_nothing",
        "with q = p and a decoder that ignores z, −ELBO is a constant decoder's NLL",
        float(nll),
        model.loss_terms(x, eps).loss.item(),
        1e-10,
        "KL = 0, recon = −log p(x | constant)",
    )
