"""Kernels to be launched: arguments from arrays, and what is known afterwards."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minivae_kernels.ptx.errors import PtxError
from minivae_kernels.ptx.machine import Machine, literal
from minivae_kernels.ptx.memory import PAGE, Access, Region
from minivae_kernels.ptx.opcodes import DTYPES
from minivae_kernels.ptx.parse import SIZES, Function, Variable, parse

Shape = int | tuple[int, ...]


@dataclass(frozen=True)
class Pointer:
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
    """One access of one thread: `values` it read, wrote, or found at an update."""

    block: tuple[int, ...]
    thread: tuple[int, ...]
    kind: str  # "reads", "writes" or "updates"
    space: str
    name: str
    offset: int  # in bytes
    values: tuple[Any, ...]
    line: str


class Launch(Machine):
    """A kernel with its memory laid out and the arguments in it."""

    def __init__(self, kernel: Kernel, shapes: Any, args: Any, **options: Any) -> None:
        shared_bytes, function = options.pop("shared_bytes", 0), kernel.function
        grid, block = ((s,) if isinstance(s, int) else tuple(s) for s in shapes)
        super().__init__(function, (*grid, 1, 1)[:3], (*block, 1, 1)[:3], **options)
        if len(args) != len(function.params):
            says = f"takes {len(function.params)} arguments, got {len(args)}"
            raise PtxError(f"{function.name} {says}")
        self.back: list[Any] = []  # bytes of the caller, and the region they are in
        addresses = self.place(args)
        for number, (arg, param) in enumerate(zip(args, function.params, strict=True)):
            word = addresses.get(number, arg)
            if not isinstance(word, np.generic):
                word = literal(str(+word if word else 0), DTYPES[param.type])
            if word.nbytes != param.size:
                says = f"argument {number} has {param.size} bytes, got {arg!r:.60}"
                raise PtxError(f"{function.name}: {says}")
            self.declare(param, "param", param.size, word.tobytes(), True, False)
        texts = " ".join(text for step in function.body for text in step.operands)
        for v in (*kernel.variables, *function.variables):
            if v.name in texts:
                space, size = v.space.replace("param", "local"), v.size or shared_bytes
                state = space != "shared", space != "const"  # known, writable
                self.declare(v, space, size, initial(v), *state)
        parts = [step.parts for step in function.body if step.parts[0] in ("ld", "st")]
        self.memory.allocate(min(4, *(SIZES.get(part[-1], 4) for part in parts), 4))

    def declare(self, v: Variable, *region: Any) -> None:
        """Make room for a variable, no better aligned than it says."""
        self.symbols[v.name] = self.memory.add(Region(v.name, *region), v.align)

    def place(self, args: Sequence[Any]) -> dict[int, np.uint64]:
        """Make room for the arrays among the arguments; return their addresses.

        Arrays that overlap share a region. An array lies in its region as it does in
        the array that owns its memory, which begins at a multiple of 256.
        """
        wrap = {k: Pointer(a) for k, a in enumerate(args) if isinstance(a, np.ndarray)}
        wrap |= {k: a for k, a in enumerate(args) if isinstance(a, Pointer)}
        found, order = {}, sorted(wrap, key=lambda k: span(wrap[k].array))
        while order:
            (low, high), group = span(wrap[order[0]].array), [order.pop(0)]
            while order and span(wrap[order[0]].array)[0] < high:
                group.append(order.pop(0))
                high = max(high, span(wrap[group[-1]].array)[1])
            buffer = (ctypes.c_uint8 * (high - low)).from_address(low)
            real, owner = np.ctypeslib.as_array(buffer), wrap[group[0]].array
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            known = any(wrap[k].known for k in group)
            writable = any(wrap[k].array.flags.writeable for k in group)
            name, size = f"argument {group[0]}", high - low
            region = Region(name, "global", size, real, known, writable)
            start = self.memory.add(region, (low - span(owner)[0]) % PAGE) - low
            self.back.append((real, region))
            for k in group:
                place = start + wrap[k].array.ctypes.data + wrap[k].offset
                found[k] = np.uint64(place)
        return found

    def finish(self) -> Report:
        """Write the arrays back and say what was done."""
        memory, regions = self.memory, self.memory.regions
        for real, region in self.back:
            if region.writable:
                real[:] = memory.bytes_of(region)
        moved = np.stack([memory.traffic["reads"], memory.traffic["writes"]])
        moved += memory.traffic["updates"]
        shared = sum(region.size for region in regions if region.space == "shared")
        counts: list[Any] = [self.steps, int(self.steps.sum()), self.barriers, shared]
        counts += [memory.sectors, *moved[:, memory.outside].sum(1).tolist()]
        pairs = zip(regions, map(tuple, moved.T.tolist()), strict=True)
        counts.append({(region.space, region.name): pair for region, pair in pairs})
        return Report(*counts)


def initial(variable: Variable) -> bytes:
    """Return the bytes a variable of the module starts with."""
    dtype = DTYPES[variable.type]
    return b"".join(literal(value, dtype).tobytes() for value in variable.values)


def span(array: NDArray[Any]) -> tuple[int, int]:
    """Return the real addresses where an array begins and ends."""
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high if array.size else low


class Kernel(NamedTuple):
    """A kernel of a module, and the variables of the module."""

    function: Function
    variables: list[Variable]

    def run(
        self, grid: Shape, block: Shape, args: Sequence[Any], **options: Any
    ) -> Report:
        """Run a grid of blocks; the arrays among `args` are written in place.

        A pointer takes an array, a `Pointer` or None. Options are `shared_bytes` (of
        the array without a size), `detect` (look for races, divergent barriers, reads
        of unwritten memory: True), `noise` (-1, 0 or 1: move approximate instructions
        to the edge of their error) and `limit` (on the number of instructions).
        """
        launch = Launch(self, (grid, block), args, **options)
        for _ in launch.phases():
            pass
        return launch.finish()


def trace(
    kernel: Kernel, grid: Shape, block: Shape, args: Sequence[Any], **options: Any
) -> Iterator[list[Touch]]:
    """Yield, barrier by barrier, what each thread reads and writes, in order.

    Takes what `Kernel.run` takes.
    """
    launch, touches = Launch(kernel, (grid, block), args, **options), list[Touch]()

    def observe(access: Access, values: Any) -> None:
        line = kernel.function.body[access.step].line
        each = zip(access.lanes, access.addresses, values, strict=True)
        for lane, at, value in each:
            near = launch.memory.near(at)
            block, thread = launch.spot(lane)
            place = near.space, near.name, int(at - near.start)
            touch = Touch(block, thread, access.kind, *place, tuple(value), line)
            touches.append(touch)

    launch.observe = observe
    for _ in launch.phases():
        yield touches
        touches = []
    launch.finish()


class Module(dict[str, Kernel]):
    """The kernels of a PTX text, by name."""

    def only(self) -> Kernel:
        """Return the kernel of a text that has one."""
        (kernel,) = self.values()
        return kernel


def load(text: str) -> Module:
    """Read PTX; raises `PtxError` where it cannot be read."""
    functions, variables = parse(text)
    return Module({f.name: Kernel(f, variables) for f in functions})
