"""The log of a mean of exponentials, and its gradient: importance weights, averaged.

    L_n = log 1/S Σ_s exp w_ns        ∂L_n/∂w_ns = exp w_ns / Σ_t exp w_nt

With w = log p(x, z) − log q(z|x) of S draws it is the bound of importance-weighted
autoencoders, and the gradient the draws' normalised weights (Burda, Grosse,
Salakhutdinov 2016, equations 8 and 13). The largest w is taken out first, so that no
exponential overflows. A row of −∞ alone has the value −∞ and weights NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae_kernels.cpu import contiguous, kernel
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.launch import (
    CudaC,
    NumbaCuda,
    ceil_div,
    contiguous_on,
    empty,
    filling,
)
from minivae_kernels.threads import by_rows, seconds


def cost(w: Any) -> Cost:
    """Read w, write the weights; two exponentials and some ten operations each."""
    return Cost(bytes=2 * w.nbytes, flops=30 * w.size)


logmeanexp = Family("logmeanexp", "L = log 1/S Σₛ exp wₛ,  w̄ = exp wₛ / Σ exp w", cost)


@logmeanexp.reference
def logmeanexp_numpy(w: Any) -> tuple[Any, Any]:
    """Return L (N,) and the normalised weights (N, S) of w (N, S), S at least 1."""
    _check(w)
    xp = library(w)
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = w.max(axis=1, keepdims=True)
        exps = xp.exp(w - xp.where(largest == -np.inf, 0, largest))
        total = exps.sum(axis=1, keepdims=True)
        values = largest + xp.log(total / w.dtype.type(w.shape[1]))
        return values[:, 0], exps / total


@logmeanexp.rung(1, runs_on="cpu", idea="a row at a time, its weights still in cache")
def logmeanexp_numba(w: Any) -> tuple[Any, Any]:
    """Three loops over a row."""
    _check(w)
    (w,) = contiguous(w)
    values, weights = np.empty(len(w), w.dtype), np.empty_like(w)
    by_rows(_loop, len(w), seconds(2 * w.nbytes), w, values, weights)
    return values, weights


def _check(w: Any) -> None:
    if w.ndim != 2 or w.shape[1] == 0:
        raise ValueError(f"weights are (N, S) with S at least 1, not {w.shape}")


@kernel
def _loop(start, stop, w, values, weights):  # type: ignore[no-untyped-def]
    zero, S = w.dtype.type(0), w.shape[1]
    for n in range(start, stop):
        largest, total = w[n, 0], zero
        for s in range(S):
            v = w[n, s]
            largest = v if v > largest or v != v else largest
        shift = zero if largest == -math.inf else largest
        for s in range(S):
            weights[n, s] = math.exp(w[n, s] - shift)
            total += weights[n, s]
        values[n] = largest + math.log(total / w.dtype.type(S))
        for s in range(S):
            weights[n, s] /= total


# On a CUDA device

THREADS = 256
ROW = NumbaCuda("logmeanexp_cuda", "thread_a_row", THREADS)
ONLINE = CudaC("logmeanexp", "online", THREADS)


def three_readings(w: Any) -> Cost:
    """Read w for its largest, for the sum and for the weights; one value a row."""
    values = len(w) * w.itemsize
    return Cost(4 * w.nbytes, 30 * w.size, {"values": values})


def two_readings(w: Any) -> Cost:
    """Read w for both sum and largest, then for the weights; one value a row."""
    values = len(w) * w.itemsize
    return Cost(3 * w.nbytes, 40 * w.size, {"values": values})


@logmeanexp.rung(
    2, runs_on="cuda", idea="a thread a row", kernels=(ROW,), cost=three_readings
)
def logmeanexp_rows(w: Any) -> tuple[Any, Any]:
    """As on the CPU; neighbouring threads read a row apart."""
    _check(w)
    (w,) = contiguous_on(w)
    values, weights = empty(len(w), w), empty(w.shape, w)
    ROW[ceil_div(len(w), THREADS), THREADS](w, values, weights)
    return values, weights


@logmeanexp.rung(
    3,
    runs_on="cuda",
    idea="a warp a row, largest and sum in one pass: a new largest rescales the sum",
    kernels=(ONLINE,),
    cost=two_readings,
)
def logmeanexp_online(w: Any) -> tuple[Any, Any]:
    """Coalesced, and one reading less. Source: Milakov & Gimelshein 2018."""
    _check(w)
    (w,) = contiguous_on(w)
    values, weights = empty(len(w), w), empty(w.shape, w)
    blocks = filling(len(w) * 32, THREADS)
    ONLINE[blocks, THREADS](w, values, weights, *w.shape)
    return values, weights
