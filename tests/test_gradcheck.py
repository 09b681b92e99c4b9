"""The checker, checked: what is right passes, and everything wrong is rejected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mutations
import numpy as np
import pytest
from tolerances import GRADIENT

from minivae import gradcheck, nn, ops, tensor
from minivae.errors import UserError
from minivae.gradcheck import Claim
from minivae.models import MODELS
from minivae.tensor import Op, Parameter, Tensor
from minivae.verify import claims
from minivae.verify.gradients import LAYER_CASES, op_claims
from minivae.verify.op_cases import cases

RULES = [(op, name) for op in Op.registry.values() for name in op.rules]
each_rule = pytest.mark.parametrize(
    ("op", "name"), RULES, ids=[f"{op.name}.{name}" for op, name in RULES]
)


@pytest.fixture(scope="module")
def all_claims() -> list[Claim]:
    return list(claims())


def test_every_gradient_agrees(all_claims: list[Claim]) -> None:
    for claim in all_claims:
        assert claim.passed, claim
        assert claim.error <= GRADIENT


def test_every_op_layer_and_model_has_a_claim(all_claims: list[Claim]) -> None:
    found: dict[str, set[str]] = {"op": set(), "layer": set(), "model": set()}
    for claim in all_claims:
        kind, name, *_ = claim.name.split("/")
        found[kind].add(name)
    assert found == {
        "op": set(Op.registry),
        "layer": set(nn.LAYERS),
        "model": set(MODELS),
    }


def test_the_registry_of_layers_is_complete() -> None:
    families = (nn.Activation, nn._Pooling)

    def leaves(kind: type) -> Iterator[type]:
        for below in kind.__subclasses__():
            yield from leaves(below)
            if below.__module__ == "minivae.nn" and below not in families:
                yield below

    assert (
        set(nn.LAYERS.values())
        == set(leaves(nn.Layer))
        == {nn.LAYERS[name] for name in LAYER_CASES}
    )


def test_models_are_checked_whole_and_at_full_size(all_claims: list[Claim]) -> None:
    for name in MODELS:
        labels = [c.name for c in all_claims if c.name.startswith(f"model/{name}/")]
        assert any("/small/encoder.1.weight" in label for label in labels)
        assert any(label.endswith("/full/all") for label in labels)


# Wrong rules


def rejected(op: Op[Any]) -> bool:
    """Tell whether the checker, or the engine before it, refuses the op as it is."""
    try:
        with np.errstate(all="ignore"):
            return not all(claim.passed for claim in op_claims(op.name))
    except (ValueError, TypeError, AttributeError, IndexError):
        return True  # a gradient of the wrong shape


@each_rule
def test_every_wrong_version_of_a_rule_is_rejected(
    op: Op[Any], name: str, record_property: Any
) -> None:
    tried = 0
    for what, wrong in mutations.wrong_rules(op, name):
        with mutations.planted(op, name, wrong):
            assert rejected(op), f"{op.name}.{name}, {what}: passes"
        tried += 1
    assert tried >= len(mutations.CHANGES)
    assert not rejected(op)
    record_property("wrong_rules_rejected", tried)


@each_rule
def test_a_transposed_gradient_is_rejected(op: Op[Any], name: str) -> None:
    """By its numbers where it is square, else by its shape."""
    with mutations.planted(op, name, mutations.transposing(op, name)):
        assert rejected(op)


def test_elementwise_rules_are_checked_on_square_matrices() -> None:
    square = {
        c.op for c in cases() if all(x.shape == (3, 3) for x in c.inputs.values())
    }
    elementwise = {
        op.name for op, _ in RULES if op.rules.keys() <= {"x", "y"} and not op.variadic
    }
    assert elementwise - square <= {
        *("sum", "mean", "max", "logsumexp"),  # the gradient has three axes
        *("reshape", "getitem", "broadcast_to"),  # it has another shape than upstream
        *("max_pool2d", "avg_pool2d", "upsample_nearest"),  # so here
    }


def test_dropping_terms_finds_the_terms() -> None:
    def rule(g: float, x: float) -> float:
        return g * (x - 2.0) + 3.0

    results = sorted(wrong(1.0, 10.0) for wrong in mutations.dropped_terms(rule))
    assert results == [1.0, 3.0, 8.0, 13.0]


# Faults of the engine, not of a rule


def test_a_fan_out_that_overwrites_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([0.3, 0.7])
    assert all(c.passed for c in gradcheck.check(lambda x: x * x + x, [x]))
    monkeypatch.setattr(
        tensor,
        "_accumulate",
        lambda adjoints, edge, term: adjoints.update({edge: term}),
    )
    assert not any(c.passed for c in gradcheck.check(lambda x: x * x + x, [x]))


def test_a_stale_forward_is_rejected() -> None:
    kept: list[Tensor] = []

    def stale(x: Tensor) -> Tensor:
        kept.append(ops.exp(x))
        return kept[0]

    assert not gradcheck.check(stale, [np.array([0.3, 0.7])])[0].passed


# The checker itself


def test_a_kink_is_set_aside_and_counted() -> None:
    x = np.concatenate([[0.0, 3e-6, -4e-6], np.linspace(-2, 2, 20)])
    (claim,) = gradcheck.check(ops.relu, [x])
    assert claim.passed
    assert "3 at kinks set aside" in claim.claim


@pytest.mark.parametrize("distance", [0.0, 0.1, 1 / 3, 0.45, 0.5, 0.7, 0.9])
def test_a_kink_is_seen_wherever_in_the_step_it_lies(distance: float) -> None:
    x = np.concatenate([[distance * gradcheck.STEP], np.linspace(0.5, 2, 9)])
    (claim,) = gradcheck.check(ops.abs, [x])
    assert claim.passed
    assert "1 at kinks" in claim.claim


def test_more_than_a_fifth_of_kinks_is_no_verdict() -> None:
    x = np.concatenate([np.zeros(3), np.linspace(0.5, 2, 9)])
    assert not gradcheck.check(ops.relu, [x])[0].passed
    assert gradcheck.check(ops.relu, [x[1:]])[0].passed


def test_mostly_kinks_is_no_verdict() -> None:
    (claim,) = gradcheck.check(ops.relu, [np.zeros(5)])
    assert not claim.passed
    assert "5 of 5 elements lie on kinks" in claim.claim


def test_a_wrong_gradient_is_never_taken_for_a_kink() -> None:
    op = Op.registry["tanh"]
    with mutations.planted(op, "x", mutations._wrapped(op, "x", lambda g: 2 * g)):
        (claim,) = gradcheck.check(ops.tanh, [np.linspace(-2, 2, 9)])
    assert not claim.passed
    assert "kink" not in claim.claim
    assert claim.measured == pytest.approx(2 * claim.exact)


def test_the_report_names_the_worst_element_with_both_numbers() -> None:
    op = Op.registry["exp"]
    with mutations.planted(
        op, "x", mutations._wrapped(op, "x", mutations._one_element_off)
    ):
        (claim,) = gradcheck.check(ops.exp, {"logits": np.zeros((2, 3))}, name="mine")
    assert claim.name == "mine/logits"
    assert "worst at logits[1, 0]" in claim.claim
    assert f"{claim.measured:.9g} by the rules" in claim.claim
    assert f"{claim.exact:.9g} by differences" in claim.claim


def test_an_unused_input_has_gradient_zero() -> None:
    _, claim = gradcheck.check(lambda x, y: ops.exp(x), [np.ones(2), np.ones(2)])
    assert claim.passed
    assert claim.measured == 0.0


def test_directions_reject_a_wrong_rule_too() -> None:
    weight = Parameter(np.random.default_rng(0).normal(size=(20, 30)), "weight")
    x = np.random.default_rng(1).normal(size=(4, 30))

    def loss() -> Tensor:
        return ops.sum(ops.tanh(ops.linear(x, weight, np.zeros(20))))

    def check() -> Claim:
        return gradcheck.check_directions(loss, {"weight": weight}, name="f")

    before = weight.data.copy()
    assert check().passed
    op = Op.registry["tanh"]
    with mutations.planted(op, "x", mutations._wrapped(op, "x", lambda g: 1.001 * g)):
        assert not check().passed
    np.testing.assert_array_equal(weight.data, before)


def test_a_check_needs_float64() -> None:
    with pytest.raises(UserError, match="float64"):
        gradcheck.check_parameters(
            lambda: ops.sum(p), {"p": (p := Parameter([1.0]))}, name="f"
        )


@pytest.mark.parametrize("error", [np.nan, np.inf, 1.1e-6])
def test_a_claim_passes_only_within_its_tolerance(error: float) -> None:
    assert not Claim.compare("n", "c", 1.0, 1.0, error, 1e-6).passed
    assert Claim.compare("n", "c", 1.0, 1.0, 1e-6, 1e-6).passed
