"""The models by the names that the command line uses."""

from typing import Any

from minivae.errors import UserError
from minivae.models.architecture import ARCHITECTURES
from minivae.models.autoencoder import AE
from minivae.models.base import Autoencoder, LossTerms
from minivae.models.vae import VAE, BetaVAE

MODELS: dict[str, type[Autoencoder]] = {"ae": AE, "vae": VAE, "betavae": BetaVAE}

__all__ = [
    "AE",
    "ARCHITECTURES",
    "MODELS",
    "VAE",
    "Autoencoder",
    "BetaVAE",
    "LossTerms",
    "build",
]


def build(name: str, **options: Any) -> Autoencoder:
    """Make the model called `name`; the options are its constructor's."""
    if name not in MODELS:
        raise UserError(f"no model {name!r}; have {', '.join(MODELS)}")
    return MODELS[name](**options)
