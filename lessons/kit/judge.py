"""How an answer is judged: by its numbers, never by its text.

A check calls the answer on many inputs and holds what comes back against something
exact: a difference quotient, an identity, a bound. Where the numbers are wrong, it
looks whether they are wrong in a way that is well known: a `Mistake` is recognised by
what it computes, so that it is named however it is written.
"""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minivae.random import Noise, Stream

Array = Any
TOLERANCE = 1e-4  # relative; an answer computed in float32 is right too
SHOWN = 6  # numbers of an array in a message


class Refusal(Exception):  # noqa: N818  it is no error of ours: it is an answer
    """What the learner is told: one thing that is not so, and what to look at."""


class Mistake(NamedTuple):
    """A usual mistake: what to say, and what an answer that makes it computes."""

    says: str
    like: Callable[..., Any]  # takes the same arguments as the answer


class Judge:
    """Asks one answer, and says what is wrong with what it returns."""

    judges: tuple[str, ...] = ()  # what has judged, where that is worth saying

    def __init__(self, answer: Callable[..., Any], file: str = "") -> None:
        self.answer, self.file = answer, file
        self.cases = 0
        self.noise = Noise(seed=8, stream=Stream.CHECK)

    def normal(self, *shape: int) -> Array:
        """Draw standard normals, in float64; other draws at each call."""
        return self.noise.normal(shape, np.float64)

    def uniform(self, *shape: int) -> Array:
        """Draw uniforms in (0, 1), in float64; other draws at each call."""
        return self.noise.uniform(shape, np.float64)

    def ask(self, *arguments: Any) -> Any:
        """Call the answer; its arguments must come out as they went in."""
        given = copy.deepcopy(arguments)
        self.cases += 1
        try:
            got = self.answer(*given)
        except NotImplementedError:
            raise
        except Exception as error:
            raise Refusal(f"it {stumbled(error, self.file)}") from error
        names = arguments_of(self.answer, len(given))
        for name, before, after in zip(names, arguments, given, strict=True):
            if not same(before, after):
                raise Refusal(
                    f"it changes its argument {name}: the caller still needs that. "
                    "Work on a copy, or make a new array."
                )
        return got

    def match(
        self,
        cases: Sequence[tuple[Any, ...]],
        exact: Callable[..., Any],
        mistakes: Sequence[Mistake] = (),
        *,
        returns: Sequence[str] = (),
        tolerance: float = TOLERANCE,
    ) -> None:
        """The answer must equal `exact`, or tuples of arrays each other, in all cases.

        If not, the first of `mistakes` that computes what the answer computed, in all
        cases, is named. `returns` says what the values of a tuple are called.
        """
        wanted = [exact(*case) for case in cases]
        got = [_like(self.ask(*case), w) for case, w in zip(cases, wanted, strict=True)]
        if all(close(g, w, tolerance) for g, w in zip(got, wanted, strict=True)):
            return
        found = ratio(got, wanted)
        seen = "" if found is None else f"your value / expected = {found:.4g} each time"
        for mistake in mistakes:
            if explains(mistake, cases, got, tolerance):
                raise Refusal(f"{seen}\n{mistake.says}" if seen else mistake.says)
        k, told = _first_difference(got, wanted, tolerance, returns)
        raise Refusal(seen or told + self._inputs(cases[k]))

    def _inputs(self, case: Sequence[Any]) -> str:
        """The arguments of a case, if they are few enough to be read."""
        arrays = [
            np.asarray(x) for x in case if isinstance(x, (np.ndarray, float, int))
        ]
        if len(arrays) < len(case) or sum(x.size for x in arrays) > SHOWN:
            return ""
        texts = (np.array2string(x, precision=4, separator=", ") for x in arrays)
        named = zip(arguments_of(self.answer, len(case)), texts, strict=True)
        return "\nwith " + ", ".join(f"{n} = {' '.join(t.split())}" for n, t in named)


def arguments_of(answer: Callable[..., Any], count: int) -> list[str]:
    """What a function calls its first arguments; their numbers if it does not say."""
    names: list[str] = []
    try:
        parameters = inspect.signature(answer).parameters.values()
    except (TypeError, ValueError):  # it is not written in Python
        parameters = {}.values()
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{k}]" for k in range(count)]
        else:
            names.append(parameter.name)
    return (names + [str(k + 1) for k in range(len(names), count)])[:count]


def stumbled(error: Exception, file: str) -> str:
    """Say which error it was, and where in the learner's file it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"line {f.lineno}: {f.line}" for f in frames if f.filename == file]
    at = f", at {own[-1]}" if own else ""
    says = " ".join(str(error).split())
    return f"stops with {type(error).__name__}{': ' * bool(says)}{says}{at}"


def explains(
    mistake: Mistake, cases: Sequence[tuple[Any, ...]], got: Sequence[Any], tol: float
) -> bool:
    """Whether the answers are those of a mistake in every case."""
    with np.errstate(all="ignore"):
        for case, g in zip(cases, got, strict=True):
            try:
                made = mistake.like(*copy.deepcopy(case))
            except Exception:  # this mistake cannot be made with these inputs
                return False
            if not close(g, made, tol):
                return False
    return True


def parts(value: Any) -> list[Array]:
    """Return the arrays in a value: itself, or those of a tuple."""
    items = value if isinstance(value, tuple) else (value,)
    return [np.asarray(item) for item in items]


def close(got: Any, wanted: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two values, or all items of two tuples, agree in shape and numbers."""
    ours, theirs = parts(got), parts(wanted)
    return len(ours) == len(theirs) and all(map(_close(tolerance), ours, theirs))


def _close(tolerance: float) -> Callable[[Array, Array], bool]:
    def agree(a: Array, b: Array) -> bool:
        if a.shape != b.shape:
            return False
        if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
            return bool(np.array_equal(a, b))
        if not np.isfinite(b).all():
            return bool(np.array_equal(a, b, equal_nan=True))
        scale = max(float(np.abs(b).max(initial=0)), 1e-3)
        return bool(np.abs(a.astype(float) - b).max(initial=0) <= tolerance * scale)

    return agree


def same(before: Any, after: Any) -> bool:
    """Whether an argument is what it was; arrays bit by bit, the rest by `==`."""
    if isinstance(before, np.ndarray):
        return bool(np.array_equal(before, after, equal_nan=before.dtype.kind == "f"))
    if isinstance(before, (list, tuple)) and type(before) is type(after):
        pairs = zip(before, after, strict=False)
        return len(before) == len(after) and all(same(b, a) for b, a in pairs)
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(
            same(before[key], after[key]) for key in before
        )
    if isinstance(before, (int, float, str, bool, type(None))):
        return bool(before == after)
    return True  # an object whose state is its own affair


def ratio(got: Sequence[Any], wanted: Sequence[Any]) -> float | None:
    """Return the constant c with got = c wanted throughout, c not 1; else None."""
    ours = [p.astype(float).ravel() for g in got for p in parts(g)]
    theirs = [p.astype(float).ravel() for w in wanted for p in parts(w)]
    if [p.size for p in ours] != [p.size for p in theirs]:
        return None
    a, b = np.concatenate(ours), np.concatenate(theirs)
    large = np.abs(b) > 1e-6 * np.abs(b).max(initial=0)
    if not large.any() or not np.isfinite(a).all():
        return None
    c = float(np.median(a[large] / b[large]))
    differs = min(abs(c), abs(c - 1)) > TOLERANCE
    return c if differs and close(a, c * b) else None


def _like(got: Any, wanted: Any) -> Any:
    """Return an answer as an array, or as a tuple of so many arrays as are wanted."""
    if got is None and wanted is not None:
        raise Refusal("it returns nothing: is there a `return`?")
    several = isinstance(wanted, tuple)
    if isinstance(got, tuple) and not several:
        count = f"{len(got)} values" if len(got) != 1 else "a tuple of one value"
        raise Refusal(f"it returns {count}; wanted is one, as it is")
    if several and not isinstance(got, (tuple, list)):
        raise Refusal(f"it returns {_kind(got)}; {len(wanted)} values are wanted")
    if several and len(got) != len(wanted):
        raise Refusal(f"it returns {len(got)} values; {len(wanted)} are wanted")
    for one in got if several else [got]:
        try:
            numbers = np.asarray(one).dtype.kind in "fiub"
        except ValueError:  # rows of different lengths
            numbers = False
        if not numbers:
            raise Refusal(f"it returns {_kind(one)}; wanted is a number or an array")
    return tuple(map(np.asarray, got)) if several else np.asarray(got)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return f"one array, {value.shape}"
    if isinstance(value, (int, float, np.number)):
        return "one number"
    return f"something of type {type(value).__name__}"


def _first_difference(
    got: Sequence[Any], wanted: Sequence[Any], tolerance: float, returns: Sequence[str]
) -> tuple[int, str]:
    """Find the first case that differs, and tell of shapes, or of the worst elements.

    Of several values each has its line: what is wrong, and what is right in all cases.
    """
    for k, (g, w) in enumerate(zip(got, wanted, strict=True)):
        if close(g, w, tolerance):
            continue
        arrays = zip(parts(g), parts(w), strict=True)
        lines, right = [], []
        for i, (name, (a, b)) in enumerate(
            zip(_names(w, returns), arrays, strict=True)
        ):
            if a.shape != b.shape:
                of, wanted_shape = f" of {name}" * bool(name), b.shape or "one number"
                return k, f"the shape{of} is {a.shape}; wanted is {wanted_shape}"
            ours, theirs = ([parts(v)[i] for v in values] for values in (got, wanted))
            if not _close(tolerance)(a, b):
                c = ratio(ours, theirs)
                times = "" if c is None else f" (a factor of {c:.4g} in every case)"
                lines.append(_worst(a, b, name) + times)
            elif all(map(_close(tolerance), ours, theirs)):
                right.append(f"{name} is right")
        return k, "\n".join(lines + right)
    raise AssertionError("nothing differs")


def _names(wanted: Any, returns: Sequence[str]) -> Sequence[str]:
    """What the values that are returned are called; nothing if there is but one."""
    if returns or not isinstance(wanted, tuple):
        return returns or [""]
    return [f"value {k + 1} of {len(wanted)}" for k in range(len(wanted))]


def _worst(a: Array, b: Array, name: str) -> str:
    distance = np.where(np.isfinite(a), np.abs(a - b), np.inf)
    i = np.unravel_index(int(np.argmax(distance)), a.shape)
    name = name or ("element " if i else "the value")
    place = f"[{', '.join(map(str, i))}]" if i else ""
    return f"{name}{place} is {a[i]:.6g}; expected {b[i]:.6g}"
