"""What can be recorded: any object of which a scalar loss can be had.

    model.loss_terms(batch, noise)   an `Autoencoder`, or what returns its `LossTerms`
    model.loss(batch)                else: a scalar Tensor
    model(batch)                     else: a scalar Tensor

Parameters are `model.parameters()` if it has that, else the leaves with a gradient that
the loss came from. An `nn.Module` names them; others may give each tensor a `name`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivae.backend import Array, is_array, xp_of
from minivae.distributions import NoiseLike
from minivae.errors import UserError
from minivae.models import Autoencoder, LossTerms
from minivae.random import Noise, Stream
from minivae.tensor import Node, Parameter, Tensor, mode


@dataclass(frozen=True)
class Subject:
    """A model with a batch and its noise: the same loss as often as it is asked for."""

    model: Any
    batch: Any
    noise: Any
    dropout: Noise | None

    @classmethod
    def of(
        cls,
        model: Any,
        batch: Any,
        noise: NoiseLike | None = None,
        dropout: Noise | None = None,
    ) -> Subject:
        """Make a subject; a batch and noise of an `Autoencoder` get its precision."""
        if isinstance(model, Autoencoder):
            first = model.first_parameter().data
            batch = xp_of(first).ascontiguousarray(model.here(np.asarray(batch)))
            if not len(batch):
                raise UserError("the batch holds no image")
            if not model.has_kl and model.noise_in_words is None:
                noise = None
            else:
                drawn = Noise(0, model.noise_stream) if noise is None else noise
                if isinstance(drawn, Noise):
                    drawn = model.loss_noise(drawn, len(batch))
                noise = xp_of(first).ascontiguousarray(model.here(drawn))
        elif isinstance(batch, (list, float, int)):
            batch = np.asarray(batch, np.float64)
        if not (is_array(batch) or isinstance(batch, Tensor)):
            raise UserError(f"a batch is an array, not a {type(batch).__name__}")
        return cls(model, batch, noise, dropout)

    def loss_again(self) -> float:
        """Return the loss under the parameters as they are now."""
        _, loss = self.loss()
        return loss.item()

    def loss(self, **options: Any) -> tuple[LossTerms | None, Tensor]:
        """Compute the loss; also its terms, where the model tells them apart.

        Raises `UserError` for a loss that is no scalar, or that no parameter led to.
        """
        terms: LossTerms | None = None
        if isinstance(self.model, Autoencoder):
            dropout = self.dropout and self.dropout.at(self.dropout.position)
            terms = self.model.loss_terms(
                self.batch, self.noise, dropout=dropout, **options
            )
            return terms, terms.loss
        found = self._call()
        if isinstance(found, tuple) and hasattr(found, "loss"):
            found = found.loss
        if not isinstance(found, Tensor):
            raise UserError(
                f"{self.name} gives a {type(found).__name__}, not a Tensor: a model to "
                "step through has loss_terms(batch, noise), or loss(batch), or is "
                "called with the batch"
            )
        if found.shape != ():
            raise UserError(
                f"the loss of {self.name} has the shape {found.shape}, and a step "
                "needs a scalar: end it with .mean() or .sum()"
            )
        if found.node is None and not mode.paused:
            raise UserError(
                f"no parameter led to the loss of {self.name}: make its weights "
                "mv.Parameter, or Tensor(..., requires_grad=True)"
            )
        return terms, found

    def _call(self) -> Any:
        if hasattr(self.model, "loss_terms"):
            noise = Noise(0, Stream.LATENT) if self.noise is None else self.noise
            return self.model.loss_terms(self.batch, noise)
        if hasattr(self.model, "loss"):
            return self.model.loss(self.batch)
        if callable(self.model):
            return self.model(self.batch)
        raise UserError(
            f"{self.name} cannot be stepped through: it has no loss_terms(batch, "
            "noise), no loss(batch), and cannot be called with the batch"
        )

    @property
    def name(self) -> str:
        """What the model is called: its class, or a function's own name."""
        return getattr(self.model, "__name__", type(self.model).__name__)

    @property
    def title(self) -> str:
        """One line that says what was run."""
        model, n = self.model, len(self.batch.shape) and self.batch.shape[0]
        if not isinstance(model, Autoencoder):
            return f"{self.name}, batch {n or 1}"
        weight = f", beta {model.beta:g}" if model.has_kl else ""
        return (
            f"{self.name} {model.sizes}, {model.likelihood.name}{weight}, "
            f"batch {n}, {self.batch.dtype}"
        )

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays that went in, by name."""
        x = self.batch.data if isinstance(self.batch, Tensor) else self.batch
        if self.noise is None:
            return {"x": x}
        if isinstance(self.model, Autoencoder):
            return self.model.step_inputs(x, self.noise)
        return {"x": x, "eps": self.noise}

    @property
    def kinds(self) -> dict[str, str]:
        """What kind of leaf each of the arrays is."""
        return {
            name: "noise" if array is self.noise else "input"
            for name, array in self.arrays.items()
        }

    def parameters(self, nodes: Sequence[Node]) -> list[Parameter]:
        """Return what an optimizer may change, of the model or found on the tape."""
        if hasattr(self.model, "parameters"):
            return [p for p in self.model.parameters() if isinstance(p, Parameter)]
        edges = (edge[0] for node in nodes for edge in node.edges if edge)
        found = (source for source in edges if isinstance(source, Parameter))
        return list(dict.fromkeys(found))


@contextmanager
def borrowed(parameters: Sequence[Parameter]) -> Iterator[None]:
    """Give the parameters back as they were: value, gradient, place in a buffer."""
    before = [(p, p.data, p.grad, p.slot, p.place) for p in parameters]
    for parameter in parameters:
        parameter.grad = parameter.slot = parameter.place = None
    try:
        yield
    finally:
        for parameter, data, grad, slot, place in before:
            parameter.data, parameter.grad = data, grad
            parameter.slot, parameter.place = slot, place


def load(text: str) -> tuple[Any, Any]:
    """Import and call what "module:function" says; it returns a model and a batch."""
    module_name, _, name = text.partition(":")
    if not module_name or not name:
        raise UserError(f"--model takes module:function, not {text}")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"cannot import {module_name}: {error}") from error
    finally:
        sys.path.remove("")
    if not callable(getattr(module, name, None)):
        raise UserError(f"{module_name} has no function {name}")
    made = getattr(module, name)()
    if not isinstance(made, tuple) or len(made) != 2:
        raise UserError(f"{text} must return two things: model, batch")
    return made
