"""Keys and the screen for a walk through a step; lines of a pipe just as well."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minivae.study import as_text
from minivae.study.walk import KEYS, Walk

if TYPE_CHECKING:
    from minivae.study import Recording

QUIT = ("q", "\x04")  # and Ctrl-D
MOVES = {"\x1b[C": "n", "\x1b[B": "n", "\x1b[D": "p", "\x1b[A": "p", "\r": "n"}
CLEAR = "\x1b[H\x1b[2J"


def walk(recording: Recording) -> None:
    """Walk by keys, or by lines where stdin is a pipe; all at once into a pipe."""
    if sys.stdin is not None and not sys.stdin.isatty():
        _by_lines(Walk(recording))
    elif sys.stdin is not None and sys.stdout.isatty():
        _by_keys(Walk(recording))
    else:
        print(as_text(recording), end="")


def _by_lines(walk: Walk) -> None:
    """Obey a command a line, as in: printf 'f\\nn\\ng mu\\nq\\n' | minivae step."""
    print("\n".join([*walk.here(), ""]), flush=True)
    for line in sys.stdin:
        if line.strip() in QUIT:
            return
        print("\n".join([*walk.obey(line), ""]), flush=True)


def _by_keys(walk: Walk) -> None:
    """Show one stop a screen; what is longer goes on with the space bar."""
    lines, start = walk.here(), 0
    with _single_keys():
        while True:
            height = shutil.get_terminal_size().lines - 2
            shown = [piece for line in lines for piece in line.split("\n")]
            rest = len(shown) - start - height
            _draw(shown[start : start + height], rest > 0)
            key = _key()
            if key in QUIT:
                print()
                return
            if key == " " and rest > 0:
                start += height
                continue
            command = MOVES.get(key, "n" if key == " " else key)
            if command == "g":
                command = f"g {_ask('go to: ')}"
            lines, start = walk.obey(command), 0


def _draw(lines: list[str], more: bool) -> None:
    clear = "" if _is_dumb() else CLEAR
    keys = "space: more below    ? all keys    q quit" if more else KEYS
    sys.stdout.write(clear + "\n".join([*map(_painted, lines), "", keys]))
    sys.stdout.flush()


def _is_dumb() -> bool:
    """Tell whether the terminal knows no escape codes."""
    return os.environ.get("TERM", "dumb") == "dumb"


def _painted(line: str) -> str:
    """Return a line with what is wrong in red, unless the reader wants no colour."""
    if os.environ.get("NO_COLOR") or _is_dumb():
        return line
    if "WRONG" in line or "NOT FINITE" in line:
        return f"\x1b[1;31m{line}\x1b[0m"
    return line


@contextmanager
def _single_keys() -> Iterator[None]:
    """Let keys come one by one, unseen; on the way out all is as before."""
    try:
        import termios
        import tty
    except ImportError:  # Windows: msvcrt reads keys as they come
        yield
        return
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _key() -> str:
    """Return the next key; an arrow is three characters."""
    try:
        import termios  # noqa: F401
    except ImportError:
        import msvcrt

        return str(msvcrt.getwch())  # type: ignore[attr-defined]
    key = os.read(sys.stdin.fileno(), 8).decode("utf-8", "replace")
    return key or "q"


def _ask(question: str) -> str:
    """Read a line, seen as it is typed."""
    sys.stdout.write(
        f"\r\x1b[K{question}" if os.environ.get("TERM") != "dumb" else "\n"
    )
    sys.stdout.flush()
    typed = ""
    while (key := _key()) not in ("\r", "\n", *QUIT[1:]):
        if key in ("\x7f", "\b"):
            typed = typed[:-1]
            sys.stdout.write("\b \b")
        elif key.isprintable():
            typed += key
            sys.stdout.write(key)
        sys.stdout.flush()
    return typed
