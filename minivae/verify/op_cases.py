"""Where each op's rules are checked: awkward shapes, broadcasting, values off kinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae import ops
from minivae.backend import Array
from minivae.random import Noise, Stream
from minivae.tensor import Tensor


@dataclass(frozen=True)
class Case:
    """A function that applies an op to inputs which all want a gradient."""

    op: str
    label: str
    f: Callable[..., Any]
    inputs: dict[str, Array]


def cases() -> list[Case]:
    """Return at least one case for every input of every op."""
    draw = _Draw()
    return [
        *_arithmetic(draw),
        *_shapes(draw),
        *_reductions(draw),
        *_products(draw),
        *_convolutions(draw),
        *_poolings(draw),
        *_normalisations(draw),
        *_activations(draw),
        *_losses(draw),
    ]


class _Draw:
    """Inputs that differ from case to case and are the same in every run."""

    def __init__(self) -> None:
        self.noise = Noise(7, Stream.CHECK)

    def normal(self, *shape: int) -> Array:
        return self.noise.normal(shape, np.float64)

    def positive(self, *shape: int) -> Array:
        return 0.5 + 2 * self.noise.uniform(shape, np.float64)

    def binary(self, *shape: int) -> Array:
        return (self.noise.uniform(shape, np.float64) < 0.5).astype(np.float64)

    def uniform(self, *shape: int) -> Array:
        return self.noise.uniform(shape, np.float64)


def _arithmetic(draw: _Draw) -> list[Case]:
    def square() -> Array:
        return draw.normal(3, 3)

    found = []
    for name in ("add", "sub", "mul", "maximum"):
        repeated = {"x": draw.normal(3, 1), "y": draw.normal(2, 1, 4)}
        found += [
            Case(name, "square", getattr(ops, name), {"x": square(), "y": square()}),
            Case(name, "broadcast", getattr(ops, name), repeated),
        ]
    for name in ("neg", "exp", "expm1", "abs"):
        found.append(Case(name, "square", getattr(ops, name), {"x": square()}))
    for name in ("log", "log1p", "sqrt"):
        found.append(
            Case(name, "square", getattr(ops, name), {"x": draw.positive(3, 3)})
        )
    choice = draw.binary(3, 3) > 0

    def chosen(x: Tensor, y: Tensor) -> Tensor:
        return ops.where(choice, x, y)

    y, positive = draw.positive(3, 3), draw.positive(3, 3)
    row = draw.positive(3)
    return [
        *found,
        Case("div", "square", ops.div, {"x": square(), "y": y}),
        Case("div", "broadcast", ops.div, {"x": square(), "y": row}),
        Case("pow", "square", ops.pow, {"x": positive, "y": y}),
        Case("pow", "broadcast", ops.pow, {"x": positive, "y": row}),
        Case("pow", "exponent 2", lambda x: ops.pow(x, 2), {"x": square()}),
        Case("where", "square", chosen, {"x": square(), "y": square()}),
        Case("where", "broadcast", chosen, {"x": square(), "y": draw.normal(3)}),
    ]


def _shapes(draw: _Draw) -> list[Case]:
    rows = np.array([0, 2, 0])
    parts = {"x": draw.normal(2, 3), "y": draw.normal(2, 1), "z": draw.normal(2, 2)}
    layers = {"x": draw.normal(2, 3), "y": draw.normal(2, 3)}
    return [
        Case(
            "reshape",
            "(2, 6) to (3, 4)",
            lambda x: ops.reshape(x, shape=(3, 4)),
            {"x": draw.normal(2, 6)},
        ),
        Case("transpose", "square", ops.transpose, {"x": draw.normal(3, 3)}),
        Case(
            "transpose",
            "three axes",
            lambda x: ops.transpose(x, axes=(2, 0, 1)),
            {"x": draw.normal(2, 3, 4)},
        ),
        Case(
            "getitem",
            "slices",
            lambda x: ops.getitem(x, index=(slice(None), slice(0, 3, 2))),
            {"x": draw.normal(2, 4)},
        ),
        Case(
            "getitem",
            "a row taken twice",
            lambda x: ops.getitem(x, index=rows),
            {"x": draw.normal(3, 2)},
        ),
        Case(
            "broadcast_to",
            "(3, 1) to (2, 3, 4)",
            lambda x: ops.broadcast_to(x, shape=(2, 3, 4)),
            {"x": draw.normal(3, 1)},
        ),
        Case("concatenate", "columns", lambda *xs: ops.concatenate(*xs, axis=1), parts),
        Case("stack", "last axis", lambda *xs: ops.stack(*xs, axis=-1), layers),
    ]


def _reductions(draw: _Draw) -> list[Case]:
    found = []
    for name in ("sum", "mean", "max", "logsumexp"):
        for label, options in (
            ("all", {}),
            ("axis 1", {"axis": 1}),
            ("axes 0 and 2, kept", {"axis": (0, 2), "keepdims": True}),
        ):

            def reduced(
                x: Tensor, name: str = name, options: dict[str, Any] = options
            ) -> Tensor:
                return getattr(ops, name)(x, **options)

            found.append(Case(name, label, reduced, {"x": draw.normal(2, 3, 4)}))
    return found


def _products(draw: _Draw) -> list[Case]:
    affine = {
        "x": draw.normal(3, 4),
        "weight": draw.normal(2, 4),
        "bias": draw.normal(2),
    }
    square = {
        "x": draw.normal(3, 3),
        "weight": draw.normal(3, 3),
        "bias": draw.normal(3),
    }
    return [
        Case(
            "matmul",
            "plain",
            ops.matmul,
            {"x": draw.normal(2, 3), "y": draw.normal(3, 4)},
        ),
        Case(
            "matmul",
            "square",
            ops.matmul,
            {"x": draw.normal(3, 3), "y": draw.normal(3, 3)},
        ),
        Case(
            "matmul",
            "batches broadcast",
            ops.matmul,
            {"x": draw.normal(2, 1, 2, 3), "y": draw.normal(2, 3, 4)},
        ),
        Case("linear", "rows", ops.linear, affine),
        Case("linear", "square", ops.linear, square),
    ]


def _convolutions(draw: _Draw) -> list[Case]:
    found = []
    for label, kernel, options in (
        ("1 by 1", (1, 1), {}),
        ("stride 2", (3, 2), {"stride": 2}),
        ("stride 2, padded", (4, 4), {"stride": 2, "padding": 1}),
        ("stride 3, gaps", (2, 2), {"stride": 3, "padding": 1}),
    ):

        def large(*xs: Tensor, options: dict[str, int] = options) -> Tensor:
            return ops.conv2d(*xs, **options)

        def small(*xs: Tensor, options: dict[str, int] = options) -> Tensor:
            odd = options.get("stride", 1) - 1
            return ops.conv_transpose2d(*xs, **options, output_padding=odd)

        image = {"x": draw.normal(2, 2, 5, 6), "weight": draw.normal(3, 2, *kernel)}
        map_ = {"y": draw.normal(2, 3, 3, 2), "weight": draw.normal(3, 2, *kernel)}
        found += [
            Case("conv2d", label, large, {**image, "bias": draw.normal(3)}),
            Case("conv_transpose2d", label, small, {**map_, "bias": draw.normal(2)}),
        ]
    return found


def _poolings(draw: _Draw) -> list[Case]:
    found = []
    for label, options in (
        ("2 by 2", {"kernel": 2}),
        ("overlapping, padded", {"kernel": 3, "stride": 2, "padding": 1}),
        ("gaps", {"kernel": 2, "stride": 3}),
    ):
        for name in ("max_pool2d", "avg_pool2d"):

            def pooled(
                x: Tensor, name: str = name, options: dict[str, int] = options
            ) -> Tensor:
                return getattr(ops, name)(x, **options)

            found.append(Case(name, label, pooled, {"x": draw.normal(2, 2, 5, 6)}))

    def enlarged(x: Tensor) -> Tensor:
        return ops.upsample_nearest(x, factor=3)

    x = draw.normal(2, 2, 2, 3)
    return [*found, Case("upsample_nearest", "factor 3", enlarged, {"x": x})]


def _normalisations(draw: _Draw) -> list[Case]:
    rows = {"x": draw.normal(4, 3), "weight": draw.normal(3), "bias": draw.normal(3)}
    maps = {
        "x": draw.normal(3, 2, 2, 2),
        "weight": draw.normal(2, 2, 2),
        "bias": draw.normal(2, 2, 2),
    }
    pixels = {**rows, "x": draw.normal(2, 2, 2, 3)}
    return [
        Case("layer_norm", "rows", ops.layer_norm, rows),
        Case("layer_norm", "maps", ops.layer_norm, maps),
        Case("layer_norm", "last axis only", ops.layer_norm, pixels),
    ]


def _activations(draw: _Draw) -> list[Case]:
    names = ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "softplus")
    found = [
        Case(n, "square", getattr(ops, n), {"x": draw.normal(3, 3)}) for n in names
    ]
    u = draw.uniform(3, 3)

    def dropped(x: Tensor) -> Tensor:
        return ops.dropout(x, u, p=0.3)

    return [*found, Case("dropout", "fixed noise", dropped, {"x": draw.normal(3, 3)})]


def _losses(draw: _Draw) -> list[Case]:
    found = []
    for reduction in ("mean", "none"):
        grey, binary, noise = draw.uniform(3, 3), draw.binary(3, 3), draw.normal(3, 3)
        options = {"reduction": reduction}

        def against(name: str, target: Array, options: Any = options) -> Any:
            return lambda *xs: getattr(ops, name)(*xs, target, **options)

        found += [
            Case(
                "squared_error",
                reduction,
                against("squared_error", grey),
                {"recon": draw.normal(3, 3)},
            ),
            Case(
                "soft_bce",
                reduction,
                against("soft_bce", grey),
                {"logits": draw.normal(3, 3)},
            ),
            Case(
                "bernoulli_nll",
                reduction,
                against("bernoulli_nll", binary),
                {"logits": draw.normal(3, 3)},
            ),
            Case(
                "gaussian_nll",
                reduction,
                against("gaussian_nll", grey),
                {"mu": draw.normal(3, 3), "logvar": draw.normal(3, 3)},
            ),
            Case(
                "gaussian_nll",
                f"{reduction}, one sigma",
                against("gaussian_nll", grey),
                {"mu": draw.normal(3, 3), "logvar": draw.normal()},
            ),
            Case(
                "gaussian_kl",
                reduction,
                lambda mu, logvar, options=options: ops.gaussian_kl(
                    mu, logvar, **options
                ),
                {"mu": draw.normal(3, 3), "logvar": draw.normal(3, 3)},
            ),
            Case(
                "reparameterize_kl",
                reduction,
                against("reparameterize_kl", noise),
                {"mu": draw.normal(3, 3), "logvar": draw.normal(3, 3)},
            ),
        ]
    found += [
        Case("logmeanexp", "5 draws", ops.logmeanexp, {"w": 3 * draw.normal(3, 5)}),
        Case("logmeanexp", "one draw", ops.logmeanexp, {"w": draw.normal(3, 1)}),
    ]
    draws = draw.normal(5, 3, 3)

    def sampled(mu: Tensor, logvar: Tensor) -> Tensor:
        return ops.reparameterize(mu, logvar, draws)

    inputs = {"mu": draw.normal(3, 3), "logvar": draw.normal(3, 3)}
    return [*found, Case("reparameterize", "five draws", sampled, inputs)]
