"""Binary cross-entropy from logits: value per image and gradient, in one pass.

    L_n = Σ_d log(1 + exp l) − l x        ∂L_n/∂l = σ(l) − x

Both come from one t = exp(−|l|): log(1 + exp l) = max(l, 0) + log(1 + t), and σ(l) is
1 / (1 + t) or t / (1 + t). Nothing overflows, and no probability is clipped.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae_kernels.cpu import (
    check_shapes,
    contiguous,
    exp_f32,
    f32,
    kernel,
    log1p_unit_f32,
)
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.threads import by_rows, seconds


def cost(logits: Any, target: Any, scale: float = 1.0) -> Cost:
    """Read l and x, write the gradient; about 10 operations, exp, log1p, 1/x."""
    return Cost(bytes=3 * logits.nbytes, flops=40 * logits.size)


bernoulli = Family("bernoulli", "L = Σ log(1 + eˡ) − l x,  l̄ = σ(l) − x", cost)


@bernoulli.reference
def bernoulli_numpy(logits: Any, target: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """Return L (N,) and scale ∂L/∂l (N, D), by array expressions."""
    xp = library(logits, target)
    t = xp.exp(-xp.abs(logits))
    values = xp.maximum(logits, 0) - logits * target + xp.log1p(t)
    gradient = xp.where(logits >= 0, 1, t) / (1 + t) - target
    return values.sum(axis=1), scale * gradient


@bernoulli.rung(1, runs_on="cpu", idea="one pass over memory: no temporaries")
def bernoulli_numba(logits: Any, target: Any, scale: float = 1.0) -> tuple[Any, Any]:
    """A loop over pixels, with exp and log1p of libm."""
    return _run(_libm_loop, logits, target, scale)


@bernoulli.rung(2, runs_on="cpu", idea="polynomials for exp and log1p: vector units")
def bernoulli_polynomial(
    logits: Any, target: Any, scale: float = 1.0
) -> tuple[Any, Any]:
    """The same loop, in float32 with functions that LLVM can vectorize."""
    loop = _vector_loop if logits.dtype == np.float32 else _libm_loop
    return _run(loop, logits, target, scale)


def _run(loop: Any, logits: Any, target: Any, scale: float) -> tuple[Any, Any]:
    check_shapes(logits=logits, target=target)
    logits, target = contiguous(logits, target)
    values, gradient = np.empty(len(logits), logits.dtype), np.empty_like(logits)
    factor = logits.dtype.type(scale)
    work = seconds(3 * logits.nbytes)
    by_rows(loop, len(logits), work, logits, target, factor, values, gradient)
    return values, gradient


@kernel
def _libm_loop(start, stop, logits, target, scale, values, gradient):  # type: ignore[no-untyped-def]
    zero = scale - scale
    for n in range(start, stop):
        total = zero
        for d in range(logits.shape[1]):
            l, x = logits[n, d], target[n, d]  # noqa: E741
            t = math.exp(-abs(l))
            total += max(l, zero) - l * x + math.log1p(t)
            gradient[n, d] = scale * ((1 if l >= 0 else t) / (1 + t) - x)
        values[n] = total


@kernel
def _vector_loop(start, stop, logits, target, scale, values, gradient):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        total = f32(0.0)
        for d in range(logits.shape[1]):
            l, x = logits[n, d], target[n, d]  # noqa: E741
            t = exp_f32(-abs(l))
            total += max(l, f32(0.0)) - l * x + log1p_unit_f32(t)
            inverse = f32(1.0) / (f32(1.0) + t)
            gradient[n, d] = scale * ((inverse if l >= 0 else t * inverse) - x)
        values[n] = total
