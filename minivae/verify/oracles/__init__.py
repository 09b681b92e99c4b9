"""The oracles, a file each: what is known exactly, and what is measured of it.

Every file defines `claims(latent)`; its name is the oracle's, its first line says what
it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from minivae.errors import UserError
from minivae.gradcheck import Claim

NAMES = (
    "kl",
    "stability",
    "pathwise",
    "gradients",
    "metamorphic",
    "bayes_identity",
    "optimal_variance",
    "linear_ae",
    "linear_vae",
    "rate_distortion",
    "em",
    "ordering",
    "quadrature",
    "enumeration",
    "surgery",
    "disentanglement",
)


@dataclass(frozen=True)
class Oracle:
    """Something known exactly: `claims(latent)` measures it."""

    name: str
    title: str
    claims: Callable[[int], Iterator[Claim]]


def _oracle(name: str) -> Oracle:
    module = import_module(f"{__name__}.{name}")
    return Oracle(name, (module.__doc__ or "").split("\n")[0], module.claims)


ORACLES: dict[str, Oracle] = {name: _oracle(name) for name in NAMES}


def named(name: str | None) -> list[Oracle]:
    """Return the oracle of a name, or all; raises `UserError` that lists them."""
    if name is None:
        return list(ORACLES.values())
    if name not in ORACLES:
        raise UserError(f"no oracle {name!r}; have {', '.join(ORACLES)}")
    return [ORACLES[name]]
