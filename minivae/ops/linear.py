"""Matrix products: where nearly all of a dense network's arithmetic is."""

from __future__ import annotations

import minivae_kernels as kernels

from minivae.backend import Array
from minivae.errors import UserError
from minivae.tensor import op


@op("Z = X Y")
def matmul(x: Array, y: Array) -> Array:
    """Matrix product over the last two axes; leading axes broadcast."""
    if x.ndim < 2 or y.ndim < 2:
        raise UserError(f"matmul needs matrices, got shapes {x.shape} and {y.shape}")
    return _product(x, y)


def _product(x: Array, y: Array) -> Array:
    return kernels.family("matmul")(x, y) if x.ndim == y.ndim == 2 else x @ y


@matmul.vjp("x", "X̄ = Z̄ Yᵀ")
def matmul_x(g: Array, z: Array, x: Array, y: Array) -> Array:
    return _product(g, y.swapaxes(-1, -2))


@matmul.vjp("y", "Ȳ = Xᵀ Z̄")
def matmul_y(g: Array, z: Array, x: Array, y: Array) -> Array:
    return _product(x.swapaxes(-1, -2), g)


@op("Z = X Wᵀ + b")
def linear(x: Array, weight: Array, bias: Array) -> Array:
    """Affine map of rows: x (N, in), weight (out, in), bias (out,) -> z (N, out)."""
    if x.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise UserError(f"linear of x {x.shape} with a weight {weight.shape} (out, in)")
    return kernels.family("matmul")(x, weight.T, bias=bias)


@linear.vjp("x", "X̄ = Z̄ W")
def linear_x(g: Array, z: Array, x: Array, weight: Array, bias: Array) -> Array:
    return kernels.family("matmul")(g, weight)


@linear.vjp("weight", "W̄ = Z̄ᵀ X")
def linear_weight(g: Array, z: Array, x: Array, weight: Array, bias: Array) -> Array:
    return kernels.family("matmul")(g.T, x)


@linear.vjp("bias", "b̄ = Σₙ z̄ₙ")
def linear_bias(g: Array, z: Array, x: Array, weight: Array, bias: Array) -> Array:
    return kernels.family("colsum")(g)
