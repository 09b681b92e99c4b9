"""The column sum: the gradient of a bias, b̄_o = Σ_n z̄_no.

Rows are added in blocks of 64, the blocks' sums in groups, and the groups' in order, so
that the result is the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae_kernels.cpu import contiguous, kernel
from minivae_kernels.family import Cost, Family
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
