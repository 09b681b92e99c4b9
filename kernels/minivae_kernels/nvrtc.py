"""NVRTC, NVIDIA's run-time compiler, through ctypes: CUDA C to PTX and to cubin.

It needs neither a driver nor a toolkit, one wheel is enough. Compiled text is kept in
the user's cache folder under a hash of all that it depends on: `.ptx` for the
interpreter, `.cubin` for a device, `.log` with what the assembler said of registers.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from minivae_kernels.devices import INSTALL_PTX, CannotRunError

FOLDER = Path(__file__).parent
OPTIONS = ("--std=c++17", "-lineinfo", "--ptxas-options=-v")


@dataclass(frozen=True)
class Compiled:
    """One text for one architecture, compiled: three files of one stem."""

    ptx_path: Path

    @property
    def ptx(self) -> str:
        """The PTX."""
        return self.ptx_path.read_text(encoding="utf-8")

    @property
    def cubin_path(self) -> Path:
        """Where the machine code lies."""
        return self.ptx_path.with_suffix(".cubin")

    @property
    def log(self) -> str:
        """What the assembler said: registers, spills, shared memory."""
        return self.ptx_path.with_suffix(".log").read_text(encoding="utf-8")


class CompileError(CannotRunError):
    """The compiler refused a kernel; the message is what it said."""


@cache
def library() -> ctypes.CDLL:
    """Load NVRTC, from its wheel or from where the system finds it."""
    for folder in wheel_folders():
        for path in sorted(folder.glob("libnvrtc.so.1?"), reverse=True):
            for builtins in folder.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(builtins), ctypes.RTLD_GLOBAL)  # else not found
            return ctypes.CDLL(str(path))
    for name in ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CannotRunError(f"needs NVRTC, which was not found: {INSTALL_PTX}")


def wheel_folders() -> list[Path]:
    """Return the folders of NVIDIA's wheels that hold libraries of CUDA 13 or 12."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    return [
        folder
        for root in roots
        for name in ("cu13/lib", "cuda_nvrtc/lib")
        if (folder := root / name).is_dir()
    ]


@cache
def version() -> tuple[int, int]:
    """Return NVRTC's version, which is the toolkit's: (13, 0)."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def headers() -> dict[str, str]:
    """Return the texts that a `.cu` file may include: the `.cuh` beside it."""
    return {p.name: p.read_text(encoding="utf-8") for p in sorted(FOLDER.glob("*.cuh"))}


def compile_cuda_c(
    source: str,
    name: str,
    *,
    arch: str = "sm_90",
    defines: Mapping[str, str | int] | None = None,
    including: Mapping[str, str] | None = None,
    options: tuple[str, ...] = (),
) -> Compiled:
    """Compile `source`; raises `CompileError` with the compiler's words.

    `including` stands for the `.cuh` files; `name` is what messages call the text.
    """
    including = headers() if including is None else including
    flags = [f"-arch={arch}", *OPTIONS, *options]
    flags += [f"-D{key}={value}" for key, value in sorted((defines or {}).items())]
    key = (source, name, sorted(including.items()), flags, version())

    def make() -> tuple[str, bytes, str]:
        return _compile(source, name, including, flags)

    return kept(Path(name).stem, key, make)


def _compile(
    source: str, name: str, including: Mapping[str, str], flags: list[str]
) -> tuple[str, bytes, str]:
    lib, program = library(), ctypes.c_void_p()

    def strings(texts: Any) -> Any:
        encoded = [text.encode() for text in texts]
        return (ctypes.c_char_p * len(encoded))(*encoded)

    lib.nvrtcCreateProgram(
        ctypes.byref(program),
        source.encode(),
        name.encode(),
        len(including),
        strings(including.values()),
        strings(including.keys()),
    )

    def fetch(what: str) -> bytes:
        size = ctypes.c_size_t()
        getattr(lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(lib, f"nvrtcGet{what}")(program, text)
        return text.raw

    try:
        failed = lib.nvrtcCompileProgram(program, len(flags), strings(flags))
        log = fetch("ProgramLog").rstrip(b"\0").decode()
        if failed:
            raise CompileError(f"{name} does not compile:\n{log.strip()}")
        return fetch("PTX").rstrip(b"\0").decode(), fetch("CUBIN"), log
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


# Compiled text on disk


@cache
def cache_folder() -> Path:
    """Return the folder of compiled kernels; a temporary one if none can be written."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "minivae" / "cuda"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="minivae-cuda-"))


def kept(
    stem: str, key: object, make: Callable[[], tuple[str, bytes, str]]
) -> Compiled:
    """Return what `make` (PTX, cubin, log) made of `key`, now or in an earlier run."""
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
    result = Compiled(cache_folder() / f"{stem}-{digest}.ptx")
    if not result.ptx_path.exists():
        ptx, cubin, log = make()
        _write(result.cubin_path, cubin)
        _write(result.ptx_path.with_suffix(".log"), log.encode())
        _write(result.ptx_path, ptx.encode())  # last: its presence means all are there
    return result


def _write(path: Path, content: bytes) -> None:
    """Write a file in one move: another process reads all of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
