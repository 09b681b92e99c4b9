"""`minivae kernels`: families and rungs, what each moves and takes, where it runs."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    from minivae_kernels.catalogue import RungRow


def kernels(name: Positional[str | None] = None, json: bool = False) -> None:
    """Print every kernel family with its ladder of rungs.

    Bytes, flops and instructions are per element: a pixel, a latent, a parameter, a
    value of an operand. Bytes are what a rung asks of memory; sectors are what memory
    moves for it, by 32 bytes. Figures of kernels are static, for sm_90 and float32:
    registers of a thread, bytes spilled and shared, the share of a multiprocessor's
    warps that fit, 128-bit accesses in the code, instructions executed.

    Args:
        name: a family, bernoulli or gaussian.forward say; by default all of them
        json: print one JSON document and nothing else
    """
    from minivae_kernels import CannotRunError
    from minivae_kernels.catalogue import rows

    from minivae.errors import UserError

    try:
        found = rows(name)
    except CannotRunError as error:
        raise UserError(str(error)) from error
    if json:
        print(jsonlib.dumps([row.as_dict() for row in found], indent=2))
    else:
        _print(found)


def _print(rows: list[RungRow]) -> None:
    from minivae_kernels import family

    for name in dict.fromkeys(row.family for row in rows):
        ladder = [row for row in rows if row.family == name]
        floors = " or ".join(f"{x:.3g}" for x in sorted({row.floor for row in ladder}))
        flops = f"{ladder[0].flops_per_element:.3g}"
        print(f"\n{name}: {family(name).equation}")
        print(f"floor {floors} bytes, {flops} flops an element\n")
        for row in ladder:
            print(f"  {row.number} {row.rung}: {row.idea}")
        print()
        _print_columns(_rungs(ladder))
        if any(row.kernels for row in ladder):
            print()
            _print_columns(_kernels(ladder))
    print()
    _print_reasons(rows)


def _print_columns(rows: list[tuple[str, ...]]) -> None:
    """Print a table: names on the left, numbers on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [f"{c:>{w}}" for c, w in zip(others, widths[1:], strict=True)]
        print("  ".join([f"  {first:<{widths[0]}}", *cells]).rstrip())


def _rungs(ladder: list[RungRow]) -> list[tuple[str, ...]]:
    table: list[tuple[str, ...]] = [("", "written in", "bytes", "of floor", "here")]
    for row in ladder:
        moved = row.bytes_per_element
        shown = f"{moved:.4g}" if moved else ""
        share = f"{moved / row.floor:.2f}" if moved else ""
        name = f"{row.number} {row.rung}"
        table.append((name, row.language, shown, share, _here(row)))
    return table


def _here(row: RungRow) -> str:
    """Say in a word where a rung runs on this machine."""
    if row.here is None:
        return "cuda" if row.runs_on == "cuda" else "cpu"
    return "no" if row.interpreted else "ptx"


def _kernels(ladder: list[RungRow]) -> list[tuple[str, ...]]:
    titles = ("regs", "spills", "shared", "warps", "128-bit", "instr", "sectors")
    table: list[tuple[str, ...]] = [("kernel", *titles)]
    shown = {kernel.kernel: kernel for row in ladder for kernel in row.kernels}
    for kernel in shown.values():
        whole = (kernel.registers, kernel.spills, kernel.shared)
        rates = (kernel.instructions_per_element, kernel.sector_bytes_per_element)
        table.append(
            (
                kernel.kernel,
                *map(str, whole),
                f"{kernel.occupancy:.0%}",
                str(kernel.wide),
                *(f"{rate:.1f}" for rate in rates),
            )
        )
    return table


def _print_reasons(rows: list[RungRow]) -> None:
    """Say why rungs do not run: once for each reason."""
    device = {row.here for row in rows if row.here}
    interpreter = {r.interpreted for r in rows if r.runs_on == "cuda" and r.interpreted}
    for reason in sorted(device):
        print(f"not on a CUDA device here: {reason}")
    for reason in sorted(interpreter - {"has no kernels of its own"}):
        print(f"not in the interpreter here: {reason}")
    if any(row.here and not row.interpreted for row in rows):
        print("ptx: in the interpreter of PTX, with --device ptx or running_on('ptx')")
