"""Lesson 9: your answers.

Edit this file, then: python -m lessons check 9

The model of all three: z ~ N(0, I) with Z latents, x = W z + noise ~ N(0, s2 I) with D
pixels. W is (D, Z), s2 a positive number.
"""

import numpy as np


def elbo(
    x: np.ndarray, W: np.ndarray, s2: float, mu: np.ndarray, logvar: np.ndarray
) -> float:
    """Exercise 9.1. Return the ELBO of one image x (D,), in nats, exactly.

    q(z) = N(mu, diag exp(logvar)), with mu and logvar (Z,):
    ELBO = E_q[log p(x | z)] − KL(q ‖ N(0, I)).
    """
    raise NotImplementedError("exercise 9.1")


def posterior(x: np.ndarray, W: np.ndarray, s2: float) -> tuple[np.ndarray, np.ndarray]:
    """Exercise 9.2. Return mean (Z,) and covariance (Z, Z) of p(z | x)."""
    raise NotImplementedError("exercise 9.2")


def m_step(
    X: np.ndarray, means: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, float]:
    """Exercise 9.3. Return the W and s2 that maximise the ELBO of all images, q fixed.

    X is (N, D); q of image n is N(means[n], covariance), with means (N, Z) and one
    covariance (Z, Z) for all.
    """
    raise NotImplementedError("exercise 9.3")
