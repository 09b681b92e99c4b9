"""The models by the names that the command line uses."""

from typing import Any, get_type_hints

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
    "option_types",
]


def build(name: str, **options: Any) -> Autoencoder:
    """Make the model called `name`; the options are its constructor's."""
    return _named(name)(**options)


def option_types(name: str) -> dict[str, Any]:
    """Return the options of the model called `name` with their declared types."""
    found: dict[str, Any] = {}
    for kind in reversed(_named(name).__mro__):
        if "__init__" in vars(kind) and issubclass(kind, Autoencoder):
            found |= get_type_hints(kind.__init__)
    return {n: found[n] for n in found.keys() - {"args", "options", "return"}}


def _named(name: str) -> type[Autoencoder]:
    if name not in MODELS:
        raise UserError(f"no model {name!r}; have {', '.join(MODELS)}")
    return MODELS[name]
