"""Lesson 4: right answers, written in other ways."""

import numpy as np

from lessons.kit import right


@right(1)
def repeated(g, x, axis):
    return np.repeat(np.expand_dims(np.float32(g), axis), x.shape[axis], axis=axis)


@right(1)
def times_ones(g, x, axis):
    shape = list(x.shape)
    shape[axis] = 1
    return np.ones_like(x) * np.reshape(g, shape)


@right(1)
def row_by_row(g, x, axis):
    out = np.empty(x.shape)
    rows = np.moveaxis(out, axis, 0)
    for k in range(x.shape[axis]):
        rows[k] = g
    return out


@right(2)
def axis_by_axis(g, shape):
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis, length in enumerate(shape):
        if length == 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


@right(2)
def summed_then_reshaped(g, shape):
    padded = (1,) * (g.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, n in enumerate(padded) if n == 1)
    return np.float32(g).sum(axis=axes).reshape(shape)


@right(2)
def cell_by_cell(g, shape):
    out = np.zeros(shape)
    where = np.broadcast_to(np.arange(out.size).reshape(shape), g.shape)
    for i in np.ndindex(g.shape):
        out.flat[where[i]] += g[i]
    return out


@right(3)
def by_einsum(g, X, W):
    return [np.einsum("nk,dk->nd", g, W), np.einsum("nd,nk->dk", X, g)]


@right(3)
def transposed_afterwards(g, X, W):
    g, X, W = (np.float32(a) for a in (g, X, W))
    return (W @ g.T).T, (g.T @ X).T


@right(3)
def image_by_image(g, X, W):
    X_, W_ = np.zeros(X.shape), np.zeros(W.shape)
    for n in range(len(X)):
        X_[n] = W @ g[n]
        W_ += np.outer(X[n], g[n])
    return X_, W_
