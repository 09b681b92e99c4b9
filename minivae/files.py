"""Writing files: all of one, or nothing."""

from __future__ import annotations

import os
from pathlib import Path

from minivae.errors import UserError


def write(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or all of the new."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        raise
