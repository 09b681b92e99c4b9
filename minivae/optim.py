"""Optimizers: the only code that changes parameters during training.

All parameters are packed into one flat buffer of values and one of gradients, in
definition order; each parameter's `data` becomes a view of the first, its `slot` a view
of the second. An update is then one call of one kernel for the whole model.

g is the gradient (clipped, with `weight_decay` times the value added), w the value, t
the number of updates including this one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import minivae_kernels as kernels

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


class NonFiniteGradientError(UserError):
    """The gradient's norm is not finite; nothing was updated."""


class Optimizer(ABC):
    """What all optimizers share: buffers, clipping, weight decay, and their state.

    `clip_norm` bounds the length of the whole gradient; `gradient_norm` is that length
    before clipping. Parameters whose `grad` is None are left as they are; t counts the
    calls of `step`, for all parameters alike.
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
        if not 0 <= weight_decay < math.inf:
            raise UserError(
                f"weight decay must not be negative or infinite: {weight_decay}"
            )
        if clip_norm is not None and not clip_norm > 0:
            raise UserError(f"the clipping norm must be positive, not {clip_norm}")
        self.parameters = list(parameters)
        self.values, self.gradients = pack(self.parameters)
        self.lr, self.weight_decay, self.clip_norm = lr, weight_decay, clip_norm
        self.steps = 0
        self.gradient_norm, self.scale = math.nan, 1.0
        xp = xp_of(self.values)
        self.moment = {name: xp.zeros_like(self.values) for name in self.moments}

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next `backward()` starts afresh."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place.

        Raises `NonFiniteGradientError`, before it changes anything, if the gradient
        holds a NaN or an infinity.
        """
        self._collect()
        spans = self._spans()
        self.gradient_norm = math.hypot(*(_length(self.gradients[s]) for s in spans))
        if not math.isfinite(self.gradient_norm):
            raise NonFiniteGradientError(
                f"the gradient's norm became {self.gradient_norm}"
            )
        self.scale = 1.0
        if self.clip_norm is not None and self.gradient_norm > self.clip_norm:
            self.scale = self.clip_norm / self.gradient_norm
        self.steps += 1
        for span in spans:
            moments = (self.moment[name][span] for name in self.moments)
            self.update(self.values[span], self.gradients[span], *moments)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.assign(parameter.data)

    def _collect(self) -> None:
        """Put gradients that lie elsewhere into the buffer: the user's own, or those
        of a `backward()` before the parameters were packed."""
        if all(p.grad is None for p in self.parameters):
            raise UserError("no parameter has a gradient: call backward() first")
        for p in self.parameters:
            if p.grad is not None and p.grad is not p.slot and p.slot is not None:
                p.slot[...] = p.grad
                p.grad = p.slot

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

    @abstractmethod
    def update(self, w: Array, g: Array, *moments: Array) -> None:
        """Change `w` and the moments in place, given `scale` times the gradient `g`."""

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


def _length(g: Array) -> float:
    """Return √(Σ g²), also where the squares overflow the precision of g."""
    xp = xp_of(g)
    length = math.sqrt(float(xp.vdot(g, g)))
    if math.isfinite(length) or not bool(xp.isfinite(g).all()):
        return length
    largest = float(xp.abs(g).max())
    return largest * math.sqrt(float(xp.vdot(g / largest, g / largest)))


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

    def update(self, w: Array, g: Array, *moments: Array) -> None:
        """Take one step along the momentum."""
        kernels.family("sgd")(
            w,
            g,
            *moments,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            scale=self.scale,
            decay=self.weight_decay,
        )


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

    def update(self, w: Array, g: Array, *moments: Array) -> None:
        """Divide by the root of the sum of all squares so far."""
        kernels.family("adagrad")(
            w,
            g,
            *moments,
            lr=self.lr,
            eps=self.eps,
            scale=self.scale,
            decay=self.weight_decay,
        )


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

    def update(self, w: Array, g: Array, *moments: Array) -> None:
        """Divide by the root of a running mean of squares."""
        kernels.family("rmsprop")(
            w,
            g,
            *moments,
            lr=self.lr,
            alpha=self.alpha,
            eps=self.eps,
            scale=self.scale,
            decay=self.weight_decay,
        )


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
        if not all(0 <= beta < 1 for beta in betas):
            raise UserError(f"betas must be in [0, 1), not {betas}")
        self.betas, self.eps = betas, eps

    def update(self, w: Array, g: Array, *moments: Array) -> None:
        """Take one step of equal length everywhere, as far as the signs agree."""
        beta1, beta2 = self.betas
        kernels.family("adam")(
            w,
            g,
            *moments,
            rate=self.lr / (1 - beta1**self.steps),
            beta1=beta1,
            beta2=beta2,
            root=math.sqrt(1 - beta2**self.steps),
            eps=self.eps,
            scale=self.scale,
            **self.decays(),
        )

    def decays(self) -> dict[str, float]:
        """Return the weight decay, inside the moments as part of the gradient."""
        return {"decay": self.weight_decay}


class AdamW(Adam):
    """Adam with the decay outside the moments: first w ← (1 − lr weight_decay) w.

    Source: Loshchilov & Hutter 2019, algorithm 2, with the schedule's factor taken to
    be lr, as PyTorch has it.
    """

    def decays(self) -> dict[str, float]:
        """Return the share by which the weights shrink, apart from the gradient."""
        return {"shrink": self.lr * self.weight_decay}


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
