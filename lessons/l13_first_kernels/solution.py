"""Lesson 13: answers of the course.

A kernel is the work of one thread. It returns nothing: it writes into arrays that it
was given, each cell by one thread only.
"""

import math

from numba import cuda


@cuda.jit
def scale_add(a, x, y, out):
    """Exercise 13.1. out[i] = a x[i] + y[i] for every i.

    x, y and out are of one size, on a grid of one axis that may have more threads than
    there are elements, or fewer. The threads share the work evenly.
    """
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = a * x[i] + y[i]


@cuda.jit
def sample_and_kl(mu, logvar, eps, z, kl):
    """Exercise 13.2. The draw and the KL of every latent of every image, in one pass.

    All arrays are (N, Z), on a grid of two axes that has at least N threads along x and
    Z along y: z = mu + σ eps, and kl = ½ (mu² + σ² − 1 − logvar), σ² = exp(logvar).
    """
    n, j = cuda.grid(2)
    if n < mu.shape[0] and j < mu.shape[1]:
        m, v = mu[n, j], logvar[n, j]
        sigma = math.exp(0.5 * v)
        z[n, j] = m + sigma * eps[n, j]
        kl[n, j] = 0.5 * (m * m + sigma * sigma - 1 - v)
