"""What every library is given: the same weights, images, noise and adjoints.

The work is written to one .npz file by the runner and read by each worker. Beside NumPy
nothing is imported here, so that no library brings another one's threads along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]

D, H, Z = 784, 400, 20
BATCHES = (128, 512)
READY = 8  # batches that a step goes round in
LOSSES = {128: 20, 4096: 32}  # batch -> latents, of the fused loss
COPIED = 4096  # images whose loss is compared with a copy
LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8
CHECKED_STEPS = 8
SGEMM_SIZE = 1024
WEIGHT = "weight/"  # before the names of the model's parameters


class Case(NamedTuple):
    """One piece of work in one library.

    `check` starts afresh and returns the numbers in which all libraries must agree;
    `call` is what is timed.
    """

    check: Callable[[], list[float]]
    call: Callable[[], object]


def weights(given: Arrays) -> Arrays:
    """Return the model's first weights by name, in definition order."""
    return {
        name.removeprefix(WEIGHT): array
        for name, array in given.items()
        if name.startswith(WEIGHT)
    }


def flat(arrays: Arrays) -> Array:
    """Return all arrays in one, end to end."""
    return np.concatenate([array.ravel() for array in arrays.values()])


def shuffled_images(grey: Array, count: int, rng: np.random.Generator) -> Array:
    """Return `count` binarised images (count, 1, 28, 28), each pixel drawn once."""
    chosen = grey[rng.integers(len(grey), size=count)]
    return (rng.random(chosen.shape, np.float32) < chosen).astype(np.float32)


def make(first_weights: Arrays, grey: Array) -> Arrays:
    """Return everything that is given to each library, by name."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32)

    given = {WEIGHT + name: array for name, array in first_weights.items()}
    given["gradient"] = 0.01 * normal(flat(first_weights).size)
    given["grey"] = grey[: max(BATCHES)]
    for batch in BATCHES:
        images = shuffled_images(grey, READY * batch, rng)
        given[f"x/{batch}"] = images.reshape(READY, batch, *grey.shape[1:])
        given[f"noise/{batch}"] = normal(READY, batch, Z)
    for batch, latents in LOSSES.items():
        given[f"loss/{batch}/mu"] = normal(batch, latents)
        given[f"loss/{batch}/logvar"] = 0.5 * normal(batch, latents)
        given[f"loss/{batch}/noise"] = normal(batch, latents)
        given[f"loss/{batch}/z_bar"] = normal(batch, latents)
        given[f"loss/{batch}/logits"] = 3 * normal(batch, D)
        given[f"loss/{batch}/x"] = shuffled_images(grey, batch, rng).reshape(batch, D)
    return given


def loss_inputs(given: Arrays, batch: int) -> tuple[Array, ...]:
    """Return μ, ℓ, ε, z̄, logits and x of the fused loss."""
    names = ("mu", "logvar", "noise", "z_bar", "logits", "x")
    return tuple(given[f"loss/{batch}/{name}"] for name in names)


def size(array: Array) -> float:
    """Return Σ |a|, summed in float64: one number that says whether arrays agree."""
    return float(np.abs(np.asarray(array, np.float64)).sum())
