"""Convolution as a matrix product: every window copied out as a row ("im2col").

    X = columns(x) (N P Q, taps)        y = X Wᵀ    x̄ = columnsᵀ(ȳ W)    w̄ = ȳᵀ X

The product runs at the speed of the BLAS, but X is Kh Kw / s² times as large as x. So
the second rung makes it a few images at a time, small enough to stay in the cache, and
each thread does so for itself, with a BLAS of one thread.

Source: Chellapilla, Puri & Simard 2006, section 3.1; "col2im", the adjoint of the
copying, is a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minivae_kernels.conv import (
    adjoint,
    check,
    forward,
    padded,
    small_size,
    taps,
    weight,
)
from minivae_kernels.family import library
from minivae_kernels.threads import by_rows, one_blas_thread, seconds

CHUNK = 1 << 18  # bytes of windows at a time: they stay in a core's own cache
GROUPS = 8  # of chunks, whose weight gradients are summed apart


def windows(x: Any, small: tuple[int, int], kernel: Any, stride: int) -> Any:
    """Return every window of the padded map x as a view (N, P, Q, C, Kh, Kw).

    Nothing is looked up: that the sizes belong together is for the caller to check.
    """
    n, c, h, w = x.strides
    shape = (len(x), *small, x.shape[1], *kernel)
    strides = (n, stride * h, stride * w, c, h, w)
    return library(x).lib.stride_tricks.as_strided(x, shape, strides)


def spread(x: Any, shares: Any, stride: int) -> None:
    """Add shares (N, P, Q, C, Kh, Kw) to the pixels of the padded map x under them."""
    small, kernel = shares.shape[1:3], shares.shape[4:]
    for a, b, window in taps(kernel, small, stride):
        x[window] += shares[..., a, b].transpose(0, 3, 1, 2)


def rows_of(y: Any) -> Any:
    """Return a map (N, O, P, Q) as a matrix (N P Q, O)."""
    rows = y.transpose(0, 2, 3, 1).reshape(-1, y.shape[1])
    return library(y).ascontiguousarray(rows)


def _flat(w: Any) -> Any:
    """Return a weight as a matrix (O, C Kh Kw)."""
    return library(w).ascontiguousarray(w).reshape(len(w), -1)


@forward.rung(2, runs_on="numpy", idea="windows as rows of a matrix, one product")
def forward_columns(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Any:
    """Multiply all windows by all kernels."""
    small = small_size(x.shape, w.shape[2:], stride, padding)
    check(x.shape, w.shape, (len(x), len(w), *small), stride, padding)
    found = windows(padded(x, padding), small, w.shape[2:], stride)
    y = found.reshape(-1, w[0].size) @ _flat(w).T
    if bias is not None:
        y += bias
    return y.reshape(len(x), *small, len(w)).transpose(0, 3, 1, 2)


@adjoint.rung(2, runs_on="numpy", idea="one product, and every window added back")
def adjoint_columns(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Multiply all pixels by all kernels, and add the windows up."""
    check((len(y), w.shape[1], *size), w.shape, y.shape, stride, padding)
    shares = (rows_of(y) @ _flat(w)).reshape(len(y), *y.shape[2:], *w.shape[1:])
    shape = (len(y), size[0] + 2 * padding, size[1] + 2 * padding, w.shape[1])
    x = library(y).zeros(shape, y.dtype).transpose(0, 3, 1, 2)
    spread(x, shares, stride)
    if bias is not None:
        x += bias[:, None, None]
    inside = x[:, :, padding : padding + size[0], padding : padding + size[1]]
    return (
        library(y).ascontiguousarray(inside.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    )


@weight.rung(2, runs_on="numpy", idea="one product over all windows")
def weight_columns(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """Multiply every channel of the small map by every window."""
    check(x.shape, (y.shape[1], x.shape[1], *kernel), y.shape, stride, padding)
    found = windows(padded(x, padding), y.shape[2:], kernel, stride)
    taps = x.shape[1] * kernel[0] * kernel[1]
    w = rows_of(y).T @ found.reshape(-1, taps)
    return w.reshape(y.shape[1], x.shape[1], *kernel)


def _by_chunks(
    images: int, row: int, flops: int, work: Callable[[int, int], None]
) -> None:
    """Call `work(first, stop)` on a few images at a time, on threads if worthwhile.

    `row` is how many bytes of windows an image has. The chunks, and with them the
    result, do not depend on the number of threads.
    """
    chunk = max(1, CHUNK // max(1, row))

    def some(start: int, stop: int) -> None:
        for i in range(start, stop):
            work(i * chunk, min(images, (i + 1) * chunk))

    with one_blas_thread():
        by_rows(some, -(-images // chunk), seconds(flops=flops))


def _last(x: Any, kernel: Any, small: Any, stride: int) -> Any:
    """Return every window with channels last: a view (N, P, Q, Kh, Kw, C)."""
    return windows(x, small, kernel, stride).transpose(0, 1, 2, 4, 5, 3)


@forward.rung(3, runs_on="cpu", idea="channels last, in chunks that stay in the cache")
def forward_chunks(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Any:
    """Copy the windows of a few images, multiply, go on: each thread for itself."""
    small = small_size(x.shape, w.shape[2:], stride, padding)
    check(x.shape, w.shape, (len(x), len(w), *small), stride, padding)
    found = _last(padded(x, padding), w.shape[2:], small, stride)
    y = np.empty((len(x), *small, len(w)), x.dtype)
    flat = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(-1, len(w))

    def some(first: int, stop: int) -> None:
        part = y[first:stop].reshape(-1, len(w))
        np.matmul(found[first:stop].reshape(-1, len(flat)), flat, out=part)
        if bias is not None:
            part += bias

    row = small[0] * small[1] * len(flat) * x.itemsize
    _by_chunks(len(x), row, 2 * y.size * len(flat), some)
    return y.transpose(0, 3, 1, 2)


@adjoint.rung(3, runs_on="cpu", idea="in chunks: the shares are added from the cache")
def adjoint_chunks(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Multiply the pixels of a few images, add their shares up, go on."""
    n, o, p, q = y.shape
    check((n, w.shape[1], *size), w.shape, y.shape, stride, padding)
    x = np.zeros((n, size[0] + 2 * padding, size[1] + 2 * padding, w.shape[1]), y.dtype)
    flat = np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(o, -1)
    order = (0, 1, 2, 5, 3, 4)  # (N, P, Q, Kh, Kw, C) as (N, P, Q, C, Kh, Kw)

    def some(first: int, stop: int) -> None:
        shares = rows_of(y[first:stop]) @ flat
        shares = shares.reshape(-1, p, q, *w.shape[2:], w.shape[1]).transpose(order)
        part = x[first:stop]
        spread(part.transpose(0, 3, 1, 2), shares, stride)
        if bias is not None:
            part += bias

    _by_chunks(n, p * q * w[0].nbytes, 2 * y.size * w[0].size, some)
    inside = x[:, padding : padding + size[0], padding : padding + size[1]]
    return np.ascontiguousarray(inside).transpose(0, 3, 1, 2)


@weight.rung(3, runs_on="cpu", idea="in chunks, each group of them with its own sum")
def weight_chunks(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """Add up the products of a few images' windows; then the groups, in order."""
    o, c = y.shape[1], x.shape[1]
    check(x.shape, (o, c, *kernel), y.shape, stride, padding)
    found = _last(padded(x, padding), kernel, y.shape[2:], stride)
    taps = c * kernel[0] * kernel[1]
    sums = np.zeros((GROUPS, o, taps), x.dtype)
    row = y.shape[2] * y.shape[3] * taps * x.itemsize
    chunk = max(1, CHUNK // max(1, row))

    def some(start: int, stop: int) -> None:
        for group in range(start, stop):
            first, last = (len(x) * g // GROUPS for g in (group, group + 1))
            for i in range(first, last, chunk):
                j = min(last, i + chunk)
                sums[group] += rows_of(y[i:j]).T @ found[i:j].reshape(-1, taps)

    with one_blas_thread():
        by_rows(some, GROUPS, seconds(flops=2 * y.size * taps))
    w = sums.sum(axis=0).reshape(o, *kernel, c)
    return np.ascontiguousarray(w.transpose(0, 3, 1, 2))
