"""A training killed by SIGKILL at each of its fault points, one after another.

`python kill_points.py FOLDER`. A fault point is before a file is opened to be written,
renamed or removed, and when it is flushed to the disk, whole or half written. Each is
met by a child process, forked before any thread has started, so that a kill is a kill;
another child goes on from what is left. Prints one JSON: how many points there were,
and those after which the files were not those of an undisturbed training.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from stops import CONFIG, files
from tiny import few_digits, fit, small

import minivae as mv
from minivae.checkpoint import LOCK

HALF, WHOLE, DONE = "half", "whole", 7


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(folder: Path, number: int, content: str) -> None:
    """Let the fault point with this number, counted from 1, be the end."""
    calls = itertools.count(1)
    fsync, inside = os.fsync, str(folder)

    def flush(file: int) -> None:
        if next(calls) == number:
            if content == HALF:
                os.ftruncate(file, os.fstat(file).st_size // 2)
            die()
        fsync(file)

    def hear(event: str, given: tuple[Any, ...]) -> None:
        writes = event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in ("os.rename", "os.remove")):
            return
        if str(given[0]).startswith(inside) and next(calls) == number:
            die()

    os.fsync = flush
    sys.addaudithook(hear)


def child(action: Callable[[], Any]) -> int:
    """Do something in a process of its own; returns DONE, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(DONE)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def train(out: Path) -> None:
    fit(small("betavae", dropout=0.2, beta=2), few_digits(), out=out, epochs=3)


def killed(out: Path, number: int, content: str) -> None:
    arm(out, number, content)
    train(out)


def go_on(out: Path) -> None:
    if (out / CONFIG).exists():
        mv.resume(out, few_digits(), quiet=True)
    else:
        train(out)


def main(folder: Path) -> dict[str, Any]:
    few_digits()
    whole = folder / "whole"
    assert child(lambda: train(whole)) == DONE
    expected, points, wrong = files(whole), 0, []
    for content in (WHOLE, HALF):
        for number in itertools.count(1):
            out = folder / f"{content}-{number}"
            code = child(partial(killed, out, number, content))
            if code == DONE:
                break
            points += 1
            ended = child(partial(go_on, out))
            in_order = (code, ended) == (-signal.SIGKILL, DONE)
            if not in_order or files(out) != expected or (out / LOCK).exists():
                wrong.append([content, number, code, ended])
    return {"points": points, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
