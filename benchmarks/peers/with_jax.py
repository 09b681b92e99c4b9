"""The step in JAX: one function from weights to weights, compiled as a whole.

Adam is written out; the buffers of weights and moments are donated, so that the update
is made in place.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import cores
from benchmarks.peers.work import (
    BATCHES,
    BETAS,
    CHECKED_STEPS,
    EPS,
    LR,
    READY,
    SGEMM_SIZE,
    Arrays,
    Case,
    weights,
)

Weights = dict[str, jax.Array]
State = tuple[Weights, Weights, Weights, jax.Array]  # w, m, v, t


def cases(given: Arrays) -> dict[str, Case]:
    """Return every case by name."""
    steps = {f"step {batch}": step_case(given, batch) for batch in BATCHES}
    return {"sgemm": sgemm_case(), **steps}


def described() -> str:
    """Return the version and the size of XLA's pool, a thread a core."""
    return f"jax {jax.__version__} on {cores()} threads"


def linear(w: Weights, name: str, x: jax.Array) -> jax.Array:
    """Return x Wᵀ + b."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def loss(w: Weights, x: jax.Array, noise: jax.Array) -> jax.Array:
    """Return recon + kl of the VAE 784-400-20, a mean over the batch."""
    x = x.reshape(len(x), -1)
    h = jax.nn.relu(linear(w, "encoder.1", x))
    mu, logvar = linear(w, "mu", h), linear(w, "logvar", h)
    z = mu + jnp.exp(0.5 * logvar) * noise
    logits = linear(w, "decoder.2", jax.nn.relu(linear(w, "decoder.0", z)))
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
def step(state: State, x: jax.Array, noise: jax.Array) -> tuple[State, jax.Array]:
    """Take one step; returns the new state and the loss before the update."""
    w, m, v, t = state
    value, g = jax.value_and_grad(loss)(w, x, noise)
    return adam(w, g, m, v, t), value


class Stepper:
    """A model in training, on images and noise that are ready."""

    def __init__(self, given: Arrays, batch: int) -> None:
        w = {name: jnp.array(array) for name, array in weights(given).items()}
        m, v = (jax.tree.map(jnp.zeros_like, w) for _ in range(2))
        self.state: State = (w, m, v, jnp.float32(0))
        self.images = [jnp.array(x) for x in given[f"x/{batch}"]]
        self.noise = [jnp.array(x) for x in given[f"noise/{batch}"]]
        self.steps = 0

    def step(self) -> float:
        """Forward, backward, update; returns the loss when all of it is done."""
        i = self.steps % READY
        self.steps += 1
        self.state, value = step(self.state, self.images[i], self.noise[i])
        jax.block_until_ready(self.state)
        return float(value)


def step_case(given: Arrays, batch: int) -> Case:
    def check() -> list[float]:
        stepper = Stepper(given, batch)
        return [stepper.step() for _ in range(CHECKED_STEPS)]

    return Case(check, Stepper(given, batch).step)


def sgemm_case() -> Case:
    product: Any = jax.jit(jnp.matmul)
    x = jnp.array(np.random.default_rng(0).random((SGEMM_SIZE, SGEMM_SIZE), np.float32))
    return Case(list, lambda: jax.block_until_ready(product(x, x)))
