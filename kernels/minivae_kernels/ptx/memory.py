"""Memory of a launch: addresses, bounds, alignment, traffic, races.

All bytes lie in one NumPy array, the arena, and between two variables lies a gap that
belongs to nobody. A shared variable has a copy for each block and a local one for each
thread: their addresses differ from thread to thread. The upper bits of an address tell
the kind of memory, so that by no offset a pointer leads from one kind to another.

Two accesses are a race if they are made by two threads, one at least writes, not both
are atomic, and no barrier lies between: of the block (`bar.sync`) or, within a warp,
of the warp (`bar.warp.sync`). Blocks never wait for each other. All threads run here in
step, so that a race rarely gives a wrong number: it has to be looked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minivae_kernels.ptx import errors
from minivae_kernels.ptx.parse import SPACES, Variable

Lanes = NDArray[np.intp]  # threads, numbered through the launch, ascending

KIND, PAGE, SECTOR = 1 << 30, 256, 32  # bytes
POISON = 0xFF  # of what nobody has written: floats of these bytes are NaN
KINDS = ["reads", "writes", "updates"]  # of accesses; an update is atomic
CLASHES = {"reads": ["writes", "updates"], "updates": ["writes", "reads"]}
CLASHES["writes"] = ["writes", "reads", "updates"]
LOW, HIGH, STEP, TIMES = 0, 1, 2, slice(3, 5)
"""The rows of a log: who touched a word since it was last synchronised, in one manner.

The lowest and the highest thread (from 1; 0 is nobody) are enough: if others of several
warps or blocks did too, these two are of different ones, and no thread can be in step
with both. Then the instruction, and the barriers of block and warp passed before it.
"""


class Access(NamedTuple):
    """What some threads do in one instruction, and where."""

    kind: str  # "reads", "writes" or "updates"
    size: int  # bytes a thread
    step: int  # the number of the instruction
    space: str  # where the addresses are; anywhere if it is empty
    addresses: Any
    lanes: Lanes


class Memory:
    """The arena and the regions in it; `teams` are the block and warp of each thread.

    `where(step, thread)` says who did what, for messages.
    """

    def __init__(self, teams: NDArray[np.intp], detect: bool, where: Any) -> None:
        self.teams, self.detect, self.where, self.sectors = teams, detect, where, 0
        self.clocks = np.zeros(teams.shape, np.int32)  # barriers of block and warp
        everyone = np.arange(teams.shape[1])
        self.copies = np.stack([0 * everyone, teams[0], everyone])  # by kind of memory
        self.regions, self.end = [Variable("", 0, "", "nothing", 0)], PAGE

    def add(self, v: Variable) -> NDArray[np.int64]:
        """Make room for a variable; return its address for each thread."""
        copies = self.copies[v.copies]
        v.start = v.copies * KIND + self.end + v.align
        v.stride = -(-(v.align + v.size) // PAGE) * PAGE + PAGE
        self.end += v.stride * int(copies[-1] + 1)
        v.known &= v.space != "shared"
        self.regions.append(v)
        return v.start + v.stride * copies

    def allocate(self, word: int) -> None:
        """Make the arena; faults are looked for in units of `word` bytes."""
        if self.end > KIND:
            raise errors.PtxError(f"{self.end} bytes of memory are more than {KIND}")
        self.word, words = word, self.end // word * self.detect
        self.logs = {kind: np.zeros((5, words), np.int32) for kind in CLASHES}
        self.written, arena = np.zeros(words, bool), np.full(self.end, POISON, np.uint8)
        self.views = {width: arena.view(f"u{width}") for width in (1, 2, 4, 8)}
        regions = self.regions = sorted(self.regions, key=lambda v: v.start)
        for v in regions:
            content, at = np.frombuffer(v.content, np.uint8), v.start % KIND
            arena[at : at + len(content)] = content
            self.written[at // word : -(-(at + v.size) // word)] = v.known
        self.rows = np.array([(v.start, v.stride, v.copies, v.size) for v in regions]).T
        spaces = np.array([v.space for v in regions])
        self.within = {name: spaces == name for name in SPACES} | {"": spaces != "none"}
        self.writable = np.array([v.writable for v in regions])
        self.traffic = np.zeros((len(KINDS), len(regions)), np.int64)

    def locate(self, addresses: Any, lanes: Lanes) -> tuple[Any, Any]:
        """Return the number of the region an address is in or past, and the offset."""
        found = np.searchsorted(self.rows[0], addresses, side="right") - 1
        start, stride, copies, _ = self.rows[:, found]
        return found, addresses - start - stride * self.copies[copies, lanes]

    def named(self, access: Access) -> list[tuple[str, str, int]]:
        """Return where accesses are: space, variable, and byte in it."""
        places = zip(*self.locate(access.addresses, access.lanes), strict=True)
        named = ((self.regions[number], int(offset)) for number, offset in places)
        return [(v.space, v.name, offset) for v, offset in named]

    def touch(self, access: Access) -> Any:
        """Check and count the accesses of some threads; return their places."""
        kind, size, _, space, addresses, lanes = access
        odd = addresses % size != 0
        self.check(errors.MisalignedError, access, odd, f"it is no multiple of {size}")
        owner, offset = self.locate(addresses, lanes)
        able = self.within[space] & (self.writable | (kind == "reads"))
        bad = ~able[owner] | (offset < 0) | (offset + size > self.rows[3, owner])
        self.check(errors.OutOfBoundsError, access, bad, "out of bounds, or read-only")
        count = np.bincount(owner, minlength=len(self.regions))
        self.traffic[KINDS.index(kind)] += size * count
        if (out := self.within["global"][owner]).any():
            request = self.teams[1, lanes[out]] << 40 | addresses[out] // SECTOR
            if (steps := np.diff(request)).min(initial=0) < 0:
                steps = np.diff(np.sort(request))
            self.sectors += 1 + int(np.count_nonzero(steps))
        if self.detect and space != "param":
            self.look(access)
        return addresses % KIND

    def look(self, access: Access) -> None:
        """Look for reads of what nobody wrote, and for races."""
        kind, count = access.kind, -(-access.size // self.word)
        first = access.addresses % KIND // self.word
        words = (first[:, None] + np.arange(count)).ravel()
        now = np.repeat(access.lanes, count)
        if kind != "writes":
            bad = ~self.written[words].reshape(-1, count).all(1)
            self.check(errors.UninitialisedError, access, bad, "nobody has written it")
        self.written[words] = True
        for other in (*CLASHES[kind], None, *CLASHES[kind][:1]):
            if other is None:  # then: the threads of this access among themselves
                self.record(kind, words, now, access.step)
            elif (met := self.unordered(other, words, now)).any():
                at = int(np.argmax(met > 0))
                who = self.where(self.logs[other][STEP, words[at]], met[at] - 1)
                bad = np.arange(len(access.lanes)) == at // count
                says = f"a race, no barrier lies between this and {who}"
                self.check(errors.RaceError, access, bad, says)

    def unordered(self, kind: str, words: Any, now: Lanes) -> Any:
        """Return per access a thread, from 1, that it may meet there; 0 if none."""
        low, high, _, *times = self.logs[kind][:, words]
        if not low.any():
            return low
        since = times < self.clocks[:, now]  # a barrier of block, of warp
        then = np.stack([low, high])
        together = self.teams[:, then - 1] == self.teams[:, None, now]
        met = (then != now + 1) & ~(together & since[:, None]).any(0)
        return (then * met).max(0)

    def record(self, kind: str, words: Any, now: Lanes, step: int) -> None:
        """Enter accesses by ascending threads; forget those that came before them."""
        log, me, fresh = self.logs[kind], now + 1, self.unordered(kind, words, now) == 0
        low = np.where(fresh, me, np.minimum(me, log[LOW, words]))
        high = np.where(fresh, me, np.maximum(me, log[HIGH, words]))
        log[LOW, words[::-1]] = low[::-1]  # of equal words the last entry stays
        log[HIGH, words], log[STEP, words] = high, step
        log[TIMES, words] = self.clocks[:, now]

    def check(self, error: Any, access: Access, bad: Any, says: str) -> None:
        """Raise an error about the first thread that is `bad`, if any is."""
        if bad.any():
            at = int(np.argmax(bad))
            lane, does = access.lanes[at], f"{access.kind} {access.size} bytes"
            number, offset = self.locate(access.addresses[at], lane)
            near = self.regions[number]
            place = f"byte {offset} of {near.space} {near.name} ({near.size} bytes)"
            raise error(f"{self.where(access.step, lane)} {does} at {place}: {says}")
