"""The gradient checks of everything: ops, layers, and models whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae import gradcheck, nn
from minivae.backend import Array
from minivae.errors import UserError
from minivae.gradcheck import Claim
from minivae.models import MODELS, Autoencoder, build
from minivae.models.surrogate import same_constants
from minivae.random import Noise, Stream
from minivae.tensor import Parameter, Tensor
from minivae.verify.op_cases import cases

SMALL: dict[str, dict[str, Any]] = {
    "dense": {"shape": (1, 3, 4), "hidden": (10,), "latent": 3},
    "conv": {"shape": (1, 8, 4), "channels": (2, 2), "hidden": (3,), "latent": 2},
    "burgess": {"shape": (1, 4, 4), "channels": (2,), "hidden": (3, 3), "latent": 2},
}
FULL: dict[str, dict[str, Any]] = {
    "dense": {"shape": (1, 28, 28), "hidden": (400,), "latent": 20},
    "conv": {"shape": (1, 28, 28), "latent": 20},
    "burgess": {"shape": (1, 32, 32), "latent": 10},
}
BATCH = 4


@dataclass(frozen=True)
class Variant:
    """A model as it is checked: with a likelihood, and options of its own."""

    model: str
    likelihood: str
    options: dict[str, Any]
    arch: str = "dense"


CONTRACTIVE = {"hidden": (), "latent": 14, "contraction": 0.5}
VARIANTS = [
    Variant("ae", "squared_error", {}),
    Variant("ae", "soft_bce", {"activation": "tanh", "dropout": 0.2}),
    Variant("vae", "bernoulli", {}),
    Variant("vae", "gaussian", {"activation": "elu"}),
    Variant("betavae", "bernoulli", {"beta": 4.0}),
    Variant("betavae", "soft_bce", {"beta": 0.5, "dropout": 0.2}),
    Variant("ae", "squared_error", {}, "conv"),
    Variant("ae", "squared_error", {"tied": True, "activation": "tanh"}),
    Variant("ae", "soft_bce", {"tied": True}, "conv"),
    Variant("ae", "soft_bce", {"l1": 0.5, "tied": True, "latent": 14}),
    Variant("ae", "squared_error", {**CONTRACTIVE, "code_activation": "sigmoid"}),
    Variant("ae", "soft_bce", {**CONTRACTIVE, "code_activation": "tanh", "tied": True}),
    Variant("dae", "squared_error", {"noise": "gaussian:0.1", "activation": "tanh"}),
    Variant("dae", "soft_bce", {"noise": "mask:0.3", "tied": True}),
    Variant("dae", "soft_bce", {"noise": "salt:0.3", "l1": 0.1}, "conv"),
    Variant("vae", "bernoulli", {}, "conv"),
    Variant("betavae", "bernoulli", {"beta": 4.0}, "conv"),
    Variant("betavae", "gaussian", {"beta": 0.5, "activation": "tanh"}, "burgess"),
    Variant("betavae", "soft_bce", {"free_bits": 0.25, "activation": "tanh"}),
    Variant("betavae", "gaussian", {"capacity": 2.0, "gamma": 10.0, "sigma": "pixel"}),
    Variant("vae", "gaussian", {"hidden": (), "sigma": 0.5}),
    Variant("iwae", "bernoulli", {"samples": 3, "activation": "tanh"}),
    Variant("iwae", "bernoulli", {"samples": 1, "sticking": True}),
    Variant("mixturevae", "bernoulli", {"activation": "tanh"}),
    Variant("bernoullivae", "bernoulli", {"estimator": "exact"}),
    Variant("bernoullivae", "gaussian", {"estimator": "exact", "activation": "tanh"}),
    Variant("bernoullivae", "bernoulli", {"estimator": "reinforce"}),
    Variant("bernoullivae", "soft_bce", {"estimator": "straight_through"}),
    Variant("bernoullivae", "soft_bce", {"estimator": "relaxed"}),
]
OF_SOME_LATENTS = {"exact": 8}
"""How many latents the full model has where 20 are too many."""


def claims(model: str | None = None) -> Iterator[Claim]:
    """Yield the claims of every op, layer and model, or those of one model."""
    if model is not None and model not in MODELS:
        raise UserError(f"no model {model!r}; have {', '.join(MODELS)}")
    if model is None:
        yield from op_claims()
        yield from layer_claims()
    for variant in VARIANTS:
        if model in (None, variant.model):
            yield from model_claims(variant)


def op_claims(only: str | None = None) -> Iterator[Claim]:
    """Yield a claim for every input of every op (or of one), in every case."""
    for case in cases():
        if only in (None, case.op):
            name = f"op/{case.op}/{case.label}"
            yield from gradcheck.check(case.f, case.inputs, name=name)


def layer_claims() -> Iterator[Claim]:
    """Yield claims for every layer: its parameters, and its input."""
    noise = Noise(3, Stream.CHECK)
    for name, make in LAYER_CASES.items():
        layer = make(noise).to(dtype=np.float64)
        x = Parameter(noise.normal((BATCH, 2, 3), np.float64))
        parameters = {"x": x, **layer.named_parameters()}

        def apply(layer: nn.Layer = layer, x: Parameter = x) -> Tensor:
            return layer(_as_input_of(layer, x), Noise(5, Stream.DROPOUT))

        yield from gradcheck.check_parameters(apply, parameters, name=f"layer/{name}")


def _as_input_of(layer: nn.Layer, x: Tensor) -> Tensor:
    """Give x (N, 2, 3) the shape that the layer takes."""
    if isinstance(layer, IMAGE_LAYERS):
        return x.reshape(BATCH, 1, 2, 3)
    return x if isinstance(layer, nn.Flatten) else x.reshape(BATCH, 6)


def _maker(activation: type[nn.Activation]) -> Callable[[Noise], nn.Layer]:
    return lambda noise: activation()


IMAGE_LAYERS = (
    *(nn.Conv2d, nn.ConvTranspose2d),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.Upsample),
)
LAYER_CASES: dict[str, Callable[[Noise], nn.Layer]] = {
    "Linear": lambda noise: nn.Linear(6, 5, noise),
    "TiedLinear": lambda noise: nn.TiedLinear(nn.Linear(5, 6, noise)),
    "Conv2d": lambda noise: nn.Conv2d(1, 2, 3, noise, padding=1),
    "ConvTranspose2d": lambda noise: nn.ConvTranspose2d(
        1, 2, 3, noise, stride=2, padding=1, output_padding=1
    ),
    "MaxPool2d": lambda noise: nn.MaxPool2d(2, stride=1, padding=1),
    "AvgPool2d": lambda noise: nn.AvgPool2d(2),
    "Upsample": lambda noise: nn.Upsample(2),
    "LayerNorm": lambda noise: nn.LayerNorm((6,)),
    "Dropout": lambda noise: nn.Dropout(0.3),
    **{layer.__name__: _maker(layer) for layer in nn.ACTIVATIONS.values()},
    "Flatten": lambda noise: nn.Flatten(),
    "Unflatten": lambda noise: nn.Unflatten((1, 2, 3)),
    "Sequential": lambda noise: nn.Sequential(
        nn.Linear(6, 4, noise), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 3, noise)
    ),
}


def model_claims(variant: Variant) -> Iterator[Claim]:
    """Yield claims for a small model by element, and for a full one by direction."""
    label = f"model/{variant.model}/{variant.likelihood}/{variant.arch}"
    label += "".join(
        f" {name}={value}"
        for name, value in variant.options.items()
        if name not in ("activation", "dropout", "latent")
    )
    model, loss = _model_loss(variant, SMALL[variant.arch])
    parameters = model.named_parameters()
    yield from gradcheck.check_parameters(loss, parameters, name=f"{label}/small")
    fewer = OF_SOME_LATENTS.get(variant.options.get("estimator", ""))
    size = FULL[variant.arch] | ({"latent": fewer} if fewer else {})
    model, loss = _model_loss(variant, size)
    parameters = model.named_parameters()
    yield gradcheck.check_directions(loss, parameters, name=f"{label}/full")


def _model_loss(
    variant: Variant, size: dict[str, Any]
) -> tuple[Autoencoder, Callable[[], Tensor]]:
    """Return a float64 model and its loss on one batch under one fixed noise."""
    options = {**size, **variant.options, "likelihood": variant.likelihood}
    model = build(variant.model, arch=variant.arch, **options, seed=1).to(
        dtype=np.float64
    )
    noise, constants = Noise(2, Stream.CHECK), list[Tensor]()
    for parameter in model.parameters():
        if parameter.ndim < 2:  # biases start at 0, where relu has its kink
            parameter.assign(0.1 * noise.normal(parameter.shape, np.float64))
    x: Array = noise.uniform((BATCH, *model.shape), np.float64)
    if variant.likelihood == "bernoulli":
        x = (x < 0.5).astype(np.float64)
    eps = model.loss_noise(noise, BATCH)

    def loss() -> Tensor:
        dropout = Noise(5, Stream.DROPOUT) if model.dropout else None
        with same_constants(constants):
            return model.loss_terms(x, eps, dropout=dropout).loss

    return model, loss
