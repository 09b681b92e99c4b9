"""The table of the loss: a row for each image, a column for recon and each latent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.models import Autoencoder, LossTerms
from minivae.study.listener import Listener
from minivae.study.recording import Cell, Column, Element, Terms
from minivae.study.subject import Subject
from minivae.study.transcript import Transcript
from minivae.tensor import Node, no_grad

SAME = 1e-4  # relative: by latent or whole, in another order of float32


class _Part(NamedTuple):
    """A column, its numbers (N,), and where they come from."""

    column: Column
    numbers: Array
    nodes: tuple[Node, ...]
    latent: int | None = None  # the one column of codes that the numbers are of


def table_of(subject: Subject, terms: LossTerms, transcript: Transcript) -> Terms:
    """Return the loss by image, under the parameters as they are now.

    Each number is computed by the model itself, with `reduction="none"`; where the KL
    has a closed form for each latent, it has a column for each.
    """
    model: Autoencoder = subject.model
    with no_grad(), np.errstate(all="ignore"):
        each, _ = subject.loss(reduction="none")
    assert each is not None
    table = _Table(model, terms, transcript.listener)
    parts = table.parts(each, _latents(subject, each))
    rows = np.stack([part.numbers for part in parts], axis=1).astype(np.float64)
    return Terms(
        formula=_formula(model),
        unit=model.likelihood.unit,
        columns=tuple(part.column for part in parts),
        cells=tuple(
            tuple(
                _cell(part, n, len(rows), float(number), transcript)
                for part, number in zip(parts, row, strict=True)
            )
            for n, row in enumerate(rows)
        ),
        means=tuple(float(mean) for mean in rows.mean(axis=0)),
    )


class _Table:
    """The columns of a model, and the nodes that each comes from."""

    def __init__(
        self, model: Autoencoder, terms: LossTerms, listener: Listener
    ) -> None:
        self.model, self.modules = model, listener.modules
        self.recon, self.loss = terms.recon.node, terms.loss.node
        self.kl = None if terms.kl is None else terms.kl.node

    def parts(self, each: LossTerms, latents: Array | None) -> list[_Part]:
        """Return the columns; `each` has the terms by image."""
        recon, loss = each.recon.numpy(), each.loss.numpy()
        adds = _formula(self.model).startswith(("−ELBO", "loss = recon"))
        exact = not self.model.has_kl or _sums_over_codes(self.model)
        column = Column("recon", "recon", exact, adds)
        parts = [_Part(column, recon, self.back_from(self.recon))]
        if each.kl is not None:
            nodes = self.back_from(self.kl)
            if latents is None:
                column = Column("kl", "kl", False, False)
                parts.append(_Part(column, each.kl.numpy(), nodes))
            else:
                for j, numbers in enumerate(latents.T):
                    column = Column(f"kl z{j}", "kl", True, False)
                    parts.append(_Part(column, numbers, nodes, j))
            if adds:
                name = _weight(self.model)
                column = Column(name, "weighted", latents is not None, True)
                between = self.back_from(self.loss, stop=self.recon)
                between = tuple(node for node in between if node is not self.loss)
                parts.append(_Part(column, loss - recon, between))
        ends = (self.loss, self.recon, self.kl)
        nodes = tuple(node for node in dict.fromkeys(ends) if node is not None)
        return [*parts, _Part(Column("loss", "total", exact, False), loss, nodes)]

    def back_from(
        self, node: Node | None, stop: Node | None = None
    ) -> tuple[Node, ...]:
        """Return a node and what it is computed from, back to outputs of modules."""
        found: dict[Node, None] = {}
        waiting = [node] if node is not None else []
        while waiting:
            here = waiting.pop(0)
            if here in found or here is stop:
                continue
            found[here] = None
            if not self.modules[here]:
                sources = (edge[0] for edge in here.edges if edge)
                waiting += [source for source in sources if isinstance(source, Node)]
        return tuple(found)


def _cell(
    part: _Part, n: int, images: int, value: float, transcript: Transcript
) -> Cell:
    """Return the number of image n, with the rows of modules' outputs it comes from."""
    elements = []
    for node in part.nodes:
        shape = getattr(node.out, "shape", ())
        if not transcript.listener.modules[node] or not shape or shape[0] % images:
            continue
        column = () if part.latent is None else (part.latent,)
        id = transcript.ids[node]
        for row in range(n, shape[0], images):  # of each of several draws
            elements.append(Element(id, 0, (row, *column)))
    nodes = tuple(transcript.ids[node] for node in part.nodes)
    return Cell(value, nodes, tuple(elements))


def _sums_over_codes(model: Autoencoder) -> bool:
    return getattr(model, "estimator", "") == "exact"


def _latents(subject: Subject, each: LossTerms) -> Array | None:
    """Return the KL by latent (N, Z), if its sum over latents is the KL by image."""
    if each.kl is None:
        return None
    with no_grad():
        dropout = subject.dropout and subject.dropout.at(subject.dropout.position)
        q = subject.model.encode(subject.batch, dropout)
        if not hasattr(q, "kl_per_latent"):
            return None
        latents = q.kl_per_latent().numpy()
    whole = each.kl.numpy()
    apart = np.abs(latents.sum(axis=1) - whole)
    same = apart <= SAME * np.maximum(1, np.abs(whole))
    return latents if same.all() or not np.isfinite(whole).all() else None


def _weight(model: Autoencoder) -> str:
    if model.objective_formula is None:
        return "kl" if model.beta == 1 else f"{model.beta:g} kl"
    return "weighted kl"


def _formula(model: Autoencoder) -> str:
    if not model.has_kl:
        return "loss = recon"
    if model.objective_formula is not None:
        return f"loss = {model.objective_formula}"
    if model.beta == 1 and model.likelihood.is_density:
        return "−ELBO = recon + KL"
    return f"loss = recon + {model.beta:g} KL"
