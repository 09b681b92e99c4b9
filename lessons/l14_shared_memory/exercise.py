"""Lesson 14: your answers.

Edit this file, then: python -m lessons check 14

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
    raise NotImplementedError("exercise 14.1")


@cuda.jit
def matmul_tiled(A, B, C):
    """Exercise 14.2. C = A B, for A (M, K) and B (K, N) of any sizes.

    row, column = cuda.grid(2) is the cell of C that a thread makes; the grid covers C,
    in blocks of TILE × TILE threads. A block reads A and B in tiles that it keeps in
    shared memory, so that it reads no element of A or B twice.
    """
    raise NotImplementedError("exercise 14.2")
