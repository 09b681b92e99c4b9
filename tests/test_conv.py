"""Convolution: one relation, its adjoints exact, every rung the definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minivae_kernels import Family, Rung, family
from minivae_kernels import threads as pool
from scipy.signal import correlate2d

from minivae import Tensor, nn, ops
from minivae.errors import UserError
from minivae.random import Noise

ADJOINT = 1e-12  # of Σ |x y|: rounding of sums of a few thousand products in float64
EQUAL = {np.float64: 1e-12, np.float32: 1e-5}  # of Σ |products| of an element

FAMILIES = ("conv.forward", "conv.adjoint", "conv.weight")
RUNGS = [(family(name), rung) for name in FAMILIES for rung in family(name).rungs[1:]]
each_rung = pytest.mark.parametrize(
    ("conv", "rung"), RUNGS, ids=[rung.name for _, rung in RUNGS]
)


@dataclass(frozen=True)
class Geometry:
    """Sizes of one convolution."""

    n: int
    c: int
    o: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: int
    padding: int

    @property
    def small(self) -> tuple[int, int]:
        p, q = (
            (s + 2 * self.padding - k) // self.stride + 1
            for s, k in zip(self.size, self.kernel, strict=True)
        )
        return p, q

    def arrays(self, dtype: type = np.float64, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        shapes = {
            "x": (self.n, self.c, *self.size),
            "w": (self.o, self.c, *self.kernel),
            "y": (self.n, self.o, *self.small),
        }
        return {k: rng.normal(size=shape).astype(dtype) for k, shape in shapes.items()}

    def call(self, name: str, arrays: dict[str, np.ndarray]) -> tuple[list[Any], dict]:
        """The arguments of a family on these arrays."""
        window = {"stride": self.stride, "padding": self.padding}
        if name == "conv.forward":
            return [arrays["x"], arrays["w"]], window
        if name == "conv.adjoint":
            return [arrays["y"], arrays["w"]], {**window, "size": self.size}
        return [arrays["x"], arrays["y"]], {**window, "kernel": self.kernel}


@st.composite
def geometries(draw: Callable[..., Any], most_channels: int = 9) -> Geometry:
    """Kernels that are larger than the stride, and smaller; images of odd sizes."""
    padding = draw(st.integers(0, 2))
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    size = tuple(draw(st.integers(max(1, k - 2 * padding), 17)) for k in kernel)
    return Geometry(
        n=draw(st.integers(1, 3)),
        c=draw(st.integers(1, most_channels)),
        o=draw(st.integers(1, most_channels)),
        size=size,  # type: ignore[arg-type]
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        padding=padding,
    )


LAYERS = [  # of the models, and what is odd about convolutions
    Geometry(3, 1, 32, (28, 28), (4, 4), 2, 1),
    Geometry(3, 32, 64, (14, 14), (4, 4), 2, 1),
    Geometry(9, 32, 32, (8, 8), (4, 4), 2, 1),
    Geometry(2, 20, 9, (11, 6), (3, 5), 3, 2),  # not whole vectors
    Geometry(2, 8, 16, (5, 5), (2, 2), 3, 0),  # pixels under no window
    Geometry(1, 8, 8, (1, 1), (1, 1), 3, 2),  # windows over padding alone
    Geometry(0, 8, 8, (6, 6), (3, 3), 1, 1),
]


def test_the_definition_is_what_scipy_correlates() -> None:
    for g in LAYERS[:5]:
        a = g.arrays()
        pad = [(0, 0)] * 2 + [(g.padding, g.padding)] * 2
        x = np.pad(a["x"], pad)
        expected = np.zeros(a["y"].shape)
        for n in range(g.n):
            for o in range(g.o):
                for c in range(g.c):
                    dense = correlate2d(x[n, c], a["w"][o, c], mode="valid")
                    expected[n, o] += dense[:: g.stride, :: g.stride]
        arguments, window = g.call("conv.forward", a)
        found = family("conv.forward").rungs[0].function(*arguments, **window)
        assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()


@each_rung
@pytest.mark.parametrize("dtype", EQUAL)
@pytest.mark.parametrize("geometry", LAYERS, ids=str)
def test_a_rung_equals_the_definition_on_layers(
    conv: Family, rung: Rung, dtype: type, geometry: Geometry
) -> None:
    assert_equals_definition(conv, rung, geometry, dtype)


@each_rung
@settings(max_examples=25, deadline=None, derandomize=True)
@given(geometry=geometries())
def test_a_rung_equals_the_definition_on_any_shape(
    conv: Family, rung: Rung, geometry: Geometry
) -> None:
    assert_equals_definition(conv, rung, geometry, np.float64)


def assert_equals_definition(
    conv: Family, rung: Rung, geometry: Geometry, dtype: type
) -> None:
    a = geometry.arrays(dtype)
    arguments, options = geometry.call(conv.name, a)
    if rung.why_not(*arguments, **options):
        assert rung.fits, "only the shape may be refused here"
    if conv.name != "conv.weight":
        count = geometry.o if conv.name == "conv.forward" else geometry.c
        options["bias"] = np.linspace(-1, 1, count).astype(dtype)
    wide = [x.astype(np.float64) for x in arguments]
    expected = conv.rungs[0].function(*wide, **options)
    sizes = conv.rungs[0].function(*map(np.abs, wide), **options)
    found = rung.function(*arguments, **options)
    assert found.shape == expected.shape
    assert found.dtype == dtype
    error = np.abs(found - expected)
    assert (error <= EQUAL[dtype] * (1 + np.abs(sizes))).all()


@settings(max_examples=100, deadline=None)
@given(geometry=geometries(), extra=st.integers(0, 2), seed=st.integers(0, 99))
def test_the_transpose_is_the_adjoint(
    geometry: Geometry, extra: int, seed: int
) -> None:
    """⟨conv(x), y⟩ = ⟨x, conv_T(y)⟩ for every size that the stride leaves open."""
    g = geometry
    output_padding = min(extra, g.stride - 1)
    size = tuple(
        (p - 1) * g.stride - 2 * g.padding + k + output_padding
        for p, k in zip(g.small, g.kernel, strict=True)
    )
    if min(size) < 1:
        return
    a = Geometry(g.n, g.c, g.o, size, g.kernel, g.stride, g.padding).arrays(seed=seed)  # type: ignore[arg-type]
    window = {"stride": g.stride, "padding": g.padding}
    down = ops.conv2d(a["x"], a["w"], np.zeros(g.o), **window).data
    up = ops.conv_transpose2d(
        a["y"], a["w"], np.zeros(g.c), **window, output_padding=output_padding
    ).data
    assert up.shape == a["x"].shape
    left, right = (down * a["y"]).sum(), (a["x"] * up).sum()
    assert abs(left - right) <= ADJOINT * np.abs(a["x"] * up).sum() + ADJOINT


@settings(max_examples=50, deadline=None)
@given(geometry=geometries(), seed=st.integers(0, 99))
def test_the_weight_gradient_is_the_adjoint_in_the_weight(
    geometry: Geometry, seed: int
) -> None:
    a = geometry.arrays(seed=seed)
    results = {}
    for name in ("conv.forward", "conv.weight"):
        arguments, options = geometry.call(name, a)
        results[name] = family(name)(*arguments, **options)
    left = (results["conv.forward"] * a["y"]).sum()
    products = a["w"] * results["conv.weight"]
    assert abs(left - products.sum()) <= ADJOINT * (1 + np.abs(products).sum())


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], int]]:
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 0)
    before = pool.set_threads(1)
    yield pool.set_threads
    pool.set_threads(before)


@each_rung
def test_any_number_of_threads_gives_the_same_bits(
    conv: Family, rung: Rung, threads: Callable[[int], int]
) -> None:
    g = Geometry(37, 8, 16, (10, 10), (4, 4), 2, 1)
    arguments, options = g.call(conv.name, g.arrays(np.float32))
    one = rung.function(*arguments, **options).tobytes()
    for count in (2, 3):
        threads(count)
        assert rung.function(*arguments, **options).tobytes() == one


def test_a_shape_that_the_fastest_rung_refuses_goes_to_the_next_and_says_so() -> None:
    g = Geometry(1, 3, 5, (6, 6), (3, 3), 1, 1)
    arguments, options = g.call("conv.forward", g.arrays(np.float32))
    text = family("conv.forward").explain(*arguments, **options)
    assert "needs 8 output channels to fill a vector, not 5" in text
    assert family("conv.forward").chosen(*arguments, **options).number == 3
    wide = Geometry(1, 3, 16, (6, 6), (3, 3), 1, 1)
    arguments, options = wide.call("conv.forward", wide.arrays(np.float32))
    assert family("conv.forward").chosen(*arguments, **options).number == 4


LOOPS = [(conv, rung) for conv, rung in RUNGS if rung.number not in (2, 3)]


@pytest.mark.parametrize(("conv", "rung"), LOOPS, ids=[r.name for _, r in LOOPS])
def test_loops_refuse_shapes_that_do_not_belong_together(
    conv: Family, rung: Rung
) -> None:
    """They do not look again: they would read and write beside the arrays."""
    g = Geometry(2, 8, 8, (6, 6), (3, 3), 1, 0)
    wider = Geometry(2, 8, 8, (9, 6), (3, 3), 1, 0)
    a = g.arrays()
    wrong = {
        "conv.forward": {"x": np.ones((2, 16, 6, 6))},
        "conv.adjoint": {},
        "conv.weight": {"x": wider.arrays()["x"]},
    }
    arguments, options = wider.call(conv.name, {**a, **wrong[conv.name]})
    with pytest.raises(ValueError, match=r"does not take|no convolution ties"):
        rung.function(*arguments, **options)


def test_the_image_that_nobody_asked_about_gets_no_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = nn.Conv2d(1, 8, 3, Noise(0))
    called: list[str] = []
    real = Family.__call__

    def noted(self: Family, *arrays: Any, **options: Any) -> Any:
        called.append(self.name)
        return real(self, *arrays, **options)

    monkeypatch.setattr(Family, "__call__", noted)
    layer(np.ones((2, 1, 5, 5), np.float32)).sum().backward()
    assert called == ["conv.forward", "conv.weight", "colsum"]


def test_results_lie_channels_last_in_memory() -> None:
    x, noise = np.ones((2, 3, 6, 6), np.float32), Noise(0)
    for layer in (nn.Conv2d(3, 32, 3, noise), nn.ConvTranspose2d(3, 32, 3, noise)):
        y = layer(x).data
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous


ONES = np.ones


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.conv2d(
                ONES((1, 2, 3, 8)), ONES((4, 2, 6, 5)), ONES(4), padding=1
            ),
            r"kernel is 6 along h, the image 3 and 2 of padding: it needs 1 more",
        ),
        (
            lambda: ops.conv2d(ONES((1, 3, 8, 8)), ONES((4, 2, 3, 3)), ONES(4)),
            r"the image has 3 channels, the weight \(4, 2, 3, 3\) takes 2",
        ),
        (
            lambda: ops.conv2d(ONES((1, 2, 8, 8)), ONES((4, 2, 3, 3)), ONES(2)),
            r"the bias is \(2,\), the weight \(4, 2, 3, 3\) needs \(4,\)",
        ),
        (
            lambda: ops.conv2d(ONES((8, 8)), ONES((4, 2, 3, 3)), ONES(4)),
            r"takes maps \(N, C, H, W\), got \(8, 8\)",
        ),
        (
            lambda: ops.conv2d(
                ONES((1, 2, 8, 8)), ONES((4, 2, 3, 3)), ONES(4), stride=0
            ),
            r"padding at least 0, whole numbers, not 0, 0",
        ),
        (
            lambda: ops.conv2d(
                ONES((1, 2, 8, 8)), ONES((4, 2, 3, 3)), ONES(4), stride=1.5
            ),
            r"whole numbers, not 1.5, 0",
        ),
        (
            lambda: ops.conv2d(ONES((1, 2, 8, 8)), ONES((0, 2, 3, 3)), ONES(0)),
            r"nothing to convolve: a weight \(0, 2, 3, 3\)",
        ),
        (
            lambda: ops.conv_transpose2d(
                ONES((1, 4, 8, 8)),
                ONES((4, 2, 3, 3)),
                ONES(2),
                stride=2,
                output_padding=2,
            ),
            r"output_padding must be in \[0, stride\), here \[0, 2\), not 2",
        ),
        (
            lambda: ops.conv_transpose2d(
                ONES((1, 3, 8, 8)), ONES((4, 2, 3, 3)), ONES(2)
            ),
            r"the image has 3 channels, the weight \(4, 2, 3, 3\) takes 4",
        ),
        (
            lambda: ops.conv_transpose2d(
                ONES((1, 4, 1, 1)), ONES((4, 2, 3, 3)), ONES(2), padding=2
            ),
            r"a map of \(1, 1\) with a kernel of \(3, 3\) and padding 2 leaves",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(
    call: Callable[[], Tensor], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        call()
