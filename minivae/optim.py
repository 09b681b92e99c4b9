"""Optimizers: the only code that changes parameters during training.

All parameters are packed into one flat buffer of values and one of gradients, in
definition order; each parameter's `data` becomes a view of the first, its `slot` a view
of the second. An update is then a few array operations on the whole model.

g is the gradient (clipped, with `weight_decay` times the value added), w the value, t
the number of updates including this one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from minivae.backend import Array, to_numpy, xp_of
from minivae.errors import UserError
from minivae.tensor import Parameter


def pack(parameters: Sequence[Parameter]) -> tuple[Array, Array]:
    """Lay out `parameters` in one buffer of values and one of gradients.

    Parameters that lie side by side already keep their place. Raises `UserError` if
    some lie in another buffer, whose owner would go on updating dead memory.
    """
    if not parameters:
        raise UserError("there are no parameters to optimize")
    if len({id(p) for p in parameters}) < len(parameters):
        raise UserError("a parameter was given twice")
    if len({p.dtype for p in parameters}) > 1:
        raise UserError("all parameters of an optimizer must have one dtype")
    if parameters[0].place is not None:
        return _packed_already(parameters)
    xp = xp_of(*(p.data for p in parameters))
    values = xp.empty(sum(p.size for p in parameters), dtype=parameters[0].dtype)
    gradients = xp.zeros_like(values)
    start = 0
    for parameter in parameters:
        if parameter.place is not None:
            raise _elsewhere(parameter)
        stop = start + parameter.size
        view = values[start:stop].reshape(parameter.shape)
        view[...] = parameter.data
        parameter.data = view
        parameter.slot = gradients[start:stop].reshape(parameter.shape)
        parameter.place = (values, gradients, start)
        start = stop
    return values, gradients


def _packed_already(parameters: Sequence[Parameter]) -> tuple[Array, Array]:
    values, gradients, first = parameters[0].place
    stop = first
    for parameter in parameters:
        buffer, _, start = parameter.place or (None, None, -1)
        if buffer is not values or start != stop:
            raise _elsewhere(parameter)
        stop += parameter.size
    return values[first:stop], gradients[first:stop]


def _elsewhere(parameter: Parameter) -> UserError:
    return UserError(
        f"{parameter.name or 'a parameter'} does not lie beside the one before it in "
        "another optimizer's buffer: give the same parameters, or neighbours, in order"
    )


class Optimizer(ABC):
    """What all optimizers share: buffers, clipping, weight decay, and their state.

    `clip_norm` bounds the length of the whole gradient; `gradient_norm` is that length
    before clipping. Parameters whose `grad` is None are left as they are.
    """

    moments: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        if not lr > 0 or not math.isfinite(lr):
            raise UserError(f"the learning rate must be positive, not {lr}")
        if not weight_decay >= 0:
            raise UserError(f"weight decay must not be negative: {weight_decay}")
        if clip_norm is not None and not clip_norm > 0:
            raise UserError(f"the clipping norm must be positive, not {clip_norm}")
        self.parameters = list(parameters)
        self.values, self.gradients = pack(self.parameters)
        self.lr, self.weight_decay, self.clip_norm = lr, weight_decay, clip_norm
        self.steps = 0
        self.gradient_norm = math.nan
        xp = xp_of(self.values)
        self.moment = {name: xp.zeros_like(self.values) for name in self.moments}

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next `backward()` starts afresh."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        spans = self._spans()
        xp = xp_of(self.values)
        squares = (float(xp.vdot(g, g)) for g in (self.gradients[s] for s in spans))
        self.gradient_norm = math.sqrt(math.fsum(squares))
        self.steps += 1
        for span in spans:
            w, g = self.values[span], self.gradients[span]
            if self.clip_norm is not None and self.gradient_norm > self.clip_norm:
                g = g * (self.clip_norm / self.gradient_norm)
            moments = {name: array[span] for name, array in self.moment.items()}
            self.update(w, self.decayed(w, g), **moments)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.assign(parameter.data)

    def _spans(self) -> list[slice]:
        """Return the parts of the buffers that have gradients, as few as possible."""
        if all(p.grad is not None for p in self.parameters):
            return [slice(None)]
        spans, start = [], 0
        for parameter in self.parameters:
            if parameter.grad is not None:
                spans.append(slice(start, start + parameter.size))
            start += parameter.size
        return spans

    def decayed(self, w: Array, g: Array) -> Array:
        """Return the gradient of loss + ½ weight_decay |w|²."""
        return g + self.weight_decay * w if self.weight_decay else g

    @abstractmethod
    def update(self, w: Array, g: Array, **moments: Array) -> None:
        """Change `w` and the moments in place, given the gradient `g`."""

    def state(self) -> dict[str, Array]:
        """Return NumPy copies of the moments, by name."""
        return {name: to_numpy(array).copy() for name, array in self.moment.items()}

    def load_state(self, steps: int, state: Mapping[str, Array]) -> None:
        """Continue from `steps` updates with the moments of `state`."""
        for name, array in self.moment.items():
            if name not in state or state[name].shape != array.shape:
                raise UserError(f"the optimizer's {name} is missing or does not fit")
            array[...] = xp_of(array).asarray(state[name])
        self.steps = steps


class SGD(Optimizer):
    """Gradient descent with momentum: b ← m b + g, w ← w − lr b.

    With `nesterov`, w ← w − lr (g + m b). Source: Sutskever et al. 2013, section 2, in
    the form of PyTorch (the learning rate outside the momentum buffer).
    """

    moments = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-2,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(parameters, lr, **options)
        if not 0 <= momentum < 1:
            raise UserError(f"momentum must be in [0, 1), not {momentum}")
        if nesterov and not momentum:
            raise UserError("nesterov needs a momentum")
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, w: Array, g: Array, **moments: Array) -> None:
        """Take one step along the momentum."""
        b = moments["momentum_buffer"]
        b *= self.momentum
        b += g
        w -= self.lr * (g + self.momentum * b if self.nesterov else b)


class Adagrad(Optimizer):
    """s ← s + g²; w ← w − lr g / (√s + ε). Source: Duchi, Hazan, Singer 2011."""

    moments = ("sum",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-2,
        *,
        eps: float = 1e-10,
        **options: Any,
    ) -> None:
        super().__init__(parameters, lr, **options)
        self.eps = eps

    def update(self, w: Array, g: Array, **moments: Array) -> None:
        """Divide by the root of the sum of all squares so far."""
        s = moments["sum"]
        s += g * g
        w -= self.lr * g / (xp_of(s).sqrt(s) + self.eps)


class RMSProp(Optimizer):
    """v ← a v + (1 − a) g²; w ← w − lr g / (√v + ε). Source: Tieleman & Hinton 2012."""

    moments = ("square_avg",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(parameters, lr, **options)
        self.alpha, self.eps = alpha, eps

    def update(self, w: Array, g: Array, **moments: Array) -> None:
        """Divide by the root of a running mean of squares."""
        v = moments["square_avg"]
        v *= self.alpha
        v += (1 - self.alpha) * g * g
        w -= self.lr * g / (xp_of(v).sqrt(v) + self.eps)


class Adam(Optimizer):
    """m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; w ← w − lr m̂ / (√v̂ + ε).

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) undo the start from 0.
    Source: Kingma & Ba 2015, algorithm 1.
    """

    moments = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(parameters, lr, **options)
        self.betas, self.eps = betas, eps

    def update(self, w: Array, g: Array, **moments: Array) -> None:
        """Take one step of equal length everywhere, as far as the signs agree."""
        m, v = moments["exp_avg"], moments["exp_avg_sq"]
        beta1, beta2 = self.betas
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        root = xp_of(v).sqrt(v)
        root /= math.sqrt(1 - beta2**self.steps)
        root += self.eps
        w -= (self.lr / (1 - beta1**self.steps)) * m / root


class AdamW(Adam):
    """Adam with the decay outside the moments: first w ← (1 − lr weight_decay) w.

    Source: Loshchilov & Hutter 2019, algorithm 2.
    """

    def decayed(self, w: Array, g: Array) -> Array:
        """Shrink `w` itself and leave the gradient alone."""
        w *= 1 - self.lr * self.weight_decay
        return g


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}


# Schedules: the factor of the learning rate as a function of the step alone


def constant(progress: float) -> float:
    """1 throughout."""
    return 1.0


def stepwise(progress: float) -> float:
    """1, then 0.3 after 60 % and 0.1 after 85 % of the steps."""
    return 1.0 if progress < 0.6 else 0.3 if progress < 0.85 else 0.1


def cosine(progress: float) -> float:
    """½ (1 + cos π p): from 1 to 0. Source: Loshchilov & Hutter 2017, eq. 5."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def warmup(progress: float) -> float:
    """Rise in a line over the first 5 % of the steps, then stay at 1."""
    return min(1.0, progress / 0.05)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "step": stepwise,
    "cosine": cosine,
    "warmup": warmup,
}


def scheduled_lr(name: str, lr: float, step: int, total: int) -> float:
    """Return the learning rate of update number `step` (the first is 0) of `total`."""
    if name not in SCHEDULES:
        raise UserError(f"no schedule {name!r}; have {', '.join(SCHEDULES)}")
    # counted to the middle of the step, so that no update has a rate of exactly 0
    return lr * SCHEDULES[name]((step + 0.5) / total)
