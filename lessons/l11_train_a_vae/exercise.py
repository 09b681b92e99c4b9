"""Lesson 11: your answers.

Edit this file, then: python -m lessons check 11
"""

import numpy as np


def vae_loss(
    logits: np.ndarray,
    x: np.ndarray,
    mu: np.ndarray,
    logvar: np.ndarray,
    beta: float,
) -> tuple[float, float, float]:
    """Exercise 11.1. Return loss, recon and kl of a batch, in nats per image.

    logits and x are (N, D), and x is 0 or 1: the decoder says that pixel d of image n
    is 1 with probability sigmoid(logits[n, d]). mu and logvar are (N, Z): the code of
    image n is N(mu[n], diag exp(logvar[n])), and the prior is N(0, I).
    loss = recon + beta * kl, and kl is returned as it is, without beta. Exact for
    logits of any size: ±800 too (lesson 5).
    """
    raise NotImplementedError("exercise 11.1")


def kl_weight(step: int, warmup: int) -> float:
    """Exercise 11.2. Return the factor of the KL at a step of training.

    A straight line from 0 at step 0 to 1 at step `warmup`, and 1 ever after. With a
    `warmup` of 0 there is no warming up: the factor is 1 from the first step, step 0.
    """
    raise NotImplementedError("exercise 11.2")


def collapsed_loss(X: np.ndarray) -> float:
    """Exercise 11.3. Return the least −ELBO on X of a VAE that does not use its code.

    X is (N, D), every pixel 0 or 1; nats per image. The code tells nothing: it has the
    prior's distribution for every image, so its KL is 0. The decoder must say the same
    for every image, one probability for each pixel: the best there is for X.
    """
    raise NotImplementedError("exercise 11.3")
