// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, section 3.3): four random words from
// a counter and a key, with nothing carried from one call to the next.
#pragma once
#include "common.cuh"

struct Words {
  unsigned x, y, z, w;
};

struct Key {
  unsigned low, high, stream;
};

// The words of block `index` of a stream: elements 4 index ... 4 index + 3.
__device__ inline Words philox(unsigned long long index, Key key) {
  unsigned c0 = (unsigned)index, c1 = (unsigned)(index >> 32), c2 = key.stream, c3 = 0;
  unsigned k0 = key.low, k1 = key.high;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

// An odd multiple of 2^-24 in (0, 1), exact in float: never 0, never 1.
__device__ inline float uniform(unsigned word) {
  return (float)((word >> 9) << 1 | 1) * 0x1p-24f;
}

// Two normals from two words, by Box and Muller (1958). sinpi and cospi take the angle
// in half turns, exactly; 2 pi v would be rounded first.
__device__ inline void normals(unsigned first, unsigned second, real *z0, real *z1) {
  real u = uniform(first), angle = 2 * (real)uniform(second);
#ifdef FAST
  // __logf may be above 0 for u just below 1: then the root of its negative is NaN.
  // __sinf and __cosf are good in [-pi, pi]: half a turn less, and the sign changes.
  real radius = __fsqrt_rn(fmaxf(-2 * __logf(u), 0));
  *z0 = -radius * __cosf(3.14159265f * (angle - 1));
  *z1 = -radius * __sinf(3.14159265f * (angle - 1));
#else
  real radius = sqrt(-2 * log(u)), sine, cosine;
  sincospi(angle, &sine, &cosine);
  *z0 = radius * cosine;
  *z1 = radius * sine;
#endif
}

__device__ inline real4 normals(Words word) {
  real4 z;
  normals(word.x, word.y, &z.x, &z.y);
  normals(word.z, word.w, &z.z, &z.w);
  return z;
}
