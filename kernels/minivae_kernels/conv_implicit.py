"""Convolution on a CUDA device without a matrix of windows, and the yardstick.

A product of tiles in shared memory loads each tile anyway. What it would load from the
matrix of windows it takes from the map itself, so the matrix is never written down
("implicit GEMM"). Last come cuBLAS's products, on the matrix of windows.

Source: Chetlur et al. 2014, "cuDNN: Efficient primitives for deep learning", section 3.
"""

from __future__ import annotations

from typing import Any

from minivae_kernels.colsum import ADD
from minivae_kernels.conv import adjoint, forward, weight
from minivae_kernels.conv_device import (
    THREADS,
    TILE,
    Relation,
    backwards,
    blocks_for,
    channels_first,
    collected,
    flat,
    matrix_of,
    no_columns_adjoint,
    no_columns_forward,
    no_columns_weight,
    of_adjoint,
    of_forward,
    of_weight,
    strides_of,
    unfit,
    windows,
    with_or_without,
)
from minivae_kernels.family import Cost
from minivae_kernels.launch import CudaC, ceil_div, empty
from minivae_kernels.matmul import MOST_ROWS_OF_BLOCKS, with_epilogue

DEPTH = 16  # terms of a sum in shared memory at a time
MOST_GROUPS, LEAST_PIXELS = 64, 256  # partial sums of a weight, and pixels of each
FORWARD, ADJOINT, WEIGHT = (
    CudaC("conv_implicit", name, THREADS, strided=True)
    for name in ("forward", "adjoint", "weight")
)


def implicit_forward(*arrays: Any, **options: Any) -> Cost:
    """Taps are read once for 64 channels, weights once for 64 pixels."""
    r, biased = of_forward(*arrays, **options), options.get("bias") is not None
    outputs = r.rows * r.o
    taps = r.meetings * r.c * ceil_div(r.o, TILE)
    weights = r.o * r.taps * ceil_div(r.rows, TILE)
    return r.cost(taps + weights + outputs, bias=biased * outputs)


def implicit_adjoint(*arrays: Any, **options: Any) -> Cost:
    """The same; weights are read by the tiles of those places whose taps they are."""
    r, biased = of_adjoint(*arrays, **options), options.get("bias") is not None
    outputs = r.pixels * r.c
    shares = r.meetings * r.o * ceil_div(r.c, TILE)
    weights = r.o * r.c * sum(tiles * taps for tiles, taps in _places(r))
    return r.cost(shares + weights + outputs, bias=biased * outputs)


def _places(r: Relation) -> list[tuple[int, int]]:
    """Return the tiles of pixels and the taps of each place among the strides."""
    axes = [
        [
            (
                len(range(place, size, r.stride)),
                len(range((place + r.padding) % r.stride, kernel, r.stride)),
            )
            for place in range(r.stride)
        ]
        for size, kernel in zip(r.size, r.kernel, strict=True)
    ]
    return [
        (ceil_div(r.n * rows * columns, TILE), down * right)
        for rows, down in axes[0]
        for columns, right in axes[1]
    ]


def implicit_weight(*arrays: Any, **options: Any) -> Cost:
    """Taps are read once for 64 channels, the small map once for 64 taps."""
    r = of_weight(*arrays, **options)
    taps = r.meetings * r.c * ceil_div(r.o, TILE)
    small = r.rows * r.o * ceil_div(r.taps, TILE)
    partials = 2 * _groups(r)[0] * r.o * r.taps
    return r.cost(taps + small + r.o * r.taps, partials=partials)


def _groups(r: Relation) -> tuple[int, int]:
    """Return how many groups the pixels are cut into, and the pixels of each."""
    pixels = max(LEAST_PIXELS, ceil_div(r.rows, MOST_GROUPS))
    pixels = ceil_div(pixels, DEPTH) * DEPTH
    return max(1, ceil_div(r.rows, pixels)), pixels


def no_grid_for(y: Any, w: Any, *, stride: int, **_: Any) -> str | None:
    """Return why a grid cannot have a layer of blocks for each place."""
    if stride**2 <= MOST_ROWS_OF_BLOCKS:
        return unfit(y, w)
    return f"takes strides whose square is at most {MOST_ROWS_OF_BLOCKS}"


@forward.rung(
    7,
    runs_on="cuda",
    idea="implicit GEMM: tiles of windows gathered on the way, never in memory",
    kernels=(FORWARD,),
    cost=implicit_forward,
    unless=unfit,
)
def forward_implicit(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Any:
    """4 x 4 results a thread; the bias is added while they are in registers."""
    r = of_forward(x, w, stride=stride, padding=padding, bias=bias)
    y = empty((r.n, *r.small, r.o), x)
    bias, biased = with_or_without(bias, x)
    grid = ceil_div(r.rows, TILE), ceil_div(r.o, TILE)
    sizes = (r.n, r.c, r.o, *r.sizes, biased)
    FORWARD[grid, THREADS](x, *strides_of(x), w, bias, y, *sizes)
    return channels_first(y)


@adjoint.rung(
    9,
    runs_on="cuda",
    idea="implicit GEMM: a convolution without strides for each place among them",
    kernels=(ADJOINT,),
    cost=implicit_adjoint,
    unless=no_grid_for,
)
def adjoint_implicit(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Pixels of one place have the same taps, so no multiplication is by zero."""
    r = of_adjoint(y, w, stride=stride, padding=padding, size=size, bias=bias)
    x = empty((r.n, *size, r.c), y)
    bias, biased = with_or_without(bias, y)
    grid = max(tiles for tiles, _ in _places(r)), ceil_div(r.c, TILE), stride**2
    sizes = (r.n, r.c, r.o, *r.sizes, biased)
    ADJOINT[grid, THREADS](y, *strides_of(y), w, bias, x, *sizes)
    return channels_first(x)


@weight.rung(
    7,
    runs_on="cuda",
    idea="implicit GEMM; groups of pixels at once, their partial sums added in order",
    kernels=(WEIGHT, ADD),
    cost=implicit_weight,
    unless=lambda x, y, **_: backwards(x, y),
)
def weight_implicit(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """Work for the whole device, and the same bits each time."""
    r = of_weight(x, y, stride=stride, padding=padding, kernel=kernel)
    groups, pixels = _groups(r)
    partials, w = empty((groups, r.o * r.taps), x), empty((r.o, r.c, *kernel), x)
    grid = ceil_div(r.taps, TILE), ceil_div(r.o, TILE), groups
    sizes = (r.n, r.c, r.o, *r.sizes, pixels)
    WEIGHT[grid, THREADS](x, *strides_of(x), y, *strides_of(y), partials, *sizes)
    ADD[blocks_for(w.size), THREADS](partials, w.reshape(-1), groups, w.size)
    return w


# The yardstick


@forward.rung(
    8,
    runs_on="cuda",
    idea="cuBLAS on the matrix of windows, the yardstick",
    unless=no_columns_forward,
)
def forward_cublas(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Any:
    """The product that CuPy calls; windows and bias are ours."""
    r = of_forward(x, w, stride=stride, padding=padding, bias=bias)
    y = with_epilogue(windows(x, r) @ flat(w).T, bias, "identity")
    return channels_first(y.reshape(r.n, *r.small, r.o))


@adjoint.rung(
    10,
    runs_on="cuda",
    idea="cuBLAS for the shares, the yardstick",
    unless=no_columns_adjoint,
)
def adjoint_cublas(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """The product that CuPy calls; pixels collect their shares by our kernel."""
    r = of_adjoint(y, w, stride=stride, padding=padding, size=size, bias=bias)
    return collected(matrix_of(y) @ flat(w), bias, r)


@weight.rung(
    8,
    runs_on="cuda",
    idea="cuBLAS on the matrix of windows, the yardstick",
    unless=no_columns_weight,
)
def weight_cublas(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """The product that CuPy calls; it finds work for the device along the sum."""
    r = of_weight(x, y, stride=stride, padding=padding, kernel=kernel)
    return (matrix_of(y).T @ windows(x, r)).reshape(r.o, r.c, *kernel)
