"""A race checker for CUDA kernels written in Python: every thread, every access.

    report = run(kernel, grid=2, block=8, arrays=(x, out))

The body of the kernel runs as Python, once for each thread. Threads of a block run one
at a time, each from barrier to barrier, and every access to memory is noted. Two
accesses to one cell race if different threads make them, one at least writes, they are
not both atomic, and no barrier lies between: on a GPU either may come first. A wrong
kernel is thus found wrong whatever its numbers happen to be.

It knows nothing of warps: kernels that shuffle are for the interpreter of PTX.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, product
from types import FrameType, FunctionType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

Array = Any
Index = tuple[int, ...]
ORDINALS = ("", "first", "second", "third", "fourth")


class KernelFault(Exception):  # noqa: N818  it is said to a learner
    """What a kernel does that no kernel may."""


class Access(NamedTuple):
    """One access of one thread to one cell."""

    block: Index
    thread: Index
    epoch: int  # barriers of the block before it
    kind: str  # "reads", "writes" or "updates": all at once
    array: str
    shared: bool  # of the block; else of the whole grid
    cell: Index
    line: int


class Report(NamedTuple):
    """What a launch did: all accesses in the order in which they were made."""

    accesses: list[Access]
    barriers: int  # passed, summed over blocks
    parameters: tuple[str, ...]  # the names of the kernel's own

    def number(self, array: str, kind: str) -> int:
        """How often cells of an array were read, written or updated."""
        return sum(a.array == array and a.kind == kind for a in self.accesses)


def run(
    kernel: Callable[..., Any], grid: int | Index, block: int | Index, arrays: Any
) -> Report:
    """Launch a kernel; arrays are written in place. Raises `KernelFault`.

    Arrays are called by the names of the kernel's parameters; numbers pass as they are.
    """
    function = body_of(kernel)
    launch = _Launch(function, _three(grid), _three(block))
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    if len(names) != len(arrays):
        raise KernelFault(
            f"it takes {', '.join(names) or 'nothing'}; it is handed {len(arrays)} "
            "arguments"
        )
    given = [
        _Watched(x, name, launch) if isinstance(x, np.ndarray) else x
        for name, x in zip(names, arrays, strict=True)
    ]
    for index in _indices(launch.grid):
        launch.run_block(index, given)
    return Report(launch.accesses, launch.barriers, names)


def body_of(kernel: Any) -> FunctionType:
    """The Python function of a kernel, compiled, simulated or plain."""
    function: FunctionType = getattr(kernel, "py_func", getattr(kernel, "fn", kernel))
    return function


@cache
def sizes_that_vary(function: FunctionType) -> list[int]:
    """The lines where a kernel makes shared memory of a size that is no constant.

    What is a constant is Numba's to say: a literal, a global, a name that is bound once
    to one of those, or a tuple of them; no arithmetic but what Python itself folds.
    """
    from numba.core import compiler, errors, ir

    if "shared" not in function.__code__.co_names:
        return []
    try:
        code: Any = compiler.run_frontend(function)  # type: ignore[no-untyped-call]
    except errors.NumbaError:  # it says so itself, where it compiles
        return []

    def made_by(value: Any) -> Any:
        try:
            return code.get_definition(value)
        except KeyError:  # bound more than once
            return None

    def is_constant(value: Any) -> bool:
        made = made_by(value)
        if isinstance(made, ir.Expr) and made.op == "build_tuple":
            return all(map(is_constant, made.items))
        return isinstance(made, (ir.Const, ir.Global, ir.FreeVar))

    def is_of_shared(called: Any) -> bool:
        return (
            has_attr(called)
            and has_attr(owner := made_by(called.value))
            and (owner.attr == "shared")
        )

    def has_attr(made: Any) -> bool:
        return isinstance(made, ir.Expr) and made.op == "getattr"

    return [
        call.loc.line
        for block in code.blocks.values()
        for call in block.find_exprs(op="call")
        if is_of_shared(made_by(call.func))
        for size in [*call.args, *(v for k, v in call.kws if k == "shape")][:1]
        if not is_constant(size)
    ]


def _three(shape: int | Index) -> Index:
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return (*sizes, 1, 1)[:3]


def _indices(shape: Index) -> Iterator[Index]:
    """All indices in the order of CUDA: x runs fastest."""
    for z, y, x in product(*(range(n) for n in reversed(shape))):
        yield x, y, z


class _Launch:
    """A grid of blocks in the middle of running, and what was accessed so far."""

    def __init__(self, function: FunctionType, grid: Index, block: Index) -> None:
        self.grid, self.block = grid, block
        self.accesses: list[Access] = []
        self.cells: dict[tuple[int, Index], list[Access]] = {}
        self.serial = count()  # of the arrays: those of a block end with it
        self.barriers = 0
        self.at: _Thread  # whose turn it is
        self.body = self._with_our_cuda(function)

    def _with_our_cuda(self, function: FunctionType) -> FunctionType:
        """The function, with `cuda` and the device functions it calls replaced."""
        scope = dict(function.__globals__)
        for name, value in scope.items():
            called = name in function.__code__.co_names
            if called and getattr(value, "__name__", "").endswith("cuda"):
                scope[name] = _Cuda(self)
            elif called and body_of(value) not in (value, function):
                scope[name] = self._with_our_cuda(body_of(value))
        if "print" in function.__code__.co_names:
            scope.setdefault("print", self.print)
        for line in sizes_that_vary(function):
            text = linecache.getline(function.__code__.co_filename, line).strip()
            raise KernelFault(
                "Numba must know the size of shared memory when it compiles: a number, "
                "a name that is given one outside of the kernel, or a tuple of these. "
                f"Compute it outside and write its name, at line {line}: {text}"
            )
        return FunctionType(
            function.__code__, scope, function.__name__, function.__defaults__
        )

    def run_block(self, index: Index, given: list[Any]) -> None:
        """Run the threads of a block from barrier to barrier, in turn."""
        shared: list[_Watched] = []
        threads = [_Thread(self, index, t, shared) for t in _indices(self.block)]
        running = threads
        try:
            while running:
                for self.at in running:
                    self.at.go_on(given)
                stopped = [t for t in running if t.waits_at]
                self._same_barrier(running, stopped)
                self.barriers += bool(stopped)
                running = stopped
        finally:
            for thread in threads:
                thread.give_up()

    def _same_barrier(self, ran: list[_Thread], stopped: list[_Thread]) -> None:
        if not stopped:
            return
        for thread in ran:
            if thread.waits_at != stopped[0].waits_at:
                where = f"is at that of line {thread.waits_at}"
                says = where if thread.waits_at else "has ended"
                raise KernelFault(
                    f"{stopped[0]} waits at the barrier of line {stopped[0].waits_at}, "
                    f"but {thread} {says}: all threads of a block must reach it"
                )

    def print(self, *values: Any, **options: Any) -> None:
        """Print for a thread, and say which."""
        print(f"{self.at} of block {_text(self.at.block)}:", *values, **options)

    def note(self, array: _Watched, cell: Index, kind: str, line: int) -> None:
        """Note an access of the thread whose turn it is; raise if it races."""
        me, name = self.at, array.name
        shared = array.shared
        access = Access(me.block, me.index, me.epoch, kind, name, shared, cell, line)
        before = self.cells.setdefault((array.number, cell), [])
        for other in before:
            if _race(other, access):
                raise KernelFault(_two(other, access, len(_flat(self.block)) == 1))
        before.append(access)
        self.accesses.append(access)


def _race(a: Access, b: Access) -> bool:
    ordered = a.block == b.block and (a.thread == b.thread or a.epoch != b.epoch)
    harmless = a.kind == b.kind and a.kind in ("reads", "updates")
    return not ordered and not harmless


def _two(a: Access, b: Access, flat: bool) -> str:
    of = "" if a.block == b.block else f" of block {_text(a.block)}"
    other = "" if a.block == b.block else f" of block {_text(b.block)}"
    between = "no barrier lies between" if not of else "nothing orders blocks"
    return (
        f"race on {a.array}[{', '.join(map(str, a.cell))}]: "
        f"thread {_text(a.thread)}{of} {a.kind} it (line {a.line}), "
        f"thread {_text(b.thread)}{other} {b.kind} it (line {b.line}), and {between}"
    )


def _flat(shape: Index) -> Index:
    return tuple(n for n in shape if n > 1) or (1,)


def _text(index: Index) -> str:
    x, y, z = index
    return str(x) if not (y or z) else str(index[:2] if not z else index)


class _Stopped(BaseException):
    """Ends a thread that is not needed any more."""


class _Thread:
    """A CUDA thread: a Python thread that runs only when it is told to."""

    def __init__(
        self, launch: _Launch, block: Index, index: Index, shared: list[_Watched]
    ) -> None:
        self.launch, self.block, self.index, self.shared = launch, block, index, shared
        self.epoch, self.waits_at, self.arrays = 0, 0, 0
        self.error: BaseException | None = None
        self.turn, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.thread: threading.Thread | None = None
        self.stop = False

    def __str__(self) -> str:
        return f"thread {_text(self.index)}"

    def go_on(self, given: list[Any]) -> None:
        """Run to the next barrier or the end."""
        self.waits_at = 0
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, args=(given,), daemon=True)
            self.thread.start()
        else:
            self.turn.release()
        self.done.acquire()
        if self.error:
            raise self.error

    def _run(self, given: list[Any]) -> None:
        try:
            if self.launch.body(*given) is not None:
                raise KernelFault(
                    "it returns something. A kernel returns nothing: it writes into "
                    "the arrays that it is given."
                )
        except _Stopped:
            return
        except BaseException as error:
            self.error = error
        self.done.release()

    def wait(self, line: int) -> None:
        """At a barrier: let the others run."""
        self.waits_at = line
        self.done.release()
        self.turn.acquire()
        if self.stop:
            raise _Stopped
        self.epoch += 1

    def give_up(self) -> None:
        """End a thread that waits."""
        if self.thread and self.thread.is_alive():
            self.stop = True
            self.turn.release()
            self.thread.join()

    def shared_array(self, shape: Any, dtype: Any) -> _Watched:
        """The block's shared array: the same for all its threads, by order of call."""
        self.arrays += 1
        if len(self.shared) < self.arrays:
            nth = ORDINALS[self.arrays] if self.arrays < len(ORDINALS) else "a"
            array = np.zeros(shape, _dtype(dtype))
            name = f"the {nth} shared array"
            self.shared.append(_Watched(array, name, self.launch, shared=True))
        return self.shared[self.arrays - 1]


def _dtype(dtype: Any) -> np.dtype[Any]:
    try:
        return np.dtype(dtype)
    except TypeError:  # a type of Numba's
        return np.dtype(str(dtype))


class _Watched:
    """An array whose cells are accessed one at a time, and noted."""

    def __init__(
        self, array: Array, name: str, launch: _Launch, shared: bool = False
    ) -> None:
        self.array, self.name, self.launch = array, name, launch
        self.shared = self.unnamed = shared
        self.number = next(launch.serial)
        self.known = np.full(array.shape, not shared)
        self.shape, self.size, self.ndim = array.shape, array.size, array.ndim
        self.dtype = array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        return f"{self.name}, an array of shape {self.shape}"

    def cell(self, index: Any, frame: FrameType) -> Index:
        """Check an index; raises where a kernel would touch what is not its own."""
        if self.unnamed:  # as the kernel itself calls it, if it has a name there
            local = frame.f_locals.items()
            self.name = next((n for n, v in local if v is self), self.name)
            self.unnamed = False
        cell = index if isinstance(index, tuple) else (index,)
        at = f"line {frame.f_lineno}: {_line(frame)}"
        if not all(isinstance(i, (int, np.integer)) for i in cell):
            raise KernelFault(
                f"{self.name}[...] takes whole numbers, one cell at a time, {at}"
            )
        inside = len(cell) == self.ndim and all(
            0 <= i < n for i, n in zip(cell, self.shape, strict=True)
        )
        if not inside:
            text = ", ".join(str(int(i)) for i in cell)
            raise KernelFault(
                f"{self.launch.at} is out of bounds: {self.name}[{text}] of shape "
                f"{self.shape}, at {at}"
            )
        return tuple(int(i) for i in cell)

    def __getitem__(self, index: Any) -> Any:
        frame = sys._getframe(1)
        cell = self.cell(index, frame)
        if not self.known[cell]:
            raise KernelFault(
                f"{self.launch.at} reads {self.name}{list(cell)} at line "
                f"{frame.f_lineno}, which no thread has written yet: shared memory is "
                "not zeroed. Or is a barrier missing?"
            )
        self.launch.note(self, cell, "reads", frame.f_lineno)
        return self.array[cell]

    def __setitem__(self, index: Any, value: Any) -> None:
        frame = sys._getframe(1)
        cell = self.cell(index, frame)
        self.launch.note(self, cell, "writes", frame.f_lineno)
        self.known[cell] = True
        self.array[cell] = value

    def update(self, index: Any, f: Callable[[Any], Any], frame: FrameType) -> Any:
        """Change a cell in one piece; returns what was there."""
        cell = self.cell(index, frame)
        self.launch.note(self, cell, "updates", frame.f_lineno)
        before = self.array[cell]
        self.array[cell] = f(before)
        return before


_Watched.__name__ = "array"  # what Python calls it where a kernel adds 1 to it, say


def _line(frame: FrameType) -> str:
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


class _Cuda:
    """What a kernel finds under the name `cuda`."""

    def __init__(self, launch: _Launch) -> None:
        self._launch = launch
        self.shared = SimpleNamespace(
            array=lambda shape, dtype: launch.at.shared_array(shape, dtype)
        )
        self.local = SimpleNamespace(
            array=lambda shape, dtype: np.empty(shape, _dtype(dtype))
        )
        self.atomic = SimpleNamespace(
            add=lambda a, i, v: a.update(i, lambda old: old + v, sys._getframe(1)),
            max=lambda a, i, v: a.update(i, lambda old: max(old, v), sys._getframe(1)),
            min=lambda a, i, v: a.update(i, lambda old: min(old, v), sys._getframe(1)),
        )

    threadIdx = property(lambda self: _dim3(self._launch.at.index))  # noqa: N815
    blockIdx = property(lambda self: _dim3(self._launch.at.block))  # noqa: N815
    blockDim = property(lambda self: _dim3(self._launch.block))  # noqa: N815
    gridDim = property(lambda self: _dim3(self._launch.grid))  # noqa: N815

    def grid(self, ndim: int) -> Any:
        """This thread's index in the grid."""
        me, block = self._launch.at, self._launch.block
        places = [b * n + t for b, n, t in zip(me.block, block, me.index, strict=True)]
        return places[0] if ndim == 1 else tuple(places[:ndim])

    def gridsize(self, ndim: int) -> Any:
        """How many threads the grid has."""
        sizes = [
            g * b for g, b in zip(self._launch.grid, self._launch.block, strict=True)
        ]
        return sizes[0] if ndim == 1 else tuple(sizes[:ndim])

    def syncthreads(self) -> None:
        """Wait for the other threads of the block."""
        self._launch.at.wait(sys._getframe(1).f_lineno)

    def __getattr__(self, name: str) -> Any:
        raise KernelFault(f"cuda.{name} is not known to the race checker")


def _dim3(index: Index) -> SimpleNamespace:
    return SimpleNamespace(x=index[0], y=index[1], z=index[2])
