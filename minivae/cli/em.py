"""`minivae em`: expectation maximisation and the VAE in one picture."""

from __future__ import annotations

from pathlib import Path


def em(out: Path = Path("em.html"), steps: int = 300, seed: int = 0) -> None:
    """Write a page: exact and generalised EM, per-example and amortised inference.

    Args:
        out: the page
        steps: training steps of the nonlinear VAE whose gap is split in two
        seed: of its weights and noise
    """
    import numpy as np

    from minivae import backend, data, models
    from minivae import em as methods
    from minivae.errors import UserError
    from minivae.files import write
    from minivae.optim import Adam
    from minivae.page.plane import IMAGES, page
    from minivae.random import Noise, Stream

    if steps < 1:
        raise UserError(f"steps must be at least 1, not {steps}")
    backend.keep_freed_memory()
    with backend.limited_threads(1):  # these products are too small for more
        digits = data.load("digits").train.images[:IMAGES].astype(np.float64)
        binary = data.load("digits:threshold").train.images[:IMAGES].astype(np.float64)
        model = models.build(
            "vae",
            shape=binary.shape[1:],
            latent=2,
            hidden=(32,),
            activation="tanh",
            likelihood="bernoulli",
            seed=seed,
        ).to(dtype=np.float64)
        optimizer, noise = Adam(model.parameters(), 0.02), Noise(seed, Stream.LATENT)
        for _ in range(steps):
            optimizer.zero_grad()
            model.loss_terms(binary, noise).loss.backward()
            optimizer.step()
        gap = methods.gap(model, binary[:100], 200)
        told = (
            f"A VAE of 64 – 32 – 2 units after {steps} steps on {len(binary)} digits "
            "of 0 and 1; over the first 100 of them."
        )
        html = page(digits - digits.mean(axis=0), gap, told)
    write(out, html.encode("utf-8"))
    elbo = gap.log_p - gap.approximation - gap.amortisation
    print(
        f"log p {gap.log_p:.3f} = ELBO {elbo:.3f} + approximation "
        f"{gap.approximation:.3f} + amortisation {gap.amortisation:.3f} nats"
    )
    print(out)
