"""Convolution and the rectifier on a CUDA device: memory orders, biases, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import assert_close
from minivae_kernels import (
    CannotRunError,
    Family,
    Rung,
    conv_implicit,
    family,
    running_on,
)
from minivae_kernels.conv_device import inside
from minivae_kernels.examples import Call, Draw, example
from test_conv import EQUAL, FAMILIES, Geometry, geometries

pytestmark = pytest.mark.needs("ptx")

RUNGS = [
    (family(n), rung) for n in FAMILIES for rung in family(n).rungs if rung.kernels
]
each_rung = pytest.mark.parametrize(
    ("conv", "rung"), RUNGS, ids=[rung.name for _, rung in RUNGS]
)
LIKE_LAYERS = Geometry(3, 5, 8, (7, 10), (4, 3), 2, 1)


def assert_equals_definition(conv: Family, rung: Rung, call: Call) -> Any:
    """The rung's result, within rounding of the sum of its products, and its bytes."""
    arrays, options = call
    wide = [a.astype(np.float64) for a in arrays]
    expected = conv.rungs[0].function(*wide, **options)
    sizes = conv.rungs[0].function(*map(np.abs, wide), **options)
    with running_on("ptx") as session, conv.use(rung.name):
        found = conv(*arrays, **options)
    assert found.shape == expected.shape
    assert found.dtype == arrays[0].dtype
    error = np.abs(found - expected)
    assert (error <= EQUAL[np.float32] * (1 + np.abs(sizes))).all()
    assert rung.cost is not None
    assert session.bytes_moved == rung.cost(*arrays, **options).moved
    return found


# Memory


@each_rung
def test_maps_are_taken_in_either_order_or_refused_in_words(
    conv: Family, rung: Rung
) -> None:
    plain = LIKE_LAYERS.call(conv.name, LIKE_LAYERS.arrays(np.float32))
    arrays, options = plain
    last = [_channels_last(a) if a.shape[2:] != (4, 3) else a for a in arrays]
    expected = assert_equals_definition(conv, rung, (last, options))
    with running_on("ptx"):
        assert "copies" not in conv.explain(*arrays, **options)
        reason = rung.why_not(*arrays, **options)
    if reason:
        assert "channels last in memory" in reason
        assert (
            "collected" in rung.name
            or "scattered" in rung.name
            or (rung.name == "weight_gathered")
        )
    else:
        found = assert_equals_definition(conv, rung, plain)
        np.testing.assert_array_equal(found, expected)


def _channels_last(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@each_rung
def test_results_lie_channels_last_and_weights_as_weights(
    conv: Family, rung: Rung
) -> None:
    arrays, options = example(conv.name, (2, 1024))
    with running_on("ptx"):
        found = rung.function(*arrays, **options)
    axes = (0, 1, 2, 3) if conv.name == "conv.weight" else (0, 2, 3, 1)
    assert found.transpose(axes).flags.c_contiguous


@pytest.mark.parametrize("change", ["backwards", "weight"])
def test_what_cuda_c_cannot_take_goes_to_the_readable_rung(change: str) -> None:
    forward = family("conv.forward")
    (x, w), options = LIKE_LAYERS.call("conv.forward", LIKE_LAYERS.arrays(np.float32))
    arrays = [x[:, :, ::-1], w] if change == "backwards" else [x, w[:, :, ::-1]]
    words = {"backwards": "whose axes run forwards", "weight": "a contiguous weight"}
    with running_on("ptx"):
        assert forward.chosen(*arrays, **options).name == "forward_each"
        assert words[change] in forward.explain(*arrays, **options)
        with pytest.raises(CannotRunError), forward.use("forward_implicit"):
            forward(*arrays, **options)
    assert_equals_definition(forward, forward.named("forward_each"), (arrays, options))


# Bytes and biases


@settings(max_examples=300, deadline=None)
@given(
    size=st.integers(1, 9),
    kernel=st.integers(1, 6),
    stride=st.integers(1, 4),
    padding=st.integers(0, 5),
    more=st.integers(-1, 2),
)
def test_taps_inside_are_those_one_counts(
    size: int, kernel: int, stride: int, padding: int, more: int
) -> None:
    small = max(0, (size + 2 * padding - kernel) // stride + 1 + more)
    reads = [s * stride + a - padding for s in range(small) for a in range(kernel)]
    counted = sum(0 <= read < size for read in reads)
    assert inside(size, small, kernel, stride, padding) == counted


BIASED = [(conv, rung) for conv, rung in RUNGS if conv.name != "conv.weight"]


@pytest.mark.parametrize(("conv", "rung"), BIASED, ids=lambda each: each.name)
def test_a_bias_begins_every_sum_and_without_one_it_is_zero(
    conv: Family, rung: Rung
) -> None:
    arrays, options = LIKE_LAYERS.call(conv.name, LIKE_LAYERS.arrays(np.float32))
    arrays[0] = _channels_last(arrays[0])
    bias = Draw(np.float32).normal((8 if conv.name == "conv.forward" else 5,))
    without = assert_equals_definition(conv, rung, (arrays, options))
    given = assert_equals_definition(conv, rung, (arrays, {**options, "bias": bias}))
    assert np.abs(given - without - bias[:, None, None]).max() <= 1e-5


def test_each_rung_moves_less_than_the_one_before() -> None:
    for name in FAMILIES:
        arrays, options = example(name)
        rungs = [rung for rung in family(name).rungs if rung.kernels]
        moved = [r.cost(*arrays, **options).moved for r in rungs if r.cost is not None]
        assert moved == sorted(moved, reverse=True)
        assert moved[-1] > family(name).cost(*arrays, **options).bytes


@pytest.mark.parametrize("groups", [1, 3, 64])
def test_any_number_of_partial_sums_gives_the_gradient(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv_implicit, "MOST_GROUPS", groups)
    monkeypatch.setattr(conv_implicit, "LEAST_PIXELS", 20)  # not whole steps of 16
    weight, g = family("conv.weight"), Geometry(9, 3, 5, (7, 5), (3, 2), 1, 1)
    call = g.call("conv.weight", g.arrays(np.float32))
    assert_equals_definition(weight, weight.named("weight_implicit"), call)


@pytest.mark.slow
@each_rung
@settings(max_examples=8, deadline=None)
@given(geometry=geometries(most_channels=5), seed=st.integers(0, 99))
def test_a_rung_equals_the_definition_on_any_shape(
    conv: Family, rung: Rung, geometry: Geometry, seed: int
) -> None:
    arrays, options = geometry.call(conv.name, geometry.arrays(np.float32, seed))
    large, other = arrays  # a map, and the weight or the other map
    maps = conv.name == "conv.weight"
    last = [_channels_last(large), _channels_last(other) if maps else other]
    with running_on("ptx"):
        assert rung.why_not(*last, **options) is None
    assert_equals_definition(conv, rung, (last, options))


# Refusals


@pytest.mark.parametrize("name", FAMILIES)
def test_maps_that_do_not_belong_together_are_refused(name: str) -> None:
    arrays, options = LIKE_LAYERS.call(name, LIKE_LAYERS.arrays(np.float32))
    wrong = arrays[0][:-1] if name == "conv.weight" else arrays[0][:, :-1]
    for rung in family(name).rungs:
        if not rung.kernels:
            continue
        with (
            running_on("ptx"),
            pytest.raises(ValueError, match=r"convolution of \w \("),
        ):
            rung.function(np.ascontiguousarray(wrong), arrays[1], **options)
        if name != "conv.weight":
            bias = np.ones(9, np.float32)
            with running_on("ptx"), pytest.raises(ValueError, match=r"bias \(9,\)"):
                rung.function(*arrays, **options, bias=bias)


def test_a_matrix_of_too_many_windows_is_left_to_those_that_make_none() -> None:
    forward = family("conv.forward")
    one = np.float32(1)  # in every place: arrays that take no memory
    cases = [
        ((4_200_000, 1, 1, 1), (4, 1, 1, 1), 0, "at most 4194240 windows, got 4200000"),
        ((1538, 12, 50, 1), (1, 12, 50, 1), 25, "a matrix of 4000338 x 600 elements"),
    ]
    for x, w, padding, reason in cases:
        arrays = np.broadcast_to(one, x), np.ones(w, np.float32)
        window = {"stride": 1, "padding": padding}
        with running_on("ptx"):
            assert reason in forward.explain(*arrays, **window)
            assert forward.chosen(*arrays, **window).name == "forward_implicit"


def test_a_stride_with_too_many_places_goes_to_the_product() -> None:
    adjoint, w = family("conv.adjoint"), np.ones((1, 1, 2, 2), np.float32)
    y = np.ones((1, 1, 1, 2), np.float32)
    window: dict[str, Any] = {"padding": 0, "size": (2, 258)}
    with running_on("ptx"):
        assert adjoint.chosen(y, w, stride=255, **window).name == "adjoint_implicit"
        assert adjoint.chosen(y, w, stride=256, **window).name == "adjoint_collected"
        assert "square is at most 65535" in adjoint.explain(y, w, stride=256, **window)
        x = adjoint(y, w, stride=256, **window)
    assert x.sum() == 8
    assert x[0, 0, :, [0, 1, 256, 257]].all()


# The rectifier

RELU = [
    (f, rung)
    for f in map(family, ("relu.forward", "relu.backward"))
    for rung in f.rungs
    if rung.kernels
]
each_relu = pytest.mark.parametrize(
    ("relu", "rung"), RELU, ids=[rung.name for _, rung in RELU]
)


@each_relu
def test_a_map_keeps_its_order_in_memory_and_is_not_copied(
    relu: Family, rung: Rung
) -> None:
    draw = Draw(np.float32)
    count = len(example(relu.name)[0])
    maps = [_channels_last(draw.normal((2, 3, 5, 7))) for _ in range(count)]
    with running_on("ptx"), relu.use(rung.name):
        found = relu(*maps)
        assert "copies" not in relu.explain(*maps)
    assert found.strides == maps[-1].strides
    assert_close([found], [relu.rungs[0].function(*maps)], 0.0)


def test_a_gradient_in_another_order_is_copied_and_that_is_said() -> None:
    backward, draw = family("relu.backward"), Draw(np.float32)
    y_bar = draw.normal((2, 3, 5, 7))
    y = _channels_last(draw.normal((2, 3, 5, 7)))
    with running_on("ptx"):
        assert "copies 1 array, scattered" in backward.explain(y_bar, y)
        found = backward(y_bar, y)
    assert_close([found], [backward.rungs[0].function(y_bar, y)], 0.0)


@each_relu
def test_what_is_not_finite_stays_so(relu: Family, rung: Rung) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1, -1, 0], np.float32)
    pairs = np.meshgrid(values, values)
    arrays = [a.reshape(-1) for a in pairs[: len(example(relu.name)[0])]]
    with running_on("ptx"), np.errstate(invalid="ignore"):
        found = rung.function(*arrays)
        expected = relu.rungs[0].function(*arrays)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "rung", family("relu.backward").rungs[2:], ids=lambda each: each.name
)
def test_the_seed_of_a_scalar_may_be_a_number(rung: Rung) -> None:
    with running_on("ptx"):
        for y in (2.0, -2.0):
            found = rung.function(1.0, np.array(y, np.float32))
            assert found.shape == ()
            assert found == (y > 0)
        with pytest.raises(ValueError, match="one shape"):
            rung.function(np.ones(3, np.float32), np.ones(4, np.float32))
