"""The race checker of the lessons: right kernels pass, each planted fault is named."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from minivae_kernels.nvrtc import CompileError

from lessons.kit.races import KernelFault, run, sizes_that_vary

cuda: Any = ModuleType("cuda")  # what a kernel names; the checker puts its own there
float32 = np.float32


def double(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = 2 * x[i]


def strided(x, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = 2 * x[i]


def block_sums(x, out):
    shared = cuda.shared.array(8, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = 4
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


def block_sums_with_one_barrier(x, out):
    shared = cuda.shared.array(8, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = 4
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


def sum_by_atomics(x, out):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(out, 0, x[i])


def sum_without_atomics(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[0] += x[i]


def unguarded(x, out):
    i = cuda.grid(1)
    out[i] = 2 * x[i]


def behind(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = x[i - 1]


def barrier_for_some(x, out):
    i = cuda.grid(1)
    if i < x.size:
        cuda.syncthreads()
        out[i] = x[i]


def two_barriers(x, out):
    if cuda.threadIdx.x % 2:
        cuda.syncthreads()
    else:
        cuda.syncthreads()


def unwritten(x, out):
    shared = cuda.shared.array(8, float32)
    out[0] = shared[0]


SIZE, SHAPE = 8, (2, 4)


def two_shared_arrays(x, out):
    first = cuda.shared.array(SIZE, float32)
    second = cuda.shared.array(shape=SHAPE, dtype=float32)
    first[cuda.threadIdx.x] = 0
    second[1, 0] = cuda.threadIdx.x


def in_a_device_function(x, out):
    def write_all(cells):
        cells[0] = 1

    write_all(cuda.shared.array(8, float32))


def under_no_name(x, out):
    cuda.shared.array(8, float32)
    cuda.shared.array(8, float32)[1] = cuda.threadIdx.x


def twice_a_global(x, out):
    cuda.shared.array(2 * SIZE, float32)


def as_large_as_the_input(x, out):
    n = x.size
    cuda.shared.array((4, n), float32)


def sized_in_a_branch(x, out):
    n = 8
    if x.size > 8:
        n = 16
    cuda.shared.array(shape=n, dtype=float32)


def of_constants(x, out):
    n = 8
    cuda.shared.array(2 * 32, float32)
    cuda.shared.array((n, SIZE), float32)
    cuda.shared.array(SHAPE, float32)


def talks(x, out):
    if cuda.grid(1) == 9:
        print("x is", x, "and x[9]", x[9])


def a_slice(x, out):
    out[:] = x[:]


def with_warps(x, out):
    cuda.shfl_sync(0xFFFFFFFF, x[0], 0)


X = np.arange(13, dtype=np.float32)


def launched(kernel: Callable[..., Any], size: int = 13) -> Any:
    out = np.full(size, np.nan, np.float32)
    if "sum" in kernel.__name__:
        out = np.zeros(2, np.float32)
    report = run(kernel, 2, 8, (X, out))
    return out, report


@pytest.mark.parametrize("kernel", [double, strided])
def test_maps_pass(kernel: Callable[..., Any]) -> None:
    out, report = launched(kernel)
    assert np.array_equal(out, 2 * X)
    assert report.number("x", "reads") == report.number("out", "writes") == 13


def test_a_reduction_passes_and_its_barriers_are_counted() -> None:
    out, report = launched(block_sums)
    assert out.tolist() == [28, 50]
    assert report.barriers == 2 * 4


def test_atomics_do_not_race() -> None:
    out, report = launched(sum_by_atomics)
    assert out[0] == X.sum()
    assert report.number("out", "updates") == 13


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (
            block_sums_with_one_barrier,
            r"race on shared\[1\]: .*no barrier lies between",
        ),
        (sum_without_atomics, r"race on out\[0\]"),
        (unguarded, r"thread 5 is out of bounds: x\[13\]"),
        (behind, r"out of bounds: x\[-1\]"),
        (barrier_for_some, "waits at the barrier of line .* has ended"),
        (two_barriers, "is at that of line"),
        (unwritten, "shared memory is not zeroed"),
        (a_slice, "one cell at a time"),
        (two_shared_arrays, r"race on second\[1, 0\]"),
        (in_a_device_function, r"race on cells\[0\]"),
        (under_no_name, r"race on the second shared array\[1\]"),
        (twice_a_global, "size of shared memory when it compiles.*line .*2 \\* SIZE"),
        (as_large_as_the_input, "size of shared memory when it compiles"),
        (sized_in_a_branch, "size of shared memory when it compiles"),
        (with_warps, "cuda.shfl_sync is not known"),
    ],
)
def test_a_fault_is_named(kernel: Callable[..., Any], words: str) -> None:
    with pytest.raises(KernelFault, match=words):
        launched(kernel)


def test_sizes_that_numba_takes_for_constants_pass() -> None:
    launched(of_constants)


@pytest.mark.needs("ptx")
@pytest.mark.parametrize(
    "kernel",
    [twice_a_global, as_large_as_the_input, sized_in_a_branch, of_constants],
    ids=lambda kernel: kernel.__name__,
)
def test_the_compiler_takes_the_same_sizes(
    kernel: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from minivae_kernels.numba_ptx import compile_numba
    from numba import cuda as of_numba
    from numba import float32 as single

    monkeypatch.setitem(kernel.__globals__, "cuda", of_numba)
    monkeypatch.setitem(kernel.__globals__, "float32", single)
    try:
        compile_numba(kernel, "float32[::1], float32[::1]", real="float32")
        taken = True
    except CompileError:
        taken = False
    assert taken is not bool(sizes_that_vary(kernel))


def test_what_a_thread_prints_names_the_thread(
    capsys: pytest.CaptureFixture[str],
) -> None:
    launched(talks)
    says = "x is x, an array of shape (13,) and x[9] 9.0"
    assert capsys.readouterr().out == f"thread 1 of block 1: {says}\n"


def test_a_race_between_blocks_is_named() -> None:
    def last_wins(x, out):
        out[0] = x[cuda.blockIdx.x]

    with pytest.raises(
        KernelFault, match=r"of block 1 writes it.*nothing orders blocks"
    ):
        run(last_wins, 2, 1, (X, np.zeros(1, np.float32)))


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with pytest.raises(KernelFault):
        launched(barrier_for_some)
    assert threading.active_count() == before
