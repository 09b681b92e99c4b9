"""Lesson 7: right answers, written in other ways."""

import numpy as np
from scipy import signal

from lessons.kit import right


@right(1)
def window_by_window(x, w, stride, padding):
    O, C, K, _ = w.shape
    p = np.zeros((C, x.shape[1] + 2 * padding, x.shape[2] + 2 * padding), np.float32)
    p[:, padding : padding + x.shape[1], padding : padding + x.shape[2]] = x
    H, W = ((n - K) // stride + 1 for n in p.shape[1:])
    y = np.empty((O, H, W), np.float32)
    for o in range(O):
        for i in range(H):
            for j in range(W):
                i0, j0 = i * stride, j * stride
                y[o, i, j] = np.vdot(w[o], p[:, i0 : i0 + K, j0 : j0 + K])
    return y


@right(1)
def kernel_cell_by_cell(x, w, stride, padding):
    p = np.pad(x, [(0, 0), (padding,) * 2, (padding,) * 2])
    K = w.shape[-1]
    H, W = ((n - K) // stride + 1 for n in p.shape[1:])
    y = 0
    for a in range(K):
        for b in range(K):
            part = p[:, a : a + H * stride : stride, b : b + W * stride : stride]
            y = y + np.tensordot(w[:, :, a, b], part[:, :H, :W], 1)
    return y


@right(1)
def as_a_matrix(x, w, stride, padding):
    O, C, K, _ = w.shape
    p = np.pad(x, [(0, 0), (padding,) * 2, (padding,) * 2])
    H, W = ((n - K) // stride + 1 for n in p.shape[1:])
    columns = [
        p[:, i * stride : i * stride + K, j * stride : j * stride + K].ravel()
        for i in range(H)
        for j in range(W)
    ]
    return (w.reshape(O, -1) @ np.array(columns).T).reshape(O, H, W)


@right(2)
def spread_then_convolved(g, w, size, stride, padding):
    O, C, K, _ = w.shape
    rows, columns = size[0] + 2 * padding - K + 1, size[1] + 2 * padding - K + 1
    wide = np.zeros((O, rows, columns))
    wide[:, ::stride, ::stride][:, : g.shape[1], : g.shape[2]] = g
    p = np.stack(
        [
            sum(signal.convolve2d(wide[o], w[o, c], "full") for o in range(O))
            for c in range(C)
        ]
    )
    return p[:, padding : padding + size[0], padding : padding + size[1]]


@right(2)
def cell_by_cell(g, w, size, stride, padding):
    O, C, K, _ = w.shape
    x_ = np.zeros((C, *size), np.float32)
    for o, i, j in np.ndindex(g.shape):
        for a in range(K):
            for b in range(K):
                row, column = i * stride + a - padding, j * stride + b - padding
                if 0 <= row < size[0] and 0 <= column < size[1]:
                    x_[:, row, column] += g[o, i, j] * w[o, :, a, b]
    return x_


@right(2)
def gathered(g, w, size, stride, padding):
    O, C, K, _ = w.shape
    p = np.zeros((C, size[0] + 2 * padding, size[1] + 2 * padding))
    H, W = g.shape[1:]
    for a in range(K):
        for b in range(K):
            sent = np.einsum("ohw,oc->chw", g, w[:, :, a, b])
            p[:, a : a + H * stride : stride, b : b + W * stride : stride][
                :, :H, :W
            ] += sent
    return p[:, padding : padding + size[0], padding : padding + size[1]]
