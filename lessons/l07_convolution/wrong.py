"""Lesson 7: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


def _conv(x, w, stride, padding, flip=False):
    K = w.shape[-1]
    p = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    H, W = ((n - K) // stride + 1 for n in p.shape[1:])
    y = np.zeros((len(w), H, W))
    kernel = w[:, :, ::-1, ::-1] if flip else w
    for i in range(H):
        for j in range(W):
            patch = p[:, i * stride : i * stride + K, j * stride : j * stride + K]
            y[:, i, j] = (kernel * patch).sum(axis=(1, 2, 3))
    return y


@wrong(1, "turned round")
def flipped(x, w, stride, padding):
    return _conv(x, w, stride, padding, flip=True)


@wrong(1, "averaged")
def mean_of_channels(x, w, stride, padding):
    return _conv(x, w, stride, padding) / len(x)


@wrong(1, "first channel")
def one_channel(x, w, stride, padding):
    return _conv(x[:1], w[:, :1], stride, padding)


@wrong(1, "padding is not there")
def unpadded(x, w, stride, padding):
    return _conv(x, w, stride, 0)


@wrong(1, "stride does nothing")
def every_window(x, w, stride, padding):
    return _conv(x, w, 1, padding)


@wrong(1, "neighbouring windows")
def first_windows(x, w, stride, padding):
    full = _conv(x, w, 1, padding)
    rows, columns = ((n - 1) // stride + 1 for n in full.shape[1:])
    return full[:, :rows, :columns]


@wrong(1, "one side only")
def padded_once(x, w, stride, padding):
    return _conv(np.pad(x, ((0, 0), (padding, 0), (padding, 0))), w, stride, 0)


@wrong(1, "axes are exchanged")
def transposed_kernel(x, w, stride, padding):
    return _conv(x, w.transpose(0, 1, 3, 2), stride, padding)


def _back(g, w, size, stride, padding, add=True):
    K = w.shape[-1]
    p = np.zeros((w.shape[1], size[0] + 2 * padding, size[1] + 2 * padding))
    for i in range(g.shape[1]):
        for j in range(g.shape[2]):
            window = np.tensordot(g[:, i, j], w, 1)
            rows, columns = (
                slice(i * stride, i * stride + K),
                slice(j * stride, j * stride + K),
            )
            if add:
                p[:, rows, columns] += window
            else:
                p[:, rows, columns] = window
    return p


def _cropped(p, size, padding):
    return p[:, padding : padding + size[0], padding : padding + size[1]]


@wrong(2, "last one replaced")
def assigned(g, w, size, stride, padding):
    return _cropped(_back(g, w, size, stride, padding, add=False), size, padding)


@wrong(2, "turned round")
def flipped_back(g, w, size, stride, padding):
    turned = w[:, :, ::-1, ::-1]
    return _cropped(_back(g, turned, size, stride, padding), size, padding)


@wrong(2, "padding is still there")
def wrong_corner(g, w, size, stride, padding):
    return _back(g, w, size, stride, padding)[:, : size[0], : size[1]]


@wrong(2, "averaged")
def mean_over_outputs(g, w, size, stride, padding):
    return _cropped(_back(g, w / len(w), size, stride, padding), size, padding)


@wrong(2, "first output channel")
def first_output(g, w, size, stride, padding):
    return _cropped(_back(g[:1], w[:1], size, stride, padding), size, padding)


@wrong(2, "begins at i")
def unstrided(g, w, size, stride, padding):
    return _cropped(_back(g, w, size, 1, padding), size, padding)


@wrong(2, "the shape is")
def padded_result(g, w, size, stride, padding):
    return _back(g, w, size, stride, padding)
