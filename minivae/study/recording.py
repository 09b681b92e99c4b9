"""What is known of one training step, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from minivae.backend import Array


@dataclass(frozen=True)
class Value:
    """A named array that went into the step."""

    name: str
    array: Array


@dataclass(frozen=True)
class Forward:
    """One op that was applied: what it was called with, what it made."""

    name: str
    op: str
    formula: str
    module: str
    source: str  # file:line, relative to the folder that holds the package or script
    inputs: list[str]
    params: dict[str, Any]
    outputs: list[Value]


@dataclass(frozen=True)
class Backward:
    """One contribution to an adjoint, in the order in which they were added.

    The rule of node `sender` for its input `position` turned `upstream` into `raw`;
    summed over `summed_axes` (where broadcasting had repeated the input) that became
    `gradient`, and with it the adjoint of `receiver` has come to `total`.
    """

    sender: str
    receiver: str
    position: int
    formula: str
    upstream: Any
    raw: Any
    summed_axes: tuple[int, ...]
    gradient: Any
    count: int  # how many contributions the receiver has now
    total: Any


@dataclass(frozen=True)
class Update:
    """What the optimizer did to one parameter."""

    name: str
    value: Array
    gradient: Array
    new_value: Array


@dataclass(frozen=True)
class Terms:
    """The loss by image: recon (N,), KL by latent (N, Z), and how they were weighed."""

    recon: Array
    kl: Array
    beta: float


@dataclass(frozen=True)
class Recording:
    """A whole step. `loss_predicted` is loss + Σ gradient · (new value − value)."""

    title: str
    inputs: list[Value]
    forward: list[Forward]
    terms: Terms
    backward: list[Backward]
    optimizer: str
    updates: list[Update]
    loss: float
    loss_predicted: float
    loss_after: float
    version: int = field(default=1)
