"""The machine: all threads of a launch, side by side in NumPy arrays.

A register is an array with one element a thread, and so is `pc`: the instruction that
each thread stands at. Threads that stand at the same one execute it together; those at
the lowest go first, so that threads which took different branches meet again. At a
barrier threads wait until all that it names are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minivae_kernels.ptx import errors
from minivae_kernels.ptx.memory import Lanes, Memory
from minivae_kernels.ptx.opcodes import DTYPES, enter, look_up
from minivae_kernels.ptx.parse import BLOCK, SIZES, SPACES, WARP, Kernel, Step, number

LANES = 32  # of a warp
WAITS, GONE = 1 << 40, 1 << 41  # added to the pc of one who waits; of one who has left
NUMBERS, WHOLE = " ".join(SIZES), 0xFFFFFFFF  # types, and a warp
UPDATES: dict[str, Any] = {"add": np.add, "min": np.minimum, "max": np.maximum}
UPDATES |= {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
UPDATES |= {"exch": lambda old, b: b, "cas": lambda old, a, b: b if old == a else old}
MODIFIERS = "volatile relaxed acquire release acq_rel weak cta gpu sys "
MODIFIERS += f"nc ca cg cs lu cv wb wt v2 v4 {' '.join((*SPACES, *UPDATES))}"


class Request(NamedTuple):
    """What threads read, wrote, found or took, side by side."""

    line: str
    kind: str  # "reads", "writes", "updates", or "takes" from a lane of its warp
    threads: Lanes  # numbered through the launch
    places: list[tuple[str, str, int]]  # space, variable, byte; of a lane its number
    values: NDArray[Any]  # thread, number


@dataclass
class Machine:
    """A kernel in execution, by `grid` blocks of `block` threads, as (x, y, z)."""

    kernel: Kernel
    grid: tuple[int, ...]
    block: tuple[int, ...]
    detect: bool = True  # races, divergent barriers, reads of unwritten memory
    noise: int = 0  # of approximate instructions: -1, 0 or 1 times their error
    limit: int = 1_000_000  # instructions of a thread
    requests: list[Request] | None = None  # a list: what goes on is noted there

    def __post_init__(self) -> None:
        self.size, extents = prod(self.block), (*self.grid[::-1], *self.block[::-1])
        if min(extents) < 1 or self.size > 1024:
            says = f"{self.grid} blocks of {self.block} threads cannot be"
            raise errors.PtxError(f"{self.kernel.name}: {says}")
        self.everyone = np.arange(prod(extents))
        number, thread = np.divmod(self.everyone, self.size)
        inner, self.lane = np.divmod(thread, LANES)
        warp = number * -(-self.size // LANES) + inner
        self.teams = np.stack([0 * number, number, warp, self.everyone])
        self.memory = Memory(self.teams, self.detect, self.where)
        self.places = np.unravel_index(self.everyone, extents)
        known = {"%laneid": self.lane, "%warpid": inner, "WARP_SZ": LANES}
        axes = [f"{what}.{axis}" for what in ("ctaid", "tid") for axis in "zyx"]
        known |= {f"%{name}": self.places[k] for k, name in enumerate(axes)}
        known |= {f"%n{name}": extents[k] for k, name in enumerate(axes)}
        known |= dict.fromkeys((*self.kernel.registers, "%clock", "_"), 0)
        self.registers = {k: np.full(prod(extents), v, "u8") for k, v in known.items()}
        self.action = cache(self.bind)
        self.pc, self.steps = 0 * self.everyone, 0 * self.everyone

    def phases(self) -> Iterator[None]:
        """Run; stop at each barrier that threads pass."""
        code = self.kernel.body
        while (pc := int(self.pc.min())) < len(code):
            there = lanes = self.everyone[self.pc == pc]
            start, ahead = pc, self.pc[self.pc > pc]
            meeting = int(ahead.min()) if len(ahead) else len(code)
            with np.errstate(all="ignore"):
                while there is lanes and pc < meeting:
                    there = self.action(pc)(lanes)
                    pc += 1
            self.pc[there] = pc
            self.steps[self.at(lanes)] += pc - start
            if self.steps[lanes[0]] > self.limit:
                says = f"no end after {self.limit} instructions: does a loop end?"
                raise errors.PtxError(f"{self.where(pc - 1, lanes[0])}: {says}")
            if code[pc - 1].parts[0] in ("bar", "barrier"):
                yield
        if pc < GONE:  # some wait for others that never come
            who, block = int(self.pc.argmin()), self.teams[BLOCK]
            mates = self.pc[block == block[who]]
            here, gone = (mates == pc).sum(), (mates == GONE).sum()
            says = f"{here} of {self.size} threads of the block wait, {gone} are gone"
            raise errors.DivergentBarrierError(f"{self.where(pc - WAITS, who)}: {says}")

    def at(self, lanes: Lanes) -> Any:
        """Return the index of threads in a register, or in what is like one."""
        return slice(None) if len(lanes) == len(self.everyone) else lanes

    def where(self, pc: int, lane: int) -> str:
        """Return what a thread executes and where, in words."""
        step, z_to_x = self.kernel.body[pc], [int(place[lane]) for place in self.places]
        block, thread = tuple(z_to_x[2::-1]), tuple(z_to_x[:2:-1])
        who = f"{self.kernel.name} {step.line}".strip()
        return f"{who}, block {block}, thread {thread}: `{step.text}`"

    # From text to actions

    def bind(self, pc: int) -> Callable[[Lanes], Lanes]:
        """Return what an instruction does to threads; which go on, that returns."""
        step = self.kernel.body[pc]
        try:
            row, kinds, wanted, function = look_up(step.parts, self.noise)
            first = step.width * (len(kinds) > 0)  # where the results go
            into, out = step.operands[:first], step.operands[first:]
            if row.method:
                kinds, wanted = kinds[: len(into)], wanted[: len(out)]
                function = partial(row.function, self, step)
            if "{" in step.text and step.parts[0] == "mov":  # a register and its parts
                bits = 8 * SIZES[kinds[0]]
                kinds, wanted = ([f"b{bits // len(s)}"] * len(s) for s in (into, out))
                function = partial(regroup, DTYPES[kinds[0]])
            puts = [self.target(*pair) for pair in zip(into, kinds, strict=True)]
            gets = [self.source(*pair) for pair in zip(out, wanted, strict=True)]
            guard = self.source(step.guard, "pred") if step.guard else None
        except (LookupError, ValueError) as error:
            says = f"{step.line}: unknown instruction `{step.text}`"
            raise errors.UnknownInstructionError(says.removeprefix(": ")) from error
        parting = {"bra", "ret", "exit", "sync"} & {*step.parts}

        def act(lanes: Lanes) -> Lanes:
            here, rest = lanes, lanes[:0]
            if guard:
                taken = guard(self.at(lanes))
                here, rest = lanes[taken], lanes[~taken]
            if "sync" in parting and len(here):
                here = self.meet(step, here, gets[-1])
            if len(here):
                at = self.at(here)
                results = function(here, *[get(at) for get in gets]) or ()
                for put, result in zip(puts, results, strict=False):
                    put(at, result)
            return rest if parting else lanes

        return act

    def view(self, name: str, kind: str) -> Any:
        """Return a register, which has 64 bits, or its lower part, in a type."""
        dtype = DTYPES[kind]
        return self.registers[name].view(dtype)[:: 8 // dtype.itemsize]

    def source(self, text: str, kind: str) -> Callable[[Any], Any]:
        """Return a function from threads to the values of an operand."""
        if text[0] in "-0123456789":
            value = np.array([number(text) % 2**64], np.uint64).view(DTYPES[kind])[0]
            return lambda at: value
        name, _, offset = text.lstrip("!").partition("+")
        values = self.view(name, kind)
        if offset:
            return lambda at: values[at] + int(offset)
        return (lambda at: ~values[at]) if text[0] == "!" else values.__getitem__

    def target(self, text: str, kind: str) -> Callable[[Any, Any], None]:
        """Return a function that stores numbers in a register, with their sign."""
        whole = f"{kind[0]}64" if kind[0] in "bsu" else kind
        return self.view(text, whole).__setitem__

    # Memory

    def access(self, step: Step, lanes: Lanes, where: Any, *values: Any) -> Any:
        """Load, store, or update: `atom` returns what was there before, `red` not."""
        width = len(values) if step.parts[0] == "st" else step.width
        dtype = DTYPES[step.parts[-1]]
        vectors = self.memory.arena.view(dtype).reshape(-1, width)
        access = self.memory.touch(step, dtype.itemsize * width, where, lanes)
        if access.kind == "writes":
            for k, value in enumerate(values):
                vectors[access.cells, k] = value
        found = vectors.take(access.cells, 0)
        if access.kind == "updates":
            change = next(UPDATES[flag] for flag in step.parts if flag in UPDATES)
            each = zip(*np.broadcast_arrays(access.cells, *values), strict=True)
            for k, (cell, *given) in enumerate(each):  # one thread after the other
                found[k] = vectors[cell]
                vectors[cell] = change(vectors[cell], *given)
        if self.requests is not None:
            places = self.memory.named(access)
            self.requests.append(Request(step.line, access.kind, lanes, places, found))
        return list(found.T)

    enter("TTTT>ATT", NUMBERS, {"ld": access, "atom": access}, MODIFIERS, True)
    enter(">ATTTT", NUMBERS, {"st": access, "red": access}, MODIFIERS, True)

    # Threads that go elsewhere, or wait for others

    def branch(self, step: Step, lanes: Lanes, goal: int) -> None:
        """Go on at a label."""
        self.pc[lanes] = goal

    enter(">U", "bra uni", {"bra": branch}, "", True)

    def leave(self, step: Step, lanes: Lanes) -> None:
        """End. Others that wait for these threads look again: a device forgives it."""
        self.pc[lanes] = GONE
        if not self.detect:
            self.pc[self.pc < GONE] %= WAITS

    enter(">", "ret exit uni", {"ret": leave, "exit": leave}, "", True)

    def meet(self, step: Step, lanes: Lanes, mask: Callable[[Any], Any]) -> Lanes:
        """Return those threads for which all others are there; the others wait."""
        self.pc[lanes] = step.number + WAITS
        lanes = self.everyone[self.pc == step.number + WAITS]
        absent = (self.pc < GONE) | self.detect
        absent[lanes] = False
        if step.parts in (["bar", "sync"], ["barrier", "sync"]):
            block = self.teams[BLOCK]
            here = np.bincount(block, absent)[block[lanes]] == 0
        else:
            here = self.bits(self.everyone[absent], lanes) & mask(self.at(lanes)) == 0
        self.pc[lanes[here]] = step.number + 1
        return lanes[here]

    def bits(self, who: Lanes, lanes: Lanes) -> Any:
        """Return who is in the warps of some threads, as 32 bits for each of these."""
        warp = self.teams[WARP]
        bits = np.bincount(warp[who], 2.0 ** self.lane[who], warp[-1] + 1)
        return bits[warp[lanes]].astype(np.uint32)

    def barrier(self, step: Step, lanes: Lanes, mask: Any) -> None:
        """`bar.sync 0` parts what is before and after in the block, or in the warp."""
        self.memory.clocks[int("warp" in step.parts), lanes] += 1

    enter(">U", "sync", {"bar": barrier, "barrier": barrier}, "warp", True)

    def fence(self, step: Step, lanes: Lanes) -> None:
        """Do nothing: it orders what a thread does, and parts no two threads."""

    enter(">", "cta gl gpu sys", {"membar": fence, "fence.acq_rel": fence}, "", True)

    def vote(self, step: Step, lanes: Lanes, own: Any = True, mask: Any = WHOLE) -> Any:
        """Return what the threads of the warp say that the last operand names."""
        yes = self.bits(lanes[np.broadcast_to(own, len(lanes))], lanes) & mask
        there = self.bits(lanes, lanes) & mask
        return [{"all": yes == there, "any": yes != 0}.get(step.parts[-2], yes)]

    enter("P>PU", "pred", {"vote.sync": vote}, "all any", True)
    enter("U>PU", "b32", {"vote.sync": vote, "activemask": vote}, "ballot", True)

    def shuffle(self, step: Step, lanes: Lanes, *given: Any) -> tuple[Any, Any]:
        """Return the value of another thread of the warp, and whether it is in range.

        The low bits of `clamp` bound the lane; bits 8 to 12 cut the warp in segments.
        """
        mode, lane = step.parts[2], self.lane[lanes]
        value, by, clamp, mask = given
        segment, by = clamp >> 8 & 31, (by & 31).astype(np.int64)
        last = (lane & segment) | (clamp & ~segment & 31)
        first = {"up": lane - by, "down": lane + by, "bfly": lane ^ by}
        goal = first.get(mode, (lane & segment) | (by & ~segment))
        valid = goal >= last if mode == "up" else goal <= last
        goal = np.where(valid, goal, lane)
        alone = (self.bits(lanes, lanes) & mask) >> goal & 1 == 0
        if alone.any():
            asks = self.where(step.number, lanes[np.argmax(alone)])
            raise errors.DivergentBarrierError(f"{asks} asks a lane that takes no part")
        found = np.searchsorted(lanes, lanes - lane + goal)
        taken = np.broadcast_to(value, len(lanes))[found, None]
        if self.requests is not None:
            places = [("warp", "lane", number) for number in goal.tolist()]
            self.requests.append(Request(step.line, "takes", lanes, places, taken))
        return taken[:, 0], valid

    enter("TP>TUUU", "b32", {"shfl.sync": shuffle}, "up down bfly idx", True)


def regroup(dtype: Any, lanes: Lanes, *parts: Any) -> Any:
    """Return the same bits in parts of another size, the lowest first."""
    columns = np.broadcast_arrays(*map(np.atleast_1d, parts))
    return list(np.stack(columns, axis=1).view(dtype).T)
