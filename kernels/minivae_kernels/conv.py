"""Convolution: one relation between a large map and a small one, read three ways.

    y[n,o,p,q] = Σ_{c,a,b} x[n, c, s p + a − m, s q + b − m] w[o,c,a,b]

with stride s and m zeros around x. It ties the large map x (N, C, H, W), the small map
y (N, O, P, Q) and the weight w (O, C, Kh, Kw), and is linear in x and in w:

    conv.forward   y from x and w                          a convolution
    conv.adjoint   x̄ from ȳ and w: ⟨conv(x), y⟩ = ⟨x, adjoint(y)⟩
    conv.weight    w̄ from x and ȳ: ⟨conv_w(x), y⟩ = ⟨w, weight(x, y)⟩

The adjoint is the input's gradient of a convolution, and the forward of a transposed
one, whose input's gradient is conv.forward. Three functions serve both.

(It is a cross-correlation; the field calls it convolution. Source: Dumoulin & Visin
2016, "A guide to convolution arithmetic for deep learning", chapters 2 to 4.)

This file has the definition, as array expressions and as loops; `conv_columns.py` turns
it into matrix products, `conv_direct.py` computes it in place.

A map has shape (N, C, H, W). Its memory may lie in any order; results lie as N, H, W,
C, where the channels of a pixel, which are used together, are neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minivae_kernels.cpu import kernel
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.threads import by_rows, seconds


def small_size(
    shape: tuple[int, ...], kernel: tuple[int, int], stride: int, padding: int
) -> tuple[int, int]:
    """Return (P, Q): how many windows fit along the axes of an image (N, C, H, W)."""
    p = (shape[2] + 2 * padding - kernel[0]) // stride + 1
    q = (shape[3] + 2 * padding - kernel[1]) // stride + 1
    return p, q


def forward_cost(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Cost:
    """Read x and w, write y; a product and a sum for each tap of each output."""
    p, q = small_size(x.shape, w.shape[2:], stride, padding)
    small = len(x) * len(w) * p * q
    size = x.size + w.size + small
    return Cost(bytes=size * x.itemsize, flops=2 * small * w[0].size)


def adjoint_cost(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Cost:
    """Read ȳ and w, write x̄; the products of the forward."""
    large = len(y) * w.shape[1] * size[0] * size[1]
    return Cost((y.size + w.size + large) * y.itemsize, 2 * y.size * w[0].size)


def weight_cost(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Cost:
    """Read x and ȳ, write w̄; the products of the forward."""
    taps = x.shape[1] * kernel[0] * kernel[1]
    size = x.size + y.size + y.shape[1] * taps
    return Cost(bytes=size * x.itemsize, flops=2 * y.size * taps)


forward = Family("conv.forward", "y = w ⋆ x + b", forward_cost)
adjoint = Family("conv.adjoint", "x̄ = w ⋆ᵀ ȳ", adjoint_cost)
weight = Family("conv.weight", "w̄ = ȳ ⋆ x", weight_cost)


def check(x: Any, w: Any, y: Any, stride: int, padding: int) -> None:
    """Raise `ValueError` unless shapes of the three arrays belong together.

    Compiled loops do not look again.
    """
    if x[1] != w[1] or y[1] != w[0] or x[0] != y[0]:
        raise ValueError(f"no convolution ties x {x}, w {w} and y {y}")
    if small_size(x, w[2:], stride, padding) != tuple(y[2:]):
        raise ValueError(
            f"a kernel of {w[2:]}, stride {stride}, padding {padding} does not take "
            f"{x[2:]} to {y[2:]}"
        )


# Rung 0: the definition, as a sum over the taps of the kernel


@forward.reference
def forward_numpy(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Any:
    """Return y (N, O, P, Q): for each tap, a product over channels."""
    y: Any = 0.0
    small = small_size(x.shape, w.shape[2:], stride, padding)
    x = padded(x, padding)
    for a, b, window in taps(w.shape[2:], small, stride):
        y = y + library(x).tensordot(x[window], w[:, :, a, b], axes=(1, 1))
    return (y if bias is None else y + bias).transpose(0, 3, 1, 2)


@adjoint.reference
def adjoint_numpy(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Return x̄ (N, C, *size): what each tap has read gets its share back."""
    xp = library(y)
    shape, dtype = (len(y), *size, w.shape[1]), xp.result_type(y, w)
    x = xp.zeros(shape, dtype).transpose(0, 3, 1, 2)
    large = padded(x, padding)
    for a, b, window in taps(w.shape[2:], y.shape[2:], stride):
        share = xp.tensordot(y, w[:, :, a, b], axes=(1, 0))
        large[window] += share.transpose(0, 3, 1, 2)
    x[...] = large[:, :, padding : padding + size[0], padding : padding + size[1]]
    return x if bias is None else x + bias[:, None, None]


@weight.reference
def weight_numpy(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """Return w̄ (O, C, *kernel): for each tap, a product over images and pixels."""
    xp = library(x)
    x = padded(x, padding)
    w = xp.empty((y.shape[1], x.shape[1], *kernel), xp.result_type(x, y))
    for a, b, window in taps(kernel, y.shape[2:], stride):
        w[:, :, a, b] = xp.tensordot(y, x[window], axes=((0, 2, 3), (0, 2, 3)))
    return w


def padded(x: Any, padding: int) -> Any:
    """Return x with `padding` zeros around each image."""
    n, c, h, w = x.shape
    shape = (n, h + 2 * padding, w + 2 * padding, c)
    out = library(x).zeros(shape, x.dtype).transpose(0, 3, 1, 2)
    out[:, :, padding : padding + h, padding : padding + w] = x
    return out


def taps(
    kernel: tuple[int, int], small: tuple[int, int], stride: int
) -> Iterator[tuple[int, int, Any]]:
    """Yield every tap (a, b) with the pixels of the padded map that it reads."""
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            rows = slice(a, a + stride * (small[0] - 1) + 1, stride)
            columns = slice(b, b + stride * (small[1] - 1) + 1, stride)
            yield a, b, (slice(None), slice(None), rows, columns)


# Rung 1: the definition as loops, one multiplication at a time


@forward.rung(1, runs_on="cpu", idea="the definition as seven loops")
def forward_loops(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Any:
    """Visit every output, and for it every channel and tap."""
    small = small_size(x.shape, w.shape[2:], stride, padding)
    check(x.shape, w.shape, (len(x), len(w), *small), stride, padding)
    x, w = padded(x, padding), np.ascontiguousarray(w)
    y = np.empty((len(x), *small, len(w)), x.dtype).transpose(0, 3, 1, 2)
    y[...] = 0 if bias is None else bias[:, None, None]
    by_rows(
        _forward_loop, len(x), seconds(flops=2 * y.size * w[0].size), x, w, y, stride
    )
    return y


@adjoint.rung(1, runs_on="cpu", idea="the same loops; x̄ and ȳ change sides")
def adjoint_loops(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Visit every window, and add to each pixel under it."""
    check((len(y), w.shape[1], *size), w.shape, y.shape, stride, padding)
    y, w = np.ascontiguousarray(y), np.ascontiguousarray(w)
    frame = (len(y), w.shape[1], size[0] + 2 * padding, size[1] + 2 * padding)
    x = np.zeros(frame, y.dtype)
    if bias is not None:
        x += bias[:, None, None]
    by_rows(
        _adjoint_loop, len(x), seconds(flops=2 * y.size * w[0].size), x, w, y, stride
    )
    inside = x[:, :, padding : padding + size[0], padding : padding + size[1]]
    return np.ascontiguousarray(inside.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@weight.rung(1, runs_on="cpu", idea="the same loops; w̄ takes the sum")
def weight_loops(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """Visit every weight, and for it every image and window."""
    check(x.shape, (y.shape[1], x.shape[1], *kernel), y.shape, stride, padding)
    x, y = padded(x, padding), np.ascontiguousarray(y)
    w = np.zeros((y.shape[1], x.shape[1], *kernel), x.dtype)
    by_rows(
        _weight_loop, len(w), seconds(flops=2 * y.size * w[0].size), x, w, y, stride
    )
    return w


@kernel
def _forward_loop(start, stop, x, w, y, s):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        for o in range(y.shape[1]):
            for p in range(y.shape[2]):
                for q in range(y.shape[3]):
                    for c in range(w.shape[1]):
                        for a in range(w.shape[2]):
                            for b in range(w.shape[3]):
                                tap = x[n, c, s * p + a, s * q + b] * w[o, c, a, b]
                                y[n, o, p, q] += tap


@kernel
def _adjoint_loop(start, stop, x, w, y, s):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        for o in range(y.shape[1]):
            for p in range(y.shape[2]):
                for q in range(y.shape[3]):
                    for c in range(w.shape[1]):
                        for a in range(w.shape[2]):
                            for b in range(w.shape[3]):
                                tap = y[n, o, p, q] * w[o, c, a, b]
                                x[n, c, s * p + a, s * q + b] += tap


@kernel
def _weight_loop(start, stop, x, w, y, s):  # type: ignore[no-untyped-def]
    for o in range(start, stop):
        for n in range(y.shape[0]):
            for p in range(y.shape[2]):
                for q in range(y.shape[3]):
                    for c in range(w.shape[1]):
                        for a in range(w.shape[2]):
                            for b in range(w.shape[3]):
                                tap = x[n, c, s * p + a, s * q + b] * y[n, o, p, q]
                                w[o, c, a, b] += tap
