"""What a VAE must be able to do to be judged: a few functions of NumPy arrays.

`minivae verify --model mymodule:MyVAE` calls MyVAE() and checks what it gets. N images
come as (N, pixels), codes as (N, latent); logvar is log σ², and everything is in nats,
summed over pixels or latents. Take float64 and return what you compute in.

attributes
    pixels, latent          sizes
    likelihood              "bernoulli" or "gaussian"
    sigma2                  the decoder's variance, of a gaussian
parts
    encode(x)               (mu, logvar) of q(z|x)
    sample(mu, logvar, eps) z from standard normal eps
    decode(z)               logits of a bernoulli, means of a gaussian, (N, pixels)
    log_likelihood(d, x)    log p(x|z) of decoded d, one number an image
    kl(mu, logvar)          KL(q ‖ N(0, I)), one number an image
    loss(x, eps)            (loss, recon, kl), means over the batch, of training

What a class has beyond these is checked as well: see `OPTIONAL`. A torch module is
wrapped by `minivae.verify.torch_adapter`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Protocol

from minivae.backend import Array
from minivae.errors import UserError


class Subject(Protocol):
    """A VAE as the checks see it."""

    pixels: int
    latent: int
    likelihood: str

    def encode(self, x: Array) -> tuple[Array, Array]:
        """Return mu and logvar of q(z|x)."""

    def sample(self, mu: Array, logvar: Array, eps: Array) -> Array:
        """Return z."""

    def decode(self, z: Array) -> Array:
        """Return logits or means."""

    def log_likelihood(self, decoded: Array, x: Array) -> Array:
        """Return log p(x|z) of each image."""

    def kl(self, mu: Array, logvar: Array) -> Array:
        """Return KL(q ‖ N(0, I)) of each image."""

    def loss(self, x: Array, eps: Array) -> tuple[float, float, float]:
        """Return loss, recon and kl, means over the batch."""


REQUIRED = {
    "pixels": "the number of pixels of an image",
    "latent": "the number of latents",
    "likelihood": '"bernoulli" or "gaussian"',
    "encode": "encode(x) -> (mu, logvar) of q(z|x)",
    "sample": "sample(mu, logvar, eps) -> z",
    "decode": "decode(z) -> logits or means",
    "log_likelihood": "log_likelihood(decoded, x) -> log p(x|z) of each image",
    "kl": "kl(mu, logvar) -> KL to N(0, I) of each image",
    "loss": "loss(x, eps) -> (loss, recon, kl), means over the batch",
}
OPTIONAL = {
    "beta": "the weight of the KL; loss follows when it is set",
    "validation_loss": "validation_loss(x, eps): as loss, in validation",
    "neg_elbo": "neg_elbo(x, batch): the mean −ELBO that evaluation reports",
    "iwae": "iwae(x, k, seed): the estimate of log p(x) from k draws, of each image",
    "draw": "draw(decoded, seed): an image drawn from the likelihood",
    "embed": "embed(x): the code that stands for an image",
    "prior": "prior(n, seed): codes to generate from",
    "active_units": "active_units(means): how many latents say anything",
    "total_correlation": "total_correlation(mu, logvar, z): of the aggregate posterior",
    "mig": "mig(codes, factors): the mutual information gap",
    "warmth": "warmth(steps, evaluations, length): the KL's factor after both",
    "best_epoch": "best_epoch(history): which of [{recon, kl, warmth}, ...] is kept",
    "log_line": "log_line(x, eps): {loss, recon, kl} as they are logged",
    "splits": "splits(x): {train, test} of images",
    "residual2": "residual2(x): mean squared residual per pixel, after training on x",
    "adam": "adam(gradients, lr): the values after a step for each, from 0",
    "accepts": "accepts(f, gradient, x): what its own gradient check says",
}


def check_parts(subject: Any) -> None:
    """Raise `UserError` that names the parts a subject lacks."""
    missing = [name for name in REQUIRED if not hasattr(subject, name)]
    if missing:
        needs = "; ".join(REQUIRED[name] for name in missing)
        raise UserError(f"{type(subject).__name__} lacks {', '.join(missing)}: {needs}")
    if subject.likelihood not in ("bernoulli", "gaussian"):
        raise UserError(
            f"{type(subject).__name__}.likelihood is bernoulli or gaussian, not "
            f"{subject.likelihood!r}"
        )
    if subject.likelihood == "gaussian" and not hasattr(subject, "sigma2"):
        raise UserError(
            f"{type(subject).__name__} lacks sigma2: the variance of its decoder"
        )


def load(text: str) -> Subject:
    """Import and make what "module:Name" says, wrapped if it is a torch module."""
    module_name, colon, name = text.partition(":")
    if not colon or not module_name or not name:
        raise UserError(f"--model takes module:Class, as mymodule:MyVAE, not {text}")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a reader's module does
        raise UserError(f"cannot import {module_name}: {_said(error)}") from error
    finally:
        sys.path.remove("")
    if not hasattr(module, name):
        raise UserError(f"{module_name} has no {name}")
    made = getattr(module, name)
    if isinstance(made, type) or not hasattr(made, "encode"):
        try:
            made = made()
        except Exception as error:
            raise UserError(f"{text}() cannot be made: {_said(error)}") from error
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(made, torch.nn.Module):
        from minivae.verify.torch_adapter import OfTorch

        made = OfTorch(made, getattr(module, "loss_function", None))
    check_parts(made)
    return made


def _said(error: Exception) -> str:
    """Return what an exception says in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
