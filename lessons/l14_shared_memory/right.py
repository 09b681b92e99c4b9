"""Lesson 14: right answers, written in other ways."""

from numba import cuda, float32

from lessons.kit import right

THREADS, TILE = 8, 4


@right(1)
@cuda.jit
def neighbours_first(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = 0
    if i < x.size:
        shared[t] = x[i]
    cuda.syncthreads()
    apart = 1
    while apart < THREADS:
        if t % (2 * apart) == 0:
            shared[t] += shared[t + apart]
        cuda.syncthreads()
        apart *= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[t]


@right(1)
@cuda.jit
def in_registers_first(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    mine = float32(0)
    if i < x.size:
        mine = x[i]
    half = THREADS // 2
    while half > 0:
        shared[t] = mine
        cuda.syncthreads()
        if t < half:
            mine += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = mine


@right(1)
@cuda.jit
def steps_written_out(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    shared[t] = x[i] if i < len(x) else 0.0
    cuda.syncthreads()
    if t < 4:
        shared[t] = shared[t] + shared[t + 4]
    cuda.syncthreads()
    if t < 2:
        shared[t] = shared[t] + shared[t + 2]
    cuda.syncthreads()
    if t < 1:
        out[cuda.blockIdx.x] = shared[0] + shared[1]


@right(1)
@cuda.jit
def zeros_not_added(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half and shared[t + half] != 0:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@right(1)
@cuda.jit
def two_to_begin_with(x, out):
    shared = cuda.shared.array(4, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if t < 4:
        shared[t] = 0
        if i < x.size:
            shared[t] = x[i]
        if i + 4 < x.size:
            shared[t] += x[i + 4]
    cuda.syncthreads()
    half = 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 7:
        out[cuda.blockIdx.x] = shared[0]


@right(1)
@cuda.jit
def pairs_by_atomics(x, out):
    shared = cuda.shared.array(8, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = 4
    while half > 0:
        if t < half:
            cuda.atomic.add(shared, t, shared[t + half])
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@right(2)
@cuda.jit
def tile_by_tile(A, B, C):
    left = cuda.shared.array((TILE, TILE), float32)
    right_ = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for tile in range((A.shape[1] + TILE - 1) // TILE):
        k0 = tile * TILE
        left[i, j] = 0
        right_[i, j] = 0
        if row < A.shape[0] and k0 + j < A.shape[1]:
            left[i, j] = A[row, k0 + j]
        if k0 + i < B.shape[0] and column < B.shape[1]:
            right_[i, j] = B[k0 + i, column]
        cuda.syncthreads()
        for k in range(TILE):
            total = total + left[i, k] * right_[k, j]
        cuda.syncthreads()
    if row < C.shape[0] and column < C.shape[1]:
        C[row, column] = total


@right(2)
@cuda.jit
def stored_transposed(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    M, K = A.shape
    N = B.shape[1]
    total = float32(0)
    start = 0
    while start < K:
        a[j, i] = A[row, start + j] if row < M and start + j < K else 0
        b[j, i] = B[start + i, column] if start + i < K and column < N else 0
        cuda.syncthreads()
        for k in range(min(TILE, K - start)):
            total += a[k, i] * b[j, k]
        cuda.syncthreads()
        start += TILE
    if row < M and column < N:
        C[row, column] = total


@right(2)
@cuda.jit
def one_shared_array(A, B, C):
    tiles = cuda.shared.array((2, TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for start in range(0, A.shape[1], TILE):
        cuda.syncthreads()
        inside = row < A.shape[0] and start + j < A.shape[1]
        tiles[0, i, j] = A[row, start + j] if inside else 0
        inside = start + i < A.shape[1] and column < B.shape[1]
        tiles[1, i, j] = B[start + i, column] if inside else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += tiles[0, i, k] * tiles[1, k, j]
    if row < A.shape[0] and column < B.shape[1]:
        C[row, column] = total


@right(2)
@cuda.jit
def zeros_not_copied(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for start in range(0, A.shape[1], TILE):
        a[i, j], b[i, j] = 0, 0
        if row < A.shape[0] and start + j < A.shape[1] and A[row, start + j] != 0:
            a[i, j] = A[row, start + j]
        if start + i < B.shape[0] and column < B.shape[1]:
            b[i, j] = B[start + i, column]
        cuda.syncthreads()
        for k in range(TILE):
            total += a[i, k] * b[k, j]
        cuda.syncthreads()
    if row < A.shape[0] and column < B.shape[1]:
        C[row, column] = total
