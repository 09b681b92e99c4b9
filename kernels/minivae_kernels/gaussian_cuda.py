"""The sampler and the KL of a Gaussian posterior on a CUDA device, in Numba.

A thread a latent for z and for the gradients, a thread an image for the KL.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="attr-defined"
from __future__ import annotations

import math

from numba import cuda, uint64

from minivae_kernels.launch import numba_kernel
from minivae_kernels.philox_cuda import normal


@numba_kernel("real[:,::1], real[:,::1], real[:,::1], real[:,::1]")
def sample(mu, logvar, noise, z):
    """z = μ + e^(ℓ/2) ε, with ε read from memory: 16 bytes a latent."""
    i, Z = cuda.grid(1), mu.shape[1]
    if i < mu.size:
        n, j = i // Z, i % Z
        half = mu.dtype.type(0.5)
        z[n, j] = mu[n, j] + math.exp(half * logvar[n, j]) * noise[n, j]


@numba_kernel("real[:,::1], real[:,::1], uint32, uint32, uint32, uint64, real[:,::1]")
def sample_drawn(mu, logvar, low, high, stream, first, z):
    """z = μ + e^(ℓ/2) ε, with ε drawn here: 12 bytes a latent."""
    i, Z = cuda.grid(1), mu.shape[1]
    if i < mu.size:
        n, j = i // Z, i % Z
        eps = normal(first + uint64(i), stream, low, high, mu.dtype.type)
        z[n, j] = mu[n, j] + math.exp(mu.dtype.type(0.5) * logvar[n, j]) * eps


@numba_kernel("real[:,::1], real[:,::1], real[::1]")
def kl_of_image(mu, logvar, kl):
    """½ Σ μ² + e^ℓ − 1 − ℓ, by one thread: neighbours read Z elements apart."""
    n = cuda.grid(1)
    if n < kl.shape[0]:
        total = kl.dtype.type(0)
        for j in range(mu.shape[1]):
            m, a = mu[n, j], logvar[n, j]
            total += m * m + (math.expm1(a) - a)
        kl[n] = kl.dtype.type(0.5) * total


@cuda.jit(device=True)
def adjoints(g, k, m, a, spread, half):
    """μ̄ and ℓ̄ of one latent, given σ ε."""
    return g + k * m, half * (g * spread + k * math.expm1(a))


@numba_kernel(
    "real[:,::1], real[::1], real[:,::1], real[:,::1], real[:,::1], "
    "real[:,::1], real[:,::1]"
)
def backward(z_bar, kl_bar, mu, logvar, noise, mu_bar, logvar_bar):
    """ε was kept, and is read."""
    i, Z = cuda.grid(1), mu.shape[1]
    if i < mu.size:
        n, j = i // Z, i % Z
        half, a = mu.dtype.type(0.5), logvar[n, j]
        spread = math.exp(half * a) * noise[n, j]
        mu_bar[n, j], logvar_bar[n, j] = adjoints(
            z_bar[n, j], kl_bar[n], mu[n, j], a, spread, half
        )


@numba_kernel(
    "real[:,::1], real[::1], real[:,::1], real[:,::1], "
    "uint32, uint32, uint32, uint64, real[:,::1], real[:,::1]"
)
def backward_drawn(
    z_bar, kl_bar, mu, logvar, low, high, stream, first, mu_bar, logvar_bar
):
    """ε is drawn again from its counter."""
    i, Z = cuda.grid(1), mu.shape[1]
    if i < mu.size:
        n, j = i // Z, i % Z
        half, a = mu.dtype.type(0.5), logvar[n, j]
        eps = normal(first + uint64(i), stream, low, high, mu.dtype.type)
        mu_bar[n, j], logvar_bar[n, j] = adjoints(
            z_bar[n, j], kl_bar[n], mu[n, j], a, math.exp(half * a) * eps, half
        )
