"""The tape: order, accumulation, what backward means, and what it refuses."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from minivae import ops
from minivae.errors import UserError
from minivae.tensor import (
    Contribution,
    Delivery,
    Op,
    Parameter,
    Tensor,
    Unbroadcast,
    backward_steps,
    mode,
    no_grad,
    op,
)


def scalar(value: float) -> Parameter:
    return Parameter(np.array(value))


def test_a_leaf_used_several_times_gets_the_sum() -> None:
    x = scalar(3.0)
    (x * x + x).backward()
    assert x.grad == 7.0


def test_the_same_argument_twice_counts_twice() -> None:
    x = scalar(3.0)
    ops.mul(x, x).backward()
    assert x.grad == 6.0


def test_an_adjoint_is_complete_before_it_is_passed_on() -> None:
    a = scalar(2.0)
    b = a * a
    c = b + b  # b is used again after c exists: depth alone gives no order
    d = c * b
    d.backward()  # d = 2 a⁴
    assert a.grad == 64.0


def test_a_second_backward_adds_the_same_gradient_again() -> None:
    x = scalar(2.0)
    y = x * x
    y.backward()
    y.backward()
    assert x.grad == 8.0


def test_only_leaves_keep_a_gradient() -> None:
    x = scalar(2.0)
    y = x * x
    (y * 3).backward()
    assert y.grad is None


def test_a_chain_of_100_000_nodes_needs_no_recursion() -> None:
    x = scalar(1.0)
    y = x + 0.0
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad == 1.0
    del y  # neither does taking it down


def test_without_grad_nothing_is_recorded() -> None:
    x = scalar(2.0)
    with no_grad():
        y = x * x
    assert y.node is None
    assert not y.requires_grad


def test_no_grad_ends_with_an_exception_too() -> None:
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert not mode.paused


def test_no_grad_may_be_nested_and_used_again() -> None:
    pause = no_grad()
    with pause:
        with pause:
            assert mode.paused
        assert mode.paused  # the inner one's end is not the outer one's
    assert not mode.paused

    @no_grad()
    def recursive(depth: int) -> int:
        return recursive(depth - 1) if depth else mode.paused

    assert recursive(3) == 4
    assert not mode.paused


def test_detach_keeps_the_precision_and_not_the_memory_of_a_parameter() -> None:
    p, q = scalar(3.0), scalar(2.0)
    assert (p * p).detach().dtype == np.float64
    y = q * p.detach()
    p.assign(np.array(100.0))
    y.backward()
    assert q.grad == 3.0


def test_a_gradient_is_nobody_elses_array() -> None:
    a, b, u = Parameter(np.ones(2)), Parameter(np.ones(2)), np.ones(2)
    (a + b).backward(u)
    assert a.grad is not None
    a.grad *= 10
    np.testing.assert_array_equal(u, [1.0, 1.0])
    np.testing.assert_array_equal(b.grad, [1.0, 1.0])
    ops.sum(b).backward()
    assert b.grad is not None
    b.grad *= 2


def test_detach_stops_the_gradient() -> None:
    x = scalar(3.0)
    (x.detach() * x).backward()
    assert x.grad == 3.0


def test_a_tensor_without_parameters_has_nothing_to_do() -> None:
    with pytest.raises(UserError, match="no parameter"):
        (Tensor(np.array(1.0)) * 2).backward()


def test_backward_starts_from_a_scalar_or_a_given_upstream() -> None:
    x = Parameter(np.ones(3))
    y = x * 2
    with pytest.raises(UserError, match=r"scalar.*\(3,\)"):
        y.backward()
    with pytest.raises(UserError, match=r"gradient is \(2,\)"):
        y.backward(np.ones(2))
    y.backward(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(x.grad, [2.0, 4.0, 6.0])


def test_backward_of_a_leaf_is_the_upstream() -> None:
    x = scalar(3.0)
    x.backward()
    assert x.grad == 1.0


def test_a_leaf_that_has_changed_is_named() -> None:
    x = Parameter(np.array(3.0), name="encoder.0.weight")
    y = x * x
    x.assign(np.array(4.0))
    with pytest.raises(UserError, match=r"encoder\.0\.weight has changed"):
        y.backward()


def test_a_leaf_that_changes_back_has_still_changed() -> None:
    x = scalar(3.0)
    y = x * x
    x.assign(x.data)
    with pytest.raises(UserError, match="has changed"):
        y.backward()


def test_assign_refuses_another_shape() -> None:
    with pytest.raises(UserError, match=r"\(2,\).*\(3,\)"):
        Parameter(np.zeros(2)).assign(np.zeros(3))


def test_gradients_need_floats() -> None:
    with pytest.raises(UserError, match="int64"):
        Parameter(np.arange(3))


def test_a_constant_input_that_wants_a_gradient_is_refused() -> None:
    x, condition = scalar(1.0), Parameter(np.array(1.0))
    with pytest.raises(UserError, match="where: no gradient for c"):
        ops.where(condition, x, 0.0)


# What the sweep shows


def test_training_and_studying_take_the_same_path() -> None:
    x = Parameter(np.array([1.0, 2.0]))
    loss = ops.sum(ops.exp(x) * x)
    events = list(backward_steps(loss))
    ((delivery,),) = ([e for e in events if isinstance(e, Delivery)],)
    assert delivery.leaf is x
    assert x.grad is not None
    np.testing.assert_allclose(x.grad, np.exp(x.data) * (1 + x.data))
    rules = [e.node.op.name for e in events if isinstance(e, Contribution)]
    assert rules == ["sum", "mul", "mul", "exp"]


def test_unbroadcasting_is_an_event_of_its_own() -> None:
    x, y = Parameter(np.ones((2, 3))), Parameter(np.ones((3,)))
    events = list(backward_steps(ops.sum(x + y)))
    ((summed,),) = ([e for e in events if isinstance(e, Unbroadcast)],)
    assert summed.axes == (0,)
    np.testing.assert_array_equal(summed.gradient, [2.0, 2.0, 2.0])


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (1, 4), (2, 1, 1)])
def test_whatever_was_repeated_is_summed(shape: tuple[int, ...]) -> None:
    x = Parameter(np.ones(shape))
    big = np.arange(24.0).reshape(2, 3, 4)
    ops.sum(x * big).backward()
    assert x.grad is not None
    assert x.grad.shape == shape
    assert x.grad.sum() == big.sum()


def test_the_seed_stays_a_python_float() -> None:
    x = scalar(3.0)
    kl, recon = x * x, x + 0.0
    first, *_ = backward_steps(recon + 4.0 * kl)
    assert isinstance(first, Contribution)
    assert type(first.upstream) is float
    assert first.upstream == 1.0


def test_an_input_that_needs_no_gradient_costs_no_rule() -> None:
    images, weight = Tensor(np.ones((2, 3))), Parameter(np.ones((4, 3)))
    z = ops.linear(images, weight, np.zeros(4))
    steps = [e for e in backward_steps(ops.sum(z)) if isinstance(e, Contribution)]
    assert [(s.node.op.name, s.position) for s in steps] == [("sum", 0), ("linear", 1)]


def test_an_output_nobody_used_arrives_as_zero() -> None:
    mu, logvar = Parameter(np.ones((2, 3))), Parameter(np.zeros((2, 3)))
    z, _ = ops.reparameterize_kl(mu, logvar, np.ones((2, 3)))
    ops.sum(z).backward()
    np.testing.assert_array_equal(mu.grad, np.ones((2, 3)))
    _, kl = ops.reparameterize_kl(mu, logvar, np.ones((2, 3)))
    mu.grad = None
    kl.backward()
    np.testing.assert_array_equal(mu.grad, np.full((2, 3), 0.5))


def test_a_joint_rule_hears_which_inputs_want_a_gradient() -> None:
    heard: list[tuple[bool, ...]] = []

    @op("z = x y, together")
    def joint_product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x * y

    @joint_product.vjp_all(x="x̄ = z̄ y", y="ȳ = z̄ x")
    def both(g, z, x, y, *, needs):  # type: ignore[no-untyped-def]
        heard.append(needs)
        return g * y if needs[0] else None, g * x if needs[1] else None

    try:
        x = scalar(3.0)
        joint_product(x, 2.0).backward()
        assert heard == [(True, False)]
        assert x.grad == 2.0
    finally:
        del Op.registry["joint_product"]


def test_memory_stays_flat_with_the_collector_off() -> None:
    x = Parameter(np.ones(3))
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(200):
            ops.sum(ops.exp(x) * x).backward()
        assert len(gc.get_objects()) - before < 20
    finally:
        gc.enable()


# Declaring an op


def test_an_op_has_one_name() -> None:
    with pytest.raises(TypeError, match="exp already"):

        @op("y = x")
        def exp(x: np.ndarray) -> np.ndarray:
            return x


@pytest.mark.parametrize("name", ["z", "x"])
def test_a_rule_needs_an_input_that_has_none(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        ops.exp.vjp(name, "…")


def test_rules_and_inputs_agree_in_every_op() -> None:
    for name, each in Op.registry.items():
        wanted = set(each.inputs) - set(each.constant)
        assert set(each.rules) == wanted, name
        assert all(rule.formula for rule in each.rules.values()), name
        assert "\n" not in each.formula, name


# Slots: where the optimizer's buffer receives gradients


def test_the_engine_writes_slots_and_adds_to_what_is_there() -> None:
    x = Parameter(np.ones(3))
    x.slot = np.full(3, np.nan)
    y = ops.sum(x * 2.0)
    y.backward()
    assert x.grad is x.slot
    np.testing.assert_array_equal(x.slot, [2.0, 2.0, 2.0])
    y.backward()
    np.testing.assert_array_equal(x.slot, [4.0, 4.0, 4.0])
    x.grad = None
    y.backward()
    np.testing.assert_array_equal(x.slot, [2.0, 2.0, 2.0])


# Operators


@pytest.mark.parametrize(
    ("expression", "value", "slope"),
    [
        (lambda x: x + 2, 5.0, 1.0),
        (lambda x: 2 + x, 5.0, 1.0),
        (lambda x: x - 2, 1.0, 1.0),
        (lambda x: 2 - x, -1.0, -1.0),
        (lambda x: x * 2, 6.0, 2.0),
        (lambda x: 2 * x, 6.0, 2.0),
        (lambda x: np.float64(2) * x, 6.0, 2.0),
        (lambda x: np.array(2.0) * x, 6.0, 2.0),
        (lambda x: x / 2, 1.5, 0.5),
        (lambda x: 6 / x, 2.0, -2 / 3),
        (lambda x: x**2, 9.0, 6.0),
        (lambda x: 2**x, 8.0, 8 * np.log(2)),
        (lambda x: -x, -3.0, -1.0),
    ],
)
def test_python_operators_are_the_ops(expression, value, slope) -> None:  # type: ignore[no-untyped-def]
    x = scalar(3.0)
    y = expression(x)
    y.backward()
    assert y.item() == pytest.approx(value)
    assert x.grad == pytest.approx(slope)


def test_methods_and_indexing_are_the_ops() -> None:
    x = Parameter(np.arange(6.0).reshape(2, 3))
    y = (x.T @ x.reshape(2, 3))[0].sum() + x.mean(axis=0).sum()
    assert y.item() == (x.data.T @ x.data)[0].sum() + x.data.mean(axis=0).sum()
    y.backward()
    assert x.grad is not None
    assert x.grad.shape == (2, 3)


def test_numbers_and_lists_are_float32_and_arrays_keep_their_dtype() -> None:
    assert Tensor([1, 2]).dtype == np.float32
    assert Tensor(3).dtype == np.float32
    assert Tensor(np.zeros(2)).dtype == np.float64
    assert (Tensor([1.0, 2.0]) * np.float64(3)).dtype == np.float32
