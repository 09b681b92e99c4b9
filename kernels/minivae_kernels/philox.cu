// Random words, uniforms and normals: a thread draws a block of four, and stores it by
// one 128-bit instruction. They are elements first ... first + count - 1 of a stream,
// first being a multiple of 4; what is left of count / 4 is stored one by one.
#include "philox.cuh"

struct __align__(16) uint4_t {
  unsigned x, y, z, w;
};
struct __align__(16) float4_t {
  float x, y, z, w;
};

// Store four values at 4 block, or as many as there is room for.
template <typename Four, typename T>
__device__ inline void store(T *out, unsigned block, unsigned count, Four drawn) {
  unsigned i = 4 * block;
  if (i + 3 < count) {
    ((Four *)out)[block] = drawn;
    return;
  }
  out[i] = drawn.x;
  if (i + 1 < count) out[i + 1] = drawn.y;
  if (i + 2 < count) out[i + 2] = drawn.z;
}

#define EACH_BLOCK(b)                                                    \
  for (unsigned b = blockIdx.x * blockDim.x + threadIdx.x; 4 * b < count; \
       b += gridDim.x * blockDim.x)

extern "C" __global__ void words(unsigned low, unsigned high, unsigned stream,
                                 unsigned long long first, unsigned *out,
                                 unsigned count) {
  EACH_BLOCK(b) {
    Words word = philox(first / 4 + b, {low, high, stream});
    store(out, b, count, uint4_t{word.x, word.y, word.z, word.w});
  }
}

extern "C" __global__ void uniforms(unsigned low, unsigned high, unsigned stream,
                                    unsigned long long first, float *out,
                                    unsigned count) {
  EACH_BLOCK(b) {
    Words word = philox(first / 4 + b, {low, high, stream});
    store(out, b, count, float4_t{uniform(word.x), uniform(word.y), uniform(word.z),
                                  uniform(word.w)});
  }
}

extern "C" __global__ void standard_normals(unsigned low, unsigned high,
                                            unsigned stream, unsigned long long first,
                                            real *out, unsigned count) {
  EACH_BLOCK(b) store(out, b, count, normals(philox(first / 4 + b, {low, high, stream})));
}
