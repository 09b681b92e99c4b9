"""The column sum: the gradient of a bias, b̄_o = Σ_n z̄_no.

Rows are added in blocks of 64, the blocks' sums in groups, and the groups' in order, so
that the result is the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae_kernels.cpu import contiguous, kernel
from minivae_kernels.family import Cost, Family
from minivae_kernels.launch import CudaC, NumbaCuda, ceil_div, contiguous_on, empty
from minivae_kernels.threads import by_rows, seconds

BLOCK, GROUP = 64, 1024  # rows


def cost(g: Any) -> Cost:
    """Read the matrix once; one addition an element."""
    return Cost(bytes=g.nbytes, flops=g.size)


colsum = Family("colsum", "b̄ = Σₙ z̄ₙ", cost)


@colsum.reference
def colsum_numpy(g: Any) -> Any:
    """Return the sum over rows of g (N, O): (O,)."""
    return g.sum(axis=0)


@colsum.rung(1, runs_on="cpu", idea="the definition as two loops, down each column")
def colsum_columns(g: Any) -> Any:
    """Walk down each column: every access is a row apart."""
    (g,) = contiguous(g)
    out = np.empty(g.shape[1], g.dtype)
    _columns(g, out)
    return out


@colsum.rung(2, runs_on="cpu", idea="along the rows: neighbours in memory, vector adds")
def colsum_rows(g: Any) -> Any:
    """Add whole rows into a block's sum, and blocks' sums into their group's."""
    (g,) = contiguous(g)
    groups = -(-len(g) // GROUP)
    sums = np.zeros((groups, g.shape[1]), g.dtype)
    by_rows(_rows, groups, seconds(g.nbytes), g, sums)
    return sums.sum(axis=0)


@kernel
def _columns(g, out):  # type: ignore[no-untyped-def]
    for o in range(g.shape[1]):
        total = g.dtype.type(0)
        for n in range(len(g)):
            total += g[n, o]
        out[o] = total


@kernel
def _rows(start, stop, g, sums):  # type: ignore[no-untyped-def]
    block = np.empty(g.shape[1], g.dtype)
    for group in range(start, stop):
        last = min(len(g), (group + 1) * GROUP)
        for first in range(group * GROUP, last, BLOCK):
            block[:] = 0
            for n in range(first, min(first + BLOCK, last)):
                for o in range(g.shape[1]):
                    block[o] += g[n, o]
            for o in range(g.shape[1]):
                sums[group, o] += block[o]


# On a CUDA device

THREADS = 256
COLUMNS, PARTS = 32, 64  # columns of a block; parts of the rows, at the most
BLOCK_A_COLUMN, THREAD_A_COLUMN = (
    NumbaCuda("colsum_cuda", name, THREADS)
    for name in ("block_a_column", "thread_a_column")
)
TILES, ADD = (CudaC("colsum", name, THREADS) for name in ("tiles", "add_partials"))


def one_reading(g: Any) -> Cost:
    """Read the matrix, write the sums."""
    return Cost(g.nbytes, g.size, {"sums": g.shape[1] * g.itemsize})


def two_stages(g: Any) -> Cost:
    """Read the matrix, write partial sums, read them, write the sums."""
    sums = g.shape[1] * g.itemsize
    beside = {"sums": sums, "partials": 2 * _parts(g)[0] * sums}
    return Cost(g.nbytes, g.size, beside)


@colsum.rung(
    3,
    runs_on="cuda",
    idea="a block a column: neighbouring threads read a row apart",
    kernels=(BLOCK_A_COLUMN,),
    cost=one_reading,
)
def colsum_block_a_column(g: Any) -> Any:
    """The tree of a sum, laid along the wrong axis."""
    (g,) = contiguous_on(g)
    out = empty(g.shape[1], g)
    BLOCK_A_COLUMN[g.shape[1], THREADS](g, out)
    return out


@colsum.rung(
    4,
    runs_on="cuda",
    idea="a thread a column: coalesced, but few threads",
    kernels=(THREAD_A_COLUMN,),
    cost=one_reading,
)
def colsum_thread_a_column(g: Any) -> Any:
    """400 columns are 400 threads, on a device that has room for 200,000."""
    (g,) = contiguous_on(g)
    out = empty(g.shape[1], g)
    THREAD_A_COLUMN[ceil_div(g.shape[1], THREADS), THREADS](g, out)
    return out


@colsum.rung(
    5,
    runs_on="cuda",
    idea="two stages: parts of the rows at once, then their partial sums in order",
    kernels=(TILES, ADD),
    cost=two_stages,
)
def colsum_two_stages(g: Any) -> Any:
    """Coalesced, with work for the whole device, and the same bits each time."""
    (g,) = contiguous_on(g)
    N, O = g.shape  # noqa: E741
    parts, rows = _parts(g)
    partials, out = empty((parts, O), g), empty(O, g)
    TILES[(ceil_div(O, COLUMNS), parts), THREADS](g, partials, N, O, rows)
    ADD[ceil_div(O, THREADS), THREADS](partials, out, parts, O)
    return out


def _parts(g: Any) -> tuple[int, int]:
    """Return into how many parts the rows are cut, and the rows of each."""
    rows = max(BLOCK, ceil_div(len(g), PARTS))
    return max(1, ceil_div(len(g), rows)), rows
