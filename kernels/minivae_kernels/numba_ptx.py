"""Numba's CUDA compiler: a Python function to PTX and cubin, without a driver.

The functions stand in the files `*_cuda.py`, which alone import `numba.cuda`: loading
it takes time, and fails on a machine without NVIDIA's runtime library.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from minivae_kernels.devices import CannotRunError, why_no_numba_cuda
from minivae_kernels.nvrtc import FOLDER, Compiled, CompileError, kept


@cache
def numba_cuda() -> Any:
    """Return the module `numba.cuda`; raises `CannotRunError` where it cannot be."""
    if reason := why_no_numba_cuda():
        raise CannotRunError(reason)
    with warnings.catch_warnings():  # a deprecation inside numba-cuda, under NumPy 2.5
        warnings.simplefilter("ignore")
        return import_module("numba.cuda")


def typed(signature: str, real: str) -> list[Any]:
    """Return Numba's types of a signature in which `real` stands for a dtype's name."""
    numba_cuda()
    parse: Any = import_module("numba.core.sigutils").normalize_signature
    arguments, _ = parse(f"void({signature.replace('real', real)})")
    return list(arguments)


def compile_numba(
    function: Callable[..., Any], signature: str, *, real: str, arch: str = "sm_90"
) -> Compiled:
    """Compile a kernel for arrays of the dtype `real`; raises `CompileError`."""
    arguments = tuple(typed(signature, real))

    def make() -> tuple[str, bytes, str]:
        try:
            text = _ptx(function, arguments, arch)
        except Exception as error:  # Numba has a type for each way to fail
            raise CompileError(f"{function.__name__}: {error}") from error
        return text, *assemble(text, arch)

    file = Path(function.__code__.co_filename)
    key = (_sources(), _text(file), str(file), function.__name__, signature, real, arch)
    return kept(f"{file.stem}-{function.__name__}", (*key, *_versions()), make)


def _ptx(function: Callable[..., Any], arguments: tuple[Any, ...], arch: str) -> str:
    """Compile by Numba, for a device that need not be there."""
    cuda, dispatcher = numba_cuda(), import_module("numba.cuda.dispatcher")
    number = int(arch.removeprefix("sm_"))
    capability = number // 10, number % 10
    # Device functions are compiled for "the current device", which asks the driver
    asks_driver = vars(dispatcher)["get_current_device"]
    here = SimpleNamespace(compute_capability=capability)
    vars(dispatcher)["get_current_device"] = lambda: here
    try:
        text, _ = cuda.compile(
            function,
            arguments,
            cc=capability,
            device=False,
            abi="numba",
            output="ptx",
            lineinfo=True,
        )
    finally:
        vars(dispatcher)["get_current_device"] = asks_driver
    return text.decode() if isinstance(text, bytes) else str(text)


@cache
def _versions() -> list[str]:
    """The versions of what compiles; nvvm may come with a toolkit, not as a wheel."""
    found = []
    for name in ("numba-cuda", "llvmlite", "nvidia-nvvm"):
        try:
            found.append(version(name))
        except PackageNotFoundError:
            found.append("")
    return found


def _text(file: Path) -> str:
    """The text of a kernel's own file: it need not be one of ours."""
    return file.read_text(encoding="utf-8") if file.is_file() else ""


@cache
def _sources() -> str:
    """The texts that kernels can call into: all files of device functions."""
    return "".join(
        path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*_cuda.py"))
    )


def assemble(ptx: str, arch: str) -> tuple[bytes, str]:
    """Return the cubin of a PTX text and what the assembler said of it.

    By nvJitLink, NVIDIA's assembler as a library.
    """
    nvjitlink = import_module("cuda.bindings.nvjitlink")
    handle = nvjitlink.create(2, [f"-arch={arch}", "-verbose"])
    try:
        text = ptx.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(handle)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
        return bytes(cubin), log.rstrip(b"\0").decode()
    finally:
        nvjitlink.destroy(handle)
