"""Lesson 7: SciPy's correlation, and ⟨g, conv(x)⟩ = ⟨rule(g), x⟩."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import signal

from lessons.kit import Judge, Mistake, exercise

Array = Any

SHAPES = [  # C, O, H, W, K, stride, padding
    (2, 3, 6, 7, 3, 1, 0),
    (2, 3, 6, 7, 3, 1, 1),
    (3, 2, 8, 6, 4, 2, 1),
    (1, 1, 7, 7, 3, 2, 0),
    (2, 2, 7, 8, 3, 2, 1),
    (2, 2, 5, 5, 1, 1, 0),
    (3, 3, 9, 8, 3, 3, 2),
]


def by_scipy(x: Array, w: Array, stride: int, padding: int) -> Array:
    """Correlate each pair of channels, add over the input's, take every stride-th."""
    p = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    full = [
        sum(signal.correlate2d(p[c], w[o, c], "valid") for c in range(len(x)))
        for o in range(len(w))
    ]
    return np.stack(full)[:, ::stride, ::stride]


@exercise(1)
def conv2d(judge: Judge) -> None:
    """All channels, strides and paddings, against SciPy."""
    cases = [
        (judge.normal(C, H, W), judge.normal(O, C, K, K), stride, padding)
        for C, O, H, W, K, stride, padding in SHAPES
    ]

    def channel_by_channel(x: Array, w: Array, s: int, p: int) -> Array:
        parts = [by_scipy(x[c : c + 1], w[:, c : c + 1], s, p) for c in range(len(x))]
        return np.mean(parts, axis=0)

    def unstrided(x: Array, w: Array, s: int, p: int) -> Array:
        return by_scipy(x, w, 1, p)

    def neighbouring(x: Array, w: Array, s: int, p: int) -> Array:
        full = by_scipy(x, w, 1, p)
        i, j = (np.arange((n - 1) // s + 1) for n in full.shape[1:])
        return full[:, i[:, None], j]

    judge.match(
        cases,
        by_scipy,
        [
            Mistake(
                "The kernel is turned round: w[a, b] meets the pixel at −a, −b. That "
                "is a convolution in mathematics; in a network the layer of that name "
                "is a correlation, and w[a, b] meets the pixel at +a, +b.",
                lambda x, w, s, p: by_scipy(x, w[:, :, ::-1, ::-1], s, p),
            ),
            Mistake(
                "The input's channels are averaged. They are added up.",
                channel_by_channel,
            ),
            Mistake(
                "Only the first channel of the input is used. Add over all of them.",
                lambda x, w, s, p: by_scipy(x[:1], w[:, :1], s, p),
            ),
            Mistake(
                "The padding is not there.", lambda x, w, s, p: by_scipy(x, w, s, 0)
            ),
            Mistake(
                "The stride does nothing: windows begin `stride` pixels apart.",
                unstrided,
            ),
            Mistake(
                "As many outputs as the stride leaves, but of neighbouring windows: "
                "output i begins at pixel i · stride.",
                neighbouring,
            ),
            Mistake(
                "Padding is on one side only, of each axis. It goes on both.",
                lambda x, w, s, p: by_scipy(
                    np.pad(x, ((0, 0), (p, 0), (p, 0))), w, s, 0
                ),
            ),
            Mistake(
                "The kernel's two axes are exchanged: a goes down, b to the right.",
                lambda x, w, s, p: by_scipy(x, w.swapaxes(2, 3), s, p),
            ),
        ],
    )


@exercise(2)
def conv_x_rule(judge: Judge) -> None:
    """The convolution's matrix, transposed: each of its columns by a unit image."""
    cases = []
    for C, O, H, W, K, stride, padding in SHAPES:
        w = judge.normal(O, C, K, K)
        out = by_scipy(np.zeros((C, H, W)), w, stride, padding)
        cases.append((judge.normal(*out.shape), w, (H, W), stride, padding))

    def exact(g: Array, w: Array, size: tuple[int, int], s: int, p: int) -> Array:
        units = np.eye(w.shape[1] * size[0] * size[1])
        images = units.reshape(-1, w.shape[1], *size)
        sums = [float((g * by_scipy(image, w, s, p)).sum()) for image in images]
        return np.reshape(sums, images.shape[1:])

    def scattered(
        g: Array, w: Array, size: tuple[int, int], s: int, p: int, add: bool
    ) -> Array:
        K = w.shape[-1]
        large = np.zeros((w.shape[1], size[0] + 2 * p, size[1] + 2 * p))
        for i, j in np.ndindex(g.shape[1:]):
            window = np.einsum("o,ocab->cab", g[:, i, j], w)
            place = np.s_[:, i * s : i * s + K, j * s : j * s + K]
            large[place] = window + (large[place] if add else 0)
        return large[:, p : p + size[0], p : p + size[1]]

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "Where windows overlap, the last one replaced the others. A pixel is "
                "used by several windows: their contributions are added.",
                lambda *case: scattered(*case, add=False),
            ),
            Mistake(
                "The kernel is turned round. The pixel that w[a, b] met gets g · "
                "w[a, b]: write down one window, and send each product back to where "
                "it came from.",
                lambda g, w, *rest: exact(g, w[:, :, ::-1, ::-1], *rest),
            ),
            Mistake(
                "The padding is still there, or it was taken off at the wrong place: "
                "the first row of x is row `padding` of the padded image.",
                _not_cropped,
            ),
            Mistake(
                "The outputs' channels are averaged. Each sends a contribution: they "
                "are added up.",
                lambda g, w, *rest: exact(g, w, *rest) / len(w),
            ),
            Mistake(
                "Only the first output channel sends something back.",
                lambda g, w, *rest: exact(g[:1], w[:1], *rest),
            ),
            Mistake(
                "The window of output i begins at pixel i · stride; here it begins "
                "at i.",
                lambda g, w, size, s, p: scattered(g, w, size, 1, p, add=True),
            ),
        ],
    )


def _not_cropped(g: Array, w: Array, size: tuple[int, int], s: int, p: int) -> Array:
    K, (H, W) = w.shape[-1], size
    large = np.zeros((w.shape[1], H + 2 * p, W + 2 * p))
    for i, j in np.ndindex(g.shape[1:]):
        window = np.einsum("o,ocab->cab", g[:, i, j], w)
        large[:, i * s : i * s + K, j * s : j * s + K] += window
    return large[:, :H, :W]
