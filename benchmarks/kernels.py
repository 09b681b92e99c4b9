"""`python -m benchmarks kernels`: the ladders of kernels beside their floors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import FIGURES
from minivae.errors import UserError

if TYPE_CHECKING:
    from minivae_kernels import Family, Rung
    from minivae_kernels.catalogue import RungRow

    from benchmarks.ladders import Entry, Ladder, Place
    from benchmarks.report import Sheet

NOT_MEASURED = "not measured"
HERE = Path()  # where a reader's module is looked for


def run(
    name: str | None = None,
    rung: str | None = None,
    device: str = "cpu",
    rounds: int = 5,
    small: bool = False,
    figures: Path | None = None,
    write: bool = False,
    json: bool = False,
) -> None:
    """Measure the kernels' ladders, or one of them; see `benchmarks kernels`."""
    from rich.console import Console

    from benchmarks import charts, report
    from benchmarks.ladders import measure

    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    if write and (name or rung or small or device != "cpu"):
        raise UserError("the page has all families on the CPU: give --write alone")
    if write:
        report.split_page("kernels")  # not after minutes of measuring
        figures = FIGURES / "kernels"
    mine = own_rung(rung) if rung else None
    place = place_of(device, rounds, small)
    families = families_of(name, mine)
    found: list[Ladder] = []
    with Console(stderr=True).status("") as status:
        if mine is not None:
            status.update(f"proving {mine.name}")
            refuse_faults(families[0], mine)
        for number, family in enumerate(families, 1):
            status.update(f"{family.name}, {number} of {len(families)}")
            found += measure([family], place)
    static = static_rows(families)
    paths = charts.save(found, static, figures) if figures else []
    sheets = [s for ladder in found for s in sheets_of(ladder, static, place)]
    if write:
        report.write_page("kernels", sheets)
    if json:
        print(document(found, static, place))
    else:
        report.print_sheets(sheets)
        if paths:
            print(f"pictures  {len(paths)} files, PNG and SVG, in {figures}")


def place_of(device: str, rounds: int, small: bool) -> Place:
    """Return where to measure; raises `UserError` that says what is missing."""
    from benchmarks import ladders

    if device == "cpu":
        from minivae import backend

        backend.keep_freed_memory()
        return ladders.Cpu(rounds, {} if small else ladders.ON_CPU)
    if device == "cuda":
        from benchmarks.cuda import Cuda

        return Cuda(rounds, small)
    raise UserError(f"no device {device!r} to measure on; have cpu, cuda")


def families_of(name: str | None, mine: Rung | None = None) -> list[Family]:
    """Return a family by its name or its file's, or all; or the one of a rung."""
    from minivae_kernels import CannotRunError, families
    from minivae_kernels.catalogue import chosen

    if mine is not None:
        return [each for each in families() if mine in each.rungs]
    try:
        return chosen(name)
    except CannotRunError as error:
        raise UserError(str(error)) from error


def own_rung(text: str) -> Rung:
    """Import "module:rung" and return the rung that it has declared."""
    from minivae_kernels import families

    module_name, colon, name = text.partition(":")
    if not colon or not module_name or not name:
        raise UserError(f"--rung takes module:rung, as mymodule:my_rung, not {text}")
    families()  # all are declared before a rung is added to one
    sys.path.insert(0, str(HERE.resolve()))
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UserError(f"cannot import {module_name}: {error}") from error
    finally:
        del sys.path[0]
    function = getattr(module, name, None)
    for family in families():
        for rung in family.rungs:
            if function is not None and rung.function is function:
                return rung
    raise UserError(f"{module_name} declares no rung {name}: see kernels/README.md")


def refuse_faults(family: Family, rung: Rung) -> None:
    """Raise `UserError` with the first fault that the proof finds in a rung."""
    from minivae_kernels import CannotRunError
    from minivae_kernels.proof import proof

    try:
        for fault in proof(family, rung):
            raise UserError(f"not timed, since it is wrong: {fault}")
    except CannotRunError as error:
        raise UserError(f"{rung.name} cannot be proved here: {error}") from error


def static_rows(families: Sequence[Family]) -> dict[str, RungRow]:
    """Return the catalogue's rows by rung, for what is not measured."""
    from minivae_kernels.catalogue import rows_of

    return {
        f"{family.name} {row.rung}": row
        for family in families
        for row in rows_of(family)
    }


# What is said of it


def sheets_of(ladder: Ladder, static: dict[str, RungRow], place: Place) -> list[Sheet]:
    """Return a table of what was measured, and of CUDA rungs one of what was not."""
    from benchmarks.report import Sheet

    family = ladder.family
    title = f"{family.name}: {family.equation}"
    made = []
    measured = [e for e in ladder.entries if e.timing is not None]
    header = ("rung", "p50 ms", "p20", "p80", "GB/s", "of floor")
    graph = ("graph",) if place.name == "cuda" else ()
    rows = [_cells(entry, ladder, bool(graph)) for entry in measured]
    floor = min(e.floor_ms for e in measured if e.floor_ms is not None)
    moved, flops = _scaled(ladder.floor.bytes, "B"), _scaled(ladder.floor.flops, "FLOP")
    note = (
        f"{ladder.size}. Floor {floor:.3g} ms: {moved} at the copy's "
        f"{ladder.copy_gbs:.3g} GB/s, {flops} at sgemm's {ladder.sgemm_gflops:.3g} "
        "GFLOP/s."
    )
    if gpu := place.described:
        note = f"On {gpu['gpu']}: {note}"
    made.append(Sheet(title, (*header, *graph), rows, [note]))
    untimed = [e for e in ladder.entries if e.runs_on == "cuda" and e.timing is None]
    if unmeasured := [e for e in untimed if f"{family.name} {e.name}" in static]:
        made.append(_static_sheet(ladder, unmeasured, static))
    return made


def _cells(entry: Entry, ladder: Ladder, graph: bool) -> tuple[str, ...]:
    from benchmarks.peers.ratios import short

    t = entry.timing
    assert t is not None
    assert entry.floor_ms is not None
    rate = (entry.moves or ladder.floor.bytes) / t.p50 / 1e6
    within = (short(entry.graph_ms) if entry.graph_ms else "",) if graph else ()
    return (
        _label(entry),
        *map(short, (t.p50, t.p20, t.p80)),
        f"{rate:.3g}",
        f"{entry.floor_ms / t.p50:.0%}",
        *within,
    )


def _static_sheet(
    ladder: Ladder, entries: Sequence[Entry], static: dict[str, RungRow]
) -> Sheet:
    from benchmarks.report import Sheet

    header = ("rung", "p50 ms", "bytes", "of floor", "regs", "warps", "instr")
    rows, reasons = [], set()
    for entry in entries:
        row = static[f"{ladder.family.name} {entry.name}"]
        moved, kernels = row.bytes_per_element, row.kernels
        figures = ("", "", "")
        if kernels:
            figures = (
                str(max(k.registers for k in kernels)),
                f"{min(k.occupancy for k in kernels):.0%}",
                f"{sum(k.instructions_per_element for k in kernels):.1f}",
            )
        shown = (f"{moved:.4g}", f"{moved / row.floor:.2f}") if moved else ("", "")
        rows.append((_label(entry), NOT_MEASURED, *shown, *figures))
        reasons.add(row.here or entry.why_not or "")
    notes = [
        f"Not measured: {'; '.join(sorted(reasons - {''}))}.",
        "Bytes and instructions are an element's, of the tests' example.",
    ]
    return Sheet(f"{ladder.family.name} on CUDA, for sm_90", header, rows, notes)


def _label(entry: Entry) -> str:
    return entry.name if entry.number is None else f"{entry.number} {entry.name}"


def _scaled(value: float, unit: str) -> str:
    """Return a number with its unit: 38.5 MB."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def document(found: Sequence[Ladder], static: dict[str, RungRow], place: Place) -> str:
    """Return the JSON document: the rows, and in `kernels` what a row does not hold."""
    from benchmarks import report

    rows = [row for ladder in found for row in ladder.rows()]
    told: dict[str, Any] = {"device": place.name, "kernels": []}
    for ladder in found:
        for entry in ladder.entries:
            row = static.get(f"{ladder.family.name} {entry.name}")
            told["kernels"].append(
                {
                    "family": ladder.family.name,
                    "size": ladder.size,
                    **{k: v for k, v in asdict(entry).items() if k != "timing"},
                    "floor_bytes": ladder.floor.bytes,
                    "flops": ladder.floor.flops,
                    "copy_gbs": ladder.copy_gbs,
                    "sgemm_gflops": ladder.sgemm_gflops,
                    "static": [asdict(k) for k in row.kernels] if row else [],
                }
            )
    if place.described:
        told["gpu"] = place.described
    return report.document(rows, **told)
