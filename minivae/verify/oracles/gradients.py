"""The gradient checker itself: right rules pass, and one part in a thousand is seen.

    |analytic − numeric| / max <= 1e-6,   float64, central differences, random upstream

Every rule of every op is planted wrong in turn, its result times 1.001, and must be
rejected. What a gradient check cannot see, a wrong objective, the other oracles do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minivae.gradcheck import Claim
from minivae.tensor import Op, Rule
from minivae.verify.gradients import op_claims

WRONG = 1.001


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield how many right rules pass, and how many wrong ones are rejected."""
    own = list(op_claims())
    yield Claim.equal(
        "gradients/right rules",
        "every case of every op passes",
        len(own),
        sum(claim.passed for claim in own),
        0,
        "|analytic − numeric| / max <= 1e-6",
    )
    rules = [(op, name) for op in Op.registry.values() for name in op.rules]
    rejected = sum(_rejected(op, name) for op, name in rules)
    yield Claim.equal(
        "gradients/wrong rules",
        f"of {len(rules)} rules, each 0.1 % too large in turn, all are rejected",
        len(rules),
        rejected,
        0,
        "x̄ → 1.001 x̄",
    )


def _rejected(op: Op[Any], name: str) -> bool:
    with _planted(op, name):
        return not all(claim.passed for claim in op_claims(op.name))


@contextmanager
def _planted(op: Op[Any], name: str) -> Iterator[None]:
    """Let the rule of one input send 1.001 times what it should."""
    right = op.rules[name]
    position = 0 if op.variadic else op.inputs.index(name)

    def wrong(*args: Any, **params: Any) -> Any:
        sent = right.function(*args, **params)
        if not op.joint:
            return sent * WRONG
        parts = list(sent)
        for i in range(len(parts)) if op.variadic else (position,):
            parts[i] = None if parts[i] is None else parts[i] * WRONG
        return tuple(parts)

    before = dict(op.rules)
    function: Callable[..., Any] = wrong
    for other, rule in before.items():
        if other == name or (op.joint and rule.function is right.function):
            op.rules[other] = Rule(rule.formula, function)
    try:
        yield
    finally:
        op.rules.clear()
        op.rules.update(before)
