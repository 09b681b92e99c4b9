"""The sampler and the KL of a Gaussian posterior: one pass forward, one backward.

    forward    z = μ + e^(ℓ/2) ε        kl_n = ½ Σ_j μ² + e^ℓ − 1 − ℓ
    backward   μ̄ = z̄ + k̄ μ             ℓ̄ = ½ (z̄ σ ε + k̄ (e^ℓ − 1)),  σ = e^(ℓ/2)

The noise ε is given as an array, `noise=`, or by its counter, `key=`: then a rung draws
it where it is used. The backward pass needs σ ε, and the ladder has three ways to come
by it: keep the noise; read it back from the sample, since σ ε = z − μ; draw it again.
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
from minivae_kernels.launch import (
    CudaC,
    Kernel,
    NumbaCuda,
    ceil_div,
    contiguous_on,
    empty,
    filling,
    unaligned,
)
from minivae_kernels.philox import not_in_fours, sine_table
from minivae_kernels.threads import by_rows, seconds

NoiseKey = tuple[int, int, int]
"""Seed, stream and first element of the noise, as `minivae_kernels.philox` counts."""


def forward_cost(mu: Any, logvar: Any, *, noise: Any = None, **_: Any) -> Cost:
    """Read μ, ℓ and perhaps ε, write z; about 12 operations and an exp."""
    arrays = 3 if noise is None else 4
    return Cost(bytes=arrays * mu.nbytes, flops=30 * mu.size)


def backward_cost(
    z_bar: Any,
    kl_bar: Any,
    mu: Any,
    logvar: Any,
    *,
    noise: Any = None,
    z: Any = None,
    **_: Any,
) -> Cost:
    """Read z̄, μ, ℓ and perhaps ε or z, write μ̄, ℓ̄."""
    arrays = 5 if noise is None and z is None else 6
    return Cost(bytes=arrays * mu.nbytes, flops=40 * mu.size)


forward = Family(
    "gaussian.forward", "z = μ + e^(ℓ/2) ε,  kl = ½ Σ μ² + e^ℓ − 1 − ℓ", forward_cost
)
backward = Family(
    "gaussian.backward", "μ̄ = z̄ + k̄ μ,  ℓ̄ = ½ (z̄ σ ε + k̄ (e^ℓ − 1))", backward_cost
)


def drawn(noise: Any, key: NoiseKey | None, like: Any) -> Any:
    """Return the noise, drawn from its counter if it is not given."""
    if noise is not None:
        return noise
    if key is None:
        raise TypeError("the noise is given as noise= or key=")
    return family("philox.normals")(*key, like.size, like=like).reshape(like.shape)


# Forward


@forward.reference
def forward_numpy(
    mu: Any, logvar: Any, *, noise: Any = None, key: NoiseKey | None = None
) -> tuple[Any, Any]:
    """Return z (N, Z) and kl (N,), by array expressions."""
    xp, noise = library(mu, logvar, noise), drawn(noise, key, mu)
    z = mu + xp.exp(0.5 * logvar) * noise
    return z, 0.5 * (mu**2 + (xp.expm1(logvar) - logvar)).sum(axis=1)


@forward.rung(
    1, runs_on="cpu", needs="noise", idea="one pass, with polynomials in float32"
)
def forward_numba(mu: Any, logvar: Any, *, noise: Any, **_: Any) -> tuple[Any, Any]:
    """A loop over latents: the exponential is computed once for σ, once for e^ℓ − 1."""
    check_shapes(mu=mu, logvar=logvar, noise=noise)
    mu, logvar, noise = contiguous(mu, logvar, noise)
    z, kl = np.empty_like(mu), np.empty(len(mu), mu.dtype)
    loop = _forward_f32 if mu.dtype == np.float32 else _forward_f64
    by_rows(loop, len(mu), seconds(4 * mu.nbytes), mu, logvar, noise, z, kl)
    return z, kl


@forward.rung(2, runs_on="cpu", needs="key", idea="the noise need not be there before")
def forward_drawn_first(
    mu: Any, logvar: Any, *, key: NoiseKey, **_: Any
) -> tuple[Any, Any]:
    """Draw the noise, then do the same."""
    return forward_numba(mu, logvar, noise=drawn(None, key, mu))


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
    z_bar: Any,
    kl_bar: Any,
    mu: Any,
    logvar: Any,
    *,
    noise: Any = None,
    z: Any = None,
    key: NoiseKey | None = None,
) -> tuple[Any, Any]:
    """Return μ̄ and ℓ̄ (N, Z); `kl_bar` (N,) is the adjoint of each image's KL."""
    xp, k = library(z_bar, kl_bar, mu, logvar), kl_bar[:, None]
    if noise is None and key is None and z is not None:
        spread = z - mu
    else:
        spread = xp.exp(0.5 * logvar) * drawn(noise, key, mu)
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
    return _backward(_stored_loop, z_bar, kl_bar, mu, logvar, drawn(None, key, mu))


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


# On a CUDA device

THREADS = 256
SAMPLE, SAMPLE_DRAWN, KL, BACKWARD, BACKWARD_DRAWN = (
    NumbaCuda("gaussian_cuda", name, THREADS)
    for name in ("sample", "sample_drawn", "kl_of_image", "backward", "backward_drawn")
)
STORED = CudaC("gaussian", "forward_stored", THREADS)
DRAWN = CudaC("gaussian", "forward_drawn", THREADS)
STORED_BACK = CudaC("gaussian", "backward_stored", THREADS)
SAMPLE_BACK = CudaC("gaussian", "backward_sample", THREADS)
DRAWN_BACK = CudaC("gaussian", "backward_drawn", THREADS)
FAST = CudaC("gaussian", "forward_drawn", THREADS, FAST=1)
FAST_BACK = CudaC("gaussian", "backward_drawn", THREADS, FAST=1)
FLOAT32 = (np.dtype(np.float32),)


def forward_moves(mu: Any, logvar: Any, **options: Any) -> Cost:
    """The floor, and a KL an image."""
    floor = forward_cost(mu, logvar, **options)
    return Cost(floor.bytes, floor.flops, {"kl": len(mu) * mu.itemsize})


def forward_twice(mu: Any, logvar: Any, **options: Any) -> Cost:
    """The same, and μ and ℓ once more for the KL."""
    floor = forward_cost(mu, logvar, **options)
    beside = {"kl": len(mu) * mu.itemsize, "mu and logvar again": 2 * mu.nbytes}
    beside |= sine_table(mu.size, mu) if options.get("key") else {}
    return Cost(floor.bytes, floor.flops, beside)


def backward_moves(*arrays: Any, **options: Any) -> Cost:
    """The floor, and the adjoint of the KL, read once an image."""
    floor, kl_bar = backward_cost(*arrays, **options), arrays[1]
    return Cost(floor.bytes, floor.flops, {"kl_bar": kl_bar.nbytes})


def backward_each(*arrays: Any, **options: Any) -> Cost:
    """The floor, and the adjoint of the KL, read for every latent."""
    floor, mu = backward_cost(*arrays, **options), arrays[2]
    beside = {"kl_bar, once a latent": mu.nbytes}
    beside |= sine_table(mu.size, mu) if options.get("key") else {}
    return Cost(floor.bytes, floor.flops, beside)


def without_quads(*arrays: Any, key: NoiseKey | None = None, **options: Any) -> Any:
    """Return why a kernel that takes four latents at once cannot run."""
    if key is not None and (reason := not_in_fours(*key, count=0)):
        return reason
    return unaligned(*arrays, **options)


@forward.rung(
    3,
    runs_on="cuda",
    needs="noise",
    idea="a thread a latent for z, then a thread an image for the KL",
    kernels=(SAMPLE, KL),
    cost=forward_twice,
)
def forward_two_kernels(
    mu: Any, logvar: Any, *, noise: Any, **_: Any
) -> tuple[Any, Any]:
    """Two launches: μ and ℓ are read twice."""
    check_shapes(mu=mu, logvar=logvar, noise=noise)
    mu, logvar, noise = contiguous_on(mu, logvar, noise)
    z = empty(mu.shape, mu)
    SAMPLE[ceil_div(mu.size, THREADS), THREADS](mu, logvar, noise, z)
    return z, _kl(mu, logvar)


@forward.rung(
    4,
    runs_on="cuda",
    needs="key",
    idea="each thread draws its own normal: no noise in memory",
    kernels=(SAMPLE_DRAWN, KL),
    cost=forward_twice,
)
def forward_drawn(mu: Any, logvar: Any, *, key: NoiseKey, **_: Any) -> tuple[Any, Any]:
    """Of four words that Philox makes at once, each thread uses one or two."""
    check_shapes(mu=mu, logvar=logvar)
    mu, logvar = contiguous_on(mu, logvar)
    z = empty(mu.shape, mu)
    SAMPLE_DRAWN[ceil_div(mu.size, THREADS), THREADS](mu, logvar, *_split(key), z)
    return z, _kl(mu, logvar)


@forward.rung(
    5,
    runs_on="cuda",
    needs="noise",
    idea="the KL in the same pass, four latents at once, several images a warp",
    kernels=(STORED,),
    cost=forward_moves,
    unless=without_quads,
)
def forward_vectors(mu: Any, logvar: Any, *, noise: Any, **_: Any) -> tuple[Any, Any]:
    """128-bit loads; an image's lanes add up its KL by shuffles."""
    check_shapes(mu=mu, logvar=logvar, noise=noise)
    return _forward_rows(STORED, mu, logvar, *contiguous_on(noise))


@forward.rung(
    6,
    runs_on="cuda",
    needs="key",
    idea="a Philox block for four latents, no word wasted: 12 bytes a latent, not 16",
    kernels=(DRAWN,),
    cost=forward_moves,
    unless=without_quads,
)
def forward_drawn_vectors(
    mu: Any, logvar: Any, *, key: NoiseKey, **_: Any
) -> tuple[Any, Any]:
    """Random numbers for the time that the memory takes anyway."""
    return _forward_rows(DRAWN, mu, logvar, *_split(key))


@forward.rung(
    7,
    runs_on="cuda",
    needs="key",
    idea="the hardware's own exp, log, sine, with a guard against log u > 0",
    kernels=(FAST,),
    cost=forward_moves,
    unless=without_quads,
    dtypes=FLOAT32,
)
def forward_fast(mu: Any, logvar: Any, *, key: NoiseKey, **_: Any) -> tuple[Any, Any]:
    """Fewer instructions, fewer digits of the noise."""
    return _forward_rows(FAST, mu, logvar, *_split(key))


@backward.rung(
    4,
    runs_on="cuda",
    needs="noise",
    idea="a thread a latent",
    kernels=(BACKWARD,),
    cost=backward_each,
)
def backward_each_latent(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, noise: Any, **_: Any
) -> tuple[Any, Any]:
    """Both gradients in one pass."""
    return _backward_each(BACKWARD, z_bar, kl_bar, mu, logvar, noise=noise)


@backward.rung(
    5,
    runs_on="cuda",
    needs="key",
    idea="each thread draws its normal again: the forward pass keeps nothing",
    kernels=(BACKWARD_DRAWN,),
    cost=backward_each,
)
def backward_each_drawn(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, key: NoiseKey, **_: Any
) -> tuple[Any, Any]:
    """Memory is saved, not only time."""
    return _backward_each(BACKWARD_DRAWN, z_bar, kl_bar, mu, logvar, key=key)


@backward.rung(
    6,
    runs_on="cuda",
    needs="noise",
    idea="four latents at once, and an image's adjoint handed from lane to lane",
    kernels=(STORED_BACK,),
    cost=backward_moves,
    unless=without_quads,
)
def backward_vectors(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, noise: Any, **_: Any
) -> tuple[Any, Any]:
    """128-bit loads of all arrays, the kept noise too: 24 bytes a latent."""
    return _backward_rows(STORED_BACK, z_bar, kl_bar, mu, logvar, noise=noise)


@backward.rung(
    7,
    runs_on="cuda",
    needs="z",
    idea="read the sample back: σ ε = z − μ, the same bytes and no exp",
    kernels=(SAMPLE_BACK,),
    cost=backward_moves,
    unless=without_quads,
)
def backward_sample_vectors(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, z: Any, **_: Any
) -> tuple[Any, Any]:
    """With the rounding error of z, as on the CPU."""
    return _backward_rows(SAMPLE_BACK, z_bar, kl_bar, mu, logvar, z=z)


@backward.rung(
    8,
    runs_on="cuda",
    needs="key",
    idea="four normals drawn again at once: 20 bytes a latent, not 24",
    kernels=(DRAWN_BACK,),
    cost=backward_moves,
    unless=without_quads,
)
def backward_drawn_vectors(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, key: NoiseKey, **_: Any
) -> tuple[Any, Any]:
    """Nothing kept, and the fewest bytes."""
    return _backward_rows(DRAWN_BACK, z_bar, kl_bar, mu, logvar, key=key)


@backward.rung(
    9,
    runs_on="cuda",
    needs="key",
    idea="the hardware's own exp, log, sine: the forward pass's noise, bit for bit",
    kernels=(FAST_BACK,),
    cost=backward_moves,
    unless=without_quads,
    dtypes=FLOAT32,
)
def backward_fast(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, key: NoiseKey, **_: Any
) -> tuple[Any, Any]:
    """Goes with `forward_fast`, whose noise it draws again."""
    return _backward_rows(FAST_BACK, z_bar, kl_bar, mu, logvar, key=key)


def _split(key: NoiseKey) -> tuple[int, int, int, int]:
    """Return a key as kernels take it: seed low and high, stream, first element."""
    seed, stream, first = key
    return seed & 0xFFFFFFFF, seed >> 32, stream, first


def _rows(shape: tuple[int, int]) -> tuple[int, tuple[int, int, int]]:
    """Return a grid for images of `shape` = (N, Z), and N, quads, lanes an image."""
    N, quads = shape[0], shape[1] // 4
    lanes = min(32, 1 << max(0, quads - 1).bit_length())
    return filling(N * lanes, THREADS), (N, quads, lanes)


def _kl(mu: Any, logvar: Any) -> Any:
    kl = empty(len(mu), mu)
    KL[ceil_div(len(mu), THREADS), THREADS](mu, logvar, kl)
    return kl


def _forward_rows(kernel: Kernel, mu: Any, logvar: Any, *noise: Any) -> tuple[Any, Any]:
    check_shapes(mu=mu, logvar=logvar)
    mu, logvar = contiguous_on(mu, logvar)
    z, kl = empty(mu.shape, mu), empty(len(mu), mu)
    blocks, sizes = _rows(mu.shape)
    kernel[blocks, THREADS](mu, logvar, *noise, z, kl, *sizes)
    return z, kl


def _arrays_back(
    z_bar: Any,
    kl_bar: Any,
    mu: Any,
    logvar: Any,
    noise: Any = None,
    z: Any = None,
    key: NoiseKey | None = None,
) -> tuple[tuple[Any, ...], tuple[Any, Any]]:
    """Return the arguments of a backward kernel in order, and the arrays to write."""
    check_shapes(z_bar=z_bar, mu=mu, logvar=logvar)
    if kl_bar.shape != mu.shape[:1]:
        raise ValueError(f"kl_bar {kl_bar.shape} must have one value an image of mu")
    arrays = contiguous_on(z_bar, kl_bar, mu, logvar)
    if key is not None:
        arrays = (*arrays, *_split(key))
    else:
        third = z if noise is None else noise
        check_shapes(mu=mu, noise_or_z=third)
        arrays = (*arrays, *contiguous_on(third))
    return arrays, (empty(mu.shape, mu), empty(mu.shape, mu))


def _backward_each(kernel: Kernel, *arrays: Any, **noise: Any) -> tuple[Any, Any]:
    given, outputs = _arrays_back(*arrays, **noise)
    blocks = ceil_div(outputs[0].size, THREADS)
    kernel[blocks, THREADS](*given, *outputs)
    return outputs


def _backward_rows(kernel: Kernel, *arrays: Any, **noise: Any) -> tuple[Any, Any]:
    given, outputs = _arrays_back(*arrays, **noise)
    blocks, sizes = _rows(outputs[0].shape)
    kernel[blocks, THREADS](*given, *outputs, *sizes)
    return outputs
