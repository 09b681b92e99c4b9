"""Lesson 6: answers of the course.

X is (N, D): N images, one a row, of D pixels.
"""

from collections.abc import Callable

import numpy as np


def best_linear(X: np.ndarray, latent: int) -> np.ndarray:
    """Exercise 6.1. Return what the best linear autoencoder makes of X: (N, D).

    It has `latent` codes an image, weights and biases, and the least squared error on X
    that any such can have.
    """
    mean = X.mean(axis=0)
    directions = np.linalg.svd(X - mean, full_matrices=False)[2][:latent]
    codes = (X - mean) @ directions.T
    return codes @ directions + mean


def denoising_loss(
    reconstruct: Callable[[np.ndarray], np.ndarray],
    X: np.ndarray,
    uniforms: np.ndarray,
    p: float,
) -> float:
    """Exercise 6.2. Return the loss of a denoising autoencoder on a batch X (N, D).

    Masking noise: each pixel is set to 0 with probability p, which is where its number
    in `uniforms` (N, D), drawn from [0, 1), is below p. `reconstruct` is the encoder
    and the decoder: images (N, D) in, images (N, D) out. The loss is a squared error,
    summed over the pixels, averaged over the images.
    """
    masked = np.where(uniforms < p, 0.0, X)
    return float(((reconstruct(masked) - X) ** 2).sum(axis=1).mean())


def best_denoiser(S: np.ndarray, v: float) -> np.ndarray:
    """Exercise 6.3. Return the matrix A (D, D) that undoes noise best.

    Images have mean 0 and the covariance S (D, D). Noise of variance v, independent of
    all, is added to every pixel. Of all matrices, A has the least expected |A x̃ − x|²,
    x the clean image and x̃ the noisy one, as columns.
    """
    return S @ np.linalg.inv(S + v * np.eye(len(S)))
