"""What encoders and decoders are made of, by name.

    encoder   image (C, H, W) -> convolutions -> flatten -> linear layers
    decoder   linear layers -> unflatten -> transposed convolutions -> image (C, H, W)

Every convolution has a kernel of 4 x 4, stride 2 and padding 1: it halves an even
height and width, and the transposed one of the same numbers doubles them. So a decoder
is its encoder read backwards, and a dense network is one without convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from minivae import nn
from minivae.errors import UserError
from minivae.random import Noise

Size = tuple[int, int]
KERNEL = 4
HALVING = {"stride": 2, "padding": 1}
MOST_LAYERS = 100  # convolutions and linear layers of a stack
MOST_WEIGHTS = 1 << 28  # of a model: a GiB in float32
SMALLEST = 4  # pixels a side that an architecture's own convolutions leave at least


class Sizes(NamedTuple):
    """The channels after each convolution, and the units of each linear layer."""

    channels: tuple[int, ...]
    hidden: tuple[int, ...]

    def channels_for(self, size: Size) -> tuple[int, ...]:
        """Return as many of the channels as leave 4 pixels a side of an image."""
        halvings = (min(size) // SMALLEST).bit_length() - 1
        return self.channels[: max(halvings, 0)]


ARCHITECTURES: dict[str, Sizes] = {
    "dense": Sizes((), (400,)),
    "conv": Sizes((32, 64), (256,)),  # for 28 x 28
    "burgess": Sizes((32, 32, 32, 32), (256, 256)),  # for 64 x 64, one less for 32 x 32
}
"""Source of burgess: Burgess et al. 2018, arXiv 1804.03599."""


@dataclass(frozen=True)
class Stack:
    """The layers between images of `shape` (C, H, W) and the last hidden layer."""

    shape: tuple[int, int, int]
    channels: tuple[int, ...]
    hidden: tuple[int, ...]

    @property
    def maps(self) -> list[tuple[int, int, int]]:
        """The shapes of the image and of what each convolution makes of it."""
        _, H, W = self.shape
        halved = ((c, H >> i, W >> i) for i, c in enumerate(self.channels, start=1))
        return [self.shape, *halved]

    def weights(self, latent: int) -> int:
        """Return how many weights there are between images and codes, one way."""
        kernels = sum(a * b for (a, *_), (b, *_) in pairwise(self.maps)) * KERNEL**2
        units = (math.prod(self.maps[-1]), *self.hidden, latent)
        return kernels + sum(a * b for a, b in pairwise(units))

    def __str__(self) -> str:
        """Return the sizes in order: "1×28×28 – 32×14×14 – 256", or "784 – 400"."""
        maps = ["×".join(map(str, shape)) for shape in self.maps]
        first = maps if self.channels else [str(math.prod(self.shape))]
        return " – ".join([*first, *map(str, self.hidden)])

    def encoder(self, activation: str, dropout: float, noise: Noise) -> nn.Sequential:
        """Return the layers from an image to the last hidden layer.

        Dropout, if there is any, follows the linear layers only.
        """
        initialiser = nn.initialiser_for(activation)
        layers: list[nn.Layer] = []
        for (n_in, *_), (n_out, *_) in pairwise(self.maps):
            layers.append(
                nn.Conv2d(
                    n_in, n_out, KERNEL, noise, **HALVING, initialiser=initialiser
                )
            )
            layers.append(nn.ACTIVATIONS[activation]())
        sizes = (math.prod(self.maps[-1]), *self.hidden)
        dense = nn.hidden_layers(sizes, activation, dropout, noise)
        return nn.Sequential(*layers, nn.Flatten(), *dense)

    def decoder(
        self, latent: int, activation: str, dropout: float, noise: Noise
    ) -> nn.Sequential:
        """Return the layers from a code to an image; no activation follows the last."""
        inner = nn.initialiser_for(activation)
        first, *others = [inner] * len(self.channels) + [nn.glorot_uniform]
        deepest, units = self.maps[-1], self.hidden[::-1]
        layers = nn.hidden_layers((latent, *units), activation, dropout, noise)
        layers.append(nn.Linear((latent, *units)[-1], math.prod(deepest), noise, first))
        layers.append(nn.Unflatten(deepest))
        outwards = zip(pairwise(self.maps[::-1]), others, strict=True)
        for ((n_in, *_), (n_out, *_)), initialiser in outwards:
            layers.append(nn.ACTIVATIONS[activation]())
            layers.append(
                nn.ConvTranspose2d(
                    n_in, n_out, KERNEL, noise, **HALVING, initialiser=initialiser
                )
            )
        return nn.Sequential(*layers)


def stacks_for(
    shape: tuple[int, int, int],
    arch: str = "dense",
    channels: tuple[int, ...] | None = None,
    hidden: tuple[int, ...] | None = None,
    decoder_arch: str | None = None,
) -> tuple[Stack, Stack]:
    """Return the stack of an encoder, and the one that its decoder mirrors."""
    stack = stack_for(arch, shape, channels, hidden)
    if decoder_arch is None or decoder_arch == arch:
        return stack, stack
    return stack, stack_for(decoder_arch, shape)


def stack_for(
    arch: str,
    shape: tuple[int, int, int],
    channels: tuple[int, ...] | None = None,
    hidden: tuple[int, ...] | None = None,
) -> Stack:
    """Return the stack of an architecture for images of `shape`.

    `channels` and `hidden` are the architecture's own if not given; of its own channels
    as many are taken as leave 4 pixels a side. Raises `UserError` for an image that
    does not fit, and says which would.
    """
    if arch not in ARCHITECTURES:
        raise UserError(f"no architecture {arch!r}; have {', '.join(ARCHITECTURES)}")
    if len(shape) != 3 or not 1 <= min(shape) <= math.prod(shape) <= MOST_WEIGHTS:
        raise UserError(
            f"shape is (channels, height, width), at most {MOST_WEIGHTS:,} numbers, "
            f"not {shape}"
        )
    own = ARCHITECTURES[arch]
    hidden = own.hidden if hidden is None else tuple(hidden)
    if len(hidden) + len(channels or ()) > MOST_LAYERS:
        raise UserError(f"a model has at most {MOST_LAYERS} layers on each side")
    if min(hidden, default=1) < 1:
        raise UserError(f"hidden layers need at least one unit each, not {hidden}")
    if own.channels and not hidden:
        raise UserError(f"arch {arch} needs a linear layer after its convolutions")

    if channels and not own.channels:
        raise UserError(f"arch {arch} has no convolutions: no channels {channels}")
    if own.channels and channels is not None and min(channels, default=0) < 1:
        raise UserError(
            f"arch {arch} needs convolutions of at least one channel each, not "
            f"{tuple(channels)}"
        )

    def channels_for(size: Size) -> tuple[int, ...]:
        return own.channels_for(size) if channels is None else tuple(channels)

    C, height, width = shape
    size = (height, width)
    times = len(channels_for(size))
    if own.channels and not times:
        raise UserError(
            f"arch {arch} needs images of at least {2 * SMALLEST} x {2 * SMALLEST} "
            f"pixels, and these are {height} x {width}: use arch dense"
        )
    if fitting := _nearest(size, lambda size: 2 ** len(channels_for(size))):
        raise UserError(
            f"arch {arch} halves height and width {times} time{'s' * (times > 1)} "
            f"here, so they must be multiples of {2**times}: {height} x {width} does "
            f"not fit, {' or '.join(f'{h} x {w}' for h, w in fitting)} would"
        )
    return Stack((C, height, width), channels_for(size), hidden)


def _nearest(size: Size, unit: Callable[[Size], int]) -> list[Size]:
    """Return the nearest sizes in whole units below and above; none if `size` is one.

    A larger size may be halved more often, and then has a larger unit.
    """
    below = _scaled(size, unit(size), math.floor)
    above = size
    while (rounded := _scaled(above, unit(above), math.ceil)) != above:
        above = rounded
    return [s for s in (below, above) if min(s) and s != size]


def _scaled(size: Size, unit: int, rounding: Callable[[float], int]) -> Size:
    height, width = size
    return unit * rounding(height / unit), unit * rounding(width / unit)
