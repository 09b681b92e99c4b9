"""What a denoising autoencoder does to an image x before it looks at it.

    gaussian:V   x̃ = x + √V ε, ε ~ N(0, I)          V a variance; x̃ may leave [0, 1]
    mask:P       x̃ = x with each pixel 0 with probability P
    salt:P       x̃ = x with each pixel 0 or 1, evenly, with probability P

Every pixel takes one element of noise: a normal, or a uniform u that both chooses and
decides. Sources: Vincent et al. 2010, section 3.3; Vincent 2011 (gaussian).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from minivae.backend import Array
from minivae.errors import UserError
from minivae.random import Noise

KINDS = {
    "gaussian": "Gaussian noise of variance {:g} added to every pixel",
    "mask": "each pixel set to 0 with probability {:g}",
    "salt": "each pixel set to 0 or 1, evenly, with probability {:g}",
}


@dataclass(frozen=True)
class Corruption:
    """A kind of noise and its amount: a variance, or a probability."""

    kind: str
    amount: float

    def __str__(self) -> str:
        """Return the text it was read from, as "gaussian:0.1"."""
        return f"{self.kind}:{self.amount!r}"

    @property
    def in_words(self) -> str:
        """What happens to an image."""
        return KINDS[self.kind].format(self.amount)

    def draw(self, noise: Noise, like: Array) -> Array:
        """Draw the elements that images `like` (N, C, H, W) take."""
        if self.kind == "gaussian":
            return noise.normal(like.shape, like.dtype, like)
        return noise.uniform(like.shape, like.dtype, like)

    def apply(self, x: Array, drawn: Array) -> Array:
        """Return x̃, a new array, from images and what was drawn for them."""
        if drawn.shape != x.shape:
            raise UserError(f"noise of shape {drawn.shape} for images {x.shape}")
        if self.kind == "gaussian":
            return x + math.sqrt(self.amount) * drawn
        kept = drawn >= self.amount
        if self.kind == "mask":
            return x * kept
        return x * kept + (drawn < self.amount / 2)


def corruption(text: str) -> Corruption:
    """Read "gaussian:V", "mask:P" or "salt:P"; raises `UserError` for anything else."""
    kind, _, number = str(text).partition(":")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if kind not in KINDS:
        raise UserError(f"no noise {text!r}; have gaussian:V, mask:P, salt:P")
    if kind == "gaussian" and not 0 < amount < math.inf:
        raise UserError(
            f"the noise gaussian:V takes a positive variance, as gaussian:0.1, not "
            f"{text!r}"
        )
    if kind != "gaussian" and not 0 <= amount < 1:
        raise UserError(
            f"the noise {kind}:P takes a probability in [0, 1), as {kind}:0.3, not "
            f"{text!r}"
        )
    return Corruption(kind, amount)
