"""The optimizer's step, with what it read and what it left behind."""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, to_numpy
from minivae.optim import NonFiniteGradientError, Optimizer
from minivae.study.recording import ParameterUpdate, Update
from minivae.study.subject import Subject
from minivae.study.transcript import Transcript
from minivae.tensor import Parameter, Tensor, no_grad


def updated(
    subject: Subject, optimizer: Optimizer | None, transcript: Transcript, loss: Tensor
) -> Update | str:
    """Take the step; return what it did, or why there was none."""
    if optimizer is None:
        return "no parameters of an optimizer: nothing was updated"
    moved = [p for p in optimizer.parameters if p.grad is not None]
    values = [to_numpy(p.data).copy() for p in moved]
    gradients = [to_numpy(p.grad).copy() for p in moved]
    states = [_state(optimizer, p) for p in moved]
    try:
        optimizer.step()
    except NonFiniteGradientError as error:
        return f"{error}: the optimizer refused, nothing was updated"
    found = []
    for p, value, g, state in zip(moved, values, gradients, states, strict=True):
        ref = transcript.ref_of((p, 0))
        new = to_numpy(p.data).copy()
        found.append(
            ParameterUpdate(
                id=ref.id,
                name=next(leaf.name for leaf in transcript.leaves if leaf.id == ref.id),
                gradient=g,
                value=value,
                new_value=new,
                state=state,
                new_state=_state(optimizer, p),
                predicted=float((g.astype(np.float64) * (new - value)).sum()),
            )
        )
    with no_grad(), np.errstate(all="ignore"):
        after = subject.loss_again()
    return Update(
        optimizer=type(optimizer).__name__,
        formula=(type(optimizer).__doc__ or "").split("\n")[0].split(". Source")[0],
        settings=_settings(optimizer),
        gradient_norm=optimizer.gradient_norm,
        parameters=tuple(found),
        loss=loss.item(),
        loss_predicted=loss.item() + sum(update.predicted for update in found),
        loss_after=after,
    )


def _state(optimizer: Optimizer, parameter: Parameter) -> dict[str, Array]:
    """Return a copy of the part of each moment that is this parameter's."""
    start = 0
    for other in optimizer.parameters:
        if other is parameter:
            break
        start += other.size
    part = slice(start, start + parameter.size)
    return {
        name: to_numpy(moment[part]).reshape(parameter.shape).copy()
        for name, moment in optimizer.moment.items()
    }


def _settings(optimizer: Optimizer) -> dict[str, float]:
    """Return the optimizer's numbers by name: lr, betas, eps, and how far it is."""
    shown = ("lr", "momentum", "alpha", "eps", "weight_decay", "clip_norm", "scale")
    found = {n: getattr(optimizer, n, None) for n in shown}
    beta1, beta2 = getattr(optimizer, "betas", (None, None))
    found |= {"beta1": beta1, "beta2": beta2, "steps": optimizer.steps}
    return {name: float(x) for name, x in found.items() if x is not None}
