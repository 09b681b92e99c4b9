"""`python -m benchmarks compare`: the rows of two runs beside each other."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minivae.errors import UserError

if TYPE_CHECKING:
    from benchmarks.report import Sheet

Key = tuple[str, str, int | None]


def run(before: Path, after: Path, json: bool = False) -> None:
    """Compare two JSON documents of `benchmarks`; see `benchmarks compare`."""
    from benchmarks import report

    documents = [read(path) for path in (before, after)]
    pairs = paired(*documents)
    notes = differences(*documents)
    if json:
        told = {"rows": [_told(*pair) for pair in pairs], "differences": notes}
        print(jsonlib.dumps(told, indent=2))
    else:
        report.print_sheets([sheet(pairs, before, after, notes)])


def read(path: Path) -> dict[str, Any]:
    """Read a document that `--json` has printed; raises `UserError`."""
    try:
        found = jsonlib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list):
        raise UserError(f"{path} has no rows: it must be printed by a benchmark --json")
    return found


def paired(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the rows that both have and have timed, in the order of the second."""
    old = {_key(row): row for row in before["rows"]}
    pairs = [(old[_key(row)], row) for row in after["rows"] if _key(row) in old]
    timed = [(a, b) for a, b in pairs if a["p50_ms"] and b["p50_ms"]]
    if not timed:
        raise UserError("the two have no timed row in common: nothing to compare")
    return timed


def _key(row: Mapping[str, Any]) -> Key:
    return row["benchmark"], row["impl"], row["batch"]


def verdict(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Say whether the second is faster: only if the spreads do not meet."""
    if b["p80_ms"] < a["p20_ms"]:
        return "faster"
    return "slower" if b["p20_ms"] > a["p80_ms"] else "same"


def _told(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    names = ("benchmark", "impl", "batch")
    return {
        **{name: b[name] for name in names},
        "before_ms": a["p50_ms"],
        "after_ms": b["p50_ms"],
        "ratio": b["p50_ms"] / a["p50_ms"],
        "verdict": verdict(a, b),
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what of the machines and versions is not the same."""
    found = []
    for part in ("machine", "versions", "gpu"):
        old, new = before.get(part) or {}, after.get(part) or {}
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                found.append(f"{name}: {old.get(name)} then {new.get(name)}.")
    return found


def sheet(
    pairs: list[tuple[dict[str, Any], dict[str, Any]]],
    before: Path,
    after: Path,
    notes: list[str],
) -> Sheet:
    """Return the rows side by side."""
    from benchmarks.peers.ratios import short
    from benchmarks.report import Sheet

    rows = [
        (
            f"{b['benchmark']} {b['batch'] or ''}".strip(),
            b["impl"],
            short(a["p50_ms"]),
            short(b["p50_ms"]),
            f"{b['p50_ms'] / a['p50_ms']:.2f}",
            verdict(a, b),
        )
        for a, b in pairs
    ]
    header = ("case", "impl", "before", "after", "ratio", "")
    said = ["Faster or slower: where the 20-80 % spreads do not meet.", *notes]
    return Sheet(f"p50 ms: {before.name}, then {after.name}", header, rows, said, 2)
