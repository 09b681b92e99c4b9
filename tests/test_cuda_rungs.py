"""Every CUDA rung, as compiled, in the interpreter: right, and moving what it states.

The interpreter looks for races, unwritten memory, divergent barriers, accesses out of
bounds and unaligned ones in every run here; outputs are NaN until they are written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from kernel_cases import (
    IN_PLACE,
    PHILOX,
    TOLERANCES,
    assert_close,
    call_for,
    results,
)
from minivae_kernels import (
    CannotRunError,
    Family,
    Rung,
    Session,
    families,
    family,
    running_on,
)
from minivae_kernels.devices import why_not_driver
from minivae_kernels.examples import CALLS, Call, Draw
from minivae_kernels.launch import CudaC, NumbaCuda, entry_name
from minivae_kernels.proof import (
    DOUBLE_SHAPES,
    WORST_NOISE,
    faults,
    faults_of_call,
    shapes_for,
    special_faults,
)

pytestmark = pytest.mark.needs("ptx")

RUNGS = [(f, rung) for f in families() for rung in f.rungs if rung.kernels]
NAMES = [f"{f.name}-{rung.name}" for f, rung in RUNGS]
each_rung = pytest.mark.parametrize(("family", "rung"), RUNGS, ids=NAMES)
NO_ROWS = ("philox.", "sgd", "adagrad", "rmsprop", "adam")  # take flat arrays


@contextmanager
def forced(family: Family, rung: Rung, **options: Any) -> Iterator[Session]:
    with running_on("ptx", **options) as session, family.use(rung.name):
        yield session


def run(family: Family, rung: Rung, call: Call, **options: Any) -> tuple[Any, Session]:
    """A forced rung's results, and what was launched for them."""
    with forced(family, rung, **options) as session:
        assert rung.why_not(*call[0], **call[1]) is None
        return results(family.name, rung, call), session


def check(family: Family, rung: Rung, shape: tuple[int, int], dtype: type) -> None:
    """Values, bytes and launches of one call; or another rung that takes it."""
    seed = hash((family.name, rung.name, shape)) % 2**32  # new inputs in each process
    call = call_for(family.name, rung, shape, dtype, seed)
    arrays, options = call
    with running_on("ptx"):
        if rung.why_not(*arrays, **options):
            chosen = family.chosen(*arrays, **options)
            assert chosen is not rung
            assert chosen.runs_on == "cuda" or rung.needs == "z"
            return
    assert not list(faults(family, rung, [shape], dtype, seed))


CASES = [(f, r, shape) for f, r in RUNGS for shape in shapes_for(f)]
CASE_NAMES = [f"{f.name}-{r.name}-{shape[0]}x{shape[1]}" for f, r, shape in CASES]


@pytest.mark.parametrize(("family", "rung", "shape"), CASES, ids=CASE_NAMES)
def test_a_cuda_rung_equals_its_reference_and_moves_the_bytes_it_states(
    family: Family, rung: Rung, shape: tuple[int, int]
) -> None:
    check(family, rung, shape, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("shape", DOUBLE_SHAPES, ids=str)
@each_rung
def test_the_same_source_is_right_in_float64(
    family: Family, rung: Rung, shape: tuple[int, int]
) -> None:
    if np.dtype(np.float64) in rung.dtypes:
        check(family, rung, shape, np.float64)


@each_rung
def test_a_rung_is_right_on_long_walks_and_at_the_edge_of_precision(
    family: Family, rung: Rung
) -> None:
    assert not list(special_faults(family, rung))


@each_rung
def test_two_runs_give_the_same_bits(family: Family, rung: Rung) -> None:
    call = call_for(family.name, rung, (65, 20), np.float32)
    for a, b in zip(
        run(family, rung, call)[0], run(family, rung, call)[0], strict=True
    ):
        assert a.tobytes() == b.tobytes()


KERNELS = {str(kernel): kernel for _, rung in RUNGS for kernel in rung.kernels}
ATOMIC = {"bernoulli_cuda:atomic", "conv_columns:scatter"}


@pytest.mark.parametrize("name", KERNELS)
def test_only_the_rungs_that_show_it_add_atomically(name: str) -> None:
    """Float atomics add in any order: the one thing that two GPU runs may differ in."""
    kernel = KERNELS[name]
    text = kernel.compiled().ptx
    entry = entry_name(text, kernel.name)
    (own,) = (part for part in text.split(".entry ")[1:] if part.startswith(entry))
    assert bool(re.search(r"\b(atom|red)\.", own)) == (name in ATOMIC)


# Floors

LAST_AT_THE_FLOOR = {
    "bernoulli": ["bernoulli_fast"],
    "gaussian.forward": ["forward_vectors", "forward_fast"],
    "gaussian.backward": ["backward_vectors", "backward_fast"],
    "adam": ["adam_vectors"],
    **{name: [name.split(".")[1] + "_fours"] for name in PHILOX},
    "relu.forward": ["forward_vectors"],
    "relu.backward": ["backward_vectors"],
}


@pytest.mark.parametrize(
    ("name", "rung"), [(n, r) for n, rungs in LAST_AT_THE_FLOOR.items() for r in rungs]
)
def test_the_last_rungs_move_the_floor_and_what_they_name(name: str, rung: str) -> None:
    each = family(name)
    last = each.named(rung)
    arrays, options = call_for(name, last, (64, 20), np.float32)
    assert last.cost is not None
    cost = last.cost(*arrays, **options)
    assert cost.bytes == each.cost(*arrays, **options).bytes
    per_image = 4 * 64
    assert sum(cost.beside.values()) in (0, per_image)
    assert last in [r for r in each.rungs if r.needs == last.needs][-1:]


# Noise


def test_words_are_the_same_bits_in_numpy_numba_and_both_kinds_of_ptx() -> None:
    each, arguments = family("philox.words"), ((5 << 32) + 7, 3, (1 << 40) + 8, 1023)
    expected = each.rungs[0].function(*arguments)
    for rung in each.rungs[1:]:
        with running_on("ptx"):
            np.testing.assert_array_equal(rung.function(*arguments), expected)
    languages = {(rung.runs_on, rung.language) for rung in each.rungs}
    assert languages == {
        ("numpy", "NumPy"),
        ("cpu", "Numba"),
        ("cuda", "Numba"),
        ("cuda", "CUDA C"),
    }


def test_the_published_words_of_a_zero_counter_and_key_come_out_of_ptx() -> None:
    known = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    for rung in family("philox.words").rungs:
        with running_on("ptx"):
            assert rung.function(0, 0, 0, 4).tolist() == known


@pytest.mark.parametrize("first", [5, 6, 7, (1 << 34) + 1])
@pytest.mark.parametrize("name", PHILOX)
def test_any_first_element_is_drawn_by_a_rung_that_takes_it(
    name: str, first: int
) -> None:
    each, like = family(name), np.empty(0, np.float32)
    arguments = (11, 2, first, 37)
    with running_on("ptx"):
        chosen = each.chosen(*arguments, like=like)
        said = each.explain(*arguments, like=like)
        found = each(*arguments, like=like)
    assert chosen.name.endswith("_each")
    assert "first must be a multiple of 4" in said
    expected = each.rungs[0].function(*arguments, like=like)
    assert_close([found], [expected], TOLERANCES[np.float32])


def test_forward_and_backward_draw_the_same_noise() -> None:
    """σ ε = z − μ of the forward rung is what the backward rung multiplies z̄ with."""
    mu, logvar = np.zeros((9, 8), np.float32), np.zeros((9, 8), np.float32)
    ones, zeros = np.ones_like(mu), np.zeros(9, np.float32)
    key = (17, 2, 40)
    pairs = [
        ("forward_drawn", "backward_each_drawn"),
        ("forward_drawn_vectors", "backward_drawn_vectors"),
        ("forward_fast", "backward_fast"),
    ]
    for there, back in pairs:
        with running_on("ptx"):
            forward = family("gaussian.forward").named(there).function
            backward = family("gaussian.backward").named(back).function
            z, _ = forward(mu, logvar, key=key)
            _, logvar_bar = backward(ones, zeros, mu, logvar, key=key)
        np.testing.assert_array_equal(2 * logvar_bar, z)


# The hardware's approximations at the edge of their error

EDGES = np.array([0, 1e-8, -1e-8, 1, -1, 20, -20, 90, -90, 1e4, -1e4, 5], np.float32)
FAST = 2e-6  # of the largest value: __logf is 4e-7 off, __expf 2 ulp


@pytest.mark.parametrize("noise", [-1, 0, 1])
def test_fast_bernoulli_is_right_at_the_edge_of_the_documented_error(
    noise: int,
) -> None:
    each = family("bernoulli")
    logits = np.concatenate([EDGES, Draw(np.float32).normal((212,)) * 5]).reshape(2, -1)
    target = Draw(np.float32).binary(logits.shape)
    (values, gradient), _ = run(
        each, each.named("bernoulli_fast"), ([logits, target, 1.0], {}), noise=noise
    )
    right, slope = each.rungs[0].function(
        logits.astype(np.float64), target.astype(np.float64), 1.0
    )
    assert np.abs(values - right).max() <= FAST * right.max()
    assert np.abs(gradient - slope).max() <= FAST


@pytest.mark.parametrize("noise", [-1, 0, 1])
@pytest.mark.parametrize("rung", ["forward_drawn_vectors", "forward_fast"])
def test_normals_are_finite_where_a_logarithm_may_change_its_sign(
    rung: str, noise: int
) -> None:
    zero = np.zeros((1, 4), np.float32)
    with running_on("ptx", noise=noise):
        z, kl = (
            family("gaussian.forward").named(rung).function(zero, zero, key=WORST_NOISE)
        )
    right = family("philox.normals").rungs[0].function(*WORST_NOISE, 4)
    # near u = 1 the root multiplies the error: its slope there is 1 / radius
    assert np.abs(z - right).max() <= 1.5e-3
    assert kl[0] == 0


@pytest.mark.parametrize("noise", [-1, 0, 1])
def test_fast_normals_keep_to_1e_5(noise: int) -> None:
    key, zero = (3, 1, 0), np.zeros((64, 64), np.float32)
    with running_on("ptx", noise=noise):
        forward = family("gaussian.forward").named("forward_fast").function
        z, _ = forward(zero, zero, key=key)
    right = family("philox.normals").rungs[0].function(*key, zero.size)
    assert np.abs(z.reshape(-1) - right).max() <= 1e-5


# Views and bad input


def shifted(array: np.ndarray) -> np.ndarray:
    """The same values, one element past an aligned address."""
    room = np.empty(array.size + 8, array.dtype)
    start = -room.ctypes.data % 16 // array.itemsize + 1
    view = room[start : start + array.size].reshape(array.shape)
    view[...] = array
    return view


def scattered(array: np.ndarray) -> np.ndarray:
    """The same values, every other element of a wider array."""
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def changed(call: Call, change: Any) -> Call:
    def one(value: Any) -> Any:
        is_one = isinstance(value, np.ndarray) and value.ndim and value.size
        return change(value) if is_one else value

    return [one(a) for a in call[0]], {k: one(v) for k, v in call[1].items()}


WIDE_RUNGS = re.compile("_(vectors|fast)$")
VECTORS = [(f, r) for f, r in RUNGS if WIDE_RUNGS.search(r.name)]


@pytest.mark.parametrize(("family", "rung"), VECTORS, ids=lambda each: each.name)
def test_unaligned_arrays_go_to_a_scalar_rung_visibly(
    family: Family, rung: Rung
) -> None:
    call = changed(call_for(family.name, rung, (5, 20), np.float32), shifted)
    arrays, options = call
    with running_on("ptx"):
        chosen = family.chosen(*arrays, **options)
        assert "16 bytes at once" in family.explain(*arrays, **options)
        with pytest.raises(CannotRunError, match="16 bytes"), family.use(rung.name):
            family(*arrays, **options)
        found = results(family.name, chosen, call)
    assert chosen.runs_on == "cuda" or rung.needs == "z"  # which has no scalar rung
    expected = results(family.name, family.rungs[0], call)
    assert_close(found, expected, TOLERANCES[np.float32])


BY_STRIDES = ("matmul", "conv.forward", "conv.adjoint", "conv.weight")


@each_rung
def test_scattered_arrays_are_copied_or_refused(family: Family, rung: Rung) -> None:
    plain = call_for(family.name, rung, (5, 20), np.float32)
    call = changed(plain, scattered)
    if family.name in IN_PLACE:
        with running_on("ptx"):
            assert "contiguous" in str(rung.why_not(*call[0], **call[1]))
        return
    words = {"matmul_vectors": "neighbours"}
    if family.name.startswith("conv.") and rung.language == "CUDA C":
        words[rung.name] = "contiguous weight|channels last"
    if rung.name in words and rung.name != "weight_implicit":
        with running_on("ptx"):
            assert re.search(words[rung.name], str(rung.why_not(*call[0], **call[1])))
        return
    expected, _ = run(family, rung, plain)
    found, _ = run(family, rung, call)
    assert_close(found, expected, 0.0)
    if family.name not in (*PHILOX, *BY_STRIDES):
        with forced(family, rung):
            assert "copies" in family.explain(*call[0], **call[1])


ONE_PASS = CudaC("bernoulli", "one_pass", 256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:-1], "takes 6 arguments, got 5"),
        (lambda a: [*a, 1], "takes 6 arguments, got 7"),
        (lambda a: [a[0], a[1].astype(np.float64), *a[2:]], "target is float32"),
        (lambda a: [a[0], a[1], a[3], a[2], *a[4:]], "scale is a number"),
        (lambda a: [*a[:5], a[0]], "D is a number"),
        (lambda a: [a[0].T, *a[1:]], "logits must be contiguous"),
    ],
)
def test_an_argument_of_the_wrong_number_kind_or_dtype_is_refused(
    change: Any, message: str
) -> None:
    x = np.ones((2, 3), np.float32)
    right = [x, x, 1.0, np.empty(2, np.float32), np.empty_like(x), 3]
    with running_on("ptx"):
        ONE_PASS[2, 256](*right)
        with pytest.raises(TypeError, match=message):
            ONE_PASS[2, 256](*change(right))


def test_numba_arguments_are_checked_too() -> None:
    kernel = NumbaCuda("bernoulli_cuda", "add_partials", 256)
    partials, values = np.ones((2, 3), np.float32), np.ones(2, np.float32)
    with running_on("ptx"):
        kernel[1, 256](partials, values)
        assert values.tolist() == [3, 3]
        with pytest.raises(TypeError, match="values is float32, got float64"):
            kernel[1, 256](partials, values.astype(np.float64))


def test_cuda_rungs_run_nowhere_by_themselves() -> None:
    x = np.ones((2, 4), np.float32)
    with (
        pytest.raises(CannotRunError, match=r"CuPy arrays, or in running_on\('ptx'\)"),
        family("bernoulli").use("bernoulli_one_pass"),
    ):
        family("bernoulli")(x, x)
    with pytest.raises(CannotRunError, match="CuPy arrays"):
        ONE_PASS[1, 256](x, x, 1.0, x[0], x, 4)


@pytest.mark.parametrize("place", ["moon", "simulator"])
def test_a_place_that_is_not_here_says_why(place: str) -> None:
    words = {"moon": "no place 'moon'; have ptx, simulator"}
    expected = words.get(place, "NUMBA_ENABLE_CUDASIM=1")
    with pytest.raises(CannotRunError, match=expected), running_on(place):
        pass


def test_running_on_ends_with_its_block() -> None:
    x = np.ones((2, 4), np.float32)
    bernoulli = family("bernoulli")
    before = bernoulli.chosen(x, x)
    with running_on("ptx"):
        assert bernoulli.chosen(x, x) is bernoulli.rungs[-1]
    assert bernoulli.chosen(x, x) is before


def test_a_missing_nvrtc_is_said_and_routed_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reason = "needs NVRTC, which was not found: pip install 'minivae[ptx]'"
    monkeypatch.setattr(sys.modules[Family.__module__], "why_no_nvrtc", lambda: reason)
    x = np.ones((2, 4), np.float32)
    bernoulli = family("bernoulli")
    with running_on("ptx"):
        assert bernoulli.chosen(x, x).language == "Numba"
        assert reason in bernoulli.explain(x, x)
        with (
            pytest.raises(CannotRunError, match="pip install"),
            bernoulli.use("bernoulli_fast"),
        ):
            bernoulli(x, x)


def test_a_driver_older_than_the_toolkit_is_told_from_one_that_is_not() -> None:
    assert why_not_driver(13000, (13, 0)) is None
    assert why_not_driver(13020, (13, 0)) is None
    said = why_not_driver(12080, (13, 0))
    assert said is not None
    assert "CUDA up to 12.8" in said
    assert "the toolkit is 13.0" in said
    assert "update the driver" in said


def test_every_cuda_rung_names_what_it_launches_and_moves() -> None:
    for each in families():
        for rung in each.rungs:
            if rung.runs_on == "cuda" and rung.language != "CuPy":
                assert rung.kernels, rung
                assert rung.cost is not None, rung
    with_cuda = {f.name for f, _ in RUNGS}
    assert with_cuda == set(CALLS)


# Products of transposed views, and means of nothing

MATMULS = [rung for rung in family("matmul").rungs if rung.kernels]


@pytest.mark.parametrize("rung", MATMULS, ids=lambda rung: rung.name)
@pytest.mark.parametrize("turned", ["", "x", "y", "xy"])
@pytest.mark.parametrize("epilogue", ["nothing", "identity", "relu"])
def test_a_product_takes_transposed_views_and_every_epilogue(
    rung: Rung, turned: str, epilogue: str
) -> None:
    draw = Draw(np.float32)
    x = draw.normal((68, 36)).T if "x" in turned else draw.normal((36, 68))
    y = draw.normal((132, 68)).T if "y" in turned else draw.normal((68, 132))
    options: dict[str, Any] = {}
    if epilogue != "nothing":
        options = {"bias": draw.normal((132,)), "activation": epilogue}
    found = list(faults_of_call(family("matmul"), rung, ([x, y], options), 2e-6))
    assert not found


def test_products_that_do_not_fit_are_refused() -> None:
    x, y = np.ones((2, 3), np.float32), np.ones((4, 5), np.float32)
    for rung in MATMULS[:4]:
        with (
            running_on("ptx"),
            pytest.raises(ValueError, match=r"x \(2, 3\), y \(4, 5"),
        ):
            rung.function(x, y)
        with running_on("ptx"), pytest.raises(ValueError, match="without a bias"):
            rung.function(x, y[:3], activation="relu")


@pytest.mark.parametrize("number", range(4))
def test_weights_of_nothing_but_minus_infinity_have_that_value(number: int) -> None:
    rung = family("logmeanexp").rungs[number]
    w = np.array([[-np.inf, -np.inf, -np.inf], [-np.inf, 0, 1]], np.float32)
    with running_on("ptx"):
        values, weights = rung.function(w)
    assert values[0] == -np.inf
    assert np.isnan(weights[0]).all()
    np.testing.assert_allclose(values[1], np.log((1 + np.e) / 3), rtol=1e-6)
    np.testing.assert_allclose(weights[1], [0, 1 / (1 + np.e), np.e / (1 + np.e)], 1e-6)


@pytest.mark.parametrize("number", range(4))
def test_no_weight_is_too_large_for_its_exponential(number: int) -> None:
    rung = family("logmeanexp").rungs[number]
    w = np.array([[1000, 1001, -1000]], np.float32)
    with running_on("ptx"):
        values, weights = rung.function(w)
    np.testing.assert_allclose(values, [1001 + np.log((1 + 1 / np.e) / 3)], rtol=1e-6)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)


def test_weights_are_the_gradient_of_the_value() -> None:
    w = Draw(np.float64).normal((3, 5))
    logmeanexp = family("logmeanexp").rungs[0].function
    _, weights = logmeanexp(w)
    h = 1e-6
    for n, s in np.ndindex(w.shape):
        up, down = w.copy(), w.copy()
        up[n, s] += h
        down[n, s] -= h
        slope = (logmeanexp(up)[0] - logmeanexp(down)[0])[n] / (2 * h)
        assert abs(slope - weights[n, s]) <= 1e-8
