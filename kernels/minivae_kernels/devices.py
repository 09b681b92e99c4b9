"""Where CUDA kernels can run here, and where they cannot, the reason in words.

    with running_on("ptx") as session:   # in this thread
        ...                              # CUDA rungs take NumPy arrays
    print(session.launches)

Three places run CUDA rungs. "cuda" is a device: CuPy arrays go there by themselves.
"ptx" is the interpreter, which runs the PTX of the real compilers on NumPy arrays.
"simulator" is Numba's, for its kernels without warp functions; it lets a Python
debugger into a kernel.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

INSTALL_PTX = "pip install 'minivae[ptx]'"
INSTALL_CUDA = "pip install 'minivae[cuda13]' (or [cuda12])"


class CannotRunError(RuntimeError):
    """Something was asked for that cannot run here; the message says why."""


@dataclass
class Session:
    """What was launched while `running_on` was open, and how it was run."""

    place: str
    detect: bool = True  # look for races, unwritten memory, divergent barriers
    noise: int = 0  # moves approximate instructions to the edge of their error
    most_blocks: int | None = None  # of grids that walk; fewer make longer walks
    keep_reports: bool = True
    watch: Callable[..., Any] | None = None  # runs a launch instead, to look at it
    launches: Counter[str] = field(default_factory=Counter)
    reports: list[tuple[str, Any]] = field(default_factory=list)

    def count(self, kernel: str, report: Any = None) -> None:
        """Note a launch."""
        self.launches[kernel] += 1
        if self.keep_reports and report is not None:
            self.reports.append((kernel, report))

    @property
    def bytes_moved(self) -> int:
        """Bytes that all launches have read and written in global memory."""
        return sum(r.bytes_read + r.bytes_written for _, r in self.reports)


_here = threading.local()


def session() -> Session | None:
    """Return the place this thread's CUDA rungs run on, if not on a device."""
    return getattr(_here, "session", None)


@contextmanager
def running_on(
    place: str, *, detect: bool = True, noise: int = 0, most_blocks: int | None = None
) -> Iterator[Session]:
    """Run CUDA rungs on NumPy arrays in `place`: "ptx" or "simulator".

    Raises `CannotRunError` that says what is missing.
    """
    if place not in MISSING:
        raise CannotRunError(f"no place {place!r}; have {', '.join(MISSING)}")
    if reason := MISSING[place]():
        raise CannotRunError(reason)
    before, opened = session(), Session(place, detect, noise, most_blocks)
    _here.session = opened
    try:
        yield opened
    finally:
        _here.session = before


@contextmanager
def running_at_home() -> Iterator[None]:
    """Leave the place of `running_on` while in the context, for the CPU."""
    before, _here.session = session(), None
    try:
        yield
    finally:
        _here.session = before


# What is here


@cache
def why_no_nvrtc() -> str | None:
    """Return why CUDA C cannot be compiled here."""
    from minivae_kernels import nvrtc

    try:
        nvrtc.library()
    except CannotRunError as error:
        return str(error)
    return None


@cache
def why_no_numba_cuda() -> str | None:
    """Return why Numba cannot compile for CUDA here."""
    if importlib.util.find_spec("numba_cuda") is None:
        return f"needs numba-cuda, which is not installed: {INSTALL_PTX}"
    try:
        import numba.cuda  # noqa: F401
    except Exception as error:  # its own error where libcudart is missing
        return f"Numba's CUDA target does not load ({_line(error)}): {INSTALL_PTX}"
    try:
        importlib.import_module("cuda.bindings.nvjitlink").version()
    except Exception as error:  # the bindings' own error where the library is missing
        return f"nvJitLink does not load ({_line(error)}): {INSTALL_PTX}"
    return None


def _line(error: Exception) -> str:
    """Return the first line of a long message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def simulated() -> bool:
    """Tell whether this process has Numba's simulator in the compiler's place."""
    config: Any = importlib.import_module("numba").config
    return bool(config.ENABLE_CUDASIM)


def why_no_simulator() -> str | None:
    """Return why Numba's simulator cannot run here."""
    if not simulated():
        return "Numba's simulator needs NUMBA_ENABLE_CUDASIM=1 set before Python starts"
    return why_no_numba_cuda()


def why_no_ptx() -> str | None:
    """Return why the interpreter has nothing to interpret here."""
    return why_no_nvrtc()


def why_not_interpreted(rung: Any) -> str | None:
    """Return why a rung's kernels cannot run in the interpreter here."""
    if not rung.kernels:
        return "has no kernels of its own"
    return why_no_ptx() or (why_no_numba_cuda() if rung.language == "Numba" else None)


@cache
def why_no_cuda() -> str | None:
    """Return why there is no CUDA device to run on."""
    try:
        import cupy
    except ImportError:
        return f"no CuPy: {INSTALL_CUDA}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own type, where a driver is missing
        return f"no CUDA device ({_line(error)})"
    return None if count else "no CUDA device"


def why_not_driver(driver: int, toolkit: tuple[int, int]) -> str | None:
    """Return why a driver cannot load what a toolkit has compiled.

    `driver` is CUDA's number for the newest version it knows, 13000 for 13.0.
    """
    major, minor = driver // 1000, driver % 1000 // 10
    if (major, minor) >= toolkit:
        return None
    newest = ".".join(map(str, toolkit))
    return (
        f"the driver knows CUDA up to {major}.{minor}, the toolkit is {newest}: update "
        f"the driver, or pip install 'cuda-toolkit=={major}.{minor}.*'"
    )


MISSING = {"ptx": why_no_ptx, "simulator": why_no_simulator}
"""For each place of `running_on`, the function that says what it lacks."""


def is_cupy(array: Any) -> bool:
    """Tell whether `array` is CuPy's; never imports it."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def place_of(*arrays: Any) -> str | None:
    """Return where CUDA kernels on these arrays run; None if nowhere."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and any(isinstance(array, cupy.ndarray) for array in arrays):
        return "cuda"
    opened = session()
    return opened.place if opened else None
