"""The catalogue of families and rungs: what each moves, takes, and where it runs here.

All from the registry, the compilers and the interpreter: bytes are those that a rung
states and the tests count, instructions those that the interpreter executes. Nothing is
a time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from minivae_kernels import MODULES, devices, families, family, running_on
from minivae_kernels.devices import CannotRunError
from minivae_kernels.examples import elements, example
from minivae_kernels.family import Family, Rung
from minivae_kernels.resources import resources

SECTOR = 32  # bytes of memory that are moved together


@dataclass(frozen=True)
class KernelRow:
    """A kernel of a rung, compiled for sm_90 and float32.

    `sector_bytes` counts memory as it is moved, in sectors of 32 bytes: where lanes lie
    apart, many times the bytes that they ask for.
    """

    kernel: str
    registers: int
    spills: int
    shared: int
    occupancy: float
    wide: int
    instructions_per_element: float
    sector_bytes_per_element: float


@dataclass(frozen=True)
class RungRow:
    """A rung: its bytes an element on an example, and what keeps it from running."""

    family: str
    number: int
    rung: str
    runs_on: str
    language: str
    idea: str
    bytes_per_element: float | None
    floor: float
    beside: dict[str, int]
    flops_per_element: float
    here: str | None  # why it does not run on this machine's own arrays
    interpreted: str | None  # why it does not run in the interpreter
    kernels: list[KernelRow]

    def as_dict(self) -> dict[str, Any]:
        """Return the row by names."""
        return asdict(self)


def rows(name: str | None = None) -> list[RungRow]:
    """Return a row for every rung of a family, or of all; raises `CannotRunError`."""
    return [row for each in chosen(name) for row in rows_of(each)]


def chosen(name: str | None = None) -> list[Family]:
    """Return a family, those that "gaussian" begins, or all; may `CannotRunError`."""
    if name is None:
        return families()
    fitting = [each for each in MODULES if each.split(".")[0] == name]
    names = [name] if name in MODULES else fitting
    if not names:
        raise CannotRunError(f"no family {name!r}; have {', '.join(MODULES)}")
    return [family(each) for each in names]


def rows_of(each: Family) -> list[RungRow]:
    """Return a row for every rung of a family."""
    return [_row(each, rung) for rung in each.rungs]


def _row(each: Family, rung: Rung) -> RungRow:
    call = example(each.name, rung=rung)
    arrays, options = call
    count, floor = elements(call), each.cost(*arrays, **options)
    cost = rung.cost(*arrays, **options) if rung.cost else None
    interpreted = devices.why_not_interpreted(rung)
    return RungRow(
        each.name,
        rung.number,
        rung.name,
        rung.runs_on,
        rung.language,
        rung.idea,
        cost.moved / count if cost else None,
        floor.bytes / count,
        dict(cost.beside) if cost else {},
        floor.flops / count,
        devices.why_no_cuda() if rung.runs_on == "cuda" else None,
        interpreted,
        _kernels(each, rung) if interpreted is None else [],
    )


def _kernels(each: Family, rung: Rung) -> list[KernelRow]:
    """Compile a rung's kernels, and run an example to count instructions."""
    call = example(each.name, rung=rung)
    with running_on("ptx", detect=False) as session:
        rung.function(*call[0], **call[1])
    executed, sectors = Counter[str](), Counter[str]()
    for name, report in session.reports:
        executed[name] += report.instructions
        sectors[name] += report.sectors
    found = []
    for kernel in rung.kernels:
        static = resources(kernel)
        found.append(
            KernelRow(
                str(kernel),
                static.registers,
                static.spills,
                static.shared,
                static.occupancy,
                static.wide,
                executed[str(kernel)] / elements(call),
                SECTOR * sectors[str(kernel)] / elements(call),
            )
        )
    return found
