"""What every library is given: the same weights, images, noise and adjoints.

The work is written to .npz files by the runner and read by each worker. Beside NumPy
nothing is imported here, so that no library brings another one's threads along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import numpy as np

from benchmarks.steps import Array, Step

Arrays = dict[str, Array]
AnyArray = TypeVar("AnyArray")  # of any library

READY = 8  # batches that a step goes round in
DRAWN = (128, 512)  # images whose noise and pixels are drawn
LOSSES = {128: 20, 4096: 32}  # batch -> latents, of the fused loss
COPIED = 4096  # images whose loss is compared with a copy
PIXELS = 784  # of them
LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8
CHECKED_STEPS = 4  # later, Adam has made rounding errors large: sign(g) of a g near 0
SGEMM_SIZE = 1024
WEIGHT = "weight/"  # before the names of the model's parameters


class Case(NamedTuple):
    """One piece of work in one library.

    `check` starts afresh and returns the numbers in which all libraries must agree;
    `call` is what is timed; `around` makes the context of both.
    """

    check: Callable[[], list[float]]
    call: Callable[[], object]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


def training(
    fresh: Callable[[], Callable[[], float]],
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Case:
    """Return a case of training steps: `fresh` makes a step that returns its loss.

    A check begins anew, and calls go on where the check has ended: there is one model
    at a time, so that the process's memory is that of one training.
    """
    steps: list[Callable[[], float]] = []

    def check() -> list[float]:
        steps.clear()
        steps.append(fresh())
        return [steps[0]() for _ in range(CHECKED_STEPS)]

    return Case(check, lambda: steps[0](), around)


def weights(given: Arrays) -> Arrays:
    """Return the model's first weights by name, in definition order."""
    return {
        name.removeprefix(WEIGHT): array
        for name, array in given.items()
        if name.startswith(WEIGHT)
    }


def layers_of(weights: Mapping[str, AnyArray], part: str) -> dict[str, AnyArray]:
    """Return the weights of `part` (without biases) by layer, as "encoder.0"; in order.

    They say what the model is: of four axes a convolution of stride 2 and padding 1,
    transposed in the decoder; of two a linear layer.
    """
    layers = {
        name.removesuffix(".weight"): array
        for name, array in weights.items()
        if name.startswith(f"{part}.") and name.endswith(".weight")
    }
    return dict(sorted(layers.items(), key=lambda at: int(at[0].rpartition(".")[2])))


def flat(arrays: Arrays) -> Array:
    """Return all arrays in one, end to end."""
    return np.concatenate([array.ravel() for array in arrays.values()])


def shuffled_images(grey: Array, count: int, rng: np.random.Generator) -> Array:
    """Return `count` binarised images (count, 1, H, W), each pixel drawn once."""
    chosen = grey[rng.integers(len(grey), size=count)]
    return (rng.random(chosen.shape, np.float32) < chosen).astype(np.float32)


def make_step(step: Step, first_weights: Arrays, grey: Array) -> Arrays:
    """Return what a training step is given: weights, READY batches x, and noise."""
    rng = np.random.default_rng(0)
    images = shuffled_images(grey, READY * step.batch, rng)
    return {
        **{WEIGHT + name: array for name, array in first_weights.items()},
        "x": images.reshape(READY, step.batch, *grey.shape[1:]),
        "noise": rng.standard_normal((READY, step.batch, step.latent), np.float32),
    }


def make_kernels(first_weights: Arrays, grey: Array) -> Arrays:
    """Return what the single kernels are given."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32)

    given = {WEIGHT + name: array for name, array in first_weights.items()}
    given["gradient"] = 0.01 * normal(flat(first_weights).size)
    given["grey"] = grey[: max(DRAWN)]
    for batch, latents in LOSSES.items():
        images = shuffled_images(grey, batch, rng)
        given[f"loss/{batch}/mu"] = normal(batch, latents)
        given[f"loss/{batch}/logvar"] = 0.5 * normal(batch, latents)
        given[f"loss/{batch}/noise"] = normal(batch, latents)
        given[f"loss/{batch}/z_bar"] = normal(batch, latents)
        given[f"loss/{batch}/logits"] = 3 * normal(batch, PIXELS)
        given[f"loss/{batch}/x"] = images.reshape(batch, PIXELS)
    return given


def loss_inputs(given: Arrays, batch: int) -> tuple[Array, ...]:
    """Return μ, ℓ, ε, z̄, logits and x of the fused loss."""
    names = ("mu", "logvar", "noise", "z_bar", "logits", "x")
    return tuple(given[f"loss/{batch}/{name}"] for name in names)


def size(array: Array) -> float:
    """Return Σ |a|, summed in float64: one number that says whether arrays agree."""
    return float(np.abs(np.asarray(array, np.float64)).sum())
