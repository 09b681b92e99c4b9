"""Lesson 3: differences of known functions; checkers, tried with planted faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lessons.kit import Judge, Mistake, Refusal, exercise

Array = Any
Function = Callable[[Array], Any]

H = 0.1  # so large that the order of the error shows


def _f(x: Array) -> float:
    """A function whose derivatives all differ, each depending on all elements."""
    weights = np.arange(1, x.size + 1).reshape(x.shape)
    return float(np.exp(0.2 * np.sum(weights * x)) + np.sum(np.sin(weights * x)))


def _moved(x: Array, step: float, i: Any) -> Array:
    out = x.copy()
    out[i] += step
    return out


def _quotients(quotient: Callable[[Function, Array, Any, float], float]) -> Any:
    def gradient(f: Function, x: Array, h: float) -> Array:
        out = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            out[i] = quotient(f, x, i, h)
        return out

    return gradient


def _everything_at_once(f: Function, x: Array, h: float) -> Array:
    return np.full_like(x, (f(x + h) - f(x - h)) / (2 * h))


def _never_moved_back(f: Function, x: Array, h: float) -> Array:
    out, moved = np.zeros_like(x), x.copy()
    for i in np.ndindex(x.shape):
        moved[i] += h
        ahead = f(moved)
        moved[i] -= 2 * h
        out[i] = (ahead - f(moved)) / (2 * h)
    return out


central = _quotients(
    lambda f, x, i, h: (f(_moved(x, h, i)) - f(_moved(x, -h, i))) / (2 * h)
)


@exercise(1)
def numeric_gradient(judge: Judge) -> None:
    """The quotient itself, with a step so large that its error is seen."""
    shapes = [(3,), (2, 2), (4,), (2, 3), ()]
    cases = [(_f, np.asarray(judge.normal(*s)), H) for s in shapes]
    cases += [(_f, judge.normal(3), 1e-4)]
    judge.match(
        cases,
        central,
        [
            Mistake(
                "Only one side was looked at: (f(x + h) − f(x)) / h. Its error shrinks "
                "with h; that of the difference across both sides with h².",
                _quotients(lambda f, x, i, h: (f(_moved(x, h, i)) - f(x)) / h),
            ),
            Mistake(
                "Only one side was looked at: (f(x) − f(x − h)) / h. Look to both.",
                _quotients(lambda f, x, i, h: (f(x) - f(_moved(x, -h, i))) / h),
            ),
            Mistake(
                "The points are 2h apart, and the difference was divided by h.",
                lambda *case: 2 * central(*case),
            ),
            Mistake(
                "The difference was not divided by the distance of the points, 2h.",
                lambda f, x, h: 2 * h * central(f, x, h),
            ),
            Mistake(
                "All elements were moved at once: that is the change along the "
                "diagonal, the same for each. Move one at a time.",
                _everything_at_once,
            ),
            Mistake(
                "An element that was moved was not put back before the next one was.",
                _never_moved_back,
            ),
            Mistake(
                "The sign is the other way round: f(x + h) − f(x − h).",
                lambda *case: -central(*case),
            ),
        ],
    )


class Planted(NamedTuple):
    """A function with a rule, and what is wrong with the rule: nothing, if empty."""

    says: str
    f: Callable[[Array], Array]
    rule: Callable[[Array, Array], Array]
    shape: tuple[int, ...] = (3, 2)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _softmax_rule(g: Array, x: Array) -> Array:
    y = _softmax(x)
    return y * (g - (g * y).sum(axis=-1, keepdims=True))


def _one_element(g: Array, x: Array) -> Array:
    sent = g * np.cos(x)
    sent.flat[-1] *= 1.001
    return sent


def _with_nan(g: Array, x: Array) -> Array:
    sent = g * np.cos(x)
    sent.flat[0] = np.nan
    return sent


RIGHT = [
    Planted("sin", np.sin, lambda g, x: g * np.cos(x)),
    Planted("tanh", np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2)),
    Planted("a sum", lambda x: x.sum(axis=0), lambda g, x: np.broadcast_to(g, x.shape)),
    Planted("softmax", _softmax, _softmax_rule),
    Planted(
        "1000 times sin", lambda x: 1e3 * np.sin(x), lambda g, x: 1e3 * g * np.cos(x)
    ),
    Planted("a number", lambda x: (x**2).sum(), lambda g, x: 2 * g * x),
]
WRONG = [
    Planted("is twice too large", np.sin, lambda g, x: 2 * g * np.cos(x)),
    Planted("has the wrong sign", np.sin, lambda g, x: -g * np.cos(x)),
    Planted("is zero", np.sin, lambda g, x: 0 * x),
    Planted(
        "is zero (of softmax: an upstream of ones would not notice)",
        _softmax,
        lambda g, x: 0 * x,
    ),
    Planted("leaves the upstream out", np.sin, lambda g, x: np.cos(x)),
    Planted("is 0.1 % off everywhere", np.sin, lambda g, x: 1.001 * g * np.cos(x)),
    Planted("is 0.1 % off in its last element only", np.sin, _one_element),
    Planted("has a NaN in it", np.sin, _with_nan),
    Planted(
        "has the shape of the output, not of the input",
        lambda x: x.sum(axis=0),
        lambda g, x: g,
    ),
    Planted("is transposed", np.sin, lambda g, x: (g * np.cos(x)).T, (3, 3)),
]


@exercise(2)
def rule_is_right(judge: Judge) -> None:
    """Every right rule is accepted, every wrong one refused, at several points."""
    for planted in WRONG + RIGHT:
        for _ in range(3):
            x = judge.normal(*planted.shape)
            g = judge.normal(*np.shape(planted.f(x)))
            verdict = judge.ask(planted.f, planted.rule, x, g)
            if not isinstance(verdict, bool | np.bool_):
                raise Refusal(f"it returns {verdict!r:.40}; wanted is True or False")
            if planted in WRONG and verdict:
                raise Refusal(f"A rule was accepted that {planted.says}.")
            if planted in RIGHT and not verdict:
                raise Refusal(
                    f"A right rule was refused: that of {planted.says}. Is the "
                    "tolerance relative to the gradient's size, and the step neither "
                    "too large nor too small?"
                )
