"""What weighs on a code: the contraction is a Jacobian's length, L1 a cubic's root.

    ‖∂z/∂x‖² = Σ_j s_j² Σ_d W_jd²,   s = z (1 − z) after a sigmoid, 1 − z² after tanh

One pixel ±a and one tied weight w have loss (a − w² a)² + λ a |w|: at the optimum
4 a w³ − 4 a w + λ = 0. Without the tie the penalty costs nothing, since the code may
shrink as the decoder grows. Source of the contraction: Rifai et al. 2011, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import special

from minivae.backend import Array
from minivae.gradcheck import Claim
from minivae.models import Autoencoder
from minivae.verify.exact import digits
from minivae.verify.linear import images, linear_model, train

WEIGHT = 0.4
PIXEL = 0.8
DERIVATIVES: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda a: special.expit(a) * special.expit(-a),
    "tanh": lambda a: 1 / np.cosh(a) ** 2,
}
"""Of the activations, by what goes in."""


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about `latent` latents."""
    x = digits()[:100]
    for name, derivative in DERIVATIVES.items():
        options = {"code_activation": name, "contraction": WEIGHT}
        model = linear_model("ae", latent, likelihood="squared_error", **options)
        W, b = (model.state()[f"code_layer.{p}"] for p in ("weight", "bias"))
        jacobians = derivative(x @ W.T + b)[:, :, None] * W
        exact = WEIGHT * float((np.linalg.norm(jacobians, axis=(1, 2)) ** 2).mean())
        terms = model.loss_terms(images(x))
        yield Claim.equal(
            f"penalties/contraction, {name}",
            "the loss beyond recon is the weight times the mean squared Jacobian",
            exact,
            terms.loss.item() - terms.recon.item(),
            1e-10,
            "Σ_j s_j² Σ_d W_jd²",
        )
    tied, free = (_one_pixel(is_tied) for is_tied in (True, False))
    root = max(np.roots([4 * PIXEL, 0, -4 * PIXEL, WEIGHT]).real)
    yield Claim.equal(
        "penalties/L1, tied",
        "one pixel, one tied weight, trained under L1: the root of a cubic",
        float(root),
        abs(tied.state()["code_layer.weight"].item()),
        1e-6,
        "4 a w³ − 4 a w + λ = 0",
    )
    pixel = np.full((1, 1, 1, 1), PIXEL)
    yield Claim.at_most(
        "penalties/L1, free",
        "with two weights the penalty is evaded: the loss falls below the tied one's",
        0.5 * tied.loss_terms(pixel).loss.item(),
        free.loss_terms(pixel).loss.item(),
        0.0,
        "λ |z| → 0 as the decoder grows",
    )


def _one_pixel(is_tied: bool) -> Autoencoder:
    """Return an autoencoder of one pixel, trained under L1 on ±a."""
    options = {"likelihood": "squared_error", "l1": WEIGHT, "tied": is_tied}
    model = linear_model("ae", 1, shape=(1, 1, 1), **options)
    both = np.array([PIXEL, -PIXEL]).reshape(2, 1, 1, 1)
    train(model, both, 600)
    return model
