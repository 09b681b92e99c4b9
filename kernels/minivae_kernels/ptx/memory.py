"""Memory of a launch: addresses, bounds, alignment, traffic, races.

All bytes lie in one NumPy array, the arena, and between two variables lies a gap that
belongs to nobody. Addresses are made up: local variables, shared variables and all else
have each a window of addresses. A shared variable has a copy for each block and a local
one for each thread: equal addresses, other places in the arena.

Two accesses are a race if they are made by two threads, one at least writes, not both
are atomic, and no barrier lies between: of the block (`bar.sync`) or, within a warp,
of the warp (`bar.warp.sync`). Blocks never wait for each other. All threads run here in
step, so that a race rarely gives a wrong number: it has to be looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from minivae_kernels.ptx import errors

Lanes = NDArray[np.intp]  # threads, numbered through the launch, ascending

SPACES = {"local": 0, "shared": 1, "param": 2, "const": 2, "global": 2}  # and windows
PAGE, SECTOR = 256, 32
POISON = 0xFF  # of what nobody has written: floats of these bytes are NaN
CLASHES = {"reads": ["writes", "updates"], "updates": ["writes", "reads"]}
CLASHES["writes"] = ["writes", "reads", "updates"]  # an update is atomic


@dataclass
class Region:
    """A variable or an array, from the address `start` on."""

    name: str
    space: str
    size: int
    content: Any = b""  # its first bytes
    known: bool = True  # False: to read it before it is written is a fault
    writable: bool = True
    start: int = 0


class Access(NamedTuple):
    """What some threads do in one instruction, and where."""

    kind: str  # "reads", "writes" or "updates"
    size: int  # bytes a thread
    step: int  # the number of the instruction
    allowed: NDArray[np.bool_]  # the regions it may mean
    addresses: Any
    lanes: Lanes


class Log:
    """Who touched each word since it was last synchronised, in one manner.

    The lowest and the highest thread are enough: if others of several warps or blocks
    did too, these two are of different ones, and no thread can be in step with both.
    """

    def __init__(self, words: int, teams: NDArray[np.intp], clocks: Any) -> None:
        self.teams, self.clocks, self.used = teams, clocks, False
        self.low, self.high, self.step = np.zeros((3, words), np.int32)
        self.times = np.zeros((2, words), np.int32)

    def unordered(self, words: Any, now: Lanes) -> Any:
        """Return per access a thread, from 1, that it may meet there; 0 if none."""
        if not self.used or not self.low[words].any():
            return np.zeros(len(words), np.int32)
        since = (
            self.times[:, words] < self.clocks[:, now]
        )  # a barrier of block, of warp
        then = np.stack([self.low[words], self.high[words]])
        together = self.teams[:, then - 1] == self.teams[:, None, now]
        met = (then != now + 1) & ~(together & since[:, None]).any(0)
        return (then * met).max(0)

    def record(self, words: Any, now: Lanes, step: int) -> None:
        """Enter accesses by ascending threads; forget those that came before them."""
        me, fresh = (now + 1).astype(np.int32), self.unordered(words, now) == 0
        low = np.where(fresh, me, np.minimum(me, self.low[words]))
        self.high[words] = np.where(fresh, me, np.maximum(me, self.high[words]))
        self.low[words[::-1]] = low[::-1]  # of equal words the last entry stays
        self.times[:, words] = self.clocks[:, now]
        self.step[words], self.used = step, True


class Memory:
    """The arena and the regions in it; `teams` are the block and warp of each thread.

    `where(step, thread)` says who did what, for messages.
    """

    def __init__(self, teams: NDArray[np.intp], detect: bool, where: Any) -> None:
        self.teams, self.detect, self.where, self.sectors = teams, detect, where, 0
        self.clocks = np.zeros(teams.shape, np.int32)  # barriers of block and warp
        self.regions = [Region("nothing", "", 0)]
        self.owners = [np.zeros(PAGE, np.int16) for _ in range(3)]  # of bytes: a region

    def add(self, region: Region, offset: int) -> int:
        """Make room for a region `offset` past a page; return its address."""
        owners = self.owners[window := SPACES[region.space]]
        pages = np.zeros((offset + region.size) // PAGE * PAGE + 2 * PAGE, np.int16)
        pages[offset : offset + region.size] = len(self.regions)
        region.start = (window << 28) + len(owners) + offset
        self.owners[window] = np.concatenate([owners, pages])
        self.regions.append(region)
        return region.start

    def allocate(self, word: int) -> None:
        """Make the arena; faults are looked for in units of `word` bytes."""
        self.word, copies = word, (np.arange(self.teams.shape[1]), self.teams[0])
        size, owners, shift = 0, [], []
        for k, copy in enumerate((*copies, 0 * copies[0])):
            owners.append(np.tile(self.owners[k], copy[-1] + 1))
            shift.append(size - (k << 28) + copy * len(self.owners[k]))
            size += len(owners[-1])
        self.owner, self.shift = np.concatenate(owners), np.stack(shift)
        self.limits = np.array([(k << 28) + len(o) for k, o in enumerate(self.owners)])
        arena = np.full(size, POISON, np.uint8)
        self.views = {width: arena.view(f"u{width}") for width in (1, 2, 4, 8)}
        for region in self.regions:
            if SPACES.get(region.space) == 2:
                content = np.frombuffer(region.content, np.uint8)
                missing = region.size - len(content)
                self.bytes_of(region)[:] = np.pad(content, (0, missing))
        spaces = np.array([region.space for region in self.regions])
        self.outside = spaces == "global"
        self.watched = self.outside | (spaces == "shared")
        self.traffic = {kind: np.zeros(len(spaces), np.int64) for kind in CLASHES}
        words = size // word * self.detect
        self.logs = {kind: Log(words, self.teams, self.clocks) for kind in CLASHES}
        self.written = np.array([r.known for r in self.regions])[self.owner[::word]]

    def bytes_of(self, region: Region) -> NDArray[np.uint8]:
        """Return the bytes of a region, of its first copy."""
        place = region.start + self.shift[SPACES[region.space], 0]
        return self.views[1][place : place + region.size]

    def near(self, address: int) -> Region:
        """Return the region that an address is in, or the last before it."""
        before = [region for region in self.regions if region.start <= max(address, 0)]
        return max(before, key=lambda region: region.start)

    def touch(self, access: Access) -> Any:
        """Check and count the accesses of some threads; return their places."""
        kind, size, _, allowed, addresses, lanes = access
        if (odd := addresses % size != 0).any():
            says = f"the address is no multiple of {size}"
            self.fail(errors.MisalignedError, access, odd, says)
        window = np.clip(addresses >> 28, 0, 2)
        inside = (addresses >= 0) & (addresses + size <= self.limits[window])
        places = np.where(inside, addresses + self.shift[window, lanes], 0)
        owner = self.owner[places]
        good = allowed[owner] & (owner == self.owner[places + size - 1])
        if not good.all():
            self.fail(
                errors.OutOfBoundsError, access, ~good, "out of bounds, or read-only"
            )
        self.traffic[kind] += size * np.bincount(owner, minlength=len(self.regions))
        if (out := self.outside[owner]).any():
            request = self.teams[1, lanes[out]] << 40 | addresses[out] // SECTOR
            self.sectors += 1 + int(np.count_nonzero(np.diff(np.sort(request))))
        if self.detect and (seen := self.watched[owner]).any():
            parts = {"addresses": addresses[seen], "lanes": lanes[seen]}
            self.look(access._replace(**parts), places[seen])
        return places

    def look(self, access: Access, places: Any) -> None:
        """Look for reads of what nobody wrote, and for races."""
        kind, count = access.kind, -(-access.size // self.word)
        words = (places[:, None] // self.word + np.arange(count)).ravel()
        now = np.repeat(access.lanes, count)
        if kind != "writes" and not (known := self.written[words]).all():
            bad, says = ~known.reshape(-1, count).all(1), "nobody has written there"
            self.fail(errors.UninitialisedError, access, bad, says)
        self.written[words] = True
        for other in (*CLASHES[kind], None, *CLASHES[kind][:1]):
            if other is None:  # then: the threads of this access among themselves
                self.logs[kind].record(words, now, access.step)
            elif (met := self.logs[other].unordered(words, now)).any():
                first = int(np.argmax(met > 0))
                who = self.where(self.logs[other].step[words[first]], met[first] - 1)
                bad = np.arange(len(access.lanes)) == first // count
                says = f"a race, no barrier lies between this and {who}"
                self.fail(errors.RaceError, access, bad, says)

    def fail(self, error: Any, access: Access, bad: Any, says: str) -> NoReturn:
        """Raise an error about the first thread that is `bad`."""
        first = int(np.argmax(bad))
        at, who = access.addresses[first], self.where(access.step, access.lanes[first])
        near, does = self.near(at), f"{access.kind} {access.size} bytes"
        place = (
            f"byte {at - near.start} of {near.space} {near.name} ({near.size} bytes)"
        )
        raise error(f"{who} {does} at {place}: {says}")
