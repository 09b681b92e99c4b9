"""Layer normalisation.

There is no batch normalisation here, on purpose: it takes mean and variance over the
batch, and so couples its examples. What an image is encoded to, its KL and its share of
the gradient would then depend on which other images are beside it, and a bound measured
image by image would change with the size of the batch. Layer normalisation takes them
over the features of each example alone.
"""

from __future__ import annotations

from typing import NamedTuple

from minivae.backend import Array, xp_of
from minivae.errors import UserError
from minivae.ops import arithmetic, reduce
from minivae.tensor import Tensor, op


def layer_norm_unfused(
    x: Tensor, weight: Tensor, bias: Tensor, *, eps: float = 1e-5
) -> Tensor:
    axes = _features(x, weight, bias, eps)
    centred = x - reduce.mean(x, axis=axes, keepdims=True)
    variance = reduce.mean(centred**2, axis=axes, keepdims=True)
    return weight * (centred / arithmetic.sqrt(variance + eps)) + bias


class LayerNormSaves(NamedTuple):
    """x̂, of mean 0 and variance nearly 1, and what it was divided by."""

    normal: Array
    std: Array


@op(
    "y = γ x̂ + β,  x̂ = (x − μ) / σ",
    saves=("normal", "std"),
    unfused=layer_norm_unfused,
)
def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float = 1e-5) -> Array:
    """Give the features of each example mean 0 and variance 1, then scale and shift.

    x (N, ..., *F), weight γ and bias β of the shape F of the last axes, which are
    normalised together: μ is their mean, σ² = eps + mean (x − μ)². Raises `UserError`
    if F does not fit or takes in the first axis, the batch's. Source: Ba, Kiros &
    Hinton 2016, section 3.
    """
    return layer_norm_with_saves(x, weight, bias, eps=eps)[0]


@layer_norm.with_saves
def layer_norm_with_saves(
    x: Array, weight: Array, bias: Array, *, eps: float = 1e-5
) -> tuple[Array, LayerNormSaves]:
    axes = _features(x, weight, bias, eps)
    centred = x - x.mean(axis=axes, keepdims=True)
    std = xp_of(x).sqrt((centred * centred).mean(axis=axes, keepdims=True) + eps)
    normal = centred / std
    return weight * normal + bias, LayerNormSaves(normal, std)


@layer_norm.vjp("x", "x̄ = (h − mean h − x̂ mean h x̂) / σ,  h = γ ȳ")
def layer_norm_x(
    g: Array,
    y: Array,
    saved: LayerNormSaves,
    x: Array,
    weight: Array,
    bias: Array,
    *,
    eps: float = 1e-5,
) -> Array:
    axes = _features(x, weight, bias, eps)
    h = weight * g
    along = (h * saved.normal).mean(axis=axes, keepdims=True)
    across = h - h.mean(axis=axes, keepdims=True)
    return (across - saved.normal * along) / saved.std


@layer_norm.vjp("weight", "γ̄ = ȳ x̂")
def layer_norm_weight(
    g: Array,
    y: Array,
    saved: LayerNormSaves,
    x: Array,
    weight: Array,
    bias: Array,
    *,
    eps: float = 1e-5,
) -> Array:
    return g * saved.normal


@layer_norm.vjp("bias", "β̄ = ȳ")
def layer_norm_bias(
    g: Array,
    y: Array,
    saved: LayerNormSaves,
    x: Array,
    weight: Array,
    bias: Array,
    *,
    eps: float = 1e-5,
) -> Array:
    return g


def _features(
    x: Array | Tensor, weight: Array | Tensor, bias: Array | Tensor, eps: float
) -> tuple[int, ...]:
    """Return the axes that are normalised together; refuse what does not fit."""
    shape = tuple(weight.shape)
    if not 0 < len(shape) < x.ndim or tuple(x.shape[-len(shape) :]) != shape:
        raise UserError(
            f"layer_norm of x {tuple(x.shape)} with a weight {shape}: the weight must "
            f"have the shape of x's last axes, such as {tuple(x.shape[1:])}"
        )
    if tuple(bias.shape) != shape:
        raise UserError(f"layer_norm: weight {shape} and bias {tuple(bias.shape)}")
    if not eps > 0:
        raise UserError(f"layer_norm: eps must be positive, not {eps}")
    return tuple(range(-len(shape), 0))
