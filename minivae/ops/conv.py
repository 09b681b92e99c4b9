"""Convolution and its transpose, each the adjoint of the other over one kernel family.

Maps are (N, C, H, W). The weights have PyTorch's shapes: (O, C, Kh, Kw) for `conv2d`,
(in, out, Kh, Kw) for `conv_transpose2d`. In both, the first axis belongs to the smaller
map, so that one relation y = w ⋆ x serves them, read from x to y or from y to x.
Sources: Dumoulin & Visin 2016, chapters 2 and 4; Goodfellow et al. 2016, section 9.5.
"""

from __future__ import annotations

import minivae_kernels as kernels

from minivae.backend import Array
from minivae.errors import UserError
from minivae.tensor import op


@op("y = w ⋆ x + b")
def conv2d(
    x: Array, weight: Array, bias: Array, *, stride: int = 1, padding: int = 0
) -> Array:
    """Slide each kernel over the image: y_o = b_o + Σ_c w_oc ⋆ x_c.

    x (N, C, H, W), weight (O, C, Kh, Kw), bias (O,) -> y (N, O, P, Q) with
    P = ⌊(H + 2 padding − Kh) / stride⌋ + 1. Raises `UserError` if shapes do not fit,
    the kernel is larger than the padded image, or stride or padding is no such number.
    """
    _check(x, weight, bias, stride, padding, channels=1)
    for axis, size, kernel in zip("hw", x.shape[2:], weight.shape[2:], strict=True):
        if kernel > size + 2 * padding:
            raise UserError(
                f"conv2d: the kernel is {kernel} along {axis}, the image {size} and "
                f"{2 * padding} of padding: it needs {kernel - size - 2 * padding} more"
            )
    family = kernels.family("conv.forward")
    return family(x, weight, stride=stride, padding=padding, bias=bias)


@conv2d.vjp("x", "x̄ = w ⋆ᵀ ȳ")
def conv2d_x(
    g: Array,
    y: Array,
    x: Array,
    weight: Array,
    bias: Array,
    *,
    stride: int = 1,
    padding: int = 0,
) -> Array:
    size = x.shape[2:]
    family = kernels.family("conv.adjoint")
    return family(g, weight, stride=stride, padding=padding, size=size)


@conv2d.vjp("weight", "w̄ = ȳ ⋆ x")
def conv2d_weight(
    g: Array,
    y: Array,
    x: Array,
    weight: Array,
    bias: Array,
    *,
    stride: int = 1,
    padding: int = 0,
) -> Array:
    kernel = weight.shape[2:]
    family = kernels.family("conv.weight")
    return family(x, g, stride=stride, padding=padding, kernel=kernel)


@conv2d.vjp("bias", "b̄ = Σₙₚ ȳₙₚ")
def conv2d_bias(g: Array, *_: Array, **__: int) -> Array:
    return _sum_over_pixels(g)


@op("x = w ⋆ᵀ y + b")
def conv_transpose2d(
    y: Array,
    weight: Array,
    bias: Array,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
) -> Array:
    """The adjoint of `conv2d` as a layer: each pixel writes its kernel into the image.

    y (N, in, P, Q), weight (in, out, Kh, Kw), bias (out,) -> x (N, out, H, W) with
    H = (P − 1) stride − 2 padding + Kh + output_padding. Of the `stride` image sizes
    that `conv2d` would map to P, output_padding chooses one. Raises `UserError` if the
    channels differ, output_padding is not below the stride, or nothing is left of x.
    """
    _check(y, weight, bias, stride, padding, channels=0)
    if not 0 <= output_padding < stride:
        raise UserError(
            f"conv_transpose2d: output_padding must be in [0, stride), here "
            f"[0, {stride}), not {output_padding}"
        )
    grown = ((p - 1) * stride - 2 * padding + output_padding for p in y.shape[2:])
    size = tuple(g + k for g, k in zip(grown, weight.shape[2:], strict=True))
    if min(size) < 1:
        raise UserError(
            f"conv_transpose2d: a map of {y.shape[2:]} with a kernel of "
            f"{weight.shape[2:]} and padding {padding} leaves an image of {size}"
        )
    family = kernels.family("conv.adjoint")
    return family(y, weight, stride=stride, padding=padding, size=size, bias=bias)


@conv_transpose2d.vjp("y", "ȳ = w ⋆ x̄")
def conv_transpose2d_y(
    g: Array,
    x: Array,
    y: Array,
    weight: Array,
    bias: Array,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
) -> Array:
    return kernels.family("conv.forward")(g, weight, stride=stride, padding=padding)


@conv_transpose2d.vjp("weight", "w̄ = y ⋆ x̄")
def conv_transpose2d_weight(
    g: Array,
    x: Array,
    y: Array,
    weight: Array,
    bias: Array,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
) -> Array:
    kernel = weight.shape[2:]
    family = kernels.family("conv.weight")
    return family(g, y, stride=stride, padding=padding, kernel=kernel)


@conv_transpose2d.vjp("bias", "b̄ = Σₙₚ x̄ₙₚ")
def conv_transpose2d_bias(g: Array, *_: Array, **__: int) -> Array:
    return _sum_over_pixels(g)


def _sum_over_pixels(g: Array) -> Array:
    rows = g.transpose(0, 2, 3, 1).reshape(-1, g.shape[1])
    return kernels.family("colsum")(rows)


def _check(
    x: Array, weight: Array, bias: Array, stride: int, padding: int, channels: int
) -> None:
    """Refuse what does not fit; `channels` is the weight's axis that belongs to x."""
    if x.ndim != 4 or weight.ndim != 4:
        raise UserError(
            f"a convolution takes maps (N, C, H, W), got {x.shape}, and a weight of "
            f"four axes, got {weight.shape}"
        )
    if x.shape[1] != weight.shape[channels]:
        raise UserError(
            f"the image has {x.shape[1]} channels, the weight {weight.shape} takes "
            f"{weight.shape[channels]}"
        )
    if bias.shape != (weight.shape[1 - channels],):
        raise UserError(
            f"the bias is {bias.shape}, the weight {weight.shape} needs "
            f"({weight.shape[1 - channels]},)"
        )
    whole = isinstance(stride, int) and isinstance(padding, int)
    if not whole or stride < 1 or padding < 0:
        raise UserError(
            f"stride must be at least 1 and padding at least 0, whole numbers, not "
            f"{stride}, {padding}"
        )
    if 0 in weight.shape or 0 in x.shape[2:]:
        raise UserError(
            f"nothing to convolve: a weight {weight.shape} and images of {x.shape[2:]}"
        )
