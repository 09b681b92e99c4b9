"""The work that is measured: training steps of a VAE on binarised images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.steps import Step, images_for
from minivae import VAE, Noise, Tensor, nn, no_grad
from minivae.backend import Array
from minivae.data.dataset import binarise
from minivae.models import Autoencoder
from minivae.optim import Adam
from minivae.random import Stream
from minivae.train import train_step

BATCHES = 8  # that a step without its data goes round in


def model_of(step: Step) -> VAE:
    """Return the VAE of a step, at its first weights."""
    shape = (1, step.side, step.side)
    return VAE(shape, step.latent, arch=step.arch, likelihood="bernoulli")


class Workload:
    """A VAE, its Adam and its images, ready to take one step after another."""

    def __init__(self, grey: Array, batch: int, model: Autoencoder) -> None:
        self.grey, self.batch, self.model = grey, batch, model
        self.optimizer = Adam(self.model.parameters(), lr=1e-3)
        self.latent_noise = Noise(0, Stream.LATENT)
        self.pixel_noise = Noise(0, Stream.BINARISE_TRAIN)
        self.taken = 0
        self.ready = [self.next_batch() for _ in range(BATCHES)]

    @classmethod
    def of(cls, step: Step, grey: Array) -> Workload:
        """Return the work of a step on `grey` images of any side that fits."""
        return cls(images_for(step, grey), step.batch, model_of(step))

    def next_batch(self) -> Array:
        """Gather the next images and draw their pixels, as `:dynamic` data does."""
        rows = [(self.taken + i) % len(self.grey) for i in range(self.batch)]
        self.taken += self.batch
        return binarise(self.grey[rows], self.pixel_noise)

    def step(self) -> None:
        """Forward, backward and update, on a batch made beforehand."""
        self.step_on(self.ready[self.optimizer.steps % len(self.ready)])

    def step_with_data(self) -> None:
        """Make the batch, then take the step."""
        self.step_on(self.next_batch())

    def step_on(self, x: Array) -> None:
        """Take one step on the images `x`; the latents' noise is drawn in it."""
        train_step(self.model, self.optimizer, x, self.latent_noise)


def step_flops(model: Any, batch: int) -> int:
    """Count the multiplications and additions of a step's matrix products.

    Each layer with a weight takes as many for the gradient of its weight as forward,
    and as many for that of its input, which the first one (on the images) does not
    need.
    """
    forward = forward_flops(model)
    return batch * (3 * sum(forward) - forward[0])


@no_grad()
def forward_flops(model: Any) -> list[int]:
    """Return the FLOPs of one image in each layer with a weight; the encoder is first.

    A linear layer multiplies and adds once for each element of its weight. So does a
    convolution at every pixel of its smaller map, which a transposed one reads and a
    plain one writes; a tap that falls on the padding counts as any other.
    """
    found: list[int] = []

    def through(layers: Iterable[nn.Layer], x: Tensor) -> Tensor:
        for layer in layers:
            y = layer(x)
            if isinstance(layer, nn.Linear):
                found.append(2 * layer.weight.size)
            elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                smaller = y if isinstance(layer, nn.Conv2d) else x
                pixels = smaller.shape[2] * smaller.shape[3]
                found.append(2 * pixels * layer.weight.size)
            x = y
        return x

    def one(*shape: int) -> Tensor:
        return Tensor(np.zeros((1, *shape), np.float32))

    hidden = through(model.encoder.layers, one(*model.shape))
    for _, head in model.children():
        if isinstance(head, nn.Linear):
            through((head,), hidden)
    through(model.decoder.layers, one(model.latent))
    return found
