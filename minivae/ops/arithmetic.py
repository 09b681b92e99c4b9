"""Elementwise arithmetic. Inputs broadcast against each other."""

from __future__ import annotations

from minivae.backend import Array, xp_of
from minivae.tensor import op


@op("z = x + y")
def add(x: Array, y: Array) -> Array:
    return x + y


@add.vjp("x", "x̄ = z̄")
def add_x(g: Array, z: Array, x: Array, y: Array) -> Array:
    return g


@add.vjp("y", "ȳ = z̄")
def add_y(g: Array, z: Array, x: Array, y: Array) -> Array:
    return g


@op("z = x − y")
def sub(x: Array, y: Array) -> Array:
    return x - y


@sub.vjp("x", "x̄ = z̄")
def sub_x(g: Array, z: Array, x: Array, y: Array) -> Array:
    return g


@sub.vjp("y", "ȳ = −z̄")
def sub_y(g: Array, z: Array, x: Array, y: Array) -> Array:
    return -g


@op("z = x y")
def mul(x: Array, y: Array) -> Array:
    return x * y


@mul.vjp("x", "x̄ = z̄ y")
def mul_x(g: Array, z: Array, x: Array, y: Array) -> Array:
    return g * y


@mul.vjp("y", "ȳ = z̄ x")
def mul_y(g: Array, z: Array, x: Array, y: Array) -> Array:
    return g * x


@op("z = x / y")
def div(x: Array, y: Array) -> Array:
    return x / y


@div.vjp("x", "x̄ = z̄ / y")
def div_x(g: Array, z: Array, x: Array, y: Array) -> Array:
    return g / y


@div.vjp("y", "ȳ = −z̄ z / y")
def div_y(g: Array, z: Array, x: Array, y: Array) -> Array:
    return -g * z / y


@op("y = −x")
def neg(x: Array) -> Array:
    return -x


@neg.vjp("x", "x̄ = −ȳ")
def neg_x(g: Array, y: Array, x: Array) -> Array:
    return -g


@op("z = xʸ")
def pow(x: Array, y: Array) -> Array:
    """Power. An exponent that wants a gradient needs x >= 0 (log x is used)."""
    return x**y


@pow.vjp("x", "x̄ = z̄ y xʸ⁻¹")
def pow_x(g: Array, z: Array, x: Array, y: Array) -> Array:
    xp = xp_of(x, y)  # x⁰ is 1 everywhere, at x = 0 too, where x⁻¹ is infinite
    return g * y * x ** xp.where(y == 0, xp.ones_like(y), y - 1).astype(z.dtype)


@pow.vjp("y", "ȳ = z̄ z log x")
def pow_y(g: Array, z: Array, x: Array, y: Array) -> Array:
    xp = xp_of(x, y)
    return g * z * xp.log(xp.where(x == 0, xp.ones_like(x), x)).astype(z.dtype)


@op("y = eˣ")
def exp(x: Array) -> Array:
    return xp_of(x).exp(x)


@exp.vjp("x", "x̄ = ȳ y")
def exp_x(g: Array, y: Array, x: Array) -> Array:
    return g * y


@op("y = log x")
def log(x: Array) -> Array:
    return xp_of(x).log(x)


@log.vjp("x", "x̄ = ȳ / x")
def log_x(g: Array, y: Array, x: Array) -> Array:
    return g / x


@op("y = log(1 + x)")
def log1p(x: Array) -> Array:
    return xp_of(x).log1p(x)


@log1p.vjp("x", "x̄ = ȳ / (1 + x)")
def log1p_x(g: Array, y: Array, x: Array) -> Array:
    return g / (1 + x)


@op("y = eˣ − 1")
def expm1(x: Array) -> Array:
    return xp_of(x).expm1(x)


@expm1.vjp("x", "x̄ = ȳ eˣ")
def expm1_x(g: Array, y: Array, x: Array) -> Array:
    return g * xp_of(x).exp(x)  # y + 1 would cancel where x is far below 0


@op("y = √x")
def sqrt(x: Array) -> Array:
    return xp_of(x).sqrt(x)


@sqrt.vjp("x", "x̄ = ȳ / (2 y)")
def sqrt_x(g: Array, y: Array, x: Array) -> Array:
    return g / (2 * y)


@op("y = |x|")
def abs(x: Array) -> Array:
    return xp_of(x).abs(x)


@abs.vjp("x", "x̄ = ȳ sign x")
def abs_x(g: Array, y: Array, x: Array) -> Array:
    return g * xp_of(x).sign(x)


@op("z = max(x, y)")
def maximum(x: Array, y: Array) -> Array:
    """Elementwise maximum; where x = y, each input gets half of the gradient."""
    return xp_of(x, y).maximum(x, y)


@maximum.vjp("x", "x̄ = z̄ [x > y] + ½ z̄ [x = y]")
def maximum_x(g: Array, z: Array, x: Array, y: Array) -> Array:
    return g * (0.5 * ((x > y) + (x >= y).astype(z.dtype)))


@maximum.vjp("y", "ȳ = z̄ [y > x] + ½ z̄ [x = y]")
def maximum_y(g: Array, z: Array, x: Array, y: Array) -> Array:
    return g * (0.5 * ((x < y) + (x <= y).astype(z.dtype)))


@op("z = x where c, else y", constant=("c",))
def where(c: Array, x: Array, y: Array) -> Array:
    return xp_of(c, x, y).where(c, x, y)


@where.vjp("x", "x̄ = z̄ where c, else 0")
def where_x(g: Array, z: Array, c: Array, x: Array, y: Array) -> Array:
    return xp_of(z).where(c, g, xp_of(z).zeros_like(z))


@where.vjp("y", "ȳ = 0 where c, else z̄")
def where_y(g: Array, z: Array, c: Array, x: Array, y: Array) -> Array:
    return xp_of(z).where(c, xp_of(z).zeros_like(z), g)
