"""A convolution is SciPy's, and the transposed one is its adjoint.

    ⟨conv(x), y⟩ = ⟨x, conv_T(y)⟩,   ∂⟨conv(x), y⟩/∂x = conv_T(y),   and the other way

for every size of x that the stride leaves open. Shapes: P = ⌊(H + 2p − K)/s⌋ + 1 down,
H = (P − 1) s − 2p + K + output padding up. Source: Dumoulin & Visin 2016, chapter 4.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import signal

from minivae import ops
from minivae.backend import Array
from minivae.gradcheck import Claim
from minivae.random import Noise, Stream
from minivae.tensor import Parameter

CASES = [(1, 0, 0), (1, 2, 0), (2, 1, 0), (2, 1, 1), (3, 0, 2)]
"""Stride, padding, and the rows and columns that no window reaches."""
N, C, O, K, P = 2, 3, 2, 3, 4  # noqa: E741 (output channels)


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield values, adjointness and both gradients for each stride and padding."""
    for stride, padding, rest in CASES:
        noise = Noise(stride + 10 * padding, Stream.CHECK)
        size = (P - 1) * stride - 2 * padding + K + rest
        x = Parameter(noise.normal((N, C, size, size), np.float64))
        y = Parameter(noise.normal((N, O, P, P), np.float64))
        w = noise.normal((O, C, K, K), np.float64)
        exact = correlation(x.numpy(), w, stride, padding)
        exact_up = spread(y.numpy(), w, stride, padding, rest)
        window = {"stride": stride, "padding": padding}
        down = ops.conv2d(x, w, np.zeros(O), **window)
        up = ops.conv_transpose2d(y, w, np.zeros(C), **window, output_padding=rest)
        down.backward(y.numpy())
        up.backward(x.numpy())
        name = f"convolution/stride {stride}, padding {padding}, rest {rest}"
        for what, claim, known, found, formula in (
            ("conv", "is SciPy's correlation, every stride-th of it", exact,
             down.data, "y = Σ w x"),
            ("conv_T", "is SciPy's convolution of what is spread by the stride",
             exact_up, up.data, "x = Σ w y"),
            ("gradient of conv", "is conv_T", exact_up, x.grad, "x̄ = conv_T(ȳ)"),
            ("gradient of conv_T", "is conv", exact, y.grad, "ȳ = conv(x̄)"),
        ):  # fmt: skip
            assert found is not None
            yield Claim.compare(
                f"{name}: {what}",
                claim,
                float(np.abs(known).max()),
                float(np.abs(found).max()),
                _apart(found, known),
                1e-12,
                formula,
            )
        yield Claim.equal(
            f"{name}: adjoint",
            "⟨x, conv_T(y)⟩ is ⟨SciPy's conv(x), y⟩",
            float((exact * y.numpy()).sum()),
            float((x.numpy() * up.numpy()).sum()),
            1e-12,
            "⟨conv(x), y⟩ = ⟨x, conv_T(y)⟩",
        )


def correlation(x: Array, w: Array, stride: int, padding: int) -> Array:
    """Return conv(x) by SciPy: x (N, C, H, W), w (O, C, K, K) -> (N, O, P, Q)."""
    around = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
    padded = np.pad(x, around)
    maps = [
        [signal.correlate(image, kernel, "valid")[0] for kernel in w]
        for image in padded
    ]
    return np.array(maps)[:, :, ::stride, ::stride]


def spread(y: Array, w: Array, stride: int, padding: int, rest: int) -> Array:
    """Return conv_T(y) by SciPy: y (N, O, P, P), w (O, C, K, K) -> (N, C, H, H)."""
    side = (P - 1) * stride + 1
    apart = np.zeros((N, O, side, side))
    apart[:, :, ::stride, ::stride] = y
    maps = [
        [
            np.sum([signal.convolve(a, k) for a, k in zip(image, ks, strict=True)], 0)
            for ks in w.swapaxes(0, 1)
        ]
        for image in apart
    ]
    whole = np.pad(np.array(maps), [(0, 0), (0, 0), (0, rest), (0, rest)])
    inside = slice(padding, whole.shape[-1] - padding)
    return whole[:, :, inside, inside]


def _apart(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max()) if a.shape == b.shape else np.inf
