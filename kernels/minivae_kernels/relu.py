"""The rectifier and its gradient: y = max(x, 0), x̄ = ȳ where y > 0, else 0.

As array expressions the gradient makes two arrays besides its result, and NumPy runs on
one core. Elements are taken in the order in which they lie in memory, whatever the
order of the axes, so that a map with channels last stays one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae_kernels.cpu import check_shapes, kernel
from minivae_kernels.family import Cost, Family, dense, library, memory_order
from minivae_kernels.launch import (
    CudaC,
    Kernel,
    NumbaCuda,
    ceil_div,
    contiguous_on,
    empty,
    filling,
    unaligned,
)
from minivae_kernels.threads import by_rows, seconds


def forward_cost(x: Any) -> Cost:
    """Read x, write y; a comparison an element."""
    return Cost(bytes=2 * x.nbytes, flops=x.size)


def backward_cost(y_bar: Any, y: Any) -> Cost:
    """Read ȳ and y, write x̄; a comparison an element."""
    return Cost(bytes=3 * y.nbytes, flops=y.size)


forward = Family("relu.forward", "y = max(x, 0)", forward_cost)
backward = Family("relu.backward", "x̄ = ȳ [y > 0]", backward_cost)


@forward.reference
def forward_numpy(x: Any) -> Any:
    """Return max(x, 0); NaN stays NaN."""
    return library(x).maximum(x, 0)


@forward.rung(1, runs_on="cpu", idea="compiled, on threads")
def forward_numba(x: Any) -> Any:
    """A loop over the elements as they lie in memory."""
    y = np.empty_like(x)
    arrays = _as_it_lies(y, x, y)
    by_rows(_forward, x.size, seconds(2 * x.nbytes), *arrays)
    return y


@backward.reference
def backward_numpy(y_bar: Any, y: Any) -> Any:
    """Return ȳ where y > 0, else 0."""
    return y_bar * (y > 0).astype(y.dtype)


@backward.rung(1, runs_on="cpu", idea="compiled: one pass, no mask in memory")
def backward_numba(y_bar: Any, y: Any) -> Any:
    """A loop over the elements as those of y lie in memory."""
    y_bar = np.asarray(y_bar, y.dtype)  # the seed of a scalar is a Python float
    check_shapes(y_bar=y_bar, y=y)
    x_bar = np.empty_like(y)
    arrays = _as_it_lies(x_bar, y_bar, y, x_bar)
    by_rows(_backward, y.size, seconds(3 * y.nbytes), *arrays)
    return x_bar


def _as_it_lies(model: Any, *arrays: Any) -> list[Any]:
    """Return the arrays flat, their elements in the order of `model`'s memory.

    Those that lie otherwise are copied: a view that repeats or skips elements, such as
    NumPy's `broadcast_to` makes, has no order of its own that `ravel` and `empty_like`
    agree on.
    """
    flat = []
    for array in arrays:
        if array.strides != model.strides:
            array, given = np.empty_like(model), array
            array[...] = given
        flat.append(array.ravel("K"))
    return flat


@kernel
def _forward(start, stop, x, y):  # type: ignore[no-untyped-def]
    x, y = x[start:stop], y[start:stop]
    zero = y.dtype.type(0)
    for i in range(len(y)):
        y[i] = zero if x[i] < zero else x[i]


@kernel
def _backward(start, stop, y_bar, y, x_bar):  # type: ignore[no-untyped-def]
    y_bar, y, x_bar = y_bar[start:stop], y[start:stop], x_bar[start:stop]
    zero = y.dtype.type(0)
    for i in range(len(y)):
        x_bar[i] = y_bar[i] if y[i] > zero else y_bar[i] * zero


# On a CUDA device

THREADS = 256
FORWARD_EACH, BACKWARD_EACH = (
    NumbaCuda("relu_cuda", name, THREADS) for name in ("forward", "backward")
)
FORWARD_FOURS, BACKWARD_FOURS = (
    CudaC("relu", name, THREADS) for name in ("forward", "backward")
)


def unaligned_in_order(*arrays: Any, **_: Any) -> str | None:
    """Return why arrays in the order of the last cannot be taken by fours."""
    given = [a for a in arrays if hasattr(a, "strides")]
    order = memory_order(given[-1])
    laid = [a.transpose(order) for a in given if dense(a, order)]  # others are copied
    return unaligned(*laid, rows=False)


@forward.rung(
    2,
    runs_on="cuda",
    idea="a thread an element",
    kernels=(FORWARD_EACH,),
    cost=forward_cost,
    any_order=True,
)
def forward_each(x: Any) -> Any:
    """Neighbouring threads read neighbours in memory."""
    return _mapped(FORWARD_EACH, ceil_div(x.size, THREADS), x)


@forward.rung(
    3,
    runs_on="cuda",
    idea="four elements at once: 128-bit loads and stores",
    kernels=(FORWARD_FOURS,),
    cost=forward_cost,
    unless=unaligned_in_order,
    any_order=True,
)
def forward_vectors(x: Any) -> Any:
    """A quarter of the instructions for the same bytes."""
    return _mapped(FORWARD_FOURS, _walking(x), x, x.size)


@backward.rung(
    2,
    runs_on="cuda",
    idea="a thread an element: one pass, no mask in memory",
    kernels=(BACKWARD_EACH,),
    cost=backward_cost,
    any_order=True,
)
def backward_each(y_bar: Any, y: Any) -> Any:
    """The sign of y is all that is needed of the forward pass."""
    return _both(BACKWARD_EACH, ceil_div(y.size, THREADS), y_bar, y)


@backward.rung(
    3,
    runs_on="cuda",
    idea="four elements at once: 128-bit loads and stores",
    kernels=(BACKWARD_FOURS,),
    cost=backward_cost,
    unless=unaligned_in_order,
    any_order=True,
)
def backward_vectors(y_bar: Any, y: Any) -> Any:
    """A quarter of the instructions for the same bytes."""
    return _both(BACKWARD_FOURS, _walking(y), y_bar, y, y.size)


def _walking(array: Any) -> int:
    """Return the blocks of a grid that takes four elements a thread."""
    return filling(ceil_div(array.size, 4), THREADS)


def _both(kernel: Kernel, blocks: int, y_bar: Any, y: Any, *sizes: int) -> Any:
    y_bar = library(y).asarray(y_bar, y.dtype)  # the seed of a scalar is a float
    check_shapes(y_bar=y_bar, y=y)
    return _mapped(kernel, blocks, y_bar, y, *sizes)


def _mapped(kernel: Kernel, blocks: int, *arguments: Any) -> Any:
    """Run a kernel over arrays, in the order in which the last of them lies."""
    arrays = [a for a in arguments if hasattr(a, "strides")]
    order = memory_order(arrays[-1])
    turned = [a.transpose(order) for a in arrays]
    out = empty(turned[-1].shape, arrays[-1])
    sizes = arguments[len(arrays) :]
    flat = (a.reshape(-1) for a in (*contiguous_on(*turned), out))
    kernel[blocks, THREADS](*flat, *sizes)
    back = sorted(range(len(order)), key=order.__getitem__)
    return out.transpose(back)
