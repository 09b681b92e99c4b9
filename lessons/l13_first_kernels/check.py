"""Lesson 13: what every cell holds, and which thread wrote it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lessons.kit import Judge, Mistake, Refusal, exercise
from lessons.kit.kernels import KernelJudge

Array = Any
KERNEL = ("simulator", "ptx")


def _empty(*shape: int) -> Array:
    return np.full(shape, np.nan, np.float32)


def _float32(judge: Judge, *shape: int) -> Array:
    return judge.normal(*shape).astype(np.float32)


@exercise(1, judges=KERNEL)
def scale_add(judge: Judge) -> None:
    """Grids that fit, that are too large and too small; the work is shared."""
    assert isinstance(judge, KernelJudge)
    got, wanted = [], []
    for size, grid, block in [
        (16, 2, 8),
        (13, 2, 8),
        (3, 2, 8),
        (45, 2, 8),
        (45, 3, 4),
    ]:
        x, y, a = _float32(judge, size), _float32(judge, size), np.float32(1.5)
        out = judge.launch(grid, block, a, x, y, _empty(size))[3]
        if np.isnan(out).any():
            raise Refusal(
                f"Of {size} elements {int(np.isnan(out).sum())} were never written, "
                f"out[{int(np.argmax(np.isnan(out)))}] the first: the grid has "
                f"{grid * block} threads. A thread goes on, in steps of the grid's "
                "size, until nothing is left."
            )
        got.append(out)
        wanted.append((a, x, y))
        _evenly(judge, size, grid * block)
    Judge(lambda a, x, y: got[_index(wanted, (a, x, y))]).match(
        wanted,
        lambda a, x, y: a * x + y,
        [
            Mistake("a multiplies y too.", lambda a, x, y: a * (x + y)),
            Mistake("y is scaled in place of x.", lambda a, x, y: x + a * y),
            Mistake("y is not added.", lambda a, x, y: a * x),
            Mistake("x is not scaled.", lambda a, x, y: x + y),
        ],
        returns=("out",),
    )


def _index(cases: list[Any], case: Any) -> int:
    return next(i for i, c in enumerate(cases) if np.array_equal(c[1], case[1]))


def _evenly(judge: KernelJudge, size: int, threads: int) -> None:
    """No thread may write more than its share of the elements."""
    if judge.report is None:
        return
    written = {
        (a.block, a.thread, a.cell) for a in judge.report.accesses if a.kind == "writes"
    }
    writes = Counter((block, thread) for block, thread, _ in written)
    share = -(-size // threads)
    most = max(writes.values(), default=0)
    if most > share:
        raise Refusal(
            f"One thread writes {most} of {size} elements; shared evenly by {threads} "
            f"threads it is {share}. A grid where few threads work is as slow as they "
            "are."
        )


@exercise(2, judges=KERNEL)
def sample_and_kl(judge: Judge) -> None:
    """Both results, on grids larger than the arrays, not square."""
    assert isinstance(judge, KernelJudge)
    got, cases = [], []
    for shape, grid, block in [
        ((4, 6), (2, 2), (4, 4)),
        ((5, 3), (2, 2), (4, 4)),
        ((3, 9), (1, 3), (8, 4)),
        ((1, 1), (1, 1), (8, 4)),
    ]:
        mu, logvar, eps = (_float32(judge, *shape) for _ in range(3))
        z, kl = judge.launch(
            grid, block, mu, logvar, eps, _empty(*shape), _empty(*shape)
        )[3:]
        for name, array in (("z", z), ("kl", kl)):
            if np.isnan(array).any():
                raise Refusal(
                    f"{name} was not written everywhere, for arrays of {shape} on a "
                    f"grid of {grid} blocks of {block} threads. The first index of the "
                    "grid is the image, the second the latent."
                )
        got.append((z, kl))
        cases.append((mu, logvar, eps))
    Judge(lambda mu, v, eps: got[_index(cases, (mu, v, eps))]).match(
        cases,
        _both,
        BOTH,
        returns=("z", "kl"),
    )


def _both(mu: Array, logvar: Array, eps: Array) -> tuple[Array, Array]:
    mu, logvar = mu.astype(np.float64), logvar.astype(np.float64)
    draws = mu + np.sqrt(np.exp(logvar)) * eps
    return draws, 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar)


BOTH = [
    Mistake(
        "You took exp(logvar) for σ. It is σ²: logvar is log σ².",
        lambda mu, v, eps: (mu + np.exp(v) * eps, _both(mu, 2 * v, eps)[1]),
    ),
    Mistake(
        "In the draw you took exp(logvar) for σ; the KL is right.",
        lambda mu, v, eps: (mu + np.exp(v) * eps, _both(mu, v, eps)[1]),
    ),
    Mistake(
        "The draw is right. Before the KL's terms a ½ is missing.",
        lambda mu, v, eps: (_both(mu, v, eps)[0], 2 * _both(mu, v, eps)[1]),
    ),
    Mistake(
        "The draw is right. The KL has the wrong sign: it is never negative.",
        lambda mu, v, eps: (_both(mu, v, eps)[0], -_both(mu, v, eps)[1]),
    ),
    Mistake(
        "The draw is right. In the KL logvar is missing.",
        lambda mu, v, eps: (_both(mu, v, eps)[0], _both(mu, v, eps)[1] + 0.5 * v),
    ),
]
