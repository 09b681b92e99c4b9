"""Tables and sentences on a terminal, and in a pipe."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: Table) -> None:
    """Print a table to stdout, its lines not padded to the terminal's width."""
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def say(text: str) -> None:
    """Print a sentence, on lines of 80 columns at most."""
    print(textwrap.fill(text, 80, break_long_words=False, break_on_hyphens=False))
