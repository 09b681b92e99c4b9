"""Lesson 10: answers of the course.

q is N(mu, σ²) with σ² = exp(logvar), both single numbers. Wanted is the gradient of
E_q[f(z)] by mu and by logvar, estimated from S draws of q.
"""

import numpy as np


def sample(mu: np.ndarray, logvar: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Exercise 10.1. Return draws of N(mu, exp(logvar)), made of standard normals.

    All are arrays of the same shape, and so is the result.
    """
    return mu + np.exp(0.5 * logvar) * eps


def pathwise_gradient(
    slopes: np.ndarray, eps: np.ndarray, logvar: float
) -> tuple[float, float]:
    """Exercise 10.2. Return the estimates by mu and by logvar, through the draws.

    slopes (S,) are f′(z_s) at the draws z_s = mu + σ eps_s.
    """
    sigma = np.exp(0.5 * logvar)
    return float(slopes.mean()), float((slopes * eps).mean() * 0.5 * sigma)


def score_gradient(
    values: np.ndarray, z: np.ndarray, mu: float, logvar: float
) -> tuple[float, float]:
    """Exercise 10.3. Return the estimates by mu and by logvar, without f′.

    values (S,) are f(z_s) at draws z (S,) of q. The gradient of E_q[f] is
    E_q[f(z) ∇ log q(z)].
    """
    var = np.exp(logvar)
    by_mu = (z - mu) / var
    by_logvar = 0.5 * ((z - mu) ** 2 / var - 1)
    return float((values * by_mu).mean()), float((values * by_logvar).mean())
