"""Launching: one kernel, two languages, and the places that run it.

    one_pass = CudaC("bernoulli", "one_pass", threads=256)
    one_pass[grid, block](logits, target, 0.5, values, gradient, N, D)

A kernel knows its parameters, from its own source. So an argument of the wrong number,
kind or dtype is refused before anything runs, and Python's numbers become the kernel's
types. CuPy arrays go to their device; NumPy arrays to the place that this thread has
opened with `running_on`. In CUDA C, `real` is float or double, as the arrays are.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from minivae_kernels import nvrtc
from minivae_kernels.devices import (
    CannotRunError,
    is_cupy,
    place_of,
    session,
    simulated,
    why_not_driver,
)
from minivae_kernels.nvrtc import FOLDER, Compiled, compile_cuda_c

INTERPRETED_ARCH = "sm_90"  # whose PTX the interpreter runs
MOST_BLOCKS = 1024  # of a grid-stride loop: fills any device, and equal on all of them
Shape = int | tuple[int, ...]

CTYPES = {
    "unsigned long long": "uint64",
    "unsigned": "uint32",
    "int": "int32",
    "float": "float32",
    "uint4": "uint32",
    "real4": "real",
    "real": "real",
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel: an array of `ndim` axes (C: 1), or a number."""

    name: str
    dtype: str
    ndim: int = 0
    contiguous: bool = True


class Kernel(ABC):
    """A function for a device, by the name it has in its source file.

    `stem` names the file of this package. A kernel of your own gives the whole path of
    its `.cu` file without the suffix; for Numba, the name of its module.
    `threads` is the size of the blocks that it is launched with. `defines` are macros
    of its text. A `strided` kernel of CUDA C takes arrays with gaps, and their strides.
    """

    language: str

    def __init__(
        self,
        stem: str,
        name: str,
        threads: int,
        *,
        strided: bool = False,
        **defines: int | str,
    ) -> None:
        self.stem, self.name, self.threads, self.defines = stem, name, threads, defines
        self.strided = strided
        self._on_device: dict[tuple[str, str], Any] = {}

    def __repr__(self) -> str:
        extra = "".join(f",{k}={v}" for k, v in self.defines.items())
        return f"{Path(self.stem).name}:{self.name}{extra}"

    @property
    @abstractmethod
    def parameters(self) -> list[Parameter]:
        """The parameters, as the source declares them."""

    @abstractmethod
    def compiled(self, real: str = "float32", arch: str = INTERPRETED_ARCH) -> Compiled:
        """Compile for one dtype and architecture."""

    @abstractmethod
    def flattened(self, value: Any, parameter: Parameter) -> Iterator[Any]:
        """Yield the words that the machine's parameters have for one argument."""

    def __getitem__(self, shape: tuple[Shape, Shape]) -> Launcher:
        return Launcher(self, *map(_three, shape))

    def entry(self, module: Any) -> Any:
        """Return the kernel in a parsed PTX module."""
        return module[self.name]

    def checked(self, arguments: tuple[Any, ...]) -> tuple[str, list[Any]]:
        """Return the dtype that `real` stands for, and the arguments converted."""
        parameters = self.parameters
        if len(arguments) != len(parameters):
            raise TypeError(
                f"{self} takes {len(parameters)} arguments, got {len(arguments)}"
            )
        real = "float32"
        for value, parameter in zip(arguments, parameters, strict=True):
            if parameter.ndim and parameter.dtype == "real":
                real = str(value.dtype)
                break
        pairs = zip(arguments, parameters, strict=True)
        return real, [self._converted(value, p, real) for value, p in pairs]

    def _converted(self, value: Any, parameter: Parameter, real: str) -> Any:
        dtype = np.dtype(real if parameter.dtype == "real" else parameter.dtype)
        if not parameter.ndim:
            if hasattr(value, "shape") and value.shape:
                raise TypeError(f"{self}: {parameter.name} is a number, got an array")
            return dtype.type(value)
        if not hasattr(value, "dtype") or value.dtype != dtype:
            found = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"{self}: {parameter.name} is {dtype}, got {found}")
        if parameter.contiguous and not value.flags.c_contiguous:
            raise TypeError(f"{self}: {parameter.name} must be contiguous")
        return value


@dataclass(frozen=True)
class Launcher:
    """A kernel with the shape of its grid; calling it runs it."""

    kernel: Kernel
    grid: tuple[int, int, int]
    block: tuple[int, int, int]

    def __call__(self, *arguments: Any) -> None:
        """Run on `arguments`; a grid without blocks is no work, and no launch."""
        real, checked = self.kernel.checked(arguments)
        if 0 in self.grid:
            return
        place = place_of(*arguments)
        if place == "cuda":
            self._on_device(real, checked)
        elif place == "simulator":
            self._simulated(checked)
        elif place == "ptx":
            self._interpreted(real, checked)
        else:
            raise CannotRunError(
                f"{self.kernel} runs on CuPy arrays, or in running_on('ptx')"
            )

    def _flat(self, arguments: list[Any]) -> list[Any]:
        pairs = zip(arguments, self.kernel.parameters, strict=True)
        return [word for a, p in pairs for word in self.kernel.flattened(a, p)]

    def _interpreted(self, real: str, arguments: list[Any]) -> None:
        opened = session()
        assert opened is not None
        entry = self.kernel.entry(parsed(self.kernel.compiled(real).ptx_path))
        options = {"detect": opened.detect, "noise": opened.noise}
        words = self._flat(arguments)
        if opened.watch:
            report = opened.watch(self, entry, words, options)
        else:
            report = entry.run(self.grid, self.block, words, **options)
        opened.count(str(self.kernel), report)

    def _simulated(self, arguments: list[Any]) -> None:
        opened = session()
        assert opened is not None
        if not isinstance(self.kernel, NumbaCuda) or not simulated():
            raise CannotRunError(
                f"{self.kernel} is CUDA C: the simulator has only Numba"
            )
        pairs = zip(arguments, self.kernel.parameters, strict=True)
        # it takes no views; those that a kernel has, it only reads
        given = [np.ascontiguousarray(a) if p.ndim else a for a, p in pairs]
        self.kernel.simulated[self.grid, self.block](*given)
        opened.count(str(self.kernel))

    def _on_device(self, real: str, arguments: list[Any]) -> None:
        import cupy

        for value, parameter in zip(arguments, self.kernel.parameters, strict=True):
            if parameter.ndim and not is_cupy(value):
                raise TypeError(f"{self.kernel}: {parameter.name} is not on the device")
        arch = f"sm_{cupy.cuda.Device().compute_capability}"
        function = self.kernel._on_device.get((real, arch))
        if function is None:
            driver = cupy.cuda.runtime.driverGetVersion()
            if reason := why_not_driver(driver, nvrtc.version()):
                raise CannotRunError(f"{self.kernel}: {reason}")
            path = self.kernel.compiled(real, arch).cubin_path
            name = entry_name(self.kernel.compiled(real, arch).ptx, self.kernel.name)
            function = cupy.RawModule(path=str(path)).get_function(name)
            self.kernel._on_device[real, arch] = function
        function(self.grid, self.block, tuple(self._flat(arguments)))


def _three(shape: Shape) -> tuple[int, int, int]:
    given = (shape,) if isinstance(shape, int) else shape
    return (*given, *(1,) * (3 - len(given)))  # type: ignore[return-value]


@cache
def parsed(path: Any) -> Any:
    """Return the interpreter's module of a PTX file."""
    from minivae_kernels import ptx

    return ptx.load(path.read_text(encoding="utf-8"))


def entry_name(text: str, name: str) -> str:
    """Return the name that a kernel has in PTX: Numba's are mangled."""
    names = re.findall(r"\.entry (\w+)", text)
    return name if name in names else names[0]


# CUDA C


@cache
def source_of(stem: str) -> str:
    """Return the text of a `.cu` file."""
    return _path_of(stem).read_text(encoding="utf-8")


def _path_of(stem: str) -> Path:
    return FOLDER / f"{stem}.cu"  # a stem that is a whole path stays itself


class CudaC(Kernel):
    """A `__global__` function of a `.cu` file."""

    language = "CUDA C"

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The parameters, read from the source text."""
        pattern = rf"__global__\s+void[^;{{]*?\b{self.name}\s*\(([^)]*)\)\s*{{"
        found = re.search(pattern, source_of(self.stem))
        if found is None:
            raise CannotRunError(f"{self.stem}.cu has no kernel {self.name}")
        return [_c_parameter(text, self.strided) for text in found[1].split(",")]

    def compiled(self, real: str = "float32", arch: str = INTERPRETED_ARCH) -> Compiled:
        """Compile the whole file, `real` a C type and the defines macros."""
        defines = {"REAL": {"float32": "float", "float64": "double"}[real]}
        return _compiled_cuda_c(
            self.stem, arch, tuple((self.defines | defines).items())
        )

    def flattened(self, value: Any, parameter: Parameter) -> Iterator[Any]:
        """Yield the argument: a pointer or a number."""
        yield value


@cache
def _compiled_cuda_c(
    stem: str, arch: str, defines: tuple[tuple[str, int | str], ...]
) -> Compiled:
    path = str(_path_of(stem))
    return compile_cuda_c(source_of(stem), path, arch=arch, defines=dict(defines))


def _c_parameter(text: str, strided: bool) -> Parameter:
    words = re.sub(r"\bconst\b|\b__restrict__\b", " ", text).replace("*", " * ").split()
    pointer = "*" in words
    *kind, name = [word for word in words if word != "*"]
    return Parameter(name, CTYPES[" ".join(kind)], int(pointer), not strided)


# Numba


class NumbaCuda(Kernel):
    """A function of a file `*_cuda.py`, decorated there with its signature."""

    language = "Numba"

    @cached_property
    def function(self) -> Any:
        """The Python function."""
        from minivae_kernels.numba_ptx import numba_cuda

        numba_cuda()
        is_ours = (FOLDER / f"{self.stem}.py").is_file()
        module = f"minivae_kernels.{self.stem}" if is_ours else self.stem
        return getattr(import_module(module), self.name)

    @cached_property
    def simulated(self) -> Any:
        """The function as a kernel of Numba's simulator."""
        from minivae_kernels.numba_ptx import numba_cuda

        return numba_cuda().jit(self.function)

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The parameters, from the signature."""
        from minivae_kernels.numba_ptx import typed

        code = self.function.__code__
        names = code.co_varnames[: code.co_argcount]
        # float16 stands for `real`: no kernel has it otherwise
        types = typed(self.function.signature, "float16")
        return [
            Parameter(
                name,
                str(getattr(kind, "dtype", kind)).replace("float16", "real"),
                getattr(kind, "ndim", 0),
                getattr(kind, "layout", "C") == "C",
            )
            for name, kind in zip(names, types, strict=True)
        ]

    def compiled(self, real: str = "float32", arch: str = INTERPRETED_ARCH) -> Compiled:
        """Compile the function with Numba."""
        from minivae_kernels.numba_ptx import compile_numba

        return compile_numba(
            self.function, self.function.signature, real=real, arch=arch
        )

    def entry(self, module: Any) -> Any:
        """Return the only kernel of a PTX module."""
        (kernel,) = module.values()
        return kernel

    def flattened(self, value: Any, parameter: Parameter) -> Iterator[Any]:
        """Yield a number, or an array as Numba passes it.

        (meminfo, parent, nitems, itemsize, data, *shape, *strides), 64 bits each.
        """
        if not parameter.ndim:
            yield value
            return
        yield from (np.int64(0), np.int64(0))
        yield from (np.int64(value.size), np.int64(value.itemsize))
        yield value
        yield from map(np.int64, value.shape)
        yield from map(np.int64, value.strides)


def numba_kernel(signature: str) -> Any:
    """Declare the types of a kernel's parameters, `real` being float32 or float64."""

    def declare(function: Any) -> Any:
        function.signature = signature
        return function

    return declare


# What host code needs


def ceil_div(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def filling(threads: int, block: int) -> int:
    """Return the blocks of a grid that walks: enough for `threads`, or for a device."""
    opened = session()
    most = opened.most_blocks if opened and opened.most_blocks else MOST_BLOCKS
    return min(ceil_div(threads, block), most)


def library(*arrays: Any) -> Any:
    """Return the array library of `arrays`: CuPy if one of them is CuPy's."""
    if any(is_cupy(array) for array in arrays):
        import cupy

        return cupy
    return np


def empty(shape: Shape, like: Any, dtype: Any = None) -> Any:
    """Return an unwritten array beside `like`.

    In the interpreter it is filled with NaN, so that what a kernel leaves out is seen.
    """
    dtype = like.dtype if dtype is None else dtype
    made = library(like).empty(shape, dtype)
    if place_of(like) == "ptx":
        made.reshape(-1).view(np.uint8)[...] = 0xFF
    return made


def contiguous_on(*arrays: Any) -> tuple[Any, ...]:
    """Return the arrays in C order, those copied that are not."""
    xp = library(*arrays)
    return tuple(xp.ascontiguousarray(a) for a in arrays)


def address(array: Any) -> int:
    """Return the address of an array's first element."""
    if is_cupy(array):
        return int(array.data.ptr)
    return int(array.__array_interface__["data"][0])


def scattered(*arrays: Any, **_: Any) -> str | None:
    """Return why a kernel that changes arrays in place cannot take these."""
    if all(a.flags.c_contiguous for a in arrays if hasattr(a, "flags")):
        return None
    return "changes arrays in place, which must be contiguous"


def unaligned(*arrays: Any, rows: bool = True, **options: Any) -> str | None:
    """Return why a kernel that moves four elements at once cannot take these arrays.

    With `rows`, each row of the last axis must start on such a boundary too.
    """
    for array in (*arrays, *options.values()):
        if not getattr(array, "ndim", 0):
            continue
        copied = not array.flags.c_contiguous  # a fresh copy is aligned
        if not copied and address(array) % 16:
            return f"moves 16 bytes at once, got an address at {address(array) % 16}"
        if rows and array.ndim > 1 and array.shape[-1] % 4:
            return f"takes rows of a multiple of 4 elements, got {array.shape[-1]}"
    return None
