"""Lesson 5: answers of the course."""

import numpy as np


def first_weights(normals: np.ndarray) -> np.ndarray:
    """Exercise 5.1. Return the weights (out, in) of a layer to start with.

    `normals` (out, in) are independent standard normals. The inputs of the layer are
    outputs of a relu. Scale the normals so that the mean square of x @ weights.T is
    twice that of such inputs x, whatever the sizes: then relu, which takes half of it
    away, leaves it as it was.
    """
    return normals * np.sqrt(2 / normals.shape[1])


def bce_with_logits(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Exercise 5.2. Return −log p(target) of each image, in nats: (N, D) -> (N,).

    Pixel d of an image is 1 with probability sigmoid(logits[n, d]), the pixels are
    independent, targets are 0 or 1. Exact for logits of any size: ±10000 too.
    """
    softplus = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))
    return (softplus - logits * target).sum(axis=1)


def adam_step(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    t: int,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exercise 5.3. Return the new (w, m, v) after Adam's step number t = 1, 2, ...

    m and v are the running means of the gradient g and of its square, zero before the
    first step (Kingma and Ba 2015, algorithm 1).
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    unbiased_m = m / (1 - beta1**t)
    unbiased_v = v / (1 - beta2**t)
    return w - lr * unbiased_m / (np.sqrt(unbiased_v) + eps), m, v
