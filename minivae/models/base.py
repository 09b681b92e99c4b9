"""What an autoencoder is: an encoder, a decoder, and what can be done with them.

x (N, C, H, W) -> encoder -> code (N, Z) -> decoder -> image or its parameters
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minivae import nn
from minivae.backend import Array, xp_of
from minivae.distributions import (
    Decoded,
    DiagGaussian,
    Likelihood,
    NoiseLike,
    likelihood_named,
    normal_noise,
)
from minivae.errors import UserError
from minivae.models.architecture import MOST_WEIGHTS, stacks_for
from minivae.ops.losses import Reduction
from minivae.random import Noise, Stream
from minivae.tensor import Parameter, Tensor, no_grad


class LossTerms(NamedTuple):
    """loss = recon + beta * kl, in nats per image; `kl` is None where there is none.

    `objective` is the loss without warm-up where that is not recon + beta * kl.
    """

    loss: Tensor
    recon: Tensor
    kl: Tensor | None
    objective: Tensor | None = None


class Autoencoder(nn.Module, ABC):
    """The shared part: layers, likelihood, and everything that only needs a mean code.

    `encoder` ends in the last hidden layer; what comes after it is the subclass's.
    `likelihood` may be left None: `mv.fit` then chooses by the data. `arch` names an
    architecture, whose sizes `channels` (of the convolutions) and `hidden` (of the
    linear layers) replace; the decoder mirrors the encoder, unless `decoder_arch` names
    another architecture for it.
    """

    name: ClassVar[str]
    has_kl: ClassVar[bool]
    noise_stream: ClassVar[Stream] = Stream.LATENT  # what the loss's noise is of
    beta: float = 1.0
    draws: int = 1  # of z for each image in the loss

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent: int = 20,
        hidden: tuple[int, ...] | None = None,
        likelihood: str | None = None,
        seed: int = 0,
        *,
        arch: str = "dense",
        channels: tuple[int, ...] | None = None,
        decoder_arch: str | None = None,
        activation: str = "relu",
        dropout: float = 0.0,
        sigma: str | float = "shared",
    ) -> None:
        if latent < 1:
            raise UserError(f"a model needs at least one latent, not {latent}")
        self.stack, back = stacks_for(shape, arch, channels, hidden, decoder_arch)
        if self.stack.weights(latent) + back.weights(latent) > MOST_WEIGHTS:
            raise UserError(
                f"a model of more than {MOST_WEIGHTS:,} weights: give fewer latents, "
                "hidden units or channels"
            )
        C, H, W = shape
        self.arch, self.decoder_arch = arch, decoder_arch or arch
        self.shape, self.latent, self.hidden = (C, H, W), latent, self.stack.hidden
        self.activation, self.dropout, self.seed = activation, dropout, seed
        self.sigma = _checked_sigma(sigma)
        self.likelihood_name: str | None = None
        noise = Noise(seed, Stream.INITIALISE)
        self.encoder = self.stack.encoder(activation, dropout, noise)
        self.add_heads(noise)
        self.decoder = back.decoder(latent, activation, dropout, noise)
        if dropout and not (self.hidden or back.hidden):
            raise UserError(
                f"dropout {dropout} has nothing to drop: it follows hidden linear "
                "layers, and this model has none"
            )
        if likelihood is not None:
            self.use_likelihood(likelihood)
        self.name_parameters()

    @abstractmethod
    def add_heads(self, noise: Noise) -> None:
        """Add the layers between the last hidden layer and the code."""

    def use_likelihood(self, name: str) -> None:
        """Set how images are compared; "gaussian" adds its log variance.

        `sigma` says which: learned and "shared" by all pixels, learned for each
        "pixel", or a number that stays.
        """
        self.likelihood_name = likelihood_named(name).name
        if name != "gaussian" and self.sigma != "shared":
            raise UserError(f"sigma is the gaussian likelihood's; {name} has none")
        learned = name == "gaussian" and not isinstance(self.sigma, float)
        if learned and not hasattr(self, "recon_logvar"):
            shape = self.shape if self.sigma == "pixel" else ()
            self.recon_logvar = Parameter(np.zeros(shape, np.float32), "recon_logvar")

    @property
    def sigma_logvar(self) -> Tensor:
        """log σ² of the gaussian likelihood: learned, or the given one."""
        if isinstance(self.sigma, float):
            return Tensor(self.here(2 * math.log(self.sigma)))
        return self.recon_logvar

    def config(self) -> dict[str, Any]:
        """Return what it takes to build this model again (without its weights)."""
        return {
            "model": self.name,
            "shape": list(self.shape),
            "latent": self.latent,
            "arch": self.arch,
            "channels": list(self.stack.channels),
            "hidden": list(self.hidden),
            "decoder_arch": self.decoder_arch,
            "likelihood": self.likelihood_name,
            "seed": self.seed,
            "activation": self.activation,
            "dropout": self.dropout,
            "sigma": self.sigma,
        }

    # What a subclass says

    @abstractmethod
    def encode(self, x: Tensor | Array, dropout: Noise | None = None) -> Any:
        """Return the code of images: a tensor (N, Z), or a distribution over codes."""

    @abstractmethod
    def loss_terms(
        self,
        x: Tensor | Array,
        noise: NoiseLike | None = None,
        *,
        warmth: float = 1.0,
        dropout: Noise | None = None,
        reduction: Reduction = "mean",
    ) -> LossTerms:
        """Return recon, kl and loss = recon + warmth * beta * kl for a batch.

        `noise` is the latents' (an array, or a `Noise` to draw it from); `dropout`, if
        given, is the dropout layers'. `warmth` is the KL warm-up's factor in [0, 1].
        """

    def code_noise(self, noise: Noise, n: int) -> Array:
        """Draw what it takes to sample n codes once: normals (n, Z)."""
        return noise.normal((n, self.latent), self.dtype)

    # What follows from that

    @property
    def objective_formula(self) -> str | None:
        """What training minimises, where that is not recon + beta KL."""
        return None

    @property
    def noise_in_words(self) -> str | None:
        """What happens to an image in training before the model sees it."""
        return None

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z), over the last axis; raises `UserError` where there is no prior."""
        raise UserError(f"{self.name} has no prior over codes")

    def loss_noise(self, noise: Noise, n: int) -> Array:
        """Draw what the loss of n images takes: (n, Z), or (draws, n, Z) of several."""
        if self.draws == 1:
            return self.code_noise(noise, n)
        return np.stack([self.code_noise(noise, n) for _ in range(self.draws)])

    def step_inputs(self, x: Array, noise: Array) -> dict[str, Array]:
        """Return the arrays that go into the loss, by the names they are shown by."""
        return {"x": x, "eps": noise} if self.has_kl else {"x": x}

    @property
    def code_inputs(self) -> int:
        """How many numbers the layers that make the code read."""
        return self.hidden[-1] if self.hidden else math.prod(self.shape)

    def generative_parameters(self) -> dict[str, Parameter]:
        """Return the parameters of p(x, z); the others are those of q(z|x)."""
        mine = ("decoder.", "recon_logvar", "prior_")
        named = self.named_parameters().items()
        return {name: p for name, p in named if name.startswith(mine)}

    def hidden_code(self, x: Tensor | Array, dropout: Noise | None) -> Tensor:
        """Return the last hidden layer of the encoder; checks the images' shape."""
        if tuple(x.shape[1:]) != self.shape:
            raise UserError(
                f"this model takes images (N, {', '.join(map(str, self.shape))}), "
                f"not {tuple(x.shape)}"
            )
        if dropout is not None and not self.dropout:
            raise UserError(
                "noise for dropout, and this model has none: make it with dropout=P"
            )
        return self.encoder(self.here(x), dropout)

    def decode(self, z: Tensor | Array, dropout: Noise | None = None) -> Decoded:
        """Return logits, a mean image, or mean and logvar, as the likelihood needs."""
        decoded = self.decoder(self.here(z), dropout)
        if self.likelihood_name == "gaussian":
            return DiagGaussian(decoded, self.sigma_logvar)
        return decoded

    @property
    def likelihood(self) -> Likelihood:
        """The likelihood; raises `UserError` while none was chosen."""
        if self.likelihood_name is None:
            raise UserError(
                "this model has no likelihood yet: give one (likelihood='bernoulli'), "
                "or let mv.fit choose by the data"
            )
        return likelihood_named(self.likelihood_name)

    def here(self, x: Any) -> Any:
        """Return the tensor or array `x` on the model's device, in its precision."""
        if isinstance(x, Tensor):
            return x
        first = self.first_parameter()
        return xp_of(first.data).asarray(x, dtype=first.dtype)

    def recon(
        self, z: Tensor, x: Tensor | Array, dropout: Noise | None, how: Reduction
    ) -> Tensor:
        """Return the reconstruction term of codes `z` for images `x`."""
        return self.likelihood.recon(self.decode(z, dropout), x, reduction=how)

    @no_grad()
    def picture(self, z: Tensor | Array) -> Array:
        """Decode codes (N, Z) to mean images (N, C, H, W)."""
        return self.likelihood.mean(self.decode(z)).numpy()

    def codes(self, x: Tensor | Array, noise: NoiseLike | None) -> Tensor:
        """Return mean codes, or with `noise` sampled ones where there are any."""
        encoded = self.encode(x)
        if isinstance(encoded, Tensor):
            return encoded
        return encoded.mean if noise is None else encoded.sample(noise)

    @no_grad()
    def embed(
        self, x: Array, *, mean: bool = True, noise: NoiseLike | None = None
    ) -> Array:
        """Return the codes (N, Z) of images: means, or draws with `mean=False`."""
        return self.codes(x, _noise_if_sampled(mean, noise)).numpy()

    @no_grad()
    def reconstruct(
        self, x: Array, *, mean: bool = True, noise: NoiseLike | None = None
    ) -> Array:
        """Return mean images decoded from the codes of `x`: mean codes, or draws."""
        return self.picture(self.codes(x, _noise_if_sampled(mean, noise)))

    def sample(self, n: int, noise: NoiseLike) -> Array:
        """Decode n draws z ~ N(0, I) to mean images.

        For a VAE that is its model of the data. An AE has no distribution over codes:
        what it decodes here need not look like anything.
        """
        if n < 1:
            raise UserError(f"cannot draw {n} samples")
        like = Tensor(np.zeros((n, self.latent), self.dtype))
        return self.picture(normal_noise(noise, like))

    def interpolate(
        self, start: Array, end: Array, steps: int = 8, path: str = "linear"
    ) -> Array:
        """Decode a path between the mean codes of two images (C, H, W).

        "linear" is the straight line. "spherical" turns from one direction to the
        other at a constant rate, and so does not pass nearer to 0 than its ends, where
        a Gaussian of many dimensions has hardly any codes. Shoemake 1985, section 3.3.
        """
        if steps < 2:
            raise UserError(f"a line needs at least its two ends, not {steps} steps")
        if path not in PATHS:
            raise UserError(f"no path {path!r}; have {', '.join(PATHS)}")
        first, last = self.embed(np.stack([start, end]))
        t = np.linspace(0, 1, steps, dtype=self.dtype)[:, None]
        return self.picture(PATHS[path](first, last, t))

    def traverse(self, image: Array, latent: int, values: Array) -> Array:
        """Decode the mean code of one image with one latent set to each of `values`."""
        if not 0 <= latent < self.latent:
            raise UserError(f"no latent {latent}: there are 0 to {self.latent - 1}")
        z = np.repeat(self.embed(image[None]), len(values), axis=0)
        z[:, latent] = values
        return self.picture(z)

    @property
    def sizes(self) -> str:
        """The sizes of the encoder's layers, from the image to the code."""
        return f"{self.stack} – {self.latent}"

    @property
    def dtype(self) -> Any:
        """The floating type of the parameters."""
        return self.first_parameter().dtype


def linear(first: Array, last: Array, t: Array) -> Array:
    """(1 − t) a + t b of two codes (Z,), for t (steps, 1)."""
    return (1 - t) * first + t * last


def spherical(first: Array, last: Array, t: Array) -> Array:
    """(sin (1 − t)ω a + sin tω b) / sin ω, ω the angle between a and b.

    Where they lie on one line through 0, this has no direction to turn in: `linear`.
    """
    lengths = float(np.linalg.norm(first) * np.linalg.norm(last))
    cosine = float(first @ last) / lengths if lengths else 1.0
    angle = math.acos(min(1.0, max(-1.0, cosine)))
    if math.sin(angle) < 1e-6:
        return linear(first, last, t)
    turned = np.sin((1 - t) * angle) * first + np.sin(t * angle) * last
    return turned / math.sin(angle)


PATHS = {"linear": linear, "spherical": spherical}


def _checked_sigma(sigma: str | float) -> str | float:
    """Return "shared", "pixel", or a positive number (also if it came as text)."""
    if sigma in ("shared", "pixel"):
        return sigma
    try:
        number = float(sigma)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(f"sigma is shared, pixel or a positive number, not {sigma}")
    return number


def _noise_if_sampled(mean: bool, noise: NoiseLike | None) -> NoiseLike | None:
    if mean != (noise is None):
        raise UserError("give noise exactly when sampling: mean=False, noise=...")
    return noise
