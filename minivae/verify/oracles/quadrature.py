"""Two latents on a grid: log p(x), the posterior and the gap of a trained VAE.

    log p(x) = log ∫ N(z; 0, I) p(x|z) dz,   a sum over 300 x 300 points

for any decoder, here a nonlinear one on digits of 0 and 1. The grid's side is NumPy's:
it has the weights, and decodes by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import special, stats

from minivae import em, models
from minivae.backend import Array
from minivae.evaluate.bounds import draw, exact_log_p, importance_bound
from minivae.gradcheck import Claim
from minivae.models import Autoencoder
from minivae.verify.exact import binary_digits, dense, grid_log_p
from minivae.verify.linear import SHAPE, images, train

IMAGES, DRAWS = 40, 2000
FORMULA = "log ∫ N(z; 0, I) p(x|z) dz"


def trained() -> tuple[Autoencoder, Array]:
    """Return a small VAE with two latents, and the digits it was trained on."""
    options = {"likelihood": "bernoulli", "hidden": (16,), "activation": "tanh"}
    model = models.build("vae", shape=SHAPE, latent=2, seed=1, **options)
    x = binary_digits()[:500]
    train(model.to(dtype=np.float64), images(x), 300)
    return model, x[:IMAGES]


def decoder_layers(model: Autoencoder) -> list[tuple[Array, Array]]:
    """Return the decoder's weights and biases, layer by layer."""
    state = model.state()
    names = [n.rpartition(".")[0] for n in state if n.startswith("decoder.")]
    return [
        (state[f"{name}.weight"], state[f"{name}.bias"])
        for name in dict.fromkeys(names)
    ]


def claims(latent: int = 2) -> Iterator[Claim]:
    """Yield the claims about log p, the ELBO, the importance bound and the gap."""
    model, x = trained()
    log_p, codes, joint = grid_log_p(decoder_layers(model), x)
    found = exact_log_p(model, images(x))
    assert found is not None
    yield Claim.compare(
        "quadrature/log p",
        "the ledger's log p is that of a finer grid by NumPy, each image's",
        float(log_p.mean()),
        float(found.log_p.mean()),
        float(np.abs(found.log_p - log_p).max()),
        1e-6,
        FORMULA,
    )
    drawn = draw(model, images(x), DRAWS)
    weights = np.exp(drawn.log_w - log_p)
    error = weights.std(axis=0, ddof=1) / np.sqrt(DRAWS)
    yield Claim.compare(
        "quadrature/importance weights",
        f"the mean of {DRAWS:,} weights is p(x), in standard errors, the worst image",
        1.0,
        float(weights.mean()),
        float((np.abs(weights.mean(axis=0) - 1) / error).max()),
        5.0,
        "E p(x, z) / q(z|x) = p(x)",
    )
    bound = importance_bound(drawn.log_w, DRAWS)
    yield Claim.equal(
        f"quadrature/IWAE-{DRAWS}",
        "so the bound's limit is log p, in nats",
        float(log_p.mean()),
        float(bound.mean()),
        0.01,
        "L_k → log p",
    )
    yield from _elbo(model, x, drawn.log_w, codes, joint)
    split = em.gap(model, images(x), steps=200)
    for name, part in (
        ("approximation", split.approximation),
        ("amortisation", split.amortisation),
    ):
        yield Claim.at_most(
            f"quadrature/{name} gap",
            "is not negative: no q is better than the posterior, no encoder than q*",
            0.0,
            -part,
            1e-3,
            "log p − ELBO = approximation + amortisation",
        )


def _elbo(
    model: Autoencoder, x: Array, log_w: Array, codes: Array, joint: Array
) -> Iterator[Claim]:
    """The ELBO by the grid, and the gap as a KL to the posterior on it."""
    state = model.state()
    mu, logvar = (
        dense(
            x, [(state[f"{n}.weight"], state[f"{n}.bias"]) for n in ("encoder.1", head)]
        )
        for head in ("mu", "logvar")
    )
    mu, std = mu[:, None], np.exp(logvar[:, None] / 2)
    log_q = stats.norm.logpdf(codes[None], mu, std).sum(axis=2)
    log_q = log_q - special.logsumexp(log_q, axis=1, keepdims=True)  # dz in it
    weights = np.exp(log_q)
    elbo = (weights * (joint - log_q)).sum(axis=1)
    means = log_w.mean(axis=0)
    error = log_w.std(axis=0, ddof=1) / np.sqrt(len(log_w))
    yield Claim.compare(
        "quadrature/ELBO",
        "the mean log weight is the grid's ELBO, in standard errors, the worst image",
        float(elbo.mean()),
        float(means.mean()),
        float((np.abs(means - elbo) / error).max()),
        5.0,
        "∫ q (log p(x, z) − log q) dz",
    )
    log_p = special.logsumexp(joint, axis=1)
    kl = (weights * (log_q - joint + log_p[:, None])).sum(axis=1)
    place = em.place(model, images(x))
    yield Claim.equal(
        "quadrature/the gap",
        "log p − ELBO is the KL from q to the posterior on the grid, in nats",
        float(kl.mean()),
        place.gap,
        0.02,
        "KL(q ‖ p(z|x))",
    )
