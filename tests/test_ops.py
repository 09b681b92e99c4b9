"""Every op, over the registry: pure, of one precision, of either library, and exact."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import stand_in
from tolerances import FLOAT32, FLOAT64

from minivae import ops
from minivae.backend import Array
from minivae.errors import UserError
from minivae.tensor import Op, Parameter, Tensor, backward_steps
from minivae.verify.op_cases import Case, cases

CASES = {f"{case.op}, {case.label}": case for case in cases()}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def outputs_of(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def run(case: Case, inputs: dict[str, Any]) -> tuple[list[Array], list[Array]]:
    """Return the outputs of a case and the gradients of its inputs."""
    leaves = [Parameter(x) for x in inputs.values()]
    outputs = outputs_of(case.f(*leaves))
    total = ops.sum(outputs[0] * 1.5)
    for out in outputs[1:]:
        total = total + ops.sum(out * 2.5)
    total.backward()
    assert all(leaf.grad is not None for leaf in leaves)
    return [out.numpy() for out in outputs], [Tensor(p.grad).numpy() for p in leaves]


def test_every_op_has_a_case() -> None:
    assert {case.op for case in CASES.values()} == set(Op.registry)


def test_every_input_with_a_rule_is_checked_somewhere() -> None:
    checked: dict[str, set[str]] = {}
    for case in CASES.values():
        checked.setdefault(case.op, set()).update(case.inputs)
    for name, each in Op.registry.items():
        if not each.variadic:
            assert set(each.rules) <= checked[name], name


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_op_keeps_the_precision_of_its_inputs(case: Case, dtype: type) -> None:
    inputs = {name: x.astype(dtype) for name, x in case.inputs.items()}
    # targets and noise are closed over in float64: only the gradients' type is the op's
    _, gradients = run(case, inputs)
    assert all(gradient.dtype == dtype for gradient in gradients)


@each_case
def test_no_rule_widens_on_the_way(case: Case) -> None:
    """In a float32 graph every single contribution is float32, or a Python float."""

    def single(array: Array) -> Array:
        return array.astype(np.float32) if array.dtype == np.float64 else array

    leaves = [Parameter(x.astype(np.float32)) for x in case.inputs.values()]
    outputs = outputs_of(stand_in.call_with_constants(case.f, single, *leaves))
    for out in outputs:
        upstream = np.full(out.shape, 1.5, np.float32)
        for event in backward_steps(out, upstream):
            raw = getattr(event, "raw", event[-1])
            assert isinstance(raw, float) or raw.dtype == np.float32


def unary_ops() -> list[str]:
    """The ops that take one array, whatever its shape, and need no option."""
    return [
        name
        for name, each in Op.registry.items()
        if each.inputs == ("x",)
        and not any(
            option.default is option.empty
            for option in list(inspect.signature(each.forward).parameters.values())[1:]
        )
    ]


@pytest.mark.parametrize("name", unary_ops())
@pytest.mark.parametrize("upstream", [1.0, np.float32(1.0)])
def test_a_scalar_does_not_widen(name: str, upstream: Any) -> None:
    x = np.array(0.5, np.float32)
    each = Op.registry[name]
    out = each.forward(x)
    assert out.dtype == np.float32
    if not each.saves:
        gradient = each.rules["x"].function(upstream, out, x)
        assert np.asarray(gradient, x.dtype).dtype == np.float32


@each_case
def test_neither_forward_nor_rules_write_to_what_they_are_given(case: Case) -> None:
    inputs = {name: x.copy() for name, x in case.inputs.items()}
    for x in inputs.values():
        x.flags.writeable = False
    leaves = [Parameter(x) for x in inputs.values()]
    outputs = outputs_of(case.f(*leaves))
    node = outputs[0].node
    assert node is not None
    saved = node.saved or ()
    for array in [*[out.data for out in outputs], *saved]:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    upstream = [np.full(out.shape, 1.5) for out in outputs]
    for g in upstream:
        g.flags.writeable = False
    g = upstream[0] if node.op.outputs is None else node.op.outputs(*upstream)
    if node.op.name == case.op:
        assert len(node.op.pull(node, g)) == len(inputs)


# NumPy or CuPy by the array's own type


@pytest.fixture
def cupy_stand_in() -> Iterator[Any]:
    """A small array library that NumPy knows nothing of, in CuPy's place."""
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = stand_in
    yield stand_in
    if before is None:
        del sys.modules["cupy"]
    else:
        sys.modules["cupy"] = before


def closed_over(case: Case, convert: Callable[[Array], Any]) -> Case:
    """The case with the arrays that its function closes over converted too."""
    function = case.f
    if not hasattr(function, "__closure__"):
        return case

    def moved(*xs: Tensor) -> Any:
        return stand_in.call_with_constants(function, convert, *xs)

    return Case(case.op, case.label, moved, case.inputs)


@pytest.mark.parametrize(
    "case",
    [  # on a device, convolutions are kernels of CUDA C
        pytest.param(
            case, marks=pytest.mark.needs("ptx") if case.op.startswith("conv") else ()
        )
        for case in CASES.values()
    ],
    ids=CASES.keys(),
)
def test_an_op_runs_on_the_library_of_its_arrays(
    case: Case, cupy_stand_in: Any
) -> None:
    expected, expected_gradients = run(case, case.inputs)
    moved = {name: cupy_stand_in.asarray(x) for name, x in case.inputs.items()}
    found, gradients = run(closed_over(case, cupy_stand_in.asarray), moved)
    for a, b in zip(expected + expected_gradients, found + gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=FLOAT64, atol=FLOAT64)


def test_mixing_libraries_is_an_error_that_names_both(cupy_stand_in: Any) -> None:
    with pytest.raises(UserError, match="cupy and numpy"):
        ops.add(np.ones(2), cupy_stand_in.asarray(np.ones(2)))


# Fused ops

FUSED = {n: c for n, c in CASES.items() if Op.registry[c.op].unfused is not None}


@pytest.mark.parametrize("case", FUSED.values(), ids=FUSED.keys())
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, FLOAT64), (np.float32, FLOAT32)]
)
def test_a_fused_op_equals_its_composition(
    case: Case, dtype: type, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {name: x.astype(dtype) for name, x in case.inputs.items()}
    fused = run(case, inputs)
    monkeypatch.setattr(ops, case.op, Op.registry[case.op].unfused)
    composed = run(case, inputs)
    for a, b in zip(fused[0] + fused[1], composed[0] + composed[1], strict=True):
        scale = max(1.0, float(np.abs(b).max()))
        assert np.abs(a - b).max() <= tolerance * scale


def test_losses_and_normalisation_are_fused() -> None:
    assert {case.op for case in FUSED.values()} == {
        "bernoulli_nll",
        "gaussian_kl",
        "gaussian_nll",
        "layer_norm",
        "logmeanexp",
        "reparameterize",
        "reparameterize_kl",
        "soft_bce",
        "squared_error",
    }


# Values at the edges


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("logit", [0.0, 1e-8, -20.0, 20.0, 90.0, -1000.0, 1000.0, 1e4])
@pytest.mark.parametrize("x", [0.0, 1.0])
def test_bce_is_finite_and_exact_for_every_logit(
    logit: float, x: float, dtype: type
) -> None:
    logits = Parameter(np.array([[logit]], dtype))
    loss = ops.bernoulli_nll(logits, np.array([[x]], dtype))
    loss.backward()
    value = np.logaddexp(0, logit) - logit * x
    slope = (1 / (1 + np.exp(-logit)) if logit > -700 else 0.0) - x
    epsilon = np.finfo(dtype).eps
    assert abs(loss.item() - value) <= 4 * epsilon * max(1.0, abs(logit))
    assert logits.grad is not None
    assert abs(logits.grad.item() - slope) <= 4 * epsilon


@pytest.mark.parametrize("logvar", [-80.0, -1e-4, 0.0, 1e-4, 80.0])
def test_the_kl_in_float32_is_that_of_float64(logvar: float) -> None:
    single, double = (
        ops.gaussian_kl(np.full((1, 1), 0.5, t), np.full((1, 1), logvar, t)).item()
        for t in (np.float32, np.float64)
    )
    assert abs(single - double) <= FLOAT32 * abs(double)


def test_the_kl_near_the_prior_does_not_cancel() -> None:
    zero, logvar = np.zeros((1, 1), np.float32), np.full((1, 1), 1e-3, np.float32)
    value = ops.gaussian_kl(zero, logvar).item()
    assert abs(value - 0.5 * (np.expm1(1e-3) - 1e-3)) <= 2e-4 * value


def test_logsumexp_survives_a_spread_of_10_000() -> None:
    y = ops.logsumexp(Tensor(np.array([-1e4, 0.0, 1e4], np.float32)))
    assert y.item() == 1e4
    assert ops.logsumexp(Tensor(np.array([-np.inf, 0.0]))).item() == 0.0


def test_ties_share_the_gradient() -> None:
    x, y = Parameter(np.array([1.0, 2.0])), Parameter(np.array([1.0, 1.0]))
    ops.sum(ops.maximum(x, y)).backward()
    np.testing.assert_array_equal(x.grad, [0.5, 1.0])
    z = Parameter(np.array([3.0, 3.0, 1.0]))
    ops.max(z).backward()
    np.testing.assert_array_equal(z.grad, [0.5, 0.5, 0.0])


def test_powers_are_differentiable_at_zero() -> None:
    exponent = Parameter(np.array([2.0, 3.0]))
    ops.sum(ops.pow(np.array([0.0, 2.0]), exponent)).backward()
    np.testing.assert_array_equal(exponent.grad, [0.0, 8 * np.log(2)])
    x = Parameter(np.array([0.0, 0.0, 2.0]))
    ops.sum(ops.pow(x, np.array([0.0, 1.0, 3.0]))).backward()
    np.testing.assert_array_equal(x.grad, [0.0, 1.0, 12.0])


def test_expm1_keeps_its_slope_far_below_zero() -> None:
    x = Parameter(np.array([-12.0, -30.0], np.float32))
    ops.sum(ops.expm1(x)).backward()
    assert x.grad is not None
    assert (np.abs(x.grad / np.exp([-12.0, -30.0]) - 1) <= FLOAT32).all()


def test_the_larger_of_two_infinities_has_a_gradient() -> None:
    x = Parameter(np.array([np.inf, np.inf, -np.inf]))
    ops.sum(ops.maximum(x, np.array([np.inf, 1.0, 0.0]))).backward()
    np.testing.assert_array_equal(x.grad, [0.5, 1.0, 0.0])


@pytest.mark.parametrize("axis", [np.int64(1), -1, (np.int64(0), -1)])
def test_an_axis_may_be_any_integer(axis: Any) -> None:
    x = Parameter(np.ones((2, 3)))
    ops.sum(ops.sum(x, axis=axis)).backward()
    np.testing.assert_array_equal(x.grad, np.ones((2, 3)))


def test_dropout_keeps_the_mean() -> None:
    from minivae.random import Noise

    u = Noise(0).uniform((200_000,))
    y = ops.dropout(np.ones(200_000, np.float32), u, p=0.3).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.7)}
    assert abs(y.mean() - 1) <= 4 * y.std() / np.sqrt(y.size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.linear(np.ones((2, 3)), np.ones((4, 5)), np.ones(4)), r"\(4, 5\)"),
        (lambda: ops.matmul(np.ones(3), np.ones((3, 2))), "matrices"),
        (lambda: ops.squared_error(np.ones((2, 3)), np.ones((2, 1))), r"\(2, 1\)"),
        (lambda: ops.soft_bce(np.ones((2, 3)), np.ones((3, 2))), r"\(3, 2\)"),
        (lambda: ops.bernoulli_nll(np.ones((1, 2)), np.array([[0, 0.5]])), "grey"),
        (lambda: ops.bernoulli_nll(np.ones((1, 2)), np.array([[0, np.nan]])), "grey"),
        (lambda: ops.dropout(np.ones(2), np.ones(2), p=1.0), r"\[0, 1\)"),
        (lambda: ops.gaussian_kl(np.ones((2, 3)), np.ones(3)), r"\(2, 3\) and \(3,\)"),
        (lambda: ops.exp("text"), "expected an array or a number, got str"),
    ],
)
def test_a_mistake_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()
