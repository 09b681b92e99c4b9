"""Lesson 9: answers of the course.

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
    var = np.exp(logvar)
    expected_square = ((x - W @ mu) ** 2).sum() + (var * (W**2).sum(axis=0)).sum()
    recon = -0.5 * (len(x) * np.log(2 * np.pi * s2) + expected_square / s2)
    kl = 0.5 * (mu**2 + var - 1 - logvar).sum()
    return float(recon - kl)


def posterior(x: np.ndarray, W: np.ndarray, s2: float) -> tuple[np.ndarray, np.ndarray]:
    """Exercise 9.2. Return mean (Z,) and covariance (Z, Z) of p(z | x)."""
    M = W.T @ W + s2 * np.eye(W.shape[1])
    return np.linalg.solve(M, W.T @ x), s2 * np.linalg.inv(M)


def m_step(
    X: np.ndarray, means: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, float]:
    """Exercise 9.3. Return the W and s2 that maximise the ELBO of all images, q fixed.

    X is (N, D); q of image n is N(means[n], covariance), with means (N, Z) and one
    covariance (Z, Z) for all.
    """
    N, D = X.shape
    second = means.T @ means + N * covariance  # Σ E[z zᵀ]
    W = np.linalg.solve(second, means.T @ X).T
    residual = ((X - means @ W.T) ** 2).sum() + N * np.trace(W @ covariance @ W.T)
    return W, float(residual / (N * D))
