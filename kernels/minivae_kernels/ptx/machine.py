"""The machine: all threads of a launch, side by side in NumPy arrays.

A register is an array with one element a thread. Threads that stand at the same
instruction are a group and execute it together; of several groups the one at the lowest
instruction goes first, so that threads which took different branches meet again. At a
barrier threads wait until all that it names are there.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from minivae_kernels.ptx import errors
from minivae_kernels.ptx.memory import SPACES, Access, Lanes, Memory
from minivae_kernels.ptx.opcodes import DTYPES, WARP, Team, look_up
from minivae_kernels.ptx.parse import SIZES, Function, Instruction

Moves = dict[int, Lanes]  # the next instruction -> the threads that go there
Get = Callable[[Any], Any]  # index of threads -> their values
Plan = tuple[list[Any], list[Get], Callable[..., Any], Get | None]
"""Of an instruction: where results go, where operands come from, the function of the
threads and operands, and a test which threads have all others there that they need."""

ORDERS = "volatile relaxed acquire release acq_rel weak cta gpu sys"
CACHES = "nc ca cg cs lu cv wb wt v2 v4"
MODIFIERS = {*SPACES, *ORDERS.split(), *CACHES.split()}  # of loads, stores and updates
NUMBER = re.compile(r"0[fF][0-9a-fA-F]{8}$|0[dD][0-9a-fA-F]{16}$|-?\d[\w.+-]*$")
UPDATES: dict[str, Callable[..., Any]] = {"add": operator.add, "min": min, "max": max}
UPDATES |= {"and": operator.and_, "or": operator.or_, "xor": operator.xor}
UPDATES["exch"] = lambda old, new: new
UPDATES["cas"] = lambda old, wanted, new: new if old == wanted else old


def literal(text: str, dtype: Any) -> Any:
    """Return a number as it stands in PTX, `0f3F800000` or `-4`, in the type given."""
    if text[:2].lower() in ("0f", "0d"):
        size = len(text) // 2 - 1
        value = np.array(int(text[2:], 16), f"u{size}").view(f"f{size}")
        return (value.astype(dtype) if dtype.kind == "f" else value.view(dtype))[()]
    if dtype.kind in "fb":
        return dtype.type(float(text))
    return np.array(int(text.rstrip("U"), 0) % 2**64).astype(dtype)[()]


def merge(groups: Moves, pc: int, lanes: Lanes) -> None:
    """Add threads to the group that stands at an instruction."""
    if len(lanes):
        groups[pc] = np.sort(np.concatenate([lanes, groups.get(pc, lanes[:0])]))


def listed(text: str) -> list[str]:
    """Return the registers of `{%f1, %f2}`, of `%p1|%p2`, or of `%f1`."""
    return [name.strip("{} ") for name in re.split("[|,]", text)]


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
        self.size, blocks = prod(self.block), prod(self.grid)
        if min(*self.grid, *self.block) < 1 or self.size > 1024:
            says = f"{self.grid} blocks of {self.block} threads cannot be"
            raise errors.PtxError(f"{self.function.name}: {says}")
        self.everyone = np.arange(blocks * self.size)
        number, thread = np.divmod(self.everyone, self.size)
        warp = number * -(-self.size // WARP) + thread // WARP
        self.lane = thread % WARP
        self.memory = Memory(np.stack([number, warp]), self.detect, self.where)
        self.symbols = {"WARP_SZ": WARP}  # and the addresses of variables
        known: dict[str, Any] = {
            "laneid": self.lane,
            "warpid": thread // WARP,
            "clock": 0,
        }
        for k, axis in enumerate("xyz"):
            known[f"tid.{axis}"] = thread // prod(self.block[:k]) % self.block[k]
            known[f"ctaid.{axis}"] = number // prod(self.grid[:k]) % self.grid[k]
            known |= {f"ntid.{axis}": self.block[k], f"nctaid.{axis}": self.grid[k]}
        zero = np.zeros(len(thread), np.int64)
        self.registers = {
            f"%{n}": (zero + v).astype(np.uint32) for n, v in known.items()
        }
        self.actions: dict[int, Callable[[Lanes], None]] = {}
        self.moves: Moves | None = None  # of the threads of the last instruction
        self.waiting: Moves = {}
        self.woken = False  # those that wait have looked, and none has gone on since
        self.live = self.everyone >= 0
        self.steps, self.barriers = zero, 0
        self.observe: Callable[..., None] | None = None

    def phases(self) -> Iterator[None]:
        """Run; stop at each barrier that threads pass, and where threads end."""
        code, ready = self.function.body, {0: self.everyone}
        while ready:
            start = pc = min(ready)
            lanes, meeting = ready.pop(pc), min(ready, default=len(code))
            taken, self.moves = lanes, None
            with np.errstate(all="ignore"):
                while self.moves is None and pc < meeting:
                    taken = self.guarded(lanes, code[pc])
                    if len(taken):
                        (self.actions.get(pc) or self.bind(pc))(taken)
                    pc += 1
            self.steps[lanes] += pc - start
            if self.steps[lanes[0]] > self.limit:
                says = f"no end after {self.limit} instructions: does a loop end?"
                raise errors.PtxError(f"{self.where(pc - 1, lanes[0])}: {says}")
            rest = lanes if self.moves is None else lanes[~np.isin(lanes, taken)]
            for goal, those in [(pc, rest), *(self.moves or Moves()).items()]:
                merge(ready, goal, those)
            if code[pc - 1].parts[0] in ("bar", "barrier", "ret", "exit"):
                yield
            if not ready and self.waiting:
                self.wake(ready)

    def guarded(self, lanes: Lanes, step: Instruction) -> Lanes:
        """Return the threads whose guard holds; the others pass by."""
        if not step.guard:
            return lanes
        return lanes[self.register(step.guard)[self.at(lanes)] != step.negated]

    def wake(self, ready: Moves) -> None:
        """Let those that wait look again; if none went on since, none ever will."""
        if self.woken:
            pc, lanes = min(self.waiting.items())
            mates = self.memory.teams[0] == self.memory.teams[0, lanes[0]]
            here, left = mates[lanes].sum(), (mates & ~self.live).sum()
            says = (
                f"{here} of {self.size} threads of its block wait here, {left} are gone"
            )
            raise errors.DivergentBarrierError(f"{self.where(pc, lanes[0])}: {says}")
        ready.update(self.waiting)
        self.waiting, self.woken = {}, True

    def at(self, lanes: Lanes) -> Any:
        """Return the index of threads in a register."""
        return slice(None) if len(lanes) == len(self.everyone) else lanes

    def spot(self, lane: int) -> list[tuple[int, ...]]:
        """Return the block of a thread and its place there, as (x, y, z)."""
        places = [[f"%{what}.{axis}" for axis in "xyz"] for what in ("ctaid", "tid")]
        return [tuple(int(self.registers[n][lane]) for n in names) for names in places]

    def where(self, pc: int, lane: int) -> str:
        """Return what a thread executes and where, in words."""
        step, (block, thread) = self.function.body[pc], self.spot(lane)
        who = f"{self.function.name} {step.line}".strip()
        return f"{who}, block {block}, thread {thread}: `{step.text}`"

    # From text to actions

    def bind(self, pc: int) -> Callable[[Lanes], None]:
        """Return what an instruction does to the threads that execute it."""
        step = self.function.body[pc]
        try:
            plan = PLANS.get(step.parts[0], Machine.compute)(self, step, pc)
        except (LookupError, ValueError) as error:
            says = f"{step.line}: unknown instruction `{step.text}`"
            raise errors.UnknownInstructionError(says.removeprefix(": ")) from error
        puts, gets, function, complete = plan

        def act(lanes: Lanes) -> None:
            if complete:
                lanes = self.meet(pc, lanes, complete)
            at = self.at(lanes)
            results = function(lanes, *[get(at) for get in gets])
            for put, result in zip(puts, results, strict=False):
                put(at, result)

        return self.actions.setdefault(pc, act)

    def register(self, name: str) -> Any:
        """Return the bits of a register in every thread."""
        if name not in self.registers:
            kind = self.function.registers[name]
            dtype = DTYPES["pred" if kind == "pred" else f"b{8 * SIZES[kind]}"]
            self.registers[name] = np.zeros(len(self.everyone), dtype)
        return self.registers[name]

    def source(self, text: str, kind: str) -> Get:
        """Return a function from threads to the values of an operand."""
        dtype = DTYPES[kind]
        if NUMBER.match(text) or text in self.symbols:
            value = literal(str(self.symbols.get(text, text)), dtype)
            return lambda at: value
        bits = self.register(text.lstrip("!"))
        if text[0] == "!":
            return lambda at: ~bits[at]
        if bits.itemsize == dtype.itemsize:
            return bits.view(dtype).__getitem__
        return lambda at: bits[at].astype(f"u{dtype.itemsize}").view(dtype)

    def target(self, text: str, kind: str) -> Callable[[Any, Any], None]:
        """Return a function that stores values of a type in a register."""
        if text == "_":
            return lambda at, value: None
        bits, dtype = self.register(text), DTYPES[kind]
        if bits.itemsize != dtype.itemsize:  # extended by its sign, if it has one
            dtype = np.dtype(f"{dtype.kind}{bits.itemsize}")
        return bits.view(dtype).__setitem__

    def compute(self, step: Instruction, pc: int) -> Plan:
        """Arithmetic: a row of the table of opcodes."""
        kinds, wanted, function = look_up(step.parts, self.noise)
        into, out = listed(step.operands[0]), listed(",".join(step.operands[1:]))
        if "{" in step.text:  # one register on one side, its parts on the other
            bits = 8 * SIZES[kinds[0]]
            kinds, wanted = ([f"b{bits // len(s)}"] * len(s) for s in (into, out))
            function = partial(regroup, DTYPES[kinds[0]])
        puts = [self.target(*pair) for pair in zip(into, kinds, strict=False)]
        gets = [self.source(*pair) for pair in zip(out, wanted, strict=True)]
        return puts, gets, lambda lanes, *values: function(*values), None

    def use_memory(self, step: Instruction, pc: int) -> Plan:
        """Load, store, or update: `atom` returns what was there before, `red` not."""
        (name, *flags, kind), texts = step.parts, list(step.operands)
        does = {"ld": "reads", "st": "writes"}.get(name, "updates")
        if set(flags) - MODIFIERS - UPDATES.keys():
            raise LookupError
        into = listed(texts.pop(0)) if name in ("ld", "atom") else []
        base, _, offset = texts.pop(0).strip("[] ").partition("+")
        out = listed(",".join(texts)) if texts else []
        known = base in self.symbols or NUMBER.match(base)
        bits = 64 if known else 8 * self.register(base).itemsize
        address, more = self.source(base, f"b{bits}"), int(offset or "0", 0)
        spaces = {*flags} & SPACES.keys() or SPACES.keys()
        if "param" in flags:
            spaces |= {"local"}  # where the variables of a call are
        regions, store = self.memory.regions, does != "reads"
        allowed = np.array([r.space in spaces and r.writable >= store for r in regions])
        size, width = SIZES[kind], 1 if does == "updates" else len(into or out)
        words = self.memory.views[size].view(DTYPES[kind])
        change = next((UPDATES[flag] for flag in flags if flag in UPDATES), max)

        def act(lanes: Lanes, where: Any, *values: Any) -> Any:
            where = where.astype(np.int64) + more + 0 * lanes
            access = Access(does, size * width, pc, allowed, where, lanes)
            cells = self.memory.touch(access) // size + np.arange(width)[:, None]
            given = [np.broadcast_to(value, len(lanes)) for value in values]
            found = words[cells]
            for k, cell in enumerate(cells[0].tolist() if does == "updates" else ()):
                found[0, k] = words[cell]  # one thread after the other
                words[cell] = change(words[cell], *(value[k] for value in given))
            if does == "writes":
                words[cells] = found = np.stack(given)
            if self.observe:
                self.observe(access, found.T)
            return found

        puts = [self.target(text, kind) for text in into]
        return puts, [address, *(self.source(text, kind) for text in out)], act, None

    # Threads that go elsewhere, or wait for others

    def branch(self, step: Instruction, pc: int) -> Plan:
        """Go on at a label; or at none, which is the end."""
        goals = [self.function.labels[text] for text in step.operands]

        def act(lanes: Lanes) -> tuple[()]:
            self.moves = dict.fromkeys(goals, lanes)
            self.live[lanes] = bool(goals)
            return ()

        return [], [], act, None

    def meet(self, pc: int, lanes: Lanes, complete: Get) -> Lanes:
        """Return those threads for which all others are there; the others wait."""
        merge(self.waiting, pc, lanes)
        lanes = self.waiting.pop(pc)
        here = complete(lanes)
        merge(self.waiting, pc, lanes[~here])
        self.moves, self.woken = {pc + 1: lanes[here]}, self.woken and not here.any()
        return lanes[here]

    def bits(self, who: Any) -> Any:
        """Return of each warp who of it is meant, as 32 bits."""
        return np.bincount(self.memory.teams[1], who * 2.0**self.lane).astype(np.uint32)

    def complete(self, mask: Get | None) -> Get:
        """Return a test of threads: are all others there, of the block or the mask?"""
        block, warp = self.memory.teams

        def test(lanes: Lanes) -> Any:
            absent = self.live | self.detect  # a device forgives those that have left
            absent[lanes] = False
            if mask:
                return mask(self.at(lanes)) & self.bits(absent)[warp[lanes]] == 0
            return np.bincount(block, absent)[block[lanes]] == 0

        return test

    def barrier(self, step: Instruction, pc: int) -> Plan:
        """`bar.sync 0` waits for the block, `bar.warp.sync` for threads of the warp."""
        level = [["sync"], ["warp", "sync"]].index(step.parts[1:])
        (operand,) = (self.source(text, "b32") for text in step.operands)

        def act(lanes: Lanes) -> tuple[()]:
            self.memory.clocks[level, lanes] += 1
            self.barriers += len(lanes) * (level == 0)
            return ()

        return [], [], act, self.complete(operand if level else None)

    def confer(self, step: Instruction, pc: int) -> Plan:
        """A shuffle or vote: its last operand names who takes part."""
        kinds, wanted, function = look_up(step.parts)
        into, *out = step.operands if wanted else (*step.operands, "0xffffffff")
        gets = [self.source(*pair) for pair in zip(out, [*wanted, "b32"], strict=True)]
        warp, there = self.memory.teams[1], np.zeros_like(self.live)

        def act(lanes: Lanes, *values: Any) -> Any:
            there[:] = False
            there[lanes] = True
            *own, mask = (np.broadcast_to(value, len(lanes)) for value in values)
            bits = self.bits(there)[warp[lanes]] & mask
            member = bits[:, None] >> np.arange(WARP, dtype=np.uint32) & 1 > 0
            table = np.zeros((warp[-1] + 1, WARP), (own or [bits])[0].dtype)
            table[warp[lanes], self.lane[lanes]] = (own or [bits])[0]
            results = function(Team(self.lane[lanes], member, table[warp[lanes]]), *own)
            if len(results) == 3 and not results[2].all():
                asks = self.where(pc, lanes[np.argmin(results[2])])
                says = "asks a thread that does not take part"
                raise errors.DivergentBarrierError(f"{asks} {says}")
            return results

        puts = [self.target(*pair) for pair in zip(listed(into), kinds, strict=False)]
        return puts, gets, act, self.complete(gets[-1]) if wanted else None


def regroup(dtype: Any, *parts: Any) -> Any:
    """Return the same bits in parts of another size, the lowest first."""
    columns = np.broadcast_arrays(*map(np.atleast_1d, parts))
    return np.stack(columns, axis=1).view(dtype).T


PLANS: dict[str, Callable[[Machine, Instruction, int], Plan]] = {"bra": Machine.branch}
"""The instructions that are not arithmetic."""
PLANS |= dict.fromkeys(("ret", "exit"), Machine.branch)
PLANS |= dict.fromkeys(("ld", "st", "atom", "red"), Machine.use_memory)
PLANS |= dict.fromkeys(("shfl", "vote", "activemask"), Machine.confer)
PLANS |= dict.fromkeys(("bar", "barrier"), Machine.barrier)
PLANS |= dict.fromkeys(("membar", "fence"), lambda *_: ([], [], lambda lanes: (), None))
