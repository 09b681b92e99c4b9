"""Lesson 1: your answers.

Edit this file, then: python -m lessons check 1
"""

import math


def mul_rule(g: float, x: float, y: float) -> tuple[float, float]:
    """Exercise 1.1. Return (x̄, ȳ) of z = x y, where `g` is z̄, the adjoint of z."""
    raise NotImplementedError("exercise 1.1")


def tanh_rule(g: float, y: float) -> float:
    """Exercise 1.2. Return x̄ of y = tanh x, where `g` is ȳ and `y` the output."""
    raise NotImplementedError("exercise 1.2")


def neuron_gradient(
    w: float, x: float, b: float, t: float
) -> tuple[float, float, float]:
    """Exercise 1.3. Return ∂L/∂w, ∂L/∂x and ∂L/∂b of a neuron with another loss.

    y = tanh(w x + b) and L = log cosh(y − t), which grows like |y − t|, not its square.
    """
    raise NotImplementedError("exercise 1.3")
