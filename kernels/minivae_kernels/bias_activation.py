"""The epilogue of a matrix product: add the bias and apply the activation, in place.

    z_no ← act(z_no + b_o)

A product of its own that a program has just made may be overwritten. In place and in
one pass that is one read and one write instead of two of each and a new array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivae_kernels.cpu import check_shapes, kernel
from minivae_kernels.family import Cost, Family, library
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
    check_shapes(bias=bias, one_a_column=np.empty(z.shape[1]))
    loop = _relu if _checked(activation) == "relu" else _identity
    by_rows(loop, len(z), seconds(2 * z.nbytes), z, np.ascontiguousarray(bias))


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
