// Adam and AdamW: all parameters of a model in one pass over flat arrays.
//   m <- b1 m + r1 g,  v <- b2 v + r2 g^2,  w <- q w - rate m / (sqrt(v) inverse + eps)
// where g is scale times the gradient plus decay w. Reads w, g, m, v and writes w, m, v:
// 28 bytes a parameter.
#include "common.cuh"

struct Numbers {
  real rate, b1, r1, b2, r2, inverse, eps, scale, decay, q;
};

__device__ inline void update(real &w, real g, real &m, real &v, const Numbers &c) {
  g = c.scale * g + c.decay * w;
  m = c.b1 * m + c.r1 * g;
  v = c.b2 * v + c.r2 * g * g;
  w = c.q * w - c.rate * m / (sqrt(v) * c.inverse + c.eps);
}

// A fixed number of threads walk over parameters in strides of the whole grid.
extern "C" __global__ void grid_stride(real *__restrict__ w, const real *__restrict__ g,
                                       real *__restrict__ m, real *__restrict__ v,
                                       unsigned count, real rate, real b1, real r1,
                                       real b2, real r2, real inverse, real eps,
                                       real scale, real decay, real q) {
  Numbers numbers = {rate, b1, r1, b2, r2, inverse, eps, scale, decay, q};
  unsigned threads = gridDim.x * blockDim.x;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += threads)
    update(w[i], g[i], m[i], v[i], numbers);
}

// Four parameters at once; the last count % 4 one by one. 40 registers leave room for
// 48 warps of 64, each with four 128-bit loads on the way: enough, and fewer would spill.
extern "C" __global__ void vectors(real *__restrict__ w, const real *__restrict__ g,
                                   real *__restrict__ m, real *__restrict__ v,
                                   unsigned count, real rate, real b1, real r1, real b2,
                                   real r2, real inverse, real eps, real scale,
                                   real decay, real q) {
  Numbers numbers = {rate, b1, r1, b2, r2, inverse, eps, scale, decay, q};
  unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  for (unsigned i = thread; i < count / 4; i += gridDim.x * blockDim.x) {
    real4 w4 = ((real4 *)w)[i], g4 = ((const real4 *)g)[i];
    real4 m4 = ((real4 *)m)[i], v4 = ((real4 *)v)[i];
    update(w4.x, g4.x, m4.x, v4.x, numbers);
    update(w4.y, g4.y, m4.y, v4.y, numbers);
    update(w4.z, g4.z, m4.z, v4.z, numbers);
    update(w4.w, g4.w, m4.w, v4.w, numbers);
    ((real4 *)w)[i] = w4, ((real4 *)m)[i] = m4, ((real4 *)v)[i] = v4;
  }
  unsigned rest = count / 4 * 4 + thread;
  if (rest < count) update(w[rest], g[rest], m[rest], v[rest], numbers);
}
