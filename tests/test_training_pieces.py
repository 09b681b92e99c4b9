"""Layers and optimizers: names, initial values, one exact step of each rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tolerances import FLOAT64, STANDARD_ERRORS

from minivae import nn, ops, optim
from minivae.backend import Array
from minivae.errors import UserError
from minivae.optim import OPTIMIZERS, SCHEDULES, SGD, Adam, AdamW, scheduled_lr
from minivae.random import Noise
from minivae.tensor import Parameter, Tensor


def net(noise: Noise | None = None) -> nn.Sequential:
    noise = noise or Noise(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(6, 4, noise), nn.Tanh(), nn.Linear(4, 2, noise)
    )


# Layers


def test_names_are_those_of_pytorch_in_definition_order() -> None:
    assert list(net().named_parameters()) == [
        *("1.weight", "1.bias"),
        *("3.weight", "3.bias"),
    ]


def test_a_linear_layer_is_an_affine_map() -> None:
    layer, x = nn.Linear(3, 2, Noise(0)), np.ones((4, 3), np.float32)
    layer.bias.assign(np.array([1.0, -1.0], np.float32))
    expected = x @ layer.weight.data.T + layer.bias.data
    np.testing.assert_array_equal(layer(x).numpy(), expected)


def test_flatten_and_unflatten_are_inverse() -> None:
    x = Tensor(np.arange(24.0).reshape(2, 1, 3, 4))
    flat = nn.Flatten()(x)
    assert flat.shape == (2, 12)
    np.testing.assert_array_equal(nn.Unflatten((1, 3, 4))(flat).data, x.data)


@pytest.mark.parametrize(
    ("initialiser", "bound"),
    [
        (nn.glorot_uniform, math.sqrt(6 / 700)),
        (nn.he_uniform, math.sqrt(6 / 400)),
    ],
)
def test_initial_weights_fill_their_interval(initialiser: Any, bound: float) -> None:
    weights = initialiser((300, 400), (400, 300), Noise(0)).astype(np.float64)
    assert np.abs(weights).max() <= bound * (1 + 1e-6)
    n, variance = weights.size, bound**2 / 3
    assert abs(weights.mean()) <= STANDARD_ERRORS * math.sqrt(variance / n)
    assert abs(weights.var() / variance - 1) <= STANDARD_ERRORS * math.sqrt(0.8 / n)


def test_dropout_happens_only_where_noise_is_given() -> None:
    layer, x = nn.Dropout(0.5), Tensor(np.ones((20, 20)))
    assert layer(x) is x
    dropped = layer(x, Noise(0)).numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    np.testing.assert_array_equal(layer(x, Noise(0)).numpy(), dropped)
    assert (layer(x, Noise(1)).numpy() != dropped).any()


def test_a_state_can_be_carried_over() -> None:
    first, second = net(Noise(1)), net(Noise(2))
    x = np.ones((3, 6), np.float32)
    assert (first(x).numpy() != second(x).numpy()).any()
    second.load_state(first.state())
    np.testing.assert_array_equal(first(x).numpy(), second(x).numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("1.bias"), r"1\.bias"),
        (lambda s: s.update(more=np.zeros(1)), "more"),
        (lambda s: s.update({"1.bias": np.zeros(5)}), r"1\.bias is \(4,\).*\(5,\)"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, message: str) -> None:
    module = net()
    before, state = module.state(), module.state()
    state["1.weight"] += 1
    change(state)
    with pytest.raises(UserError, match=message):
        module.load_state(state)
    for name, value in module.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_an_unknown_activation_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"'gelu'.*relu"):
        nn.hidden_layers((2, 3), "gelu", 0.0, Noise(0))


# Optimizers


def trained(name: str, gradients: list[Array], **options: Any) -> Array:
    p = Parameter(np.array([0.5, -1.0, 2.0]))
    optimizer = OPTIMIZERS[name]([p], 0.1, **options)
    for g in gradients:
        optimizer.zero_grad()
        ops.sum(p * g).backward()
        optimizer.step()
    return p.data


G = [np.array([0.3, -0.2, 1.0]), np.array([-0.1, 0.4, 0.5]), np.array([0.2, 0.2, -2.0])]
START = np.array([0.5, -1.0, 2.0])


def reference(name: str, momentum: float = 0.0, nesterov: bool = False) -> Array:
    """The three steps written out number by number, from the papers' formulas."""
    w = START.copy()
    for i in range(3):
        b = s = v = m = 0.0
        for t, g in enumerate((g[i] for g in G), 1):
            if name == "sgd":
                b = momentum * b + g
                w[i] -= 0.1 * (g + momentum * b if nesterov else b)
            elif name == "adagrad":
                s += g**2
                w[i] -= 0.1 * g / (math.sqrt(s) + 1e-10)
            elif name == "rmsprop":
                v = 0.99 * v + 0.01 * g**2
                w[i] -= 0.1 * g / (math.sqrt(v) + 1e-8)
            else:
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
                unbiased = m / (1 - 0.9**t), v / (1 - 0.999**t)
                w[i] -= 0.1 * unbiased[0] / (math.sqrt(unbiased[1]) + 1e-8)
    return w


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_are_those_of_the_paper(name: str) -> None:
    assert np.abs(trained(name, G) - reference(name)).max() <= FLOAT64


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_that_of_the_paper(nesterov: bool) -> None:
    found = trained("sgd", G, momentum=0.9, nesterov=nesterov)
    assert np.abs(found - reference("sgd", 0.9, nesterov)).max() <= FLOAT64


def test_adams_first_step_is_the_learning_rate_times_the_sign() -> None:
    change = trained("adam", G[:1]) - START
    assert np.abs(change + 0.1 * np.sign(G[0])).max() <= 1e-7


def test_weight_decay_is_in_the_gradient_and_for_adamw_outside() -> None:
    coupled = trained("sgd", [np.zeros(3)], weight_decay=0.5)
    assert np.abs(coupled - START * (1 - 0.1 * 0.5)).max() <= FLOAT64
    assert np.abs(
        trained("adamw", [np.zeros(3)], weight_decay=0.5) - coupled
    ).max() <= (FLOAT64)
    adam = trained("adam", [np.zeros(3)], weight_decay=0.5)
    assert np.abs(adam - (START - 0.1 * np.sign(START))).max() <= 1e-7


def test_clipping_bounds_the_whole_gradient() -> None:
    p, q = Parameter(np.zeros(2)), Parameter(np.zeros(2))
    optimizer = SGD([p, q], 1.0, clip_norm=1.0)
    ops.sum(p * np.array([3.0, 0.0]) + q * np.array([0.0, 4.0])).backward()
    optimizer.step()
    assert optimizer.gradient_norm == 5.0
    assert np.abs(p.data - [-0.6, 0.0]).max() <= FLOAT64
    assert np.abs(q.data - [0.0, -0.8]).max() <= FLOAT64
    np.testing.assert_array_equal(p.grad, [3.0, 0.0])  # only the engine writes these


def test_packing_keeps_names_shapes_values_and_makes_views() -> None:
    module = net()
    before = module.state()
    optimizer = Adam(module.parameters())
    for name, p in module.named_parameters().items():
        np.testing.assert_array_equal(p.data, before[name])
        assert np.shares_memory(p.data, optimizer.values)
    ops.sum(module(np.ones((2, 6), np.float32))).backward()
    for p in module.parameters():
        assert np.shares_memory(p.grad, optimizer.gradients)


def test_parameters_without_a_gradient_stay() -> None:
    module = net()
    optimizer = AdamW(module.parameters(), weight_decay=0.1)
    before = module.state()
    ops.sum(module.layers[1](np.ones((2, 6), np.float32))).backward()
    optimizer.step()
    after = module.state()
    assert (after["1.weight"] != before["1.weight"]).any()
    np.testing.assert_array_equal(after["3.weight"], before["3.weight"])


def test_a_gradient_from_elsewhere_counts_too() -> None:
    p = Parameter(np.array([3.0]))
    ops.sum(p * p).backward()
    optimizer = SGD([p], 0.1)  # packs after the gradient was made
    optimizer.step()
    assert optimizer.gradient_norm == 6.0
    assert np.abs(p.data - 2.4).max() <= FLOAT64
    p.grad = np.array([1.0])  # a user's own
    optimizer.step()
    assert np.abs(p.data - 2.3).max() <= FLOAT64


def test_a_step_without_any_gradient_is_refused() -> None:
    with pytest.raises(UserError, match=r"backward\(\) first"):
        SGD([Parameter(np.zeros(2))]).step()


def test_a_gradient_whose_square_overflows_is_still_clipped() -> None:
    p = Parameter(np.zeros(2, np.float32))
    optimizer = SGD([p], 1.0, clip_norm=1.0)
    p.grad = np.array([3e20, 4e20], np.float32)
    optimizer.step()
    assert optimizer.gradient_norm == pytest.approx(5e20, rel=1e-6)
    assert np.abs(p.data - [-0.6, -0.8]).max() <= 1e-6


def test_hidden_layers_start_by_their_activation() -> None:
    for activation, bound in (("relu", math.sqrt(6 / 64)), ("tanh", math.sqrt(6 / 80))):
        layer = nn.hidden_layers((64, 16), activation, 0.0, Noise(0))[0]
        largest = np.abs(layer.state()["weight"]).max()
        assert 0.98 * bound <= largest <= bound


def test_an_update_changes_versions_so_that_old_losses_are_refused() -> None:
    p = Parameter(np.ones(2), "w")
    optimizer = SGD([p])
    loss = ops.sum(p * p)
    loss.backward()
    optimizer.step()
    with pytest.raises(UserError, match="w has changed"):
        loss.backward()


def test_a_second_optimizer_shares_the_buffer_or_is_refused() -> None:
    module = net()
    first, second = Adam(module.parameters()), SGD(module.parameters())
    assert np.shares_memory(first.values, second.values)
    part = SGD(module.layers[3].parameters())
    assert np.shares_memory(part.values, first.values)
    with pytest.raises(UserError, match="another optimizer"):
        SGD([module.layers[3].bias, module.layers[1].weight])
    with pytest.raises(UserError, match="another optimizer"):
        SGD([Parameter(np.zeros(1, np.float32)), module.layers[1].weight])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD([]), "no parameters"),
        (lambda p: SGD([p, p]), "twice"),
        (lambda p: SGD([p, Parameter([1.0])]), "dtype"),
        (lambda p: SGD([p], 0.0), "learning rate"),
        (lambda p: SGD([p], math.nan), "learning rate"),
        (lambda p: SGD([p], weight_decay=-1.0), "weight decay"),
        (lambda p: SGD([p], weight_decay=math.inf), "weight decay"),
        (lambda p: Adam([p], betas=(0.9, 1.0)), "betas"),
        (lambda p: SGD([p], clip_norm=0.0), "clipping"),
        (lambda p: SGD([p], momentum=1.0), "momentum"),
        (lambda p: SGD([p], nesterov=True), "nesterov"),
    ],
)
def test_a_mistaken_optimizer_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(Parameter(np.zeros(2)))


def test_a_packed_module_does_not_move() -> None:
    module = net()
    SGD(module.parameters())
    with pytest.raises(UserError, match="optimizer's buffer"):
        module.to(dtype=np.float64)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_continues_from_its_state(name: str) -> None:
    options = {"momentum": 0.9} if name == "sgd" else {}

    def run(stop: int | None) -> Array:
        p = Parameter(START.copy())
        optimizer = OPTIMIZERS[name]([p], 0.1, **options)
        for i, g in enumerate(G):
            if i == stop:
                state, steps = optimizer.state(), optimizer.steps
                p = Parameter(p.data.copy())
                optimizer = OPTIMIZERS[name]([p], 0.1, **options)
                optimizer.load_state(steps, state)
            optimizer.zero_grad()
            ops.sum(p * g).backward()
            optimizer.step()
        return p.data

    np.testing.assert_array_equal(run(stop=2), run(stop=None))


# Schedules


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("constant", {0.0: 1.0, 0.5: 1.0, 1.0: 1.0}),
        ("step", {0.0: 1.0, 0.59: 1.0, 0.6: 0.3, 0.84: 0.3, 0.85: 0.1, 1.0: 0.1}),
        ("cosine", {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}),
        ("warmup", {0.0: 0.0, 0.025: 0.5, 0.05: 1.0, 1.0: 1.0}),
    ],
)
def test_a_schedule_has_its_shape(name: str, factors: dict[float, float]) -> None:
    for progress, factor in factors.items():
        assert SCHEDULES[name](progress) == pytest.approx(factor, abs=1e-12)


def test_no_step_is_taken_at_rate_zero() -> None:
    for name in SCHEDULES:
        rates = [scheduled_lr(name, 0.1, step, 40) for step in range(40)]
        assert min(rates) > 0
        assert max(rates) <= 0.1
    with pytest.raises(UserError, match=r"'linear'.*cosine"):
        scheduled_lr("linear", 0.1, 0, 1)


def test_every_optimizer_finds_the_minimum_of_a_bowl() -> None:
    for name, kind in OPTIMIZERS.items():
        p = Parameter(np.array([3.0, -2.0]))
        lr = {"sgd": 0.1, "adagrad": 1.0}.get(name, 0.05)
        optimizer: optim.Optimizer = kind([p], lr)
        for step in range(400):
            optimizer.lr = lr * (1 - step / 400)
            optimizer.zero_grad()
            ops.sum(p * p).backward()
            optimizer.step()
        assert np.abs(p.data).max() <= 1e-2, name
