"""What a kernel takes of a multiprocessor, as its assembler and its machine code say.

Nothing here is a time. Registers, shared memory and block size decide how many warps
fit at once (the occupancy); 128-bit accesses and float64 instructions are counted in
the disassembled machine code.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from minivae_kernels.devices import INSTALL_PTX, CannotRunError
from minivae_kernels.launch import CudaC, Kernel, entry_name
from minivae_kernels.nvrtc import wheel_folders

ARCHITECTURES = ("sm_80", "sm_90")  # A100, H100
SHARED_OF_SM = {"sm_80": 164 * 1024, "sm_90": 228 * 1024}
WARPS, BLOCKS, REGISTERS = 64, 32, 65536  # of a multiprocessor, in both
RESERVED = 1024  # bytes of shared memory of each block that the system takes
DOUBLE = re.compile(r"\b(?:DADD|DMUL|DFMA|DSETP|DMNMX|MUFU\.\w+64H|F2F\.F\w*64)\b")
WIDE = re.compile(r"\b(?:LDG|STG)\.E(?:\.\w+)*\.128\b")
LOCAL = re.compile(r"\b(?:LDL|STL)\b")


@dataclass(frozen=True)
class Resources:
    """The static figures of one kernel, for one architecture and dtype."""

    kernel: str
    arch: str
    real: str
    registers: int  # of a thread
    spills: int  # bytes stored for want of registers
    stack: int  # bytes of a thread's own memory
    shared: int  # bytes of a block
    occupancy: float  # warps that fit, of those that could
    wide: int  # 128-bit loads and stores of global memory
    double: int  # float64 instructions
    local: int  # accesses of a thread's own memory
    instructions: int  # of the machine code, each counted once

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


def resources(kernel: Kernel, real: str = "float32", arch: str = "sm_90") -> Resources:
    """Compile a kernel and return its figures; raises `CannotRunError`."""
    compiled = kernel.compiled(real, arch)
    name = entry_name(compiled.ptx, kernel.name)
    part = _of_entry(compiled.log, name)
    registers, shared = _number(r"Used (\d+) registers", part), 0
    if isinstance(kernel, CudaC):
        shared = _number(r"(\d+) bytes smem", part, 0)
    else:  # the linker's own figure includes what the system takes
        sizes = re.findall(r"\.shared .*\[(\d+)\];", compiled.ptx)
        shared = sum(map(int, sizes))
    code = machine_code(compiled.cubin_path, name)
    return Resources(
        str(kernel),
        arch,
        real,
        registers,
        _number(r"(\d+) bytes spill stores", part),
        _number(r"(\d+) bytes stack frame", part),
        shared,
        occupancy(kernel.threads, registers, shared, arch),
        len(WIDE.findall(code)),
        len(DOUBLE.findall(code)),
        len(LOCAL.findall(code)),
        len(re.findall(r"/\*[0-9a-f]{4,}\*/ +(?!NOP)\S", code)),
    )


def _of_entry(log: str, name: str) -> str:
    """Return what the assembler said of one kernel."""
    for part in log.split("Compiling entry function ")[1:]:
        if part.startswith(f"'{name}'"):
            return part
    raise CannotRunError(f"the assembler said nothing of {name}")


def _number(pattern: str, text: str, default: int | None = None) -> int:
    found = re.search(pattern, text)
    if found is None and default is not None:
        return default
    assert found is not None, f"{pattern} in {text}"
    return int(found[1])


def occupancy(threads: int, registers: int, shared: int, arch: str = "sm_90") -> float:
    """Return the share of a multiprocessor's warps that can be there at once.

    Registers are given out by 256 a warp, to four schedulers; shared memory by 128
    bytes. Source: NVIDIA, `cuda_occupancy.h`.
    """
    warps = -(-threads // 32)
    of_warp = -(-registers * 32 // 256) * 256
    by_registers = REGISTERS // 4 // of_warp * 4 // warps
    of_block = -(-(shared + RESERVED) // 128) * 128
    limits = (WARPS // warps, BLOCKS, by_registers, SHARED_OF_SM[arch] // of_block)
    return min(limits) * warps / WARPS


# Machine code


@cache
def disassembler() -> Path:
    """Return NVIDIA's disassembler, from its wheel or from PATH."""
    for folder in wheel_folders():
        if (path := folder.parent / "bin" / "nvdisasm").exists():
            return path
    if found := shutil.which("nvdisasm"):
        return Path(found)
    raise CannotRunError(f"needs nvdisasm, which was not found: {INSTALL_PTX}")


@cache
def _disassembled(cubin: Path) -> str:
    done = subprocess.run(
        [disassembler(), "-c", cubin], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotRunError(f"nvdisasm: {done.stderr.strip()}")
    return done.stdout


def machine_code(cubin: Path, name: str) -> str:
    """Return the disassembled instructions of one kernel."""
    parts = re.split(r"^\.text\.(\w+):$", _disassembled(cubin), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[name]
