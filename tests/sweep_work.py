"""What workers do in the tests of a sweep, and how they are found and killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from minivae.errors import UserError
from minivae.sweep import Task


def finish(task: Task) -> None:
    """Do what the options say: end, fail, break, or die so many times."""
    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if task.options.get("fails"):
        raise UserError("told as it is")
    if task.options.get("breaks"):
        raise ZeroDivisionError("by\n  nothing")
    deaths = len(list(folder.glob("death-*")))
    if deaths < task.options.get("dies", 0):
        (folder / f"death-{deaths}").touch()
        if task.options.get("saves"):
            (folder / "last.safetensors").write_text(f"{deaths}")
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "ledger.json").write_text('{"objective": 1.0}')


def children(pid: int) -> list[int]:
    """The processes whose parent this is, the oldest first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(told[1]) == pid and told[0] != "Z":
            found.append((int(told[19]), int(path.parent.name)))  # since when, pid
    return [pid for _, pid in sorted(found)]


def grandchildren(pid: int) -> list[int]:
    return [found for child in children(pid) for found in children(child)]
