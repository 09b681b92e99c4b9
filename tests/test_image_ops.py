"""Ops on maps beside PyTorch's; pooling, upsampling and layer norm by themselves.

That their rules are the gradients of what they compute, `test_gradcheck.py` says;
convolution has its own `test_conv.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerances import FLOAT32, FLOAT64, PARITY_MAPS
from twin import Arrays, Case, ask, largest_error

from minivae import ops
from minivae.backend import Array
from minivae.errors import UserError
from minivae.tensor import Op, Parameter

RNG = np.random.default_rng


def run(name: str, params: dict[str, Any], given: Arrays) -> Arrays:
    """Return y and the adjoints of the inputs, given ȳ."""
    inputs = {n.removeprefix("in/"): Parameter(a) for n, a in given.items() if "/" in n}
    y = Op.registry[name](*inputs.values(), **params)
    y.backward(given["upstream"])
    return {"y": y.numpy()} | {f"grad/{n}": p.grad for n, p in inputs.items()}


# Parity with PyTorch, over random configurations

CONFIGURATIONS = 160


def draw_convolution(rng: np.random.Generator) -> tuple[dict[str, Any], Arrays]:
    """Any kernel that fits into the padded image, square or not."""
    n, c, o = (int(rng.integers(1, most + 1)) for most in (3, 9, 9))
    padding = int(rng.integers(0, 4))
    kernel = rng.integers(1, 6, 2)
    h, w = (int(rng.integers(max(1, k - 2 * padding), 18)) for k in kernel)
    params = {"stride": int(rng.integers(1, 4)), "padding": padding}
    shapes = {"in/x": (n, c, h, w), "in/weight": (o, c, *kernel), "in/bias": (o,)}
    return params, {name: rng.standard_normal(s) for name, s in shapes.items()}


def draw_transposed(rng: np.random.Generator) -> tuple[dict[str, Any], Arrays]:
    """Any map of which something is left when the padding has been cut off."""
    n, c, o = (int(rng.integers(1, most + 1)) for most in (3, 9, 9))
    stride, kernel = int(rng.integers(1, 4)), rng.integers(1, 6, 2)
    output_padding = int(rng.integers(0, stride))
    p, q = rng.integers(1, 18, 2)
    left = min((p - 1) * stride + kernel[0], (q - 1) * stride + kernel[1])
    padding = int(rng.integers(0, min(3, (left + output_padding - 1) // 2) + 1))
    params = {"stride": stride, "padding": padding, "output_padding": output_padding}
    shapes = {"in/y": (n, c, p, q), "in/weight": (c, o, *kernel), "in/bias": (o,)}
    return params, {name: rng.standard_normal(s) for name, s in shapes.items()}


def draw_pooling(rng: np.random.Generator) -> tuple[dict[str, Any], Arrays]:
    kernel = int(rng.integers(1, 6))
    padding = int(rng.integers(0, kernel // 2 + 1))
    stride = None if rng.random() < 0.3 else int(rng.integers(1, 5))
    n, c = rng.integers(1, 4, 2)
    h, w = rng.integers(max(1, kernel - 2 * padding), 18, 2)
    params = {"kernel": kernel, "stride": stride, "padding": padding}
    return params, {"in/x": rng.standard_normal((n, c, h, w))}


def draw_upsampling(rng: np.random.Generator) -> tuple[dict[str, Any], Arrays]:
    shape = rng.integers(1, 8, 4)
    return {"factor": int(rng.integers(1, 5))}, {"in/x": rng.standard_normal(shape)}


def draw_layer_norm(rng: np.random.Generator) -> tuple[dict[str, Any], Arrays]:
    shape = rng.integers(2, 7, int(rng.integers(2, 5)))
    features = shape[int(rng.integers(1, len(shape))) :]
    x = rng.standard_normal(shape) * rng.uniform(0.5, 5) + rng.uniform(-5, 5)
    arrays = {n: rng.standard_normal(features) for n in ("in/weight", "in/bias")}
    return {"eps": float(10 ** rng.uniform(-6, -1))}, {"in/x": x, **arrays}


DRAWS: dict[str, Callable[..., tuple[dict[str, Any], Arrays]]] = {
    "conv2d": draw_convolution,
    "conv_transpose2d": draw_transposed,
    "max_pool2d": draw_pooling,
    "avg_pool2d": draw_pooling,
    "upsample_nearest": draw_upsampling,
    "layer_norm": draw_layer_norm,
}


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    found = {}
    for name, draw in DRAWS.items():
        rng = RNG(11)
        for number in range(CONFIGURATIONS):
            params, given = draw(rng)
            arrays = [a for n, a in given.items()]
            given["upstream"] = rng.standard_normal(
                Op.registry[name].forward(*arrays, **params).shape
            )
            options = {"name": name, "params": params}
            for dtype in PARITY_MAPS:
                typed = {n: a.astype(dtype) for n, a in given.items()}
                label = f"{name} {dtype} {number}"
                found[label] = Case("function", options, typed)
    return found


@pytest.fixture(scope="module")
def theirs(
    cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Arrays]:
    folder: Path = tmp_path_factory.mktemp("twin")
    return ask(cases, folder)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("dtype", PARITY_MAPS)
@pytest.mark.parametrize("name", DRAWS)
def test_values_and_gradients_equal_torchs(
    name: str, dtype: str, cases: dict[str, Case], theirs: dict[str, Arrays]
) -> None:
    labels = [f"{name} {dtype} {number}" for number in range(CONFIGURATIONS)]
    for label in labels:
        case = cases[label]
        ours = run(name, case.options["params"], case.given)
        assert largest_error(ours, theirs[label]) <= PARITY_MAPS[dtype], case.options


# The definitions, written as loops


def pooled_by_loops(
    x: Array, reduce: Any, outside: float, kernel: int, stride: int, padding: int
) -> Array:
    N, C, H, W = x.shape
    P, Q = ((size + 2 * padding - kernel) // stride + 1 for size in (H, W))
    y = np.empty((N, C, P, Q))
    for p, q in np.ndindex(P, Q):
        window = np.full((N, C, kernel, kernel), outside)
        for a, b in np.ndindex(kernel, kernel):
            row, column = p * stride + a - padding, q * stride + b - padding
            if 0 <= row < H and 0 <= column < W:
                window[:, :, a, b] = x[:, :, row, column]
        y[:, :, p, q] = reduce(window, axis=(2, 3))
    return y


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(1, 1, 0), (2, 2, 0), (3, 2, 1), (2, 3, 1)]
)
@pytest.mark.parametrize(
    ("name", "reduce", "outside"),
    [("max_pool2d", np.max, -np.inf), ("avg_pool2d", np.mean, 0.0)],
)
def test_pooling_is_its_definition(
    name: str, reduce: Any, outside: float, kernel: int, stride: int, padding: int
) -> None:
    x = RNG(0).standard_normal((2, 3, 5, 8)) - 3  # below 0: padding must not win
    options = {"kernel": kernel, "stride": stride, "padding": padding}
    expected = pooled_by_loops(x, reduce, outside, **options)
    found = Op.registry[name].forward(x, **options)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= FLOAT64


def test_a_window_over_the_whole_map_is_a_reduction() -> None:
    """Ties included: equal largest elements share the gradient as they do in max."""
    x = np.round(RNG(0).standard_normal((2, 3, 4, 4)))
    for pool, reduction in ((ops.max_pool2d, ops.max), (ops.avg_pool2d, ops.mean)):
        whole, reduced = Parameter(x), Parameter(x)
        y, z = pool(whole, kernel=4), reduction(reduced, axis=(2, 3))
        assert np.abs(y.numpy()[:, :, 0, 0] - z.numpy()).max() <= FLOAT64
        ops.sum(y).backward()
        ops.sum(z).backward()
        assert whole.grad is not None
        assert np.abs(whole.grad - reduced.grad).max() <= FLOAT64


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pooling_undoes_upsampling(factor: int) -> None:
    x = RNG(0).standard_normal((2, 3, 4, 5))
    large = ops.upsample_nearest(x, factor=factor)
    assert large.shape == (2, 3, 4 * factor, 5 * factor)
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        assert np.abs(pool(large, kernel=factor).numpy() - x).max() <= FLOAT64


def test_upsampling_is_the_adjoint_of_pooling_by_sums() -> None:
    x, y = RNG(0).standard_normal((1, 2, 6, 9)), RNG(1).standard_normal((1, 2, 2, 3))
    down = 9 * ops.avg_pool2d(x, kernel=3).numpy()
    up = ops.upsample_nearest(y, factor=3).numpy()
    assert abs((down * y).sum() - (x * up).sum()) <= FLOAT64


# Layer norm


def test_layer_norm_makes_mean_0_and_variance_1_in_each_example() -> None:
    x = 5 * RNG(0).standard_normal((3, 4, 2, 6)) + 7
    y = ops.layer_norm(x, np.ones((4, 2, 6)), np.zeros((4, 2, 6)), eps=1e-12).numpy()
    rows = y.reshape(3, -1)
    assert np.abs(rows.mean(axis=1)).max() <= FLOAT64
    assert np.abs(rows.var(axis=1) - 1).max() <= FLOAT64


def test_layer_norm_ignores_scale_and_shift_of_an_example() -> None:
    x, weight, bias = (RNG(i).standard_normal(s) for i, s in enumerate([(4, 7), 7, 7]))
    scale, shift = np.array([[0.5], [1], [3], [100]]), np.array([[9], [0], [-2], [1]])
    plain = ops.layer_norm(x, weight, bias, eps=1e-14).numpy()
    moved = ops.layer_norm(scale * x + shift, weight, bias, eps=1e-14).numpy()
    assert np.abs(plain - moved).max() <= 1e-11  # scaled by 100, rounding is too


def test_layer_norm_couples_no_examples() -> None:
    """Neither value nor gradient of one example knows of the others."""
    weight, bias = RNG(1).standard_normal((2, 5))
    x, u = RNG(0).standard_normal((2, 6, 5))

    def gradient(rows: slice) -> tuple[Array, Array]:
        leaf = Parameter(x[rows])
        y = ops.layer_norm(leaf, weight, bias)
        y.backward(u[rows])
        assert leaf.grad is not None
        return y.numpy(), leaf.grad

    for alone, together in zip(
        gradient(slice(2, 3)), gradient(slice(0, 6)), strict=True
    ):
        np.testing.assert_array_equal(alone, together[2:3])


def test_layer_norm_of_a_constant_is_the_bias() -> None:
    """Nothing to normalise: eps keeps the division finite."""
    x = Parameter(np.full((2, 3), 4.0, np.float32))
    y = ops.layer_norm(x, np.ones(3, np.float32), np.arange(3, dtype=np.float32))
    assert np.abs(y.numpy() - [0, 1, 2]).max() <= FLOAT32
    ops.sum(y * np.array([1, 2, 3], np.float32)).backward()
    assert x.grad is not None
    assert np.isfinite(x.grad).all()


# Mistakes

MAP, ROWS, FEATURES = np.ones((1, 2, 5, 6)), np.ones((4, 3)), np.ones(3)
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "rows": (lambda: ops.max_pool2d(ROWS, kernel=1), "(N, C, H, W), not (4, 3)"),
    "a kernel over the map": (
        lambda: ops.avg_pool2d(MAP, kernel=8, padding=1),
        "a kernel of 8 is larger than the map of 5 x 6 with padding 1; 7 would fit",
    ),
    "a padding over half": (
        lambda: ops.max_pool2d(MAP, kernel=3, padding=2),
        "padding must be 0 to 1, half the kernel 3, not 2",
    ),
    "a negative padding": (
        lambda: ops.max_pool2d(MAP, kernel=3, padding=-1),
        "padding must be 0 to 1",
    ),
    "no kernel": (lambda: ops.max_pool2d(MAP, kernel=0), "not 0 and 0"),
    "no stride": (lambda: ops.avg_pool2d(MAP, kernel=2, stride=0), "not 2 and 0"),
    "rows enlarged": (lambda: ops.upsample_nearest(ROWS, factor=2), "not (4, 3)"),
    "no factor": (lambda: ops.upsample_nearest(MAP, factor=0), "at least 1, not 0"),
    "features that differ": (
        lambda: ops.layer_norm(MAP, FEATURES, FEATURES),
        "x (1, 2, 5, 6) with a weight (3,): the weight must have the shape of x's "
        "last axes, such as (2, 5, 6)",
    ),
    "the batch normalised": (
        lambda: ops.layer_norm(ROWS, ROWS, ROWS),
        "with a weight (4, 3): the weight must have the shape of x's last axes, "
        "such as (3,)",
    ),
    "a bias that differs": (
        lambda: ops.layer_norm(ROWS, FEATURES, np.ones(2)),
        "weight (3,) and bias (2,)",
    ),
    "no eps": (
        lambda: ops.layer_norm(ROWS, FEATURES, FEATURES, eps=0),
        "eps must be positive, not 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_numbers_and_what_would_fit(mistake: str) -> None:
    call, words = MISTAKES[mistake]
    with pytest.raises(UserError, match=re.escape(words)):
        call()


def test_what_the_message_says_would_fit_does_fit() -> None:
    assert ops.avg_pool2d(MAP, kernel=7, padding=1).shape == (1, 2, 1, 1)
    assert ops.max_pool2d(MAP, kernel=3, padding=1).shape == (1, 2, 2, 2)
    assert ops.layer_norm(MAP, MAP[0], MAP[0]).shape == MAP.shape
