"""The matrix product with its epilogue: Z = act(X Y + b).

On the CPU it is the BLAS's, and on a CUDA device cuBLAS's. The rungs between them show
what those two do: most of it is to read each element from memory as rarely as possible.
A product of N K O multiplications needs N K + K O + N O elements; the naive one reads
2 N K O.
"""

from __future__ import annotations

from typing import Any

from minivae_kernels import family
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.launch import (
    CudaC,
    Kernel,
    NumbaCuda,
    address,
    ceil_div,
    empty,
)
from minivae_kernels.threads import product

EPILOGUES = {"identity": 1, "relu": 2}  # with a bias; 0 is without


def cost(x: Any, y: Any, *, bias: Any = None, **_: Any) -> Cost:
    """Read X, Y and b once, write Z; a multiplication and an addition each."""
    (N, K), O = x.shape, y.shape[1]  # noqa: E741
    elements = N * K + K * O + N * O + (0 if bias is None else O)
    return Cost(elements * x.itemsize, 2 * N * K * O)


matmul = Family("matmul", "Z = act(X Y + b)", cost)


@matmul.reference
def matmul_numpy(
    x: Any, y: Any, *, bias: Any = None, activation: str = "identity"
) -> Any:
    """Return Z (N, O) of x (N, K), y (K, O) and perhaps bias (O,)."""
    z = x @ y
    if bias is not None:
        z = z + bias
    return library(z).maximum(z, 0) if activation == "relu" else z


@matmul.rung(1, runs_on="cpu", idea="the BLAS; bias and activation in place, one pass")
def matmul_blas(
    x: Any, y: Any, *, bias: Any = None, activation: str = "identity"
) -> Any:
    """What NumPy calls for a product is hard to better."""
    return with_epilogue(product(x, y), bias, activation)


def with_epilogue(z: Any, bias: Any, activation: str) -> Any:
    """Add the bias and apply the activation, in place: z is ours alone."""
    if bias is not None:
        family("bias_activation")(z, bias, activation=activation)
    elif activation != "identity":
        raise ValueError("an activation without a bias: give a bias of zeros")
    return z


# On a CUDA device

TILE = 16  # a side of the readable rungs' blocks
NAIVE, COALESCED, SHARED = (
    NumbaCuda("matmul_cuda", name, TILE * TILE)
    for name in ("naive", "coalesced", "shared_tile")
)
REGISTERS, VECTORS = (
    CudaC("matmul", name, 256, strided=True) for name in ("registers", "vectors")
)
MOST_ROWS_OF_BLOCKS = 65535  # what the second axis of a grid counts to


def element_by_element(x: Any, y: Any, **epilogue: Any) -> Cost:
    """A row of X and a column of Y are read for every element of Z."""
    return _reading(x, y, 1, **epilogue)


def by_tiles(side: int) -> Any:
    """Return the cost of tiles: X is read once for each tile beside another."""

    def moves(x: Any, y: Any, **epilogue: Any) -> Cost:
        return _reading(x, y, side, **epilogue)

    return moves


def _reading(x: Any, y: Any, side: int, *, bias: Any = None, **_: Any) -> Cost:
    (N, K), O = x.shape, y.shape[1]  # noqa: E741
    biases = 0 if bias is None else N * O
    beside = {"bias, once an element": biases * x.itemsize} if biases else {}
    moved = elements_moved(N, K, O, side)
    return Cost(moved * x.itemsize, 2 * N * K * O, beside)


def elements_moved(N: int, K: int, O: int, side: int) -> int:  # noqa: E741
    """Return how many elements of X, Y and Z tiles of a side read and write."""
    return N * K * ceil_div(O, side) + K * O * ceil_div(N, side) + N * O


def too_tall(x: Any, y: Any, **_: Any) -> str | None:
    """Return why the grid would have too many rows of blocks."""
    most = MOST_ROWS_OF_BLOCKS * TILE
    return f"takes at most {most} rows, got {len(x)}" if len(x) > most else None


def not_in_fours(x: Any, y: Any, **_: Any) -> str | None:
    """Return why operands cannot be loaded four elements at once."""
    if y.shape[1] % 4:
        return f"writes rows of a multiple of 4 elements, got {y.shape[1]}"
    for operand in (x, y):
        if address(operand) % 16:
            return f"moves 16 bytes at once, got an address at {address(operand) % 16}"
        steps = _steps(operand)
        if 1 not in steps:
            return "needs operands with neighbours along one axis"
        along = steps.index(1)
        if operand.shape[along] % 4 or steps[1 - along] % 4:
            return f"takes a multiple of 4 elements, got {operand.shape[along]}"
    return too_tall(x, y)


@matmul.rung(
    2,
    runs_on="cuda",
    idea="a thread an element; neighbouring threads in neighbouring rows",
    kernels=(NAIVE,),
    cost=element_by_element,
)
def matmul_naive(
    x: Any, y: Any, *, bias: Any = None, activation: str = "identity"
) -> Any:
    """Every lane of a warp reads another row: 32 transactions for 32 words."""
    blocks = ceil_div(len(x), TILE), ceil_div(y.shape[1], TILE)
    return _numba(NAIVE, blocks, x, y, bias, activation)


@matmul.rung(
    3,
    runs_on="cuda",
    idea="neighbouring threads in neighbouring columns: coalesced",
    kernels=(COALESCED,),
    cost=element_by_element,
    unless=too_tall,
)
def matmul_coalesced(
    x: Any, y: Any, *, bias: Any = None, activation: str = "identity"
) -> Any:
    """The same arithmetic and the same bytes, in other transactions."""
    return _numba(COALESCED, _tiles(x, y, TILE), x, y, bias, activation)


@matmul.rung(
    4,
    runs_on="cuda",
    idea="tiles of 16 x 16 in shared memory: a 16th of the bytes",
    kernels=(SHARED,),
    cost=by_tiles(TILE),
    unless=too_tall,
)
def matmul_shared(
    x: Any, y: Any, *, bias: Any = None, activation: str = "identity"
) -> Any:
    """A block reads what its threads share once."""
    return _numba(SHARED, _tiles(x, y, TILE), x, y, bias, activation)


@matmul.rung(
    5,
    runs_on="cuda",
    idea="4 x 4 elements a thread in registers, tiles of 64: shared memory is spared",
    kernels=(REGISTERS,),
    cost=by_tiles(64),
    unless=too_tall,
)
def matmul_registers(
    x: Any, y: Any, *, bias: Any = None, activation: str = "identity"
) -> Any:
    """8 words from shared memory for 16 multiplications, instead of 32."""
    return _cuda_c(REGISTERS, 64, x, y, bias, activation)


@matmul.rung(
    6,
    runs_on="cuda",
    idea="8 x 8 a thread, tiles of 128, everything by 128-bit loads and stores",
    kernels=(VECTORS,),
    cost=by_tiles(128),
    unless=not_in_fours,
)
def matmul_vectors(
    x: Any, y: Any, *, bias: Any = None, activation: str = "identity"
) -> Any:
    """128 registers a thread, so 16 warps of 64: reuse is worth more than occupancy."""
    return _cuda_c(VECTORS, 128, x, y, bias, activation)


@matmul.rung(7, runs_on="cuda", idea="cuBLAS, the yardstick; the epilogue is ours")
def matmul_cublas(
    x: Any, y: Any, *, bias: Any = None, activation: str = "identity"
) -> Any:
    """What CuPy calls for a product."""
    return with_epilogue(x @ y, bias, activation)


def _tiles(x: Any, y: Any, side: int) -> tuple[int, int]:
    """Return a grid of a block for each tile of Z, columns first."""
    return ceil_div(y.shape[1], side), ceil_div(len(x), side)


def _prepared(
    x: Any, y: Any, bias: Any, activation: str
) -> tuple[Any, Any, Any, Any, int]:
    """Return x, y, bias, Z and the epilogue; without a bias, one of no elements."""
    if x.shape[1] != y.shape[0] or (bias is not None and bias.shape != y.shape[1:]):
        shapes = f"x {x.shape}, y {y.shape}" + (
            "" if bias is None else f", {bias.shape}"
        )
        raise ValueError(f"matmul of {shapes}")
    if bias is None and activation != "identity":
        raise ValueError("an activation without a bias: give a bias of zeros")
    epilogue = 0 if bias is None else EPILOGUES[activation]
    z = empty((len(x), y.shape[1]), x)
    bias = empty(0, x) if bias is None else library(x).ascontiguousarray(bias)
    return _forward(x), _forward(y), bias, z, epilogue


def _forward(a: Any) -> Any:
    """Copy an array with an axis that runs backwards; kernels count upwards."""
    return library(a).ascontiguousarray(a) if min(a.strides, default=0) < 0 else a


def _steps(a: Any) -> tuple[int, int]:
    """Return how many elements lie between neighbours along each axis."""
    return a.strides[0] // a.itemsize, a.strides[1] // a.itemsize


def _numba(
    kernel: Kernel, grid: Any, x: Any, y: Any, bias: Any, activation: str
) -> Any:
    x, y, bias, z, epilogue = _prepared(x, y, bias, activation)
    kernel[grid, (TILE, TILE)](x, y, bias, z, epilogue)
    return z


def _cuda_c(
    kernel: Kernel, side: int, x: Any, y: Any, bias: Any, activation: str
) -> Any:
    x, y, bias, z, epilogue = _prepared(x, y, bias, activation)
    sizes = (len(x), y.shape[1], x.shape[1], *_steps(x), *_steps(y))
    kernel[_tiles(x, y, side), 256](x, y, bias, z, *sizes, epilogue)
    return z
