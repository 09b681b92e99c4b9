"""Calls of every kernel family, for whatever runs rungs beside their reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from minivae_kernels import Rung, family

PHILOX = ("philox.words", "philox.uniforms", "philox.normals")  # takes no arrays
IN_PLACE = {"sgd", "adagrad", "rmsprop", "adam", "bias_activation"}
TOLERANCES = {np.float64: 1e-13, np.float32: 2e-6}
"""Of the largest value: some roundings, and in float32 the polynomials' 4e-7."""

Call = tuple[list[Any], dict[str, Any]]


def _bernoulli(shape: tuple[int, int], draw: Draw) -> Call:
    logits = draw.normal(shape) * 4
    logits.reshape(-1)[:1] = 90.0
    return [logits, draw.binary(shape), 0.25], {}


def _noise(shape: tuple[int, int], mu: Any, logvar: Any) -> dict[str, Any]:
    key = (3, 1, 8)
    noise = family("philox.normals").rungs[0].function(*key, mu.size)
    noise = noise.reshape(shape).astype(mu.dtype)
    return {"noise": noise, "z": mu + np.exp(0.5 * logvar) * noise, "key": key}


def _gaussian_forward(shape: tuple[int, int], draw: Draw) -> Call:
    mu, logvar = draw.normal(shape), draw.normal(shape)
    options = _noise(shape, mu, logvar)
    del options["z"]
    return [mu, logvar], options


def _gaussian_backward(shape: tuple[int, int], draw: Draw) -> Call:
    mu, logvar = draw.normal(shape), draw.normal(shape)
    arrays = [draw.normal(shape), draw.normal(shape[:1]), mu, logvar]
    return arrays, _noise(shape, mu, logvar)


def _flat(count: int, **numbers: Any) -> Callable[[tuple[int, int], Draw], Call]:
    def make(shape: tuple[int, int], draw: Draw) -> Call:
        size = (shape[0] * shape[1],)
        arrays = [draw.normal(size) for _ in range(2)]
        moments = [draw.positive(size) for _ in range(count)]
        return [*arrays, *moments], {**numbers, "scale": 0.5, "decay": 0.01}

    return make


def _conv(first: str, second: str, **options: Any) -> Callable[..., Call]:
    """Two of the relation's three arrays; the image's sides vary with the shape."""

    def make(shape: tuple[int, int], draw: Any) -> Call:
        n, o, height, width = 2, 1 + shape[0] % 5, shape[0] % 7 + 2, shape[1] % 11 + 2
        small = height // 2 + 1, width // 2 + 1
        arrays = {
            "x": draw.normal((n, 3, height, width)),
            "y": draw.normal((n, o, *small)),
            "w": draw.normal((o, 3, 2, 2)),
        }
        sizes = {"size": (height, width), "kernel": (2, 2)}
        chosen = {name: sizes[name] for name in options}
        return [arrays[first], arrays[second]], {"stride": 2, "padding": 1, **chosen}

    return make


def _philox(shape: tuple[int, int], draw: Draw) -> Call:
    first = (1 << 40) + 4 * shape[1]
    arguments = [(5 << 32) + 7, 3, first, shape[0] * shape[1]]
    return arguments, {"like": np.empty(0, draw.dtype)}


def _matmul(shape: tuple[int, int], draw: Draw) -> Call:
    N, K = shape
    columns = N + 3  # a multiple of 4 for some of the shapes
    weight, bias = draw.normal((columns, K)), draw.normal((columns,))
    return [draw.normal(shape), weight.T], {"bias": bias, "activation": "relu"}


ADAM = {"rate": 0.01, "beta1": 0.9, "beta2": 0.999, "root": 0.3, "eps": 1e-8}
CALLS: dict[str, Callable[[tuple[int, int], Draw], Call]] = {
    "philox.words": _philox,
    "philox.uniforms": _philox,
    "philox.normals": _philox,
    "bernoulli": _bernoulli,
    "gaussian.forward": _gaussian_forward,
    "gaussian.backward": _gaussian_backward,
    "sgd": _flat(1, lr=0.1, momentum=0.9, nesterov=True),
    "adagrad": _flat(1, lr=0.1, eps=1e-8),
    "rmsprop": _flat(1, lr=0.1, alpha=0.9, eps=1e-8),
    "adam": _flat(2, **ADAM, shrink=0.02),
    "relu.forward": lambda shape, draw: ([draw.normal(shape)], {}),
    "relu.backward": lambda shape, draw: ([draw.normal(shape), draw.normal(shape)], {}),
    "conv.forward": _conv("x", "w"),
    "conv.adjoint": _conv("y", "w", size=True),
    "conv.weight": _conv("x", "y", kernel=True),
    "colsum": lambda shape, draw: ([draw.normal(shape)], {}),
    "bias_activation": lambda shape, draw: (
        [draw.normal(shape), draw.normal(shape[1:])],
        {"activation": "relu"},
    ),
    "matmul": _matmul,
    "logmeanexp": lambda shape, draw: ([draw.normal(shape) * 30], {}),
}


class Draw:
    """Distinct random values of one dtype; never zeros or ones."""

    def __init__(self, dtype: type, seed: int = 3) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), dtype

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.normal(size=shape).astype(self.dtype)

    def positive(self, shape: tuple[int, ...]) -> np.ndarray:
        return (0.1 + self.rng.random(shape)).astype(self.dtype)

    def binary(self, shape: tuple[int, ...]) -> np.ndarray:
        return (self.rng.random(shape) < 0.5).astype(self.dtype)


def call_for(
    name: str, rung: Rung, shape: tuple[int, int], dtype: type, seed: int = 3
) -> Call:
    """A call of a family; of the forms of the noise only the one that a rung needs."""
    arrays, options = CALLS[name](shape, Draw(dtype, seed))
    forms = {"noise", "z", "key"}
    kept = {k: v for k, v in options.items() if k not in forms or k == rung.needs}
    if rung.number == 0 and forms & options.keys():
        kept["noise"] = options["noise"]
    return arrays, kept


def results(name: str, rung: Rung, call: Call) -> list[np.ndarray]:
    """Everything a rung returns or changes, its inputs left alone."""
    arrays, options = call
    if name in IN_PLACE:
        arrays = [a.copy() for a in arrays]
    returned = rung.function(*arrays, **options)
    if name in IN_PLACE:
        return [np.asarray(a) for a in arrays]
    return [
        np.asarray(r) for r in (returned if isinstance(returned, tuple) else [returned])
    ]


def assert_close(
    found: list[np.ndarray], expected: list[np.ndarray], tol: float
) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if a.dtype.kind in "ui":
            np.testing.assert_array_equal(a, b)
            continue
        scale = max(1.0, float(np.abs(b).max(initial=0.0)))
        assert np.abs(a.astype(np.float64) - b).max(initial=0.0) <= tol * scale
