// What the kernel files share: the type `real`, four of them at once, sums over lanes.
// Built-in types only: the same text serves NVRTC, nvcc and CuPy.
#pragma once

#ifndef REAL
#define REAL float
#endif
typedef REAL real;

// Aligned to 16 bytes, so that the compiler may move it by one 128-bit instruction
// (by two where `real` is double).
struct __align__(16) real4 {
  real x, y, z, w;
};

// Sum over groups of `width` neighbouring lanes, a power of 2; the first lane has it.
// All 32 lanes must call it.
__device__ inline real lanes_sum(real value, int width) {
  for (int distance = width / 2; distance > 0; distance /= 2)
    value += __shfl_down_sync(0xffffffffu, value, distance, width);
  return value;
}

__device__ inline real lanes_max(real value, int width) {
  for (int distance = width / 2; distance > 0; distance /= 2)
    value = fmax(value, __shfl_down_sync(0xffffffffu, value, distance, width));
  return value;
}

// Sum over a block of up to 1024 threads, a multiple of 32; thread 0 has it.
// Each warp sums its own; then the first warp sums the warps.
__device__ inline real block_sum(real value) {
  __shared__ real of_warp[32];
  unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  value = lanes_sum(value, 32);
  if (lane == 0) of_warp[warp] = value;
  __syncthreads();
  if (warp == 0) value = lanes_sum(lane < warps ? of_warp[lane] : real(0), 32);
  return value;
}
