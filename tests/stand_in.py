"""A stand-in for CuPy: arrays that NumPy's functions refuse, and a device.

It has CuPy's interface as far as minivae uses it, computed by NumPy underneath. A bare
`np.` call in an op meets an object it does not know, and fails. Kernels run in the PTX
interpreter, which takes an argument of the wrong kind or number for what it is; memory
that nobody has written is NaN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

__name__ = "cupy"  # what error messages call it


class ndarray:
    """An array on another device."""

    __array_ufunc__ = None

    def __init__(self, inside: np.ndarray) -> None:
        self.inside = np.asarray(inside)

    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        raise TypeError("implicit conversion of a CuPy array to NumPy")

    def get(self) -> np.ndarray:
        return self.inside

    def item(self) -> float:
        return self.inside.item()

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self.inside.__array_interface__["data"][0])

    def __getitem__(self, index: Any) -> ndarray:
        return ndarray(self.inside[_inside(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.inside[_inside(index)] = _inside(value)

    def __len__(self) -> int:
        return len(self.inside)

    def __bool__(self) -> bool:
        return bool(self.inside)

    def __float__(self) -> float:
        return float(self.inside)

    def __getattr__(self, name: str) -> Any:
        return _wrapped(getattr(self.inside, name))


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: ndarray, *others: Any) -> Any:
        if any(isinstance(other, np.ndarray) for other in others):
            raise TypeError("a NumPy array in an operation with a CuPy array")
        return _outside(getattr(self.inside, name)(*map(_inside, others)))

    return apply


_BINARY = ["add", "sub", "mul", "truediv", "pow", "matmul"]
_BINARY += ["and", "or", "xor", "lshift", "rshift"]
_COMPARISONS = ["lt", "le", "gt", "ge", "eq"]
for _name in [
    *(f"__{n}__" for n in _BINARY + _COMPARISONS),
    *(f"__r{n}__" for n in _BINARY),
    *(f"__i{n}__" for n in _BINARY if n != "matmul"),
    "__neg__",
]:
    setattr(ndarray, _name, _operator(_name))


def _inside(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value.inside
    if isinstance(value, (tuple, list)):
        return type(value)(map(_inside, value))
    return value


def _outside(value: Any) -> Any:
    return ndarray(value) if isinstance(value, (np.ndarray, np.generic)) else value


def _wrapped(attribute: Any) -> Any:
    if not callable(attribute):
        return _outside(attribute)

    def call(*args: Any, **options: Any) -> Any:
        options = {key: _inside(value) for key, value in options.items()}
        return _outside(attribute(*map(_inside, args), **options))

    return call


def asarray(value: Any, dtype: Any = None) -> ndarray:
    """Move an array to the device; what is there already stays."""
    if isinstance(value, ndarray) and dtype in (None, value.inside.dtype):
        return value
    return ndarray(np.array(_inside(value), dtype=dtype))


def asnumpy(array: ndarray) -> np.ndarray:
    """Move an array to the host."""
    return array.get()


def copyto(goal: ndarray, source: ndarray) -> None:
    """Copy one array to another."""
    np.copyto(goal.inside, source.inside)


def empty(shape: Any, dtype: Any = float) -> ndarray:
    """Return memory that nobody has written: NaN, and large integers."""
    made = np.empty(shape, dtype)
    made.reshape(-1).view(np.uint8)[...] = 0xFF
    return ndarray(made)


# The device


class Device:
    """The current device; everything in it has happened when a call returns."""

    compute_capability = "90"
    attributes: ClassVar = {"L2CacheSize": 1024}

    def synchronize(self) -> None:
        """Wait for nothing."""


class Event:
    """A moment on the clock: times of the interpreter, and not those of a GPU."""

    def record(self, stream: Any = None) -> None:
        self.at = perf_counter()


class Stream:
    """A stream, whose launches a graph can keep and repeat."""

    capturing: ClassVar[list[Callable[[], None]] | None] = None

    def __init__(self, non_blocking: bool = False) -> None:
        pass

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        assert Stream.capturing is None, "the stream is still capturing"

    def synchronize(self) -> None:
        """Wait for nothing."""

    def begin_capture(self) -> None:
        Stream.capturing = []

    def end_capture(self) -> Any:
        kept, Stream.capturing = Stream.capturing, None
        assert kept is not None, "nothing is being captured"
        return SimpleNamespace(launch=lambda stream: [launch() for launch in kept])


PROPERTIES = {
    "name": b"a stand-in: no GPU",
    "multiProcessorCount": 1,
    "l2CacheSize": 1024,
}
cuda = SimpleNamespace(
    Device=Device,
    Event=Event,
    Stream=Stream,
    get_elapsed_time=lambda start, stop: 1e3 * (stop.at - start.at),
    is_available=lambda: True,
    runtime=SimpleNamespace(
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda number: PROPERTIES,
        driverGetVersion=lambda: 13000,
    ),
)
__version__ = "stand-in"
launches: Counter[str] = Counter()


class RawModule:
    """A cubin file, for which the PTX beside it is interpreted."""

    def __init__(self, *, path: str) -> None:
        self.module = _interpreted(Path(path).with_suffix(".ptx"))

    def get_function(self, name: str) -> Callable[..., None]:
        kernel = self.module[name]

        def launch(grid: Any, block: Any, arguments: Any, shared_mem: int = 0) -> None:
            for value in arguments:
                if not isinstance(value, (ndarray, np.generic)):
                    raise TypeError(f"{name}: {value!r} has no size on a device")
            inside = [_inside(value) for value in arguments]

            def run() -> None:
                launches[name] += 1
                kernel.run(grid, block, inside, shared_bytes=shared_mem)

            if Stream.capturing is None:
                run()
            else:
                Stream.capturing.append(run)

        return launch


@cache
def _interpreted(path: Path) -> Any:
    from minivae_kernels import ptx

    return ptx.load(path.read_text(encoding="utf-8"))


class add:
    """The ufunc add, as far as it is used."""

    at = staticmethod(
        lambda array, index, values: np.add.at(
            array.inside, _inside(index), _inside(values)
        )
    )


class lib:
    """The module lib, as far as it is used: NumPy's would hand out NumPy's arrays."""

    class stride_tricks:
        """Views by strides."""

        as_strided = staticmethod(
            lambda array, shape, strides: ndarray(
                np.lib.stride_tricks.as_strided(array.inside, shape, strides)
            )
        )


def __getattr__(name: str) -> Any:
    """Any other function is NumPy's, on what is inside."""
    return _wrapped(getattr(np, name))


def call_with_constants(
    function: Callable[..., Any], convert: Callable[[Any], Any], *args: Any
) -> Any:
    """Call a closure with the float arrays that it closes over converted."""
    import types

    def moved(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind in "fb":
            return convert(value)
        if isinstance(value, types.FunctionType) and value.__closure__:
            return _rebound(value, moved)
        return value

    return (
        _rebound(function, moved)(*args) if _has_closure(function) else function(*args)
    )


def _has_closure(function: Any) -> bool:
    return bool(getattr(function, "__closure__", None))


def _rebound(function: Any, moved: Callable[[Any], Any]) -> Any:
    import types

    cells = tuple(types.CellType(moved(c.cell_contents)) for c in function.__closure__)
    return types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        cells,
    )
