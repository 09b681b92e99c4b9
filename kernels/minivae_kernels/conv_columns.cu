// Convolution as a matrix product: windows copied out as rows, and rows added back.
//
// X has a row for each window (n, p, q) and a column for each tap (c, a, b), in the order
// of a weight (O, C, Kh, Kw). The map x may lie in any order: element (n, c, h, w) at
// n xn + c xc + h xh + w xw. Rows above the image and columns left of it have numbers
// that wrap to huge ones, beyond it.
#include "common.cuh"

// A thread an element of X: zero where the window hangs over the edge.
extern "C" __global__ void columns(const real *__restrict__ x, unsigned xn, unsigned xc,
                                   unsigned xh, unsigned xw, real *__restrict__ X,
                                   unsigned count, unsigned C, unsigned H, unsigned W,
                                   unsigned Kh, unsigned Kw, unsigned P, unsigned Q,
                                   unsigned stride, unsigned padding) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  unsigned b = i % Kw, a = i / Kw % Kh, c = i / (Kw * Kh) % C, row = i / (Kw * Kh * C);
  unsigned n = row / (P * Q), h = row / Q % P * stride + a - padding;
  unsigned w = row % Q * stride + b - padding;
  X[i] = h < H && w < W ? x[n * xn + c * xc + h * xh + w * xw] : real(0);
}

// A thread an element of x (N, H, W, C), which collects the shares of the windows over
// it. Pixel h is under the taps a = r, r + s, ... of the windows d, d - 1, ... with
// r = (h + padding) % s and d = (h + padding) / s: no tap is tried in vain.
extern "C" __global__ void collect(const real *__restrict__ X,
                                   const real *__restrict__ bias, real *__restrict__ x,
                                   unsigned count, unsigned C, unsigned H, unsigned W,
                                   unsigned Kh, unsigned Kw, unsigned P, unsigned Q,
                                   unsigned stride, unsigned padding, unsigned biased) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  unsigned c = i % C, w = i / C % W, h = i / (C * W) % H, n = i / (C * W * H);
  real total = biased ? bias[c] : real(0);
  unsigned p = (h + padding) / stride;
  for (unsigned a = (h + padding) % stride; a < Kh; a += stride, p--) {
    unsigned q = (w + padding) / stride;
    for (unsigned b = (w + padding) % stride; b < Kw; b += stride, q--)
      if (p < P && q < Q)
        total += X[((((n * P + p) * Q + q) * C + c) * Kh + a) * Kw + b];
  }
  x[i] = total;
}

// What a scatter adds to: the bias, or zero.
extern "C" __global__ void begin(const real *__restrict__ bias, real *__restrict__ x,
                                 unsigned count, unsigned C, unsigned biased) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) x[i] = biased ? bias[i % C] : real(0);
}

// A thread a share, which it adds to its pixel of x (N, H, W, C).
extern "C" __global__ void scatter(const real *__restrict__ X, real *x, unsigned count,
                                   unsigned C, unsigned H, unsigned W, unsigned Kh,
                                   unsigned Kw, unsigned P, unsigned Q, unsigned stride,
                                   unsigned padding) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  unsigned b = i % Kw, a = i / Kw % Kh, c = i / (Kw * Kh) % C, row = i / (Kw * Kh * C);
  unsigned n = row / (P * Q), h = row / Q % P * stride + a - padding;
  unsigned w = row % Q * stride + b - padding;
  if (h < H && w < W) atomicAdd(&x[((n * H + h) * W + w) * C + c], X[i]);
}
