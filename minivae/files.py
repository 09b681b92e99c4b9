"""Files: written whole or not at all, and JSON that is read with suspicion."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from minivae.errors import UserError

MOST_TEXT = 1 << 26  # bytes of a text that is read: ours have less


def write(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Write a file so that a reader sees the old content or all of the new.

    The old file, if there is one, goes to `keep`: after the new one is on the disk, and
    just before it takes its place.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        raise


def read_text(path: Path) -> str:
    """Return the text of a regular file of at most 64 MiB.

    Raises `OSError` where there is none, and `ValueError` for more, or no UTF-8.
    """
    if not path.is_file():  # a pipe or a device could go on for ever
        raise FileNotFoundError(f"there is no file {path}")
    with path.open("rb") as file:
        content = file.read(MOST_TEXT + 1)
    if len(content) > MOST_TEXT:
        raise ValueError(f"it has more than {MOST_TEXT >> 20} MiB")
    return content.decode("utf-8")


def parsed(text: str, **options: Any) -> Any:
    """Return what JSON says; raises `ValueError` for whatever is none.

    Also for half of a pair of surrogates, "\\ud800": no text in UTF-8 can hold it.
    """
    try:
        value = json.loads(text, **options)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def fits(value: Any, kind: Any) -> bool:
    """Whether a value that JSON held is of a type, as a signature declares it.

    A list may stand for a tuple and a whole number for a float, which is finite; True
    is no number.
    """
    parts = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            return False
        kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(kinds) == len(value) and all(map(fits, value, kinds))
    if kind is float:
        is_number = type(value) in (int, float)
        return is_number and abs(value) <= sys.float_info.max
    return type(value) is kind
