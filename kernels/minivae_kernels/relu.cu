// The rectifier and its gradient on flat arrays, four elements at once.
#include "common.cuh"

// NaN stays NaN
__device__ inline real rectified(real x) { return x < 0 ? real(0) : x; }

__device__ inline real passed(real g, real y) { return y > 0 ? g : g * real(0); }

// y = max(x, 0). The last count % 4 elements go one by one.
extern "C" __global__ void forward(const real *__restrict__ x, real *__restrict__ y,
                                   unsigned count) {
  unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  for (unsigned i = thread; i < count / 4; i += gridDim.x * blockDim.x) {
    real4 v = ((const real4 *)x)[i];
    ((real4 *)y)[i] = {rectified(v.x), rectified(v.y), rectified(v.z), rectified(v.w)};
  }
  unsigned rest = count / 4 * 4 + thread;
  if (rest < count) y[rest] = rectified(x[rest]);
}

// x_bar = y_bar where y > 0, else 0 (or NaN, where y_bar is not finite).
extern "C" __global__ void backward(const real *__restrict__ g,
                                    const real *__restrict__ y, real *__restrict__ x_bar,
                                    unsigned count) {
  unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  for (unsigned i = thread; i < count / 4; i += gridDim.x * blockDim.x) {
    real4 g4 = ((const real4 *)g)[i], y4 = ((const real4 *)y)[i];
    ((real4 *)x_bar)[i] = {passed(g4.x, y4.x), passed(g4.y, y4.y), passed(g4.z, y4.z),
                           passed(g4.w, y4.w)};
  }
  unsigned rest = count / 4 * 4 + thread;
  if (rest < count) x_bar[rest] = passed(g[rest], y[rest]);
}
