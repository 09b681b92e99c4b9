"""`minivae gradcheck`: the gradients, checked."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    from minivae.gradcheck import Claim


def gradcheck(model: Positional[str | None] = None, json: bool = False) -> int:
    """Compare every gradient with finite differences; exit code 1 if one is wrong.

    Args:
        model: its name; by default all of them, and every op and layer
        json: print one JSON document and nothing else
    """
    from dataclasses import asdict

    from minivae.verify import claims

    found = list(claims(model))
    if json:
        print(jsonlib.dumps([asdict(claim) for claim in found], indent=2))
    else:
        _print_claims(found)
    return 0 if all(claim.passed for claim in found) else 1


def _print_claims(claims: list[Claim]) -> None:
    """Print one line for each thing checked, and the details of what failed."""
    from rich import box
    from rich.table import Table

    from minivae.cli.tables import print_table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("checked")
    table.add_column("inputs", justify="right")
    table.add_column("worst error", justify="right")
    table.add_column("")
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.name.rpartition("/")[0], []).append(claim)
    for name, group in groups.items():
        worst = max(claim.error for claim in group)
        verdict = "ok" if all(claim.passed for claim in group) else "WRONG"
        table.add_row(name, str(len(group)), f"{worst:.1e}", verdict)
    print_table(table)
    for claim in claims:
        if not claim.passed:
            print(f"WRONG {claim.name}: {claim.claim}")
    failed = sum(not claim.passed for claim in claims)
    worst = max(claim.error for claim in claims)
    tolerance = max(claim.tolerance for claim in claims)
    print(
        f"{len(claims)} gradients, {failed} wrong; worst relative error {worst:.1e}, "
        f"allowed {tolerance:.0e}"
    )
