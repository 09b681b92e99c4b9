"""The other optimizers, each one pass over flat arrays: SGD, Adagrad, RMSProp.

    g ← scale g + decay w
    sgd        b ← μ b + g;             w ← w − lr b    (nesterov: lr (g + μ b))
    adagrad    s ← s + g²;              w ← w − lr g / (√s + ε)
    rmsprop    v ← α v + (1 − α) g²;    w ← w − lr g / (√v + ε)

Sources: Sutskever et al. 2013, section 2; Duchi, Hazan, Singer 2011; Tieleman & Hinton
2012, lecture 6e.
"""

from __future__ import annotations

import math
from typing import Any

from minivae_kernels.cpu import check_shapes, kernel
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.launch import NumbaCuda, ceil_div, scattered
from minivae_kernels.threads import by_rows, seconds


def cost(w: Any, g: Any, state: Any, **_: Any) -> Cost:
    """Read w, g and the state, write w and the state; about 10 operations."""
    return Cost(bytes=5 * w.nbytes, flops=10 * w.size)


sgd = Family("sgd", "b ← μ b + g,  w ← w − lr b", cost)
adagrad = Family("adagrad", "s ← s + g²,  w ← w − lr g / (√s + ε)", cost)
rmsprop = Family("rmsprop", "v ← α v + (1−α) g²,  w ← w − lr g / (√v + ε)", cost)


@sgd.reference
def sgd_numpy(
    w: Any,
    g: Any,
    b: Any,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    scale: float = 1.0,
    decay: float = 0.0,
) -> None:
    """Update w and the momentum buffer b in place."""
    g = scale * g + decay * w
    b *= momentum
    b += g
    w -= lr * (g + momentum * b if nesterov else b)


@sgd.rung(1, runs_on="cpu", idea="one pass, no temporaries")
def sgd_numba(
    w: Any,
    g: Any,
    b: Any,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    scale: float = 1.0,
    decay: float = 0.0,
) -> None:
    """A loop over all parameters; Nesterov's look-ahead is a weight of 1 or 0."""
    check_shapes(w=w, g=g, b=b)
    numbers = _sgd_numbers(lr, momentum, nesterov, scale, decay)
    scalars = tuple(w.dtype.type(x) for x in numbers)
    by_rows(_sgd_loop, len(w), seconds(5 * w.nbytes), w, g, b, *scalars)


def _sgd_numbers(
    lr: float,
    momentum: float,
    nesterov: bool,
    scale: float = 1.0,
    decay: float = 0.0,
) -> tuple[float, ...]:
    ahead = (momentum, 1.0) if nesterov else (1.0, 0.0)
    return lr, momentum, scale, decay, *ahead


@kernel
def _sgd_loop(start, stop, w, g, b, lr, momentum, scale, decay, of_b, of_g):  # type: ignore[no-untyped-def]
    w, g, b = w[start:stop], g[start:stop], b[start:stop]
    for i in range(len(w)):
        gradient = scale * g[i] + decay * w[i]
        b[i] = momentum * b[i] + gradient
        w[i] -= lr * (of_b * b[i] + of_g * gradient)


@adagrad.reference
def adagrad_numpy(
    w: Any,
    g: Any,
    s: Any,
    *,
    lr: float,
    eps: float,
    scale: float = 1.0,
    decay: float = 0.0,
) -> None:
    """Update w and the sum of squares s in place."""
    g = scale * g + decay * w
    s += g * g
    w -= lr * g / (library(s).sqrt(s) + eps)


@adagrad.rung(1, runs_on="cpu", idea="one pass, no temporaries")
def adagrad_numba(
    w: Any,
    g: Any,
    s: Any,
    *,
    lr: float,
    eps: float,
    scale: float = 1.0,
    decay: float = 0.0,
) -> None:
    """A loop over all parameters: RMSProp's, with weights 1 and 1."""
    _scaled_descent(w, g, s, (lr, 1.0, 1.0, eps, scale, decay))


@rmsprop.reference
def rmsprop_numpy(
    w: Any,
    g: Any,
    v: Any,
    *,
    lr: float,
    alpha: float,
    eps: float,
    scale: float = 1.0,
    decay: float = 0.0,
) -> None:
    """Update w and the running mean of squares v in place."""
    g = scale * g + decay * w
    v *= alpha
    v += (1 - alpha) * g * g
    w -= lr * g / (library(v).sqrt(v) + eps)


@rmsprop.rung(1, runs_on="cpu", idea="one pass, no temporaries")
def rmsprop_numba(
    w: Any,
    g: Any,
    v: Any,
    *,
    lr: float,
    alpha: float,
    eps: float,
    scale: float = 1.0,
    decay: float = 0.0,
) -> None:
    """A loop over all parameters."""
    _scaled_descent(w, g, v, (lr, alpha, 1 - alpha, eps, scale, decay))


def _scaled_descent(w: Any, g: Any, squares: Any, numbers: tuple[float, ...]) -> None:
    check_shapes(w=w, g=g, squares=squares)
    scalars = tuple(w.dtype.type(x) for x in numbers)
    by_rows(_scaled_loop, len(w), seconds(5 * w.nbytes), w, g, squares, *scalars)


@kernel
def _scaled_loop(start, stop, w, g, squares, lr, keep, add, eps, scale, decay):  # type: ignore[no-untyped-def]
    w, g, squares = w[start:stop], g[start:stop], squares[start:stop]
    for i in range(len(w)):
        gradient = scale * g[i] + decay * w[i]
        squares[i] = keep * squares[i] + add * gradient * gradient
        w[i] -= lr * gradient / (math.sqrt(squares[i]) + eps)


# On a CUDA device

THREADS = 256
SGD = NumbaCuda("descent_cuda", "sgd", THREADS)
SCALED = NumbaCuda("descent_cuda", "scaled_descent", THREADS)
EACH = "a thread a parameter, one launch for the whole model"


@sgd.rung(2, runs_on="cuda", idea=EACH, kernels=(SGD,), cost=cost, unless=scattered)
def sgd_each(w: Any, g: Any, b: Any, **numbers: Any) -> None:
    """Momentum and step in one pass."""
    check_shapes(w=w, g=g, b=b)
    SGD[ceil_div(len(w), THREADS), THREADS](w, g, b, *_sgd_numbers(**numbers))


@adagrad.rung(
    2, runs_on="cuda", idea=EACH, kernels=(SCALED,), cost=cost, unless=scattered
)
def adagrad_each(
    w: Any,
    g: Any,
    s: Any,
    *,
    lr: float,
    eps: float,
    scale: float = 1.0,
    decay: float = 0.0,
) -> None:
    """RMSProp's kernel, with weights 1 and 1."""
    _scaled_each(w, g, s, (lr, 1.0, 1.0, eps, scale, decay))


@rmsprop.rung(
    2, runs_on="cuda", idea=EACH, kernels=(SCALED,), cost=cost, unless=scattered
)
def rmsprop_each(
    w: Any,
    g: Any,
    v: Any,
    *,
    lr: float,
    alpha: float,
    eps: float,
    scale: float = 1.0,
    decay: float = 0.0,
) -> None:
    """Squares and step in one pass."""
    _scaled_each(w, g, v, (lr, alpha, 1 - alpha, eps, scale, decay))


def _scaled_each(w: Any, g: Any, squares: Any, numbers: tuple[float, ...]) -> None:
    check_shapes(w=w, g=g, squares=squares)
    SCALED[ceil_div(len(w), THREADS), THREADS](w, g, squares, *numbers)
