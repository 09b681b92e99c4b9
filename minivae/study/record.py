"""The recorder: run one training step and keep everything that happens.

It runs the step that training runs: the same forward pass, the same `backward_steps`,
the same optimizer. It only listens.
"""

from __future__ import annotations

import platform
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from minivae_kernels.devices import session

from minivae import optim
from minivae.backend import xp_of
from minivae.distributions import NoiseLike
from minivae.errors import UserError
from minivae.optim import Optimizer
from minivae.random import Noise
from minivae.study.checks import checked
from minivae.study.fold import folded
from minivae.study.groups import grouped
from minivae.study.listener import Listener
from minivae.study.recording import Recording, Settings, Update
from minivae.study.subject import Subject, borrowed
from minivae.study.terms import table_of
from minivae.study.tracing import traced
from minivae.study.transcript import Copies, Transcript
from minivae.study.updating import updated
from minivae.tensor import Tensor, edge_of

MOST_NODES = 2000


def record(
    model: Any,
    batch: Any,
    noise: NoiseLike | None = None,
    optimizer: Optimizer | None = None,
    *,
    dropout: Noise | None = None,
    checks: Literal["all", "local", "none"] = "all",
    fold: bool = False,
) -> Recording:
    """Train `model` for one step on `batch` and return all of it.

    `model` is an `Autoencoder`, or anything of which `study.subject` can get a loss.
    `noise` is ε as the model takes it, or a `Noise` to draw it from; not given, it is
    the first of seed 0. With an `optimizer` the model is left with its new parameters;
    without, an Adam step is shown and taken back. `checks` compares every rule by
    itself ("local"), and every gradient of the loss too ("all"), with finite
    differences. `fold` makes one node of each module, which
    a graph of over 2,000 nodes must be.

    Raises `UserError` for a loss that is no scalar or needs no gradient, and for a
    graph that is too large.
    """
    subject = Subject.of(model, batch, noise, dropout)
    listener = Listener(model, subject.arrays)
    with listener.listening(), np.errstate(all="ignore"):
        terms, loss = subject.loss()
    if terms is not None:
        listener.name_terms(terms)
    elif loss.node is not None:
        listener.rename(loss.node, "loss")
    _check_size(len(listener.nodes), fold)
    parameters = subject.parameters(listener.nodes)
    transcript = Transcript(listener, Copies(), kinds=subject.kinds)
    with borrowed(parameters) if optimizer is None else nullcontext():
        if optimizer is None and parameters:
            optimizer = optim.Adam(parameters)
        for parameter in parameters:
            parameter.grad = None
        nodes = transcript.nodes()
        for name in subject.arrays:
            transcript.give(name)
        with np.errstate(all="ignore"):
            backward = transcript.events(loss)
        table = table_of(subject, terms, transcript) if terms is not None else None
        recording = Recording(
            title=subject.title,
            settings=_settings(subject, loss),
            leaves=tuple(transcript.leaves),
            nodes=tuple(
                replace(node, rule_rungs=backward.rungs.get(node.id, ()))
                for node in nodes
            ),
            events=tuple(backward.events),
            loss=transcript.ref_of(edge_of(loss)),
            terms=table,
        )
        recording = traced(subject, recording)
        update: Update | str = backward.stopped
        if not backward.stopped:
            update = updated(subject, optimizer, transcript, loss)
    if isinstance(update, Update):
        recording = replace(recording, update=update)
    else:
        recording = replace(recording, notes=(update,))
    recording = grouped(recording)
    if checks != "none":
        recording = checked(recording, whole=checks == "all")
    return folded(recording) if fold else recording


def _check_size(nodes: int, fold: bool) -> None:
    if nodes > MOST_NODES and not fold:
        raise UserError(
            f"the graph has {nodes} nodes, too many to read one by one (over "
            f"{MOST_NODES}): record with fold=True (--fold), one node for each module"
        )


def _settings(subject: Subject, loss: Tensor) -> Settings:
    model, place = subject.model, session()
    library = xp_of(subject.arrays["x"]).__name__
    return Settings(
        model=subject.name,
        config=model.config() if hasattr(model, "config") else {},
        seed=getattr(model, "seed", None),
        batch=subject.batch.shape[0] if subject.batch.shape else 1,
        beta=model.beta if getattr(model, "has_kl", False) else None,
        dtype=str(loss.dtype),
        backend=f"{library}, {place.place}" if place else library,
        versions={
            "minivae": version("minivae"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    )
