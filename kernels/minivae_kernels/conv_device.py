"""Convolution on a CUDA device: the definition, then a product with all windows.

The large map x, the small map y and the weight w as in `conv.py`. Kernels take maps in
whatever order their axes lie, by their strides, and write results with channels last;
so nothing is copied between layers.

Of the Kh Kw taps of a window some hang over the edge and are never read. How many do
not is a product of two numbers, one for each axis: `Relation.meetings`.
`conv_implicit.py` has the rungs that make no matrix of windows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import minivae_kernels.conv_direct  # noqa: F401, its rungs come before
from minivae_kernels.conv import adjoint, forward, small_size, weight
from minivae_kernels.family import MOST_ELEMENTS, Cost
from minivae_kernels.launch import (
    CudaC,
    NumbaCuda,
    ceil_div,
    contiguous_on,
    empty,
)
from minivae_kernels.matmul import (
    MOST_ROWS_OF_BLOCKS,
    REGISTERS,
    elements_moved,
    matmul_registers,
)

THREADS = 256
TILE = 64  # results of a product's block, each way
FORWARD_EACH, ADJOINT_EACH, WEIGHT_EACH = (
    NumbaCuda("conv_cuda", name, THREADS) for name in ("forward", "adjoint", "weight")
)
COLUMNS, COLLECT, BEGIN, SCATTER = (
    CudaC("conv_columns", name, THREADS, strided=name == "columns")
    for name in ("columns", "collect", "begin", "scatter")
)


class Relation(NamedTuple):
    """The sizes of x (n, c, *size), y (n, o, *small) and w (o, c, *kernel)."""

    n: int
    c: int
    o: int
    size: tuple[int, int]
    small: tuple[int, int]
    kernel: tuple[int, int]
    stride: int
    padding: int
    itemsize: int

    @property
    def rows(self) -> int:
        """Windows of all images: rows of the matrix of windows."""
        return self.n * self.small[0] * self.small[1]

    @property
    def taps(self) -> int:
        """Elements of a window, channels times taps: columns of that matrix."""
        return self.c * self.kernel[0] * self.kernel[1]

    @property
    def pixels(self) -> int:
        """Pixels of all large maps."""
        return self.n * self.size[0] * self.size[1]

    @property
    def meetings(self) -> int:
        """(image, window, tap) that lie inside an image."""
        axes = zip(self.size, self.small, self.kernel, strict=True)
        down, right = (inside(*a, self.stride, self.padding) for a in axes)
        return self.n * down * right

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers that kernels take: H, W, Kh, Kw, P, Q, stride, padding."""
        return (*self.size, *self.kernel, *self.small, self.stride, self.padding)

    def cost(self, elements: int, **beside: int) -> Cost:
        """Return the cost of so many elements, and some beside."""
        named = {
            name.replace("_", " "): count * self.itemsize
            for name, count in beside.items()
            if count
        }
        return Cost(elements * self.itemsize, 2 * self.rows * self.o * self.taps, named)


def inside(size: int, small: int, kernel: int, stride: int, padding: int) -> int:
    """Count the (window, tap) of one axis that lie inside: 0 <= s p + a − m < size."""
    first = (max(0, ceil_div(padding - a, stride)) for a in range(kernel))
    last = (min(small - 1, (size - 1 + padding - a) // stride) for a in range(kernel))
    return sum(max(0, j - i + 1) for i, j in zip(first, last, strict=True))


def of_forward(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Relation:
    """Return the sizes of a call of conv.forward; raises `ValueError`."""
    _must_agree(x.shape[1] == w.shape[1], x=x, w=w)
    _must_agree(bias is None or bias.shape == w.shape[:1], w=w, bias=bias)
    small = small_size(x.shape, w.shape[2:], stride, padding)
    sizes = len(x), w.shape[1], len(w), x.shape[2:], small, w.shape[2:]
    return Relation(*sizes, stride, padding, x.itemsize)


def of_adjoint(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Relation:
    """Return the sizes of a call of conv.adjoint; raises `ValueError`."""
    _must_agree(y.shape[1] == len(w), y=y, w=w)
    _must_agree(bias is None or bias.shape == w.shape[1:2], w=w, bias=bias)
    sizes = len(y), w.shape[1], len(w), size, y.shape[2:], w.shape[2:]
    return Relation(*sizes, stride, padding, y.itemsize)


def of_weight(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Relation:
    """Return the sizes of a call of conv.weight; raises `ValueError`."""
    _must_agree(len(x) == len(y), x=x, y=y)
    sizes = len(x), x.shape[1], y.shape[1], x.shape[2:], y.shape[2:], kernel
    return Relation(*sizes, stride, padding, x.itemsize)


def _must_agree(agree: bool, **arrays: Any) -> None:
    if not agree:
        named = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ValueError(f"convolution of {named}")


# Arrays as kernels take them


def strides_of(a: Any) -> tuple[int, ...]:
    """Return how many elements lie between neighbours along each axis."""
    return tuple(step // a.itemsize for step in a.strides)


def backwards(*maps: Any) -> str | None:
    """Return why a kernel that counts upwards cannot take these maps."""
    if all(step >= 0 for a in maps for step in a.strides):
        return None
    return "takes maps whose axes run forwards"


def unfit(image: Any, w: Any, **_: Any) -> str | None:
    """Return why CUDA C cannot take a map and a weight."""
    if not w.flags.c_contiguous:
        return "takes a contiguous weight"
    return backwards(image)


def rows_in_place(y: Any) -> str | None:
    """Return why a small map is not a matrix (N P Q, O) where it lies."""
    if y.transpose(0, 2, 3, 1).flags.c_contiguous:
        return None
    return "takes a small map with its channels last in memory"


def too_large(r: Relation) -> str | None:
    """Return why the matrix of windows is too large."""
    most = MOST_ROWS_OF_BLOCKS * TILE
    if r.rows > most:
        return f"takes at most {most} windows, got {r.rows}"
    if r.rows * r.taps > MOST_ELEMENTS:
        return f"would make a matrix of {r.rows} x {r.taps} elements"
    return None


def matrix_of(y: Any) -> Any:
    """Return a small map (N, O, P, Q) with channels last as a matrix (N P Q, O)."""
    return y.transpose(0, 2, 3, 1).reshape(-1, y.shape[1])


def flat(w: Any) -> Any:
    """Return a weight as a matrix (O, C Kh Kw)."""
    return w.reshape(len(w), -1)


def channels_first(a: Any) -> Any:
    """Return a map (N, H, W, C) as (N, C, H, W), where it lies."""
    return a.transpose(0, 3, 1, 2)


def with_or_without(bias: Any, like: Any) -> tuple[Any, bool]:
    """Return the bias, or one of no elements; and whether there is one."""
    return (empty(0, like), False) if bias is None else (*contiguous_on(bias), True)


def blocks_for(count: int) -> int:
    """Return the blocks of a grid with a thread for each of so many results."""
    return ceil_div(count, THREADS)


# The definition, in Numba


def each_forward(*arrays: Any, **options: Any) -> Cost:
    """Every output reads its taps and its weights for itself."""
    r, biased = of_forward(*arrays, **options), options.get("bias") is not None
    outputs = r.rows * r.o
    return r.cost(2 * r.meetings * r.c * r.o + outputs, bias=biased * outputs)


def each_adjoint(*arrays: Any, **options: Any) -> Cost:
    """Every pixel reads what lies over it, and its weights, for itself."""
    r, biased = of_adjoint(*arrays, **options), options.get("bias") is not None
    outputs = r.pixels * r.c
    return r.cost(2 * r.meetings * r.c * r.o + outputs, bias=biased * outputs)


def each_weight(*arrays: Any, **options: Any) -> Cost:
    """Every weight reads all pixels that it met, of both maps."""
    r = of_weight(*arrays, **options)
    return r.cost(2 * r.meetings * r.c * r.o + r.o * r.taps)


@forward.rung(
    5,
    runs_on="cuda",
    idea="a thread an output: the definition",
    kernels=(FORWARD_EACH,),
    cost=each_forward,
)
def forward_each(x: Any, w: Any, *, stride: int, padding: int, bias: Any = None) -> Any:
    """Two elements are read for each multiplication."""
    r = of_forward(x, w, stride=stride, padding=padding, bias=bias)
    y = empty((r.n, *r.small, r.o), x)
    FORWARD_EACH[blocks_for(y.size), THREADS](
        x, w, with_or_without(bias, x)[0], y, stride, padding
    )
    return channels_first(y)


@adjoint.rung(
    6,
    runs_on="cuda",
    idea="a thread a pixel of a channel: each asks which windows are over it",
    kernels=(ADJOINT_EACH,),
    cost=each_adjoint,
)
def adjoint_each(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Of s² questions one is answered yes: the stride has passed over the others."""
    r = of_adjoint(y, w, stride=stride, padding=padding, size=size, bias=bias)
    x = empty((r.n, *size, r.c), y)
    ADJOINT_EACH[blocks_for(x.size), THREADS](
        y, w, with_or_without(bias, y)[0], x, stride, padding
    )
    return channels_first(x)


@weight.rung(
    5,
    runs_on="cuda",
    idea="a thread a weight: few threads, each with a long sum",
    kernels=(WEIGHT_EACH,),
    cost=each_weight,
)
def weight_each(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """A weight of 32 x 16 taps is 512 threads, on a device with room for 200,000."""
    r = of_weight(x, y, stride=stride, padding=padding, kernel=kernel)
    w = empty((r.o, r.c, *kernel), x)
    WEIGHT_EACH[blocks_for(w.size), THREADS](x, y, w, stride, padding)
    return w


# A matrix of windows, and one product


def windows(x: Any, r: Relation) -> Any:
    """Return the matrix of windows (N P Q, C Kh Kw), copied out by a kernel."""
    out = empty((r.rows, r.taps), x)
    sizes = (out.size, r.c, *r.sizes)
    COLUMNS[blocks_for(out.size), THREADS](x, *strides_of(x), out, *sizes)
    return out


def columns_forward(*arrays: Any, **options: Any) -> Cost:
    """Read taps and write windows; then the product reads them back."""
    r, biased = of_forward(*arrays, **options), options.get("bias") is not None
    product = elements_moved(r.rows, r.taps, r.o, TILE)
    made = r.meetings * r.c + r.rows * r.taps
    return r.cost(product, windows=made, bias=biased * r.rows * r.o)


def shares_scattered(*arrays: Any, **options: Any) -> Cost:
    """The product writes shares; each inside is read, its pixel read and written."""
    r, biased = of_adjoint(*arrays, **options), options.get("bias") is not None
    product = elements_moved(r.rows, r.o, r.taps, TILE)
    begun = (1 + biased) * r.pixels * r.c
    return r.cost(product, begin=begun, sums=3 * r.meetings * r.c)


def shares_collected(*arrays: Any, **options: Any) -> Cost:
    """The product writes shares; each inside is read once, each pixel written once."""
    r, biased = of_adjoint(*arrays, **options), options.get("bias") is not None
    product = elements_moved(r.rows, r.o, r.taps, TILE)
    sums = r.meetings * r.c + (1 + biased) * r.pixels * r.c
    return r.cost(product, sums=sums)


def columns_weight(*arrays: Any, **options: Any) -> Cost:
    """Read taps and write windows; then the product reads them and the small map."""
    r = of_weight(*arrays, **options)
    product = elements_moved(r.o, r.rows, r.taps, TILE)
    return r.cost(product, windows=r.meetings * r.c + r.rows * r.taps)


def no_columns_forward(x: Any, w: Any, **options: Any) -> str | None:
    """Return why conv.forward cannot be a product with the matrix of windows."""
    return unfit(x, w) or too_large(of_forward(x, w, **options))


def no_columns_adjoint(y: Any, w: Any, **options: Any) -> str | None:
    """Return why conv.adjoint cannot be a product that gives shares."""
    return unfit(y, w) or rows_in_place(y) or too_large(of_adjoint(y, w, **options))


def no_columns_weight(x: Any, y: Any, **options: Any) -> str | None:
    """Return why conv.weight cannot be a product with the matrix of windows."""
    return backwards(x) or rows_in_place(y) or too_large(of_weight(x, y, **options))


@forward.rung(
    6,
    runs_on="cuda",
    idea="windows as rows of a matrix, one product: many times the bytes of x",
    kernels=(COLUMNS, REGISTERS),
    cost=columns_forward,
    unless=no_columns_forward,
)
def forward_gathered(
    x: Any, w: Any, *, stride: int, padding: int, bias: Any = None
) -> Any:
    """The arithmetic of a product, each element read once for 64 results."""
    r = of_forward(x, w, stride=stride, padding=padding, bias=bias)
    y = matmul_registers(windows(x, r), flat(w).T, bias=bias)
    return channels_first(y.reshape(r.n, *r.small, r.o))


@adjoint.rung(
    7,
    runs_on="cuda",
    idea="a product, its shares added by atomics: in any order, pixels contended for",
    kernels=(REGISTERS, BEGIN, SCATTER),
    cost=shares_scattered,
    unless=no_columns_adjoint,
)
def adjoint_scattered(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """Kept as a failure: not the same bits twice, and three accesses for a share."""
    r = of_adjoint(y, w, stride=stride, padding=padding, size=size, bias=bias)
    shares = matmul_registers(matrix_of(y), flat(w))
    x = empty((r.n, *size, r.c), y)
    bias, biased = with_or_without(bias, y)
    BEGIN[blocks_for(x.size), THREADS](bias, x, x.size, r.c, biased)
    SCATTER[blocks_for(shares.size), THREADS](shares, x, shares.size, r.c, *r.sizes)
    return channels_first(x)


@adjoint.rung(
    8,
    runs_on="cuda",
    idea="a pixel collects the shares of the windows over it: no atomics",
    kernels=(REGISTERS, COLLECT),
    cost=shares_collected,
    unless=no_columns_adjoint,
)
def adjoint_collected(
    y: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
    size: tuple[int, int],
    bias: Any = None,
) -> Any:
    """The same sums turned round: who is written to does the adding, in one order."""
    r = of_adjoint(y, w, stride=stride, padding=padding, size=size, bias=bias)
    return collected(matmul_registers(matrix_of(y), flat(w)), bias, r)


def collected(shares: Any, bias: Any, r: Relation) -> Any:
    """Return the large map that shares (N P Q, C Kh Kw) add up to."""
    x = empty((r.n, *r.size, r.c), shares)
    bias, biased = with_or_without(bias, shares)
    sizes = (x.size, r.c, *r.sizes, biased)
    COLLECT[blocks_for(x.size), THREADS](shares, bias, x, *sizes)
    return channels_first(x)


@weight.rung(
    6,
    runs_on="cuda",
    idea="one product over all windows: reuse, but a block walks along all images",
    kernels=(COLUMNS, REGISTERS),
    cost=columns_weight,
    unless=no_columns_weight,
)
def weight_gathered(
    x: Any, y: Any, *, stride: int, padding: int, kernel: tuple[int, int]
) -> Any:
    """A weight of 64 x 512 is 8 tiles: 8 blocks, on a device with room for 500."""
    r = of_weight(x, y, stride=stride, padding=padding, kernel=kernel)
    w = matmul_registers(matrix_of(y).T, windows(x, r))
    return w.reshape(r.o, r.c, *kernel)
