"""Where arrays live: NumPy on the CPU, CuPy on a CUDA device.

And where kernels run: the device "ptx" is NumPy arrays whose CUDA kernels run in the
interpreter of what the real compilers make of them.

An operation never asks for a device; it looks at the arrays it was given. CuPy is not
imported here to find out: an array can only be CuPy's if CuPy is loaded already.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import minivae_kernels as kernels
import numpy as np
from numpy.typing import NDArray

from minivae.errors import UserError

Array: TypeAlias = NDArray[Any]
"""A NumPy array, or a CuPy array, which has the same interface."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_NUMBERS = (bool, int, float, np.generic)


def library_of(array: object) -> Any:
    """Return the module that owns `array`: `numpy`, `cupy`, or None for a number."""
    if isinstance(array, np.ndarray):
        return np
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy
    if isinstance(array, _NUMBERS):
        return None
    raise UserError(f"expected an array or a number, got {type(array).__name__}")


def xp_of(*arrays: object) -> Any:
    """Return the one module (`numpy` or `cupy`) that all `arrays` belong to.

    Numbers belong to both. Raises `UserError` where NumPy and CuPy arrays are mixed.
    """
    for array in arrays:
        if type(array) is not np.ndarray:
            break
    else:
        return np
    found = {library for array in arrays if (library := library_of(array))}
    if len(found) > 1:
        names = " and ".join(sorted(library.__name__ for library in found))
        raise UserError(
            f"one operation got both {names} arrays: move them to one device first, "
            "with backend.to_device(array, 'cpu' or 'cuda')"
        )
    return found.pop() if found else np


def is_array(value: object) -> bool:
    """Tell whether `value` is an array of either library."""
    return isinstance(value, np.ndarray) or (
        not isinstance(value, _NUMBERS)
        and "cupy" in sys.modules
        and isinstance(value, sys.modules["cupy"].ndarray)
    )


def to_device(array: Array, device: str) -> Array:
    """Return `array` on `device` ("cpu" or "cuda"); no copy if it is there already."""
    if device == "cuda":
        result: Array = cuda_library().asarray(array)
        return result
    return to_numpy(array)


def to_numpy(array: Any) -> Array:
    """Return `array`, of either library, as a NumPy array."""
    if is_array(array) and library_of(array) is not np:
        array = array.get()
    return np.asarray(array)


def cuda_library() -> Any:
    """Return `cupy` if it can be used here, else say in a `UserError` what lacks."""
    try:
        import cupy
    except ImportError as error:
        raise UserError(
            "device 'cuda' needs CuPy, which is not installed here ("
            f"{error}): pip install 'minivae[cuda13]' (or [cuda12])"
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own type for a missing driver
        raise UserError(
            f"device 'cuda' needs an NVIDIA GPU and its driver: {error}"
        ) from error
    if count == 0:
        raise UserError("device 'cuda' needs an NVIDIA GPU, and none was found")
    return cupy


@contextmanager
def running_on(device: str) -> Iterator[Counter[str]]:
    """Run kernels on `device` while in the context: "cpu", "cuda" or "ptx".

    Yields how often each CUDA kernel was launched, where "ptx" counts them. Raises
    `UserError` that says what "ptx" lacks.
    """
    if device != "ptx":
        yield Counter()
        return
    try:
        with kernels.running_on("ptx") as session:
            session.keep_reports = False
            yield session.launches
    except kernels.CannotRunError as error:
        raise UserError(f"device 'ptx': {error}") from error


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed blocks up to 1 GiB instead of returning them.

    A training step frees and allocates the same large arrays again and again. By
    default glibc gives each back to the kernel and takes page faults to get fresh
    ones. Returns False, having done nothing, where the C library is not glibc.
    """
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, one_gib = -1, -3, 1 << 30
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = [mallopt(option, one_gib) for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD)]
    return all(kept)


@contextmanager
def limited_threads(threads: int | None) -> Iterator[int]:
    """Compute on so many threads and no others, while in the context; None: all cores.

    Kernels and matrix products share them (`minivae_kernels.threads`). Yields how many
    there are.
    """
    from minivae_kernels.threads import one_pool

    with one_pool(threads) as count:
        yield count


def each(
    function: Callable[[Item], Result], items: Iterable[Item], like: Array
) -> list[Result]:
    """Return `function(item)` of each item, every thread at an item of its own.

    In turn, if `like` is on a device or kernels run in the interpreter.
    """
    from minivae_kernels import devices, threads

    if xp_of(like) is not np or devices.session() is not None:
        return [function(item) for item in items]
    return threads.each(function, items)
