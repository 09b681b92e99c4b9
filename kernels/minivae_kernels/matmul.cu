// The matrix product Z = act(X Y + b), with X (N, K), Y (K, O), Z (N, O) in row order.
// X and Y may be transposed views: element (i, j) of X lies at i xs + j xt.
//
// A block computes a tile of Z, and walks along K with tiles of X and Y in shared memory:
// an element of X is loaded once for each tile of Z in its row, not once for each column.
#include "common.cuh"

enum { NOTHING, BIAS, BIAS_RELU };  // the epilogue, done while the sum is in a register

__device__ inline real finished(real total, const real *bias, unsigned o,
                                unsigned epilogue) {
  if (epilogue == NOTHING) return total;
  total += bias[o];
  return epilogue == BIAS_RELU && total < 0 ? real(0) : total;
}

// A thread computes 4 x 4 elements of a tile of 64 x 64: each value that it takes from
// shared memory is used four times. Both tiles lie in shared memory with k first.
extern "C" __global__ void __launch_bounds__(256)
    registers(const real *__restrict__ x, const real *__restrict__ y,
              const real *__restrict__ bias, real *__restrict__ z, unsigned N,
              unsigned O, unsigned K, unsigned xs, unsigned xt, unsigned ys,
              unsigned yt, unsigned epilogue) {
  constexpr unsigned TILE = 64, DEPTH = 16, EACH = 4;
  __shared__ real xk[DEPTH][TILE + 1], yk[DEPTH][TILE + 1];
  unsigned n0 = blockIdx.y * TILE, o0 = blockIdx.x * TILE;
  unsigned ty = threadIdx.x / 16, tx = threadIdx.x % 16;
  real sum[EACH][EACH] = {};
  for (unsigned k0 = 0; k0 < K; k0 += DEPTH) {
    for (unsigned i = threadIdx.x; i < TILE * DEPTH; i += 256) {
      // neighbouring threads go along whichever axis lies together in memory
      unsigned k = xt == 1 ? i % DEPTH : i / TILE, n = xt == 1 ? i / DEPTH : i % TILE;
      bool inside = n0 + n < N && k0 + k < K;
      xk[k][n] = inside ? x[(n0 + n) * xs + (k0 + k) * xt] : real(0);
    }
    for (unsigned i = threadIdx.x; i < TILE * DEPTH; i += 256) {
      unsigned k = yt == 1 ? i / TILE : i % DEPTH, o = yt == 1 ? i % TILE : i / DEPTH;
      bool inside = o0 + o < O && k0 + k < K;
      yk[k][o] = inside ? y[(k0 + k) * ys + (o0 + o) * yt] : real(0);
    }
    __syncthreads();
    for (unsigned k = 0; k < DEPTH; k++) {
      real a[EACH], b[EACH];
#pragma unroll
      for (unsigned i = 0; i < EACH; i++) a[i] = xk[k][ty + 16 * i], b[i] = yk[k][tx + 16 * i];
#pragma unroll
      for (unsigned i = 0; i < EACH; i++)
#pragma unroll
        for (unsigned j = 0; j < EACH; j++) sum[i][j] += a[i] * b[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (unsigned i = 0; i < EACH; i++)
#pragma unroll
    for (unsigned j = 0; j < EACH; j++) {
      unsigned n = n0 + ty + 16 * i, o = o0 + tx + 16 * j;
      if (n < N && o < O) z[n * O + o] = finished(sum[i][j], bias, o, epilogue);
    }
}

// A tile of 128 x 128, 8 x 8 elements a thread, in two groups of four each way: all
// loads and stores are of four elements at once. Whatever axis of X and Y lies together
// in memory has a multiple of 4 elements, and so has O.
#define SIDE 128
#define DEEP 8

// Load four elements of an operand into its tile, whose index is [k][i].
__device__ inline void load(real (*tile)[SIDE], const real *from, unsigned i0,
                            unsigned count, unsigned k0, unsigned K, unsigned si,
                            unsigned sk) {
  bool along_k = sk == 1;
  unsigned t = threadIdx.x;
  unsigned i = along_k ? t / 2 : t % 32 * 4, k = along_k ? t % 2 * 4 : t / 32;
  real4 four = {0, 0, 0, 0};
  if (i0 + i < count && k0 + k < K)
    four = *(const real4 *)&from[(i0 + i) * si + (k0 + k) * sk];
  if (along_k) {
    tile[k][i] = four.x, tile[k + 1][i] = four.y;
    tile[k + 2][i] = four.z, tile[k + 3][i] = four.w;
  } else {
    *(real4 *)&tile[k][i] = four;
  }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    vectors(const real *__restrict__ x, const real *__restrict__ y,
            const real *__restrict__ bias, real *__restrict__ z, unsigned N, unsigned O,
            unsigned K, unsigned xs, unsigned xt, unsigned ys, unsigned yt,
            unsigned epilogue) {
  __shared__ __align__(16) real xk[DEEP][SIDE], yk[DEEP][SIDE];
  unsigned n0 = blockIdx.y * SIDE, o0 = blockIdx.x * SIDE;
  unsigned ty = threadIdx.x / 16 * 4, tx = threadIdx.x % 16 * 4;
  real sum[8][8] = {};
  for (unsigned k0 = 0; k0 < K; k0 += DEEP) {
    load(xk, x, n0, N, k0, K, xs, xt);
    load(yk, y, o0, O, k0, K, yt, ys);
    __syncthreads();
#pragma unroll
    for (unsigned k = 0; k < DEEP; k++) {
      real a[8], b[8];
      *(real4 *)&a[0] = *(real4 *)&xk[k][ty], *(real4 *)&a[4] = *(real4 *)&xk[k][ty + 64];
      *(real4 *)&b[0] = *(real4 *)&yk[k][tx], *(real4 *)&b[4] = *(real4 *)&yk[k][tx + 64];
#pragma unroll
      for (unsigned i = 0; i < 8; i++)
#pragma unroll
        for (unsigned j = 0; j < 8; j++) sum[i][j] += a[i] * b[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (unsigned i = 0; i < 8; i++) {
    unsigned n = n0 + ty + i % 4 + i / 4 * 64;
#pragma unroll
    for (unsigned j = 0; j < 8; j += 4) {
      unsigned o = o0 + tx + j * 16;
      if (n < N && o < O)
        *(real4 *)&z[n * O + o] = {finished(sum[i][j], bias, o, epilogue),
                                   finished(sum[i][j + 1], bias, o + 1, epilogue),
                                   finished(sum[i][j + 2], bias, o + 2, epilogue),
                                   finished(sum[i][j + 3], bias, o + 3, epilogue)};
    }
  }
}
