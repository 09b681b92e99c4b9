"""`minivae data`: which data sets there are, and how to get those that are missing."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand


@dataclass(frozen=True)
class List:
    """Print each data set, where it would be read from here, and how to get it."""

    data_dir: Path | None = None
    """folder of the IDX files, if they lie in one of yours"""

    def run(self) -> None:
        """Print a line for each name."""
        from minivae.data.catalogue import places

        rows = [("name", "here", "where, or how to get it")]
        rows += [
            (place.name, place.kind, place.text) for place in places(self.data_dir)
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        for name, kind, text in rows:
            print(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {text}")


@dataclass(frozen=True)
class Get:
    """Download a data set: what is there already and right is not fetched again.

    A file is checked before it is moved into its place. A download that breaks off
    leaves nothing of its file; the next call starts that file anew.
    """

    name: Positional[str]
    """fashion or mnist"""
    data_dir: Path | None = None
    """folder for the files; by default one in the user's cache"""
    mirror: str | None = None
    """address of a folder with the same files"""

    def run(self) -> None:
        """Fetch the files, and print the folder they are in."""
        from minivae.data.download import get

        print(get(self.name, self.data_dir, self.mirror, tell=_tell))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


Command = Annotated[List, subcommand("list")] | Annotated[Get, subcommand("get")]


def data(command: Annotated[Command, arg(name="")]) -> None:
    """List the data sets, or download one."""
    command.run()
