"""The linear VAE trained on digits: probabilistic PCA's maximum, known in closed form.

    max log p = −½ [D log 2π + Σ_{i<=k} log l_i + (D − k) log s2 + D]
    s2 = mean(l_{k+1..D}),  W = U_k (L_k − s2)^½ R

All 1,797 digits, pixels / 16, centred. Its gradients are known too, for any weights:
they are checked where no gradient check could see a wrong objective.
Sources: Tipping & Bishop 1999; Lucas, Tucker, Grosse & Norouzi 2019.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import linalg

from minivae.evaluate.bounds import exact_log_p
from minivae.gradcheck import Claim
from minivae.random import Noise, Stream
from minivae.verify.exact import Spectrum, digits, elbo_gradients
from minivae.verify.linear import (
    cubature,
    expected_terms,
    images,
    linear_model,
    read,
    set_to,
    train,
)

FORMULA = "−½ [D log 2π + Σ log l_i + (D − k) log s2 + D]"


def steps_for(latent: int) -> int:
    """How many steps training takes: the smaller eigenvalues are learnt last."""
    return 1000 + 200 * latent


def tolerance_for(latent: int) -> float:
    """How near training comes to the maximum, in nats."""
    return 1e-3 if latent <= 5 else 3e-3


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield the claims about `latent` latents."""
    yield from gradient_claims(latent)
    x = digits()
    spectrum = Spectrum.of(x)
    model = linear_model("vae", latent)
    train(model, images(x), steps_for(latent))
    best = spectrum.best_log_p(latent)
    found = exact_log_p(model, images(x))
    assert found is not None
    near = tolerance_for(latent)
    yield Claim.equal(
        "linear_vae/log p",
        f"{latent} latents, trained, reach the largest log p there is",
        best,
        found.log_p.mean(),
        near,
        FORMULA,
    )
    recon, kl = expected_terms(model, images(x))
    yield Claim.at_most(
        "linear_vae/no bound above",
        "the ELBO is at most log p, which is at most the maximum",
        min(best, float(found.log_p.mean())),
        -recon - kl,
        1e-9,
        "ELBO <= log p <= max log p",
    )
    yield Claim.equal(
        "linear_vae/ELBO",
        "the ELBO reaches it too: q is nearly the posterior",
        best,
        -recon - kl,
        # log p feels what the last steps' noise leaves in W; the ELBO feels V and log d
        # as well, and each of the three adds about as much
        3 * near,
        FORMULA,
    )
    learnt = read(model)
    yield Claim.equal(
        "linear_vae/sigma",
        "the learnt s2 is the mean discarded eigenvalue, relatively",
        1.0,
        learnt.s2 / spectrum.best_sigma2(latent),
        0.01,
        "s2 = mean(l_{k+1..D})",
    )
    angles = linalg.subspace_angles(learnt.W, spectrum.U[:, :latent])
    yield Claim.equal(
        "linear_vae/subspace",
        "W spans the first principal directions: mean squared sine of the angles",
        0.0,
        float((np.sin(angles) ** 2).mean()),
        0.02,
        "span W = span U_k",
    )


def gradient_claims(latent: int) -> Iterator[Claim]:
    """The engine's gradients of the expected loss against the closed form."""
    noise = Noise(3, Stream.CHECK)
    x = digits()[:300]
    S = x.T @ x / len(x)
    known = Spectrum.of(x).best(latent)
    W = known.W + 0.1 * noise.normal(known.W.shape, np.float64)
    V = 0.3 * noise.normal((latent, len(W)), np.float64)
    d = np.exp(0.3 * noise.normal((latent,), np.float64))
    exact = elbo_gradients(W, V, d, known.s2, S)
    model = linear_model("vae", latent)
    set_to(model, type(known)(W, known.s2), V, d)
    points = cubature(latent, len(x))
    for eps in points:
        (model.loss_terms(images(x), eps).loss / len(points)).backward()
    named = model.named_parameters()
    places = {
        "W": "decoder.0.weight",
        "V": "mu.weight",
        "log d": "logvar.bias",
        "log s2": "recon_logvar",
    }
    for name, parameter in places.items():
        gradient = named[parameter].grad
        assert gradient is not None
        apart = np.abs(-gradient - exact[name]).max() / np.abs(exact[name]).max()
        yield Claim.compare(
            f"linear_vae/gradient by {name}",
            f"the expected loss's gradient by {parameter} is the closed form's",
            float(np.abs(exact[name]).max()),
            float(np.abs(gradient).max()),
            apart,
            1e-9,
            "∂ELBO/∂W = ((I − W V) S Vᵀ − W diag d) / s2, ...",
        )
