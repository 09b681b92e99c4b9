"""Adam and AdamW: every parameter of a model in one pass over five flat arrays.

    g ← scale g + decay w
    m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
    w ← (1 − shrink) w − rate m / (√v / root + ε)

with rate = lr / (1 − β₁ᵗ) and root = √(1 − β₂ᵗ). `scale` clips the gradient, `decay`
is Adam's coupled weight decay, `shrink` = lr times AdamW's.
Sources: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
"""

from __future__ import annotations

import math
from typing import Any

from minivae_kernels.cpu import check_shapes, kernel
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.launch import (
    CudaC,
    Kernel,
    NumbaCuda,
    ceil_div,
    filling,
    scattered,
    unaligned,
)
from minivae_kernels.threads import by_rows, seconds


def cost(w: Any, g: Any, m: Any, v: Any, **_: Any) -> Cost:
    """Read w, g, m, v, write w, m, v; about 14 operations, a root, a division."""
    return Cost(bytes=7 * w.nbytes, flops=20 * w.size)


adam = Family(
    "adam", "m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²,  w ← w − lr m̂/(√v̂ + ε)", cost
)


@adam.reference
def adam_numpy(
    w: Any,
    g: Any,
    m: Any,
    v: Any,
    *,
    rate: float,
    beta1: float,
    beta2: float,
    root: float,
    eps: float,
    scale: float = 1.0,
    decay: float = 0.0,
    shrink: float = 0.0,
) -> None:
    """Update w, m and v in place, by array expressions."""
    g = scale * g + decay * w
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    w *= 1 - shrink
    w -= rate * m / (library(v).sqrt(v) / root + eps)


@adam.rung(1, runs_on="cpu", idea="one pass: 28 bytes a parameter, no temporaries")
def adam_numba(w: Any, g: Any, m: Any, v: Any, **numbers: float) -> None:
    """A loop over all parameters of the model."""
    check_shapes(w=w, g=g, m=m, v=v)
    scalars = tuple(w.dtype.type(x) for x in _loop_numbers(**numbers))
    by_rows(_loop, len(w), seconds(7 * w.nbytes), w, g, m, v, *scalars)


def _loop_numbers(
    rate: float,
    beta1: float,
    beta2: float,
    root: float,
    eps: float,
    scale: float = 1.0,
    decay: float = 0.0,
    shrink: float = 0.0,
) -> tuple[float, ...]:
    """Return the loop's numbers: all differences from 1 are taken in float64."""
    kept, inverse = 1 - shrink, 1 / root
    return rate, beta1, 1 - beta1, beta2, 1 - beta2, inverse, eps, scale, decay, kept


@kernel
def _loop(start, stop, w, g, m, v, rate, b1, r1, b2, r2, inverse, eps, scale, decay, q):  # type: ignore[no-untyped-def]
    w, g, m, v = w[start:stop], g[start:stop], m[start:stop], v[start:stop]
    for i in range(len(w)):  # from 0: an index that may be negative is not vectorized
        gradient = scale * g[i] + decay * w[i]
        m[i] = b1 * m[i] + r1 * gradient
        v[i] = b2 * v[i] + r2 * gradient * gradient
        w[i] = q * w[i] - rate * m[i] / (math.sqrt(v[i]) * inverse + eps)


# On a CUDA device: one launch for all tensors of a model, since they lie in one buffer

THREADS = 256
EACH = NumbaCuda("adam_cuda", "adam", THREADS)
GRID_STRIDE = CudaC("adam", "grid_stride", THREADS)
VECTORS = CudaC("adam", "vectors", THREADS)


def unaligned_flat(*arrays: Any, **_: Any) -> str | None:
    """Return why four parameters at once cannot be taken; any number of them can."""
    return scattered(*arrays) or unaligned(*arrays, rows=False)


@adam.rung(
    2,
    runs_on="cuda",
    idea="a thread a parameter, one launch",
    kernels=(EACH,),
    cost=cost,
    unless=scattered,
)
def adam_each(w: Any, g: Any, m: Any, v: Any, **numbers: float) -> None:
    """As many threads as parameters."""
    check_shapes(w=w, g=g, m=m, v=v)
    EACH[ceil_div(len(w), THREADS), THREADS](w, g, m, v, *_loop_numbers(**numbers))


@adam.rung(
    3,
    runs_on="cuda",
    idea="a grid that fills the device and walks: constants are loaded once",
    kernels=(GRID_STRIDE,),
    cost=cost,
    unless=scattered,
)
def adam_grid_stride(w: Any, g: Any, m: Any, v: Any, **numbers: float) -> None:
    """The scalar rung: any alignment."""
    blocks = filling(len(w), THREADS)
    _walk(GRID_STRIDE, blocks, w, g, m, v, numbers)


@adam.rung(
    4,
    runs_on="cuda",
    idea="four parameters at once: 128-bit loads and stores",
    kernels=(VECTORS,),
    cost=cost,
    unless=unaligned_flat,
)
def adam_vectors(w: Any, g: Any, m: Any, v: Any, **numbers: float) -> None:
    """Seven instructions move the 112 bytes of four parameters."""
    blocks = filling(ceil_div(len(w), 4), THREADS)
    _walk(VECTORS, blocks, w, g, m, v, numbers)


def _walk(
    kernel: Kernel, blocks: int, w: Any, g: Any, m: Any, v: Any, numbers: Any
) -> None:
    check_shapes(w=w, g=g, m=m, v=v)
    kernel[blocks, THREADS](w, g, m, v, len(w), *_loop_numbers(**numbers))
