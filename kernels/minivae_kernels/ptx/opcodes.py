"""What each arithmetic instruction computes: one table, opcode -> NumPy function.

    enter("W T T", "s32 u32", {"mul.wide": wide})

The signature gives the types of the results and of the operands: T the type at the end
of the instruction, W twice as wide, D the type named before it (of `cvt`), P a
predicate, U an unsigned 32-bit word.

float32 results are those of the hardware, bit for bit: sums and products are formed
with bits to spare and rounded once. float64 `fma` keeps 64 bits of its product, where
the machine has a long double, not all 106. Approximate instructions return the rounded
true value or, by `noise`, the edge of their documented error.

Source: NVIDIA, "Parallel Thread Execution ISA", version 9.0, section 9.7.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minivae_kernels.ptx.parse import SIZES

SIGNED, UNSIGNED, BITS = "s16 s32 s64", "u16 u32 u64", "b16 b32 b64"
NARROW, INTEGERS, FLOATS = "s16 u16 s32 u32", f"{SIGNED} {UNSIGNED}", "f32 f64"
TOWARD = {"rn": np.nan, "rz": 0.0, "rm": -np.inf, "rp": np.inf}  # rounding modes
WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
WARP = 32
DOUBLE = {"s16": "s32", "u16": "u32", "s32": "s64", "u32": "u64"}
LETTERS = {"b": "u", "u": "u", "s": "i", "f": "f"}  # of PTX's types and NumPy's
DTYPES = {t: np.dtype(f"{LETTERS[t[0]]}{size}") for t, size in SIZES.items()}
DTYPES["pred"] = np.dtype(bool)


class How(NamedTuple):
    """How to compute: the types, the modifiers, and the noise (-1, 0 or 1)."""

    type: str
    target: str  # of a conversion: the type named before the last
    flags: frozenset[str]
    rounding: str
    noise: int


OPCODES: dict[tuple[str, str], tuple[str, frozenset[str], Any]] = {}
"""The table: (opcode, type) -> signature, modifiers it may have, function."""


def enter(signature: str, types: str, rows: Mapping[str, Any], flags: str = "") -> None:
    """Enter functions of operands, after `How` if that is the name of the first."""
    for name, f in rows.items():
        inner = getattr(f, "func", f)  # of a partial
        modal = "how" in getattr(getattr(inner, "__code__", inner), "co_varnames", ())
        function = f if modal else lambda how, *operands, f=f: f(*operands)
        row = signature, frozenset(flags.split()), function
        OPCODES.update({(name, kind): row for kind in types.split()})


def look_up(parts: list[str], noise: int = 0) -> tuple[list[str], list[str], Any]:
    """Return the types of results and operands, and a function to a tuple of results.

    Raises `LookupError` unless the opcode and every modifier are known.
    """
    *front, kind = parts
    for length in (3, 2, 1):
        row = OPCODES.get((".".join(front[:length]), kind), ("", frozenset(), None))
        flags = frozenset(front[length:])
        if row[0] and flags <= row[1]:
            break
    else:
        raise LookupError
    rounding = next((r for r in TOWARD if r in flags), "rn")
    target = next((flag for flag in flags if flag in SIZES), kind)
    function = partial(finished, How(kind, target, flags, rounding, noise), row[2])
    types = {"T": kind, "W": DOUBLE.get(kind, ""), "D": target, "P": "pred", "U": "u32"}
    results, *operands = row[0].split()
    return [types[c] for c in results], [types[c] for c in operands], function


def finished(how: How, function: Any, *operands: Any) -> Any:
    """Compute, with subnormals flushed and the result clipped if asked."""
    flush = flushed if "ftz" in how.flags else lambda x: x
    result = function(how, *map(flush, operands))
    if "sat" in how.flags and how.target[0] == "f":
        result = np.fmin(np.fmax(result, 0), 1).astype(result.dtype)  # NaN -> 0
    return result if isinstance(result, tuple) else (flush(result),)


def flushed(x: Any) -> Any:
    """Return float32 values with subnormal numbers replaced by zeros of their sign."""
    tiny = np.abs(x) < 2.0**-126 if x.dtype == np.float32 else np.False_
    return np.where(tiny, x * 0, x)


# Integers


def limited(amount: Any, value: Any) -> Any:
    """Return a shift amount in the type of the value; past its width all bits go."""
    return np.minimum(amount, 8 * value.itemsize).astype(value.dtype)


def wide(a: Any, b: Any) -> Any:
    """Return all bits of a b."""
    return np.multiply(a, b, dtype=f"{a.dtype.kind}{2 * a.itemsize}")


def high(a: Any, b: Any) -> Any:
    """Return the upper half of the bits of a b, by Python's long integers."""
    product = np.asarray(a.astype(object) * b.astype(object) >> 8 * a.itemsize, object)
    return product.astype(a.dtype)


def joined(low: Any, upper: Any) -> Any:
    """Return 64 bits from two words."""
    return low.astype(np.uint64) | upper.astype(np.uint64) << np.uint64(32)


def funnel(how: How, a: Any, b: Any, amount: Any, left: bool) -> Any:
    """Shift the 64 bits b:a, by an amount modulo 32 or at most 32."""
    by = amount & 31 if "wrap" in how.flags else np.minimum(amount, 32)
    both, by = joined(a, b), by.astype(np.uint64)
    return (both << by >> np.uint64(32) if left else both >> by).astype(np.uint32)


def bfe(a: Any, at: Any, length: Any) -> Any:
    """Return `length` bits of a from bit `at` on; s32 and s64 extend their sign."""
    width = 8 * a.itemsize
    rest = limited(width - np.minimum(length & 255, width), a)
    return (a >> limited(at & 255, a)) << rest >> rest


def bfi(a: Any, b: Any, at: Any, length: Any) -> Any:
    """Return b with `length` bits of a put in from bit `at` on."""
    one, start = a.dtype.type(1), limited(at & 255, a)
    mask = ((one << limited(length & 255, a)) - one) << start
    return (b & ~mask) | ((a << start) & mask)


def clz(a: Any) -> Any:
    """Count the zeros before the first one."""
    for shift in (1, 2, 4, 8, 16, 32):
        a = a | a >> limited(shift, a)
    return (8 * a.itemsize - np.bitwise_count(a)).astype(np.uint32)


def brev(a: Any) -> Any:
    """Reverse the bits."""
    octets = np.atleast_1d(a).copy().view(np.uint8).reshape(-1, a.itemsize)
    return np.packbits(np.unpackbits(octets)[::-1]).view(a.dtype)[::-1]


def prmt(a: Any, b: Any, selector: Any) -> Any:
    """Pick four of the eight bytes of b:a; a selector past 7 picks a byte's sign."""
    result = np.uint32(0)
    for k in range(4):
        pick = (selector >> np.uint32(4 * k) & np.uint32(15)).astype(np.uint64)
        octet = joined(a, b) >> (pick & np.uint64(7)) * np.uint64(8) & np.uint64(255)
        octet = np.where(pick > 7, (octet >> np.uint64(7)) * np.uint64(255), octet)
        result = result | octet.astype(np.uint32) << np.uint32(8 * k)
    return result


LOGIC, WORDS, ANY = f"{BITS} pred", "b32 b64", f"{INTEGERS} {BITS} {FLOATS}"
enter("T T T", INTEGERS, {"add": np.add, "sub": np.subtract, "mul.lo": np.multiply})
enter("T T T", INTEGERS, {"min": np.minimum, "max": np.maximum, "rem": np.fmod})
enter("T T T", INTEGERS, {"div": lambda a, b: (a - np.fmod(a, b)) // b, "mul.hi": high})
enter("T T T T", INTEGERS, {"mad.lo": lambda a, b, c: a * b + c})
enter("T T T T", INTEGERS, {"mad.hi": lambda a, b, c: high(a, b) + c})
enter("W T T", NARROW, {"mul.wide": wide})
enter("W T T W", NARROW, {"mad.wide": lambda a, b, c: wide(a, b) + c})
enter("T T", SIGNED, {"neg": np.negative, "abs": np.abs})
enter("T T", LOGIC, {"not": np.invert})
enter("T T T", LOGIC, {"and": operator.and_, "or": operator.or_, "xor": operator.xor})
enter("T T U", BITS, {"shl": lambda a, amount: a << limited(amount, a)})
enter("T T U", f"{BITS} {INTEGERS}", {"shr": lambda a, by: a >> limited(by, a)})
SHIFTS = {"shf.l": partial(funnel, left=True), "shf.r": partial(funnel, left=False)}
enter("T T T U", "b32", SHIFTS, "wrap clamp")
enter("T T U U", "s32 u32 s64 u64", {"bfe": bfe})
enter("T T T U U", WORDS, {"bfi": bfi})
enter("T T", WORDS, {"brev": brev})
enter("U T", WORDS, {"clz": clz, "popc": lambda a: np.bitwise_count(a).astype("u4")})
enter("T T T U", "b32", {"prmt": prmt})
enter("T T T P", ANY, {"selp": lambda a, b, first: np.where(first, a, b)})
enter("T T", f"{ANY} pred", {"mov": lambda a: a})
enter("T T", "u32 u64", {"cvta": lambda a: a}, "to global shared local const param")


# Floating point


def rounded(how: How, value: Any) -> Any:
    """Round a value of more bits once, as `how` says."""
    near = value.astype(DTYPES[how.target])
    if how.rounding == "rn":
        return near
    past = {"rz": np.abs(near) > np.abs(value), "rm": near > value, "rp": near < value}
    goal = near.dtype.type(TOWARD[how.rounding])
    return np.where(past[how.rounding], np.nextafter(near, goal), near)


def fused(how: How, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c: the sum's rounding error makes its last bit odd, and so tells."""
    if how.type == "f64":
        return (np.multiply(a, b, dtype=np.longdouble) + c).astype(np.float64)
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    lost = (product - (total - (total - product))) + (c - (total - product))
    bits = total.view(np.int64)
    odd = np.where((lost > 0) == (total > 0), bits | 1, bits - 1 | 1)
    return rounded(how, np.where(np.abs(lost) > 0, odd, bits).view(np.float64))


def plus(how: How, a: Any, b: Any) -> Any:
    """Return a + b."""
    return a + b if how.rounding == "rn" else fused(how, a, a.dtype.type(1), b)


def extreme(how: How, a: Any, b: Any, least: bool) -> Any:
    """Return the lesser or greater; -0 is below +0; a NaN only if `.NaN` or both."""
    strict, loose = (np.minimum, np.fmin) if least else (np.maximum, np.fmax)
    x, y = (v.view(f"u{v.itemsize}") for v in (a, b))
    zero = (x | y if least else x & y).view(a.dtype)
    return np.where(a == b, zero, (strict if "NaN" in how.flags else loose)(a, b))


def gross(a: Any) -> Any:
    """Return 1 / a to 20 bits: without the lower word."""
    return ((1 / a).view(np.uint64) & np.uint64(0xFFFFFFFF00000000)).view(np.float64)


MODES = "rn ftz sat"
for kind, modes in (("f32", f"{MODES} rz rm rp"), ("f64", "rn")):
    enter("T T T", kind, {"add": plus}, modes)
    enter("T T T", kind, {"sub": lambda how, a, b: plus(how, a, -b)}, modes)
    enter("T T T T", kind, {"fma": fused}, modes)
enter("T T T", FLOATS, {"mul": np.multiply, "div": np.divide}, MODES)
enter("T T", FLOATS, {"rcp": np.reciprocal, "sqrt": np.sqrt}, MODES)
enter("T T", FLOATS, {"neg": np.negative, "abs": np.abs}, "ftz")
EXTREMES = {"min": partial(extreme, least=True), "max": partial(extreme, least=False)}
enter("T T T", FLOATS, EXTREMES, "ftz NaN")
enter("T T T", FLOATS, {"copysign": lambda a, b: np.copysign(b, a)})
enter("T T", "f64", {"rcp.approx": gross}, "ftz")


# Approximations: the true value, moved by noise times the documented error


def approximate(name: str, true: Any, error: Any, signature: str = "T T") -> None:
    """Enter an approximate float32 instruction; `error(|y|, x)` is its bound."""

    def compute(how: How, *x: Any) -> Any:
        y = true(*(v.astype(np.float64) for v in x))
        bound = np.where(np.isfinite(y), error(np.abs(y), x[0]), 0.0)
        return (y + how.noise * bound).astype(np.float32)

    enter(signature, "f32", {name: compute}, "ftz")


def log_error(y: Any, x: Any) -> Any:
    """Return the bound of log2: absolute around 1, relative elsewhere."""
    return 2.0**-22 * np.where((x > 0.5) & (x < 2), 1, y)


def turn_error(y: Any, x: Any) -> Any:
    """Return the bound of sine and cosine, within one turn and past it."""
    return np.where(np.abs(x) <= 2 * np.pi, 2**-20.5, 2**-14.7)


approximate("rcp.approx", np.reciprocal, lambda y, x: y * 2**-23)
approximate("sqrt.approx", np.sqrt, lambda y, x: y * 2**-23)
approximate("rsqrt.approx", lambda x: 1 / np.sqrt(x), lambda y, x: y * 2**-22.9)
approximate("ex2.approx", np.exp2, lambda y, x: y * 2**-22)
approximate("tanh.approx", np.tanh, lambda y, x: y * 2**-11)
approximate("lg2.approx", np.log2, log_error)
approximate("sin.approx", np.sin, turn_error)
approximate("cos.approx", np.cos, turn_error)
approximate("div.approx", np.divide, lambda y, x: y * 2**-22, "T T T")
approximate("div.full", np.divide, lambda y, x: y * 2**-22, "T T T")


# Comparisons and conversions


def comparison(name: str, types: str, compare: Any) -> None:
    """Enter `setp`: p | q = (a ? b) and its negation."""

    def setp(a: Any, b: Any) -> tuple[Any, Any]:
        return (p := compare(a, b)), ~p

    enter("PP T T", types, {f"setp.{name}": setp}, "ftz")


def unordered(a: Any, b: Any) -> Any:
    """Return whether a or b is a NaN, which nothing is less, equal or greater than."""
    return np.isnan(a) | np.isnan(b)


comparison("num", FLOATS, lambda a, b: ~unordered(a, b))
comparison("nan", FLOATS, unordered)
for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    f = getattr(operator, name)
    comparison(name, f"{INTEGERS} {BITS}", f)
    comparison(name, FLOATS, lambda a, b, f=f: f(a, b) & ~unordered(a, b))
    comparison(name + "u", FLOATS, lambda a, b, f=f: f(a, b) | unordered(a, b))


def convert(how: How, x: Any) -> Any:
    """Convert; too large a float gives the integer nearest to it, a NaN gives 0.

    A NaN in float64, or on its way to 64 bits, gives the highest bit alone.
    """
    dtype = DTYPES[how.target]
    for whole in how.flags & WHOLE.keys():
        x = WHOLE[whole](x)
    if dtype.kind == "f":
        return rounded(how, x.astype(np.longdouble if x.itemsize == 8 else np.float64))
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    if x.dtype.kind != "f":
        if "sat" in how.flags:
            x = np.clip(x.astype(object), least, most)
        return x.astype(dtype)
    above, below = x >= 2.0 ** most.bit_length(), x <= least
    inside = np.where(above | below | np.isnan(x), 0, x).astype(dtype)
    odd = (least or most // 2 + 1) if 8 in (x.itemsize, dtype.itemsize) else 0
    special = [dtype.type(value) for value in (odd, most, least)]
    return np.select([np.isnan(x), above, below], special, inside)


ALL_MODES = f"{' '.join((*TOWARD, *WHOLE, *SIZES))} ftz sat"
enter("D T", f"{INTEGERS} {FLOATS} u8 s8 f16", {"cvt": convert}, ALL_MODES)


# What the threads of a warp do together: functions of the team, then the operands


class Team(NamedTuple):
    """The warps of some threads, one row a thread; a member is named and there."""

    lane: Any  # the thread's place in its warp, (n,)
    member: Any  # (n, 32)
    value: Any  # of the first operand, (n, 32)


def pack(rows: Any) -> Any:
    """Return rows of 32 truth values as words."""
    return np.packbits(rows, axis=1, bitorder="little").view(np.uint32)[:, 0]


def shuffle(team: Team, own: Any, by: Any, clamp: Any, mode: str) -> Any:
    """Return the value of another lane, whether it is in range, and whether it is here.

    The low bits of `clamp` bound the lane, its bits 8 to 12 cut the warp in segments.
    """
    segment, by, lane = clamp >> 8 & 31, (by & 31).astype(np.int64), team.lane
    last = (lane & segment) | (clamp & ~segment & 31)
    first = {"up": lane - by, "down": lane + by, "bfly": lane ^ by}
    source = first.get(mode, (lane & segment) | (by & ~segment))
    valid = source >= last if mode == "up" else source <= last
    row, source = np.arange(len(source)), np.where(valid, source, lane)
    return team.value[row, source], valid, team.member[row, source]


for mode in ("up", "down", "bfly", "idx"):
    enter("TP T U U", "b32", {f"shfl.sync.{mode}": partial(shuffle, mode=mode)})
enter("P P", "pred", {"vote.sync.all": lambda t, own: (t.value | ~t.member).all(1)})
enter("P P", "pred", {"vote.sync.any": lambda t, own: (t.value & t.member).any(1)})
enter("U P", "b32", {"vote.sync.ballot": lambda t, own: pack(t.value & t.member)})
enter("U", "b32", {"activemask": lambda team: pack(team.member)})
