"""Two recordings side by side: the first value or gradient that differs, and where.

Leaves and nodes are matched by name. Forward comes before backward: a wrong rule leaves
all values as they are, and is where the gradient that arrived is still the same and the
one that was sent is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.gradcheck import SMALLEST_SCALE
from minivae.study.recording import Leaf, Node, Recording, Ref, Value

TOLERANCES = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2}
"""Relative; of two recordings the coarser dtype decides."""


@dataclass(frozen=True)
class Difference:
    """Where two recordings part: `what` is "value", "gradient" or "rule".

    "rule" is a contribution whose upstream is the same in both. `a` and `b` are the
    numbers at `index`, where they differ most, or the shapes where those differ.
    """

    name: str
    what: str
    index: tuple[int, ...]
    a: Any
    b: Any
    error: float  # |a − b| over the largest number of either array

    def __str__(self) -> str:
        """Return one line."""
        place = f"{self.name}{list(self.index)}" if self.index else self.name
        if isinstance(self.a, tuple):
            return f"{self.what} of {self.name}: shape {self.a} and {self.b}"
        apart = f"relative difference {self.error:.1e}"
        return f"{self.what} of {place}: {self.a:.9g} and {self.b:.9g}, {apart}"


@dataclass(frozen=True)
class Comparison:
    """All differences, in the order of the step, and what only one of the two has."""

    inputs: tuple[Difference, ...]  # of leaves
    values: tuple[Difference, ...]  # of nodes, forward
    gradients: tuple[Difference, ...]  # of rules and adjoints, backward
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    matched: int  # nodes
    tolerance: float

    @property
    def first(self) -> Difference | None:
        """The first node that differs in value, or else the first gradient."""
        return next(iter(self.values + self.gradients), None)

    @property
    def same(self) -> bool:
        """Whether nothing differs and nothing is missing."""
        apart = self.inputs, self.values, self.gradients, self.only_a, self.only_b
        return not any(apart)


def compare(a: Recording, b: Recording, tolerance: float | None = None) -> Comparison:
    """Compare two recordings; by default with the tolerance of the coarser dtype."""
    if tolerance is None:
        kinds = (a.settings.dtype, b.settings.dtype)
        tolerance = max(TOLERANCES.get(kind, 1e-5) for kind in kinds)
    leaves = [(x, b.by_name.get(x.name)) for x in a.leaves]
    nodes = [(x, b.by_name.get(x.name)) for x in a.nodes]
    found = [
        _difference(x.name, "value", x.value, y.value, tolerance)
        for x, y in leaves
        if isinstance(y, Leaf)
    ]
    values = [
        _difference(a.label(Ref(x.id, i)), "value", here.value, there.value, tolerance)
        for x, y in nodes
        if isinstance(y, Node)
        for i, (here, there) in enumerate(zip(x.outputs, y.outputs, strict=False))
    ]
    names_a, names_b = ({item.name: 0 for item in r.nodes} for r in (a, b))
    return Comparison(
        inputs=tuple(d for d in found if d),
        values=tuple(d for d in values if d),
        gradients=tuple(_gradients(a, b, tolerance)),
        only_a=tuple(name for name in names_a if name not in names_b),
        only_b=tuple(name for name in names_b if name not in names_a),
        matched=sum(name in names_b for name in names_a),
        tolerance=tolerance,
    )


def _gradients(a: Recording, b: Recording, tolerance: float) -> Iterator[Difference]:
    """Yield what differs backward: rules and adjoints, in the order of the sweep."""
    theirs = {_key(b, event): event for event in b.events}
    told: set[str] = set()
    for event in a.events:
        sender, _, receiver, _ = key = _key(a, event)
        if (other := theirs.get(key)) is None:
            continue
        arrived = zip(event.upstream, other.upstream, strict=False)
        same = not any(_difference("", "", x, y, tolerance) for x, y in arrived)
        name = f"{sender} for {receiver}"
        sent = _difference(name, "rule", event.gradient, other.gradient, tolerance)
        if same and sent:
            told.add(receiver)
            yield sent
    ours, theirs_at = _adjoints(a), _adjoints(b)
    for name, adjoint in ours.items():
        if name in theirs_at and name not in told:
            apart = _difference(name, "gradient", adjoint, theirs_at[name], tolerance)
            if apart:
                yield apart


def _adjoints(recording: Recording) -> dict[str, Value]:
    """Return the last total of every value that backward reached, by name."""
    return {
        recording.label(Ref(event.receiver, event.output)): event.total
        for event in recording.events
        if event.total is not None
    }


def _key(recording: Recording, event: Any) -> tuple[str, int, str, str]:
    sender = recording.by_id[event.sender].name
    receiver = recording.label(Ref(event.receiver, event.output))
    return sender, event.position, receiver, event.kind


def _difference(
    name: str, what: str, a: Value, b: Value, tolerance: float
) -> Difference | None:
    """Return where two values differ most, if by more than the tolerance."""
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape:
        return Difference(name, what, (), x.shape, y.shape, np.inf)
    if not x.size:
        return None
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(x - y)
    both = (np.isnan(x) & np.isnan(y)) | (x == y)
    apart = np.where(both, 0.0, np.where(np.isnan(apart), np.inf, apart))
    finite = np.concatenate([v[np.isfinite(v)].reshape(-1) for v in (x, y)])
    scale = max(float(np.abs(finite).max(initial=0.0)), SMALLEST_SCALE)
    error = float(apart.max()) / scale
    if error <= tolerance:
        return None
    index = np.unravel_index(int(np.argmax(apart)), x.shape)
    return Difference(
        name,
        what,
        tuple(int(i) for i in index),
        float(x[index]),
        float(y[index]),
        error,
    )


def as_lines(found: Comparison, names: tuple[str, str]) -> list[str]:
    """Return a comparison in words; `names` says what A and B are."""
    lines = [f"A {names[0]}", f"B {names[1]}"]
    lines += [f"went in differently: {each}" for each in found.inputs[:5]]
    if len(found.inputs) > 5:
        lines.append(f"... and {len(found.inputs) - 5} more of what went in")
    for which, only in (("A", found.only_a), ("B", found.only_b)):
        if only:
            shown = ", ".join(only[:8]) + (", ..." if len(only) > 8 else "")
            lines.append(f"only in {which}: {shown}")
    if found.first is None:
        lines.append(
            f"{found.matched} nodes and their gradients agree within "
            f"{found.tolerance:.0e}"
        )
        return lines
    lines.append(f"first difference: {found.first}")
    if found.gradients and found.first is not found.gradients[0]:
        lines.append(f"first backward:   {found.gradients[0]}")
    last = [difference for difference in found.values if difference.name == "loss"]
    lines += [f"in the end:       {each}" for each in last if each is not found.first]
    lines.append(
        f"{len(found.values)} values of {found.matched} nodes differ, and "
        f"{len(found.gradients)} gradients, by more than {found.tolerance:.0e}"
    )
    return lines
