"""Maps made smaller and larger without weights: pooling, and nearest upsampling.

Maps are (N, C, H, W). A pooling window is a square of side `kernel` that moves by
`stride` pixels (its own side, if nothing is said) over the map and `padding` pixels
around it. There are P = ⌊(H + 2 padding − kernel) / stride⌋ + 1 along the height, and
Q, likewise, along the width: rows and columns that no window reaches are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minivae.backend import Array, xp_of
from minivae.errors import UserError
from minivae.tensor import op


@op("y = max x, in each window")
def max_pool2d(
    x: Array, *, kernel: int, stride: int | None = None, padding: int = 0
) -> Array:
    """Largest element of each window: x (N, C, H, W) -> y (N, C, P, Q).

    The padding is −∞ and never wins. Equal largest elements share the gradient in equal
    parts, as in `max` (PyTorch gives all of it to the first).
    """
    taps = _taps("max_pool2d", x, kernel, stride, padding)
    padded = _padded(x, padding, -math.inf)
    largest = padded[taps[0]]
    for tap in taps[1:]:
        largest = xp_of(x).maximum(largest, padded[tap])
    return largest


@max_pool2d.vjp("x", "x̄ = Σ ȳ [x = y] / #{x = y}, over the windows around x")
def max_pool2d_x(
    g: Array,
    y: Array,
    x: Array,
    *,
    kernel: int,
    stride: int | None = None,
    padding: int = 0,
) -> Array:
    taps = _taps("max_pool2d", x, kernel, stride, padding)
    padded = _padded(x, padding, -math.inf)
    winners = [(padded[tap] == y).astype(x.dtype) for tap in taps]
    share = g / sum(winners)
    return _collected([share * winner for winner in winners], taps, x, padding)


@op("y = (1/k²) Σ x, in each window of k² pixels")
def avg_pool2d(
    x: Array, *, kernel: int, stride: int | None = None, padding: int = 0
) -> Array:
    """Mean of each window: x (N, C, H, W) -> y (N, C, P, Q).

    The padding is 0 and counts as pixels, as by default in PyTorch.
    """
    taps = _taps("avg_pool2d", x, kernel, stride, padding)
    padded = _padded(x, padding, 0.0)
    return sum(padded[tap] for tap in taps) / kernel**2


@avg_pool2d.vjp("x", "x̄ = (1/k²) Σ ȳ, over the windows around x")
def avg_pool2d_x(
    g: Array,
    y: Array,
    x: Array,
    *,
    kernel: int,
    stride: int | None = None,
    padding: int = 0,
) -> Array:
    taps = _taps("avg_pool2d", x, kernel, stride, padding)
    return _collected([g / kernel**2] * len(taps), taps, x, padding)


@op("y = x, each pixel repeated to a square")
def upsample_nearest(x: Array, *, factor: int) -> Array:
    """Enlarge by a whole factor: x (N, C, H, W) -> y (N, C, factor H, factor W)."""
    if x.ndim != 4:
        raise UserError(f"upsample_nearest takes maps (N, C, H, W), not {x.shape}")
    if factor < 1:
        raise UserError(f"upsample_nearest: factor must be at least 1, not {factor}")
    return x.repeat(factor, axis=2).repeat(factor, axis=3)


@upsample_nearest.vjp("x", "x̄ = Σ ȳ, over each pixel's copies")
def upsample_nearest_x(g: Array, y: Array, x: Array, *, factor: int) -> Array:
    N, C, H, W = x.shape
    return g.reshape(N, C, H, factor, W, factor).sum(axis=(3, 5))


# Windows, as views of the padded map


def _taps(
    name: str, x: Array, kernel: int, stride: int | None, padding: int
) -> list[tuple[Any, ...]]:
    """Return, for each place in a window, the index of that place in all windows.

    Raises `UserError` for a kernel, stride or padding that does not fit the map.
    """
    stride = kernel if stride is None else stride
    if x.ndim != 4:
        raise UserError(f"{name} takes maps (N, C, H, W), not {x.shape}")
    if kernel < 1 or stride < 1:
        raise UserError(
            f"{name}: kernel and stride must be at least 1, not {kernel} and {stride}"
        )
    if not 0 <= padding <= kernel // 2:  # so that no window is all padding
        raise UserError(
            f"{name}: padding must be 0 to {kernel // 2}, half the kernel {kernel}, "
            f"not {padding}"
        )
    padded = [size + 2 * padding for size in x.shape[2:]]
    if kernel > min(padded):
        raise UserError(
            f"{name}: a kernel of {kernel} is larger than the map of {x.shape[2]} x "
            f"{x.shape[3]} with padding {padding}; {min(padded)} would fit"
        )
    reach = [stride * ((size - kernel) // stride) for size in padded]
    return [
        (
            ...,
            slice(a, a + reach[0] + 1, stride),
            slice(b, b + reach[1] + 1, stride),
        )
        for a in range(kernel)
        for b in range(kernel)
    ]


def _padded(x: Array, padding: int, value: float) -> Array:
    if not padding:
        return x
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    return xp_of(x).pad(x, around, constant_values=value)


def _collected(
    parts: Sequence[Array], taps: Sequence[tuple[Any, ...]], x: Array, padding: int
) -> Array:
    """Add up what each place of the windows sends back to x; the padding's is lost."""
    N, C, H, W = x.shape
    whole = xp_of(x).zeros((N, C, H + 2 * padding, W + 2 * padding), x.dtype)
    for part, tap in zip(parts, taps, strict=True):
        whole[tap] += part
    return whole[..., padding : padding + H, padding : padding + W]
