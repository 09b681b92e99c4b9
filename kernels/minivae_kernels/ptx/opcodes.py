"""What each arithmetic instruction computes: one table, opcode -> NumPy function.

    enter("W>TT", "s32 u32", {"mul.wide": wide})

The signature gives the types of the results and of the operands: T the type at the end
of the instruction, W twice as wide, D the type named before it (of `cvt`), P a
predicate, U an unsigned 32-bit word, A an address. A function may return more bits than
its type has: what comes after it, the same for all, rounds, clips or cuts them as the
modifiers say. So `cvt` is the function that does nothing. What is not arithmetic has
rows in the machine, beside its methods; they take these operands or fewer.

float32 results are those of the hardware, bit for bit: sums and products are formed
with bits to spare and rounded once. float64 `fma` keeps 64 bits of its product, where
the machine has a long double, not all 106. Approximate instructions return the rounded
true value or, by `noise`, the edge of their documented error.

Source: NVIDIA, "Parallel Thread Execution ISA", version 9.0, section 9.7.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minivae_kernels.ptx.parse import SIZES

Function = Callable[..., Any]
DTYPES = {t: np.dtype(f"{'uuif'['busf'.index(t[0])]}{n}") for t, n in SIZES.items()}
DTYPES["pred"] = np.dtype(bool)
BITS, WORDS, FLOATS = "b16 b32 b64", "b32 b64", "f32 f64"
SIGNED, INTEGERS = "s16 s32 s64", "s16 s32 s64 u16 u32 u64"
NARROW, LOGIC, ANY = "s16 u16 s32 u32", f"{BITS} pred", f"{INTEGERS} {BITS} {FLOATS}"
WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
TOWARD = {"rm": -np.inf, "rp": np.inf, "rz": 0.0}  # other modes, and where they round


class Row(NamedTuple):
    """A row of the table."""

    signature: str
    function: Function
    flags: str = ""  # the modifiers it may have
    method: bool = False  # of the machine, for what is not arithmetic
    error: Function | None = None  # the bound of an approximation, from |y| and x


OPCODES: dict[tuple[str, str], Row] = {}
"""The table: (opcode, type) -> what it computes."""


def enter(signature: str, types: str, rows: Mapping[str, Function], *more: Any) -> None:
    """Enter functions in several types; `more` is the rest of the row."""
    for name, f in rows.items():
        OPCODES.update({(name, t): Row(signature, f, *more) for t in types.split()})


def look_up(parts: list[str], noise: int) -> tuple[Row, list[str], list[str], Function]:
    """Return a row, the types of results and operands, and what computes the results.

    Raises `LookupError` unless the opcode and every modifier are known.
    """
    *words, kind = parts * 2 if len(parts) == 1 else parts
    length = next((n for n in (3, 2, 1) if (".".join(words[:n]), kind) in OPCODES), 0)
    row, flags = OPCODES[".".join(words[:length]), kind], {*words[length:]}
    if flags - {*row.flags.split()}:
        raise LookupError
    target = next((word for word in words if word in SIZES), kind)
    twice = f"{kind[0]}{16 * SIZES.get(kind, 0)}"
    types = {"T": kind, "W": twice, "D": target, "P": "pred", "U": "u32", "A": "s64"}
    results, operands = ([types[c] for c in s] for s in row.signature.split(">"))

    def compute(lanes: Any, *x: Any) -> list[Any]:
        y = row.function(*(map(flushed, x) if "ftz" in flags else x))
        if row.error:  # the true value, moved by noise times the error
            y = y + noise * np.where(np.isfinite(y), row.error(np.abs(y), x[0]), 0)
        return [finished(y, DTYPES[results[0]], words)]

    return row, results, operands, compute


def flushed(x: Any) -> Any:
    """Return values with subnormal numbers replaced by zeros of their sign."""
    return np.where(np.abs(x) < 2.0 ** (-126 if x.itemsize == 4 else -1022), x * 0, x)


def finished(x: Any, dtype: Any, how: list[str]) -> Any:
    """Return values in a type: made whole, rounded, clipped, flushed, or cut.

    Floats that become integers are clipped; a NaN gives 0, or in float64 and on its way
    to 64 bits the highest bit alone.
    """
    for mode in filter(WHOLE.__contains__, how):
        x = WHOLE[mode](x)
    if dtype.kind == "f":
        exact = x if x.dtype.kind == "f" else x.astype(np.longdouble)
        x = exact.astype(dtype, copy=False)
        for mode in filter(TOWARD.__contains__, how):
            past = np.sign(x - exact) * np.sign(x - TOWARD[mode]) > 0
            x = np.where(past, np.nextafter(x, TOWARD[mode]), x)
        x = np.fmin(np.fmax(x, 0), 1) if "sat" in how else x  # NaN -> 0
        return flushed(x) if "ftz" in how else x
    if x.dtype.kind == "f" or (x.dtype != dtype and "sat" in how):
        limits, long = np.iinfo(dtype), 8 in (x.itemsize, dtype.itemsize)
        nan = (limits.min or limits.max // 2 + 1) if long else 0
        x = np.where(np.isnan(x), nan, x.astype(np.longdouble))
        x = np.clip(x, limits.min, limits.max)
    return x.astype(dtype, copy=False)


# Integers


def limited(amount: Any, value: Any) -> Any:
    """Return a shift amount in the type of the value; past its width all bits go."""
    return np.minimum(amount, 8 * value.itemsize).astype(value.dtype)


def wide(a: Any, b: Any) -> Any:
    """Return all bits of a b."""
    return np.multiply(a, b, dtype=f"{a.dtype.kind}{2 * a.itemsize}")


def insert(a: Any, b: Any, at: Any, length: Any) -> Any:
    """Return b with `length` bits of a put in from bit `at` on."""
    one, start = a.dtype.type(1), limited(at & 255, a)
    mask = ((one << limited(length & 255, a)) - one) << start
    return (b & ~mask) | ((a << start) & mask)


enter("T>TT", INTEGERS, {"add": np.add, "sub": np.subtract, "mul.lo": np.multiply})
enter("T>TT", INTEGERS, {"min": np.minimum, "max": np.maximum, "rem": np.fmod})
enter("T>TT", INTEGERS, {"div": lambda a, b: (a - np.fmod(a, b)) // b})
enter("T>TTT", INTEGERS, {"mad.lo": lambda a, b, c: a * b + c})
enter("W>TT", NARROW, {"mul.wide": wide})
enter("T>TT", NARROW, {"mul.hi": lambda a, b: wide(a, b) >> 8 * a.itemsize})
enter("W>TTW", NARROW, {"mad.wide": lambda a, b, c: wide(a, b) + c})
enter("T>T", f"{SIGNED} {FLOATS}", {"neg": np.negative, "abs": np.abs}, "ftz")
enter("T>T", LOGIC, {"not": np.invert})
enter("T>TT", LOGIC, {"and": operator.and_, "or": operator.or_, "xor": operator.xor})
enter("T>TU", BITS, {"shl": lambda a, by: a << limited(by, a)})
enter("T>TU", f"{BITS} {INTEGERS}", {"shr": lambda a, by: a >> limited(by, a)})
enter("T>TTUU", WORDS, {"bfi": insert})
enter("U>T", WORDS, {"popc": np.bitwise_count})
enter("T>TTP", ANY, {"selp": lambda a, b, first: np.where(first, a, b)})
enter("T>T", f"{ANY} pred", {"mov": lambda a: a})
enter("T>T", "u32 u64", {"cvta": lambda a: a}, "to global shared local const param")
MODES = f"rn sat ftz {' '.join((*TOWARD, *WHOLE, *SIZES))}"
enter("D>T", f"{INTEGERS} {FLOATS} u8 s8 f16", {"cvt": lambda a: a}, MODES)


# Floating point


def fused(a: Any, b: Any, c: Any) -> Any:
    """Return a b + c with bits to spare: what the sum loses makes its last bit odd."""
    if a.itemsize == 8:
        return np.multiply(a, b, dtype=np.longdouble) + c
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    lost = (product - (total - (total - product))) + (c - (total - product))
    bits = total.view(np.int64)
    odd = np.where((lost > 0) == (total > 0), bits | 1, bits - 1 | 1)
    return np.where(np.abs(lost) > 0, odd, bits).view(np.float64)


def extreme(choose: Function, join: Function, a: Any, b: Any) -> Any:
    """Return the lesser or the greater; -0 is below +0, and a NaN loses."""
    zero = join(*(v.view(f"u{v.itemsize}") for v in (a, b))).view(a.dtype)
    return np.where(a == b, zero, choose(a, b))


def compare(ask: Function, of_nan: bool, a: Any, b: Any) -> Any:
    """Compare; nothing is less, equal or greater than a NaN: then the answer is set."""
    return np.where((a != a) | (b != b), of_nan, ask(a, b))


enter("T>TT", FLOATS, {"add": np.add, "sub": np.subtract}, "rn ftz sat")
for mode in TOWARD:
    enter("T>TT", "f32", {f"add.{mode}": lambda a, b: fused(a, a**0, b)}, "ftz sat")
enter("T>TT", FLOATS, {"mul": np.multiply, "div": np.divide}, "rn ftz sat")
enter("T>TTT", FLOATS, {"fma": fused}, "rn rz rm rp ftz sat")
enter("T>T", FLOATS, {"rcp": np.reciprocal, "sqrt": np.sqrt}, "rn ftz")
enter("T>TT", FLOATS, {"copysign": lambda a, b: np.copysign(b, a)})
enter("T>TT", FLOATS, {"min": partial(extreme, np.fmin, operator.or_)}, "ftz")
enter("T>TT", FLOATS, {"max": partial(extreme, np.fmax, operator.and_)}, "ftz")
for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    f = getattr(operator, name)
    enter("P>TT", f"{INTEGERS} {BITS}", {f"setp.{name}": f})
    enter("P>TT", FLOATS, {f"setp.{name}": partial(compare, f, False)}, "ftz")
    enter("P>TT", FLOATS, {f"setp.{name}u": partial(compare, f, True)}, "ftz")
enter("P>TT", FLOATS, {"setp.num": lambda a, b: (a == a) & (b == b)}, "ftz")
enter("P>TT", FLOATS, {"setp.nan": lambda a, b: (a != a) | (b != b)}, "ftz")


def coarse(x: Any) -> Any:
    """Return float64 values without their lower words: some 20 bits are left."""
    return (x.view(np.uint64) & np.uint64(0xFFFFFFFF00000000)).view(np.float64)


enter("T>T", "f64", {"rcp.approx": lambda a: coarse(1 / coarse(a))}, "ftz")


# Approximations and the bounds of their errors


def relative(bits: float) -> Function:
    """Return the bound of an error relative to the value."""
    return lambda y, x: y * 2.0**-bits


def one_turn(y: Any, x: Any) -> Any:
    """Return the bound of sine and cosine, within one turn and past it."""
    return np.where(np.abs(x) <= 2 * np.pi, 2**-20.5, 2**-14.7)


def approximate(signature: str, true: Mapping[str, Function], error: Function) -> None:
    """Enter functions, to be taken in float64, and how wrong they may be by |y|, x."""
    doubles = {name: partial(f, dtype=np.float64) for name, f in true.items()}
    enter(signature, "f32", doubles, "ftz", False, error)


approximate("T>T", {"rcp.approx": np.reciprocal, "sqrt.approx": np.sqrt}, relative(23))
approximate("T>T", {"rsqrt.approx": lambda x, dtype: dtype(x) ** -0.5}, relative(22.9))
approximate("T>T", {"ex2.approx": np.exp2}, relative(22))
approximate("T>T", {"tanh.approx": np.tanh}, relative(11))
approximate("T>T", {"lg2.approx": np.log2}, lambda y, x: np.fmax(y, 1) * 2**-22)
approximate("T>T", {"sin.approx": np.sin, "cos.approx": np.cos}, one_turn)
approximate("T>TT", {"div.approx": np.divide, "div.full": np.divide}, relative(22))
