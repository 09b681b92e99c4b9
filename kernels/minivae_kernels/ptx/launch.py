"""Kernels to be launched: arguments from arrays, and what is known afterwards."""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minivae_kernels.ptx.errors import PtxError
from minivae_kernels.ptx.machine import Machine, Request
from minivae_kernels.ptx.memory import PAGE, Memory
from minivae_kernels.ptx.opcodes import DTYPES
from minivae_kernels.ptx.parse import ALL, SIZES, Kernel, Variable, load

__all__ = ["Kernel", "Report", "Request", "Uninitialised", "load", "run", "trace"]
Shape = int | tuple[int, ...]
Args = Sequence[Any]
span = np.lib.array_utils.byte_bounds
"""The real addresses where an array begins and ends."""


class Uninitialised(NamedTuple):
    """An output: reading it before the kernel has written it is a fault."""

    array: NDArray[Any]


class Report(NamedTuple):
    """What a launch did."""

    steps: NDArray[np.int64]  # instructions of each thread
    barriers: int  # of blocks, passed by all threads
    shared_bytes: int  # of a block
    sectors: int  # pieces of 32 bytes of global memory, as the warps request them
    bytes_read: int  # of global memory
    bytes_written: int


Trace = Generator[list[Request], None, Report]


def run(kernel: Kernel, grid: Shape, block: Shape, args: Args, **how: Any) -> Report:
    """Run a grid of blocks; the arrays among `args` are written in place.

    A pointer takes an array, an output as `Uninitialised`, or None. Options are `names`
    (of the arguments, for messages), `shared_bytes` (of the array without a size),
    `detect` (look for races, divergent barriers, reads of unwritten memory: True),
    `noise` (-1, 0 or 1: move approximate instructions to the edge of their error) and
    `limit` (on the number of instructions).
    """
    machine = launched(kernel, (grid, block), args, how)
    for _ in machine.phases():
        pass
    return finished(machine)


def trace(kernel: Kernel, grid: Shape, block: Shape, args: Args, **how: Any) -> Trace:
    """Yield, barrier by barrier, the requests of threads to memory, in order.

    Takes what `run` takes, and returns what it returns. Where a kernel is at
    fault, what came before in its phase is yielded, then the error raised.
    """
    machine = launched(kernel, (grid, block), args, how)
    machine.requests = []
    try:
        for _ in machine.phases():
            yield machine.requests
            machine.requests = []
    except PtxError:
        yield machine.requests
        raise
    yield machine.requests
    return finished(machine)


# A launch


def launched(f: Kernel, shapes: Any, args: Args, options: Any) -> Machine:
    """Return a machine with the memory of a kernel laid out and the arguments in it."""
    shared_bytes, names = options.pop("shared_bytes", 0), options.pop("names", ())
    names = names or [f"argument {k}" for k in range(len(args))]
    grid, block = ((*np.atleast_1d(shape).tolist(), 1, 1)[:3] for shape in shapes)
    machine = Machine(f, grid, block, **options)
    if len(args) != len(f.params):
        raise PtxError(f"{f.name} takes {len(f.params)} arguments, got {len(args)}")
    variables, words = [], place(machine.memory, args, names)
    for v, name, arg, word in zip(f.params, names, args, words, strict=True):
        if not isinstance(word, np.generic):
            word = np.array(word or 0).astype(DTYPES[v.type])
        if word.nbytes != v.size:
            raise PtxError(f"{f.name}: {name} has {v.size} bytes, got {arg!r:.60}")
        variables.append(replace(v, content=word.tobytes(), copies=ALL))
    variables += [replace(v, size=v.size or shared_bytes) for v in f.variables]
    machine.registers |= {v.name: machine.memory.add(v).view("u8") for v in variables}
    kinds = [step.parts[-1] for step in f.body if step.parts[0] in ("ld", "st")]
    machine.memory.allocate(min(4, *(SIZES.get(kind, 4) for kind in kinds), 4))
    return machine


def place(memory: Memory, args: Args, names: Sequence[str]) -> list[Any]:
    """Make room for the arrays among the arguments; return these as addresses.

    Arrays that overlap share a region. An array lies in its region as it does in the
    array that owns its memory, which begins at a multiple of 256.
    """
    words = [a.array if isinstance(a, Uninitialised) else a for a in args]
    bounds = [(span(a), k) for k, a in enumerate(words) if isinstance(a, np.ndarray)]
    groups, start, end = dict[int, list[int]](), 0, 0
    for (low, high), k in sorted(bounds):
        start, end = (low, high) if low >= end else (start, max(end, high))
        groups.setdefault(start, []).append(k)
    for low, group in groups.items():
        arrays = [words[k] for k in group]
        high = max(span(array)[1] for array in arrays)
        real = np.ctypeslib.as_array((ctypes.c_uint8 * (high - low)).from_address(low))
        known = any(args[k] is words[k] for k in group)
        writable = any(array.flags.writeable for array in arrays)
        while isinstance(arrays[0].base, np.ndarray):
            arrays[0] = arrays[0].base
        past, name = (low - span(arrays[0])[0]) % PAGE, names[group[0]]
        v = Variable("global", past, "", name, high - low, real, known, writable)
        start = memory.add(v)[0] - low
        for k in group:
            words[k] = np.uint64(start + words[k].ctypes.data)
    return words


def finished(machine: Machine) -> Report:
    """Write the arrays back and say what was done."""
    memory, steps = machine.memory, machine.steps
    for v in memory.regions:
        if isinstance(v.content, np.ndarray) and v.writable:
            v.content[:] = memory.arena[v.start :][: v.size]
    shared = sum(v.size for v in memory.regions if v.space == "shared")
    counts = int(memory.clocks[0].sum()), shared, memory.sectors
    return Report(steps, *counts, *memory.moved.tolist())
