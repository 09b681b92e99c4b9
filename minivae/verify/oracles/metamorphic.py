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
from minivae.verify.adapter import OfModel
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
