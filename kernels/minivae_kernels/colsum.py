"""The column sum: the gradient of a bias, b̄_o = Σ_n z̄_no.

Rows are added in blocks of 64, and the blocks' sums in order, so that the result is the
same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae_kernels.cpu import contiguous, kernel
from minivae_kernels.family import Cost, Family

BLOCK = 64


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
    """Add whole rows into a block's sum, and blocks' sums into the result."""
    (g,) = contiguous(g)
    out = np.zeros(g.shape[1], g.dtype)
    _rows(g, np.empty_like(out), out)
    return out


@kernel
def _columns(g, out):  # type: ignore[no-untyped-def]
    for o in range(g.shape[1]):
        total = g.dtype.type(0)
        for n in range(len(g)):
            total += g[n, o]
        out[o] = total


@kernel
def _rows(g, block, out):  # type: ignore[no-untyped-def]
    for start in range(0, len(g), BLOCK):
        block[:] = 0
        for n in range(start, min(start + BLOCK, len(g))):
            for o in range(g.shape[1]):
                block[o] += g[n, o]
        for o in range(g.shape[1]):
            out[o] += block[o]
