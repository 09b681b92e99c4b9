"""Sums, means and maxima over axes; `axis=None` runs over all of them."""

from __future__ import annotations

from minivae.backend import Array, xp_of
from minivae.tensor import op

Axis = int | tuple[int, ...] | None


def _keep_axes(reduced: Array, x: Array, axis: Axis) -> Array:
    """Return a reduced array with its lost axes put back, each of length 1."""
    axes = (
        axis if isinstance(axis, tuple) else range(x.ndim) if axis is None else (axis,)
    )
    lost = {a % x.ndim for a in axes}
    kept = tuple(1 if a in lost else size for a, size in enumerate(x.shape))
    return xp_of(x).asarray(reduced, dtype=x.dtype).reshape(kept)


@op("y = Σ x")
def sum(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    return x.sum(axis=axis, keepdims=keepdims)


@sum.vjp("x", "x̄ = ȳ, repeated")
def sum_x(
    g: Array, y: Array, x: Array, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    return xp_of(x).broadcast_to(_keep_axes(g, x, axis), x.shape)


@op("y = (1/n) Σ x")
def mean(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    return x.mean(axis=axis, keepdims=keepdims)


@mean.vjp("x", "x̄ = ȳ / n, repeated")
def mean_x(
    g: Array, y: Array, x: Array, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    n = x.size // (y.size or 1)
    return xp_of(x).broadcast_to(_keep_axes(g / n, x, axis), x.shape)


@op("y = max x")
def max(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Maximum; equal largest elements share the gradient in equal parts."""
    return x.max(axis=axis, keepdims=keepdims)


@max.vjp("x", "x̄ = ȳ [x = y] / #{x = y}")
def max_x(
    g: Array, y: Array, x: Array, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    largest = (x == _keep_axes(y, x, axis)).astype(x.dtype)
    return largest * (_keep_axes(g, x, axis) / largest.sum(axis=axis, keepdims=True))


@op("y = log Σ eˣ")
def logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """log Σ exp x, computed as m + log Σ exp(x − m) with m = max x: no overflow."""
    xp = xp_of(x)
    m = x.max(axis=axis, keepdims=True)
    m = xp.where(xp.isfinite(m), m, xp.zeros_like(m))
    y = m + xp.log(xp.exp(x - m).sum(axis=axis, keepdims=True))
    return y if keepdims else y.squeeze(axis=axis)


@logsumexp.vjp("x", "x̄ = ȳ eˣ⁻ʸ")
def logsumexp_x(
    g: Array, y: Array, x: Array, *, axis: Axis = None, keepdims: bool = False
) -> Array:
    return _keep_axes(g, x, axis) * xp_of(x).exp(x - _keep_axes(y, x, axis))
