"""The models by the names that the command line uses."""

from typing import Any

from minivae.errors import UserError
from minivae.models.architecture import ARCHITECTURES
from minivae.models.autoencoder import AE, DenoisingAE
from minivae.models.base import Autoencoder, LossTerms
from minivae.models.discrete import BernoulliVAE
from minivae.models.importance import IWAE, MixtureVAE
from minivae.models.vae import VAE, BetaVAE

MODELS: dict[str, type[Autoencoder]] = {
    model.name: model
    for model in (AE, DenoisingAE, VAE, BetaVAE, IWAE, MixtureVAE, BernoulliVAE)
}

__all__ = [
    "AE",
    "ARCHITECTURES",
    "IWAE",
    "MODELS",
    "VAE",
    "Autoencoder",
    "BernoulliVAE",
    "BetaVAE",
    "DenoisingAE",
    "LossTerms",
    "MixtureVAE",
    "build",
]


def build(name: str, **options: Any) -> Autoencoder:
    """Make the model called `name`; the options are its constructor's."""
    if name not in MODELS:
        raise UserError(f"no model {name!r}; have {', '.join(MODELS)}")
    return MODELS[name](**options)
