"""Every rung of every family: equal to its reference, on any input, by any threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
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
from minivae_kernels import MODULES, CannotRunError, Family, Rung, families, family
from minivae_kernels import cpu as compiled
from minivae_kernels import threads as pool
from minivae_kernels.examples import CALLS, Draw
from minivae_kernels.family import Cost
from numpy.lib import NumpyVersion
from tolerances import FLOAT32

RUNGS = [(f, rung) for f in families() for rung in f.rungs if rung.runs_on == "cpu"]
each_rung = pytest.mark.parametrize(
    ("family", "rung"), RUNGS, ids=[f"{f.name}-{rung.name}" for f, rung in RUNGS]
)


def rungs_but(*excluded: str) -> Any:
    """Parametrise over the rungs of all families but some."""
    some = [(f, rung) for f, rung in RUNGS if f.name not in excluded]
    names = [f"{f.name}-{rung.name}" for f, rung in some]
    return pytest.mark.parametrize(("family", "rung"), some, ids=names)


CONV = ("conv.forward", "conv.adjoint", "conv.weight")  # of four axes: test_conv.py
SHAPES = [(1, 1), (3, 5), (7, 16), (33, 17), (64, 65), (130, 3), (5, 784)]


@pytest.fixture
def threads() -> Iterator[Callable[[int], int]]:
    before = pool.set_threads(1)
    yield pool.set_threads
    pool.set_threads(before)


def test_every_family_is_named_and_tested() -> None:
    assert set(MODULES) == set(Family.registry) == set(CALLS)


@each_rung
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_rung_equals_its_reference(
    family: Family, rung: Rung, dtype: type, shape: tuple[int, int]
) -> None:
    call = call_for(family.name, rung, shape, dtype)
    expected = results(family.name, family.rungs[0], call)
    assert_close(results(family.name, rung, call), expected, TOLERANCES[dtype])


@rungs_but(*PHILOX)
def test_a_float32_rung_is_near_the_reference_in_float64(
    family: Family, rung: Rung
) -> None:
    single = call_for(family.name, rung, (33, 65), np.float32)
    arrays, options = single
    widened = {
        k: v.astype(np.float64) if isinstance(v, np.ndarray) else v
        for k, v in options.items()
    }
    double = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arrays]
    expected = results(family.name, family.rungs[0], (double, widened))
    for a, b in zip(results(family.name, rung, single), expected, strict=True):
        scale = max(1.0, float(np.abs(b).max()))
        assert np.abs(a - b).max() <= 2e-6 * scale


@rungs_but(*PHILOX, *IN_PLACE)
def test_read_only_and_scattered_inputs_are_fine(family: Family, rung: Rung) -> None:
    arrays, options = call_for(family.name, rung, (33, 17), np.float32)
    expected = results(family.name, rung, (arrays, options))

    def awkward(a: Any) -> Any:
        if not isinstance(a, np.ndarray):
            return a
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
        wide[..., ::2] = a
        scattered = wide[..., ::2]
        scattered.flags.writeable = False
        return scattered

    moved = [awkward(a) for a in arrays], {k: awkward(v) for k, v in options.items()}
    # Before 2.3 NumPy multiplied scattered arrays by a loop of its own, not by the BLAS
    by_loop = rung.name == "matmul_blas" and NumpyVersion(np.__version__) < "2.3.0"
    assert_close(results(family.name, rung, moved), expected, FLOAT32 * by_loop)


@each_rung
def test_one_thread_and_two_give_the_same_bits(
    family: Family,
    rung: Rung,
    threads: Callable[[int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 0)
    call = call_for(family.name, rung, (130, 67), np.float32)
    one = results(family.name, rung, call)
    for count in (2, 3, 200):
        threads(count)
        for a, b in zip(results(family.name, rung, call), one, strict=True):
            assert a.tobytes() == b.tobytes()


@rungs_but("gaussian.backward", "bias_activation", "logmeanexp", *CONV)
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)], ids=str)
def test_empty_arrays_are_fine(
    family: Family, rung: Rung, shape: tuple[int, int]
) -> None:
    call = call_for(family.name, rung, shape, np.float32)
    expected = results(family.name, family.rungs[0], call)
    assert_close(results(family.name, rung, call), expected, 0.0)


def test_empty_batches_are_fine_where_a_row_is_named_by_another_array() -> None:
    empty, bias = np.empty((0, 5), np.float32), np.ones(5, np.float32)
    for rung in family("bias_activation").rungs[:2]:
        rung.function(empty, bias)
    kl_bar, key = np.empty(0, np.float32), (0, 0, 0)
    for rung in family("gaussian.backward").rungs:
        if rung.runs_on == "cuda":
            continue
        found = rung.function(
            empty, kl_bar, empty, empty, noise=empty, z=empty, key=key
        )
        assert [a.shape for a in found] == [(0, 5), (0, 5)]


def test_nan_is_not_hidden() -> None:
    logits, ones = np.full((1, 40), np.nan, np.float32), np.ones((1, 40), np.float32)
    for rung in family("bernoulli").rungs[:3]:
        values, gradient = rung.function(logits, ones, 1.0)
        assert np.isnan(values).all()
        assert np.isnan(gradient).all()
    for rung in family("gaussian.forward").rungs[:2]:
        z, kl = rung.function(ones, logits, noise=ones)
        assert np.isnan(z).all()
        assert np.isnan(kl).all()


def test_several_python_threads_may_call_at_once(
    monkeypatch: pytest.MonkeyPatch, threads: Callable[[int], int]
) -> None:
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 0)
    threads(2)
    call = CALLS["bernoulli"]((64, 784), Draw(np.float32))
    expected = results("bernoulli", family("bernoulli").rungs[2], call)
    wrong: list[str] = []

    def work() -> None:
        for _ in range(50):
            found = family("bernoulli")(*call[0])
            if any(
                a.tobytes() != b.tobytes() for a, b in zip(found, expected, strict=True)
            ):
                wrong.append("differs")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong
    assert not any(worker.is_alive() for worker in workers)


# The polynomials


@pytest.mark.parametrize(
    ("name", "exact", "x", "bound"),
    [
        ("exp_f32", np.exp, np.linspace(-87, 88, 700_001), 2e-7),
        ("exp_f32", np.exp, np.linspace(-1, 1, 700_001), 2e-7),
        ("expm1_f32", np.expm1, np.linspace(-87, 88, 700_001), 4e-7),
        ("expm1_f32", np.expm1, np.linspace(-1, 1, 700_000), 4e-7),
        ("expm1_f32", np.expm1, np.linspace(-1e-3, 1e-3, 700_000), 4e-7),
        ("log1p_unit_f32", np.log1p, np.linspace(0, 1, 700_001), 2e-7),
        ("log1p_unit_f32", np.log1p, np.geomspace(1e-30, 1, 700_001), 2e-7),
    ],
)
def test_a_polynomial_keeps_the_bound_of_its_docstring(
    name: str, exact: Any, x: np.ndarray, bound: float
) -> None:
    function = getattr(compiled, name)
    words = " ".join((function.__doc__ or "").split())
    assert f"below {bound:.0e}".replace("e-0", "e-") in words

    def loop(values, out):  # type: ignore[no-untyped-def]
        for i in range(len(values)):
            out[i] = function(values[i])

    x = x.astype(np.float32)
    found = np.empty_like(x)
    compiled.kernel(loop)(x, found)  # with the very settings of the kernels
    right = exact(x.astype(np.float64))
    assert (np.abs(found - right) <= bound * np.abs(right)).all()


def test_the_exponential_saturates() -> None:
    logits = np.array([[-1e4, 1e4, -np.inf, np.inf]], np.float32)
    values, gradient = family("bernoulli")(logits[:, :2], np.ones((1, 2), "f"), 1.0)
    assert values[0] == 1e4
    np.testing.assert_array_equal(gradient, [[-1.0, 0.0]])


# Choosing a rung


def test_the_best_rung_runs_and_says_so() -> None:
    x = np.ones((2, 3), np.float32)
    bernoulli = family("bernoulli")
    assert bernoulli.chosen(x, x, 1.0).name == "bernoulli_polynomial"
    said = bernoulli.explain(x, x, 1.0)
    assert "2 bernoulli_polynomial" in said
    assert said.count("[runs]") == 1


def test_a_rung_can_be_forced() -> None:
    x = np.ones((2, 3), np.float32)
    bernoulli = family("bernoulli")
    for rung in bernoulli.rungs[:3]:
        with bernoulli.use(rung.name):
            assert bernoulli.chosen(x, x, 1.0) is rung
    assert bernoulli.chosen(x, x, 1.0) is bernoulli.rungs[2]


@pytest.mark.parametrize(
    ("rung", "dtype", "reason"),
    [
        ("bernoulli_numba", np.float16, "float16"),
        ("bernoulli_numba", np.int64, "int64"),
        (
            "bernoulli_magic",
            np.float32,
            "no rung 'bernoulli_magic'; have bernoulli_numpy",
        ),
    ],
)
def test_a_forced_rung_that_cannot_run_says_why(
    rung: str, dtype: type, reason: str
) -> None:
    x = np.ones((2, 3), dtype)
    with pytest.raises(CannotRunError, match=reason), family("bernoulli").use(rung):
        family("bernoulli")(x, x, 1.0)


def test_mixed_precision_goes_to_the_reference_visibly() -> None:
    single, double = np.ones((2, 3), np.float32), np.ones((2, 3))
    chosen = family("bernoulli").chosen(single, double, 1.0)
    assert chosen.number == 0
    assert "one dtype" in family("bernoulli").explain(single, double, 1.0)


def test_a_backward_rung_needs_its_form_of_the_noise() -> None:
    arrays, options = CALLS["gaussian.backward"]((3, 4), Draw(np.float32))
    backward = family("gaussian.backward")
    for name, rung in (("noise", "stored"), ("z", "from_sample"), ("key", "redrawn")):
        chosen = backward.chosen(*arrays, **{name: options[name]})
        assert chosen.name == f"backward_{rung}"
    with (
        pytest.raises(CannotRunError, match="needs key="),
        backward.use("backward_redrawn"),
    ):
        backward(*arrays, noise=options["noise"])


def test_a_call_of_mixed_dtypes_does_not_choose_for_the_next_one() -> None:
    arrays, options = CALLS["gaussian.backward"]((3, 4), Draw(np.float32))
    backward, noise = family("gaussian.backward"), options["noise"]
    mixed = backward.chosen(*arrays, noise=noise.astype(np.float64))
    assert mixed.name == "backward_numpy"
    assert backward.chosen(*arrays, noise=noise).name == "backward_stored"


def test_every_rung_has_an_idea_and_every_call_a_floor() -> None:
    for each in families():
        assert [rung.number for rung in each.rungs] == list(range(len(each.rungs)))
        assert all(rung.idea for rung in each.rungs)
        arrays, options = CALLS[each.name]((4, 8), Draw(np.float32))
        cost = each.cost(*arrays, **options)
        assert isinstance(cost, Cost)
        assert cost.bytes > 0
        assert cost.flops > 0


def test_floors_are_those_of_the_arrays() -> None:
    N, D = 16, 784
    call = CALLS["bernoulli"]((N, D), Draw(np.float32))
    assert family("bernoulli").cost(*call[0]).bytes == 12 * N * D
    for name, forward, backward in (("noise", 16, 24), ("key", 12, 20)):
        for direction, bytes_ in (("forward", forward), ("backward", backward)):
            each = family(f"gaussian.{direction}")
            arrays, options = CALLS[each.name]((N, D), Draw(np.float32))
            cost = each.cost(*arrays, **{name: options[name]})
            assert cost.bytes == bytes_ * N * D
    arrays, options = CALLS["adam"]((N, D), Draw(np.float32))
    assert family("adam").cost(*arrays, **options).bytes == 28 * N * D


# Compiled code on disk

SCRIPT = """
import numpy as np
from minivae_kernels import family
x = np.full((2, 3), 0.5, np.float32)
family("bernoulli")(x, x, 1.0)
from minivae_kernels.bernoulli import _vector_loop
print(sum(_vector_loop.stats.cache_hits.values()))
"""


def run_script(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_compiled_kernels_are_found_again(tmp_path: Path) -> None:
    folder = str(tmp_path / "cache")
    assert run_script(NUMBA_CACHE_DIR=folder) == "0"
    assert run_script(NUMBA_CACHE_DIR=folder) == "1"


def test_without_a_writable_cache_folder_kernels_still_run(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made below a file")
    assert run_script(NUMBA_CACHE_DIR=str(blocked / "cache")) in ("0", "1")


# What bad input gets


def test_shapes_that_differ_are_refused_before_a_loop_reads_on() -> None:
    short, long = np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match=r"logits \(2, 4\), target \(2, 3\)"):
        family("bernoulli")(long, short, 1.0)
    with pytest.raises(ValueError, match=r"mu \(2, 4\).*noise \(2, 3\)"):
        family("gaussian.forward")(long, long, noise=short)
    for name in ("sgd", "adagrad", "rmsprop", "adam"):
        arrays, options = CALLS[name]((3, 4), Draw(np.float32))
        with pytest.raises(ValueError, match=r"g \(5,\)"):
            family(name)(arrays[0], arrays[1][:5], *arrays[2:], **options)


def test_more_than_2_to_the_31_elements_are_refused() -> None:
    huge = np.broadcast_to(np.float32(1), (2**16, 2**16))
    with pytest.raises(CannotRunError, match="at most 2147483647 elements"):
        family("colsum")(huge)


def test_explaining_on_the_cpu_needs_nothing_of_cuda() -> None:
    script = (
        "import sys, numpy as np\n"
        "from minivae_kernels import families\n"
        "from minivae_kernels.examples import example\n"
        "for f in families():\n"
        "    a, o = example(f.name, (3, 4))\n"
        "    said = f.explain(*a, **o)\n"
        "    assert 'running_on' in said, said\n"
        "print('numba.cuda' in sys.modules, 'cupy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "channels last": lambda a: np.ascontiguousarray(a.T).T,
    "every second": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "repeated": lambda a: np.broadcast_to(a[0], a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_relu_of_arrays_that_lie_otherwise_is_the_definition(layout: str) -> None:
    rng, lay = np.random.default_rng(0), LAYOUTS[layout]
    x = lay(np.round(rng.normal(size=(33, 17)), 1))  # with zeros
    g, plain = rng.normal(size=x.shape), np.ascontiguousarray(x)
    forward, backward = family("relu.forward"), family("relu.backward")
    np.testing.assert_array_equal(forward(x), np.maximum(x, 0))
    np.testing.assert_array_equal(backward(g, x), g * (x > 0))
    np.testing.assert_array_equal(backward(lay(g), plain), lay(g) * (x > 0))


def test_a_gradient_that_is_not_finite_shows_where_relu_is_0() -> None:
    bad, y = np.array([np.inf, np.nan]), np.zeros(2)
    with np.errstate(invalid="ignore"):
        for rung in family("relu.backward").rungs[:2]:
            assert np.isnan(rung.function(bad, y)).all()


def test_relu_refuses_a_gradient_of_another_shape() -> None:
    with pytest.raises(ValueError, match="one shape"):
        family("relu.backward")(np.ones((2, 9)), np.ones((3, 3)))
