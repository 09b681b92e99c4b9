// Binary cross-entropy from logits, L_n = sum_d log(1 + exp l) - l x, and its gradient.
//
// Both come from one t = exp(-|l|):
//   log(1 + exp l) = max(l, 0) + log(1 + t),   sigmoid(l) = 1/(1+t) or t/(1+t).
#include "common.cuh"

#ifdef FAST  // the hardware's own functions, for float: few instructions, fewer digits
#define EXP(x) __expf(x)
#define LOG1P(x) __logf(1 + (x))
#define INVERSE(x) __fdividef(1, x)
#else
#define EXP(x) exp(x)
#define LOG1P(x) log1p(x)
#define INVERSE(x) (1 / (x))
#endif

// Return the loss of one pixel; write its gradient.
__device__ inline real pixel(real l, real x, real scale, real *gradient) {
  real t = EXP(-fabs(l));
  real inverse = INVERSE(1 + t);
  *gradient = scale * ((l >= 0 ? inverse : t * inverse) - x);
  return fmax(l, real(0)) - l * x + LOG1P(t);
}

// A block an image: loss and gradient in one pass over the pixels.
// Reads l and x, writes the gradient: 12 bytes a pixel instead of 20.
extern "C" __global__ void one_pass(const real *__restrict__ logits,
                                    const real *__restrict__ target, real scale,
                                    real *__restrict__ values,
                                    real *__restrict__ gradient, unsigned D) {
  unsigned row = blockIdx.x * D;
  real total = 0;
  for (unsigned d = threadIdx.x; d < D; d += blockDim.x)
    total += pixel(logits[row + d], target[row + d], scale, &gradient[row + d]);
  total = block_sum(total);
  if (threadIdx.x == 0) values[blockIdx.x] = total;
}

// A warp an image, four pixels a lane at once: 128-bit loads and stores, and no shared
// memory and no barrier, so that warps never wait for each other. D = 4 quads.
extern "C" __global__ void vectors(const real4 *__restrict__ logits,
                                   const real4 *__restrict__ target, real scale,
                                   real *__restrict__ values,
                                   real4 *__restrict__ gradient, unsigned N,
                                   unsigned quads) {
  unsigned lane = threadIdx.x % 32, warps = gridDim.x * blockDim.x / 32;
  for (unsigned n = (blockIdx.x * blockDim.x + threadIdx.x) / 32; n < N; n += warps) {
    real total = 0;
    for (unsigned d = n * quads + lane; d < (n + 1) * quads; d += 32) {
      real4 l = logits[d], x = target[d], g;
      total += pixel(l.x, x.x, scale, &g.x);
      total += pixel(l.y, x.y, scale, &g.y);
      total += pixel(l.z, x.z, scale, &g.z);
      total += pixel(l.w, x.w, scale, &g.w);
      gradient[d] = g;
    }
    total = lanes_sum(total, 32);
    if (lane == 0) values[n] = total;
  }
}
