"""A wrong rule is found at its node and nowhere else, by numbers alone.

For each op of the registry: a graph in which it is neither first nor last, and every
wrong version of every rule that the gradient checker's own tests reject.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mutations
import numpy as np
import pytest

from minivae import ops, study, tensor
from minivae.random import Noise
from minivae.study import Recording
from minivae.study.recording import Node
from minivae.tensor import Op, Parameter, Tensor
from minivae.verify.op_cases import Case, cases

RULES = [(op, name) for op in Op.registry.values() for name in op.rules]
each_rule = pytest.mark.parametrize(
    ("op", "name"), RULES, ids=[f"{op.name}.{name}" for op, name in RULES]
)


class InTheMiddle:
    """parameters -> another op -> the op of a case -> two others -> a scalar."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.around = "neg" if case.op != "neg" else "mul"
        sign = -1.0 if self.around == "neg" else 1.0
        self.inputs = [Parameter(sign * x, name) for name, x in case.inputs.items()]

    def __call__(self, batch: Any) -> Tensor:
        before = [
            ops.neg(p) if self.around == "neg" else ops.mul(p, 1.0) for p in self.inputs
        ]
        outs = self.case.f(*before)
        outs = outs if isinstance(outs, tuple) else (outs,)
        parts = [self.weighed(i, out) for i, out in enumerate(outs)]
        return parts[0] if len(parts) == 1 else ops.add(*parts)

    def weighed(self, i: int, out: Tensor) -> Tensor:
        weights = Noise(i, 99).normal(out.shape, np.float64)
        if self.case.op not in ("mul", "sum"):
            return ops.sum(ops.mul(out, weights))
        row = ops.reshape(out, shape=(1, -1))
        return ops.reshape(ops.matmul(row, weights.reshape(-1, 1)), shape=())


def recorded(case: Case, checks: Any = "none") -> Recording:
    return study.record(InTheMiddle(case), np.zeros(1), checks=checks)


@cache
def recordings(name: str) -> list[Recording]:
    return [recorded(case) for case in cases() if case.op == name]


def faults(recording: Recording) -> list[tuple[Node, str]]:
    """Every node of which a rule fails by itself, and for which input."""
    found = []
    for node in recording.nodes:
        for check in node.failed("local"):
            rule = node.rules[check.position]
            assert rule is not None
            found.append((node, rule.input))
    return found


@pytest.mark.parametrize("name", Op.registry)
def test_the_op_stands_in_the_middle_and_all_is_well(name: str) -> None:
    assert recordings(name)
    for recording in recordings(name):
        (place,) = [i for i, n in enumerate(recording.nodes) if n.op == name]
        assert 0 < place < len(recording.nodes) - 1
        assert study.checked(recording, whole=False).first_fault() is None


@each_rule
def test_every_wrong_rule_is_found_at_exactly_its_op(op: Op[Any], name: str) -> None:
    for what, wrong in [
        *mutations.wrong_rules(op, name),
        ("transposed", mutations.transposing(op, name)),
    ]:
        with mutations.planted(op, name, wrong):
            assert found_at(op, name, what), f"{op.name}.{name}, {what}: not found"


def found_at(op: Op[Any], name: str, what: str) -> bool:
    """Whether a case shows the fault; that any other op is blamed is an error."""
    for recording in recordings(op.name):
        found = faults(study.checked(recording, whole=False))
        assert {node.op for node, _ in found} <= {op.name}, what
        if found:
            inputs = {input for _, input in found}
            assert inputs == {name} or op.joint, what
            return True
    return False


@each_rule
def test_a_step_with_a_wrong_rule_is_recorded_and_the_rule_named(
    op: Op[Any], name: str
) -> None:
    """The whole way: the rule is wrong already when the step is taken."""
    wrong = dict(mutations.wrong_rules(op, name))["times 2"]
    case = next(c for c in cases() if c.op == op.name and name in (*c.inputs, "xs"))
    with mutations.planted(op, name, wrong):
        fault = recorded(case, "local").first_fault()
    assert fault is not None
    node, check = fault
    assert node.op == op.name
    assert check.claim.measured == pytest.approx(2 * check.claim.exact)


def test_a_rule_that_raises_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(c for c in cases() if c.op == "tanh")
    op = Op.registry["tanh"]

    def broken(g: Any, *rest: Any) -> Any:
        raise KeyError("forgotten")

    with mutations.planted(op, "x", op.rules["x"]._replace(function=broken)):
        recording = recorded(case, "all")
    assert "backward stopped at a KeyError" in recording.notes[0]
    fault = recording.first_fault()
    assert fault is not None
    assert fault[0].op == "tanh"
    assert "raises KeyError" in fault[1].claim.claim


def test_one_wrong_rule_turns_many_gradients_red_and_one_rule() -> None:
    case = next(c for c in cases() if c.op == "exp")
    op = Op.registry["exp"]
    wrong = dict(mutations.wrong_rules(op, "x"))["times 2"]
    with mutations.planted(op, "x", wrong):
        recording = recorded(case, "all")
    red = {item.name for item, check in recording.checks("global") if check.failed}
    assert red == {"x", "neg"}  # all that lies before it
    assert [node.op for node, _ in faults(recording)] == ["exp"]


def test_an_engine_that_loses_a_gradient_fails_globally_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = Parameter(np.array([0.3, 0.7]), "x")

    def loss(batch: Any) -> Tensor:
        return ops.sum(x * x + x)

    monkeypatch.setattr(
        tensor,
        "_accumulate",
        lambda adjoints, edge, term: adjoints.update({edge: term}),
    )
    recording = study.record(loss, np.zeros(1))
    assert recording.first_fault() is None
    assert [item.name for item, c in recording.checks("global") if c.failed] == ["x"]
