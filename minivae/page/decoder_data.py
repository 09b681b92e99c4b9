"""A decoder as decoder.js reads it: its layers, and its weights in 16 bits.

network   the layers from a code to the mean image, a sigmoid among them
rounded   the same with every parameter rounded to float16: what a page runs
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from minivae import nn, ops
from minivae.backend import Array, xp_of
from minivae.models import Autoencoder
from minivae.tensor import no_grad

CHECKED = 256  # pixels, at most, that a page compares with Python's


class NoExplorerError(Exception):
    """Why a page cannot run a decoder."""


def pictured(model: Autoencoder) -> nn.Sequential:
    """Return the layers from a code to the mean image, a sigmoid among them."""
    last = [nn.Sigmoid()] if model.likelihood.mean is ops.sigmoid else []
    return nn.Sequential(model.decoder, *last)


def rounded(network: nn.Sequential) -> nn.Sequential:
    """Return a copy whose parameters are float16's, held in their own precision."""
    small = copy.deepcopy(network)
    for parameter in small.parameters():
        parameter.assign(parameter.data.astype(np.float16).astype(parameter.dtype))
    return small


@no_grad()
def run_network(network: nn.Sequential, codes: Array) -> Array:
    """Return the images (N, C, H, W) that a network makes of codes (N, Z)."""
    first = network.first_parameter()
    z = xp_of(first.data).asarray(codes, dtype=first.dtype)
    return network(z).numpy()


RUNNABLE: dict[str, tuple[str, ...]] = {
    "Linear": (),
    "Conv2d": ("stride", "padding"),
    "ConvTranspose2d": ("stride", "padding", "output_padding"),
    "Upsample": ("factor",),
    "LayerNorm": ("eps",),
    "Flatten": (),
    "Unflatten": ("shape",),
    **{layer.__name__: () for layer in nn.ACTIVATIONS.values()},
}
"""The layers that decoder.js knows under the same names, and their options. Dropout is
absent: it does nothing here."""


def layers_of(network: nn.Sequential) -> tuple[list[dict[str, Any]], Array]:
    """Return the layers as decoder.js reads them, and all weights as one float16.

    Where a layer has a parameter stands where that begins among them, and its shape.
    """
    layers, flat, at = [], [], 0
    for layer in _flat(network):
        name, parameters = _as_known(layer)
        if name not in RUNNABLE:
            raise NoExplorerError(f"its decoder has a layer {name}, which no page runs")
        entry: dict[str, Any] = {"layer": name}
        entry |= {option: getattr(layer, option) for option in RUNNABLE[name]}
        for key, parameter in parameters.items():
            entry[key] = {"at": at, "shape": list(parameter.shape)}
            flat.append(parameter.ravel())
            at += parameter.size
        layers.append(entry)
    weights = np.concatenate(flat)
    largest = float(np.abs(weights).max())
    if not largest <= float(np.finfo(np.float16).max):
        raise NoExplorerError(f"a weight of {largest:.3g} is more than float16 holds")
    return layers, weights.astype("<f2")


def _as_known(layer: nn.Layer) -> tuple[str, dict[str, Array]]:
    """Return a layer's name and parameters; a tied one is linear, its weight turned."""
    parameters = {name: p.numpy() for name, p in layer.named_parameters().items()}
    if isinstance(layer, nn.TiedLinear):
        return "Linear", parameters | {"weight": parameters["weight"].T}
    return type(layer).__name__, parameters


def _flat(network: nn.Sequential) -> Iterator[nn.Layer]:
    for layer in network.layers:
        if isinstance(layer, nn.Sequential):
            yield from _flat(layer)
        elif not isinstance(layer, nn.Dropout):
            yield layer


def as_text(array: Array) -> str:
    """Return numbers as text: float16 as they are, others as float32."""
    kind = "<f2" if array.dtype.itemsize == 2 else "<f4"
    data = np.ascontiguousarray(array, kind).tobytes()
    return base64.b64encode(data).decode("ascii")


def check_of(small: nn.Sequential, code: Array) -> dict[str, Any]:
    """What Python makes of the first code with the rounded weights: every so many-th
    pixel, for the page to compare.
    """
    image = run_network(small, code).ravel()
    every = -(-image.size // CHECKED)
    return {"every": every, "values": as_text(image[::every])}
