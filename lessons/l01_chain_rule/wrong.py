"""Lesson 1: typical wrong answers, each with words of the message it must get."""

import math

from lessons.kit import wrong


@wrong(1, "its own value")
def swapped(g, x, y):
    return g * x, g * y


@wrong(1, "not in it")
def without_upstream(g, x, y):
    return y, x


@wrong(1, "rule of a sum")
def as_a_sum(g, x, y):
    return g, g


@wrong(1, "whole product")
def times_the_product(g, x, y):
    z = x * y
    return g * z, g * z


@wrong(1, "same")
def one_for_both(g, x, y):
    other = g * y
    return other, other


@wrong(1, "2 values are wanted")
def only_one(g, x, y):
    return g * y


@wrong(2, "not in it")
def without_g(g, y):
    return 1 - y**2


@wrong(2, "once more")
def tanh_twice(g, y):
    return g * (1 - math.tanh(y) ** 2)


@wrong(2, "logistic")
def logistic(g, y):
    return g * y * (1 - y)


@wrong(2, "square is missing")
def no_square(g, y):
    return g * (1 - y)


@wrong(2, "divided")
def inverse(g, y):
    return g / (1 - y * y)


@wrong(2, "applied tanh to the adjoint")
def forward_again(g, y):
    return math.tanh(g)


@wrong(3, "1 − y²")
def tanh_left_out(w, x, b, t):
    s_ = math.tanh(math.tanh(w * x + b) - t)
    return s_ * x, s_ * w, s_


@wrong(3, "gradient of the square")
def of_the_square(w, x, b, t):
    y = math.tanh(w * x + b)
    s_ = 2 * (y - t) * (1 - y**2)
    return s_ * x, s_ * w, s_


@wrong(3, "a cosh is left out")
def sinh_alone(w, x, b, t):
    y = math.tanh(w * x + b)
    s_ = math.sinh(y - t) * (1 - y**2)
    return s_ * x, s_ * w, s_


@wrong(3, "gradient of y")
def of_the_output(w, x, b, t):
    y = math.tanh(w * x + b)
    s_ = 1 - y**2
    return s_ * x, s_ * w, s_


@wrong(3, "other way round")
def target_minus_output(w, x, b, t):
    y = math.tanh(w * x + b)
    s_ = math.tanh(t - y) * (1 - y**2)
    return s_ * x, s_ * w, s_


@wrong(3, "exchanged")
def exchanged(w, x, b, t):
    y = math.tanh(w * x + b)
    s_ = math.tanh(y - t) * (1 - y**2)
    return s_ * w, s_ * x, s_


@wrong(3, "sum hands")
def bias_times_x(w, x, b, t):
    y = math.tanh(w * x + b)
    s_ = math.tanh(y - t) * (1 - y**2)
    return s_ * x, s_ * w, s_ * x


@wrong(1, "opposite order of the inputs")
def factors_as_they_are(g, x, y):
    return x, y
