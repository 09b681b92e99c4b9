"""Lesson 1: the rules against difference quotients."""

from __future__ import annotations

import numpy as np

from lessons.kit import Judge, Mistake, exercise, pullback


def _floats(judge: Judge, count: int, each: int) -> list[tuple[float, ...]]:
    return [tuple(row) for row in judge.normal(count, each).tolist()]


@exercise(1)
def mul_rule(judge: Judge) -> None:
    """z̄ times the derivatives of x y, by differences."""

    def exact(g: float, x: float, y: float) -> tuple[float, ...]:
        return pullback(np.multiply, (x, y), g)

    at_zero = [(1.5, 0.0, 2.0), (1.5, 2.0, 0.0)]
    judge.match(
        [*_floats(judge, 20, 3), *at_zero],
        exact,
        [
            Mistake(
                "You sent each factor its own value. z moves by y when x moves by 1: "
                "the other factor.",
                lambda g, x, y: (g * x, g * y),
            ),
            Mistake(
                "The adjoint that arrives, g, is not in it. A rule multiplies what "
                "arrives by the local derivative.",
                lambda g, x, y: (y, x),
            ),
            Mistake(
                "That is the rule of a sum, which hands g on unchanged.",
                lambda g, x, y: (g, g),
            ),
            Mistake(
                "You multiplied by the whole product. Derive x y by x alone: y stays.",
                lambda g, x, y: (g * x * y, g * x * y),
            ),
            Mistake(
                "Both inputs were sent the same. The first gets y, the second x.",
                lambda g, x, y: (g * y, g * y),
            ),
            Mistake(
                "The two adjoints were returned in the opposite order of the inputs, "
                "and g is not in them.",
                lambda g, x, y: (x, y),
            ),
        ],
        returns=("x̄", "ȳ"),
    )


@exercise(2)
def tanh_rule(judge: Judge) -> None:
    """ȳ times the derivative of tanh, by differences; the answer is given y, not x."""
    xs = {float(np.tanh(x)): float(x) for x in judge.normal(20)}

    def exact(g: float, y: float) -> float:
        return float(pullback(np.tanh, (xs[y],), g)[0])

    judge.match(
        [(float(g), y) for g, y in zip(judge.normal(20), xs, strict=True)],
        exact,
        [
            Mistake(
                "The adjoint that arrives, g, is not in it.", lambda g, y: 1 - y * y
            ),
            Mistake(
                "y is tanh x already: you took tanh of it once more.",
                lambda g, y: g * (1 - np.tanh(y) ** 2),
            ),
            Mistake(
                "That is the derivative of the logistic function, y (1 − y).",
                lambda g, y: g * y * (1 - y),
            ),
            Mistake(
                "The square is missing: the derivative is 1 − y², not 1 − y.",
                lambda g, y: g * (1 - y),
            ),
            Mistake(
                "You divided by 1 − y². That is how x moves with y; wanted is how y "
                "moves with x.",
                lambda g, y: g / (1 - y * y),
            ),
            Mistake(
                "You applied tanh to the adjoint. Backward multiplies by the "
                "derivative of tanh, it does not apply tanh.",
                lambda g, y: np.tanh(g),
            ),
        ],
    )


@exercise(3)
def neuron_gradient(judge: Judge) -> None:
    """All derivatives of the loss of one neuron, by differences."""

    def loss(w: float, x: float, b: float, t: float) -> float:
        return float(np.log(np.cosh(np.tanh(w * x + b) - t)))

    def exact(*case: float) -> tuple[float, ...]:
        return pullback(loss, case, 1.0)[:3]

    def with_parts(s_: str) -> Mistake:
        says, form = FORGOTTEN[s_]
        return Mistake(
            says, lambda w, x, b, t: _spread(form(np.tanh(w * x + b), t), w, x)
        )

    judge.match(
        _floats(judge, 20, 4),
        exact,
        [
            *map(with_parts, FORGOTTEN),
            Mistake(
                "The adjoints of w and x are exchanged: by w it is x, by x it is w.",
                lambda *case: tuple(exact(*case)[i] for i in (1, 0, 2)),
            ),
            Mistake(
                "b is not multiplied by x: a sum hands its adjoint on as it is.",
                lambda w, x, b, t: (*exact(w, x, b, t)[:2], exact(w, x, b, t)[0]),
            ),
        ],
        returns=("∂L/∂w", "∂L/∂x", "∂L/∂b"),
    )


FORGOTTEN = {
    "tanh": (
        "The factor 1 − y² of the neuron's tanh is missing from the path.",
        lambda y, t: np.tanh(y - t),
    ),
    "square": (
        "That is the gradient of the square (y − t)², the loss of the page. Here the "
        "loss is log cosh(y − t).",
        lambda y, t: 2 * (y - t) * (1 - y**2),
    ),
    "cosh": (
        "Of the loss a cosh is left out: log has a derivative too, 1 over what is in "
        "it, and so sinh d is divided by cosh d.",
        lambda y, t: np.sinh(y - t) * (1 - y**2),
    ),
    "error": (
        "The derivative of the loss by y is missing: this is the gradient of y.",
        lambda y, t: 1 - y**2,
    ),
    "sign": (
        "The sign is the other way round: d = y − t, so ∂d/∂y is +1.",
        lambda y, t: np.tanh(t - y) * (1 - y**2),
    ),
}
"""What is left out of the adjoint of s = w x + b: words, and the s̄ that is left."""


def _spread(s_: float, w: float, x: float) -> tuple[float, float, float]:
    return s_ * x, s_ * w, s_
