"""The hot paths of minivae, each a ladder from its reference to its fastest kernel.

    family("bernoulli")(logits, target, scale)

A family is loaded, and with it Numba, when it is first asked for. This package never
imports `minivae`.
"""

from __future__ import annotations

from importlib import import_module

from minivae_kernels.devices import CannotRunError, Session, running_on
from minivae_kernels.family import Cost, Family, Rung

MODULES = {
    "philox.words": "philox",
    "philox.uniforms": "philox",
    "philox.normals": "philox",
    "bernoulli": "bernoulli",
    "gaussian.forward": "gaussian",
    "gaussian.backward": "gaussian",
    "sgd": "descent",
    "adagrad": "descent",
    "rmsprop": "descent",
    "adam": "adam",
    "colsum": "colsum",
    "relu.forward": "relu",
    "relu.backward": "relu",
    "bias_activation": "bias_activation",
    "matmul": "matmul",
    "conv.forward": "conv_implicit",
    "conv.adjoint": "conv_implicit",
    "conv.weight": "conv_implicit",
    "logmeanexp": "logmeanexp",
}
"""The module that completes each family, by the name of its file."""


_whole: dict[str, Family] = {}


def family(name: str) -> Family:
    """Return a family by name."""
    try:
        return _whole[name]
    except KeyError:
        # It is in the registry as soon as its module has begun: another thread waits
        # here until the module is whole
        import_module(f"minivae_kernels.{MODULES[name]}")
        _whole[name] = Family.registry[name]
        return _whole[name]


def families() -> list[Family]:
    """Return every family, all of them loaded."""
    return [family(name) for name in MODULES]


__all__ = [
    "MODULES",
    "CannotRunError",
    "Cost",
    "Family",
    "Rung",
    "Session",
    "families",
    "family",
    "running_on",
]
