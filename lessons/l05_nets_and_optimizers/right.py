"""Lesson 5: right answers, written in other ways."""

import math

import numpy as np
from scipy.special import log_expit

from lessons.kit import right


@right(1)
def divided_by_the_root(normals):
    out, n = normals.shape
    return np.float32(normals) / np.sqrt(np.float32(n / 2))


@right(1)
def row_by_row(normals):
    scale = math.sqrt(2.0) / math.sqrt(len(normals[0]))
    return np.array([[scale * z for z in row] for row in normals])


@right(1)
def by_measured_size(normals):
    size = np.sqrt((normals**2).sum(axis=1, keepdims=True))
    return normals / size * math.sqrt(2)


@right(2)
def with_logaddexp(logits, target):
    return np.logaddexp(0, np.where(target > 0, -logits, logits)).sum(axis=-1)


@right(2)
def by_scipy(logits, target):
    each = target * log_expit(logits) + (1 - target) * log_expit(-logits)
    return -np.float32(each).sum(axis=1)


@right(2)
def pixel_by_pixel(logits, target):
    out = []
    for row, pixels in zip(logits, target):
        total = 0.0
        for x, y in zip(row, pixels):
            s = -x if y == 1 else x
            total += max(s, 0) + math.log1p(math.exp(-abs(s)))
        out.append(total)
    return out


@right(3)
def step_size_first(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = m + (1 - beta1) * (g - m)
    v = v + (1 - beta2) * (g * g - v)
    root = np.sqrt(1 - beta2**t)
    return w - lr * root / (1 - beta1**t) * m / (np.sqrt(v) + eps * root), m, v


@right(3)
def element_by_element(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    w, m, v = w.copy(), m.copy(), v.copy()
    for i in range(len(w)):
        m[i] = beta1 * m[i] + (1 - beta1) * g[i]
        v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
        size = math.sqrt(v[i] / (1 - beta2**t)) + eps
        w[i] -= lr * m[i] / (1 - beta1**t) / size
    return [w, m, v]


@right(3)
def in_float32(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    w, g, m, v = (np.float32(a) for a in (w, g, m, v))
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.square(g)
    return w - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v
