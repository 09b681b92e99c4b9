"""Lesson 3: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


def _numeric(f, x, h=1e-5):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        a, b = x.copy(), x.copy()
        a[i] += h
        b[i] -= h
        out[i] = (f(a) - f(b)) / (2 * h)
    return out


@wrong(1, "(f(x + h) − f(x)) / h")
def forward_difference(f, x, h):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        moved = x.copy()
        moved[i] += h
        out[i] = (f(moved) - f(x)) / h
    return out


@wrong(1, "(f(x) − f(x − h)) / h")
def backward_difference(f, x, h):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        moved = x.copy()
        moved[i] -= h
        out[i] = (f(x) - f(moved)) / h
    return out


@wrong(1, "divided by h")
def over_h(f, x, h):
    return 2 * _numeric(f, x, h)


@wrong(1, "not divided by the distance")
def not_divided(f, x, h):
    return _numeric(f, x, h) * 2 * h


@wrong(1, "moved at once")
def all_at_once(f, x, h):
    slope = (f(x + h) - f(x - h)) / (2 * h)
    return np.full(x.shape, slope)


@wrong(1, "not put back")
def left_where_it_was(f, x, h):
    out, x = np.zeros_like(x), x.copy()
    for i in np.ndindex(x.shape):
        x[i] += h
        ahead = f(x)
        x[i] -= 2 * h
        behind = f(x)
        out[i] = (ahead - behind) / (2 * h)
    return out


@wrong(1, "changes its argument")
def in_place(f, x, h):
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += h
        ahead = f(x)
        x[i] -= 2 * h
        out[i] = (ahead - f(x)) / (2 * h)
    return out


def _compared(f, rule, x, g, tolerance=1e-6):
    sent, exact = rule(g, x), _numeric(lambda v: np.sum(g * f(v)), x)
    scale = max(np.abs(exact).max(), 1e-3)
    return sent, exact, tolerance * scale


@wrong(2, "0.1 % off everywhere")
def tolerance_of_one_percent(f, rule, x, g):
    sent, exact, allowed = _compared(f, rule, x, g, 1e-2)
    return sent.shape == x.shape and bool(np.abs(sent - exact).max() <= allowed)


@wrong(2, "last element only")
def mean_error(f, rule, x, g):
    sent, exact, allowed = _compared(f, rule, x, g, 1e-4)
    return sent.shape == x.shape and bool(np.abs(sent - exact).mean() <= allowed)


@wrong(2, "has a NaN")
def fails_only_if_larger(f, rule, x, g):
    sent, exact, allowed = _compared(f, rule, x, g)
    if sent.shape != x.shape:
        return False
    if (np.abs(sent - exact) > allowed).any():
        return False
    return True


@wrong(2, "ones would not notice")
def upstream_of_ones(f, rule, x, g):
    ones = np.ones_like(g)
    sent, exact, allowed = _compared(f, rule, x, ones)
    return sent.shape == x.shape and bool(np.abs(sent - exact).max() <= allowed)


@wrong(2, "shape of the output")
def shape_not_looked_at(f, rule, x, g):
    sent, exact, allowed = _compared(f, rule, x, g)
    total = np.abs(np.sum(sent) - np.sum(exact)) if sent.shape != x.shape else 0
    return total < 1e9 and bool(
        sent.shape != x.shape or np.abs(sent - exact).max() <= allowed
    )


@wrong(2, "1000 times sin")
def absolute_tolerance(f, rule, x, g):
    sent, exact, _ = _compared(f, rule, x, g)
    if np.shape(sent) != x.shape:
        return False
    return bool(np.abs(sent - exact).max() <= 1e-9)


@wrong(2, "wrong sign")
def sizes_only(f, rule, x, g):
    sent, exact, allowed = _compared(f, rule, x, g)
    if np.shape(sent) != x.shape:
        return False
    return bool(np.abs(np.abs(sent) - np.abs(exact)).max() <= allowed)


@wrong(2, "wanted is True or False")
def the_error_itself(f, rule, x, g):
    sent, exact, _ = _compared(f, rule, x, g)
    return float(np.abs(sent - exact).max())


@wrong(1, "f(x + h) − f(x − h)")
def behind_minus_ahead(f, x, h):
    return -_numeric(f, x, h)
