"""What the threads of a CUDA kernel do: a launch recorded, access by access.

    recording = record_launch("bernoulli", "block_tree")
    recording.save("launch.json")

The kernels of a rung run in the interpreter of PTX on a few numbers. What is recorded
is plain: the launches, in each the epochs that barriers divide, in each the requests in
their order. A request is one instruction, executed by threads side by side: which of
them touches which bytes, with which values, and how many sectors of 32 bytes it takes.
Where a kernel is at fault, the fault ends the recording and is part of it.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from minivae_kernels import devices, examples, family, nvrtc

from minivae.errors import UserError
from minivae.files import write

FORMAT, VERSION = "minivae launch", 1
FAULTY = "missing_barrier"
"""A kernel of its own, which lacks a barrier: what a race looks like."""
SHAPES = {"matmul": (5, 8), "colsum": (6, 4), "logmeanexp": (4, 8)}
CONVOLUTIONS = ("conv.forward", "conv.adjoint", "conv.weight")
SHAPES |= dict.fromkeys(CONVOLUTIONS, examples.LOOKED_AT)
SHAPE = (2, 8)  # of the first array of any other family
MOST_TOUCHES = 100_000
SECTOR, WARP = 32, 32
Number = int | float | str  # of a float that is not finite, its name


@dataclass(frozen=True)
class Touch:
    """What one thread does; `offset` counts bytes (of a lane: its number)."""

    block: int
    thread: int
    offset: int
    values: tuple[Number, ...]


@dataclass(frozen=True)
class Request:
    """One instruction of threads side by side."""

    kind: str  # "reads", "writes", "updates" or "takes"
    space: str  # "global", "shared", "local", or "warp" where a lane's value is taken
    array: str
    line: str  # of the source, "bernoulli.cu:34"; "" where it is not known
    item: int  # bytes of one value
    touches: tuple[Touch, ...]
    sectors: int  # that global memory moves for it

    @property
    def bytes(self) -> int:
        """How many bytes the threads ask for."""
        return sum(self.item * len(touch.values) for touch in self.touches)


@dataclass(frozen=True)
class Memory:
    """An array of a launch; a shared one has a copy for each block."""

    name: str
    space: str
    size: int  # in bytes
    item: int  # bytes of a cell
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """What the interpreter refused, and the two threads of a race."""

    kind: str  # "RaceError"
    message: str
    epoch: int
    space: str
    array: str
    offset: int
    item: int  # bytes of a cell
    threads: tuple[tuple[int, int], ...]  # (block, thread); the second came before
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Launch:
    """One kernel, launched once."""

    kernel: str
    language: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    memories: tuple[Memory, ...]
    epochs: tuple[tuple[Request, ...], ...]
    fault: Fault | None = None


@dataclass(frozen=True)
class LaunchRecording:
    """All launches of one call of a rung."""

    family: str
    rung: str
    idea: str
    launches: tuple[Launch, ...]
    sources: dict[str, str]  # "bernoulli.cu:34" -> the text of that line
    version: int = VERSION

    def as_json(self) -> str:
        """Return the recording as JSON."""
        return json.dumps({"format": FORMAT, **asdict(self)}, allow_nan=False)

    def save(self, path: str | Path) -> None:
        """Write the recording."""
        write(Path(path), f"{self.as_json()}\n".encode())

    def steps(self) -> Iterator[tuple[Launch, int, Request]]:
        """Yield every request with its launch and the number of its epoch, from 0."""
        for launch in self.launches:
            for number, epoch in enumerate(launch.epochs):
                for request in epoch:
                    yield launch, number, request


def record_launch(name: str, rung: str | None = None) -> LaunchRecording:
    """Record a rung of a family on a few numbers; without a name, its first for CUDA.

    Raises `UserError` where there is none, or the interpreter is not installed.
    """
    if reason := devices.why_no_ptx():
        raise UserError(f"the kernel step-through runs PTX, and {reason}")
    recorder = _Recorder()
    if name == FAULTY:
        if rung is not None:
            raise UserError(f"{FAULTY} is one kernel and has no rungs")
        idea = "a sum by a tree in shared memory that lacks a barrier"
        recorder.missing_barrier()
        return recorder.recording("a mistake", name, idea)
    if name not in examples.CALLS:
        names = ", ".join((*examples.CALLS, FAULTY))
        raise UserError(f"no kernel family {name!r}; have {names}")
    rungs = {r.name: r for r in family(name).rungs if r.runs_on == "cuda" and r.kernels}
    short = {key.removeprefix(f"{name}_"): r for key, r in rungs.items()}
    chosen = (short | rungs).get(rung) if rung else next(iter(rungs.values()), None)
    if chosen is None:
        raise UserError(f"{name} has no CUDA rung {rung!r}; have {', '.join(rungs)}")
    shape = SHAPES.get(name, SHAPE)
    arrays, options = examples.example(name, shape, np.float32, rung=chosen)
    with devices.running_on("ptx") as session:
        session.watch = recorder.watch
        if reason := chosen.why_not(*arrays, **options):
            raise UserError(f"{name}:{chosen.name} {reason}")
        chosen.function(*arrays, **options)
    return recorder.recording(name, chosen.name, chosen.idea)


class _Recorder:
    """Collects launches as they happen."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        self.places: dict[str, Path] = {}  # of the source lines met: "a.cu:3" -> file
        self.count = 0

    def watch(self, launcher: Any, entry: Any, words: list[Any], options: Any) -> Any:
        """Run a launch in the place of the interpreter's own `run`."""
        kernel = launcher.kernel
        names = [p.name for p in kernel.parameters for _ in _words_of(kernel, p)]
        options["detect"] = True
        return self.run(
            (str(kernel), kernel.language),
            entry,
            launcher.grid,
            launcher.block,
            dict(zip(range(len(words)), names, strict=True)),
            words,
            options,
        )

    def missing_barrier(self) -> None:
        """Launch the kernel with the mistake."""
        from minivae_kernels import ptx

        path = Path(__file__).parent / f"{FAULTY}.cu"
        text = path.read_text(encoding="utf-8")
        entry = ptx.load(nvrtc.compile_cuda_c(text, str(path)).ptx)[FAULTY]
        x, out = np.arange(1, 17, dtype=np.float32), np.zeros(1, np.float32)
        called, shape = {0: "x", 1: "out"}, ((1, 1, 1), (16, 1, 1))
        with suppress(ptx.PtxError):  # which is what it is for: it has been recorded
            self.run((FAULTY, "CUDA C"), entry, *shape, called, [x, out], {})

    def run(
        self,
        kernel: tuple[str, str],
        entry: Any,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        names: dict[int, str],
        words: list[Any],
        options: dict[str, Any],
    ) -> Any:
        """Trace a launch, note it, and return the interpreter's report."""
        from minivae_kernels import ptx

        arrays = {names[k]: w for k, w in enumerate(words) if isinstance(w, np.ndarray)}
        called = {f"argument {k}": name for k, name in names.items()}
        trace = ptx.trace(entry, grid, block, words, **options)
        epochs: list[tuple[Request, ...]] = []
        extents = grid, block
        fault, report = None, None
        while True:
            try:
                epochs.append(self._epoch(next(trace), called, extents))
            except StopIteration as end:
                report = end.value
                break
            except ptx.PtxError as error:
                fault = _fault(error, len(epochs) - 1, called, extents)
                break
        sizes = {v.name: v.size for v in entry.function.variables}
        memories = _memories(arrays, epochs, {nice(k): n for k, n in sizes.items()})
        launch = Launch(*kernel, grid, block, memories, tuple(epochs), fault)
        self.launches.append(launch)
        if fault is not None:
            raise ptx.PtxError(fault.message)
        return report

    def _epoch(
        self, touches: list[Any], called: dict[str, str], extents: Any
    ) -> tuple[Request, ...]:
        self.count += len(touches)
        if self.count > MOST_TOUCHES:
            raise UserError(
                f"more than {MOST_TOUCHES} accesses: too many to step through"
            )
        groups = defaultdict(list)
        for touch in touches:
            if touch.space not in ("param", "const"):
                groups[touch.request].append(touch)
        return tuple(self._request(g, called, extents) for g in groups.values())

    def _request(
        self, group: list[Any], called: dict[str, str], extents: Any
    ) -> Request:
        first, (grid, block) = group[0], extents
        path, _, row = first.line.rpartition(":")
        line = f"{Path(path).name}:{row}" if path else ""
        if path:
            self.places.setdefault(line, Path(path))
        item = int(np.asarray(first.values[0]).itemsize)
        found = tuple(
            Touch(
                _index(t.block, grid),
                _index(t.thread, block),
                t.offset,
                tuple(_plain(v, t.kind) for v in t.values),
            )
            for t in group
        )
        name = called.get(first.name) or nice(first.name)
        sectors = _sectors(found, item) if first.space == "global" else 0
        return Request(first.kind, first.space, name, line, item, found, sectors)

    def recording(self, name: str, rung: str, idea: str) -> LaunchRecording:
        """Return what was collected."""
        sources = {line: _text_of(line, path) for line, path in self.places.items()}
        return LaunchRecording(name, rung, idea, tuple(self.launches), sources)


def _words_of(kernel: Any, parameter: Any) -> Iterator[Any]:
    """Yield something for each word that a parameter of a kernel has."""
    one = np.zeros((1,) * parameter.ndim, np.float32)
    return kernel.flattened(one if parameter.ndim else 0, parameter)


def _index(place: tuple[int, ...], extents: tuple[int, ...]) -> int:
    x, y, z = place
    return x + extents[0] * (y + extents[1] * z)


def _plain(value: Any, kind: str) -> Number:
    """Return a number; a shuffle moves 32 bits, which in our kernels are a float's."""
    array = np.asarray(value)
    number: int | float = (array.view("f4") if kind == "takes" else array).item()
    return number if math.isfinite(number) else str(number)


def nice(name: str) -> str:
    """Return a variable's name as its source has it, from the compiler's."""
    if name.startswith("_ZZ") and (found := re.search(r"E(\d+)([A-Za-z_]\w*)$", name)):
        return found[2][: int(found[1])]
    return name.strip("_").removeprefix("cudapy_").replace("smem", "shared")


def _sectors(touches: tuple[Touch, ...], item: int) -> int:
    """Return how many sectors the warps ask for: each counts its own."""
    return len({(t.block, t.thread // WARP, t.offset // SECTOR) for t in touches})


def _memories(
    arrays: dict[str, Any], epochs: list[tuple[Request, ...]], sizes: dict[str, int]
) -> tuple[Memory, ...]:
    """Return the arrays that were touched, in the order of their first touch."""
    found: dict[tuple[str, str], Memory] = {}
    for request in (request for epoch in epochs for request in epoch):
        key = request.space, request.array
        if request.space == "warp":
            continue
        item, array = request.item, arrays.get(request.array)
        end = max(t.offset + item * len(t.values) for t in request.touches)
        before = found[key].size if key in found else 0
        size = max(sizes.get(request.array, 0), end, before)
        shape: tuple[int, ...] = (size // item,)
        if array is not None:
            size, item, shape = array.nbytes, array.itemsize, array.shape
        found[key] = Memory(request.array, request.space, size, item, shape)
    return tuple(found.values())


PLACE = re.compile(r"block \((\d+), (\d+), (\d+)\), thread \((\d+), (\d+), (\d+)\)")
CELL = re.compile(r"at byte (-?\d+) of (\w+) (argument \d+|\S+) \(")
SIZE = re.compile(r"(?:reads|writes|updates) (\d+) bytes")
LINE = re.compile(r"(\S+:\d+), block")


def _fault(error: Exception, epoch: int, called: dict[str, str], extents: Any) -> Fault:
    """Read what the interpreter's message says."""
    text, (grid, block) = str(error), extents
    threads = []
    for found in PLACE.findall(text):
        numbers = tuple(map(int, found))
        threads.append((_index(numbers[:3], grid), _index(numbers[3:], block)))
    cell = CELL.search(text)
    offset, space, name = (int(cell[1]), cell[2], cell[3]) if cell else (0, "", "")
    lines = tuple(Path(line).name for line in LINE.findall(text))
    own = called.get(name) or nice(name)
    text = re.sub(r"\S*/(\S+:\d+)", r"\1", text).replace(name or "\0", own)
    item = int(found[1]) if (found := SIZE.search(text)) else 1
    kind = type(error).__name__
    return Fault(kind, text, epoch, space, own, offset, item, tuple(threads), lines)


def _text_of(line: str, path: Path) -> str:
    """Return a line of a source file, or nothing where the file is not there."""
    row = int(line.rpartition(":")[2])
    for candidate in (path, nvrtc.FOLDER / path.name):
        if candidate.is_file():
            lines = candidate.read_text(encoding="utf-8").splitlines()
            return lines[row - 1].strip() if row <= len(lines) else ""
    return ""
