"""Lesson 13: typical wrong answers, each with words of the message it must get."""

import math

from numba import cuda

from lessons.kit import wrong


@wrong(1, "is out of bounds")
@cuda.jit
def unguarded(a, x, y, out):
    i = cuda.grid(1)
    out[i] = a * x[i] + y[i]


@wrong(1, "never written")
@cuda.jit
def one_element_a_thread(a, x, y, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = a * x[i] + y[i]


@wrong(1, "nothing orders blocks")
@cuda.jit
def thread_of_its_block(a, x, y, out):
    i = cuda.threadIdx.x
    while i < x.size:
        out[i] = a * x[i] + y[i]
        i += cuda.blockDim.x


@wrong(1, "race on out[0]")
@cuda.jit
def every_thread_does_all(a, x, y, out):
    for i in range(x.size):
        out[i] = a * x[i] + y[i]


@wrong(1, "One thread writes")
@cuda.jit
def the_first_does_all(a, x, y, out):
    if cuda.grid(1) == 0:
        for i in range(x.size):
            out[i] = a * x[i] + y[i]


@wrong(1, "a multiplies y too")
@cuda.jit
def distributed(a, x, y, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = a * (x[i] + y[i])


@wrong(1, "one cell at a time")
@cuda.jit
def whole_arrays(a, x, y, out):
    if cuda.grid(1) == 0:
        out[:] = a * x[0] + y[0]


@wrong(2, "is out of bounds")
@cuda.jit
def no_guard(mu, logvar, eps, z, kl):
    n, j = cuda.grid(2)
    sigma = math.exp(0.5 * logvar[n, j])
    z[n, j] = mu[n, j] + sigma * eps[n, j]
    kl[n, j] = 0.5 * (mu[n, j] ** 2 + sigma**2 - 1 - logvar[n, j])


@wrong(2, "not written everywhere")
@cuda.jit
def axes_exchanged(mu, logvar, eps, z, kl):
    j, n = cuda.grid(2)
    if n < mu.shape[0] and j < mu.shape[1]:
        sigma = math.exp(0.5 * logvar[n, j])
        z[n, j] = mu[n, j] + sigma * eps[n, j]
        kl[n, j] = 0.5 * (mu[n, j] ** 2 + sigma**2 - 1 - logvar[n, j])


@wrong(2, "exp(logvar) for σ. It is")
@cuda.jit
def wide(mu, logvar, eps, z, kl):
    n, j = cuda.grid(2)
    if n < mu.shape[0] and j < mu.shape[1]:
        sigma = math.exp(logvar[n, j])
        z[n, j] = mu[n, j] + sigma * eps[n, j]
        kl[n, j] = 0.5 * (mu[n, j] ** 2 + sigma**2 - 1 - 2 * logvar[n, j])


@wrong(2, "the KL is right")
@cuda.jit
def wide_draw(mu, logvar, eps, z, kl):
    n, j = cuda.grid(2)
    if n < mu.shape[0] and j < mu.shape[1]:
        var = math.exp(logvar[n, j])
        z[n, j] = mu[n, j] + var * eps[n, j]
        kl[n, j] = 0.5 * (mu[n, j] ** 2 + var - 1 - logvar[n, j])


@wrong(2, "½ is missing")
@cuda.jit
def twice(mu, logvar, eps, z, kl):
    n, j = cuda.grid(2)
    if n < mu.shape[0] and j < mu.shape[1]:
        var = math.exp(logvar[n, j])
        z[n, j] = mu[n, j] + math.sqrt(var) * eps[n, j]
        kl[n, j] = mu[n, j] ** 2 + var - 1 - logvar[n, j]


@wrong(2, "wrong sign")
@cuda.jit
def upside_down(mu, logvar, eps, z, kl):
    n, j = cuda.grid(2)
    if n < mu.shape[0] and j < mu.shape[1]:
        var = math.exp(logvar[n, j])
        z[n, j] = mu[n, j] + math.sqrt(var) * eps[n, j]
        kl[n, j] = 0.5 * (1 + logvar[n, j] - mu[n, j] ** 2 - var)


@wrong(1, "x is not scaled")
@cuda.jit
def sum_only(a, x, y, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = x[i] + y[i]


@wrong(1, "y is not added")
@cuda.jit
def product_only(a, x, y, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = a * x[i]


@wrong(1, "y is scaled in place")
@cuda.jit
def the_other_scaled(a, x, y, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = x[i] + a * y[i]


@wrong(2, "logvar is missing")
@cuda.jit
def without_logvar(mu, logvar, eps, z, kl):
    n, j = cuda.grid(2)
    if n < mu.shape[0] and j < mu.shape[1]:
        var = math.exp(logvar[n, j])
        z[n, j] = mu[n, j] + math.sqrt(var) * eps[n, j]
        kl[n, j] = 0.5 * (mu[n, j] ** 2 + var - 1)
