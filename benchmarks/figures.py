"""Single figures beside the step: starting, memory, and what the engine itself costs.

What starts a process here starts a fresh one, by the interpreter that runs this.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.report import Sheet
from benchmarks.timing import timed
from minivae import Tensor, ops
from minivae.errors import UserError

PROCESSES = 5
EPOCHS = 3  # of the demo whose memory is measured; 40 epochs have the same peak
CHAIN = 1000
REPEATS = 20

# A process starts with the peak of the one it was forked from, so the demo is started
# by a small one. ru_maxrss counts KiB, on macOS bytes.
PEAK_OF = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


@dataclass(frozen=True)
class Figure:
    """One number, and what it is meant to stay below."""

    name: str
    value: float
    unit: str
    target: float


def figures() -> Iterator[Figure]:
    """Measure all of them."""
    yield Figure("import minivae", seconds_of(["-c", "import minivae"]), "s", 0.5)
    yield Figure("minivae --help", seconds_of(["-m", "minivae", "--help"]), "s", 0.8)
    peak = demo_peak_mb()
    yield Figure(f"peak memory of the demo, {EPOCHS} epochs", peak, "MB", 600)
    forward, backward = add_microseconds()
    yield Figure("ops.add beyond np.add, forward", forward, "µs", 5)
    yield Figure("ops.add beyond np.add, backward", backward, "µs", 5)


def seconds_of(arguments: Sequence[str], processes: int = PROCESSES) -> float:
    """Return the median time of fresh Python processes, after one to warm the disk."""
    command = [sys.executable, *arguments]
    times = [timed(lambda: output_of(command)) for _ in range(1 + processes)]
    return statistics.median(times[1:])


def demo_peak_mb(epochs: int = EPOCHS) -> float:
    """Return the peak resident memory of `minivae train` in MB (10**6 bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        demo = [sys.executable, "-m", "minivae", "train", "--epochs", str(epochs)]
        out = ["--out", str(Path(folder, "run"))]
        return int(output_of([sys.executable, "-c", PEAK_OF, *demo, *out])) / 1e6


def output_of(command: Sequence[str]) -> str:
    """Return what a process prints; raises `UserError` if it fails, and says why."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        raise UserError(f"a process to be measured failed: {reason}")
    return done.stdout


def add_microseconds(chain: int = CHAIN, repeats: int = REPEATS) -> tuple[float, float]:
    """Return what `ops.add` of one element costs beyond `np.add`, forward and backward.

    z ← z + x, `chain` times, then backward through all of it; the mean of one op, in
    microseconds, the best of `repeats`. Backward also makes one addition an op, since
    every op adds to the gradient of x: one `np.add` is taken off each way.
    """
    x = Tensor(np.ones(1, np.float32), requires_grad=True)
    seed = np.ones(1, np.float32)
    plain, forward, backward = [], [], []
    for _ in range(repeats):
        plain.append(timed(lambda: _chain_of_arrays(x.data, chain)))
        start = perf_counter()
        z = x
        for _ in range(chain):
            z = ops.add(z, x)
        forward.append(perf_counter() - start)
        start = perf_counter()
        z.backward(seed)
        backward.append(perf_counter() - start)
        x.grad = None
    add = min(plain)
    return 1e6 * (min(forward) - add) / chain, 1e6 * (min(backward) - add) / chain


def _chain_of_arrays(x: np.ndarray, chain: int) -> None:
    z = x
    for _ in range(chain):
        z = np.add(z, x)


def sheet(measured: Sequence[Figure]) -> Sheet:
    """Return the figures beside their targets."""
    rows = [
        (f.name, _short(f.value), f"{f.target:g}", f.unit, f"{f.value / f.target:.0%}")
        for f in measured
    ]
    header = ("figure", "measured", "target", "unit", "of target")
    return Sheet("Starting, memory, and the engine's own cost", header, rows)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"
