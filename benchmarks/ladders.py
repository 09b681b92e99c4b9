"""The ladders of kernels, measured: every rung that runs here beside its floor.

    found = measure([family("bernoulli")], Cpu(rounds=5))

First a rung must compute what its reference computes, on the very arrays that are
timed. Then all rungs of a ladder take turns, and two yardsticks with them: a copy of as
many bytes as the floor has, and a matrix product. The floor is the time that its bytes
take at the copy's rate, or its operations at the product's, whichever is longer; both
rates are those of a call that is faster than all but a fifth (p20).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from minivae_kernels import Cost, Family, Rung
from minivae_kernels.cpu import kernel
from minivae_kernels.examples import Call, example
from minivae_kernels.proof import differences, results
from minivae_kernels.threads import by_rows, seconds

from benchmarks.report import Row
from benchmarks.timing import Sgemm, Timing, in_turns
from minivae import backend
from minivae.errors import UserError

COPY, SGEMM, FLOOR = "copy", "sgemm", "floor"
YARDSTICKS = (COPY, SGEMM)
TOLERANCE = 1e-5  # of the largest value: other sums than float64's, of many terms
LAYER = (32, 64, (14, 14), (4, 4), 2, 1)  # conv28's second, after its images

Shapes = Mapping[str, tuple[Any, ...]]
ON_CPU: Shapes = {
    **{f"philox.{what}": (1024, 784) for what in ("words", "uniforms", "normals")},
    "bernoulli": (4096, 784),
    **{f"gaussian.{way}": (4096, 32) for way in ("forward", "backward")},
    **dict.fromkeys(("sgd", "adagrad", "rmsprop", "adam"), (1, 652824)),
    **dict.fromkeys(("colsum", "bias_activation"), (4096, 400)),
    **{f"relu.{way}": (4096, 400) for way in ("forward", "backward")},
    "matmul": (512, 784),
    **{f"conv.{what}": (32, *LAYER) for what in ("forward", "adjoint", "weight")},
    "logmeanexp": (4096, 64),
}
"""The shape of each family's first array, or a convolution's images, channels ..."""
ON_CUDA: Shapes = {
    **{f"philox.{what}": (16384, 784) for what in ("words", "uniforms", "normals")},
    "bernoulli": (16384, 784),
    **{f"gaussian.{way}": (65536, 32) for way in ("forward", "backward")},
    **dict.fromkeys(("sgd", "adagrad", "rmsprop", "adam"), (1, 8000000)),
    **dict.fromkeys(("colsum", "bias_activation"), (16384, 400)),
    **{f"relu.{way}": (65536, 400) for way in ("forward", "backward")},
    "matmul": (2048, 2048),
    **{f"conv.{what}": (256, *LAYER) for what in ("forward", "adjoint", "weight")},
    "logmeanexp": (65536, 64),
}


class Timed(NamedTuple):
    """A call's time; on a device also within a graph, without gaps between calls."""

    timing: Timing
    graph_ms: float | None = None


class Place(Protocol):
    """Where rungs run and how their time is taken."""

    name: str
    shapes: Shapes
    described: dict[str, Any]  # of a device

    def moved(self, call: Call) -> Call:
        """Return the call with its arrays there."""

    def home(self, array: Any) -> Any:
        """Return an array of there as NumPy's."""

    def copy(self, count: int) -> tuple[Callable[[], object], int]:
        """Return a copy that reads and writes `count` bytes or more, and how many."""

    def product(self) -> tuple[Callable[[], object], int]:
        """Return a matrix product and its operations."""

    def peers(self, family: str, call: Call) -> Mapping[str, Callable[[], Any]]:
        """Return what others do of the same work, by name."""

    def time(self, cases: Mapping[str, Callable[[], object]]) -> dict[str, Timed]:
        """Time the cases in turns."""


@dataclass
class Entry:
    """A rung or a peer: what it moves, and its time, or why there is none."""

    name: str
    number: int | None = None  # of the rung; None for others
    runs_on: str = ""
    language: str = ""
    idea: str = ""
    moves: int | None = None  # bytes of memory, if it says so
    beside: Mapping[str, int] = field(default_factory=dict)
    floor_ms: float | None = None
    timing: Timing | None = None
    graph_ms: float | None = None
    error: float | None = None  # of the largest value
    why_not: str | None = None


@dataclass
class Ladder:
    """A family's entries on one call, with the yardsticks of the same turns."""

    family: Family
    size: str
    batch: int | None
    floor: Cost
    entries: list[Entry]
    yardsticks: dict[str, Timing]
    copied: int  # bytes of the yardstick
    multiplied: int  # its operations

    def rows(self) -> list[Row]:
        """Return a row for each entry and yardstick."""
        name, made = self.family.name, []
        for entry in self.entries:
            row = Row(name, entry.name, self.batch)
            if (t := entry.timing) is not None:
                assert entry.floor_ms is not None
                of_floor = {"ratio_to": FLOOR, "ratio": entry.floor_ms / t.p50}
                row = _timed(row, t, self.floor.flops, **of_floor)
            made.append(row)
        for stick, flops in ((COPY, 0), (SGEMM, self.multiplied)):
            row = Row(name, stick, self.batch)
            made.append(_timed(row, self.yardsticks[stick], flops))
        return made

    @property
    def copy_gbs(self) -> float:
        """Bytes a second of the copy, in 10^9: at its best, since a floor is below."""
        return self.copied / self.yardsticks[COPY].p20 / 1e6

    @property
    def sgemm_gflops(self) -> float:
        """Operations a second of the matrix product, in 10^9, at its best."""
        return self.multiplied / self.yardsticks[SGEMM].p20 / 1e6


def _timed(row: Row, timing: Timing, flops: int, **ratio: Any) -> Row:
    times = {f"{name}_ms": ms for name, ms in timing._asdict().items()}
    rate = flops / timing.p50 / 1e6 if flops else None
    return replace(row, **times, gflops=rate, **ratio)


# The processor


@kernel
def _copy(start, stop, x, y):  # type: ignore[no-untyped-def]
    y[start:stop] = x[start:stop]


class Cpu:
    """Rungs on NumPy arrays, on the threads that training has."""

    name, shapes = "cpu", ON_CPU

    def __init__(self, rounds: int, shapes: Shapes = ON_CPU) -> None:
        self.rounds, self.shapes = rounds, shapes
        self.described: dict[str, Any] = {}

    def moved(self, call: Call) -> Call:
        """Return the call as it is."""
        return call

    def home(self, array: Any) -> Any:
        """Return the array as it is."""
        return array

    def copy(self, count: int) -> tuple[Callable[[], object], int]:
        """Return a copy on as many threads as the kernels have."""
        x = np.ones(max(1, count // 8), np.float32)
        moved = 2 * x.nbytes
        return partial(
            by_rows, _copy, len(x), seconds(moved), x, np.zeros_like(x)
        ), moved

    def product(self) -> tuple[Callable[[], object], int]:
        """Return NumPy's product, on the threads that its BLAS takes by itself."""
        sgemm = Sgemm()
        return sgemm, sgemm.flops

    def peers(self, family: str, call: Call) -> Mapping[str, Callable[[], Any]]:
        """Return nothing: other libraries are measured in processes of their own."""
        return {}

    def time(self, cases: Mapping[str, Callable[[], object]]) -> dict[str, Timed]:
        """Time the cases by the clock."""

        def around(case: str) -> AbstractContextManager[Any]:
            return nullcontext() if case == SGEMM else backend.limited_threads(None)

        timings = in_turns(cases, self.rounds, around=around)
        return {name: Timed(timing) for name, timing in timings.items()}


# Measuring


def measure(families: Sequence[Family], place: Place) -> Iterator[Ladder]:
    """Yield the ladder of each family, measured.

    Raises `UserError` where a rung does not compute what its reference does.
    """
    for family in families:
        yield _ladder(family, place)


class _Work:
    """The arrays of a call, here and there, and what must come out of it.

    A family has one for each form in which its noise may come.
    """

    def __init__(self, family: Family, rung: Rung, place: Place) -> None:
        shape = place.shapes.get(family.name)
        self.call = example(family.name, shape, rung=rung)
        self.there = place.moved(self.call)
        self.right = results(family, family.rungs[0], _widened(self.call))
        self.floor = family.cost(*self.call[0], **self.call[1])


def _ladder(family: Family, place: Place) -> Ladder:
    works: dict[str, _Work] = {}
    of_entry: list[tuple[Entry, _Work]] = []
    cases: dict[str, Callable[[], object]] = {}
    for rung in family.rungs:
        if rung.needs not in works:
            works[rung.needs] = _Work(family, rung, place)
        work = works[rung.needs]
        arrays, options = work.there
        entry = _entry(rung, work.call)
        entry.why_not = rung.why_not(*arrays, **options)
        of_entry.append((entry, work))
        if entry.why_not is None:
            found = [place.home(a) for a in results(family, rung, work.there)]
            entry.error = _error(rung.name, found, work.right)
            cases[rung.name] = partial(rung.function, *arrays, **options)
    first = works[family.rungs[0].needs]
    for name, function in place.peers(family.name, first.there).items():
        returned = function()
        pair = returned if isinstance(returned, tuple) else (returned,)
        error = _error(name, [place.home(a) for a in pair], first.right)
        entry = Entry(name, runs_on=place.name, language=name, error=error)
        of_entry.append((entry, first))
        cases[name] = function
    cases[COPY], copied = place.copy(first.floor.bytes)
    cases[SGEMM], multiplied = place.product()
    timed = place.time(cases)
    sticks = {stick: timed.pop(stick).timing for stick in YARDSTICKS}
    entries = [entry for entry, _ in of_entry]
    what = (*_size(first.call), first.floor)
    made = Ladder(family, *what, entries, sticks, copied, multiplied)
    for entry, work in of_entry:
        if entry.name in timed:
            entry.timing, entry.graph_ms = timed[entry.name]
            entry.floor_ms = _floor_ms(made, work.floor)
    return made


def _entry(rung: Rung, call: Call) -> Entry:
    """Return what a rung says of itself."""
    cost = rung.cost(*call[0], **call[1]) if rung.cost else None
    return Entry(
        rung.name,
        rung.number,
        rung.runs_on,
        rung.language,
        rung.idea,
        cost.moved if cost else None,
        cost.beside if cost else {},
    )


def _floor_ms(ladder: Ladder, floor: Cost) -> float:
    by_copy = floor.bytes / ladder.copy_gbs / 1e6
    return max(by_copy, floor.flops / ladder.sgemm_gflops / 1e6)


def _error(name: str, found: list[Any], right: list[Any]) -> float:
    """Return how far results are from the reference in float64, of the largest."""
    pairs = list(zip(found, right, strict=True))
    same = [b if b.dtype.kind in "ui" else b.astype(a.dtype) for a, b in pairs]
    for fault in differences(found, same, TOLERANCE):
        raise UserError(f"{name} is wrong, and so is not timed: {fault}")
    errors = [
        float(np.abs(a.astype(np.float64) - b).max() / max(1.0, np.abs(b).max()))
        for a, b in pairs
        if a.size and b.dtype.kind not in "ui"
    ]
    return max(errors, default=0.0)


def _widened(call: Call) -> Call:
    def one(value: Any) -> Any:
        is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        return value.astype(np.float64) if is_float else value

    return [one(a) for a in call[0]], {k: one(v) for k, v in call[1].items()}


def _size(call: Call) -> tuple[str, int | None]:
    """Return the sizes of a call in words, and its batch."""
    shapes = [a.shape for a in call[0] if isinstance(a, np.ndarray)]
    if not shapes:
        return f"{call[0][3]:,} elements", None
    if len(shapes[0]) == 1:
        return f"{shapes[0][0]:,} elements", None
    words = ["×".join(map(str, shape)) for shape in dict.fromkeys(shapes)]
    return ", ".join(words), shapes[0][0]
