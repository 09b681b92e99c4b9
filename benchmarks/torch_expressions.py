"""What a PyTorch user writes for the same work, on tensors that share our memory.

Only expressions that compute exactly a family's results are here, so that they can be
checked like a rung; what has no such form has no entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from minivae_kernels.devices import is_cupy
from minivae_kernels.examples import Call

Expression = Callable[..., Any]


def version() -> str | None:
    """Return PyTorch's version; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return str(torch.__version__)


def peers(
    family: str, call: Call, compiled: bool = True
) -> Mapping[str, Callable[[], Any]]:
    """Return a family's expression on the arrays of a call, eager and compiled."""
    if family not in EXPRESSIONS or version() is None:
        return {}
    import torch

    def one(value: Any) -> Any:
        return torch.from_dlpack(value) if is_cupy(value) else value

    arrays = [one(a) for a in call[0]]
    options = {name: one(value) for name, value in call[1].items()}
    expression = EXPRESSIONS[family]
    found = {"torch": partial(expression, *arrays, **options)}
    if compiled:
        fast = torch.compile(expression, dynamic=False)
        found["torch.compile"] = partial(fast, *arrays, **options)
    return found


def bernoulli(logits: Any, target: Any, scale: float) -> Any:
    """Return the loss of each image and its gradient, which autograd would compute."""
    from torch.nn import functional

    loss = functional.binary_cross_entropy_with_logits
    values = loss(logits, target, reduction="none").sum(1)
    return values, scale * (logits.sigmoid() - target)


def gaussian_forward(mu: Any, logvar: Any, *, noise: Any, **_: Any) -> Any:
    """Return z and the KL of each image."""
    z = mu + (0.5 * logvar).exp() * noise
    return z, 0.5 * (mu**2 + logvar.expm1() - logvar).sum(1)


def gaussian_backward(
    z_bar: Any, kl_bar: Any, mu: Any, logvar: Any, *, noise: Any, **_: Any
) -> Any:
    """Return the adjoints of μ and log σ²."""
    k = kl_bar[:, None]
    deviation = (0.5 * logvar).exp() * noise
    return z_bar + k * mu, 0.5 * (z_bar * deviation + k * logvar.expm1())


def matmul(x: Any, y: Any, *, bias: Any = None, activation: str = "identity") -> Any:
    """Return act(x y + b)."""
    import torch

    z = x @ y if bias is None else torch.addmm(bias, x, y)
    return z.relu() if activation == "relu" else z


def conv_forward(x: Any, w: Any, *, stride: int, padding: int, bias: Any = None) -> Any:
    """Return the convolution, by cuDNN on a device."""
    from torch.nn import functional

    return functional.conv2d(x, w, bias, stride, padding)


def conv_adjoint(
    y: Any, w: Any, *, stride: int, padding: int, size: Any, bias: Any = None
) -> Any:
    """Return the transposed convolution onto maps of `size`."""
    from torch.nn import functional

    more = [
        side - ((small - 1) * stride + taps - 2 * padding)
        for side, small, taps in zip(size, y.shape[2:], w.shape[2:], strict=True)
    ]
    return functional.conv_transpose2d(y, w, bias, stride, padding, more)


def logmeanexp(w: Any) -> Any:
    """Return the log of each row's mean of exponentials, and the weights."""
    import math

    return w.logsumexp(1) - math.log(w.shape[1]), w.softmax(1)


EXPRESSIONS: dict[str, Expression] = {
    "bernoulli": bernoulli,
    "gaussian.forward": gaussian_forward,
    "gaussian.backward": gaussian_backward,
    "colsum": lambda g: g.sum(0),
    "relu.forward": lambda x: x.relu(),
    "relu.backward": lambda y_bar, y: y_bar * (y > 0),
    "matmul": matmul,
    "conv.forward": conv_forward,
    "conv.adjoint": conv_adjoint,
    "logmeanexp": logmeanexp,
}
