"""The step in JAX: one function from weights to weights, compiled as a whole.

Adam is written out; the buffers of weights and moments are donated, so that the update
is made in place.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import cores
from benchmarks.peers.work import (
    BETAS,
    EPS,
    LR,
    READY,
    SGEMM_SIZE,
    Arrays,
    Case,
    layers_of,
    training,
    weights,
)

Weights = dict[str, jax.Array]
State = tuple[Weights, Weights, Weights, jax.Array]  # w, m, v, t


def step(given: Arrays) -> dict[str, Case]:
    """Return the training step, and the matrix product beside it."""
    return {"step": training(partial(Stepper, given)), "sgemm": sgemm_case()}


def described() -> str:
    """Return the version and the size of XLA's pool, a thread a core."""
    return f"jax {jax.__version__} on {cores()} threads"


def linear(w: Weights, name: str, x: jax.Array) -> jax.Array:
    """Return x Wᵀ + b."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def conv(w: Weights, name: str, x: jax.Array) -> jax.Array:
    """Return the convolution of kernel 4, stride 2 and padding 1."""
    weight = w[f"{name}.weight"]
    y = jax.lax.conv_general_dilated(x, weight, (2, 2), [(1, 1), (1, 1)])
    return y + w[f"{name}.bias"][:, None, None]


def conv_transpose(w: Weights, name: str, x: jax.Array) -> jax.Array:
    """Return its transpose: a padding of 4 − 1 − 1 around the map spread out by 2."""
    y = jax.lax.conv_transpose(
        x,
        w[f"{name}.weight"],
        (2, 2),
        [(2, 2), (2, 2)],
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        transpose_kernel=True,
    )
    return y + w[f"{name}.bias"][:, None, None]


def encode(w: Weights, x: jax.Array) -> jax.Array:
    """Return the last hidden layer of images (N, C, H, W)."""
    for name, weight in layers_of(w, "encoder").items():
        if weight.ndim == 4:
            x = jax.nn.relu(conv(w, name, x))
        else:
            x = jax.nn.relu(linear(w, name, x.reshape(len(x), -1)))
    return x


def decode(w: Weights, x: jax.Array) -> jax.Array:
    """Return the logits, as (N, D) or (N, C, H, W)."""
    for i, (name, weight) in enumerate(layers_of(w, "decoder").items()):
        x = jax.nn.relu(x) if i else x
        if weight.ndim == 2:
            x = linear(w, name, x)
            continue
        if x.ndim == 2:  # a square map of as many channels as the layer reads
            side = math.isqrt(x.shape[1] // len(weight))
            x = x.reshape(len(x), len(weight), side, side)
        x = conv_transpose(w, name, x)
    return x


def loss(w: Weights, x: jax.Array, noise: jax.Array) -> jax.Array:
    """Return recon + kl, a mean over the batch."""
    h = encode(w, x)
    mu, logvar = linear(w, "mu", h), linear(w, "logvar", h)
    z = mu + jnp.exp(0.5 * logvar) * noise
    logits = decode(w, z).reshape(x.shape)
    softplus = jnp.maximum(logits, 0) + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    kl = -0.5 * jnp.sum(1 + logvar - mu**2 - jnp.exp(logvar))
    return (jnp.sum(softplus - logits * x) + kl) / len(x)


def adam(w: Weights, g: Weights, m: Weights, v: Weights, t: jax.Array) -> State:
    """Return the weights and moments after update number t + 1."""
    (beta1, beta2), t = BETAS, t + 1
    rate, root = LR / (1 - beta1**t), jnp.sqrt(1 - beta2**t)
    tree = jax.tree.map
    m = tree(lambda a, b: beta1 * a + (1 - beta1) * b, m, g)
    v = tree(lambda a, b: beta2 * a + (1 - beta2) * b * b, v, g)
    w = tree(lambda a, b, c: a - rate * b / (jnp.sqrt(c) / root + EPS), w, m, v)
    return w, m, v, t


@partial(jax.jit, donate_argnums=0)
def update(state: State, x: jax.Array, noise: jax.Array) -> tuple[State, jax.Array]:
    """Take one step; returns the new state and the loss before the update."""
    w, m, v, t = state
    value, g = jax.value_and_grad(loss)(w, x, noise)
    return adam(w, g, m, v, t), value


class Stepper:
    """A model in training, on images and noise that are ready."""

    def __init__(self, given: Arrays) -> None:
        w = {name: jnp.array(array) for name, array in weights(given).items()}
        m, v = (jax.tree.map(jnp.zeros_like, w) for _ in range(2))
        self.state: State = (w, m, v, jnp.float32(0))
        self.images = [jnp.array(x) for x in given["x"]]
        self.noise = [jnp.array(x) for x in given["noise"]]
        self.steps = 0

    def __call__(self) -> float:
        """Forward, backward, update; returns the loss when all of it is done."""
        i = self.steps % READY
        self.steps += 1
        self.state, value = update(self.state, self.images[i], self.noise[i])
        jax.block_until_ready(self.state)
        return float(value)


def sgemm_case() -> Case:
    product: Any = jax.jit(jnp.matmul)
    x = jnp.array(np.random.default_rng(0).random((SGEMM_SIZE, SGEMM_SIZE), np.float32))
    return Case(list, lambda: jax.block_until_ready(product(x, x)))
