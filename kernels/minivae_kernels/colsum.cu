// The column sum of a row-major matrix in two stages: out_o = sum_n g_no.
#include "common.cuh"

#define COLUMNS 32  // of a block: neighbouring lanes read neighbouring columns
#define WALKERS 8   // threads of a block that share a column

// Block (c, r) adds 32 columns over its part of the rows into partials[r]. Eight threads
// walk down each column; then one adds up the eight, in their order.
extern "C" __global__ void tiles(const real *__restrict__ g, real *__restrict__ partials,
                                 unsigned N, unsigned O, unsigned rows) {
  __shared__ real of_walker[WALKERS][COLUMNS];
  unsigned x = threadIdx.x % COLUMNS, y = threadIdx.x / COLUMNS;
  unsigned o = blockIdx.x * COLUMNS + x, first = blockIdx.y * rows;
  unsigned last = min(first + rows, N);
  real total = 0;
  if (o < O)
    for (unsigned n = first + y; n < last; n += WALKERS) total += g[n * O + o];
  of_walker[y][x] = total;
  __syncthreads();
  if (y == 0 && o < O) {
    for (unsigned walker = 1; walker < WALKERS; walker++) total += of_walker[walker][x];
    partials[blockIdx.y * O + o] = total;
  }
}

// A thread a column adds the partial sums, in their order: the same bits each time.
extern "C" __global__ void add_partials(const real *__restrict__ partials,
                                        real *__restrict__ out, unsigned parts,
                                        unsigned O) {
  unsigned o = blockIdx.x * blockDim.x + threadIdx.x;
  if (o >= O) return;
  real total = 0;
  for (unsigned part = 0; part < parts; part++) total += partials[part * O + o];
  out[o] = total;
}
