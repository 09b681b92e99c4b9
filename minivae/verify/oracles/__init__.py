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
    "convolution",
    "bayes_identity",
    "optimal_variance",
    "linear_ae",
    "tied",
    "overcomplete",
    "denoising",
    "masking",
    "penalties",
    "score",
    "linear_vae",
    "rate_distortion",
    "em",
    "ordering",
    "quadrature",
    "enumeration",
    "surgery",
    "disentanglement",
)

TOO_LARGE = {
    "kl": "launches a kernel for each of 4,000 draws",
    "gradients": "differentiates every op by finite differences, over and over",
    "metamorphic": "decodes hundreds of draws, each by launches of its own",
    "linear_ae": "trains for 1,500 steps",
    "linear_vae": "trains for 1,000 steps and 200 for each latent",
    "rate_distortion": "trains four models for 1,000 steps each",
    "em": "takes 400 steps of inference for each image",
    "ordering": "decodes 500 draws of 400 images",
    "quadrature": "trains, and decodes a grid of 40,000 codes",
    "enumeration": "takes gradients of thousands of draws",
    "tied": "trains for 1,000 steps and more",
    "overcomplete": "trains for 2,000 steps",
    "denoising": "trains for 1,000 steps and more",
    "masking": "trains for 1,500 steps",
    "penalties": "trains for 600 steps",
    "score": "trains for 1,500 steps",
}
"""Why an oracle is not run in the interpreter of PTX, which is some 1,000 times slower
than a compiled kernel and takes milliseconds for every launch."""


@dataclass(frozen=True)
class Oracle:
    """Something known exactly: `claims(latent)` measures it."""

    name: str
    title: str
    claims: Callable[[int], Iterator[Claim]]
    too_large: str | None  # for the interpreter of PTX, and why


def _oracle(name: str) -> Oracle:
    module = import_module(f"{__name__}.{name}")
    title = (module.__doc__ or "").split("\n")[0]
    return Oracle(name, title, module.claims, TOO_LARGE.get(name))


ORACLES: dict[str, Oracle] = {name: _oracle(name) for name in NAMES}


def named(name: str | None, device: str = "cpu") -> list[Oracle]:
    """Return the oracle of a name, or all that are small enough for a device.

    Raises `UserError` that lists them, or says why the one is too large.
    """
    small = {n: o for n, o in ORACLES.items() if device != "ptx" or not o.too_large}
    if name is None:
        return list(small.values())
    if name not in ORACLES:
        raise UserError(f"no oracle {name!r}; have {', '.join(ORACLES)}")
    if name not in small:
        raise UserError(
            f"{name} is too large for device 'ptx', it {ORACLES[name].too_large}; "
            f"small enough: {', '.join(small)}"
        )
    return [ORACLES[name]]
