"""A call of every family on random arrays, for whatever runs rungs beside each other.

    arrays, options = example("bernoulli", (8, 784), np.float32)

Tests, benchmarks and the catalogue take their inputs from here. Values are distinct and
never zero or one, so that no term can hide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minivae_kernels import family
from minivae_kernels.family import Rung

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


LAYER = (3, 8, 16, (14, 12), (4, 4), 2, 1)
TINY = (1, 2, 3, (4, 4), (3, 3), 1, 1)  # to be looked at, number by number
LOOKED_AT = (4, 4)  # the shape that stands for it
GEOMETRIES = (
    (2, 3, 4, (9, 12), (2, 3), 2, 1),
    (2, 3, 68, (4, 5), (2, 1), 1, 1),  # more channels than a tile
    (2, 8, 16, (5, 7), (2, 2), 3, 0),  # pixels under no window
    (1, 1, 1, (1, 1), (1, 1), 3, 2),  # windows over padding alone
    (2, 67, 1, (4, 6), (1, 3), 1, 0),
    (5, 1, 3, (13, 11), (5, 4), 3, 2),
    (2, 10, 9, (8, 6), (3, 5), 3, 2),
    (29, 2, 2, (7, 4), (4, 2), 2, 1),
)
"""Images, channels, out-channels, sides, kernel, stride, padding: what may go wrong."""


def _conv(first: str, second: str, **options: Any) -> Callable[..., Call]:
    """Two of the relation's three arrays, maps with channels last; for some, a bias.

    The geometry varies with the shape, or is given in its place.
    """

    def make(shape: Any, draw: Draw) -> Call:
        if len(shape) == len(LAYER):
            number, geometry, shape = 0, shape, SHAPE
        else:
            number = sum(shape) // 3 % len(GEOMETRIES)
            special = {SHAPE: LAYER, LOOKED_AT: TINY}
            geometry = special.get(shape, GEOMETRIES[number])
        n, c, o, size, kernel, stride, padding = geometry
        n = n if all(shape) else 0
        small = (
            (side + 2 * padding - taps) // stride + 1
            for side, taps in zip(size, kernel, strict=True)
        )
        arrays = {
            "x": draw.normal((n, *size, c)).transpose(0, 3, 1, 2),
            "y": draw.normal((n, *small, o)).transpose(0, 3, 1, 2),
            "w": draw.normal((o, c, *kernel)),
        }
        sizes = {"size": size, "kernel": kernel}
        chosen = {name: sizes[name] for name in options if name in sizes}
        if "bias" in options and number % 2:
            chosen["bias"] = draw.normal((arrays["w"].shape[options["bias"]],))
        call = {"stride": stride, "padding": padding, **chosen}
        return [arrays[first], arrays[second]], call

    return make


def _philox(shape: tuple[int, int], draw: Draw) -> Call:
    first = (1 << 40) + 4 * shape[1]
    arguments = [(5 << 32) + 7, 3, first, shape[0] * shape[1]]
    return arguments, {"like": np.empty(0, draw.dtype)}


def _matmul(shape: tuple[int, int], draw: Draw) -> Call:
    N, K = shape
    columns = N + 3  # a multiple of 4 for some of the shapes
    y, bias = draw.normal((K, columns)), draw.normal((columns,))
    return [draw.normal(shape), y], {"bias": bias, "activation": "relu"}


FORMS = {"noise", "z", "key"}
SHAPE = (8, 784)  # of an example, a batch of images
SHAPES = {
    "gaussian.forward": (128, 20),
    "gaussian.backward": (128, 20),
    "colsum": (512, 32),
    "matmul": (61, 64),
    "logmeanexp": (64, 64),
}
ADAM = {"rate": 0.01, "beta1": 0.9, "beta2": 0.999, "root": 0.3, "eps": 0.01}
CALLS: dict[str, Callable[[Any, Draw], Call]] = {
    "philox.words": _philox,
    "philox.uniforms": _philox,
    "philox.normals": _philox,
    "bernoulli": _bernoulli,
    "gaussian.forward": _gaussian_forward,
    "gaussian.backward": _gaussian_backward,
    "sgd": _flat(1, lr=0.1, momentum=0.9, nesterov=True),
    "adagrad": _flat(1, lr=0.1, eps=0.01),
    "rmsprop": _flat(1, lr=0.1, alpha=0.9, eps=0.01),
    "adam": _flat(2, **ADAM, shrink=0.02),
    "relu.forward": lambda shape, draw: ([draw.normal(shape)], {}),
    "relu.backward": lambda shape, draw: ([draw.normal(shape), draw.normal(shape)], {}),
    "conv.forward": _conv("x", "w", bias=0),
    "conv.adjoint": _conv("y", "w", size=True, bias=1),
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
    """Random values of one dtype."""

    def __init__(self, dtype: DTypeLike, seed: int = 3) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), np.dtype(dtype)

    def normal(self, shape: tuple[int, ...]) -> Any:
        """Return standard normals."""
        return self.rng.normal(size=shape).astype(self.dtype)

    def positive(self, shape: tuple[int, ...]) -> Any:
        """Return values from 0.1 to 1.1."""
        return (0.1 + self.rng.random(shape)).astype(self.dtype)

    def binary(self, shape: tuple[int, ...]) -> Any:
        """Return zeros and ones."""
        return (self.rng.random(shape) < 0.5).astype(self.dtype)


def example(
    name: str,
    shape: tuple[Any, ...] | None = None,
    dtype: DTypeLike = np.float32,
    *,
    rung: Rung | None = None,
    seed: int = 3,
) -> Call:
    """Return arguments and options of a call; `shape` is that of its first array.

    For a convolution it may be a geometry, as in `GEOMETRIES`.

    Of the forms in which noise may come, all, or only the one that `rung` needs.
    """
    arrays, options = CALLS[name](shape or SHAPES.get(name, SHAPE), Draw(dtype, seed))
    if rung is not None and (forms := FORMS & options.keys()):
        needed = rung.needs or "noise"
        options = {k: v for k, v in options.items() if k not in forms or k == needed}
    return arrays, options


def elements(call: Call) -> int:
    """Return how many elements a call has: pixels, latents, parameters, words."""
    first = call[0][0]
    return int(first.size) if isinstance(first, np.ndarray) else int(call[0][3])
