"""`minivae data`: which data sets there are, and how to get those that are missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
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


@dataclass(frozen=True)
class Make:
    """Draw a data set into a file, with the factors that it was drawn from.

    The file is in the layout of dSprites' and can be given to --data. It is drawn in
    blocks and is whole or not there; one that is there is not drawn again.
    """

    name: Positional[str]
    """sprites"""
    size: int = 64
    """pixels a side: 16, 32 or 64"""
    grid: tuple[int, int, int, int, int] = (3, 6, 40, 32, 32)
    """how many shapes, scales, orientations, x and y"""
    binary: bool = False
    """pixels of 0 and 1, not anti-aliased"""
    out: Path | None = None
    """the .npz; by default one in the user's cache"""

    def run(self) -> None:
        """Draw the file, and print its path."""
        from minivae.data import Sprites
        from minivae.data.download import cache_folder
        from minivae.data.factor_files import write_sprites
        from minivae.errors import UserError

        if self.name != "sprites":
            raise UserError(f"cannot make {self.name!r}: what can be drawn is sprites")
        sprites = Sprites(self.size, self.grid, self.binary)
        stem = f"sprites{self.size}-{'x'.join(map(str, self.grid))}"
        name = f"{stem}{'-binary' * self.binary}.npz"
        path = self.out or cache_folder("sprites") / name
        if path.suffix != ".npz":
            raise UserError(f"--out is the path of an .npz, not {path}")
        if self.out and path.exists():
            raise UserError(f"{path} is there already: give another path")
        if not path.exists():
            write_sprites(path, sprites, _told(len(sprites)))
        print(path)


def _told(count: int) -> Callable[[int], None]:
    """Return what says how far a drawing is, on a terminal."""

    def tell(done: int) -> None:
        end = "\n" if done == count else ""
        if sys.stderr.isatty():
            print(f"\r{done:,} of {count:,}", end=end, file=sys.stderr, flush=True)

    return tell


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


Command = (
    Annotated[List, subcommand("list")]
    | Annotated[Get, subcommand("get")]
    | Annotated[Make, subcommand("make")]
)


def data(command: Annotated[Command, arg(name="")]) -> None:
    """List the data sets, download one, or draw one."""
    command.run()
