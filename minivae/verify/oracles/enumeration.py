"""Latents of 0 and 1: sums over all codes, and four estimators held against them.

    log p(x) = log Σ_c p(c) p(x|c),    ∂E f/∂p_j = E[f | z_j = 1] − E[f | z_j = 0]

The exact side enumerates by NumPy, from the weights. REINFORCE must be unbiased, and
less noisy with its baseline; straight-through and relaxed must show their bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

from minivae import models
from minivae.backend import Array
from minivae.evaluate.bounds import exact_log_p
from minivae.gradcheck import Claim
from minivae.models import Autoencoder
from minivae.random import Noise, Stream
from minivae.verify.exact import all_binary, bernoulli_log_p, binary_digits, dense
from minivae.verify.linear import SHAPE, images, train
from minivae.verify.oracles.quadrature import decoder_layers

LATENT, IMAGES, DRAWS = 6, 30, 400
Moments = tuple[Array, Array]


def model_with(state: dict[str, Array] | None = None, **options: Any) -> Autoencoder:
    """Return a small model with 0/1 latents and an estimator."""
    given = {"likelihood": "bernoulli", "hidden": (12,), "activation": "tanh"}
    model = models.build(
        "bernoullivae", shape=SHAPE, latent=LATENT, seed=1, **{**given, **options}
    )
    model.to(dtype=np.float64)
    if state is not None:
        model.load_state(state)
    return model


def claims(latent: int = LATENT) -> Iterator[Claim]:
    """Yield the claims about log p, the loss, and each estimator's gradient."""
    exact_model = model_with(estimator="exact")
    train(exact_model, images(binary_digits()[:300]), 60)
    x, state = binary_digits()[:IMAGES], exact_model.state()
    codes = all_binary(LATENT)
    f = -bernoulli_log_p(dense(codes, decoder_layers(exact_model)), x)  # (N, C)
    log_p = special.logsumexp(-f - LATENT * np.log(2), axis=1)
    found = exact_log_p(exact_model, images(x))
    assert found is not None
    yield Claim.compare(
        "enumeration/log p",
        f"the ledger's log p is the sum over all {len(codes)} codes, each image's",
        float(log_p.mean()),
        float(found.log_p.mean()),
        float(np.abs(found.log_p - log_p).max()),
        1e-10,
        "log Σ_c p(c) p(x|c)",
    )
    encoder = [
        (state[f"{n}.weight"], state[f"{n}.bias"]) for n in ("encoder.1", "logits")
    ]
    logits = dense(x, encoder)
    q = np.exp(bernoulli_log_p(logits, codes).T)  # q(c|x): the code is what is drawn
    loss = (q * (f + LATENT * np.log(2) + np.log(q))).sum(axis=1)
    yield Claim.equal(
        "enumeration/loss",
        "the exact estimator's loss is E_q[f] + KL, summed over codes",
        float(loss.mean()),
        exact_model.loss_terms(images(x)).loss.item(),
        1e-10,
        "Σ_c q(c|x) [f(c) + log q(c|x) − log p(c)]",
    )
    exact = expected_gradient(logits, codes, q, f)
    yield from _gradients(state, x, exact)


def expected_gradient(logits: Array, codes: Array, q: Array, f: Array) -> Array:
    """∂loss/∂logits, a mean over images: p (1 − p) (f(1) − f(0) + l)."""
    p = special.expit(logits)
    on = (q * f) @ codes / p
    off = (q * f) @ (1 - codes) / (1 - p)
    return (p * (1 - p) * (on - off + logits)).mean(axis=0)


def _gradients(state: dict[str, Array], x: Array, exact: Array) -> Iterator[Claim]:
    size = float(np.abs(exact).max())
    model = model_with(state, estimator="exact")
    found = _gradient(model, x, None)
    yield Claim.compare(
        "enumeration/exact gradient",
        "by the logits' bias is p (1 − p) (f(1) − f(0) + l)",
        size,
        float(np.abs(found).max()),
        float(np.abs(found - exact).max()) / size,
        1e-10,
        "∂E f/∂p_j = E[f | z_j = 1] − E[f | z_j = 0]",
    )
    options: dict[str, dict[str, Any]] = {
        "reinforce": {"estimator": "reinforce"},
        "reinforce without baseline": {"estimator": "reinforce", "baseline": False},
        "straight_through": {"estimator": "straight_through"},
        "relaxed": {"estimator": "relaxed"},
    }
    moments = {name: _moments(model_with(state, **o), x) for name, o in options.items()}
    for name, (mean, variance) in moments.items():
        off = np.abs(mean - exact) / np.sqrt(variance / DRAWS)
        bias = float(np.abs(mean - exact).max()) / size
        if name.startswith("reinforce"):
            yield Claim.compare(
                f"enumeration/{name} is unbiased",
                f"its mean of {DRAWS} draws is the exact gradient, in standard errors",
                size,
                float(np.abs(mean).max()),
                float(off.max()),
                4.0,
                "E f(z) ∂log q(z)/∂l = ∂E f/∂l",
            )
        else:
            yield Claim.at_most(
                f"enumeration/{name} is biased",
                f"off by {100 * bias:.0f} % of the gradient; minus its standard errors",
                -4.0,
                -float(off.max()),
                formula="E estimate ≠ ∂E f/∂l",
            )
    with_it, without = (moments[name][1].mean() for name in list(options)[:2])
    yield Claim.at_most(
        "enumeration/the baseline",
        "its variance, for two draws, over half of that of one without",
        1.0,
        float(with_it / (without / 2)),
        formula="Var with baseline < Var without",
    )


def _gradient(model: Autoencoder, x: Array, noise: Array | None) -> Array:
    for parameter in model.parameters():
        parameter.grad = None
    model.loss_terms(images(x), noise).loss.backward()
    gradient = model.named_parameters()["logits.bias"].grad
    assert gradient is not None
    return gradient.copy()


def _moments(model: Autoencoder, x: Array) -> Moments:
    noise = Noise(6, Stream.CHECK)
    drawn = np.stack(
        [_gradient(model, x, model.loss_noise(noise, len(x))) for _ in range(DRAWS)]
    )
    return drawn.mean(axis=0), drawn.var(axis=0, ddof=1)
