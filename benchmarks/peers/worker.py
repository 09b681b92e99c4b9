"""A process that has one library loaded and does what it is asked, a line at a time.

    python -m benchmarks.peers.worker ours|with_torch|with_jax GIVEN.npz

A question is one JSON list on stdin, its answer one JSON value on stdout:

    ["check"]                         -> {case: numbers all libraries must agree in}
    ["time", [case, ...], seconds]    -> {case: seconds of each call}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np

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


def answer(cases: Mapping[str, Case], question: Sequence[Any]) -> Any:
    """Return what was asked for, in types that JSON has."""
    if question[0] == "check":
        return {name: case.check() for name, case in cases.items()}
    _, names, seconds = question
    return turn({name: cases[name].call for name in names}, seconds)


def main(library: str, given_path: str) -> None:
    """Say who is here, then answer until stdin ends."""
    out = sys.stdout
    with redirect_stdout(sys.stderr):  # a library that prints must not spoil an answer
        module = import_module(f"benchmarks.peers.{library}")
        with np.load(given_path) as file:
            cases = module.cases(dict(file))
        print(json.dumps(module.described()), file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(cases, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
