"""Lesson 14: what the cells hold, who read what, and that no two threads race."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from lessons.kit import Judge, Mistake, Refusal, exercise
from lessons.kit.kernels import KernelJudge
from lessons.kit.races import Report

Array = Any
KERNEL = ("simulator", "ptx")
THREADS, TILE = 8, 4
STEPS = 3  # log2(THREADS)


def _float32(judge: Judge, *shape: int) -> Array:
    return judge.normal(*shape).astype(np.float32)


@exercise(1, judges=KERNEL)
def block_sum(judge: Judge) -> None:
    """Full and partly filled blocks; the additions are shared by the threads."""
    assert isinstance(judge, KernelJudge)
    got, cases = [], []
    for size in (8, 16, 13, 3, 17):
        x = _float32(judge, size)
        blocks = -(-size // THREADS)
        out = np.full(blocks, np.nan, np.float32)
        found = judge.launch(blocks, THREADS, x, out)[1]
        if np.isnan(found).any():
            raise Refusal(
                f"out[{int(np.argmax(np.isnan(found)))}] is not a number: was it ever "
                "written? Each block writes its own sum, at its own index."
            )
        got.append(found)
        cases.append((x,))
        _side_by_side(judge)

    def sums(x: Array, part: Any = slice(None)) -> Array:
        padded = np.zeros(-(-len(x) // THREADS) * THREADS, x.dtype)
        padded[: len(x)] = x
        return padded.reshape(-1, THREADS)[:, part].sum(axis=1)

    Judge(lambda x: got[[len(c[0]) for c in cases].index(len(x))]).match(
        cases,
        sums,
        [
            Mistake(
                "Half of the elements are missing: one step too few was made. The last "
                "adds shared[1] to shared[0].",
                lambda x: sums(x, slice(0, None, 2)),
            ),
            Mistake(
                "Half of the elements are missing: the first step adds the upper half "
                "of the block to the lower.",
                lambda x: sums(x, slice(0, THREADS // 2)),
            ),
            Mistake(
                "Only the first element of each block is there: nothing was added.",
                lambda x: sums(x, slice(0, 1)),
            ),
            Mistake(
                "That is the mean of the block; wanted is its sum.",
                lambda x: sums(x) / THREADS,
            ),
        ],
        returns=("out",),
    )


def _side_by_side(judge: KernelJudge) -> None:
    """No addition may come after many others, whoever makes them."""
    if judge.report is None:
        return
    shared = [a for a in judge.report.accesses if a.shared]
    if all(a.kind == "writes" for a in shared):
        raise Refusal("Nothing is read from shared memory: where is the sum made?")
    after, most = _in_a_row(judge.report)
    if after <= STEPS + 1:  # one more: to bring the sum to the thread that writes it
        return
    if any(a.kind == "updates" for a in shared):
        says = "All threads update one cell of shared memory, one after the other"
    elif most >= THREADS - 1:
        says = f"One thread takes the numbers of {most} others: it adds alone"
    else:
        says = "Each thread waits for the sum of the one before it"
    raise Refusal(
        f"{says}. That is {after} steps. In pairs, all at once, it takes {STEPS}."
    )


def _in_a_row(report: Report) -> tuple[int, int]:
    """Return how many numbers are taken one after the other, and by one thread at most.

    A thread takes a number where it reads what another has left in shared memory, or an
    element of x that is not its first. It can do so when the other is done. What it has
    taken it may read again.
    """
    x = report.parameters[0]
    steps: Counter[Any] = Counter()  # of each thread, those it waited for included
    taken: dict[Any, set[Any]] = defaultdict(set)
    left: dict[Any, Any] = {}  # in each cell: by whom, after how many steps
    for k, a in enumerate(report.accesses):
        me, cell = (a.block, a.thread), (a.block, a.array, a.cell)
        if a.array == x and not a.shared and (x, a.cell) not in taken[me]:
            steps[me] += any(name == x for name, _ in taken[me])
            taken[me].add((x, a.cell))
        if not a.shared:
            continue
        writer, before, when = left.get(cell, (me, 0, 0))
        if a.kind != "writes" and writer != me and (cell, when) not in taken[me]:
            steps[me] = max(steps[me], before) + 1
            taken[me].add((cell, when))
        if a.kind != "reads":
            left[cell] = me, steps[me], k
    return max(steps.values(), default=0), max(map(len, taken.values()), default=1) - 1


SHAPES = [
    ((4, 4), (4, 4)),
    ((8, 4), (4, 8)),
    ((5, 7), (7, 6)),
    ((3, 9), (9, 2)),
    ((1, 1), (1, 5)),
]


@exercise(2, judges=KERNEL)
def matmul_tiled(judge: Judge) -> None:
    """Sizes that tiles do not divide; each element of A and B read once a block."""
    assert isinstance(judge, KernelJudge)
    got, cases = [], []
    for left, right in SHAPES:
        A, B = _float32(judge, *left), _float32(judge, *right)
        M, N = left[0], right[1]
        grid = -(-M // TILE), -(-N // TILE)
        C = np.full((M, N), np.nan, np.float32)
        found = judge.launch(grid, (TILE, TILE), A, B, C)[2]
        if np.isnan(found).any():
            raise Refusal(
                f"C was not written everywhere, or read before it was, for A {left} "
                f"and B {right}."
            )
        got.append(found)
        cases.append((A, B))
        _read_once(judge, A.size * grid[1], B.size * grid[0])
    Judge(lambda A, B: got[[c[0].shape for c in cases].index(A.shape)]).match(
        cases,
        lambda A, B: A.astype(np.float64) @ B,
        [
            Mistake(
                "Only whole tiles of the sum were added: where TILE does not divide K, "
                "the rest is missing. Go on to the end, and fill up with zeros.",
                lambda A, B: _first(A, B, A.shape[1] // TILE * TILE),
            ),
            Mistake(
                "Only the first tile of the sum is there. Go through all of K.",
                lambda A, B: _first(A, B, TILE),
            ),
            Mistake(
                "Only the last tile of the sum is there: the total is begun anew for "
                "each tile.",
                _last,
            ),
        ],
        tolerance=1e-3,
        returns=("C",),
    )


def _first(A: Array, B: Array, k: int) -> Array:
    return A[:, :k].astype(np.float64) @ B[:k]


def _last(A: Array, B: Array) -> Array:
    k = (A.shape[1] - 1) // TILE * TILE
    return A[:, k:].astype(np.float64) @ B[k:]


def _read_once(judge: KernelJudge, most_a: int, most_b: int) -> None:
    """Each element by one thread of a block: what a thread has read, it has."""
    if judge.report is None:
        return
    names = judge.report.parameters
    for name, most in zip(names, (most_a, most_b), strict=False):
        reads = judge.report.accesses
        times = len({(a.block, a.thread, a.cell) for a in reads if a.array == name})
        if times > most:
            raise Refusal(
                f"{name} was read {times} times; with tiles in shared memory {most} "
                "are enough. Each thread brings one element of a tile, and all use it."
            )
