"""The cases in minivae: the step as `mv.fit` takes it, the kernels called directly."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import numpy as np
from minivae_kernels import family

from benchmarks.peers.work import (
    BETAS,
    CHECKED_STEPS,
    COPIED,
    DRAWN,
    EPS,
    LOSSES,
    LR,
    PIXELS,
    READY,
    SGEMM_SIZE,
    Arrays,
    Case,
    flat,
    layers_of,
    loss_inputs,
    size,
    training,
    weights,
)
from benchmarks.steps import Array
from minivae import VAE, Noise, backend
from minivae.data.dataset import binarise
from minivae.optim import Adam
from minivae.random import Stream
from minivae.train import train_step


def step(given: Arrays) -> dict[str, Case]:
    """Return the training step, and the matrix product beside it."""
    backend.keep_freed_memory()
    around = partial(backend.limited_threads, None)  # as in training
    return {"step": training(partial(Stepper, given), around), "sgemm": sgemm_case()}


def kernels(given: Arrays) -> dict[str, Case]:
    """Return the cases of single kernels by name."""
    backend.keep_freed_memory()
    return {
        **{f"loss {batch}": loss_case(given, batch) for batch in LOSSES},
        "bernoulli": bernoulli_case(given),
        "copy": copy_case(),
        "adam": adam_case(given),
        "adam step": adam_step_case(given),
        **{f"noise {batch}": noise_case(batch) for batch in DRAWN},
        **{f"pixels {batch}": pixels_case(given, batch) for batch in DRAWN},
    }


def described() -> str:
    """Return the version and the number of threads."""
    with backend.limited_threads(None) as threads:
        return f"minivae {version('minivae')} on {threads} threads"


def model(given: Arrays, shape: tuple[int, ...]) -> VAE:
    """Return the VAE of (C, H, W) images that the given weights are of, with these."""
    layers = layers_of(weights(given), "encoder").values()
    channels = tuple(len(w) for w in layers if w.ndim == 4)
    hidden = tuple(len(w) for w in layers if w.ndim == 2)
    C, H, W = shape
    vae = VAE(
        (C, H, W),
        len(weights(given)["mu.weight"]),
        hidden,
        likelihood="bernoulli",
        arch="conv" if channels else "dense",
        channels=channels or None,
    )
    vae.load_state(weights(given))
    return vae


class Stepper:
    """A model in training, on images and noise that are ready."""

    def __init__(self, given: Arrays) -> None:
        self.model = model(given, given["x"].shape[2:])
        self.optimizer = Adam(self.model.parameters(), LR, betas=BETAS, eps=EPS)
        self.images, self.noise = given["x"], given["noise"]

    def __call__(self) -> float:
        """zero_grad, forward, backward, update; returns the loss before the update."""
        i = self.optimizer.steps % READY
        *_, objective = train_step(
            self.model, self.optimizer, self.images[i], self.noise[i]
        )
        return objective


def loss_case(given: Arrays, batch: int) -> Case:
    """Reparameterization, KL and BCE, forward and backward: three kernel calls."""
    mu, logvar, noise, z_bar, logits, x = loss_inputs(given, batch)
    forward, backward = map(family, ("gaussian.forward", "gaussian.backward"))
    bernoulli = family("bernoulli")
    ones = np.ones(batch, np.float32)

    def call() -> tuple[float, Array, Array, Array, Array]:
        z, kl = forward(mu, logvar, noise=noise)
        values, logits_bar = bernoulli(logits, x)
        mu_bar, logvar_bar = backward(z_bar, ones, mu, logvar, noise=noise)
        return float(values.sum() + kl.sum()), z, mu_bar, logvar_bar, logits_bar

    def check() -> list[float]:
        loss, z, *gradients = call()
        return [loss + float(np.vdot(z, z_bar)), *map(size, gradients)]

    return Case(check, call)


def bernoulli_case(given: Arrays) -> Case:
    """The loss of 4096 images and its gradient: 12 bytes a pixel are moved."""
    *_, logits, x = loss_inputs(given, COPIED)
    return Case(list, partial(family("bernoulli"), logits, x))


def copy_case() -> Case:
    """Copy 6 bytes a pixel: as many are read and written as the loss moves."""
    source = np.ones(6 * COPIED * PIXELS, np.uint8)
    return Case(list, partial(np.copyto, np.zeros_like(source), source))


def adam_kernel(w: Array, g: Array) -> Callable[[], None]:
    """Return a function that updates `w` by the kernel, with a counter and moments."""
    update = family("adam")
    moments = np.zeros_like(w), np.zeros_like(w)
    (beta1, beta2), t = BETAS, 0

    def call() -> None:
        nonlocal t
        t += 1
        update(
            w,
            g,
            *moments,
            rate=LR / (1 - beta1**t),
            beta1=beta1,
            beta2=beta2,
            root=math.sqrt(1 - beta2**t),
            eps=EPS,
        )

    return call


def adam_case(given: Arrays) -> Case:
    def check() -> list[float]:
        w = flat(weights(given))
        call = adam_kernel(w, given["gradient"])
        for _ in range(CHECKED_STEPS):
            call()
        return [size(w)]

    return Case(check, adam_kernel(flat(weights(given)), given["gradient"]))


def adam_step_case(given: Arrays) -> Case:
    """`Adam.step()` of the model: the kernel, the gradient's norm, the bookkeeping."""

    def fresh() -> Adam:
        vae = model(given, given["grey"].shape[1:])
        optimizer = Adam(vae.parameters(), LR, betas=BETAS, eps=EPS)
        optimizer.gradients[...] = given["gradient"]
        for parameter in optimizer.parameters:
            parameter.grad = parameter.slot
        return optimizer

    def check() -> list[float]:
        optimizer = fresh()
        for _ in range(CHECKED_STEPS):
            optimizer.step()
        return [size(optimizer.values)]

    return Case(check, fresh().step)


def noise_case(batch: int) -> Case:
    """Draw the latents' noise of a batch."""
    return Case(list, partial(Noise(0, Stream.LATENT).normal, (batch, LOSSES[128])))


def pixels_case(given: Arrays, batch: int) -> Case:
    """Gather a batch of grey images and draw its pixels."""
    grey, rows = given["grey"], np.random.default_rng(0).permutation(batch)
    noise = Noise(0, Stream.BINARISE_TRAIN)
    return Case(list, lambda: binarise(grey[rows], noise))


def sgemm_case() -> Case:
    x = np.random.default_rng(0).random((SGEMM_SIZE, SGEMM_SIZE), np.float32)
    return Case(list, partial(np.matmul, x, x, out=np.empty_like(x)))
