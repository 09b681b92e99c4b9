"""The interpreter, opcode by opcode, against exact arithmetic on Python's numbers.

Every opcode of the table must have a case here, and is run in all its types on numbers
of every size and on the edges of the type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from minivae_kernels import ptx
from minivae_kernels.ptx.opcodes import DTYPES, OPCODES
from minivae_kernels.ptx.parse import SIZES
from numpy.typing import NDArray
from ptx_text import compute, numbers

COUNT = 64
INFINITY = float("inf")


def truncated(a: int, b: int) -> int:
    """a / b without its fraction, as C has it."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def inserted(w: int, a: int, b: int, at: int, length: int) -> int:
    at, length = at & 255, length & 255
    for k in range(at, min(w, at + length)):
        b = b & ~(1 << k) | (a >> (k - at) & 1) << k
    return b


WHOLE: dict[str, Callable[..., Any]] = {
    "add": lambda w, a, b: a + b,
    "sub": lambda w, a, b: a - b,
    "min": lambda w, a, b: min(a, b),
    "max": lambda w, a, b: max(a, b),
    "div": lambda w, a, b: truncated(a, b),
    "rem": lambda w, a, b: a - b * truncated(a, b),
    "mul.lo": lambda w, a, b: a * b,
    "mul.hi": lambda w, a, b: a * b >> w,
    "mul.wide": lambda w, a, b: a * b,
    "mad.lo": lambda w, a, b, c: a * b + c,
    "mad.wide": lambda w, a, b, c: a * b + c,
    "neg": lambda w, a: -a,
    "abs": lambda w, a: abs(a),
    "not": lambda w, a: ~a,
    "and": lambda w, a, b: a & b,
    "or": lambda w, a, b: a | b,
    "xor": lambda w, a, b: a ^ b,
    "shl": lambda w, a, by: a << min(by, w),
    "shr": lambda w, a, by: a >> min(by, w),
    "bfi": inserted,
    "popc": lambda w, a: a.bit_count(),
    "selp": lambda w, a, b, chosen: a if chosen else b,
    "mov": lambda w, a: a,
    "cvta": lambda w, a: a,
    "cvta.to.global": lambda w, a: a,
}
"""Instruction -> its value, any number of bits; `w` is the width of the type."""

COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def nearest(exact: Fraction, dtype: Any, mode: str = "rn") -> Any:
    """Round an exact value once; by trying the neighbours of a first guess."""
    if exact == 0:
        return dtype.type(0)
    guess = dtype.type(float(exact))
    largest = np.finfo(dtype).max
    guess = np.clip(guess, -largest, largest)
    with np.errstate(all="ignore"):
        around = [np.nextafter(guess, dtype.type(d)) for d in (-np.inf, np.inf)]
    tried = sorted(x for x in (*around, guess) if np.isfinite(x))
    below = max((x for x in tried if Fraction(float(x)) <= exact), default=None)
    above = min((x for x in tried if Fraction(float(x)) >= exact), default=None)
    if below is None or above is None:
        pytest.fail("the guess is too far off")
    if mode == "rm" or (mode == "rz" and exact > 0):
        return below
    if mode == "rp" or mode == "rz":
        return above
    down, up = exact - Fraction(float(below)), Fraction(float(above)) - exact
    if down == up:
        bits = below.view(f"u{dtype.itemsize}")
        return above if int(bits) & 1 else below
    return below if down < up else above


EXACT: dict[str, Callable[..., Fraction]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "rcp": lambda a: 1 / a,
    "fma": lambda a, b, c: a * b + c,
    "neg": lambda a: -a,
    "abs": abs,
}

LIBRARY: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "copysign": lambda a, b: math.copysign(b, a),
    "min": lambda a, b: b if math.isnan(a) else a if math.isnan(b) else min(a, b),
    "max": lambda a, b: b if math.isnan(a) else a if math.isnan(b) else max(a, b),
    "selp": lambda a, b, chosen: a if chosen else b,
    "mov": lambda a: a,
}

APPROXIMATE: dict[str, tuple[Callable[..., float], float, float, float]] = {
    "rcp.approx": (lambda x: 1 / x, 2**-23, 0, 1),
    "sqrt.approx": (math.sqrt, 2**-23, 0, 0),
    "rsqrt.approx": (lambda x: 1 / math.sqrt(x), 2**-22.9, 0, 0),
    "ex2.approx": (lambda x: 2.0**x, 2**-22, 0, 1),
    "tanh.approx": (math.tanh, 2**-11, 0, 1),
    "lg2.approx": (math.log2, 2**-22, 2**-22, 0),
    "sin.approx": (math.sin, 0, 2**-20.5, 1),
    "cos.approx": (math.cos, 0, 2**-20.5, 1),
    "div.approx": (lambda a, b: a / b, 2**-22, 0, 1),
    "div.full": (lambda a, b: a / b, 2**-22, 0, 1),
}
"""Instruction -> value, relative and absolute bound, whether it takes negative x."""


def test_every_opcode_has_a_case() -> None:
    compared = {f"setp.{name}" for name in ("num", "nan")}
    compared |= {f"setp.{name}{u}" for name in COMPARED for u in ("", "u")}
    covered = {*EXACT, *LIBRARY, *APPROXIMATE, *compared, "cvt"}
    covered |= {name.removesuffix(".to.global") for name in WHOLE}
    covered |= {f"add.{mode}" for mode in ("rz", "rm", "rp")}
    names = {name for (name, _), row in OPCODES.items() if not row.method}
    assert names - covered == set()
    assert covered - names <= WHOLE.keys()


def cases(table: dict[str, Any], letters: str) -> list[tuple[str, str]]:
    """Every instruction of a table in every type of a letter that it has."""
    found = []
    for instruction in table:
        name = instruction
        while name and not any(opcode == name for opcode, _ in OPCODES):
            name = name.rpartition(".")[0]
        for opcode, kind in OPCODES:
            if opcode == name and kind[0] in letters:
                found.append((instruction, kind))
    return found


def signature(instruction: str, kind: str) -> tuple[list[str], list[str]]:
    """The types of results and operands, from the table's own letters."""
    name = instruction
    while (name, kind) not in OPCODES:
        name = name.rpartition(".")[0]
    results, operands = OPCODES[name, kind].signature.split(">")
    double = f"{kind[0]}{16 * SIZES.get(kind, 0)}"
    types = {"T": kind, "W": double, "P": "pred", "U": "u32"}
    return [types[c] for c in results], [types[c] for c in operands]


def wrapped(value: int, kind: str) -> Any:
    """Cut an integer to a type."""
    dtype = DTYPES[kind]
    return np.array(int(value) % 2 ** (8 * dtype.itemsize), np.uint64).astype(dtype)[()]


def run(
    instruction: str, kind: str, operands: list[NDArray[Any]], noise: int = 0
) -> list[NDArray[Any]]:
    results, types = signature(instruction, kind)
    into = "|".join(f"%d{k}" for k in range(len(results)))
    listed = ", ".join([into, *(f"%a{k}" for k in range(len(operands)))])
    pairs = list(zip(types, operands, strict=True))
    return compute(f"{instruction}.{kind} {listed}", results, pairs, noise)


@pytest.mark.parametrize(("instruction", "kind"), cases(WHOLE, "sub"))
def test_integers_are_those_of_unbounded_arithmetic_cut_to_width(
    instruction: str, kind: str
) -> None:
    results, types = signature(instruction, kind)
    operands = [numbers(t, COUNT, seed) for seed, t in enumerate(types)]
    if instruction in ("shl", "shr", "bfi"):
        for k, t in enumerate(types):
            if t == "u32" and k:  # amounts and places: mostly small ones
                operands[k] = operands[k] % np.uint32(70)
    if instruction in ("div", "rem"):
        least = operands[0] == np.iinfo(DTYPES[kind]).min
        operands[1][(operands[1] == 0) | (operands[1] == -1) & least] = 1
    (found,) = run(instruction, kind, operands)
    width = 8 * SIZES[kind]
    for lane, given in enumerate(zip(*(o.tolist() for o in operands), strict=True)):
        expected = wrapped(WHOLE[instruction](width, *given), results[0])
        assert found[lane] == expected, (given, found[lane], expected)


@pytest.mark.parametrize("name", ["not", "and", "or", "xor", "mov"])
def test_predicates_are_truth_values(name: str) -> None:
    _, types = signature(name, "pred")
    operands = [numbers("pred", COUNT, seed) for seed in range(len(types))]
    (found,) = run(name, "pred", operands)
    for lane, given in enumerate(zip(*(o.tolist() for o in operands), strict=True)):
        assert found[lane] == WHOLE[name](1, *map(int, given)) & 1


def roundings(name: str, kind: str) -> list[str]:
    if name in ("neg", "abs"):
        return [""]
    flags = OPCODES[name, kind].flags.split()
    modes = ("rn", "rz", "rm", "rp")
    return [m for m in modes if m in flags or (f"{name}.{m}", kind) in OPCODES]


@pytest.mark.parametrize(
    ("name", "kind", "mode"),
    [(n, k, mode) for n, k in cases(EXACT, "f") for mode in roundings(n, k)],
)
def test_floats_are_exact_results_rounded_once(name: str, kind: str, mode: str) -> None:
    _, types = signature(name, kind)
    operands = [numbers(t, COUNT, seed) for seed, t in enumerate(types)]
    if name == "fma":  # and sums that nearly cancel, or lie near a tie
        half = DTYPES[kind].type(2.0 ** -(24 if kind == "f32" else 53))
        operands[0][:9], operands[1][:9], operands[2][:9] = 1 + 2 * half, half, 1
        operands[0][9:20] = -operands[2][9:20]
        operands[1][9:20] = 1 + 2 * half
    (found,) = run(f"{name}.{mode}".rstrip("."), kind, operands)
    compared, spare = 0, Fraction(0 if (name, kind) != ("fma", "f64") else 2.0**-63)
    for lane, given in enumerate(zip(*(o.tolist() for o in operands), strict=True)):
        if not all(map(math.isfinite, given)):
            continue
        try:
            exact = EXACT[name](*map(Fraction, given))
        except ZeroDivisionError:
            assert abs(found[lane]) == INFINITY or given == (0.0, 0.0)
            continue
        if abs(exact) > np.finfo(DTYPES[kind]).max:
            continue
        expected, compared = nearest(exact, DTYPES[kind], mode or "rn"), compared + 1
        error = abs(Fraction(float(found[lane])) - Fraction(float(expected)))
        terms = abs(Fraction(given[0]) * Fraction(given[1 - len(given)])) + abs(
            Fraction(given[-1])
        )
        assert error <= spare * (terms + 2**11 * abs(exact)), (given, found[lane])
    assert compared > COUNT // 2


@pytest.mark.parametrize(("name", "kind"), cases(LIBRARY, "f"))
def test_floats_keep_their_specials(name: str, kind: str) -> None:
    _, types = signature(name, kind)
    operands = [numbers(t, COUNT, seed) for seed, t in enumerate(types)]
    if name == "sqrt":
        operands[0] = np.abs(operands[0])
    (found,) = run({"sqrt": "sqrt.rn"}.get(name, name), kind, operands)
    for lane, given in enumerate(zip(*(o.tolist() for o in operands), strict=True)):
        expected = DTYPES[kind].type(LIBRARY[name](*given))
        if given in ((0.0, 0.0), (-0.0, 0.0)) and name in ("min", "max"):
            continue  # of its own test: the two zeros
        np.testing.assert_array_equal(found[lane], expected, err_msg=str(given))


def test_minimum_and_maximum_order_the_zeros_and_avoid_nan() -> None:
    zeros = [np.array(v, np.float32) for v in ([0.0, -0.0], [-0.0, 0.0])]
    assert np.signbit(run("min", "f32", zeros)[0]).all()
    assert not np.signbit(run("max", "f32", zeros)[0]).any()
    one, nan = np.ones(3, np.float32), np.full(3, np.nan, np.float32)
    assert (run("min", "f32", [one, nan])[0] == 1).all()


def test_ftz_flushes_subnormal_operands_and_results() -> None:
    tiny, small = np.float32(1e-40), np.float32(1e-30)
    given = [np.array([tiny, small, -tiny], np.float32), np.array([1, 1e-10, 1], "f4")]
    assert (run("mul.rn", "f32", given)[0] != 0).all()
    (found,) = run("mul.ftz", "f32", given)
    assert (found == 0).all()
    assert np.signbit(found).tolist() == [False, False, True]


def test_sat_clips_and_turns_nan_into_zero() -> None:
    given = np.array([-1, 0.25, 3, np.nan], np.float32)
    (found,) = run("add.sat", "f32", [given, np.zeros(4, np.float32)])
    assert found.tolist() == [0, 0.25, 1, 0]


@pytest.mark.parametrize("noise", [-1, 0, 1])
@pytest.mark.parametrize("name", APPROXIMATE)
def test_approximations_lie_at_the_edge_of_their_error(name: str, noise: int) -> None:
    true, relative, absolute, negative = APPROXIMATE[name]
    _, types = signature(name, "f32")
    random = np.random.default_rng(0)
    operands = [random.uniform(0.6, 1.9, COUNT).astype("f4") for _ in types]
    if negative:
        operands = [
            x * np.where(random.random(COUNT) < 0.5, -1, 1).astype("f4")
            for x in operands
        ]
    (found,) = run(name, "f32", operands, noise)
    for lane, given in enumerate(zip(*(o.tolist() for o in operands), strict=True)):
        value = true(*given)
        bound = absolute or abs(value) * relative
        rounding = float(np.spacing(np.float32(abs(value) + bound))) / 2
        error = float(found[lane]) - value
        assert abs(error - noise * bound) <= rounding * 1.01


def test_a_gross_reciprocal_is_of_the_upper_words() -> None:
    given = numbers("f64", COUNT, 0)
    given = given[(np.abs(given) > 1e-9) & (np.abs(given) < 1e9)]
    given *= 2.0 ** np.random.default_rng(0).integers(-900, 900, len(given))
    low = given.view(np.uint64) | np.uint64(0xFFFFFFFF)
    (found,), (same,) = (
        run("rcp.approx.ftz", "f64", [x]) for x in (given, low.view(np.float64))
    )
    assert (found == same).all()
    assert not (found.view(np.uint64) & np.uint64(0xFFFFFFFF)).any()
    assert (np.abs(found * given - 1) <= 2.0**-19).all()
    (edges,) = run("rcp.approx.ftz", "f64", [np.array([-1e-309, 1.7e308, 0.0, -4.0])])
    assert edges.tolist() == [-INFINITY, 0.0, INFINITY, -0.25]


COMPARISONS = [(name, "u", kind) for name in COMPARED for kind in ("f32", "f64")]
COMPARISONS += [
    (name, "", kind)
    for name in COMPARED
    for kind in ("f32", "f64", "s32", "u32", "s64", *["b32"] * (name in ("eq", "ne")))
]


@pytest.mark.parametrize(("name", "unordered", "kind"), COMPARISONS)
def test_comparisons_say_what_a_nan_is(name: str, unordered: str, kind: str) -> None:
    a, b = numbers(kind, COUNT), numbers(kind, COUNT, 1)
    b[::3] = a[::3]
    (p,) = run(f"setp.{name}{unordered}", kind, [a, b])
    for lane, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        nan = x != x or y != y
        expected = bool(unordered) if nan else COMPARED[name](x, y)
        assert p[lane] == expected, (x, y)


@pytest.mark.parametrize("name", ["num", "nan"])
def test_setp_tells_numbers_from_nans(name: str) -> None:
    a, b = np.array([[1, np.nan, 1, np.nan], [1, 1, np.nan, np.nan]], np.float32)
    (p,) = run(f"setp.{name}", "f32", [a, b])
    assert p.tolist() == [name == "num", *[name == "nan"] * 3]


# Conversions


def converted(value: float, source: str, target: str, mode: str) -> Any:
    """What `cvt` gives, by exact arithmetic."""
    dtype = DTYPES[target]
    wide = (
        "64" in source[1:] + target[1:] if source != "f32" or "64" in target else False
    )
    if dtype.kind == "f":
        if isinstance(value, float) and not math.isfinite(value):
            return dtype.type(value)
        if abs(Fraction(value)) > np.finfo(dtype).max:
            return None
        return nearest(Fraction(value), dtype, mode or "rn")
    if isinstance(value, float) and math.isnan(value):
        bits = 1 << (8 * dtype.itemsize - 1)
        return wrapped(bits if wide else 0, target)
    limits = np.iinfo(dtype)
    if isinstance(value, float):
        if math.isinf(value):
            return dtype.type(limits.max if value > 0 else limits.min)
        whole = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}
        return dtype.type(min(max(whole[mode](value), limits.min), limits.max))
    if mode == "sat":
        return dtype.type(min(max(value, limits.min), limits.max))
    return wrapped(value, target)


def conversions() -> Iterator[tuple[str, str, str]]:
    whole = ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"]
    for source in whole:
        yield from (("", target, source) for target in whole)
        yield from (("sat", target, source) for target in whole)
        for mode in ("rn", "rz", "rm", "rp"):
            yield from ((mode, target, source) for target in ("f32", "f64"))
    for source in ("f32", "f64"):
        for mode in ("rni", "rzi", "rmi", "rpi"):
            yield from ((mode, target, source) for target in whole[2:])
    yield from ((mode, "f32", "f64") for mode in ("rn", "rz", "rm", "rp"))
    yield from (("", "f64", "f32"), ("rn", "f16", "f32"), ("", "f32", "f16"))


@pytest.mark.parametrize(
    "source",
    ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f16", "f32", "f64"],
)
def test_conversions_round_once_and_clip(source: str) -> None:
    for mode, target, kind in conversions():
        if kind != source:
            continue
        values = numbers(source, COUNT)
        name = ".".join(part for part in ("cvt", mode, target, source) if part)
        (found,) = compute(f"{name} %d0, %a0", [target], [(source, values)])
        for lane, value in enumerate(values.tolist()):
            expected = converted(value, source, target, mode)
            if expected is not None:
                np.testing.assert_array_equal(
                    found[lane], expected, err_msg=f"{name} {value}"
                )


@pytest.mark.parametrize("mode", ["rni", "rzi", "rmi", "rpi"])
def test_floats_are_made_whole(mode: str) -> None:
    values = np.array([2.5, -2.5, 1.2, -1.7, 3.5, 1e30, -0.25], np.float32)
    (found,) = compute(f"cvt.{mode}.f32.f32 %d0, %a0", ["f32"], [("f32", values)])
    whole = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[mode]
    np.testing.assert_array_equal(found, whole(values))


# What is not known


@pytest.mark.parametrize(
    "instruction",
    [
        "frobnicate.s32 %r0, %t",
        "add.f16x2 %r0, %t, %t",
        "add.wrong.s32 %r0, %t, %t",
        "add.s32 %r0, %t",
        "setp.ltu.s32 %q0, %t, %t",
        "bar.sync 0, 64",
    ],
)
def test_an_unknown_instruction_is_named(instruction: str) -> None:
    with pytest.raises(ptx.UnknownInstructionError, match=instruction.split()[0]):
        compute(instruction, ["u32"], [("u32", np.zeros(1, np.uint32))])
