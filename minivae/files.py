"""Writing files: all of one, or nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from minivae.errors import UserError


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


def parsed(text: str) -> Any:
    """Return what JSON says; raises `ValueError` for whatever is none."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
