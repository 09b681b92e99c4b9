"""The matrix product with its epilogue: Z = act(X Y + b)."""

from __future__ import annotations

from typing import Any

from minivae_kernels import family
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.threads import product


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
