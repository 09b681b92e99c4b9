// The epilogue of a matrix product, z_no <- act(z_no + b_o), in place.
#include "common.cuh"

__device__ inline real activated(real total, unsigned relu) {
  return relu && total < 0 ? real(0) : total;  // NaN stays NaN
}

// Four elements at once, by a block for each 1024 columns of 8 rows: a thread reads its
// four biases once and uses them for all 8.
extern "C" __global__ void vectors(real4 *__restrict__ z, const real4 *__restrict__ bias,
                                   unsigned N, unsigned quads, unsigned relu) {
  unsigned o = blockIdx.y * blockDim.x + threadIdx.x;
  if (o >= quads) return;
  real4 b = bias[o];
  unsigned last = min(N, (blockIdx.x + 1) * 8);
  for (unsigned n = blockIdx.x * 8; n < last; n++) {
    real4 v = z[n * quads + o];
    z[n * quads + o] = {activated(v.x + b.x, relu), activated(v.y + b.y, relu),
                        activated(v.z + b.z, relu), activated(v.w + b.w, relu)};
  }
}
