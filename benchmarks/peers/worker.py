"""A process that has one library loaded and does what it is asked, a line at a time.

    python -m benchmarks.peers.worker ours|with_... step|kernels GIVEN.npz

A question is one JSON list on stdin, its answer one JSON value on stdout:

    ["check"]                         -> {case: numbers all libraries must agree in}
    ["time", [case, ...], seconds]    -> {case: seconds of each call}
    ["memory"]                        -> MB resident at the start, and the peak above it

The start is when the library is imported and what is given has been read, before
anything is made of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from importlib import import_module
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.memory import Memory
from benchmarks.peers.work import Case
from benchmarks.timing import timed

WARM = 0.3  # share of a turn that is not counted
FEWEST, MOST = 5, 500  # counted calls in a turn


def turn(
    functions: Mapping[str, Callable[[], object]], seconds: float
) -> dict[str, list[float]]:
    """Call the functions one after another, again and again, for about `seconds`.

    Returns the seconds of every call but those of the first `WARM` share of the turn:
    until then threads wake up and caches fill.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    start = perf_counter()
    for function in functions.values():
        function()
    while perf_counter() - start < WARM * seconds:
        for function in functions.values():
            function()
    for number in count(1):
        for name, function in functions.items():
            times[name].append(timed(function))
        over = perf_counter() - start > seconds
        if number >= MOST or (over and number >= FEWEST):
            return times
    raise AssertionError("count() does not end")


def answer(cases: Mapping[str, Case], memory: Memory, question: Sequence[Any]) -> Any:
    """Return what was asked for, in types that JSON has."""
    if question[0] == "check":
        return {name: checked(case) for name, case in cases.items()}
    if question[0] == "memory":
        return memory.start_mb, memory.peak_mb()
    _, names, seconds = question
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(cases[name].around())
        return turn({name: cases[name].call for name in names}, seconds)


def checked(case: Case) -> list[float]:
    """Return the numbers of a case in which all libraries must agree."""
    with case.around():
        return case.check()


def main(library: str, what: str, given_path: str) -> None:
    """Say who is here, then answer until stdin ends."""
    out = sys.stdout
    with redirect_stdout(sys.stderr):  # a library that prints must not spoil an answer
        module = import_module(f"benchmarks.peers.{library}")
        with np.load(given_path) as file:
            given = dict(file)
        memory = Memory()
        cases = getattr(module, what)(given)
        print(json.dumps(module.described()), file=out, flush=True)
        for line in sys.stdin:
            told = answer(cases, memory, json.loads(line))
            print(json.dumps(told), file=out, flush=True)


def reason(error: Exception) -> str:
    """Return an error's name and first line: compilers add pages of advice."""
    first, *_ = [*str(error).strip().splitlines(), "no reason given"]
    return f"{type(error).__name__}: {first}"


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(reason(error))
