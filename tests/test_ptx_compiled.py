"""The interpreter on what the compilers write: NVRTC's PTX and Numba's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from minivae_kernels import ptx
from minivae_kernels.numba_ptx import compile_numba, numba_cuda
from minivae_kernels.nvrtc import compile_cuda_c
from minivae_kernels.philox import philox4x32
from numpy.typing import NDArray

pytestmark = pytest.mark.needs("ptx")

SOURCE = """
extern "C" __global__ void add_up(const float *x, float *out, int n) {
  __shared__ float tile[128];
  extern __shared__ float last[];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  tile[t] = i < n ? x[i] : 0;
  __syncthreads();
  for (int half = 64; half; half /= 2) {
    if (t < half) tile[t] += tile[t + half];
#ifndef NO_BARRIER
    __syncthreads();
#endif
  }
  if (t == 0) last[0] = tile[0];
  if (t == 0) out[blockIdx.x] = last[0];
}
extern "C" __global__ void add_up_by_warps(const float *x, float *out, int *count) {
  float v = x[blockIdx.x * blockDim.x + threadIdx.x];
  unsigned positive = __ballot_sync(~0u, v > 0);
  for (int offset = 16; offset; offset /= 2) v += __shfl_down_sync(~0u, v, offset);
  __syncwarp();
  if (threadIdx.x % 32 == 0) {
    atomicAdd(out, v);
    atomicAdd(count, __popc(positive));
    atomicMax(count + 1, __popc(positive));
  }
}
extern "C" __global__ void doubled(const float4 *x, float4 *out) {
  float4 v = x[threadIdx.x];
  out[threadIdx.x] = {2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w};
}
extern "C" __global__ void functions(const float *x, float *out, int n) {
  int i = threadIdx.x;
  float v = x[i], w = fabsf(v), f[] = {
    expf(v), logf(w), log1pf(w), expm1f(v), tanhf(v), sinf(v), cosf(v), sqrtf(w),
    rsqrtf(w), 1 / v, v / 3.1f, powf(w, 1.7f), floorf(v), rintf(v), fmaxf(v, 0.5f),
    sinpif(v), cbrtf(v), erff(v), fmodf(v, 0.7f), ldexpf(v, 3)};
  for (int k = 0; k < n; k++) out[k * blockDim.x + i] = f[k];
}
struct Table { float *rows[3]; int sizes[3]; };
__device__ __noinline__ float scaled(float x, int times) {
  return times ? x * times : -1;
}
extern "C" __global__ void by_table(float *a, int which) {
  float local[4];
  for (int k = 0; k < 4; k++) local[k] = a[k];
  switch (which) {
    case 0: a[threadIdx.x] = scaled(local[3 - threadIdx.x], which); break;
    case 1: a[threadIdx.x] = scaled(local[threadIdx.x ^ 1], which + 1); break;
    case 5: a[threadIdx.x] = 5; break;
    default: a[threadIdx.x] = threadIdx.x / 3 + threadIdx.x % 3;
  }
}
"""
BOX_MULLER = """
#include "philox.cuh"
extern "C" __global__ void words(unsigned *out, unsigned long long first, Key key) {
  unsigned i = threadIdx.x;
  Words w = philox(first + i, key);
  ((uint4 *)out)[i] = {w.x, w.y, w.z, w.w};
}
extern "C" __global__ void radius(float *out, unsigned long long index, Key key) {
  Words w = philox(index, key);
  float log_of = logf(uniform(w.x));
#ifdef GUARDED
  out[0] = sqrtf(fmaxf(-2 * log_of, 0));
#else
  out[0] = sqrtf(-2 * log_of);
#endif
}
"""


def cuda_c(name: str, source: str = SOURCE, **options: Any) -> ptx.Kernel:
    compiled = compile_cuda_c(source, "tested.cu", **options)
    return ptx.load(compiled.ptx)[name]


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_a_sum_in_shared_memory(arch: str) -> None:
    x, out = normal(300), np.full(3, np.nan, np.float32)
    kernel = cuda_c("add_up", arch=arch)
    report = kernel.run(3, 128, (x, ptx.Uninitialised(out), 300), shared_bytes=4)
    expected = [x[k : k + 128].sum(dtype=np.float64) for k in (0, 128, 256)]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    assert (report.bytes_read, report.bytes_written) == (x.nbytes, out.nbytes)
    assert report.barriers == 8 * 3 * 128
    assert report.shared_bytes == 4 * 128 + 4


def test_a_sum_without_its_barrier_is_a_race() -> None:
    x, out = normal(300), np.zeros(3, np.float32)
    kernel = cuda_c("add_up", defines={"NO_BARRIER": 1})
    with pytest.raises(ptx.RaceError, match=r"tested\.cu:9"):
        kernel.run(3, 128, (x, out, 300), shared_bytes=4)


def test_a_sum_by_shuffles_votes_and_updates() -> None:
    x, out, count = normal(256), np.zeros(1, np.float32), np.zeros(2, np.int32)
    cuda_c("add_up_by_warps").run(2, 128, (x, out, count))
    np.testing.assert_allclose(out[0], x.sum(dtype=np.float64), atol=1e-4)
    per_warp = (x > 0).reshape(-1, 32).sum(1)
    assert count.tolist() == [per_warp.sum(), per_warp.max()]


def test_float4_needs_its_alignment() -> None:
    x, out = normal(65), np.zeros(64, np.float32)
    kernel = cuda_c("doubled")
    report = kernel.run(1, 16, (x[:64], out))
    np.testing.assert_array_equal(out, 2 * x[:64])
    assert report.sectors == 2 * 64 * 4 // 32
    with pytest.raises(ptx.MisalignedError, match="multiple of 16"):
        kernel.run(1, 16, (x[1:], out))


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("scale", [1, 1e5])
def test_the_mathematical_functions(scale: float, arch: str) -> None:
    erf = np.vectorize(math.erf)
    x, out = normal(32), np.zeros((20, 32), np.float32)
    x *= np.float32(scale)  # 1e5: sine and cosine reduce by their table of 2/pi
    cuda_c("functions", arch=arch).run(1, 32, (x, out, 20))
    v = x.astype(np.float64)
    w = np.abs(v)
    with np.errstate(all="ignore"):
        expected = [
            *(np.exp(v), np.log(w), np.log1p(w), np.expm1(v), np.tanh(v), np.sin(v)),
            *(np.cos(v), np.sqrt(w), 1 / np.sqrt(w), 1 / v, v / np.float32(3.1)),
            *(w ** np.float64(np.float32(1.7)), np.floor(v), np.rint(v)),
            *(np.maximum(v, 0.5), np.sin(np.pi * (v % 2)), np.cbrt(v), erf(v)),
            *(np.fmod(v, np.float64(np.float32(0.7))), np.ldexp(v, 3)),
        ]
        wanted = np.array(expected).astype(np.float32)
    np.testing.assert_allclose(out, wanted, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("which", [0, 1, 5, 7])
def test_local_arrays_calls_and_switches(which: int) -> None:
    a, t = normal(4), np.arange(4)
    chosen = {0: np.full(4, -1), 1: 2 * a[t ^ 1], 5: np.full(4, 5)}
    expected = chosen.get(which, t // 3 + t % 3)
    with pytest.raises(ptx.RaceError):  # all read what one then writes
        cuda_c("by_table").run(1, 4, (a.copy(), which))
    cuda_c("by_table").run(1, 4, (a, which), detect=False)
    np.testing.assert_array_equal(a, expected.astype(np.float32))


def key_of(seed: int, stream: int) -> Any:
    fields = [("low", "u4"), ("high", "u4"), ("stream", "u4")]
    return np.array((seed & 0xFFFFFFFF, seed >> 32, stream), fields)[()]


def test_philox_words_are_bit_equal() -> None:
    out, first, seed = np.zeros((64, 4), np.uint32), 2**32 - 9, 5 | 6 << 32
    cuda_c("words", BOX_MULLER).run(1, 64, (out, first, key_of(seed, 3)))
    index = np.arange(first, first + 64, dtype=np.uint64)
    counter = (index & np.uint64(2**32 - 1), index >> np.uint64(32))
    zero = np.zeros_like(index)
    words = philox4x32((*counter, zero + np.uint64(3), zero), (5, 6))
    np.testing.assert_array_equal(out, np.stack(words, 1))


@pytest.mark.parametrize("guarded", [False, True])
def test_noise_finds_the_root_of_a_negative_number(guarded: bool) -> None:
    """u = 1 - 2^-24: the fast logarithm may be above 0, and the root then a NaN."""
    defines: dict[str, int] = {"GUARDED": 1} if guarded else {}
    found = []
    for noise in (-1, 0, 1):
        out = np.zeros(1, np.float32)
        options = ("--use_fast_math",)
        kernel = cuda_c("radius", BOX_MULLER, defines=defines, options=options)
        kernel.run(1, 1, (out, 1396662, key_of(5 | 6 << 32, 0)), noise=noise)
        found.append(bool(np.isnan(out[0])))
    assert found == [False, False, not guarded]


# Numba

cuda: Any = None  # numba.cuda, once it is loaded: kernels must find it here


@pytest.fixture(autouse=True)
def _numba_is_loaded() -> None:
    globals()["cuda"] = numba_cuda()


def add_up(x: Any, out: Any) -> None:
    tile = cuda.shared.array(128, "float32")
    t = cuda.threadIdx.x
    tile[t] = x[cuda.grid(1)]
    cuda.syncthreads()
    half = 64
    while half >= 32:
        if t < half:
            tile[t] += tile[t + half]
        cuda.syncthreads()
        half //= 2
    if t < 32:
        v = tile[t]
        for offset in (16, 8, 4, 2, 1):
            v += cuda.shfl_down_sync(0xFFFFFFFF, v, offset)
        if t == 0:
            cuda.atomic.add(out, 0, v)


def add_up_in_a_hurry(x: Any, out: Any) -> None:
    tile = cuda.shared.array(128, "float32")
    t = cuda.threadIdx.x
    tile[t] = x[cuda.grid(1)]
    out[t] = tile[127 - t]


def numba_words(a: NDArray[Any]) -> list[Any]:
    """What Numba passes for an array."""
    numbers = (a.size, a.itemsize)
    shape = [np.int64(n) for n in (*a.shape, *a.strides)]
    return [None, None, *map(np.int64, numbers), a, *shape]


def numba_kernel(function: Any) -> ptx.Kernel:
    signature = "real[::1], real[::1]"
    kernels = ptx.load(compile_numba(function, signature, real="float32").ptx)
    return next(iter(kernels.values()))


def test_a_sum_written_in_numba() -> None:
    x, out = normal(256), np.zeros(1, np.float32)
    numba_kernel(add_up).run(2, 128, (*numba_words(x), *numba_words(out)))
    np.testing.assert_allclose(out[0], x.sum(dtype=np.float64), atol=1e-4)


def test_a_race_written_in_numba_is_found_with_its_line() -> None:
    x, out = normal(128), np.zeros(128, np.float32)
    line = add_up_in_a_hurry.__code__.co_firstlineno + 4
    with pytest.raises(ptx.RaceError, match=rf"test_ptx_compiled\.py:{line}"):
        numba_kernel(add_up_in_a_hurry).run(
            1, 128, (*numba_words(x), *numba_words(out))
        )
