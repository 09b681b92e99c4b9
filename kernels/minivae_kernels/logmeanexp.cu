// The log of a mean of exponentials, L_n = log 1/S sum_s exp(w_ns), and its gradient, the
// normalised weights exp(w_ns) / sum_s exp(w_ns).
#include "common.cuh"

// The largest weight so far, and the sum of exponentials relative to it.
struct Sum {
  real largest, total;
};

__device__ inline real relative(real w, real largest) {
  return w == largest ? real(1) : exp(w - largest);  // also where both are -inf
}

__device__ inline Sum joined(Sum a, Sum b) {
  real largest = fmax(a.largest, b.largest);
  return {largest, a.total * relative(a.largest, largest) +
                       b.total * relative(b.largest, largest)};
}

// A warp a row. Each lane goes over its weights once: a new largest one rescales the sum.
// Then lanes exchange their sums, until all of them have the row's; a second pass writes
// the weights.
extern "C" __global__ void online(const real *__restrict__ w, real *__restrict__ values,
                                  real *__restrict__ weights, unsigned N, unsigned S) {
  unsigned lane = threadIdx.x % 32, warps = gridDim.x * blockDim.x / 32;
  const real nothing = -1 / real(0);
  for (unsigned n = (blockIdx.x * blockDim.x + threadIdx.x) / 32; n < N; n += warps) {
    Sum sum = {nothing, 0};
    for (unsigned s = lane; s < S; s += 32) {
      real v = w[n * S + s];
      sum = joined(sum, {v, v == nothing ? real(0) : real(1)});
    }
    for (int lanes = 16; lanes > 0; lanes /= 2)
      sum = joined(sum, {__shfl_xor_sync(0xffffffffu, sum.largest, lanes),
                         __shfl_xor_sync(0xffffffffu, sum.total, lanes)});
    if (lane == 0) values[n] = sum.largest + log(sum.total / S);
    for (unsigned s = lane; s < S; s += 32)
      weights[n * S + s] = exp(w[n * S + s] - sum.largest) / sum.total;
  }
}
