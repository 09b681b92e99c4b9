"""Lesson 14: typical wrong answers, each with words of the message it must get."""

from numba import cuda, float32

from lessons.kit import wrong

THREADS, TILE = 8, 4


@wrong(1, "race on shared[1]")
@cuda.jit
def no_barrier_in_the_loop(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@wrong(1, "all threads of a block must reach it")
@cuda.jit
def barrier_for_some(x, out):
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


@wrong(1, "shared memory is not zeroed")
@cuda.jit
def not_filled_up(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < x.size:
        shared[t] = x[i]
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@wrong(1, "is out of bounds")
@cuda.jit
def half_too_large(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = THREADS
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@wrong(1, "one step too few")
@cuda.jit
def stops_early(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = THREADS // 2
    while half > 1:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@wrong(1, "adds alone")
@cuda.jit
def one_thread_adds(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    if t == 0:
        total = float32(0)
        for k in range(THREADS):
            total += shared[k]
        out[cuda.blockIdx.x] = total


@wrong(1, "update one cell")
@cuda.jit
def by_atomics(x, out):
    shared = cuda.shared.array(1, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if t == 0:
        shared[0] = 0
    cuda.syncthreads()
    if i < x.size:
        cuda.atomic.add(shared, 0, x[i])
    cuda.syncthreads()
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@wrong(1, "waits for the sum of the one before")
@cuda.jit
def one_after_the_other(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    for k in range(1, THREADS):
        if t == k:
            shared[t] += shared[t - 1]
        cuda.syncthreads()
    if t == THREADS - 1:
        out[cuda.blockIdx.x] = shared[t]


@wrong(1, "7 others")
@cuda.jit
def one_thread_reads_all(x, out):
    shared = cuda.shared.array(1, float32)
    t, first = cuda.threadIdx.x, cuda.blockIdx.x * THREADS
    if t == 0:
        shared[0] = 0
        for k in range(first, min(first + THREADS, x.size)):
            shared[0] += x[k]
        out[cuda.blockIdx.x] = shared[0]


@wrong(1, "where is the sum made")
@cuda.jit
def only_kept(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    if t == 0:
        total = float32(0)
        for k in range(i, min(i + THREADS, x.size)):
            total += x[k]
        out[cuda.blockIdx.x] = total


@wrong(1, "size of shared memory when it compiles")
@cuda.jit
def as_large_as_the_block(x, out):
    shared = cuda.shared.array(cuda.blockDim.x, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@wrong(1, "was it ever written")
@cuda.jit
def first_block_only(x, out):
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
    if i == 0:
        out[0] = shared[0]


@wrong(1, "race on out[0]")
@cuda.jit
def all_write(x, out):
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
    out[cuda.blockIdx.x] = shared[0]


@wrong(2, "with tiles in shared memory")
@cuda.jit
def naive(A, B, C):
    row, column = cuda.grid(2)
    if row < A.shape[0] and column < B.shape[1]:
        total = float32(0)
        for k in range(A.shape[1]):
            total += A[row, k] * B[k, column]
        C[row, column] = total


@wrong(2, "no barrier lies between")
@cuda.jit
def one_barrier(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for start in range(0, A.shape[1], TILE):
        inside = row < A.shape[0] and start + j < A.shape[1]
        a[i, j] = A[row, start + j] if inside else 0
        inside = start + i < A.shape[1] and column < B.shape[1]
        b[i, j] = B[start + i, column] if inside else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += a[i, k] * b[k, j]
    if row < A.shape[0] and column < B.shape[1]:
        C[row, column] = total


@wrong(2, "has ended")
@cuda.jit
def leaves_before_the_barrier(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    if row >= A.shape[0] or column >= B.shape[1]:
        return
    total = float32(0)
    for start in range(0, A.shape[1], TILE):
        a[i, j] = A[row, start + j] if start + j < A.shape[1] else 0
        b[i, j] = B[start + i, column] if start + i < A.shape[1] else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += a[i, k] * b[k, j]
        cuda.syncthreads()
    C[row, column] = total


@wrong(2, "is out of bounds")
@cuda.jit
def unguarded_tiles(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for start in range(0, A.shape[1], TILE):
        a[i, j] = A[row, start + j]
        b[i, j] = B[start + i, column]
        cuda.syncthreads()
        for k in range(TILE):
            total += a[i, k] * b[k, j]
        cuda.syncthreads()
    if row < A.shape[0] and column < B.shape[1]:
        C[row, column] = total


@wrong(2, "Only whole tiles")
@cuda.jit
def whole_tiles(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for tile in range(A.shape[1] // TILE):
        start = tile * TILE
        a[i, j] = A[row, start + j] if row < A.shape[0] else 0
        b[i, j] = B[start + i, column] if column < B.shape[1] else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += a[i, k] * b[k, j]
        cuda.syncthreads()
    if row < A.shape[0] and column < B.shape[1]:
        C[row, column] = total


@wrong(2, "begun anew")
@cuda.jit
def total_in_the_loop(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    for start in range(0, A.shape[1], TILE):
        total = float32(0)
        inside = row < A.shape[0] and start + j < A.shape[1]
        a[i, j] = A[row, start + j] if inside else 0
        inside = start + i < A.shape[1] and column < B.shape[1]
        b[i, j] = B[start + i, column] if inside else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += a[i, k] * b[k, j]
        cuda.syncthreads()
        if row < A.shape[0] and column < B.shape[1]:
            C[row, column] = total


@wrong(2, "not written everywhere")
@cuda.jit
def whole_blocks_of_c(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for start in range(0, A.shape[1], TILE):
        inside = row < A.shape[0] and start + j < A.shape[1]
        a[i, j] = A[row, start + j] if inside else 0
        inside = start + i < A.shape[1] and column < B.shape[1]
        b[i, j] = B[start + i, column] if inside else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += a[i, k] * b[k, j]
        cuda.syncthreads()
    if row < C.shape[0] // TILE * TILE and column < C.shape[1] // TILE * TILE:
        C[row, column] = total


@wrong(1, "adds the upper half")
@cuda.jit
def begins_too_late(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = THREADS // 4
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@wrong(1, "That is the mean")
@cuda.jit
def divided(x, out):
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
        out[cuda.blockIdx.x] = shared[0] / THREADS


@wrong(1, "nothing was added")
@cuda.jit
def no_step(x, out):
    shared = cuda.shared.array(THREADS, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = 0
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@wrong(2, "Only the first tile of the sum")
@cuda.jit
def one_tile(A, B, C):
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    row, column = cuda.grid(2)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    a[i, j] = A[row, j] if row < A.shape[0] and j < A.shape[1] else 0
    b[i, j] = B[i, column] if i < A.shape[1] and column < B.shape[1] else 0
    cuda.syncthreads()
    total = float32(0)
    for k in range(TILE):
        total += a[i, k] * b[k, j]
    if row < A.shape[0] and column < B.shape[1]:
        C[row, column] = total
