"""Lesson 4: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


@wrong(1, "handed on g as it is")
def as_it_is(g, x, axis):
    return g


@wrong(1, "rule of a mean")
def as_a_mean(g, x, axis):
    n = x.shape[axis]
    return np.repeat(np.expand_dims(g, axis), n, axis) / n


@wrong(1, "multiplied by the number")
def times_the_count(g, x, axis):
    n = x.shape[axis]
    return np.repeat(np.expand_dims(g, axis), n, axis) * n


@wrong(1, "multiplied by x")
def times_x(g, x, axis):
    return np.expand_dims(g, axis) * x


@wrong(1, "these are ones")
def ones(g, x, axis):
    return np.ones(x.shape)


@wrong(1, "summed up once more")
def summed_again(g, x, axis):
    return np.zeros_like(x) + np.sum(g)


@wrong(1, "not filled up")
def axis_of_one(g, x, axis):
    return np.expand_dims(g, axis)


@wrong(2, "those of length 1 were not")
def new_axes_only(g, shape):
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    return g


@wrong(2, "added up and lost")
def ones_lost(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i in range(len(shape)) if shape[i] == 1))


@wrong(2, "You averaged")
def averaged(g, shape):
    g = g.mean(axis=tuple(range(g.ndim - len(shape))))
    return g.mean(
        axis=tuple(i for i in range(len(shape)) if shape[i] == 1), keepdims=True
    )


@wrong(2, "one of the copies")
def first_copy(g, shape):
    while g.ndim > len(shape):
        g = g[0]
    for i, n in enumerate(shape):
        if n == 1:
            g = np.take(g, [0], axis=i)
    return g


@wrong(2, "shape of the output")
def nothing_done(g, shape):
    return g


@wrong(2, "broadcasts from the end")
def from_the_front(g, shape):
    while g.ndim > len(shape):
        g = g.sum(axis=-1)
    for i, n in enumerate(shape):
        if n == 1:
            g = g.sum(axis=i, keepdims=True)
    return g


@wrong(3, "W is not transposed")
def w_as_it_is(g, X, W):
    return g @ W, X.T @ g


@wrong(3, "X is not transposed")
def x_as_it_is(g, X, W):
    return g @ W.T, X @ g


@wrong(3, "Neither W nor X")
def nothing_transposed(g, X, W):
    return g @ W, X @ g


@wrong(3, "matrices do not commute")
def other_order(g, X, W):
    return W.T @ g, g @ X.T


@wrong(3, "element by element")
def cell_by_cell(g, X, W):
    return g * W, g * X


@wrong(3, "Both adjoints are transposed")
def both_the_other_way(g, X, W):
    return W @ g.T, g.T @ X


@wrong(3, "X̄ is transposed")
def x_the_other_way(g, X, W):
    return W @ g.T, X.T @ g


@wrong(3, "W̄ is transposed")
def w_the_other_way(g, X, W):
    return g @ W.T, g.T @ X


@wrong(3, "X̄ first")
def exchanged(g, X, W):
    return X.T @ g, g @ W.T


@wrong(3, "cannot reshape")
def in_the_shape_of_x(g, X, W):
    return g @ W.T, (X.T @ g).reshape(X.shape)


@wrong(3, "averaged over the rows")
def averaged_rows(g, X, W):
    return g @ W.T, X.T @ g / X.shape[0]
