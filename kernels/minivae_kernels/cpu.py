"""Compiled loops on the CPU, and the functions of numbers that they share.

`kernel` is Numba's njit with the settings that let LLVM vectorize: sums
may be reassociated, and a division by zero gives infinity, not an exception (an
exception is an exit from the loop, and loops with exits do not vectorize). NaN and
infinity keep their meaning. Compiled code is cached beside the source, or in the user's
cache folder if that is read-only, or not at all. Numba renews it when the kernel's own
file changes, not when this one does: after a change here, `make clean`.
A kernel computes rows `start` to `stop`, without the interpreter's lock, so that
`threads.by_rows` can give parts of them to several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

f32 = np.float32
FASTMATH = {"nsz", "arcp", "contract"}
LOG2_E = f32(1.4426950408889634)
LN2_HIGH, LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)  # sum to ln 2; high is short


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a loop for the arrays that it is called with, and keep it on disk."""
    return _compiled(function, nogil=True, fastmath={*FASTMATH, "reassoc"})


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers into each loop that uses it.

    Its own sums keep their order: 2**n e**r is exact because n ln 2 is taken in two
    parts, one after the other.
    """
    return _compiled(function, forceinline=True, fastmath=FASTMATH)


def emitted(function: Callable[..., Any]) -> Any:
    """Make a function that writes LLVM code callable from compiled loops."""
    made: Any = intrinsic(prefer_literal=True)
    return made(function)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    settings = {"error_model": "numpy", **options}
    try:
        return numba.njit(function, cache=True, **settings)
    except RuntimeError:  # "no locator available": no folder can be written
        return numba.njit(function, **settings)


def contiguous(*arrays: Any) -> tuple[Any, ...]:
    """Return the arrays, those copied that are not in C order."""
    return tuple(np.ascontiguousarray(a) for a in arrays)


def check_shapes(**arrays: Any) -> None:
    """Raise `ValueError` unless all arrays have one shape: loops do not look again."""
    if len({a.shape for a in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ValueError(f"these must have one shape: {shapes}")


# Functions that libm has too, but not in a form that LLVM vectorizes


@inlined
def power_of_two(n):  # type: ignore[no-untyped-def]
    """2**n for whole n in [-126, 127], by writing the exponent's bits."""
    return np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def exp_m1_minus(r):  # type: ignore[no-untyped-def]
    """e**r − 1 − r for |r| <= ln 2 / 2. Polynomial: Cephes, expf.c (Moshier 1992)."""
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    return p * r * r


@inlined
def exp_f32(x):  # type: ignore[no-untyped-def]
    """exp x in float32: relative error below 2e-7 for x in [-87, 88], clamped outside.

    e**x = 2**n e**r with n the nearest whole number to x / ln 2. NaN stays NaN.
    """
    x = f32(-87.0) if x < f32(-87.0) else x
    x = f32(88.0) if x > f32(88.0) else x
    n = np.floor(x * LOG2_E + f32(0.5))
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    return (exp_m1_minus(r) + r + f32(1.0)) * power_of_two(n)


@inlined
def expm1_f32(x):  # type: ignore[no-untyped-def]
    """e**x − 1 in float32: relative error below 4e-7, near 0 too.

    With e**x = s (1 + m), s = 2**n: s m + (s − 1). Near 0, n = 0 and nothing cancels.
    """
    x = f32(-87.0) if x < f32(-87.0) else x
    x = f32(88.0) if x > f32(88.0) else x
    n = np.floor(x * LOG2_E + f32(0.5))
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    s = power_of_two(n)
    return s * (exp_m1_minus(r) + r) + (s - f32(1.0))


@inlined
def log1p_unit_f32(t):  # type: ignore[no-untyped-def]
    """log(1 + t) in float32 for t in [0, 1]: relative error below 2e-7.

    t times a polynomial: log(1 + t) / t, interpolated at the 2000 Chebyshev nodes of
    [0, 1] in the sense of least squares. No division, which would take as long as
    fifteen of these steps.
    """
    p = f32(5.2534579e-3)
    p = p * t + f32(-2.9588507e-2)
    p = p * t + f32(7.8361668e-2)
    p = p * t + f32(-1.3674770e-1)
    p = p * t + f32(1.9111431e-1)
    p = p * t + f32(-2.4844369e-1)
    p = p * t + f32(3.3319271e-1)
    p = p * t + f32(-4.9999502e-1)
    return t * (p * t + f32(1.0))
