"""Lesson 1: right answers, written in other ways."""

import math

import numpy as np

from lessons.kit import right


@right(1)
def listed(g, x, y):
    return [y * g, x * g]


@right(1)
def in_float32(g, x, y):
    g, x, y = np.float32([g, x, y])
    return g * y, g * x


@right(1)
def by_a_loop(g, x, y):
    sent = []
    for other in (y, x):
        sent.append(np.array(g * other))
    return tuple(sent)


@right(2)
def factored(g, y):
    return g * (1 + y) * (1 - y)


@right(2)
def from_the_input(g, y):
    return g / math.cosh(math.atanh(y)) ** 2


@right(2)
def in_float32_too(g, y):
    g, y = np.float32(g), np.float32(y)
    return g - g * y * y


@right(3)
def step_by_step(w, x, b, t):
    y = math.tanh(w * x + b)
    d = y - t
    d_ = math.sinh(d) / math.cosh(d)
    s_ = d_ - d_ * y * y
    return x * s_, w * s_, s_


@right(3)
def an_array(w, x, b, t):
    y = np.tanh(np.float32(w * x + b))
    return list(np.tanh(y - t) * (1 - y**2) * np.array([x, w, 1.0]))


@right(3)
def with_cosh(w, x, b, t):
    s = w * x + b
    b_ = math.tanh(math.tanh(s) - t) / math.cosh(s) ** 2
    return b_ * x, b_ * w, b_
