"""Lesson 5: scales by their effect, a likelihood by SciPy, Adam by its history."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from lessons.kit import Judge, Mistake, Refusal, exercise

Array = Any


@exercise(1)
def first_weights(judge: Judge) -> None:
    """Mean squares of what comes out of random layers of many shapes."""
    shapes = [(400, 100), (100, 400), (300, 300), (50, 800)]
    cases = [(judge.normal(*shape),) for shape in shapes]
    inputs = [np.maximum(judge.normal(500, n), 0) for _, n in shapes]
    gains = []
    for (normals,), x in zip(cases, inputs, strict=True):
        weights = np.asarray(judge.ask(normals))
        if weights.shape != normals.shape:
            raise Refusal(f"the shape is {weights.shape}; wanted is {normals.shape}")
        gains.append(float(np.mean((x @ weights.T) ** 2) / np.mean(x**2)))
    if all(1.8 <= gain <= 2.2 for gain in gains):
        return
    for says, like in SCALES:
        wanted = [
            2 * (like(*normals.shape) ** 2) / (2 / normals.shape[1])
            for (normals,) in cases
        ]
        if np.allclose(gains, wanted, rtol=0.15):
            raise Refusal(says)
    found = ", ".join(f"{gain:.3g}" for gain in gains)
    raise Refusal(
        f"For layers of {shapes} the mean square grows by {found}; wanted is 2 always."
    )


SCALES: list[tuple[str, Any]] = [
    (
        "The mean square comes out as it went in, and relu then takes half of it away: "
        "a factor √2 is missing.",
        lambda out, n: np.sqrt(1 / n),
    ),
    (
        "You scaled by the number of outputs. An output is a sum over the inputs: "
        "their number counts.",
        lambda out, n: np.sqrt(2 / out),
    ),
    (
        "You scaled by the variance, 2 / in. Numbers are scaled by the standard "
        "deviation: its root.",
        lambda out, n: 2 / n,
    ),
    (
        "The normals are not scaled by the layer's size: the mean square grows by the "
        "number of inputs.",
        lambda out, n: 1.0,
    ),
    (
        "You scaled by in + out, the compromise of Glorot and Bengio between forward "
        "and backward. Wanted is the forward pass alone, after a relu.",
        lambda out, n: np.sqrt(2 / (n + out)),
    ),
    (
        "A fixed small scale suits one layer's size only.",
        lambda out, n: 0.01,
    ),
]
"""Well-known scales: words, and the standard deviation for (out, in)."""


@exercise(2)
def bce_with_logits(judge: Judge) -> None:
    """SciPy's Bernoulli where that is exact; then logits of any size."""
    shapes = [(3, 4), (1, 5), (4, 1), (2, 2)]
    cases = []
    for shape in shapes:
        logits, target = 2 * judge.normal(*shape), judge.uniform(*shape) < 0.5
        cases.append((logits, target.astype(float)))

    def pixels(logits: Array, target: Array) -> Array:
        return -stats.bernoulli.logpmf(target, 1 / (1 + np.exp(-logits)))

    def exact(logits: Array, target: Array) -> Array:
        return pixels(logits, target).sum(axis=1)

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "You averaged over the pixels. They are independent, so the logarithms "
                "of their probabilities add up.",
                lambda *case: pixels(*case).mean(axis=1),
            ),
            Mistake(
                "You averaged over everything. Wanted is a sum over the pixels of each "
                "image, one number an image.",
                lambda *case: pixels(*case).mean(),
            ),
            Mistake(
                "You summed over the images too. Wanted is one number an image.",
                lambda *case: pixels(*case).sum(),
            ),
            Mistake("Nothing is summed: that is one number a pixel.", pixels),
            Mistake(
                "That is +log p: wanted is −log p, which is never negative.",
                lambda *case: -exact(*case),
            ),
            Mistake(
                "Only the pixels that are 1 count here. Those that are 0 have the "
                "probability 1 − sigmoid(logit).",
                lambda logits, target: (pixels(logits, target) * target).sum(axis=1),
            ),
            Mistake(
                "0 and 1 are exchanged: sigmoid(logit) is the probability of a 1.",
                lambda logits, target: exact(logits, 1 - target),
            ),
            Mistake(
                "The logits were taken for probabilities. Apply sigmoid to them first.",
                _as_probabilities,
            ),
        ],
    )
    for size in (20.0, 40.0, 800.0, 10000.0):
        logits = np.array([[size, -size, size, -size]])
        target = np.array([[1.0, 0.0, 0.0, 1.0]])
        value = float(np.squeeze(judge.ask(logits, target)))
        if not np.isclose(value, 2 * size, rtol=1e-4):
            raise Refusal(
                f"At logits of ±{size:g} it says {value:.6g}; right is {2 * size:g}. "
                "exp overflows, or sigmoid becomes 0 or 1 and its logarithm is lost; "
                "clipping hides that, and the gradient with it. Work from the logits: "
                "log(1 + exp(x)) = max(x, 0) + log1p(exp(−|x|))."
            )


def _as_probabilities(logits: Array, target: Array) -> Array:
    return -(target * np.log(logits) + (1 - target) * np.log(1 - logits)).sum(axis=1)


HISTORY = 12


@exercise(3)
def adam_step(judge: Judge) -> None:
    """Adam by its definition over a whole history: running means as weighted sums."""
    cases, past = [], []
    beta1, beta2 = 0.9, 0.95
    options = (1e-2, beta1, beta2, 1e-8)
    for t in (1, 2, 5, HISTORY):
        gradients = judge.normal(t, 3) * np.array([1.0, 10.0, 0.1])
        before = gradients[:-1]
        m, v = (_running(x, beta) for x, beta in ((before, beta1), (before**2, beta2)))
        cases.append((judge.normal(3), gradients[-1], m, v, t, *options))
        past.append(gradients)
    by_step = {case[4]: gradients for case, gradients in zip(cases, past, strict=True)}

    def exact(w: Array, g: Array, m: Array, v: Array, t: int, *rest: float) -> Any:
        lr, beta1, beta2, eps = rest
        gradients = by_step[t]
        mean = np.average(gradients, axis=0, weights=beta1 ** np.arange(t)[::-1])
        square = np.average(gradients**2, axis=0, weights=beta2 ** np.arange(t)[::-1])
        new = w - lr * mean / (np.sqrt(square) + eps)
        return new, _running(gradients, beta1), _running(gradients**2, beta2)

    judge.match(
        cases,
        exact,
        [Mistake(says, _variant(form)) for says, form in ADAM],
        returns=("w", "m", "v"),
    )
    w, g = judge.normal(4), judge.normal(4) * np.array([1e-3, 1, 1e3, 1])
    zero = np.zeros(4)
    moved = np.asarray(judge.ask(w, g, zero, zero, 1)[0]) - w
    if not np.allclose(moved, -1e-3 * np.sign(g), rtol=1e-2):
        raise Refusal(
            "With lr, beta1, beta2 and eps as they are when not given, the first step "
            "is lr · sign(g), 0.001 at any size of g."
        )


def _running(values: Array, beta: float) -> Array:
    """Σ (1 − β) β^(t−s) x_s: a running mean that began at zero."""
    ages = np.arange(len(values))[::-1]
    return ((1 - beta) * beta ** ages[:, None] * values).sum(axis=0)


def _variant(form: Any) -> Any:
    """An Adam with one thing different: `form` makes the step from the new moments."""

    def step(w: Array, g: Array, m: Array, v: Array, t: int, *rest: float) -> Any:
        lr, b1, b2, eps = rest
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        return form(w, g, m, v, t, lr, b1, b2, eps)

    return step


ADAM: list[tuple[str, Any]] = [
    (
        "The means are not corrected: they began at 0, and are too small by 1 − βᵗ.",
        lambda w, g, m, v, t, lr, b1, b2, eps: (w - lr * m / (v**0.5 + eps), m, v),
    ),
    (
        "The corrected means were kept as m and v. They are corrected for the step "
        "only; what is carried on is the running mean itself.",
        lambda w, g, m, v, t, lr, b1, b2, eps: (
            w - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps),
            m / (1 - b1**t),
            v / (1 - b2**t),
        ),
    ),
    (
        "The root is missing: the step is divided by the square of a gradient's size.",
        lambda w, g, m, v, t, lr, b1, b2, eps: (
            w - lr * (m / (1 - b1**t)) / (v / (1 - b2**t) + eps),
            m,
            v,
        ),
    ),
    (
        "It goes uphill: w + lr ... A gradient points to where the loss grows.",
        lambda w, g, m, v, t, lr, b1, b2, eps: (
            w + lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps),
            m,
            v,
        ),
    ),
    (
        "The correction is 1 − β instead of 1 − βᵗ: right at the first step only.",
        lambda w, g, m, v, t, lr, b1, b2, eps: (
            w - lr * (m / (1 - b1)) / ((v / (1 - b2)) ** 0.5 + eps),
            m,
            v,
        ),
    ),
    (
        "The newest gradient was used in place of its running mean m.",
        lambda w, g, m, v, t, lr, b1, b2, eps: (
            w - lr * g / ((v / (1 - b2**t)) ** 0.5 + eps),
            m,
            v,
        ),
    ),
    (
        "Only m was corrected. v began at 0 as well.",
        lambda w, g, m, v, t, lr, b1, b2, eps: (
            w - lr * (m / (1 - b1**t)) / (v**0.5 + eps),
            m,
            v,
        ),
    ),
]
