"""The recorded step is the step that training takes, and its text says all of it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from tolerances import FLOAT32, FLOAT64

from minivae import UserError, ops
from minivae.models import MODELS, Autoencoder, build
from minivae.optim import SGD, Adam
from minivae.random import Noise
from minivae.study import Recording, as_text, record
from minivae.study.recording import GROUPS, KINDS, Node
from minivae.study.tape import Tape
from minivae.tensor import Parameter, Tensor, mode
from minivae.train import train_step


def tiny(name: str = "vae", **options: Any) -> Autoencoder:
    sizes = {"shape": (1, 2, 3), "hidden": (4,), "likelihood": "bernoulli"}
    model = build(name, **{**sizes, "latent": 2, "activation": "tanh", **options})
    model.to(dtype=np.float64)
    return model


CONV = {"arch": "conv", "shape": (1, 4, 4), "channels": (2,)}
X = (Noise(1).uniform((3, 1, 2, 3), np.float64) < 0.5).astype(np.float64)
EPS = Noise(2).normal((3, 2), np.float64)
each_model = pytest.mark.parametrize("name", MODELS)


def recorded(name: str = "vae", **options: Any) -> tuple[Autoencoder, Recording]:
    model = tiny(name, **options)
    noise = model.loss_noise(Noise(2), len(X))
    return model, record(model, X, noise, SGD(model.parameters(), 1e-4), checks="none")


@each_model
def test_a_recorded_step_is_the_step_of_training(name: str) -> None:
    studied, trained = tiny(name), tiny(name)
    noise = studied.loss_noise(Noise(2), len(X))
    record(studied, X, noise, Adam(studied.parameters(), 0.01))
    train_step(trained, Adam(trained.parameters(), 0.01), X, noise)
    for key, value in trained.state().items():
        np.testing.assert_array_equal(studied.state()[key], value)


@each_model
def test_without_an_optimizer_the_model_is_left_as_it_was(name: str) -> None:
    model = tiny(name)
    before, places = model.state(), [p.data for p in model.parameters()]
    step = record(model, X)
    assert step.update is not None
    assert step.update.loss_after != step.update.loss
    for parameter, place in zip(model.parameters(), places, strict=True):
        assert parameter.data is place
        assert parameter.grad is parameter.slot is None
    for key, value in model.state().items():
        np.testing.assert_array_equal(value, before[key])
    assert step.to_json() == record(model, X).to_json()  # and again the same


def test_the_forward_pass_is_in_order_named_and_grouped() -> None:
    _, step = recorded()
    assert [(node.name, node.group) for node in step.nodes] == [
        *((name, "encoder") for name in ("encoder.1", "encoder.2", "mu", "logvar")),
        ("z", "sampling"),
        *((f"decoder.{i}", "decoder") for i in range(4)),
        *((name, "loss") for name in ("recon", "kl", "beta_kl", "loss")),
    ]
    first, z = step.nodes[0], step.nodes[4]
    assert (z.op, [step.label(ref) for ref in z.inputs]) == (
        "reparameterize",
        ["mu", "logvar", "eps"],
    )
    assert [step.label(ref) for ref in first.inputs] == [
        *("x", "encoder.1.weight", "encoder.1.bias")
    ]
    assert first.inputs[0].shape == (3, 6)
    assert first.source.file == "minivae/nn.py"
    assert first.source.text == "return ops.linear(x, self.weight, self.bias)"
    rule = z.rules[1]
    assert rule is not None
    assert rule.formula == "ℓ̄ = ½ z̄ ε e^(ℓ/2)"
    assert "return 0.5 * g * noise" in rule.source.text
    assert z.rules[2] is None
    assert "bernoulli/bernoulli_polynomial" in step.nodes[9].rungs
    assert "colsum/colsum_rows" in first.rule_rungs


@each_model
@pytest.mark.parametrize("options", [{}, CONV], ids=["dense", "conv"])
def test_every_leaf_and_node_has_a_name_a_kind_and_a_group(
    name: str, options: dict[str, Any]
) -> None:
    model = tiny(name, **options)
    x = (Noise(1).uniform((3, *model.shape)) < 0.5).astype(np.float64)
    step = record(model, x, checks="none")
    names = [item.name for item in step.items]
    assert len(set(names)) == len(names)
    assert {item.group for item in step.items} <= set(GROUPS)
    assert {leaf.kind for leaf in step.leaves} <= set(KINDS)
    kinds = {leaf.name: leaf.kind for leaf in step.leaves}
    assert {n for n, kind in kinds.items() if kind == "parameter"} == set(
        model.named_parameters()
    )
    assert kinds["x"] == "input"


@each_model
def test_a_fused_op_opens_to_the_same_value(name: str) -> None:
    _, step = recorded(name)
    opened = [node for node in step.nodes if node.steps]
    assert opened
    for node in opened:
        np.testing.assert_allclose(node.steps[-1].value, node.value, rtol=FLOAT64)
        known = {item.id for item in step.items} | {c.id for c in node.constants}
        for inner in node.steps:
            assert {ref.id for ref in inner.inputs} <= known
            known.add(inner.id)


TABLES: list[tuple[str, dict[str, Any]]] = [
    ("ae", {}),
    ("vae", {}),
    ("betavae", {"beta": 4.0}),
    ("betavae", {"free_bits": 0.25}),
    ("betavae", {"capacity": 2.0, "gamma": 10.0}),
    ("vae", {"likelihood": "gaussian"}),
    ("iwae", {}),
    ("iwae", {"sticking": True, "samples": 3}),
    ("mixturevae", {}),
    *(
        ("bernoullivae", {"estimator": estimator})
        for estimator in ("exact", "reinforce", "straight_through", "relaxed")
    ),
]


@pytest.mark.parametrize(("name", "options"), TABLES)
def test_the_table_sums_to_the_loss(name: str, options: dict[str, Any]) -> None:
    step = record(tiny(name, **options), X, checks="none")
    terms = step.terms
    assert terms is not None
    adds = [i for i, column in enumerate(terms.columns) if column.adds]
    latents = [i for i, c in enumerate(terms.columns) if c.name.startswith("kl z")]
    numbers = np.array([[cell.value for cell in row] for row in terms.cells])
    assert terms.columns[-1].kind == "total"
    assert abs(numbers[:, -1].mean() - step.loss_value) <= FLOAT64 * 10
    np.testing.assert_allclose(numbers.mean(axis=0), terms.means, rtol=FLOAT64)
    if name != "iwae":  # whose parts are not the loss's
        assert adds
        np.testing.assert_allclose(
            numbers[:, adds].sum(axis=1), numbers[:, -1], rtol=1e-10
        )
    if name not in ("ae", "mixturevae"):
        kl = step.named("kl")
        assert isinstance(kl, Node)
        whole = numbers[:, latents].sum(axis=1).mean()
        assert abs(whole - float(kl.value)) <= FLOAT64 * 10


@pytest.mark.parametrize(("name", "options"), TABLES)
def test_a_cell_names_the_rows_of_its_image(name: str, options: dict[str, Any]) -> None:
    step = record(tiny(name, **options), X, checks="none")
    assert step.terms is not None
    for n, row in enumerate(step.terms.cells):
        for cell, column in zip(row, step.terms.columns, strict=True):
            assert cell.nodes
            assert all(id in step.by_id for id in cell.nodes)
            if column.kind in ("recon", "kl"):
                assert cell.elements
            for element in cell.elements:
                value = np.asarray(step.by_id[element.id].value)
                assert element.index[0] % len(X) == n
                assert value[element.index].size  # it is there


def test_contributions_add_up_to_the_gradients() -> None:
    model, step = recorded()
    assert step.update is not None
    for update in step.update.parameters:
        leaf = step.named(update.name)
        totals = [e.total for e in step.events if e.receiver == leaf.id]
        np.testing.assert_array_equal(update.gradient, totals[-1])
    assert {u.name for u in step.update.parameters} == set(model.named_parameters())


def test_the_two_paths_into_the_posterior_are_shown() -> None:
    _, step = recorded()
    for name in ("mu", "logvar"):
        receiver = step.named(name)
        events = [e for e in step.events if e.receiver == receiver.id]
        assert [step.by_id[e.sender].name for e in events] == ["kl", "z"]
        assert [e.count for e in events] == [1, 2]
        np.testing.assert_array_equal(
            events[1].total, events[0].gradient + events[1].gradient
        )


def test_unbroadcasting_is_an_event_of_its_own() -> None:
    _, step = recorded(likelihood="gaussian")
    sent, summed = (
        e for e in step.events if e.receiver == step.named("recon_logvar").id
    )
    assert (sent.kind, sent.adds, sent.total) == ("contribution", False, None)
    assert (summed.kind, summed.axes) == ("unbroadcast", (0, 1, 2, 3))
    assert summed.upstream[0] is sent.gradient
    np.testing.assert_array_equal(summed.total, np.sum(sent.gradient))
    assert "summed over axis 0, 1, 2, 3" in as_text(step)


def test_the_gradient_predicts_the_change_of_a_small_step() -> None:
    update = recorded()[1].update
    assert update is not None
    predicted = update.loss_predicted - update.loss
    real = update.loss_after - update.loss
    assert real < 0
    assert abs(predicted - real) <= 1e-3 * abs(real)
    parts = sum(each.predicted for each in update.parameters)
    assert abs(parts - predicted) <= FLOAT64


def test_the_optimizers_state_is_shown_before_and_after() -> None:
    model = tiny()
    optimizer = Adam(model.parameters(), 0.01)
    for _ in range(2):
        update = record(model, X, EPS, optimizer, checks="none").update
    assert update is not None
    assert update.settings["steps"] == 2
    for each in update.parameters:
        m, g = each.state["exp_avg"], each.gradient
        np.testing.assert_allclose(
            each.new_state["exp_avg"], 0.9 * m + 0.1 * g, rtol=1e-12, atol=1e-15
        )


def test_a_recording_is_plain_data() -> None:
    def check(value: Any) -> None:
        assert not isinstance(value, (Tensor, Parameter))
        if is_dataclass(value):
            for each in fields(value):
                check(getattr(value, each.name))
        elif isinstance(value, (list, tuple)):
            for item in value:
                check(item)

    check(recorded()[1])


def test_recording_ends_even_if_the_step_fails() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="takes images"):
        record(model, X[:, :, :1], EPS, SGD(model.parameters()))
    assert mode.observer is None


# Replay


@each_model
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, CONV], ids=["dense", "conv"])
def test_a_recording_replays_to_the_same_loss_bit_for_bit(
    name: str, dtype: str, options: dict[str, Any]
) -> None:
    model = build(name, **{"shape": (1, 2, 3), "hidden": (4,), "latent": 2, **options})
    model.use_likelihood("bernoulli")
    model.to(dtype=dtype)
    x = (Noise(1).uniform((3, *model.shape)) < 0.5).astype(dtype)
    step = record(model, x, checks="none")
    assert step.settings.dtype == dtype
    assert step.replay() == step.loss_value
    assert Recording.loads(step.to_json()).replay() == step.loss_value


@each_model
def test_a_change_is_followed_or_refused(name: str) -> None:
    model = tiny(name)
    noise = model.loss_noise(Noise(3), len(X))
    step = record(model, X, noise, checks="none")
    for leaf in step.leaves:
        if leaf.kind not in ("input", "noise"):
            continue
        other = np.array(leaf.value)
        index = (0,) * other.ndim
        other[index] = 1 - other[index]
        if not leaf.traced:
            assert name in ("bernoullivae", "dae")  # a draw, a spoilt image
            with pytest.raises(UserError, match="cannot be changed"):
                step.replay({leaf.name: {index: other[index]}})
            continue
        given = (other, noise) if leaf.kind == "input" else (X, other)
        meant = model.loss_terms(*given).loss.item()
        assert meant != step.loss_value
        for change in (other, {index: other[index]}):
            assert abs(step.replay({leaf.name: change}) - meant) <= FLOAT64 * 10


def test_beta_and_a_node_can_be_changed() -> None:
    step = record(tiny("betavae", beta=4.0), X, EPS, checks="none")
    meant = record(tiny("betavae", beta=1.0), X, EPS, checks="none").loss_value
    assert abs(step.replay({"beta": 1.0}) - meant) <= FLOAT64 * 10
    kl = step.named("kl")
    assert isinstance(kl, Node)
    free = step.replay({"kl": 0.0 * kl.value})
    assert abs(free - float(step.named("recon").value)) <= FLOAT64 * 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nonsense": 1.0}, "nothing is called 'nonsense'"),
        ({"eps": np.zeros((2, 2))}, r"eps is \(3, 2\), and the change \(2, 2\)"),
        ({"eps": {(7, 0): 1.0}}, "eps has no element"),
        ({"beta": np.zeros(2)}, "beta is a number"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(changes: Any, words: str) -> None:
    _, step = recorded()
    with pytest.raises(UserError, match=words):
        step.replay(changes)


def test_a_replay_tells_every_value() -> None:
    _, step = recorded()
    values = Tape(step).values({"eps": np.zeros_like(EPS)})
    np.testing.assert_array_equal(values["z"], values["mu"])


# Checks


@each_model
@pytest.mark.parametrize("options", [{}, CONV], ids=["dense", "conv"])
def test_every_rule_and_every_gradient_is_checked(
    name: str, options: dict[str, Any]
) -> None:
    model = tiny(name, **options)
    x = (Noise(1).uniform((3, *model.shape)) < 0.5).astype(np.float64)
    step = record(model, x)
    reached = {(e.receiver, e.output) for e in step.events}
    for item in step.items:
        if (item.id, 0) in reached:
            assert [c.kind for c in item.checks].count("global") == 1
    senders = {(e.sender, e.position) for e in step.events}
    for node in step.nodes:
        local = {(node.id, c.position) for c in node.checks if c.kind == "local"}
        assert {pair for pair in senders if pair[0] == node.id} <= local
    for _, check in [*step.checks("local"), *step.checks("global")]:
        assert check.claim.passed
        if check.method == "element":
            assert check.index is not None


def test_a_check_names_its_worst_element_with_both_numbers() -> None:
    step = record(tiny(), X, EPS)
    mu = step.named("mu")
    (check,) = [c for c in mu.checks if c.kind == "global"]
    assert check.index is not None
    assert check.claim.name == "mu"
    assert f"worst at mu{list(check.index)}" in check.claim.claim
    events = [e for e in step.events if e.receiver == mu.id]
    analytic = np.asarray(events[-1].total)[check.index]
    assert abs(check.claim.measured - analytic) <= FLOAT32
    assert check.claim.measured != check.claim.exact


# What a learner may bring


def learner(batch: Any) -> Tensor:
    return ops.sum(ops.tanh(LEARNED) * batch)


LEARNED = Parameter(np.array([0.3, -0.5]), "w")


def test_any_function_with_a_scalar_loss_can_be_recorded() -> None:
    step = record(learner, np.array([1.0, 2.0]))
    assert [node.name for node in step.nodes] == ["tanh", "mul", "loss"]
    assert step.title == "learner, batch 2"
    assert {node.group for node in step.nodes} == {"loss"}
    assert step.terms is None
    assert step.update is not None
    assert step.replay() == step.loss_value


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda x: LEARNED * x, r"has the shape \(2,\), and a step needs a scalar"),
        (lambda x: 3.0, "gives a float, not a Tensor"),
        (lambda x: ops.sum(Tensor(x)), "no parameter led to the loss"),
        (object(), "cannot be stepped through"),
    ],
)
def test_what_cannot_be_recorded_is_refused(model: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        record(model, np.array([1.0, 2.0]))


def chain(length: int) -> Any:
    def model(batch: Any) -> Tensor:
        h: Tensor = LEARNED
        for _ in range(length):
            h = ops.tanh(h)
        return ops.sum(h)

    return model


def test_a_graph_too_large_to_read_is_refused_or_folded() -> None:
    with pytest.raises(UserError, match=r"2001 nodes, too many.*--fold"):
        record(chain(2000), np.zeros(1))
    step = record(chain(2000), np.zeros(1), fold=True, checks="none")
    assert len(step.nodes) == 21
    assert sum(1 for _ in step.ops) == 2001
    assert step.replay() == step.loss_value
    assert Recording.loads(step.to_json()).replay() == step.loss_value
    assert len(as_text(step)) < 20_000


@each_model
def test_a_fold_has_a_node_for_each_part_and_sends_the_same_gradients(
    name: str,
) -> None:
    model = tiny(name)
    whole = record(model, X)
    step = record(model, X, fold=True)
    assert len(step.nodes) < len(whole.nodes)
    assert "encoder" in [node.name for node in step.nodes]
    assert step.replay() == whole.loss_value
    assert step.first_fault() is None
    for leaf in step.leaves:
        if leaf.kind == "parameter":
            totals = [e.total for e in step.events if e.receiver == leaf.id]
            twin = [e.total for e in whole.events if e.receiver == leaf.id]
            np.testing.assert_array_equal(totals[-1], twin[-1])


# Text


@each_model
def test_the_text_fits_a_terminal_and_says_every_event(name: str) -> None:
    step = record(tiny(name), X)
    text = as_text(step)
    assert max(map(len, text.splitlines())) <= 80
    titles = ("FORWARD", "THE LOSS BY IMAGE", "BACKWARD", "UPDATE", "CHECKS")
    for title in titles:
        assert f"\n{title}  " in text
    for node in step.nodes:
        assert f"{node.name} = {node.op}(" in text
    for event in step.events:
        if event.kind == "contribution":
            assert f"{step.by_id[event.sender].name} → " in text


def test_a_value_that_is_not_finite_is_shown_and_named() -> None:
    def model(batch: Any) -> Tensor:
        return ops.sum(ops.log(LEARNED))

    step = record(model, np.zeros(1))
    text = as_text(step)
    assert "NOT FINITE: 1 of 2 elements, the first at log[1]" in text
    assert step.first_fault() is None  # the rule of log is right
    assert Recording.loads(step.to_json()).to_json() == step.to_json()
