"""Convolution without a matrix of windows: register tiles over the maps themselves.

With channels last, the numbers under one row of a kernel are a run of Kw C neighbours
in memory, so the sum over a window is Kh runs. A tile holds P neighbouring output
pixels by V vectors of output channels and walks the runs: a number read from the image
serves V vectors, a vector of weights serves P pixels. Nothing is copied but the image
at hand, into a frame of zeros that stays in the cache; borders then need no tests.

    forward   tile (pixels × O): sum over a, and over (b, c) along the run
    adjoint   a row of the image that lies at s m + r was under the kernel's rows
              a₀ + s t with a₀ = (r + padding) mod s: x̄[s m + r] = Σₜ ȳ[m + d − t] w[a₀
              + s t]. That is a forward of stride 1 over ȳ, by every s-th row of the
              kernel, turned round; the s² places of (r, column) make s² passes
    weight    tile ((b, c) × O): sum over pixels and images; each group of images has a
              sum of its own, and these are added in order, so that the result is the
              same bits for any number of threads

Source: Georganas et al. 2018, "Anatomy of high-performance deep learning convolutions
on SIMD architectures", sections II A to D.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minivae_kernels.conv import adjoint, check, forward, small_size, weight
from minivae_kernels.conv_columns import CHUNK  # rungs 2 and 3 come before
from minivae_kernels.cpu import kernel
from minivae_kernels.threads import by_rows, seconds
from minivae_kernels.tile import accumulate, lanes_of, load, store, tile_rows

FEWEST_CHANNELS = 8  # fewer would leave most of a vector empty
GROUP = 8  # images whose weight gradients are summed together

# A pass over the image, as numbers for the loop: where its weights start, the kernel's
# rows and the length of a run; the first window's corner in the frame; the rows and
# columns that it computes, and where they go.
WEIGHTS, DOWN, RUN, TOP, LEFT, ROWS, COLUMNS, FIRST_ROW, FIRST_COLUMN = range(9)


class Frame(NamedTuple):
    """The image with zeros around it: its size, and where the image starts."""

    height: int
    width: int
    top: int
    left: int


def fits(channels: int) -> str | None:
    """Return why a map of so many channels cannot be computed by vectors, or None."""
    if channels >= FEWEST_CHANNELS:
        return None
    return f"needs {FEWEST_CHANNELS} output channels to fill a vector, not {channels}"


@forward.rung(
    4,
    runs_on="cpu",
    idea="tiles of sums in registers, no matrix of windows",
    fits=lambda x, w, **_: fits(len(w)),
)
def forward_tiles(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Any:
    """Walk a tile of pixels by channels along the runs under the kernel's rows."""
    n, c, height, width = x.shape
    o, _, down, right = w.shape
    p, q = small_size(x.shape, (down, right), stride, padding)
    check(x.shape, w.shape, (n, o, p, q), stride, padding)
    frame = Frame(height + 2 * padding, width + 2 * padding, padding, padding)
    passes = np.array([(0, down, right * c, 0, 0, p, q, 0, 0)])
    y = np.empty((n, p, q, whole_vectors(o, x.dtype)), x.dtype)
    _walk(x, [w.transpose(2, 3, 1, 0)], bias, y, passes, frame, stride, 1)
    return y[..., :o].transpose(0, 3, 1, 2)


@adjoint.rung(
    4, runs_on="cpu", idea="tiles of taps: each pixel's shares, added in the cache"
)
def adjoint_shares(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Multiply each pixel by its kernel, vectors along the taps; add the shares up.

    For images of one or a few channels, whose vectors would be nearly empty.
    """
    n, o, p, q = y.shape
    _, c, down, right = w.shape
    check((n, c, *size), w.shape, y.shape, stride, padding)
    outs = whole_vectors(down * right * c, y.dtype)
    weights = np.zeros((o, outs), y.dtype)
    weights[:, : down * right * c] = w.transpose(0, 2, 3, 1).reshape(o, -1)
    begin = np.zeros(c, y.dtype) if bias is None else np.ascontiguousarray(bias)
    x = np.empty((n, *size, c), y.dtype)
    loop = _spreader(_rows_of(max(1, p * q)), *_vectors(outs, y.dtype))
    small = np.ascontiguousarray(y.transpose(0, 2, 3, 1))
    work = seconds(flops=8 * y.size * down * right * c)  # adding costs more
    taps = down, right * c
    arguments = small, weights.reshape(-1), begin, x, *taps, padding, stride
    by_rows(loop, n, work, *arguments)
    return x.transpose(0, 3, 1, 2)


@cache
def _spreader(P: int, V: int, LANES: int) -> Any:
    """Return the loop for tiles of P pixels by V vectors of LANES taps."""

    @kernel
    def share(start, stop, small, weights, begin, x, down, run, padding, stride):  # type: ignore[no-untyped-def]
        channels, o = x.shape[3], small.shape[3]
        rows, columns = small.shape[1:3]
        pixels, outs = rows * columns, len(weights) // o
        width = (x.shape[2] + 2 * padding) * channels
        height = x.shape[1] + 2 * padding
        frame = np.zeros((height, width), x.dtype)
        shares, zeros = np.empty(pixels * outs, x.dtype), np.zeros(outs, x.dtype)
        inside = frame[padding:, padding * channels :]
        for n in range(start, stop):
            for begun in range(0, pixels, P):
                m = min(begun, pixels - P)  # the last may overlap
                for t in range(0, outs, V * LANES):
                    sums = load(zeros, t, 0, P, V, LANES)
                    at, weight = (n * pixels + m) * o, t
                    for k in range(at, at + o):
                        sums = accumulate(sums, small, k, o, weights, weight)
                        weight += outs
                    store(sums, shares, m * outs + t, outs)
            frame[:] = 0
            for i in range(rows):
                for j in range(columns):
                    at = (i * columns + j) * outs
                    for a in range(down):
                        under = frame[i * stride + a, j * stride * channels :]
                        for t in range(run):
                            under[t] += shares[at + a * run + t]
            for h in range(x.shape[1]):
                for k in range(x.shape[2]):
                    for c in range(channels):
                        x[n, h, k, c] = inside[h, k * channels + c] + begin[c]

    return share


@adjoint.rung(
    5,
    runs_on="cpu",
    idea="tiles of pixels: gather by place among the strides",
    fits=lambda y, w, **_: fits(w.shape[1]),
)
def adjoint_tiles(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Gather for each pixel of the image from the windows that were over it."""
    o, c, *kernel_size = w.shape
    check((len(y), c, *size), w.shape, y.shape, stride, padding)
    vertical, horizontal = (
        [_Place.at(r, *axis, stride, padding) for r in range(min(stride, axis[0]))]
        for axis in zip(size, kernel_size, strict=True)
    )
    top, height = _around(y.shape[2], vertical)
    left, width = _around(y.shape[3], horizontal)
    parts: list[Any] = []
    passes, start = [], 0
    outs = whole_vectors(c, y.dtype)
    for row, v in enumerate(vertical):
        for column, h in enumerate(horizontal):
            some = w[:, :, v.first_tap :: stride, h.first_tap :: stride]
            parts.append(some[:, :, ::-1, ::-1].transpose(2, 3, 0, 1))
            corner = top + v.shift - v.taps + 1, left + h.shift - h.taps + 1
            into = v.pixels, h.pixels, row, column
            passes.append((start, v.taps, h.taps * o, *corner, *into))
            start += v.taps * h.taps * o * outs
    x = np.empty((len(y), *size, outs), y.dtype)
    frame = Frame(height, width, top, left)
    _walk(y, parts, bias, x, np.array(passes), frame, 1, stride)
    return x[..., :c].transpose(0, 3, 1, 2)


class _Place(NamedTuple):
    """The pixels s m + r of one axis: m = 0 ... pixels − 1."""

    first_tap: int  # a₀, the first of the kernel's taps that ever lie over them
    taps: int
    shift: int  # d: the window over pixel m by tap a₀ is number m + d
    pixels: int

    @classmethod
    def at(cls, r: int, size: int, kernel: int, stride: int, padding: int) -> _Place:
        shift, first = divmod(r + padding, stride)
        taps, pixels = len(range(first, kernel, stride)), len(range(r, size, stride))
        return cls(first, taps, shift, pixels)


def _around(size: int, places: list[_Place]) -> tuple[int, int]:
    """Return the zeros before a small map's axis, and its length with all zeros."""
    before = max(0, *(p.taps - 1 - p.shift for p in places), 0)
    return before, before + max(size, *(p.pixels + p.shift for p in places), 0)


def _walk(
    image: Any,
    parts: list[Any],
    bias: Any,
    out: Any,
    passes: Any,
    frame: Frame,
    stride: int,
    spread: int,
) -> None:
    """Run `passes` over every image; `parts` are their weights (down, right, C, O)."""
    dtype, outs = out.dtype, out.shape[3]
    o = parts[0].shape[3]
    weights = np.zeros((sum(p[..., 0].size for p in parts), outs), dtype)
    start = 0
    for part in parts:
        stop = start + part[..., 0].size
        weights[start:stop, :o] = part.reshape(-1, o)
        start = stop
    begin = np.zeros(outs, dtype)
    if bias is not None:
        begin[:o] = bias
    loop = _walker(_rows_of(int(passes[:, COLUMNS].min())), *_vectors(outs, dtype))
    image = image.transpose(0, 2, 3, 1)
    work = seconds(flops=2 * out[..., 0].size * weights.size)
    arguments = image, weights.reshape(-1), begin, out, passes, *frame, stride, spread
    by_rows(loop, len(image), work, *arguments)


@cache
def _walker(P: int, V: int, LANES: int) -> Any:
    """Return the loop for tiles of P pixels by V vectors of LANES channels."""

    @kernel
    def walk(  # type: ignore[no-untyped-def]
        start,
        stop,
        image,
        weights,
        begin,
        out,
        passes,
        height,
        width,
        top,
        left,
        stride,
        spread,
    ):
        channels, outs = image.shape[3], out.shape[3]
        row = width * channels  # a row of the frame, in elements
        framed = np.zeros(height * row, image.dtype)
        inside = framed.reshape(height, width, channels)
        inside = inside[top:, left:]
        step = stride * channels
        for n in range(start, stop):
            inside[: image.shape[1], : image.shape[2]] = image[n]
            for some in passes:
                for i in range(some[ROWS]):
                    window = (some[TOP] + i * stride) * row + some[LEFT] * channels
                    line = n * out.shape[1] + some[FIRST_ROW] + i * spread
                    pixel = line * out.shape[2] + some[FIRST_COLUMN]
                    for begun in range(0, some[COLUMNS], P):
                        j = min(begun, some[COLUMNS] - P)  # the last may overlap
                        at, to = window + j * step, (pixel + j * spread) * outs
                        for o in range(0, outs, V * LANES):
                            sums = load(begin, o, 0, P, V, LANES)
                            weight = some[WEIGHTS] + o
                            for a in range(some[DOWN]):
                                for k in range(at + a * row, at + a * row + some[RUN]):
                                    sums = accumulate(
                                        sums, framed, k, step, weights, weight
                                    )
                                    weight += outs
                            store(sums, out, to + o, spread * outs)

    return walk


@weight.rung(
    4,
    runs_on="cpu",
    idea="tiles of the gradient: taps by channels, summed over pixels",
    fits=lambda x, y, **_: fits(y.shape[1]),
)
def weight_tiles(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """Sum over pixels a product of the run under each window and the map's channels."""
    n, c, height, width = x.shape
    check(x.shape, (y.shape[1], c, *kernel), y.shape, stride, padding)
    o, outs = y.shape[1], whole_vectors(y.shape[1], y.dtype)
    small = np.ascontiguousarray(y.transpose(0, 2, 3, 1))
    if outs > o:
        small = np.pad(small, [(0, 0)] * 3 + [(0, outs - o)])
    frame = Frame(height + 2 * padding, width + 2 * padding, padding, padding)
    groups = -(-n // GROUP)
    sums = np.zeros((groups, *kernel, c, outs), x.dtype)
    run = kernel[1] * c
    rows = next(rows for rows in tile_rows() if run % rows == 0)
    loop = _weigher(rows, *_vectors(outs, y.dtype))
    image = x.transpose(0, 2, 3, 1)
    work = seconds(flops=2 * small.size * kernel[0] * run)
    by_rows(loop, groups, work, image, small, sums, *frame, stride)
    return np.ascontiguousarray(sums.sum(axis=0)[..., :o].transpose(3, 2, 0, 1))


@cache
def _weigher(P: int, V: int, LANES: int) -> Any:
    """Return the loop for tiles of P taps by V vectors of LANES channels."""

    @kernel
    def weigh(start, stop, image, small, sums, height, width, top, left, stride):  # type: ignore[no-untyped-def]
        channels = image.shape[3]
        down, outs = sums.shape[1], sums.shape[4]
        rows, columns = small.shape[1:3]
        run = sums.shape[2] * channels
        row, step = width * channels, stride * channels
        size = height * row
        held = max(1, min(GROUP, CHUNK // (size * image.itemsize + 1)))
        framed = np.zeros(held * size, image.dtype)
        inside = framed.reshape(held, height, width, channels)
        inside = inside[:, top:, left:]
        for group in range(start, stop):
            last = min(len(image), (group + 1) * GROUP)
            for first in range(group * GROUP, last, held):
                some = min(held, last - first)
                inside[:some, : image.shape[1], : image.shape[2]] = image[
                    first : first + some
                ]
                for a in range(down):
                    for k in range(0, run, P):
                        tap = ((group * down + a) * run + k) * outs
                        for o in range(0, outs, V * LANES):
                            total = load(sums, tap + o, outs, P, V, LANES)
                            at = first * rows * columns * outs + o
                            for n in range(some):
                                for i in range(rows):
                                    window = n * size + (i * stride + a) * row + k
                                    for _ in range(columns):
                                        total = accumulate(
                                            total, framed, window, 1, small, at
                                        )
                                        window += step
                                        at += outs
                            store(total, sums, tap + o, outs)

    return weigh


def whole_vectors(channels: int, dtype: Any) -> int:
    """Return `channels`, rounded up to fill vectors."""
    lanes = lanes_of(dtype)
    return -(-channels // lanes) * lanes


def _vectors(outs: int, dtype: Any) -> tuple[int, int]:
    """Return how many vectors a tile's row has, and how many numbers a vector."""
    lanes = lanes_of(dtype)
    return (1 if outs // lanes % 2 else 2), lanes


def _rows_of(columns: int) -> int:
    """Return the tile's rows that cover `columns` pixels in the least time."""
    heights = [rows for rows in tile_rows() if rows <= columns]
    # with fewer than 4 rows, sums wait for their own last addition
    return min(heights, key=lambda rows: -(-columns // rows) * max(4, rows))
