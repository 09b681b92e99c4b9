"""Lesson 14: answers of the course.

Shared memory belongs to a block: all its threads see it, and it holds nothing in
particular before they write. Give `cuda.shared.array` its size as a constant.
"""

from numba import cuda, float32

THREADS = 8  # of a block, in exercise 14.1
TILE = 4  # a block of exercise 14.2 has TILE × TILE threads


@cuda.jit
def block_sum(x, out):
    """Exercise 14.1. out[b] = the sum of the elements that block b's threads have.

    Thread i of the grid has x[i], if there is one; blocks have THREADS threads. Add in
    shared memory, in log2(THREADS) steps in which the threads work side by side.
    """
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@cuda.jit
def matmul_tiled(A, B, C):
    """Exercise 14.2. C = A B, for A (M, K) and B (K, N) of any sizes.

    row, column = cuda.grid(2) is the cell of C that a thread makes; the grid covers C,
    in blocks of TILE × TILE threads. A block reads A and B in tiles that it keeps in
    shared memory, so that it reads no element of A or B twice.
    """
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    M, K, N = A.shape[0], A.shape[1], B.shape[1]
    total = float32(0)
    for start in range(0, K, TILE):
        inside_a = row < M and start + j < K
        inside_b = start + i < K and column < N
        a[i, j] = A[row, start + j] if inside_a else 0
        b[i, j] = B[start + i, column] if inside_b else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += a[i, k] * b[k, j]
        cuda.syncthreads()
    if row < M and column < N:
        C[row, column] = total
