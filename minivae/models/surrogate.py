"""Constants of an estimator: values that are used, but not differentiated.

The gradients of the sticking-the-landing, REINFORCE and straight-through estimators are
those of a surrogate in which some quantities stand still. A difference quotient that
lets them move compares two different things; within `same_constants` they keep the
values of the first evaluation, and the two must agree.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from minivae.tensor import Tensor


class _Constants(threading.local):
    """The values to use again, and how many of them were used so far."""

    kept: list[Tensor] | None = None
    used: int = 0


_constants = _Constants()


def held(x: Tensor) -> Tensor:
    """Return x as a constant: no gradient flows through it."""
    kept = _constants.kept
    if kept is None:
        return x.detach()
    if _constants.used == len(kept):
        kept.append(Tensor(x.data.copy()))
    _constants.used += 1
    return kept[_constants.used - 1]


@contextmanager
def same_constants(kept: list[Tensor]) -> Iterator[None]:
    """Let `held` give the values in `kept`; an empty list is filled with them."""
    before = _constants.kept, _constants.used
    _constants.kept, _constants.used = kept, 0
    try:
        yield
    finally:
        _constants.kept, _constants.used = before
