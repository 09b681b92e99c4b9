"""The epilogue of a matrix product: add the bias and apply the activation, in place.

    z_no ← act(z_no + b_o)

A product of its own that a program has just made may be overwritten. In place and in
one pass that is one read and one write instead of two of each and a new array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae_kernels.cpu import kernel
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.launch import (
    CudaC,
    NumbaCuda,
    ceil_div,
    contiguous_on,
    scattered,
    unaligned,
)
from minivae_kernels.threads import by_rows, seconds

ACTIVATIONS = ("identity", "relu")


def cost(z: Any, bias: Any, **_: Any) -> Cost:
    """Read and write z; two operations an element."""
    return Cost(bytes=2 * z.nbytes, flops=2 * z.size)


bias_activation = Family("bias_activation", "z ← act(z + b)", cost)


@bias_activation.reference
def bias_activation_numpy(z: Any, bias: Any, *, activation: str = "identity") -> None:
    """Change z (N, O) in place, by array expressions; bias (O,)."""
    z += bias
    if _checked(activation) == "relu":
        library(z).maximum(z, 0, out=z)


@bias_activation.rung(1, runs_on="cpu", idea="one pass: each element touched once")
def bias_activation_numba(z: Any, bias: Any, *, activation: str = "identity") -> None:
    """A loop over rows; the activation is chosen outside of it."""
    _check_bias(z, bias)
    loop = _relu if _checked(activation) == "relu" else _identity
    by_rows(loop, len(z), seconds(2 * z.nbytes), z, np.ascontiguousarray(bias))


def _check_bias(z: Any, bias: Any) -> None:
    if bias.shape != z.shape[1:]:
        raise ValueError(f"a bias of shape {bias.shape} for z {z.shape}")


def _checked(activation: str) -> str:
    if activation not in ACTIVATIONS:
        raise ValueError(f"no epilogue {activation!r}; have {', '.join(ACTIVATIONS)}")
    return activation


@kernel
def _identity(start, stop, z, bias):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        for o in range(z.shape[1]):
            z[n, o] += bias[o]


@kernel
def _relu(start, stop, z, bias):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        for o in range(z.shape[1]):
            total = z[n, o] + bias[o]
            z[n, o] = total if total > 0 or total != total else total - total


# On a CUDA device

THREADS, ROWS = 256, 8
EACH = NumbaCuda("bias_activation_cuda", "bias_activation", THREADS)
VECTORS = CudaC("bias_activation", "vectors", THREADS)


def bias_each(z: Any, bias: Any, **_: Any) -> Cost:
    """Read and write z, and read a bias for every element."""
    return Cost(2 * z.nbytes, 2 * z.size, {"bias, once an element": z.nbytes})


def bias_by_rows(z: Any, bias: Any, **_: Any) -> Cost:
    """Read and write z, and read the biases for every eight rows."""
    biases = ceil_div(len(z), ROWS) * bias.nbytes
    return Cost(2 * z.nbytes, 2 * z.size, {"bias, once in 8 rows": biases})


@bias_activation.rung(
    2,
    runs_on="cuda",
    idea="a thread an element",
    kernels=(EACH,),
    cost=bias_each,
    unless=lambda z, bias, **_: scattered(z),
)
def bias_activation_each(z: Any, bias: Any, *, activation: str = "identity") -> None:
    """One pass, in place."""
    relu = _checked(activation) == "relu"
    _check_bias(z, bias)
    EACH[ceil_div(z.size, THREADS), THREADS](z, *contiguous_on(bias), relu)


@bias_activation.rung(
    3,
    runs_on="cuda",
    idea="four elements at once, in eight rows: a bias is read once and used 8 times",
    kernels=(VECTORS,),
    cost=bias_by_rows,
    unless=lambda z, bias, **_: scattered(z) or unaligned(z, bias),
)
def bias_activation_vectors(z: Any, bias: Any, *, activation: str = "identity") -> None:
    """128-bit loads and stores."""
    relu = _checked(activation) == "relu"
    _check_bias(z, bias)
    N, quads = len(z), z.shape[1] // 4
    grid = ceil_div(N, ROWS), ceil_div(quads, THREADS)
    VECTORS[grid, THREADS](z, *contiguous_on(bias), N, quads, relu)
