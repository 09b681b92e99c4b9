"""Objectives and the sampler, fused: value and rules in closed form.

Every loss is a sum over event or latent dimensions, and with `reduction="mean"` a mean
over the batch: a scalar in nats per image. `reduction="none"` gives one value an image.
`logvar` (ℓ in the formulas) is log σ². Each op names its `unfused` composition of
simpler ops, which it must equal in value and in gradient.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import minivae_kernels as kernels

from minivae.backend import Array, xp_of
from minivae.errors import UserError
from minivae.ops import activations, arithmetic, reduce
from minivae.tensor import Gradient, Tensor, op

Reduction = Literal["mean", "none"]
LOG_2PI = math.log(2 * math.pi)


def _reduced(values: Array, reduction: Reduction) -> Array:
    """Sum over all axes but the batch's, then take the mean if that is wanted."""
    per_image = values.sum(axis=tuple(range(1, values.ndim)))
    return per_image.mean() if reduction == "mean" else per_image


def _spread(g: Gradient, like: Array, reduction: Reduction) -> Gradient:
    """Return the upstream of one element of `like`, given that of the reduced loss."""
    if reduction == "mean":
        return g / like.shape[0]
    return g if isinstance(g, float) else g.reshape((-1,) + (1,) * (like.ndim - 1))


def _reduced_tensor(values: Tensor, reduction: Reduction) -> Tensor:
    per_image = reduce.sum(values, axis=tuple(range(1, values.ndim)))
    return reduce.mean(per_image) if reduction == "mean" else per_image


def _check_same_shape(name: str, first: Array, second: Array) -> None:
    if first.shape != second.shape:
        raise UserError(f"{name} of two shapes: {first.shape} and {second.shape}")


# Squared error


def squared_error_unfused(
    recon: Tensor, target: Array, *, reduction: Reduction = "mean"
) -> Tensor:
    return _reduced_tensor((recon - target) ** 2, reduction)


@op("L = Σ (r − x)²", constant=("target",), unfused=squared_error_unfused)
def squared_error(
    recon: Array, target: Array, *, reduction: Reduction = "mean"
) -> Array:
    """Squared error Σ (recon − target)²: no ½ and no division by the pixel count."""
    _check_same_shape("squared_error", recon, target)
    return _reduced((recon - target) ** 2, reduction)


@squared_error.vjp("recon", "r̄ = 2 L̄ (r − x)")
def squared_error_recon(
    g: Gradient,
    out: Array,
    recon: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
) -> Array:
    return 2 * _spread(g, recon, reduction) * (recon - target)


# Binary cross-entropy from logits: one computation, two readings


def bce_unfused(
    logits: Tensor, target: Array, *, reduction: Reduction = "mean"
) -> Tensor:
    return _reduced_tensor(activations.softplus(logits) - logits * target, reduction)


class BceSaves(NamedTuple):
    """∂loss/∂logits for an upstream of 1, the division by N included."""

    gradient: Array


def _bce(logits: Array, target: Array, reduction: Reduction) -> tuple[Array, BceSaves]:
    """Value and gradient come from one pass of one kernel, the gradient scaled."""
    scale = 1 / len(logits) if reduction == "mean" and len(logits) else 1.0
    rows = (len(logits), -1) if logits.size else (0, 0)
    family = kernels.family("bernoulli")
    values, gradient = family(logits.reshape(rows), target.reshape(rows), scale)
    out = values.mean() if reduction == "mean" else values
    return out, BceSaves(gradient.reshape(logits.shape))


def _bce_rule(g: Gradient, saved: BceSaves, reduction: Reduction) -> Array:
    if reduction == "none":
        return _spread(g, saved.gradient, reduction) * saved.gradient
    # Both the seed and a recon term inside recon + beta * kl arrive as exactly 1.0
    return saved.gradient if isinstance(g, float) and g == 1.0 else g * saved.gradient


@op(
    "L = Σ log(1 + eˡ) − l x",
    saves=("gradient",),
    constant=("target",),
    unfused=bce_unfused,
)
def soft_bce(logits: Array, target: Array, *, reduction: Reduction = "mean") -> Array:
    """Binary cross-entropy of grey targets in [0, 1], from logits l.

    Σ log(1 + exp l) − l x. For grey targets this is no log-likelihood of anything: its
    minimum is the entropy of the pixels, not 0. Loaiza-Ganem & Cunningham 2019.
    """
    _check_same_shape("soft_bce", logits, target)
    return _bce(logits, target, reduction)[0]


@soft_bce.with_saves
def soft_bce_with_saves(
    logits: Array, target: Array, *, reduction: Reduction = "mean"
) -> tuple[Array, BceSaves]:
    _check_same_shape("soft_bce", logits, target)
    return _bce(logits, target, reduction)


@soft_bce.vjp("logits", "l̄ = L̄ (σ(l) − x)")
def soft_bce_logits(
    g: Gradient,
    out: Array,
    saved: BceSaves,
    logits: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
) -> Array:
    return _bce_rule(g, saved, reduction)


@op(
    "L = Σ log(1 + eˡ) − l x,  x ∈ {0, 1}",
    saves=("gradient",),
    constant=("target",),
    unfused=bce_unfused,
)
def bernoulli_nll(
    logits: Array, target: Array, *, reduction: Reduction = "mean"
) -> Array:
    """Negative log-likelihood −log p(x) of 0/1 data under Bernoulli(σ(logits)).

    The same number as `soft_bce`, but a likelihood: raises `UserError` for a target
    that is not 0 or 1.
    """
    _check_binary(logits, target)
    return _bce(logits, target, reduction)[0]


@bernoulli_nll.with_saves
def bernoulli_nll_with_saves(
    logits: Array, target: Array, *, reduction: Reduction = "mean"
) -> tuple[Array, BceSaves]:
    _check_binary(logits, target)
    return _bce(logits, target, reduction)


@bernoulli_nll.vjp("logits", "l̄ = L̄ (σ(l) − x)")
def bernoulli_nll_logits(
    g: Gradient,
    out: Array,
    saved: BceSaves,
    logits: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
) -> Array:
    return _bce_rule(g, saved, reduction)


def _check_binary(logits: Array, target: Array) -> None:
    _check_same_shape("bernoulli_nll", logits, target)
    if not bool((target * target == target).all()):
        raise UserError(
            "bernoulli_nll is the likelihood of 0/1 data, and this target is grey: "
            "binarise it (:threshold, :fixed or :dynamic after the data set's name), "
            "or use soft_bce"
        )


# Gaussian likelihood


def gaussian_nll_unfused(
    mu: Tensor, logvar: Tensor, target: Array, *, reduction: Reduction = "mean"
) -> Tensor:
    scaled = (mu - target) ** 2 * arithmetic.exp(-logvar)
    return _reduced_tensor(0.5 * (LOG_2PI + logvar + scaled), reduction)


@op(
    "L = ½ Σ log 2π + ℓ + (x − μ)² e⁻ˡ",
    constant=("target",),
    unfused=gaussian_nll_unfused,
)
def gaussian_nll(
    mu: Array, logvar: Array, target: Array, *, reduction: Reduction = "mean"
) -> Array:
    """−log N(target; mu, exp(logvar)), with the normaliser; logvar may broadcast."""
    _check_same_shape("gaussian_nll", mu, target)
    scaled = (target - mu) ** 2 * xp_of(mu, logvar).exp(-logvar)
    return _reduced(0.5 * (LOG_2PI + logvar + scaled), reduction)


@gaussian_nll.vjp("mu", "μ̄ = L̄ (μ − x) e⁻ˡ")
def gaussian_nll_mu(
    g: Gradient,
    out: Array,
    mu: Array,
    logvar: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
) -> Array:
    return _spread(g, mu, reduction) * (mu - target) * xp_of(mu).exp(-logvar)


@gaussian_nll.vjp("logvar", "ℓ̄ = ½ L̄ (1 − (x − μ)² e⁻ˡ)")
def gaussian_nll_logvar(
    g: Gradient,
    out: Array,
    mu: Array,
    logvar: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
) -> Array:
    scaled = (target - mu) ** 2 * xp_of(mu).exp(-logvar)
    return 0.5 * _spread(g, mu, reduction) * (1 - scaled)


# The sampler and the KL of the latents


def reparameterize_unfused(mu: Tensor, logvar: Tensor, noise: Array) -> Tensor:
    return mu + arithmetic.exp(0.5 * logvar) * noise


@op("z = μ + e^(ℓ/2) ε", constant=("noise",), unfused=reparameterize_unfused)
def reparameterize(mu: Array, logvar: Array, noise: Array) -> Array:
    """Sample z ~ N(mu, exp(logvar)) as a function of standard normal noise ε.

    Source: Kingma & Welling 2014, section 2.4. ε is an input and has no gradient.
    """
    return mu + xp_of(mu, logvar, noise).exp(0.5 * logvar) * noise


@reparameterize.vjp("mu", "μ̄ = z̄")
def reparameterize_mu(
    g: Array, z: Array, mu: Array, logvar: Array, noise: Array
) -> Array:
    return g


@reparameterize.vjp("logvar", "ℓ̄ = ½ z̄ ε e^(ℓ/2)")
def reparameterize_logvar(
    g: Array, z: Array, mu: Array, logvar: Array, noise: Array
) -> Array:
    return 0.5 * g * noise * xp_of(logvar).exp(0.5 * logvar)


def gaussian_kl_unfused(
    mu: Tensor, logvar: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    return _reduced_tensor(
        0.5 * (mu**2 + arithmetic.exp(logvar) - 1 - logvar), reduction
    )


@op("L = ½ Σ μ² + e^ℓ − 1 − ℓ", unfused=gaussian_kl_unfused)
def gaussian_kl(mu: Array, logvar: Array, *, reduction: Reduction = "mean") -> Array:
    """KL(N(mu, exp(logvar)) ‖ N(0, 1)), summed over latents.

    Source: Kingma & Welling 2014, appendix B. exp(ℓ) − 1 is one expm1, since near the
    prior ℓ → 0 the two cancel.
    """
    _check_same_shape("gaussian_kl", mu, logvar)
    values = 0.5 * (mu**2 + (xp_of(mu, logvar).expm1(logvar) - logvar))
    return _reduced(values, reduction)


@gaussian_kl.vjp("mu", "μ̄ = L̄ μ")
def gaussian_kl_mu(
    g: Gradient, out: Array, mu: Array, logvar: Array, *, reduction: Reduction = "mean"
) -> Array:
    return _spread(g, mu, reduction) * mu


@gaussian_kl.vjp("logvar", "ℓ̄ = ½ L̄ (e^ℓ − 1)")
def gaussian_kl_logvar(
    g: Gradient, out: Array, mu: Array, logvar: Array, *, reduction: Reduction = "mean"
) -> Array:
    return 0.5 * _spread(g, logvar, reduction) * xp_of(logvar).expm1(logvar)


def reparameterize_kl_unfused(
    mu: Tensor, logvar: Tensor, noise: Array, *, reduction: Reduction = "mean"
) -> tuple[Tensor, Tensor]:
    return (
        reparameterize(mu, logvar, noise),
        gaussian_kl(mu, logvar, reduction=reduction),
    )


class SampleAndKl(NamedTuple):
    """The two outputs of the fused sampler, or their adjoints."""

    z: Gradient
    kl: Gradient


@op(
    "z = μ + e^(ℓ/2) ε,  kl = ½ Σ μ² + e^ℓ − 1 − ℓ",
    outputs=("z", "kl"),
    constant=("noise",),
    unfused=reparameterize_kl_unfused,
)
def reparameterize_kl(
    mu: Array, logvar: Array, noise: Array, *, reduction: Reduction = "mean"
) -> SampleAndKl:
    """Sample z and compute KL(q ‖ N(0, 1)) in one pass: everything latent, (N, Z)."""
    if not mu.shape == logvar.shape == noise.shape or mu.ndim != 2:
        raise UserError(
            f"reparameterize_kl: mu {mu.shape}, logvar {logvar.shape} and noise "
            f"{noise.shape} must be one (N, Z)"
        )
    z, kl = kernels.family("gaussian.forward")(mu, logvar, noise=noise)
    return SampleAndKl(z, kl.mean() if reduction == "mean" else kl)


@reparameterize_kl.vjp_all(
    mu="μ̄ = z̄ + k̄l μ", logvar="ℓ̄ = ½ z̄ ε e^(ℓ/2) + ½ k̄l (e^ℓ − 1)"
)
def reparameterize_kl_inputs(
    g: SampleAndKl,
    out: SampleAndKl,
    mu: Array,
    logvar: Array,
    noise: Array,
    *,
    needs: tuple[bool, bool, bool],
    reduction: Reduction = "mean",
) -> tuple[Array, Array, None]:
    xp = xp_of(mu)
    z_bar = xp.zeros_like(mu) if isinstance(g.z, float) else g.z  # nobody used z
    kl_bar = xp.asarray(_spread(g.kl, mu, reduction), dtype=mu.dtype).reshape(-1)
    kl_bar = xp.ascontiguousarray(xp.broadcast_to(kl_bar, (len(mu),)))
    family = kernels.family("gaussian.backward")
    return *family(z_bar, kl_bar, mu, logvar, noise=noise), None


# The bound of importance weights


def logmeanexp_unfused(w: Tensor) -> Tensor:
    return reduce.logsumexp(w, axis=1) - math.log(w.shape[1])


class LogMeanExpSaves(NamedTuple):
    """The normalised weights of each row, e^w / Σ e^w."""

    weights: Array


@op("L = log 1/S Σₛ e^w", saves=("weights",), unfused=logmeanexp_unfused)
def logmeanexp(w: Array) -> Array:
    """The log of the mean of exp w over S draws: w (N, S) -> (N,).

    Source: Burda, Grosse & Salakhutdinov 2016, eq. 8, and 13 for the gradient.
    """
    return logmeanexp_with_saves(w)[0]


@logmeanexp.with_saves
def logmeanexp_with_saves(w: Array) -> tuple[Array, LogMeanExpSaves]:
    if w.ndim != 2 or w.shape[1] == 0:
        raise UserError(f"logmeanexp of (N, S) with S at least 1, not {w.shape}")
    values, weights = kernels.family("logmeanexp")(w)
    return values, LogMeanExpSaves(weights)


@logmeanexp.vjp("w", "w̄ = L̄ e^w / Σ e^w")
def logmeanexp_w(g: Array, L: Array, saved: LogMeanExpSaves, w: Array) -> Array:
    return g[:, None] * saved.weights
