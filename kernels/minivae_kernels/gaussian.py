"""The sampler and the KL of a Gaussian posterior: one pass forward, one backward.

    forward    z = μ + e^(ℓ/2) ε        kl_n = ½ Σ_j μ² + e^ℓ − 1 − ℓ
    backward   μ̄ = z̄ + k̄ μ             ℓ̄ = ½ (z̄ σ ε + k̄ (e^ℓ − 1)),  σ = e^(ℓ/2)

The backward pass needs σ ε. The ladder has three ways to come by it: keep the noise;
read it back from the sample, since σ ε = z − μ; draw the noise again from its counter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivae_kernels import family
from minivae_kernels.cpu import (
    check_shapes,
    contiguous,
    exp_f32,
    expm1_f32,
    f32,
    kernel,
)
from minivae_kernels.family import Cost, Family, library
from minivae_kernels.threads import by_rows, seconds

NoiseKey = tuple[int, int, int]
"""Seed, stream and first element of the noise, as `minivae_kernels.philox` counts."""


def forward_cost(mu: Any, logvar: Any, noise: Any) -> Cost:
    """Read μ, ℓ, ε, write z; about 12 operations and an exp."""
    return Cost(bytes=4 * mu.nbytes, flops=30 * mu.size)


def backward_cost(z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, **_: Any) -> Cost:
    """Read z̄, μ, ℓ and the noise in some form, write μ̄, ℓ̄."""
    return Cost(bytes=6 * mu.nbytes, flops=40 * mu.size)


forward = Family(
    "gaussian.forward", "z = μ + e^(ℓ/2) ε,  kl = ½ Σ μ² + e^ℓ − 1 − ℓ", forward_cost
)
backward = Family(
    "gaussian.backward", "μ̄ = z̄ + k̄ μ,  ℓ̄ = ½ (z̄ σ ε + k̄ (e^ℓ − 1))", backward_cost
)


# Forward


@forward.reference
def forward_numpy(mu: Any, logvar: Any, noise: Any) -> tuple[Any, Any]:
    """Return z (N, Z) and kl (N,), by array expressions."""
    xp = library(mu, logvar, noise)
    z = mu + xp.exp(0.5 * logvar) * noise
    return z, 0.5 * (mu**2 + (xp.expm1(logvar) - logvar)).sum(axis=1)


@forward.rung(1, runs_on="cpu", idea="one pass, with polynomials in float32")
def forward_numba(mu: Any, logvar: Any, noise: Any) -> tuple[Any, Any]:
    """A loop over latents: the exponential is computed once for σ, once for e^ℓ − 1."""
    check_shapes(mu=mu, logvar=logvar, noise=noise)
    mu, logvar, noise = contiguous(mu, logvar, noise)
    z, kl = np.empty_like(mu), np.empty(len(mu), mu.dtype)
    loop = _forward_f32 if mu.dtype == np.float32 else _forward_f64
    by_rows(loop, len(mu), seconds(4 * mu.nbytes), mu, logvar, noise, z, kl)
    return z, kl


@kernel
def _forward_f32(start, stop, mu, logvar, noise, z, kl):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        total = f32(0.0)
        for j in range(mu.shape[1]):
            m, a = mu[n, j], logvar[n, j]
            z[n, j] = m + exp_f32(f32(0.5) * a) * noise[n, j]
            total += m * m + (expm1_f32(a) - a)
        kl[n] = f32(0.5) * total


@kernel
def _forward_f64(start, stop, mu, logvar, noise, z, kl):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        total = 0.0
        for j in range(mu.shape[1]):
            m, a = mu[n, j], logvar[n, j]
            z[n, j] = m + math.exp(0.5 * a) * noise[n, j]
            total += m * m + (math.expm1(a) - a)
        kl[n] = 0.5 * total


# Backward


@backward.reference
def backward_numpy(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, noise: Any, **_: Any
) -> tuple[Any, Any]:
    """Return μ̄ and ℓ̄ (N, Z); `kl_bar` (N,) is the adjoint of each image's KL."""
    xp, k = library(z_bar, kl_bar, mu, logvar), kl_bar[:, None]
    spread = xp.exp(0.5 * logvar) * noise
    return z_bar + k * mu, 0.5 * (z_bar * spread + k * xp.expm1(logvar))


@backward.rung(1, runs_on="cpu", needs="noise", idea="one pass; the noise was kept")
def backward_stored(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, noise: Any, **_: Any
) -> tuple[Any, Any]:
    """Read ε: one more array to keep and to move."""
    return _backward(_stored_loop, z_bar, kl_bar, mu, logvar, noise)


@backward.rung(2, runs_on="cpu", needs="z", idea="read the sample back: σ ε = z − μ")
def backward_from_sample(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, z: Any, **_: Any
) -> tuple[Any, Any]:
    """Read z, which the decoder keeps anyway, and compute no exp for σ.

    Its price: z − μ has the rounding error of z, epsilon max(|μ|, |z|), however small
    σ is.
    """
    return _backward(_sample_loop, z_bar, kl_bar, mu, logvar, z)


@backward.rung(3, runs_on="cpu", needs="key", idea="draw the noise again: keep nothing")
def backward_redrawn(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, key: NoiseKey, **_: Any
) -> tuple[Any, Any]:
    """Compute ε once more from its counter instead of keeping it."""
    drawn = family("philox.normals")(*key, mu.size).reshape(mu.shape)
    noise = drawn.astype(mu.dtype, copy=False)
    return _backward(_stored_loop, z_bar, kl_bar, mu, logvar, noise)


def _backward(
    loop: Any, z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, third: Any
) -> tuple[Any, Any]:
    check_shapes(z_bar=z_bar, mu=mu, logvar=logvar, noise_or_z=third)
    check_shapes(kl_bar=kl_bar, one_an_image=np.empty(len(mu)))
    arrays = contiguous(z_bar, kl_bar, mu, logvar, third)
    mu_bar, logvar_bar = np.empty_like(arrays[0]), np.empty_like(arrays[0])
    single = mu.dtype == np.float32
    by_rows(loop[single], len(mu), seconds(6 * mu.nbytes), *arrays, mu_bar, logvar_bar)
    return mu_bar, logvar_bar


@kernel
def _stored_f32(start, stop, z_bar, kl_bar, mu, logvar, noise, mu_bar, logvar_bar):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        k = kl_bar[n]
        for j in range(mu.shape[1]):
            g, a = z_bar[n, j], logvar[n, j]
            mu_bar[n, j] = g + k * mu[n, j]
            spread = exp_f32(f32(0.5) * a) * noise[n, j]
            logvar_bar[n, j] = f32(0.5) * (g * spread + k * expm1_f32(a))


@kernel
def _stored_f64(start, stop, z_bar, kl_bar, mu, logvar, noise, mu_bar, logvar_bar):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        k = kl_bar[n]
        for j in range(mu.shape[1]):
            g, a = z_bar[n, j], logvar[n, j]
            mu_bar[n, j] = g + k * mu[n, j]
            spread = math.exp(0.5 * a) * noise[n, j]
            logvar_bar[n, j] = 0.5 * (g * spread + k * math.expm1(a))


@kernel
def _sample_f32(start, stop, z_bar, kl_bar, mu, logvar, z, mu_bar, logvar_bar):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        k = kl_bar[n]
        for j in range(mu.shape[1]):
            g, m = z_bar[n, j], mu[n, j]
            mu_bar[n, j] = g + k * m
            slope = k * expm1_f32(logvar[n, j])
            logvar_bar[n, j] = f32(0.5) * (g * (z[n, j] - m) + slope)


@kernel
def _sample_f64(start, stop, z_bar, kl_bar, mu, logvar, z, mu_bar, logvar_bar):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        k = kl_bar[n]
        for j in range(mu.shape[1]):
            g, m = z_bar[n, j], mu[n, j]
            mu_bar[n, j] = g + k * m
            slope = k * math.expm1(logvar[n, j])
            logvar_bar[n, j] = 0.5 * (g * (z[n, j] - m) + slope)


_stored_loop = (_stored_f64, _stored_f32)  # by whether the arrays are float32
_sample_loop = (_sample_f64, _sample_f32)
