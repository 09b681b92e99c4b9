"""Moving elements: every rule puts them back where they came from."""

from __future__ import annotations

from typing import Any

from minivae.backend import Array, xp_of
from minivae.tensor import op


@op("y = x, reshaped")
def reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    return x.reshape(shape)


@reshape.vjp("x", "x̄ = ȳ, reshaped")
def reshape_x(g: Array, y: Array, x: Array, *, shape: tuple[int, ...]) -> Array:
    return xp_of(x).asarray(g, dtype=x.dtype).reshape(x.shape)


@op("y = x, axes permuted")
def transpose(x: Array, *, axes: tuple[int, ...] | None = None) -> Array:
    return x.transpose(axes)


@transpose.vjp("x", "x̄ = ȳ, axes permuted back")
def transpose_x(
    g: Array, y: Array, x: Array, *, axes: tuple[int, ...] | None = None
) -> Array:
    back = axes and sorted(range(x.ndim), key=lambda i: axes[i] % x.ndim)
    return xp_of(x).asarray(g, dtype=x.dtype).transpose(back)


@op("y = x[index]")
def getitem(x: Array, *, index: Any) -> Array:
    return x[index]


@getitem.vjp("x", "x̄[index] += ȳ")
def getitem_x(g: Array, y: Array, x: Array, *, index: Any) -> Array:
    xp = xp_of(x)
    whole = xp.zeros_like(x)
    xp.add.at(whole, index, g)  # an element that was taken twice gets both
    return whole


@op("y = x, repeated to the shape")
def broadcast_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    return xp_of(x).broadcast_to(x, shape)


@broadcast_to.vjp("x", "x̄ = ȳ")  # the engine sums over the repeats
def broadcast_to_x(g: Array, y: Array, x: Array, *, shape: tuple[int, ...]) -> Array:
    return g


@op("y = [x₁, x₂, …] end to end")
def concatenate(*xs: Array, axis: int = 0) -> Array:
    return xp_of(*xs).concatenate(xs, axis=axis)


@concatenate.vjp_all(xs="x̄ᵢ = ȳ[part i]")
def concatenate_xs(
    g: Array, y: Array, *xs: Array, needs: tuple[bool, ...], axis: int = 0
) -> list[Array | None]:
    parts: list[Array | None] = []
    before: tuple[Any, ...] = (slice(None),) * (axis % y.ndim)
    start = 0
    for x, need in zip(xs, needs, strict=True):
        part = slice(start, start := start + x.shape[axis])
        parts.append(g[(*before, part)] if need else None)
    return parts


@op("y = [x₁, x₂, …] along a new axis")
def stack(*xs: Array, axis: int = 0) -> Array:
    return xp_of(*xs).stack(xs, axis=axis)


@stack.vjp_all(xs="x̄ᵢ = ȳ[i]")
def stack_xs(
    g: Array, y: Array, *xs: Array, needs: tuple[bool, ...], axis: int = 0
) -> list[Array | None]:
    before: tuple[Any, ...] = (slice(None),) * (axis % y.ndim)
    return [g[(*before, i)] if need else None for i, need in enumerate(needs)]
