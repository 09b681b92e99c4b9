"""What a benchmark says: rows for programs, tables for people, a page for the record.

A `Sheet` is a table of strings; it is printed by rich or written as Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.machine import described, machine, versions
from minivae.errors import UserError

PAGE = Path(__file__).with_name("README.md")
WIDTH = 80  # columns where the output is no terminal


@dataclass(frozen=True)
class Row:
    """One measured case; a field that does not apply is None.

    `ratio` is this row's rate over that of the row `ratio_to`: the other's time over
    this one's, where both do the same work.
    """

    benchmark: str
    impl: str
    batch: int | None = None
    p50_ms: float | None = None
    p20_ms: float | None = None
    p80_ms: float | None = None
    ratio_to: str | None = None
    ratio: float | None = None
    gflops: float | None = None
    peak_mb: float | None = None


@dataclass(frozen=True)
class Sheet:
    """A table with a title; its first `words` columns are text, the others numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()  # sentences that belong to the table
    words: int = 1

    def is_text(self, column: int) -> bool:
        """Whether a column is text, which is set to the left."""
        return column < self.words


def document(
    rows: Iterable[Row], profile: dict[str, Any] | None = None, **more: Any
) -> str:
    """Return the one JSON document of a command that was given `--json`.

    `more` is what a single command adds under a name of its own.
    """
    content = {
        "machine": machine(),
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
        "profile": profile,
        **more,
    }
    return json.dumps(content, indent=2)


def print_sheets(sheets: Iterable[Sheet]) -> None:
    """Print the machine and then every table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(described())
    for sheet in sheets:
        table = Table(
            title=sheet.title,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE,
            padding=(0, 1, 0, 0),
        )
        for i, name in enumerate(sheet.header):
            table.add_column(name, justify="left" if sheet.is_text(i) else "right")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
        for note in sheet.notes:
            console.print(note, markup=False)


def markdown(sheets: Iterable[Sheet]) -> str:
    """Return the day, the machine and every table as Markdown."""
    lines = [f"Measured {date.today().isoformat()} on {described()}."]
    for sheet in sheets:
        lines += ["", f"**{sheet.title}**", "", _line(sheet.header)]
        columns = range(len(sheet.header))
        lines.append(_line([":--" if sheet.is_text(i) else "--:" for i in columns]))
        lines += [_line(row) for row in sheet.rows]
        lines += ["", *sheet.notes] if sheet.notes else []
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def split_page(name: str, page: Path = PAGE) -> tuple[str, str]:
    """Return the page up to and from its markers `name:begin` and `name:end`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise UserError(f"{page.name} needs the lines {begin} and {end} to write into")
    return before + begin, end + after


def write_page(name: str, sheets: Iterable[Sheet], page: Path = PAGE) -> None:
    """Put the tables between the page's markers, in place of what stands there."""
    before, after = split_page(name, page)
    page.write_text(f"{before}\n{markdown(sheets)}\n{after}", encoding="utf-8")
