"""The work that is measured: training steps of a dense VAE on binarised images."""

from __future__ import annotations

from minivae import VAE, Noise, nn
from minivae.backend import Array
from minivae.data.dataset import binarise
from minivae.models import Autoencoder
from minivae.optim import Adam
from minivae.random import Stream
from minivae.train import train_step

BATCHES = 8  # that a step without its data goes round in


class Workload:
    """A VAE, its Adam and its images, ready to take one step after another."""

    def __init__(
        self,
        grey: Array,
        batch: int,
        hidden: tuple[int, ...] = (400,),
        latent: int = 20,
    ) -> None:
        C, H, W = grey.shape[1:]
        self.grey, self.batch = grey, batch
        self.model = VAE((C, H, W), latent, hidden, likelihood="bernoulli")
        self.optimizer = Adam(self.model.parameters(), lr=1e-3)
        self.latent_noise = Noise(0, Stream.LATENT)
        self.pixel_noise = Noise(0, Stream.BINARISE_TRAIN)
        self.taken = 0
        self.ready = [self.next_batch() for _ in range(BATCHES)]

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


def step_flops(model: Autoencoder, batch: int) -> int:
    """Count the multiplications and additions of a step's matrix products.

    A linear layer takes 2 N in out forward, as many for the gradient of its weight and
    as many for that of its input, which the first layer (on the images) does not need.
    """
    sizes: list[int] = [
        layer.weight.size
        for _, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    return 2 * batch * (3 * sum(sizes) - sizes[0])
