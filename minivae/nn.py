"""Layers: parameters with names, and functions of tensors.

A module's parameters are found by walking its attributes in the order in which they
were set; there are no hooks. Names are PyTorch's ("encoder.1.weight"), so that weights
can be carried across.

No layer has a training mode. Dropout happens exactly where a `Noise` is handed to it
(`layer(x, dropout=noise)`), and evaluation hands none.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import DTypeLike

from minivae import backend, ops
from minivae.backend import Array
from minivae.errors import UserError
from minivae.random import Noise
from minivae.tensor import Op, Operand, Parameter, Tensor, mode

Initialiser = Callable[[tuple[int, ...], tuple[float, float], Noise], Array]
"""Draws a weight of a shape, given how many inputs and outputs each sum has."""

active: list[Module] = []
"""The modules whose code is running, outermost first; kept only while recording."""


def glorot_uniform(
    shape: tuple[int, ...], fans: tuple[float, float], noise: Noise
) -> Array:
    """Draw from U(−a, a), a = √(6 / (in + out)). Glorot & Bengio 2010, eq. 16."""
    return _uniform(shape, noise, math.sqrt(6 / sum(fans)))


def he_uniform(
    shape: tuple[int, ...], fans: tuple[float, float], noise: Noise
) -> Array:
    """Draw from U(−a, a), a = √(6 / in), for relu. He et al. 2015, eq. 10."""
    return _uniform(shape, noise, math.sqrt(6 / fans[0]))


def _uniform(shape: tuple[int, ...], noise: Noise, bound: float) -> Array:
    return (2 * noise.uniform(shape) - 1) * np.float32(bound)


class Module:
    """Something with parameters, its own or those of the modules it is made of."""

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules among the attributes, in the order they were set."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, by dotted name; its own is `prefix`."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> dict[str, Parameter]:
        """Return every parameter by dotted name, in definition order.

        One that several layers share is there once, under the first of its names.
        """
        named: dict[int, tuple[str, Parameter]] = {}
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    full = f"{path}.{name}" if path else name
                    named.setdefault(id(value), (full, value))
        return dict(named.values())

    def first_parameter(self) -> Parameter:
        """Return the first parameter, which tells the precision and the device."""
        modules = (module for _, module in self.named_modules())
        values = (value for module in modules for value in vars(module).values())
        return next(value for value in values if isinstance(value, Parameter))

    def parameters(self) -> list[Parameter]:
        """Return every parameter, in definition order."""
        return list(self.named_parameters().values())

    def name_parameters(self) -> None:
        """Write each parameter's dotted name on it, for error messages and pictures."""
        for name, parameter in self.named_parameters().items():
            parameter.name = name

    def to(self, *, dtype: DTypeLike | None = None, device: str | None = None) -> Any:
        """Move the parameters to another precision or device; returns the module."""
        for name, parameter in self.named_parameters().items():
            if parameter.slot is not None:
                raise UserError(f"{name} is in an optimizer's buffer: move it before")
            data = parameter.data if dtype is None else parameter.data.astype(dtype)
            parameter.data = data if device is None else backend.to_device(data, device)
            parameter.version += 1
        return self

    def state(self) -> dict[str, Array]:
        """Return a NumPy copy of every parameter, by name."""
        return {n: p.numpy().copy() for n, p in self.named_parameters().items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Set every parameter from `state`; raises `UserError` if it does not fit."""
        own = self.named_parameters()
        if missing := own.keys() ^ state.keys():
            raise UserError(f"parameters do not match: {', '.join(sorted(missing))}")
        for name, parameter in own.items():
            if state[name].shape != parameter.shape:
                raise UserError(
                    f"{name} is {parameter.shape} here, {state[name].shape} there"
                )
        for name, parameter in own.items():
            parameter.assign(backend.xp_of(parameter.data).asarray(state[name]))


class Layer(Module, ABC):
    """A module that is a function of one tensor."""

    @abstractmethod
    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Compute the layer. Called through `layer(x)`, which may note the path."""

    def __call__(self, x: Operand, dropout: Noise | None = None) -> Tensor:
        """Apply the layer; dropout layers drop only if `dropout` gives the noise."""
        x = x if isinstance(x, Tensor) else Tensor(x)
        if mode.observer is None:
            return self.forward(x, dropout)
        active.append(self)
        try:
            return self.forward(x, dropout)
        finally:
            active.pop()


class Linear(Layer):
    """z = x Wᵀ + b with weight (out, in) and bias (out,), which starts at 0."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        noise: Noise,
        initialiser: Initialiser = glorot_uniform,
    ) -> None:
        self.weight = Parameter(initialiser((n_out, n_in), (n_in, n_out), noise))
        self.bias = Parameter(np.zeros(n_out, np.float32))

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Compute z (N, out) from x (N, in)."""
        return ops.linear(x, self.weight, self.bias)


class TiedLinear(Layer):
    """z = x W + b: the transpose of a linear layer, whose weight (in, out) it shares.

    Only the bias (out,) is its own.
    """

    def __init__(self, mirrored: Linear) -> None:
        self.weight = mirrored.weight
        self.bias = Parameter(np.zeros(self.weight.shape[1], np.float32))

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Compute z (N, out) from x (N, in)."""
        return ops.linear(x, self.weight.T, self.bias)


class Conv2d(Layer):
    """y = w ⋆ x + b with weight (out, in, kernel, kernel) and bias (out,)."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        noise: Noise,
        *,
        stride: int = 1,
        padding: int = 0,
        initialiser: Initialiser = glorot_uniform,
    ) -> None:
        self.stride, self.padding = stride, padding
        fans = _fans(n_in, n_out, kernel, stride)
        shape = (n_out, n_in, kernel, kernel)
        self.weight = Parameter(initialiser(shape, fans, noise))
        self.bias = Parameter(np.zeros(n_out, np.float32))

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Compute y (N, out, P, Q) from x (N, in, H, W)."""
        options = {"stride": self.stride, "padding": self.padding}
        return ops.conv2d(x, self.weight, self.bias, **options)


class ConvTranspose2d(Layer):
    """x = w ⋆ᵀ y + b with weight (in, out, kernel, kernel) and bias (out,)."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        noise: Noise,
        *,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        initialiser: Initialiser = glorot_uniform,
    ) -> None:
        self.stride, self.padding = stride, padding
        self.output_padding = output_padding
        fans = _fans(n_out, n_in, kernel, stride)[::-1]
        shape = (n_in, n_out, kernel, kernel)
        self.weight = Parameter(initialiser(shape, fans, noise))
        self.bias = Parameter(np.zeros(n_out, np.float32))

    @classmethod
    def tied(cls, mirrored: Conv2d) -> ConvTranspose2d:
        """Return the adjoint of a convolution: it shares the weight as it is.

        Only the bias is its own. The image has the size that the convolution read, if
        that was the smallest that gives a map of its size.
        """
        layer = cls.__new__(cls)
        layer.stride, layer.padding = mirrored.stride, mirrored.padding
        layer.output_padding = 0
        layer.weight = mirrored.weight
        layer.bias = Parameter(np.zeros(layer.weight.shape[1], np.float32))
        return layer

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Compute the image (N, out, H, W) from the map x (N, in, P, Q)."""
        return ops.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
        )


def _fans(large: int, small: int, kernel: int, stride: int) -> tuple[float, float]:
    """Return how many terms each sum has: of a convolution, and of its transpose.

    A pixel of the large map is under kernel / stride windows along each axis.
    """
    return large * kernel**2, small * kernel**2 / stride**2


class _Pooling(Layer):
    """A square window of side `kernel`, moved by `stride` (its side, if None)."""

    op: ClassVar[Op[Any]]

    def __init__(
        self, kernel: int, stride: int | None = None, padding: int = 0
    ) -> None:
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Compute y (N, C, P, Q) from x (N, C, H, W)."""
        options = {"stride": self.stride, "padding": self.padding}
        return self.op(x, kernel=self.kernel, **options)


class MaxPool2d(_Pooling):
    """The largest element of each window; the padding never wins."""

    op = ops.max_pool2d


class AvgPool2d(_Pooling):
    """The mean of each window; the padding counts as zeros."""

    op = ops.avg_pool2d


class Upsample(Layer):
    """(N, C, H, W) -> (N, C, factor H, factor W), each pixel repeated."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Repeat each pixel to a square."""
        return ops.upsample_nearest(x, factor=self.factor)


class LayerNorm(Layer):
    """Normalise the last axes, of `shape`, within each example; then weight and bias.

    There is no batch norm: it would couple the examples of a batch (`ops.normalise`).
    """

    def __init__(self, shape: tuple[int, ...], eps: float = 1e-5) -> None:
        self.eps = eps
        self.weight = Parameter(np.ones(shape, np.float32))
        self.bias = Parameter(np.zeros(shape, np.float32))

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Compute y (N, ..., *shape) from x of the same shape."""
        return ops.layer_norm(x, self.weight, self.bias, eps=self.eps)


class Dropout(Layer):
    """Zero a fraction p of the elements, but only where noise is given."""

    def __init__(self, p: float) -> None:
        if not 0 <= p < 1:
            raise UserError(f"dropout must be in [0, 1), not {p}")
        self.p = p

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Drop by the next uniforms of `dropout`; without it, return x."""
        if dropout is None or self.p == 0:
            return x
        u = dropout.uniform(x.shape, x.dtype, x.data)
        return ops.dropout(x, u, p=self.p)


class Activation(Layer):
    """An elementwise op without parameters."""

    op: ClassVar[Op[Any]]

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Apply the op to every element."""
        return self.op(x)


class ReLU(Activation):
    """max(x, 0)."""

    op = ops.relu


class LeakyReLU(Activation):
    """x where positive, else x / 100."""

    op = ops.leaky_relu


class ELU(Activation):
    """x where positive, else exp(x) − 1."""

    op = ops.elu


class Tanh(Activation):
    """Hyperbolic tangent."""

    op = ops.tanh


class Sigmoid(Activation):
    """1 / (1 + exp(−x))."""

    op = ops.sigmoid


class Softplus(Activation):
    """log(1 + exp x)."""

    op = ops.softplus


class Flatten(Layer):
    """(N, ...) -> (N, D)."""

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Put all axes but the first into one."""
        return ops.reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))


class Unflatten(Layer):
    """(N, D) -> (N, *shape)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Give every row the shape of an image."""
        return ops.reshape(x, shape=(x.shape[0], *self.shape))


class Sequential(Layer):
    """Layers one after another; their names are 0, 1, 2, ..."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers by their index."""
        yield from ((str(i), layer) for i, layer in enumerate(self.layers))

    def forward(self, x: Tensor, dropout: Noise | None) -> Tensor:
        """Apply the layers in order."""
        for layer in self.layers:
            x = layer(x, dropout)
        return x


ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
}
_LAYERS: list[type[Layer]] = [
    Linear,
    TiedLinear,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    AvgPool2d,
    Upsample,
    LayerNorm,
    Dropout,
    *ACTIVATIONS.values(),
    Flatten,
    Unflatten,
    Sequential,
]
LAYERS: dict[str, type[Layer]] = {layer.__name__: layer for layer in _LAYERS}


def tied(decoder: Sequential, *encoder: Layer) -> Sequential:
    """Return `decoder` with the weights of its mirror image, the layers `encoder`.

    The last of these meets the first of those: a linear layer its transpose, a
    convolution its adjoint. Biases stay the decoder's own.
    """
    weighted = [x for x in encoder if isinstance(x, (Linear, Conv2d))]
    layers: list[Layer] = []
    for layer in decoder.layers:
        if isinstance(layer, Linear):
            layer = TiedLinear(cast(Linear, weighted.pop()))
        elif isinstance(layer, ConvTranspose2d):
            layer = ConvTranspose2d.tied(cast(Conv2d, weighted.pop()))
        layers.append(layer)
    return Sequential(*layers)


def initialiser_for(activation: str) -> Initialiser:
    """Return how weights are drawn that an activation follows: He's way for relu's."""
    if activation not in ACTIVATIONS:
        raise UserError(f"no activation {activation!r}; have {', '.join(ACTIVATIONS)}")
    like_relu = activation in ("relu", "leaky_relu", "elu")
    return he_uniform if like_relu else glorot_uniform


def hidden_layers(
    sizes: tuple[int, ...], activation: str, dropout: float, noise: Noise
) -> list[Layer]:
    """Return Linear, activation (and Dropout) for each step of `sizes`."""
    initialiser = initialiser_for(activation)
    layers: list[Layer] = []
    for n_in, n_out in pairwise(sizes):
        layers += [Linear(n_in, n_out, noise, initialiser), ACTIVATIONS[activation]()]
        if dropout:
            layers.append(Dropout(dropout))
    return layers
