"""One pool of threads, for kernels and matrix products alike.

Two pools on the same cores fight: the threads of the BLAS spin for milliseconds after a
product, and a kernel that wants their cores gets half of one. So within `one_pool()`,
which training enters, the BLAS has one thread, and large work of any kind is cut into
parts that run on the threads here.

Waking a sleeping thread takes about as long as computing on 100 KB. A worker therefore
watches for the next part for a short while after each, outside the interpreter's lock,
and only then goes to sleep; a training step's parts follow one another within that
time. Numba's own threading layers are never started: the OpenMP one does not stop
spinning, the workqueue aborts the process when two Python threads call it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise
from queue import SimpleQueue
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numba import types
from threadpoolctl import ThreadpoolController

from minivae_kernels.cpu import emitted, kernel

# Seconds of work below which a second thread costs more than it saves
WORTH_A_THREAD = 30e-6
BYTES_A_SECOND, FLOPS_A_SECOND = 20e9, 200e9  # of one core, roughly
WATCH = 200e-6  # seconds that a worker watches for more before it sleeps
HAND_OVER = 3e-6  # seconds in which a worker takes the interpreter's lock and is gone
POSTED, DONE = 0, 8  # on a worker's board: 64 bytes apart, on two cache lines

Task = Callable[[], Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@emitted
def _peek(typing: Any, board: Any, place: Any) -> Any:
    """Return `board[place]` as it is in memory now, whoever has written it."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        at = builder.gep(array.data, [values[1]])
        return builder.load_atomic(at, ordering="acquire", align=8)

    return types.int64(board, types.intp), codegen


@kernel
def _reached(board, place, number, tries):  # type: ignore[no-untyped-def]
    """Watch a counter until it reaches `number`; False if it does not in time."""
    for _ in range(tries):  # noqa: SIM110
        if _peek(board, place) >= number:
            return True
    return False


@cache
def _tries(seconds: float) -> int:
    """Return how many looks at a counter take so long."""
    board, looks = np.zeros(1, np.int64), 20_000
    _reached(board, 0, 1, 1)
    start = perf_counter()
    _reached(board, 0, 1, looks)
    return int(looks * seconds / (perf_counter() - start)) + 1


class _Worker:
    """A thread that does the tasks posted to it, one after another."""

    def __init__(self) -> None:
        self.board = np.zeros(16, np.int64)
        self.task: Task = int
        self.error: BaseException | None = None
        self.asleep = False
        self.bell: SimpleQueue[None] = SimpleQueue()
        threading.Thread(target=self._work, name="minivae", daemon=True).start()

    def post(self, task: Task) -> None:
        """Start a task, after the one before, which Ctrl-C may have left running."""
        self.wait()
        self.task = task
        self.board[POSTED] += 1
        self._wake()

    def wait(self) -> BaseException | None:
        """Return when the task is done, with what it has raised."""
        posted = int(self.board[POSTED])
        while not _reached(self.board, DONE, posted, _tries(5 * WATCH)):
            # here the interpreter sees Ctrl-C, which may have come before the bell
            self._wake()
        error, self.error = self.error, None
        return error

    def _wake(self) -> None:
        """Ring for a worker that sleeps, unless it has a ring to wake up to."""
        if self.asleep and self.bell.empty():
            self.bell.put(None)

    def _work(self) -> None:
        number = 1
        while True:
            if not _reached(self.board, POSTED, number, _tries(WATCH)):
                # Both sides first say, then look: one of them will see the other
                self.asleep = True
                if self.board[POSTED] < number:
                    self.bell.get()
                self.asleep = False
                continue
            try:
                self.task()
            except BaseException as error:
                self.error = error
            self.task = int  # let go of its arrays
            self.board[DONE] = number
            number += 1


class _Pool:
    """The workers, made when first needed, and forgotten by a forked process."""

    def __init__(self) -> None:
        if hasattr(os, "sched_getaffinity"):
            cores = len(os.sched_getaffinity(0))
        else:
            cores = os.cpu_count() or 1
        self.threads = cores
        self.inside = self.holding = 0  # contexts open: of the pool, and of its BLAS
        self.before = cores
        self.blas: list[int] = []  # how many threads each BLAS had
        self.forget()

    def forget(self) -> None:
        self.workers: list[_Worker] = []
        self.busy, self.door = threading.Lock(), threading.Lock()
        self.idle = np.zeros(1, np.int64)

    def run(self, tasks: Sequence[Task]) -> None:
        """Do all tasks, the first in this thread; the same in turn if it is busy."""
        # at the end of the process the workers are frozen
        if sys.is_finalizing() or not self.busy.acquire(blocking=False):
            for task in tasks:
                task()
            return
        try:
            while len(self.workers) < len(tasks) - 1:
                self.workers.append(_Worker())
            helping = self.workers[: len(tasks) - 1]
            try:
                for worker, task in zip(helping, tasks[1:], strict=True):
                    worker.post(task)
                _reached(self.idle, 0, 1, _tries(HAND_OVER))
                tasks[0]()
            finally:
                errors = [worker.wait() for worker in helping]
        finally:
            self.busy.release()
        for error in filter(None, errors):
            raise error


_pool = _Pool()


class _Here(threading.local):
    """What this thread is doing: how many `each()` it is an item of."""

    items: int = 0


_here = _Here()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def set_threads(count: int) -> int:
    """Let kernels use `count` threads; returns how many it was before."""
    before, _pool.threads = _pool.threads, max(1, count)
    return before


@cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")


def _blas_threads() -> list[int]:
    return [library["num_threads"] for library in _blas().info()]


def _set_blas_threads(counts: list[int]) -> None:
    for library, count in zip(_blas().lib_controllers, counts, strict=True):
        # The public setter obeys one Python thread; here whoever leaves last restores
        setter = getattr(library, "_real_set_num_threads", library.set_num_threads)
        setter(count)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS to one thread, so that each of ours has it to itself."""
    with _pool.door:
        if not _pool.holding:
            _pool.blas = _blas_threads()
            _set_blas_threads([1] * len(_pool.blas))
        _pool.holding += 1
    try:
        yield
    finally:
        with _pool.door:
            _pool.holding -= 1
            if not _pool.holding:
                _set_blas_threads(_pool.blas)


@contextmanager
def one_pool(count: int | None = None) -> Iterator[int]:
    """Compute on `count` threads and no others: if None, on as many as the BLAS has.

    While in the context the BLAS has one thread. Of several Python threads that are in
    it at once, the first says how many there are. Yields their number.
    """
    with _pool.door:
        if not _pool.inside:
            _pool.before = set_threads(count or max(_blas_threads(), default=1))
        nested, _pool.inside = _pool.inside > 0, _pool.inside + 1
    inner = set_threads(count) if nested and count else None
    try:
        with one_blas_thread():
            yield _pool.threads
    finally:
        if inner:
            set_threads(inner)
        with _pool.door:
            _pool.inside -= 1
            if not _pool.inside:
                set_threads(_pool.before)


def seconds(moved: int = 0, flops: int = 0) -> float:
    """Estimate the time of one core for moving bytes and computing."""
    return max(moved / BYTES_A_SECOND, flops / FLOPS_A_SECOND)


def _parts(work: float) -> int:
    """Return into how many parts so many seconds of work are cut."""
    if work < WORTH_A_THREAD or _here.items:
        return 1
    return _pool.threads


def each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return `function(item)` of each item; threads take up one after another.

    Whatever an item computes, it computes on its own thread alone: fewer hands to
    shake than where every product is cut, and a result does not depend on how many
    threads there are. After an error no item is begun.
    """
    waiting = list(items)
    found: dict[int, Result] = {}
    left = iter(enumerate(waiting))  # next() is one step of the interpreter

    def work() -> None:
        _here.items += 1
        try:
            for number, item in left:
                found[number] = function(item)
        finally:
            _here.items -= 1
            deque(left, maxlen=0)

    _pool.run([work] * max(1, min(_pool.threads, len(waiting))))
    return [found[number] for number in range(len(waiting))]


def by_rows(function: Any, rows: int, work: float, *arguments: Any) -> None:
    """Run `function(start, stop, *arguments)` over all rows, on threads if worthwhile.

    `work` is in seconds of one core. Each row is computed whole by one thread, in fixed
    blocks, so that results do not depend on how many there are.
    """
    parts = min(_parts(work), rows)
    if parts <= 1:
        function(0, rows, *arguments)
        return
    edges = [rows * i // parts for i in range(parts + 1)]
    _pool.run([partial(function, a, b, *arguments) for a, b in pairwise(edges)])


def product(x: Any, y: Any) -> Any:
    """Return the matrix product x y of NumPy arrays: by the BLAS, or by ours and it.

    Within `one_pool()` the result is cut along its longer side, and each thread has the
    BLAS compute a part; elsewhere the BLAS uses threads of its own. The last bits may
    depend on how many there are, either way.
    """
    (n, k), o = x.shape, y.shape[1]
    parts = _parts(seconds(flops=2 * n * k * o))
    if parts == 1 or not _pool.inside or x.dtype != y.dtype:
        return x @ y
    z = np.empty((n, o), x.dtype)
    edges = [(max(n, o) * i // parts + 15) // 16 * 16 for i in range(parts)]
    cuts = [slice(a, b) for a, b in pairwise([*edges, max(n, o)])]
    if n >= o:
        _pool.run([partial(np.matmul, x[s], y, out=z[s]) for s in cuts])
    else:
        _pool.run([partial(np.matmul, x, y[:, s], out=z[:, s]) for s in cuts])
    return z
