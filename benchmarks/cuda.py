"""Time on a CUDA device: events around each call, its L2 flushed before, and graphs.

An event pair counts what the device does, and the gaps between the launches of a call.
The graph column is a call's share of a CUDA graph of many: warm and without gaps, what
counts for small kernels. Beside our rungs stand their peers: the references as plain
CuPy expressions (rung 0), cuBLAS (a rung of its own), and PyTorch where it is
installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from minivae_kernels import nvrtc
from minivae_kernels.examples import Call

from benchmarks import torch_expressions
from benchmarks.ladders import COPY, ON_CUDA, SGEMM, Shapes, Timed
from benchmarks.timing import percentiles
from minivae.backend import cuda_library

WARM = 3  # calls that are not counted
IN_A_GRAPH = 20  # calls
LEAST_FLUSHED, LEAST_COPIED = 1 << 28, 1 << 30  # bytes
PRODUCT = 4096  # side of the matrices


class Cuda:
    """Rungs on CuPy arrays, on the current device."""

    name = "cuda"

    def __init__(self, rounds: int, small: bool = False) -> None:
        self.cupy = cuda_library()
        self.rounds, self.small = rounds, small
        self.shapes: Shapes = {} if small else ON_CUDA
        device = self.cupy.cuda.Device()
        self.described = described(self.cupy)
        flushed = max(2 * device.attributes.get("L2CacheSize", 0), LEAST_FLUSHED)
        count = 1 << 10 if small else flushed // 4
        self.flush = self.cupy.empty(count, np.float32)

    def moved(self, call: Call) -> Call:
        """Return the call with its arrays on the device."""

        def one(value: Any) -> Any:
            return self.cupy.asarray(value) if isinstance(value, np.ndarray) else value

        return [one(a) for a in call[0]], {k: one(v) for k, v in call[1].items()}

    def home(self, array: Any) -> Any:
        """Return an array of CuPy or PyTorch as NumPy's."""
        if hasattr(array, "cpu"):
            return array.cpu().numpy()
        return array.get() if hasattr(array, "get") else np.asarray(array)

    def copy(self, count: int) -> tuple[Callable[[], object], int]:
        """Return a copy of memory that no cache holds."""
        size = count if self.small else max(count, LEAST_COPIED)
        source = self.cupy.empty(max(1, size // 8), np.float32)
        source[...] = 1
        goal = self.cupy.empty(source.shape, np.float32)
        return partial(self.cupy.copyto, goal, source), 2 * source.nbytes

    def product(self) -> tuple[Callable[[], object], int]:
        """Return cuBLAS's product, in float32 proper."""
        side = 64 if self.small else PRODUCT
        x = self.cupy.empty((side, side), np.float32)
        x[...] = 1
        goal = self.cupy.empty(x.shape, np.float32)
        return partial(self.cupy.matmul, x, x, out=goal), 2 * side**3

    def peers(self, family: str, call: Call) -> Mapping[str, Callable[[], Any]]:
        """Return PyTorch's expressions of the same work, eager and compiled."""
        return torch_expressions.peers(family, call, compiled=not self.small)

    def time(self, cases: Mapping[str, Callable[[], object]]) -> dict[str, Timed]:
        """Time the cases in turns, by pairs of events, and then in graphs."""
        seconds: dict[str, list[float]] = {name: [] for name in cases}
        for function in cases.values():
            for _ in range(WARM):
                function()
        for _ in range(self.rounds):
            for name, function in cases.items():
                seconds[name] += self._turn(function)
        graphs = {
            name: None if name in (COPY, SGEMM) else self._graph_ms(function)
            for name, function in cases.items()
        }
        return {n: Timed(percentiles(s), graphs[n]) for n, s in seconds.items()}

    def _turn(self, function: Callable[[], object], repeat: int = 5) -> list[float]:
        """Return the seconds of some calls, each on memory that no cache holds."""
        cuda, pairs = self.cupy.cuda, []
        for _ in range(1 if self.small else repeat):
            pair = cuda.Event(), cuda.Event()
            self.flush[...] = 0
            pair[0].record()
            function()
            pair[1].record()
            pairs.append(pair)
        cuda.Device().synchronize()
        return [cuda.get_elapsed_time(a, b) * 1e-3 for a, b in pairs]

    def _graph_ms(self, function: Callable[[], object]) -> float | None:
        """Return a call's milliseconds in a graph; None if it cannot be captured.

        What takes memory or asks the host for a number cannot: the first turns in the
        stream have filled its pool, so our rungs can.
        """
        cuda = self.cupy.cuda
        calls = 1 if self.small else IN_A_GRAPH
        with cuda.Stream(non_blocking=True) as stream:
            for _ in range(WARM):
                function()
            stream.synchronize()
            try:
                stream.begin_capture()
                for _ in range(calls):
                    function()
                graph = stream.end_capture()
            except Exception:  # CuPy's own error, of whatever the call has done
                with suppress(Exception):
                    stream.end_capture()
                return None
            graph.launch(stream)
            start, stop = cuda.Event(), cuda.Event()
            start.record(stream)
            graph.launch(stream)
            stop.record(stream)
            stream.synchronize()
        return float(cuda.get_elapsed_time(start, stop)) / calls


def described(cupy: Any) -> dict[str, Any]:
    """Return what the device is, and the versions that drive it."""
    runtime = cupy.cuda.runtime
    device = cupy.cuda.Device()
    properties = runtime.getDeviceProperties(0)
    name = properties["name"]
    return {
        "gpu": name.decode() if isinstance(name, bytes) else name,
        "compute_capability": device.compute_capability,
        "multiprocessors": properties["multiProcessorCount"],
        "l2_mb": properties["l2CacheSize"] / 1e6,
        "driver": runtime.driverGetVersion(),
        "nvrtc": ".".join(map(str, nvrtc.version())),
        "cupy": cupy.__version__,
        "torch": torch_expressions.version(),
    }
