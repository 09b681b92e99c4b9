"""The training steps that are measured, here and beside other libraries.

Beside NumPy nothing is imported: a process that has another library loaded reads this.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

DATA = "fashion10k:gray"
ENLARGED = 1024  # images of a larger side, which would otherwise fill the memory


class Step(NamedTuple):
    """A step of a VAE with a Bernoulli likelihood and Adam, on one-channel images."""

    name: str
    arch: str
    side: int  # pixels
    latent: int
    batch: int

    def __str__(self) -> str:
        return f"{self.name} b{self.batch}"


STEPS = (
    Step("mlp", "dense", 28, 20, 128),
    Step("mlp", "dense", 28, 20, 512),
    Step("conv28", "conv", 28, 10, 128),
    Step("burgess64", "burgess", 64, 10, 64),
)


def images_for(step: Step, grey: Array) -> Array:
    """Return grey images (N, 1, H, W) at the step's side.

    A larger side gets the first images, each pixel repeated as often as fits along both
    axes, in the middle of a black margin: 28 x 28 become 56 x 56 in 64 x 64.
    """
    times, rest = divmod(step.side, grey.shape[2])
    if times == 1 and not rest:
        return grey
    larger = grey[:ENLARGED].repeat(times, axis=2).repeat(times, axis=3)
    margin = (rest // 2, rest - rest // 2)
    return np.pad(larger, ((0, 0), (0, 0), margin, margin))
