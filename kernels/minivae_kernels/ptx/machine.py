"""The machine: all threads of a launch, side by side in NumPy arrays.

A register is an array with one element a thread. Threads that stand at the same
instruction are a group and execute it together; of several groups the one at the lowest
instruction goes first, so that threads which took different branches meet again. At a
barrier threads wait until all that it names are there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, NoReturn

import numpy as np

from minivae_kernels.ptx import errors
from minivae_kernels.ptx.memory import Access, Lanes, Memory
from minivae_kernels.ptx.opcodes import ANY, DTYPES, OPCODES, enter, look_up
from minivae_kernels.ptx.parse import SIZES, SPACES, Function, number

WARP = 32
Moves = dict[int, Lanes]  # the next instruction -> the threads that go there

BARRIERS = ["bar", "sync"], ["barrier", "sync"]  # of a block
NUMBERS, WHOLE = f"{ANY} b8 u8 s8 f16", 0xFFFFFFFF  # types, and a warp
UPDATES = ["add", "min", "max", "and", "or", "xor", "exch", "cas"]
EXCHANGES: dict[str, Callable[..., Any]] = {"exch": lambda old, new: new}
EXCHANGES["cas"] = lambda old, wanted, new: new if old == wanted else old
MODIFIERS = "volatile relaxed acquire release acq_rel weak cta gpu sys "
MODIFIERS += f"nc ca cg cs lu cv wb wt v2 v4 {' '.join((*SPACES, *UPDATES))}"


def listed(operands: list[str]) -> list[str]:
    """Return the registers of `{%f1, %f2}`, of `%p1|%p2`, or of `%f1`, in order."""
    return [name for text in operands for name in re.findall(r"[^][{}|, ]+", text)]


def merge(groups: Moves, pc: int, lanes: Lanes) -> None:
    """Add threads to the group that stands at an instruction."""
    if len(lanes):
        groups[pc] = np.sort(np.concatenate([lanes, groups.get(pc, lanes[:0])]))


@dataclass
class Machine:
    """A kernel in execution, by `grid` blocks of `block` threads, as (x, y, z)."""

    function: Function
    grid: tuple[int, ...]
    block: tuple[int, ...]
    detect: bool = True  # races, divergent barriers, reads of unwritten memory
    noise: int = 0  # of approximate instructions: -1, 0 or 1 times their error
    limit: int = 1_000_000  # instructions of a thread

    def __post_init__(self) -> None:
        self.size, extents = prod(self.block), (*self.grid[::-1], *self.block[::-1])
        if min(extents) < 1 or self.size > 1024:
            says = f"{self.grid} blocks of {self.block} threads cannot be"
            raise errors.PtxError(f"{self.function.name}: {says}")
        self.everyone = np.arange(prod(extents))
        number, thread = np.divmod(self.everyone, self.size)
        self.lane, warp = thread % WARP, number * -(-self.size // WARP) + thread // WARP
        self.teams = np.stack([number, warp])
        self.memory = Memory(self.teams, self.detect, self.where)
        self.places = np.unravel_index(self.everyone, extents)
        known = {"%laneid": self.lane, "%warpid": thread // WARP, "WARP_SZ": WARP}
        axes = [f"{what}.{axis}" for what in ("ctaid", "tid") for axis in "zyx"]
        known |= {f"%{name}": self.places[k] for k, name in enumerate(axes)}
        known |= {f"%n{name}": extents[k] for k, name in enumerate(axes)}
        known |= dict.fromkeys((*self.function.registers, "%clock", "_"), 0)
        n = len(self.everyone)
        self.registers = {k: np.full(n, v, np.uint64) for k, v in known.items()}
        self.actions: dict[int, Callable[[Lanes], Lanes]] = {}
        self.moves: Moves | None = None  # of the threads of the last instruction
        self.waiting: Moves = {}
        self.live = self.everyone >= 0
        self.steps, self.barriers = 0 * self.everyone, 0
        self.observe: Callable[..., None] | None = None

    def phases(self) -> Iterator[None]:
        """Run; stop at each barrier that threads pass."""
        code, ready = self.function.body, {0: self.everyone}
        while ready:
            start = pc = min(ready)
            lanes, meeting = ready.pop(pc), min(ready, default=len(code))
            taken, self.moves = lanes, None
            with np.errstate(all="ignore"):
                while self.moves is None and pc < meeting:
                    taken = (self.actions.get(pc) or self.bind(pc))(lanes)
                    pc += 1
            self.steps[lanes] += pc - start
            if self.steps[lanes[0]] > self.limit:
                says = f"no end after {self.limit} instructions: does a loop end?"
                raise errors.PtxError(f"{self.where(pc - 1, lanes[0])}: {says}")
            rest = lanes if self.moves is None else lanes[~np.isin(lanes, taken)]
            for goal, those in [(pc, rest), *(self.moves or Moves()).items()]:
                merge(ready, goal, those)
            if code[pc - 1].parts[0] in ("bar", "barrier"):
                yield
            if not ready and self.waiting:
                self.stuck(*min(self.waiting.items()))

    def stuck(self, pc: int, lanes: Lanes) -> NoReturn:
        """Say that threads wait for others that never come."""
        mates = self.teams[0] == self.teams[0, lanes[0]]
        here, gone = mates[lanes].sum(), (mates & ~self.live).sum()
        says = f"{here} of {self.size} threads of its block wait here, {gone} are gone"
        raise errors.DivergentBarrierError(f"{self.where(pc, lanes[0])}: {says}")

    def at(self, lanes: Lanes) -> Any:
        """Return the index of threads in a register."""
        return slice(None) if len(lanes) == len(self.everyone) else lanes

    def spot(self, lane: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the block of a thread and its place there, as (x, y, z)."""
        z_to_x = [int(place[lane]) for place in self.places]
        return tuple(z_to_x[2::-1]), tuple(z_to_x[:2:-1])

    def where(self, pc: int, lane: int) -> str:
        """Return what a thread executes and where, in words."""
        step, (block, thread) = self.function.body[pc], self.spot(lane)
        who = f"{self.function.name} {step.line}".strip()
        return f"{who}, block {block}, thread {thread}: `{step.text}`"

    # From text to actions

    def bind(self, pc: int) -> Callable[[Lanes], Lanes]:
        """Return what an instruction does to threads, and which of them it is for."""
        step = self.function.body[pc]
        try:
            row, kinds, wanted, function = look_up(step.parts, self.noise)
            first = len(kinds) > 0  # operand: where results go
            into, out = listed(step.operands[:first]), listed(step.operands[first:])
            if row.method:
                kinds = [*kinds, *kinds[-1:] * len(into)][: len(into)]
                wanted = [*wanted, *wanted[-1:] * len(out)][: len(out)]
                function = partial(row.function, self, pc)
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

        def act(lanes: Lanes) -> Lanes:
            taken = here = lanes[guard(self.at(lanes))] if guard else lanes
            if "sync" in step.parts and len(taken):
                here = self.meet(pc, taken, gets[-1])
            if len(here):
                at = self.at(here)
                results = function(here, *[get(at) for get in gets]) or ()
                for put, result in zip(puts, results, strict=False):
                    put(at, result)
            return taken

        return self.actions.setdefault(pc, act)

    def view(self, name: str, dtype: Any) -> Any:
        """Return a register, which has 64 bits, or its lower part, in a type."""
        return self.registers[name].view(dtype)[:: 8 // dtype.itemsize]

    def source(self, text: str, kind: str) -> Callable[[Any], Any]:
        """Return a function from threads to the values of an operand."""
        if text[0] in "-0123456789":
            value = np.array([number(text) % 2**64], np.uint64).view(DTYPES[kind])[0]
            return lambda at: value
        name, _, offset = text.lstrip("!").partition("+")
        values = self.view(name, DTYPES[kind])
        if offset:
            return lambda at: values[at] + int(offset)
        return (lambda at: ~values[at]) if text[0] == "!" else values.__getitem__

    def target(self, text: str, kind: str) -> Callable[[Any, Any], None]:
        """Return a function that stores numbers in a register, with their sign."""
        dtype = DTYPES[kind]
        whole = np.dtype(f"{dtype.kind}8") if dtype.kind in "iu" else dtype
        return self.view(text, whole).__setitem__

    # Memory

    def access(self, pc: int, lanes: Lanes, where: Any, *values: Any) -> Any:
        """Load, store, or update: `atom` returns what was there before, `red` not."""
        step = self.function.body[pc]
        name, *flags, kind = step.parts
        does = {"ld": "reads", "st": "writes"}.get(name, "updates")
        width = len(values) if does == "writes" else step.operands[0].count(",") + 1
        space = next((flag for flag in flags if flag in SPACES), "")
        access = Access(does, SIZES[kind] * width, pc, space, where, lanes)
        words = self.memory.views[SIZES[kind]].view(DTYPES[kind])
        cells = self.memory.touch(access) // SIZES[kind] + np.arange(width)[:, None]
        given = [np.broadcast_to(value, len(lanes)) for value in values]
        found = words[cells]
        if does == "writes":
            words[cells] = found = np.stack(given)
        elif does == "updates":
            how = next(flag for flag in flags if flag in UPDATES)
            change = EXCHANGES.get(how) or OPCODES[how, kind].function
            for k, cell in enumerate(cells[0].tolist()):  # one thread after the other
                found[0, k] = words[cell]
                words[cell] = change(words[cell], *(value[k] for value in given))
        if self.observe:
            self.observe(pc, does, lanes, self.memory.named(access), found.T)
        return list(found)

    # Threads that go elsewhere, or wait for others

    def branch(self, pc: int, lanes: Lanes, goal: int) -> None:
        """Go on at a label."""
        self.moves = {goal: lanes}

    def leave(self, pc: int, lanes: Lanes) -> None:
        """End. Others that wait for these threads look again: a device forgives it."""
        self.moves, self.live[lanes] = {}, False
        if not self.detect:
            self.moves, self.waiting = self.waiting, {}

    def meet(self, pc: int, lanes: Lanes, mask: Callable[[Any], Any]) -> Lanes:
        """Return those threads for which all others are there; the others wait."""
        merge(self.waiting, pc, lanes)
        lanes = self.waiting.pop(pc)
        absent = self.live | self.detect
        absent[lanes] = False
        if self.function.body[pc].parts in BARRIERS:
            here = np.bincount(self.teams[0], absent)[self.teams[0, lanes]] == 0
        else:
            here = self.bits(self.everyone[absent], lanes) & mask(self.at(lanes)) == 0
        merge(self.waiting, pc, lanes[~here])
        self.moves = {pc + 1: lanes[here]}
        return lanes[here]

    def bits(self, who: Lanes, lanes: Lanes) -> Any:
        """Return who is in the warps of some threads, as 32 bits for each of these."""
        warp, last = self.teams[1], self.teams[1, -1]
        bits = np.bincount(warp[who], 2.0 ** self.lane[who], last + 1)
        return bits[warp[lanes]].astype(np.uint32)

    def barrier(self, pc: int, lanes: Lanes, mask: Any) -> None:
        """`bar.sync 0` parts what is before and after in the block, or in the warp."""
        whole_block = self.function.body[pc].parts in BARRIERS
        self.memory.clocks[0 if whole_block else 1, lanes] += 1
        self.barriers += len(lanes) * whole_block

    def vote(self, pc: int, lanes: Lanes, own: Any = True, mask: Any = WHOLE) -> Any:
        """Return what the threads of the warp say that the last operand names."""
        yes = self.bits(lanes[np.broadcast_to(own, len(lanes))], lanes) & mask
        there, how = self.bits(lanes, lanes) & mask, self.function.body[pc].parts[-2]
        return [{"all": yes == there, "any": yes != 0}.get(how, yes)]

    def shuffle(self, pc: int, lanes: Lanes, *given: Any) -> tuple[Any, Any]:
        """Return the value of another thread of the warp, and whether it is in range.

        The low bits of `clamp` bound the lane; bits 8 to 12 cut the warp in segments.
        """
        mode, lane = self.function.body[pc].parts[2], self.lane[lanes]
        value, by, clamp, mask = given
        segment, by = clamp >> 8 & 31, (by & 31).astype(np.int64)
        last = (lane & segment) | (clamp & ~segment & 31)
        first = {"up": lane - by, "down": lane + by, "bfly": lane ^ by}
        goal = first.get(mode, (lane & segment) | (by & ~segment))
        valid = goal >= last if mode == "up" else goal <= last
        goal = np.where(valid, goal, lane)
        alone = (self.bits(lanes, lanes) & mask) >> goal & 1 == 0
        if alone.any():
            asks = self.where(pc, lanes[np.argmax(alone)])
            says = "asks a thread that does not take part"
            raise errors.DivergentBarrierError(f"{asks} {says}")
        found = np.searchsorted(lanes, lanes - lane + goal)
        taken = np.broadcast_to(value, len(lanes))[found]
        if self.observe:
            places = [("warp", "lane", int(other)) for other in goal]
            self.observe(pc, "takes", lanes, places, taken[:, None])
        return taken, valid


def regroup(dtype: Any, lanes: Lanes, *parts: Any) -> Any:
    """Return the same bits in parts of another size, the lowest first."""
    columns = np.broadcast_arrays(*map(np.atleast_1d, parts))
    return list(np.stack(columns, axis=1).view(dtype).T)


BARRIER = dict.fromkeys(("bar", "barrier", "bar.warp"), Machine.barrier)
FENCE = dict.fromkeys(("membar", "fence.acq_rel"), lambda *_: None)
VOTE = dict.fromkeys(("vote.sync.all", "vote.sync.any"), Machine.vote)
SHUFFLE = {f"shfl.sync.{m}": Machine.shuffle for m in ("up", "down", "bfly", "idx")}
enter("T>AT", NUMBERS, {"ld": Machine.access, "atom": Machine.access}, MODIFIERS, True)
enter(">AT", NUMBERS, {"st": Machine.access, "red": Machine.access}, MODIFIERS, True)
enter(">U", "bra uni", {"bra": Machine.branch}, "", True)
enter(">", "ret exit uni", {"ret": Machine.leave, "exit": Machine.leave}, "", True)
enter(">U", "sync", BARRIER, "", True)
enter(">", "cta gl gpu sys", FENCE, "", True)
enter("P>PU", "pred", VOTE, "", True)
BALLOT = dict.fromkeys(("vote.sync.ballot", "activemask"), Machine.vote)
enter("U>PU", "b32", BALLOT, "", True)
enter("TP>TUUU", "b32", SHUFFLE, "", True)
