"""Autoencoders: a code, and nothing said about how codes are distributed.

    z = encoder(x),   x̂ = decoder(z),   loss = recon(x̂, x) + penalties

With fewer latents than pixels (undercomplete) the code is what keeps x̂ from being x.
With as many or more (overcomplete) something else must, and there are four such:

    noise        x̂ is made of a spoilt image x̃, and compared with the clean one
    l1           l1 Σ_j |z_j|: few latents speak at a time
    dropout      of hidden units
    contraction  contraction ‖∂z/∂x‖²: the code moves little when the image does

Sources: Vincent et al. 2008 (noise, and tied weights); Olshausen & Field 1996 (l1);
Rifai et al. 2011 (contraction).
"""

from __future__ import annotations

import math
from typing import Any

from minivae import nn, ops
from minivae.backend import Array, xp_of
from minivae.distributions import NoiseLike
from minivae.errors import UserError
from minivae.models.base import Autoencoder, LossTerms
from minivae.models.corruption import corruption
from minivae.ops.losses import Reduction
from minivae.random import Noise, Stream
from minivae.tensor import Tensor

CONTRACTIVE = ("sigmoid", "tanh")


class AE(Autoencoder):
    """An autoencoder, with penalties on its code if they are asked for.

    The code is linear in the last hidden layer unless `code_activation` names what
    follows. With `tied` the decoder has the encoder's weights, transposed; biases of
    its own. `contraction` needs an encoder of one layer, sigmoid or tanh: there ∂z/∂x
    has a closed form. Without tied weights `l1` can be had for nothing: the code
    shrinks, and the decoder's weights grow.
    """

    name = "ae"
    has_kl = False

    def __init__(
        self,
        shape: tuple[int, int, int],
        *args: Any,
        l1: float = 0.0,
        contraction: float = 0.0,
        tied: bool = False,
        code_activation: str | None = None,
        **options: Any,
    ) -> None:
        for name, value in (("l1", l1), ("contraction", contraction)):
            if not 0 <= value < math.inf:
                raise UserError(f"{name} must not be negative or infinite: {value}")
        if code_activation is not None:
            nn.initialiser_for(code_activation)  # refuses an unknown one
        self.l1, self.contraction, self.tied = l1, contraction, tied
        self.code_activation = code_activation
        super().__init__(shape, *args, **options)
        if tied:
            self._tie()
        if contraction:
            self._check_contraction()

    def add_heads(self, noise: Noise) -> None:
        """Add one linear layer from the last hidden layer to the code."""
        how = self.code_activation
        initialiser = nn.initialiser_for(how) if how else nn.glorot_uniform
        self.code_layer = nn.Linear(self.code_inputs, self.latent, noise, initialiser)
        self.code_function = nn.ACTIVATIONS[how]() if how else None

    def _tie(self) -> None:
        if self.decoder_arch != self.arch:
            raise UserError(
                f"tied weights need a decoder that mirrors the encoder: {self.arch} "
                f"and {self.decoder_arch} do not"
            )
        self.decoder = nn.tied(self.decoder, *self.encoder.layers, self.code_layer)
        self.name_parameters()

    def _check_contraction(self) -> None:
        if self.stack.channels or self.hidden:
            raise UserError(
                "contraction has a closed form for an encoder of one layer, arch dense "
                f"without hidden layers, and this one is {self.sizes}"
            )
        if self.code_activation not in CONTRACTIVE:
            raise UserError(
                f"contraction needs a code_activation, {' or '.join(CONTRACTIVE)}, "
                f"not {self.code_activation}"
            )

    def config(self) -> dict[str, Any]:
        """Return what it takes to build this model again."""
        names = ("l1", "contraction", "tied", "code_activation")
        return {**super().config(), **{name: getattr(self, name) for name in names}}

    @property
    def objective_formula(self) -> str | None:
        """The reconstruction and the penalties, where there are any."""
        terms = [f"{self.l1:g} Σ|zⱼ|"] if self.l1 else []
        terms += [f"{self.contraction:g} ‖∂z/∂x‖²"] if self.contraction else []
        return " + ".join(["recon", *terms]) if terms else None

    def encode(self, x: Tensor | Array, dropout: Noise | None = None) -> Tensor:
        """Return the code (N, Z)."""
        z = self.code_layer(self.hidden_code(x, dropout))
        return z if self.code_function is None else self.code_function(z)

    def loss_terms(
        self,
        x: Tensor | Array,
        noise: NoiseLike | None = None,
        *,
        warmth: float = 1.0,
        dropout: Noise | None = None,
        reduction: Reduction = "mean",
    ) -> LossTerms:
        """Return the reconstruction term, and the loss with the penalties.

        Noise and warmth have nothing to act on.
        """
        x = self.here(x)
        return self.loss_from(x, x, dropout, reduction)

    def loss_from(
        self,
        seen: Tensor | Array,
        x: Tensor | Array,
        dropout: Noise | None,
        reduction: Reduction,
    ) -> LossTerms:
        """Return the terms of the loss of what is made of `seen`, against `x`."""
        z = self.encode(seen, dropout)
        recon = self.recon(z, x, dropout, reduction)
        penalties = []
        if self.l1:
            penalties.append(self.l1 * ops.sum(ops.abs(z), axis=1))
        if self.contraction:
            penalties.append(self.contraction * self.squared_slopes(z))
        loss = recon
        for each in penalties:
            loss = loss + (ops.mean(each) if reduction == "mean" else each)
        return LossTerms(loss, recon, None, loss if penalties else None)

    def squared_slopes(self, z: Tensor) -> Tensor:
        """‖∂z/∂x‖² of each image, in closed form from its code: (N,).

        ∂z_j/∂x_d = s_j W_jd with s = z (1 − z) after a sigmoid, 1 − z² after tanh; so
        Σ_j s_j² Σ_d W_jd². Rifai et al. 2011, section 3.
        """
        slope = z * (1 - z) if self.code_activation == "sigmoid" else 1 - z**2
        lengths = ops.sum(self.code_layer.weight**2, axis=1)
        return ops.sum(slope**2 * lengths, axis=1)


class DenoisingAE(AE):
    """An autoencoder that sees images spoilt by `noise`, and must return clean ones.

    `noise` is "gaussian:V" (a variance), "mask:P" or "salt:P" (probabilities). An image
    is spoilt exactly where the loss is handed noise for it: in training, from a stream
    of its own. Evaluation hands none, and so sees clean images.
    """

    name = "dae"
    noise_stream = Stream.CORRUPT

    def __init__(
        self,
        shape: tuple[int, int, int],
        *args: Any,
        noise: str = "gaussian:0.1",
        **options: Any,
    ) -> None:
        self.corruption = corruption(noise)
        super().__init__(shape, *args, **options)

    def config(self) -> dict[str, Any]:
        """Return what it takes to build this model again."""
        return {**super().config(), "noise": str(self.corruption)}

    @property
    def noise_in_words(self) -> str | None:
        """What happens to an image in training."""
        return self.corruption.in_words

    def loss_noise(self, noise: Noise, n: int) -> Array:
        """Draw what it takes to spoil n images once: (N, C, H, W)."""
        first = self.first_parameter()
        like = xp_of(first.data).empty((n, *self.shape), first.dtype)
        return self.corruption.draw(noise, like)

    def corrupted(self, x: Array, noise: NoiseLike) -> Array:
        """Return x̃ of images; `noise` is an array of their shape, or a `Noise`."""
        images: Array = self.here(x)
        if isinstance(noise, Noise):
            noise = self.corruption.draw(noise, images)
        return self.corruption.apply(images, self.here(noise))

    def step_inputs(self, x: Array, noise: Array) -> dict[str, Array]:
        """Return the clean images, the noise, and the spoilt images."""
        return {"x": x, "noise": noise, "x_noisy": self.corrupted(x, noise)}

    def loss_terms(
        self,
        x: Tensor | Array,
        noise: NoiseLike | None = None,
        *,
        warmth: float = 1.0,
        dropout: Noise | None = None,
        reduction: Reduction = "mean",
    ) -> LossTerms:
        """Return the terms of what is made of x̃, against x; without noise, x̃ = x."""
        images: Array = self.here(x.data if isinstance(x, Tensor) else x)
        seen = images if noise is None else self.corrupted(images, noise)
        return self.loss_from(seen, images, dropout, reduction)
