"""Activations, and dropout."""

from __future__ import annotations

import minivae_kernels as kernels

from minivae.backend import Array, xp_of
from minivae.errors import UserError
from minivae.tensor import op


@op("y = max(x, 0)")
def relu(x: Array) -> Array:
    return kernels.family("relu.forward")(x)


@relu.vjp("x", "x̄ = ȳ [x > 0]")
def relu_x(g: Array, y: Array, x: Array) -> Array:
    return kernels.family("relu.backward")(g, y)


@op("y = x if x > 0, else slope x")
def leaky_relu(x: Array, *, slope: float = 0.01) -> Array:
    return xp_of(x).where(x > 0, x, slope * x)


@leaky_relu.vjp("x", "x̄ = ȳ if x > 0, else slope ȳ")
def leaky_relu_x(g: Array, y: Array, x: Array, *, slope: float = 0.01) -> Array:
    return xp_of(x).where(x > 0, g, slope * g).astype(x.dtype)


@op("y = x if x > 0, else eˣ − 1")
def elu(x: Array) -> Array:
    """Exponential linear unit (Clevert, Unterthiner, Hochreiter 2016), alpha = 1."""
    xp = xp_of(x)
    return xp.where(x > 0, x, xp.expm1(xp.minimum(x, 0)))


@elu.vjp("x", "x̄ = ȳ if x > 0, else ȳ (y + 1)")
def elu_x(g: Array, y: Array, x: Array) -> Array:
    return g * (xp_of(x).minimum(y, 0) + 1)


@op("y = tanh x")
def tanh(x: Array) -> Array:
    return xp_of(x).tanh(x)


@tanh.vjp("x", "x̄ = ȳ (1 − y²)")
def tanh_x(g: Array, y: Array, x: Array) -> Array:
    return g * (1 - y * y)


@op("y = 1 / (1 + e⁻ˣ)")
def sigmoid(x: Array) -> Array:
    """Logistic function, with full relative accuracy on both sides of 0."""
    xp = xp_of(x)
    small = xp.exp(-xp.abs(x))  # never overflows
    return xp.where(x >= 0, 1 / (1 + small), small / (1 + small))


@sigmoid.vjp("x", "x̄ = ȳ y (1 − y)")
def sigmoid_x(g: Array, y: Array, x: Array) -> Array:
    return g * y * (1 - y)


@op("y = log(1 + eˣ)")
def softplus(x: Array) -> Array:
    """log(1 + exp x), computed as max(x, 0) + log(1 + exp(−|x|)): no overflow."""
    xp = xp_of(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


@softplus.vjp("x", "x̄ = ȳ (1 − e⁻ʸ)")
def softplus_x(g: Array, y: Array, x: Array) -> Array:
    return g * -xp_of(x).expm1(-y)


@op("y = x [u ≥ p] / (1 − p)", constant=("u",))
def dropout(x: Array, u: Array, *, p: float) -> Array:
    """Zero each element with probability p and scale up the others, so that E y = x.

    `u` is uniform noise of x's shape: the same noise drops the same elements.
    Source: Srivastava et al. 2014, in the "inverted" form.
    """
    if not 0 <= p < 1:
        raise UserError(f"dropout probability must be in [0, 1), not {p}")
    return x * ((u >= p).astype(x.dtype) / (1 - p))


@dropout.vjp("x", "x̄ = ȳ [u ≥ p] / (1 − p)")
def dropout_x(g: Array, y: Array, x: Array, u: Array, *, p: float) -> Array:
    return g * ((u >= p).astype(x.dtype) / (1 - p))
