"""What the compilers make of every CUDA kernel, for two architectures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import minivae
from minivae_kernels import CannotRunError, families, nvrtc
from minivae_kernels.catalogue import RungRow, rows
from minivae_kernels.launch import CudaC, Kernel, source_of
from minivae_kernels.nvrtc import CompileError, compile_cuda_c
from minivae_kernels.resources import ARCHITECTURES, occupancy, resources
from resource_limits import INSTRUCTIONS, REGISTERS, SLOW_SINE, WHY_FEWER_WARPS, WIDE

pytestmark = pytest.mark.needs("ptx")

KERNELS: dict[str, Kernel] = {
    str(kernel): kernel
    for each in families()
    for rung in each.rungs
    for kernel in rung.kernels
}


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_keeps_within_the_resource_table(name: str, arch: str) -> None:
    found = resources(KERNELS[name], "float32", arch)
    sine = name in SLOW_SINE
    assert found.spills == 0
    assert found.registers <= REGISTERS.get(name, 32)
    assert found.stack == (32 if sine else 0)
    assert (found.local > 0) == sine
    assert (found.double > 0) == sine
    assert (found.occupancy == 1) or name in WHY_FEWER_WARPS
    expected = WIDE.get(name, 0)
    assert found.wide >= expected
    assert bool(found.wide) == bool(expected)


def test_the_table_speaks_of_kernels_there_are() -> None:
    named = {*REGISTERS, *SLOW_SINE, *WHY_FEWER_WARPS, *WIDE}
    assert named <= KERNELS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_compiles_for_float64_too(name: str) -> None:
    for arch in ARCHITECTURES:
        assert resources(KERNELS[name], "float64", arch).registers <= 128


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "share"),
    [
        (256, 32, 0, 1.0),
        (256, 33, 0, 0.75),  # registers come by 8: 40 of them
        (256, 40, 0, 0.75),
        (256, 64, 0, 0.5),
        (256, 128, 0, 0.25),
        (32, 16, 0, 0.5),  # 32 blocks at the most
        (1024, 33, 0, 0.5),  # one block of 32 warps
        (256, 32, 48 * 1024, 0.5),  # four blocks of 49 KiB in 228
    ],
)
def test_occupancy_follows_the_scarcest_of_four(
    threads: int, registers: int, shared: int, share: float
) -> None:
    assert occupancy(threads, registers, shared, "sm_90") == share


def test_a_multiprocessor_of_sm_80_has_less_shared_memory() -> None:
    assert occupancy(256, 32, 48 * 1024, "sm_80") == 3 * 8 / 64


def test_what_does_not_compile_says_so_in_the_compilers_words() -> None:
    with pytest.raises(
        CompileError, match=r"broken\.cu does not compile:\n.*undefined"
    ):
        compile_cuda_c('extern "C" __global__ void k() { x = 1; }', "broken.cu")
    with pytest.raises(CannotRunError, match=r"adam\.cu has no kernel missing"):
        CudaC("adam", "missing", 256).parameters  # noqa: B018


def test_a_compiled_text_is_found_again_and_a_changed_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvrtc, "cache_folder", lambda: tmp_path)
    text = source_of("adam")
    first = compile_cuda_c(text, "adam.cu")
    written = first.ptx_path.stat().st_mtime_ns
    again = compile_cuda_c(text, "adam.cu")
    assert again.ptx_path == first.ptx_path
    assert again.ptx_path.stat().st_mtime_ns == written
    changed = {**nvrtc.headers(), "common.cuh": nvrtc.headers()["common.cuh"] + "\n"}
    other = compile_cuda_c(text, "adam.cu", including=changed)
    assert other.ptx_path != first.ptx_path


def test_ptx_names_the_lines_it_comes_from() -> None:
    for kernel in (KERNELS["adam:vectors"], KERNELS["adam_cuda:adam"]):
        assert "\t.loc\t" in kernel.compiled().ptx


GUARD = "fmaxf(-2 * __logf(u), 0)"


@pytest.mark.parametrize("guarded", [True, False])
def test_without_its_guard_the_fast_normal_may_be_nan(guarded: bool) -> None:
    """The test of the guard can fail: one word of the counter is enough."""
    from minivae_kernels import ptx

    including = nvrtc.headers()
    assert GUARD in including["philox.cuh"]
    if not guarded:
        including["philox.cuh"] = including["philox.cuh"].replace(
            GUARD, "-2 * __logf(u)"
        )
    compiled = compile_cuda_c(
        source_of("philox"), "philox.cu", defines={"FAST": 1}, including=including
    )
    kernel = ptx.load(compiled.ptx)["standard_normals"]
    worst = [np.uint32(5), np.uint32(6), np.uint32(0), np.uint64(4 * 1396662)]
    finite = []
    for noise in (-1, 0, 1):
        out = np.full(4, -1, np.float32)
        ptx.run(kernel, 1, 32, [*worst, out, np.uint32(4)], noise=noise)
        finite.append(bool(np.isfinite(out).all()))
    assert all(finite) == guarded


# Numba's simulator


def test_readable_rungs_are_right_in_numbas_simulator() -> None:
    """In a process of its own: it is the simulator or the compiler, for good."""
    script = Path(__file__).parent / "simulated.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = done.stdout.split()
    expected = [
        rung.name
        for each in families()
        for rung in each.rungs
        if rung.kernels and rung.language == "Numba" and not uses_warps(rung)
    ]
    assert ran == expected
    assert len(ran) > 15


def uses_warps(rung: Any) -> bool:
    """Whether a rung needs the functions of a warp, which the simulator lacks."""
    return any("shfl" in kernel.compiled().ptx for kernel in rung.kernels)


# The catalogue


@pytest.fixture(scope="module")
def catalogue() -> list[RungRow]:
    return rows()


@pytest.mark.slow
def test_instructions_an_element_are_within_ten_per_cent(
    catalogue: list[RungRow],
) -> None:
    found: dict[str, float] = {}
    for kernel in (k for row in catalogue for k in row.kernels):
        found.setdefault(kernel.kernel, kernel.instructions_per_element)
    assert found.keys() == INSTRUCTIONS.keys()
    for name, count in found.items():
        assert count <= 1.1 * INSTRUCTIONS[name], name


@pytest.mark.slow
def test_the_catalogue_has_every_rung_with_its_bytes_and_reason(
    catalogue: list[RungRow],
) -> None:
    assert [(row.family, row.rung) for row in catalogue] == [
        (each.name, rung.name) for each in families() for rung in each.rungs
    ]
    for row in catalogue:
        assert row.idea
        assert row.floor > 0
        assert (row.runs_on == "cuda") == bool(row.kernels or row.language == "CuPy")
        if row.kernels:
            assert row.bytes_per_element is not None
            assert row.bytes_per_element >= row.floor


@pytest.mark.slow
def test_uncoalesced_rungs_show_in_sectors(catalogue: list[RungRow]) -> None:
    """The same bytes, and many times the memory traffic."""
    moved = {k.kernel: k.sector_bytes_per_element for r in catalogue for k in r.kernels}
    assert (
        moved["colsum_cuda:block_a_column"] > 7 * moved["colsum_cuda:thread_a_column"]
    )
    assert moved["matmul_cuda:naive"] > 3 * moved["matmul_cuda:coalesced"]


def test_the_command_prints_the_ladder_and_what_keeps_it_from_a_device() -> None:
    done = minivae("kernels", "bernoulli")
    assert done.code == 0, done.err
    assert "9 bernoulli_fast: the hardware's own exp" in done.out
    assert "floor 12 bytes" in done.out
    assert "bernoulli:vectors,FAST=1" in done.out
    document = json.loads(minivae("kernels", "gaussian", "--json").out)
    assert {row["family"] for row in document} == {
        "gaussian.forward",
        "gaussian.backward",
    }
    registers = [k["registers"] for row in document for k in row["kernels"]]
    assert min(registers) > 0


def test_an_unknown_family_is_refused_with_the_names() -> None:
    done = minivae("kernels", "magic")
    assert done.code == 2
    assert "no family 'magic'; have philox.words" in done.err
