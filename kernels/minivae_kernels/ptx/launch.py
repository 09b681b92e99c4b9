"""Kernels to be launched: arguments from arrays, and what is known afterwards."""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minivae_kernels.ptx.errors import PtxError
from minivae_kernels.ptx.machine import Machine
from minivae_kernels.ptx.memory import PAGE, Memory
from minivae_kernels.ptx.opcodes import DTYPES
from minivae_kernels.ptx.parse import ALL, SIZES, Function, Variable, parse

Shape = int | tuple[int, ...]
Args = Sequence[Any]
span = np.lib.array_utils.byte_bounds
"""The real addresses where an array begins and ends."""


class Pointer(NamedTuple):
    """An address: `offset` bytes past the first element of an array."""

    array: NDArray[Any]
    offset: int = 0
    known: bool = True  # False: the kernel must write before it reads


Uninitialised = partial(Pointer, known=False)
"""An output: reading it before the kernel has written it is a fault."""


class Report(NamedTuple):
    """What a launch did."""

    steps: NDArray[np.int64]  # instructions of each thread
    instructions: int  # of all threads
    barriers: int  # of blocks, passed by all threads
    shared_bytes: int  # of a block
    sectors: int  # pieces of 32 bytes of global memory, as the warps request them
    bytes_read: int  # of global memory
    bytes_written: int
    traffic: dict[tuple[str, str], tuple[int, int]]
    """(Space, variable) -> bytes read and bytes written; an update does both."""


class Touch(NamedTuple):
    """One access of one thread: the `values` that it read, wrote, found or took."""

    request: int  # touches of one number are of threads that went side by side
    block: tuple[int, ...]
    thread: tuple[int, ...]
    kind: str  # "reads", "writes", "updates", or "takes" from a lane of its warp
    space: str
    name: str
    offset: int  # in bytes; of a lane, its number
    values: tuple[Any, ...]
    line: str


Trace = Generator[list[Touch], None, Report]


class Kernel(NamedTuple):
    """A kernel of a module."""

    function: Function

    def run(self, grid: Shape, block: Shape, args: Args, **options: Any) -> Report:
        """Run a grid of blocks; the arrays among `args` are written in place.

        A pointer takes an array, a `Pointer` or None. Options are `shared_bytes` (of
        the array without a size), `detect` (look for races, divergent barriers, reads
        of unwritten memory: True), `noise` (-1, 0 or 1: move approximate instructions
        to the edge of their error) and `limit` (on the number of instructions).
        """
        machine = launched(self.function, (grid, block), args, options)
        for _ in machine.phases():
            pass
        return finished(machine)


def trace(kernel: Kernel, grid: Shape, block: Shape, args: Args, **how: Any) -> Trace:
    """Yield, barrier by barrier, what each thread reads and writes, in order.

    Takes what `Kernel.run` takes, and returns what it returns. Where a kernel is at
    fault, what came before in its phase is yielded, then the error raised.
    """
    machine = launched(kernel.function, (grid, block), args, how)
    touches, requests = list[Touch](), count()

    def observe(pc: int, kind: str, lanes: Any, places: Any, values: Any) -> None:
        number, line = next(requests), kernel.function.body[pc].line
        for lane, (space, name, at), value in zip(lanes, places, values, strict=True):
            place = kind, space, name, at
            touches.append(Touch(number, *machine.spot(lane), *place, (*value,), line))

    machine.observe = observe
    try:
        for _ in machine.phases():
            yield touches
            touches = []
    except PtxError:
        yield touches
        raise
    yield touches
    return finished(machine)


def load(text: str) -> dict[str, Kernel]:
    """Return the kernels of a PTX text by name; raises `PtxError` if it is none."""
    return {f.name: Kernel(f) for f in parse(text)}


# A launch


def launched(f: Function, shapes: Any, args: Args, options: Any) -> Machine:
    """Return a machine with the memory of a kernel laid out and the arguments in it."""
    shared_bytes = options.pop("shared_bytes", 0)
    grid, block = ((*np.atleast_1d(shape).tolist(), 1, 1)[:3] for shape in shapes)
    machine = Machine(f, grid, block, **options)
    if len(args) != len(f.params):
        raise PtxError(f"{f.name} takes {len(f.params)} arguments, got {len(args)}")
    variables, words = [], place(machine.memory, args)
    for number, (v, word) in enumerate(zip(f.params, words, strict=True)):
        if not isinstance(word, np.generic):
            word = np.array(word or 0).astype(DTYPES[v.type])
        if word.nbytes != v.size:
            says = f"argument {number} has {v.size} bytes, got {args[number]!r:.60}"
            raise PtxError(f"{f.name}: {says}")
        variables.append(replace(v, content=word.tobytes(), copies=ALL))
    texts = " ".join(text for step in f.body for text in step.operands)
    used = (v for v in f.variables if v.name in texts)
    variables += [replace(v, size=v.size or shared_bytes) for v in used]
    for v in variables:
        machine.registers[v.name] = machine.memory.add(v).astype(np.uint64)
    kinds = [step.parts[-1] for step in f.body if step.parts[0] in ("ld", "st")]
    machine.memory.allocate(min(4, *(SIZES.get(kind, 4) for kind in kinds), 4))
    return machine


def place(memory: Memory, args: Args) -> list[Any]:
    """Make room for the arrays among the arguments; return these as addresses.

    Arrays that overlap share a region. An array lies in its region as it does in the
    array that owns its memory, which begins at a multiple of 256.
    """
    words = [Pointer(a) if isinstance(a, np.ndarray) else a for a in args]
    given = {k: a for k, a in enumerate(words) if isinstance(a, Pointer)}
    groups, end = list[list[int]](), 0
    for (low, high), k in sorted((span(a.array), k) for k, a in given.items()):
        if low >= end:
            groups.append([])
        groups[-1].append(k)
        end = max(end, high)
    for group in groups:
        arrays = [given[k].array for k in group]
        low, high = span(arrays[0])[0], max(span(array)[1] for array in arrays)
        real = np.ctypeslib.as_array((ctypes.c_uint8 * (high - low)).from_address(low))
        known = any(given[k].known for k in group)
        writable = any(array.flags.writeable for array in arrays)
        while isinstance(arrays[0].base, np.ndarray):
            arrays[0] = arrays[0].base
        past, name = (low - span(arrays[0])[0]) % PAGE, f"argument {group[0]}"
        v = Variable("global", past, "", name, high - low, real, known, writable)
        start = memory.add(v)[0] - low
        for k in group:
            words[k] = np.uint64(start + given[k].array.ctypes.data + given[k].offset)
    return words


def finished(machine: Machine) -> Report:
    """Write the arrays back and say what was done."""
    memory, regions, steps = machine.memory, machine.memory.regions, machine.steps
    for v in regions:
        if isinstance(v.content, np.ndarray) and v.writable:
            v.content[:] = memory.views[1][v.start :][: v.size]
    moved = memory.traffic[:2] + memory.traffic[2]  # an update reads and writes
    shared = sum(v.size for v in regions if v.space == "shared")
    total, (read, written) = int(steps.sum()), moved[:, memory.within["global"]].sum(1)
    counts = total, machine.barriers, shared, memory.sectors, int(read), int(written)
    pairs = zip(regions, map(tuple, moved.T.tolist()), strict=True)
    return Report(steps, *counts, {(v.space, v.name): pair for v, pair in pairs})
