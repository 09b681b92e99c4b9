"""More latents than pixels, and nothing else: the autoencoder becomes the identity.

    loss → 0,   decoder(encoder(x)) = x on the span of the data

It has learnt nothing. On pixels that never change, what it does is not determined.
Source: Goodfellow, Bengio & Courville 2016, section 14.2.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minivae.gradcheck import Claim
from minivae.verify.exact import digits, same_moments
from minivae.verify.linear import images, linear_model, train

MORE = 16  # latents than pixels
STEPS = 2000


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about 80 latents for 64 pixels, whatever `latent` is."""
    x = digits()
    squares = float((x**2).sum(axis=1).mean())
    model = linear_model("ae", x.shape[1] + MORE, likelihood="squared_error")
    train(model, images(same_moments(x)), STEPS)
    yield Claim.equal(
        "overcomplete/squared error",
        "80 latents for 64 pixels leave nothing: squared error over squared images",
        0.0,
        model.loss_terms(images(x)).loss.item() / squares,
        1e-6,
        "|x − x̂|² → 0",
    )
    rebuilt = model.reconstruct(images(x)).reshape(x.shape)
    yield Claim.equal(
        "overcomplete/identity",
        "every digit comes back as it is: largest difference of a pixel",
        0.0,
        float(np.abs(rebuilt - x).max()),
        1e-2,
        "x̂ = x",
    )
