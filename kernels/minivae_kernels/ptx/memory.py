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
from minivae_kernels.ptx.parse import ALL, BLOCK, SPACES, THREAD, WARP, Step, Variable

Lanes = NDArray[np.intp]  # threads, numbered through the launch, ascending

KIND, PAGE, SECTOR = 1 << 30, 256, 32  # bytes
POISON = np.uint8(0xFF)  # of what nobody has written: floats of these bytes are NaN
DOES = {"ld": "reads", "st": "writes"}  # all else updates
MOVES = {"reads": [0], "writes": [1], "updates": [0, 1]}  # bytes: read, written
LOOKS = {"reads": ["writes", "updates", None], "updates": ["writes", "reads", None]}
LOOKS["writes"] = ["writes", "reads", "updates", None, "writes"]
"""What an access of each kind may race with; then it is entered itself.

An update is atomic. Threads that write in one access may race among themselves.
"""
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
    step: Step
    lanes: Lanes
    cells: Any  # numbers of pieces of this size in the arena
    owner: Any  # the number of the region that it is in or past
    offset: Any  # in that


class Memory:
    """The arena and the regions in it.

    `teams` are the numbers of what each thread is in: the launch, its block, its
    warp, and its own. `where(step, thread)` says who did what, for messages.
    """

    def __init__(self, teams: NDArray[np.intp], detect: bool, where: Any) -> None:
        self.teams, self.detect, self.where = teams, detect, where
        self.clocks = np.zeros((2, teams.shape[1]), np.int32)  # barriers of each
        self.moved, self.sectors = np.zeros(2, int), 0  # bytes of global memory, pieces
        self.regions, self.end = [Variable("", 0, "", "nothing", 0)], PAGE

    def add(self, v: Variable) -> NDArray[np.int64]:
        """Make room for a variable; return its address for each thread."""
        copies = self.teams[v.copies]
        v.start = v.copies * KIND + self.end + v.align
        v.stride = -(-(v.align + v.size) // PAGE) * PAGE + PAGE
        self.end += v.stride * int(copies[-1] + 1)
        v.known &= v.copies == ALL
        self.regions.append(v)
        return v.start + v.stride * copies

    def allocate(self, word: int) -> None:
        """Make the arena; faults are looked for in units of `word` bytes."""
        if self.end > KIND:
            raise errors.PtxError(f"{self.end} bytes of memory are more than {KIND}")
        self.word, words = word, self.end // word * self.detect
        self.logs = {kind: np.zeros((5, words), np.int32) for kind in MOVES}
        self.arena, self.written = np.full(self.end, POISON), np.zeros(words, bool)
        regions = self.regions = sorted(self.regions, key=lambda v: v.start)
        for v in regions:
            content, at = np.frombuffer(v.content, np.uint8), v.start % KIND
            self.arena[at : at + len(content)] = content
            self.written[at // word : -(-(at + v.size) // word)] = v.known
        self.rows = np.array([(v.start, v.stride, v.copies, v.size) for v in regions]).T
        spaces = np.array([v.space for v in regions])
        self.within = {name: spaces == name for name in SPACES} | {"": spaces != "none"}
        self.writable = np.array([v.writable for v in regions])

    def touch(self, step: Step, size: int, where: Any, lanes: Lanes) -> Access:
        """Check and count what some threads do at addresses, to `size` bytes each."""
        kind = DOES.get(step.parts[0], "updates")
        space = next((part for part in step.parts if part in SPACES), "")
        find = self.rows[0].searchsorted
        first, last = find([where.min(), where.max()], "right")  # mostly the same
        found = (find(where, "right") if first < last else first) - 1
        start, stride, copies, room = self.rows[:, found]
        offset = where - start - stride * self.teams[copies, lanes]
        owner, cells = np.broadcast_to(found, offset.shape), (where & KIND - 1) // size
        access = Access(kind, size, step, lanes, cells, owner, offset)
        odd = where & size - 1 != 0
        self.check(errors.MisalignedError, access, odd, f"it is no multiple of {size}")
        able = self.within[space] & (self.writable | (kind == "reads"))
        bad = ~able[owner] | (offset < 0) | (offset + size > room)
        self.check(errors.OutOfBoundsError, access, bad, "out of bounds, or read-only")
        if (out := self.within["global"][owner]).any():
            self.moved[MOVES[kind]] += size * np.count_nonzero(out)
            request = self.teams[WARP, lanes[out]] << 40 | where[out] // SECTOR
            request.sort(kind="stable")  # fast where it is in order already
            self.sectors += 1 + int(np.count_nonzero(np.diff(request)))
        if self.detect and space != "param":
            self.look(access)
        return access

    def named(self, access: Access) -> list[tuple[str, str, int]]:
        """Return where accesses are: space, variable, and byte in it."""
        pairs = zip(access.owner, access.offset.tolist(), strict=True)
        return [(self.regions[k].space, self.regions[k].name, at) for k, at in pairs]

    def look(self, access: Access) -> None:
        """Look for reads of what nobody wrote, and for races."""
        kind, count = access.kind, -(-access.size // self.word)
        first = access.cells[:, None] * access.size // self.word
        words = (first + np.arange(count)).ravel()
        now = np.repeat(access.lanes, count)
        known = self.written.take(words) | (kind == "writes")
        self.check(errors.UninitialisedError, access, ~known, "nobody has written it")
        self.written[words] = True
        for other in LOOKS[kind]:
            if other is None:
                self.record(kind, words, now, access.step.number)
            elif (met := self.unordered(other, words, now)).any():
                at = int(np.argmax(met > 0))
                who = self.where(self.logs[other][STEP, words[at]], met[at] - 1)
                says = f"a race, no barrier lies between this and {who}"
                self.check(errors.RaceError, access, met > 0, says)

    def unordered(self, kind: str, words: Any, now: Lanes) -> Any:
        """Return per access a thread, from 1, that it may meet there; 0 if none."""
        log, teams = self.logs[kind], self.teams[BLOCK:THREAD]
        then = log[: HIGH + 1].take(words, 1)  # much faster than by an index
        if not then.any():
            return then[LOW]
        since = log[TIMES].take(words, 1) < self.clocks.take(now, 1)
        together = teams.take(then - 1, 1) == teams.take(now, 1)[:, None]
        met = (then != now + 1) & ~(together & since[:, None]).any(0)
        return (then * met).max(0)

    def record(self, kind: str, words: Any, now: Lanes, step: int) -> None:
        """Enter accesses by ascending threads; forget those that came before them."""
        log, me, fresh = self.logs[kind], now + 1, self.unordered(kind, words, now) == 0
        low = np.where(fresh, me, np.minimum(me, log[LOW].take(words)))
        high = np.where(fresh, me, np.maximum(me, log[HIGH].take(words)))
        log[LOW, words[::-1]] = low[::-1]  # of equal words the last entry stays
        log[HIGH, words], log[STEP, words] = high, step
        log[TIMES, words] = self.clocks.take(now, 1)

    def check(self, error: Any, access: Access, bad: Any, says: str) -> None:
        """Raise an error about the first thread that is `bad`, or a word of its."""
        if bad.any():
            at = int(np.argmax(bad)) * len(access.lanes) // bad.size
            near, offset = self.regions[access.owner[at]], access.offset[at]
            who = f"{self.where(access.step.number, access.lanes[at])} {access.kind}"
            place = f"byte {offset} of {near.space} {near.name} ({near.size} bytes)"
            raise error(f"{who} {access.size} bytes at {place}: {says}")
