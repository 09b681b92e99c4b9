// Convolution as a matrix product whose left factor is never written down: "implicit
// GEMM". A block computes a tile of 64 x 64 results and walks along the sum with tiles of
// both factors in shared memory; what would be an element of the matrix of windows is
// taken from the map itself, wherever the window lies. Maps may lie in any order: element
// (n, c, h, w) at n sn + c sc + h sh + w sw. With channels last, neighbouring lanes read
// neighbouring channels.
//
// Source: Chetlur et al. 2014, "cuDNN: Efficient primitives for deep learning", section 3.
#include "common.cuh"

#define TILE 64   // results of a block, each way
#define DEPTH 16  // terms of the sum in shared memory at a time
#define EACH 4    // results of a thread, each way
#define OUTSIDE (1u << 31)  // a row that no map has, nor any near it

struct Map {
  const real *at;
  unsigned n, c, h, w;  // elements from one to the next
};

// How results along one axis read a map: result i takes at tap t its element
// i step + first + t turn, if there is one: numbers below zero wrap to huge ones.
struct Axis {
  unsigned size, results, taps, step, first, turn;
};

struct Weights {
  const real *at;
  unsigned out, in, row, column;  // elements from one to the next
};

// Where the results of a row of the tile are: what they read, and where they go.
struct Place {
  unsigned image, top, left, to;
};

// A thread's 4 x 4 results: rows of one factor against rows of the other, in registers.
__device__ inline void multiply(real (&sum)[EACH][EACH], const real (*left)[TILE + 1],
                                const real (*right)[TILE + 1]) {
  unsigned ty = threadIdx.x / 16, tx = threadIdx.x % 16;
  for (unsigned k = 0; k < DEPTH; k++) {
    real a[EACH], b[EACH];
#pragma unroll
    for (unsigned i = 0; i < EACH; i++)
      a[i] = left[k][ty + 16 * i], b[i] = right[k][tx + 16 * i];
#pragma unroll
    for (unsigned i = 0; i < EACH; i++)
#pragma unroll
      for (unsigned j = 0; j < EACH; j++) sum[i][j] += a[i] * b[j];
  }
}

// A tile of pixels by channels of the result `to`, whose pixel (n, i, j) begins at
// n to.n + i to.h + j to.w. The sum runs over the taps, and over the C channels of each.
__device__ inline void gather(Map x, Weights w, const real *bias, real *out, Map to,
                              unsigned N, unsigned C, unsigned O, Axis down, Axis right,
                              unsigned biased) {
  __shared__ Place place[TILE];
  __shared__ real xk[DEPTH][TILE + 1], wk[DEPTH][TILE + 1];
  unsigned t = threadIdx.x, per_image = down.results * right.results;
  unsigned first = blockIdx.x * TILE, o0 = blockIdx.y * TILE, pixels = N * per_image;
  if (first >= pixels) return;  // places among the strides differ in size
  if (t < TILE) {
    unsigned pixel = first + t, n = pixel / per_image;
    unsigned i = pixel / right.results % down.results, j = pixel % right.results;
    place[t] = {n * x.n, pixel < pixels ? i * down.step + down.first : OUTSIDE,
                j * right.step + right.first, n * to.n + i * to.h + j * to.w};
  }
  __syncthreads();
  real sum[EACH][EACH] = {};
  unsigned terms = down.taps * right.taps * C, k = t % DEPTH;
  for (unsigned k0 = 0; k0 < terms; k0 += DEPTH) {
    unsigned term = k0 + k, c = term % C, b = term / C % right.taps;
    unsigned a = term / C / right.taps;
    for (unsigned row = t / DEPTH; row < TILE; row += 16) {
      Place at = place[row];
      unsigned h = at.top + a * down.turn, v = at.left + b * right.turn, o = o0 + row;
      bool inside = term < terms && h < down.size && v < right.size;
      xk[k][row] = inside ? x.at[at.image + c * x.c + h * x.h + v * x.w] : real(0);
      wk[k][row] = term < terms && o < O
                       ? w.at[o * w.out + c * w.in + a * w.row + b * w.column]
                       : real(0);
    }
    __syncthreads();
    multiply(sum, xk, wk);
    __syncthreads();
  }
#pragma unroll
  for (unsigned i = 0; i < EACH; i++)
#pragma unroll
    for (unsigned j = 0; j < EACH; j++) {
      unsigned row = t / 16 + 16 * i, o = o0 + t % 16 + 16 * j;
      if (first + row < pixels && o < O)
        out[place[row].to + o] = sum[i][j] + (biased ? bias[o] : real(0));
    }
}

extern "C" __global__ void __launch_bounds__(256)
    forward(const real *__restrict__ x, unsigned xn, unsigned xc, unsigned xh, unsigned xw,
            const real *__restrict__ w, const real *__restrict__ bias,
            real *__restrict__ y, unsigned N, unsigned C, unsigned O, unsigned H,
            unsigned W, unsigned Kh, unsigned Kw, unsigned P, unsigned Q, unsigned stride,
            unsigned padding, unsigned biased) {
  Axis down = {H, P, Kh, stride, -padding, 1}, right = {W, Q, Kw, stride, -padding, 1};
  Weights weights = {w, C * Kh * Kw, Kh * Kw, Kw, 1};
  Map to = {0, P * Q * O, 1, Q * O, O};
  gather({x, xn, xc, xh, xw}, weights, bias, y, to, N, C, O, down, right, biased);
}

// Pixels that lie alike among the strides are under the same taps: pixel s i + r under
// the taps a0 + s t of the windows i + d - t, with r + padding = s d + a0. So each of the
// s^2 places is a convolution of its own, without strides, by the taps that it has.
extern "C" __global__ void __launch_bounds__(256)
    adjoint(const real *__restrict__ y, unsigned yn, unsigned yo, unsigned yp, unsigned yq,
            const real *__restrict__ w, const real *__restrict__ bias,
            real *__restrict__ x, unsigned N, unsigned C, unsigned O, unsigned H,
            unsigned W, unsigned Kh, unsigned Kw, unsigned P, unsigned Q, unsigned stride,
            unsigned padding, unsigned biased) {
  unsigned r = blockIdx.z / stride, s = blockIdx.z % stride;
  unsigned a = (r + padding) % stride, b = (s + padding) % stride;
  Axis down = {P, (H + stride - 1 - r) / stride, (Kh + stride - 1 - a) / stride,
               1, (r + padding) / stride,        -1u};
  Axis right = {Q, (W + stride - 1 - s) / stride, (Kw + stride - 1 - b) / stride,
                1, (s + padding) / stride,        -1u};
  Weights weights = {w + a * Kw + b, Kh * Kw, C * Kh * Kw, stride * Kw, stride};
  Map to = {0, H * W * C, 1, stride * W * C, stride * C};
  gather({y, yn, yo, yp, yq}, weights, bias, x + (r * W + s) * C, to, N, O, C, down, right,
         biased);
}

// A tile of channels o by taps of the weight's gradient, summed over the pixels of one
// group. Each group has partial sums of its own, which are then added in order.
extern "C" __global__ void __launch_bounds__(256)
    weight(const real *__restrict__ x, unsigned xn, unsigned xc, unsigned xh, unsigned xw,
           const real *__restrict__ y, unsigned yn, unsigned yo, unsigned yp, unsigned yq,
           real *__restrict__ partials, unsigned N, unsigned C, unsigned O, unsigned H,
           unsigned W, unsigned Kh, unsigned Kw, unsigned P, unsigned Q, unsigned stride,
           unsigned padding, unsigned group) {
  __shared__ Place place[DEPTH];
  __shared__ real yk[DEPTH][TILE + 1], xk[DEPTH][TILE + 1];
  unsigned t = threadIdx.x, taps = C * Kh * Kw, i = t % TILE;
  unsigned tap = blockIdx.x * TILE + i, o0 = blockIdx.y * TILE, o = o0 + i;
  unsigned c = tap % C, b = tap / C % Kw, a = tap / C / Kw;
  unsigned first = blockIdx.z * group, last = min(first + group, N * P * Q);
  real sum[EACH][EACH] = {};
  for (; first < last; first += DEPTH) {
    if (t < DEPTH) {
      unsigned pixel = first + t, n = pixel / (P * Q), p = pixel / Q % P, q = pixel % Q;
      place[t] = {n * xn, p * stride - padding, q * stride - padding,
                  n * yn + p * yp + q * yq};
    }
    __syncthreads();
    for (unsigned k = t / TILE; k < DEPTH; k += 4) {
      Place at = place[k];
      unsigned h = at.top + a, v = at.left + b;
      bool there = first + k < last, inside = tap < taps && h < H && v < W;
      xk[k][i] = there && inside ? x[at.image + c * xc + h * xh + v * xw] : real(0);
      yk[k][i] = there && o < O ? y[at.to + o * yo] : real(0);
    }
    __syncthreads();
    multiply(sum, yk, xk);
  }
#pragma unroll
  for (unsigned j = 0; j < EACH; j++) {
    unsigned tap = blockIdx.x * TILE + t % 16 + 16 * j;
    unsigned at = (tap % C * Kh + tap / C / Kw) * Kw + tap / C % Kw;  // as (c, a, b)
#pragma unroll
    for (unsigned i = 0; i < EACH; i++) {
      unsigned o = o0 + t / 16 + 16 * i;
      if (o < O && tap < taps) partials[(blockIdx.z * O + o) * taps + at] = sum[i][j];
    }
  }
}
