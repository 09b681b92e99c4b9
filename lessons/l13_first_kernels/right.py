"""Lesson 13: right answers, written in other ways."""

import math

from numba import cuda

from lessons.kit import right


@right(1)
@cuda.jit
def with_while(a, x, y, out):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    step = cuda.gridDim.x * cuda.blockDim.x
    while i < out.size:
        out[i] = y[i] + x[i] * a
        i += step


@right(1)
@cuda.jit
def by_length(a, x, y, out):
    total = len(x)
    for k in range(cuda.grid(1), total, cuda.gridsize(1)):
        value = x[k]
        value *= a
        value += y[k]
        out[k] = value


@right(1)
@cuda.jit
def neighbours_together(a, x, y, out):
    threads, n = cuda.gridsize(1), x.shape[0]
    share = (n + threads - 1) // threads
    first = cuda.grid(1) * share
    for i in range(first, min(first + share, n)):
        out[i] = a * x[i] + y[i]


@right(1)
@cuda.jit
def in_two_writes(a, x, y, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = a * x[i]
        out[i] += y[i]


@right(2)
@cuda.jit
def leaves_early(mu, logvar, eps, z, kl):
    n, j = cuda.grid(2)
    if n >= mu.shape[0] or j >= mu.shape[1]:
        return
    var = math.exp(logvar[n, j])
    z[n, j] = math.sqrt(var) * eps[n, j] + mu[n, j]
    kl[n, j] = (var + mu[n, j] ** 2 - logvar[n, j] - 1) / 2


@right(2)
@cuda.jit
def by_hand(mu, logvar, eps, z, kl):
    n = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    j = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    N, Z = mu.shape
    if n < N and j < Z:
        sigma = math.exp(logvar[n, j] / 2)
        z[n, j] = mu[n, j] + eps[n, j] * sigma
        kl[n, j] = -math.log(sigma) + (sigma**2 + mu[n, j] ** 2) / 2 - 0.5


@right(2)
@cuda.jit
def with_strides(mu, logvar, eps, z, kl):
    first, column = cuda.grid(2)
    rows, columns = cuda.gridsize(2)
    for n in range(first, mu.shape[0], rows):
        for j in range(column, mu.shape[1], columns):
            half = math.exp(0.5 * logvar[n, j])
            z[n, j] = mu[n, j] + half * eps[n, j]
            kl[n, j] = 0.5 * mu[n, j] * mu[n, j] + 0.5 * (
                half * half - 1 - logvar[n, j]
            )
