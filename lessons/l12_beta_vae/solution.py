"""Lesson 12: answers of the course."""

from collections.abc import Callable

import numpy as np


def traverse(
    decode: Callable[[np.ndarray], np.ndarray],
    z: np.ndarray,
    latent: int,
    values: np.ndarray,
) -> np.ndarray:
    """Exercise 12.1. Return what is decoded while one latent takes each of `values`.

    z (Z,) is a code; number `latent` of it is set to each of `values` (M,) in turn, the
    others stay as they are. `decode` takes codes (M, Z) and returns (M, ...).
    """
    codes = np.tile(z, (len(values), 1))
    codes[:, latent] = values
    return decode(codes)


def mutual_information(code: np.ndarray, factor: np.ndarray, bins: int = 20) -> float:
    """Exercise 12.2. Return the mutual information of a latent and a factor, in nats.

    code (N,) are real numbers; put them in `bins` bins of equal width from the smallest
    to the largest (which belongs to the last bin). factor (N,) are integers. With p the
    shares of the N images, I = Σ p(b, f) log [p(b, f) / (p(b) p(f))] over all pairs of
    a bin and a value that occur.
    """
    cells = np.linspace(code.min(), code.max(), bins + 1)
    values = np.unique(factor)
    p = np.stack([np.histogram(code[factor == f], cells)[0] for f in values], axis=1)
    p = p / len(code)
    alone = p.sum(axis=1, keepdims=True) * p.sum(axis=0)
    there = p > 0
    return float((p[there] * np.log(p[there] / alone[there])).sum())


def mig(information: np.ndarray, entropies: np.ndarray) -> float:
    """Exercise 12.3. Return the mutual information gap, a number from 0 to 1.

    information (Z, F) has I(latent j; factor k) in row j and column k; entropies (F,)
    has H of each factor; Z is at least 2. For each factor: how far the best latent is
    ahead of the second, as a share of the factor's entropy; then the mean over the
    factors. If two latents tell equally much, neither is ahead: the gap is 0.
    """
    ranked = np.sort(information, axis=0)
    return float(((ranked[-1] - ranked[-2]) / entropies).mean())
