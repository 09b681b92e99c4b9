// A sum by a tree in shared memory, with a mistake: no barrier between the rounds.
//
// Threads of one warp go in step here, so that the sum may even be right. Nothing
// promises that: a thread may read what its neighbour has not written yet.
extern "C" __global__ void missing_barrier(const float *x, float *out) {
  __shared__ float partial[16];
  unsigned t = threadIdx.x;
  partial[t] = x[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (t < half) partial[t] += partial[t + half];
    // here __syncthreads() is missing
  }
  if (t == 0) out[blockIdx.x] = partial[0];
}
