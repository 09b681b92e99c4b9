"""Lesson 4: rules for arrays, by differences; adjoints, by ⟨g, J v⟩ = ⟨Jᵀ g, v⟩."""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.kit import Judge, Mistake, exercise, pullback

Array = Any


@exercise(1)
def sum_rule(judge: Judge) -> None:
    """What is summed over is used by one sum only: g is repeated."""
    shapes = [((3, 4), 0), ((3, 4), 1), ((2, 3, 4), 1), ((4, 4), 0), ((5,), 0)]
    cases = []
    for shape, axis in shapes:
        rest = shape[:axis] + shape[axis + 1 :]
        cases.append((np.asarray(judge.normal(*rest)), judge.normal(*shape), axis))

    def exact(g: Array, x: Array, axis: int) -> Array:
        return pullback(lambda v: v.sum(axis=axis), (x,), g)[0]

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "You handed on g as it is: it has the shape of the sum. The adjoint of "
                "x has the shape of x.",
                lambda g, x, axis: g,
            ),
            Mistake(
                "You divided by the number of summands: that is the rule of a mean.",
                lambda g, x, axis: exact(g, x, axis) / x.shape[axis],
            ),
            Mistake(
                "You multiplied by the number of summands. Each summand moves the sum "
                "by its own change, once.",
                lambda g, x, axis: exact(g, x, axis) * x.shape[axis],
            ),
            Mistake(
                "You multiplied by x. The derivative of a sum by a summand is 1, "
                "whatever its value.",
                lambda g, x, axis: exact(g, x, axis) * x,
            ),
            Mistake(
                "The adjoint that arrives is not in it: these are ones.",
                lambda g, x, axis: np.ones_like(x),
            ),
            Mistake(
                "g was summed up once more. It is repeated along the axis, not added.",
                lambda g, x, axis: np.full_like(x, g.sum()),
            ),
            Mistake(
                "The axis was kept with length 1, but not filled up to the shape of x.",
                lambda g, x, axis: np.expand_dims(g, axis),
            ),
        ],
    )


BROADCASTS = [
    ((4,), (3, 4)),
    ((3, 1), (3, 4)),
    ((1, 4), (3, 4)),
    ((3, 4), (3, 4)),
    ((), (3, 4)),
    ((4, 1), (2, 3, 4, 5)),
    ((1, 3, 1), (2, 3, 4)),
    ((4,), (4, 4)),
    ((4, 1), (4, 4)),
]


@exercise(2)
def unbroadcast(judge: Judge) -> None:
    """Repeating and adding up are adjoint: ⟨g, repeat(v)⟩ = ⟨unbroadcast(g), v⟩."""
    cases = [(judge.normal(*large), small) for small, large in BROADCASTS]

    def exact(g: Array, shape: tuple[int, ...]) -> Array:
        zeros = np.zeros(shape)
        return pullback(lambda v: np.broadcast_to(v, g.shape), (zeros,), g)[0]

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "The new axes in front were added up; those of length 1 were not.",
                lambda g, shape: g.sum(axis=tuple(range(g.ndim - len(shape)))),
            ),
            Mistake(
                "Axes of length 1 were added up and lost: the adjoint has exactly the "
                "shape of the array, with its 1s.",
                lambda g, shape: exact(g, shape).reshape([n for n in shape if n != 1]),
            ),
            Mistake(
                "You averaged. A value that was repeated n times was used n times, and "
                "contributions are added.",
                lambda g, shape: exact(g, shape) * np.prod(shape) / g.size,
            ),
            Mistake(
                "You took one of the copies. All of them were used: add them up.",
                _first_copy,
            ),
            Mistake(
                "Nothing was added up: this has the shape of the output.",
                lambda g, shape: g,
            ),
            Mistake(
                "The axes were matched from the front. NumPy broadcasts from the end.",
                _from_the_front,
            ),
        ],
    )


def _first_copy(g: Array, shape: tuple[int, ...]) -> Array:
    own = g[(0,) * (g.ndim - len(shape))]
    return own[tuple(slice(0, n) for n in shape)]


def _from_the_front(g: Array, shape: tuple[int, ...]) -> Array:
    out = g.sum(axis=tuple(range(len(shape), g.ndim)))
    once = tuple(k for k, n in enumerate(shape) if n == 1)
    return out.sum(axis=once, keepdims=True)


@exercise(3)
def matmul_rule(judge: Judge) -> None:
    """Both adjoints, by differences; square matrices too, where shapes do not help."""
    sizes = [(3, 4, 2), (3, 3, 3), (1, 4, 3), (4, 1, 2), (2, 2, 2)]
    cases = [
        (judge.normal(N, K), judge.normal(N, D), judge.normal(D, K))
        for N, D, K in sizes
    ]

    def exact(g: Array, X: Array, W: Array) -> tuple[Array, ...]:
        return pullback(np.matmul, (X, W), g)

    square = [case for case in cases if case[1].shape == case[2].shape]

    def seen_when_square(answer: Judge) -> None:
        answer.match(
            square,
            exact,
            MATMUL,
            returns=("X̄", "W̄"),
        )

    seen_when_square(judge)
    judge.match(
        cases,
        exact,
        MATMUL,
        returns=("X̄", "W̄"),
    )


MATMUL = [
    Mistake(
        "W is not transposed in X̄: the adjoint goes back through the columns it came "
        "from, g Wᵀ.",
        lambda g, X, W: (g @ W, X.T @ g),
    ),
    Mistake(
        "X is not transposed in W̄: each weight collects from all rows, Xᵀ g.",
        lambda g, X, W: (g @ W.T, X @ g),
    ),
    Mistake(
        "Neither W nor X is transposed.",
        lambda g, X, W: (g @ W, X @ g),
    ),
    Mistake(
        "The factors are in the opposite order: matrices do not commute.",
        lambda g, X, W: (W.T @ g, g @ X.T),
    ),
    Mistake(
        "You multiplied element by element, as if Y were X times W cell by cell.",
        lambda g, X, W: (g * W, g * X),
    ),
    Mistake(
        "Both adjoints are transposed: X̄ has the shape of X, and W̄ that of W.",
        lambda g, X, W: (W @ g.T, g.T @ X),
    ),
    Mistake(
        "X̄ is transposed: it has the shape of X.",
        lambda g, X, W: (W @ g.T, X.T @ g),
    ),
    Mistake(
        "W̄ is transposed: it has the shape of W.",
        lambda g, X, W: (g @ W.T, g.T @ X),
    ),
    Mistake(
        "Both adjoints are right but in the opposite order: X̄ first.",
        lambda g, X, W: (X.T @ g, g @ W.T),
    ),
    Mistake(
        "W̄ was averaged over the rows. They are used by one loss, and are added; "
        "where a mean is wanted, it is in g already.",
        lambda g, X, W: (g @ W.T, X.T @ g / len(X)),
    ),
]
