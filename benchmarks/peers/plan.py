"""Which case of which library is compared with which."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from benchmarks.peers.work import BATCHES, COPIED, LOSSES

OURS = "minivae"
MODULES = {OURS: "ours", "torch": "with_torch", "jax": "with_jax"}
"""The libraries, in the order of their turns, and the modules that hold their cases."""


class Entry(NamedTuple):
    """One line of a comparison: what it is called, and the case that is timed."""

    impl: str
    library: str
    case: str


class Comparison(NamedTuple):
    """Entries that do the same work; the first is ours, the others are rated by it.

    Entries of one library are timed call by call in turns, within one process.
    """

    benchmark: str
    batch: int | None
    entries: tuple[Entry, ...]


def plan(libraries: tuple[str, ...]) -> list[Comparison]:
    """Return all comparisons, without the entries of libraries that are not here."""

    def of_each(case: str) -> tuple[Entry, ...]:
        return tuple(Entry(library, library, case) for library in MODULES)

    ours = tuple(Entry(OURS, OURS, case) for case in ("bernoulli", "adam", "adam step"))
    bernoulli, adam, adam_step = ours
    flat = Entry("torch, flat", "torch", "adam")
    by_parameter = Entry("torch, list", "torch", "adam by parameter")
    copy = Entry("copy", OURS, "copy")
    everything = [
        *(Comparison("step", batch, of_each(f"step {batch}")) for batch in BATCHES),
        *(Comparison("loss", batch, of_each(f"loss {batch}")[:2]) for batch in LOSSES),
        Comparison("bernoulli", COPIED, (bernoulli, copy)),
        Comparison("adam", None, (adam, flat, by_parameter)),
        Comparison("Adam.step", None, (adam_step, by_parameter)),
        Comparison("sgemm", None, of_each("sgemm")),
        *(Comparison("noise", b, (_drawn("noise", b),)) for b in BATCHES),
        *(Comparison("pixels", b, (_drawn("pixels", b),)) for b in BATCHES),
    ]
    return [
        c._replace(entries=tuple(e for e in c.entries if e.library in libraries))
        for c in everything
    ]


def _drawn(what: str, batch: int) -> Entry:
    return Entry(OURS, OURS, f"{what} {batch}")


def installed() -> tuple[str, ...]:
    """Return the libraries that can be imported here; ours always."""
    return tuple(name for name in MODULES if find_spec(name) is not None)
