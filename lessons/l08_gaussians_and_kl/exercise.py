"""Lesson 8: your answers.

Edit this file, then: python -m lessons check 8
"""

import numpy as np


def log_normal(x: np.ndarray, mu: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """Exercise 8.1. Return log N(x; mu, σ²) of each element, σ² = exp(logvar), in nats.

    All arrays have the same shape, and so has the result: nothing is summed.
    """
    raise NotImplementedError("exercise 8.1")


def gaussian_kl(mu: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """Exercise 8.2. Return KL(N(mu, σ²) ‖ N(0, I)) of each image: (N, Z) -> (N,).

    σ² = exp(logvar), the Z latents of an image are independent; in nats.
    """
    raise NotImplementedError("exercise 8.2")


def kl_by_sampling(
    mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray
) -> tuple[float, float]:
    """Exercise 8.3. Estimate KL(q ‖ N(0, I)) of ONE image's q = N(mu, σ²) by sampling.

    mu and logvar are (Z,); eps (S, Z) are standard normals, to be turned into S draws z
    of q. Return the mean of log q(z) − log p(z), and the standard error of that mean.
    """
    raise NotImplementedError("exercise 8.3")
