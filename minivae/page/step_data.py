"""A recording as the data of its page, and as the graph that the page draws."""

from __future__ import annotations

from typing import Any

from minivae.page.array_data import Arrays, number
from minivae.page.graph import Box, Graph, Pill
from minivae.study.recording import (
    GROUPS,
    Check,
    Event,
    Leaf,
    Node,
    Recording,
    Source,
    Terms,
    Update,
)


class StepData:
    """What the page's script reads; formulas and sources are kept once each."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.arrays = Arrays()
        self.formulas: dict[str, int] = {}
        self.sources: dict[Source, int] = {}

    def whole(self) -> dict[str, Any]:
        """Return all of it as JSON-able data."""
        recording = self.recording
        parts = {
            "leaves": [self._leaf(leaf) for leaf in recording.leaves],
            "nodes": [self._node(node) for node in recording.nodes],
            "events": [self._event(event) for event in recording.events],
            "loss": [recording.loss.id, recording.loss.output],
            "terms": recording.terms and self._terms(recording.terms),
            "update": recording.update and self._update(recording.update),
        }
        sources = [[str(source), source.text] for source in self.sources]
        return {**parts, "sources": sources, "arrays": self.arrays.entries}

    def formula(self, text: str) -> int:
        """Return the number of a formula."""
        return self.formulas.setdefault(text, len(self.formulas))

    def _source(self, source: Source) -> int:
        return self.sources.setdefault(source, len(self.sources))

    def _leaf(self, leaf: Leaf) -> dict[str, Any]:
        return {
            "id": leaf.id,
            "name": leaf.name,
            "kind": leaf.kind,
            "group": leaf.group,
            "value": self.arrays.add(leaf.value),
            "traced": leaf.traced,
            "checks": [self._check(check) for check in leaf.checks],
        }

    def _node(self, node: Node) -> dict[str, Any]:
        return {
            "id": node.id,
            "name": node.name,
            "group": node.group,
            "module": node.module,
            "op": node.op,
            "formula": self.formula(node.formula),
            "inputs": [[r.id, r.output, r.shape] for r in node.inputs],
            "params": {k: plain(v) for k, v in node.params.items()},
            "outputs": [[o.name, self.arrays.add(o.value)] for o in node.outputs],
            "source": self._source(node.source),
            "rules": [
                rule
                and [rule.input, self.formula(rule.formula), self._source(rule.source)]
                for rule in node.rules
            ],
            "rungs": list(node.rungs),
            "ruleRungs": list(node.rule_rungs),
            "checks": [self._check(check) for check in node.checks],
            "steps": [self._node(step) for step in node.steps],
            "constants": [self._leaf(leaf) for leaf in node.constants],
            "folded": node.folded,
        }

    def _check(self, check: Check) -> list[Any]:
        claim = check.claim
        numbers = (claim.measured, claim.exact, claim.error, claim.tolerance)
        return [
            check.kind,
            check.position,
            check.method,
            check.index and list(check.index),
            *(None if n is None else number(float(n)) for n in numbers),
            claim.passed,
        ]

    def _event(self, event: Event) -> dict[str, Any]:
        return {
            "kind": event.kind,
            "sender": event.sender,
            "position": event.position,
            "receiver": event.receiver,
            "output": event.output,
            "upstream": [self.arrays.add(value) for value in event.upstream],
            "gradient": self.arrays.add(event.gradient),
            "axes": list(event.axes),
            "adds": event.adds,
            "count": event.count,
            "total": None if event.total is None else self.arrays.add(event.total),
        }

    def _terms(self, terms: Terms) -> dict[str, Any]:
        return {
            "kinds": [column.kind for column in terms.columns],
            "names": [column.name for column in terms.columns],
            "cells": [
                [
                    [
                        number(cell.value),
                        list(cell.nodes),
                        [[e.id, e.output, list(e.index)] for e in cell.elements],
                    ]
                    for cell in row
                ]
                for row in terms.cells
            ],
            "means": [number(mean) for mean in terms.means],
        }

    def _update(self, update: Update) -> dict[str, Any]:
        return {
            "optimizer": update.optimizer,
            "formula": update.formula,
            "settings": {k: number(float(v)) for k, v in update.settings.items()},
            "loss": number(update.loss),
            "predicted": number(update.loss_predicted),
            "after": number(update.loss_after),
            "norm": number(update.gradient_norm),
            "parameters": [
                {
                    "id": p.id,
                    "name": p.name,
                    "gradient": self.arrays.add(p.gradient),
                    "value": self.arrays.add(p.value),
                    "newValue": self.arrays.add(p.new_value),
                    "state": {k: self.arrays.add(v) for k, v in p.state.items()},
                    "newState": {k: self.arrays.add(v) for k, v in p.new_state.items()},
                    "predicted": number(p.predicted),
                }
                for p in update.parameters
            ],
        }


def plain(value: Any) -> Any:
    """Return an op's setting as JSON has it; a slice as its text."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def graph_of(recording: Recording) -> Graph:
    """Return the graph that is drawn: nodes and images; other leaves are pills."""
    leaves = {leaf.id: leaf for leaf in recording.leaves}
    boxed = {leaf.id for leaf in recording.leaves if leaf.kind == "input"}
    seen: set[str] = set()
    boxes = [
        Box(leaf.id, leaf.name, shape_of(leaf.value), leaf.group)
        for leaf in recording.leaves
        if leaf.id in boxed
    ]
    edges: dict[tuple[str, str], None] = {}
    for node in recording.nodes:
        pills = []
        for id in dict.fromkeys(ref.id for ref in node.inputs):
            if id in leaves and id not in boxed:
                pills.append(_pill(leaves[id], node, again=id in seen))
                seen.add(id)
            else:
                edges[id, node.id] = None
        note = "" if node.op == node.name else node.op
        boxes.append(Box(node.id, node.name, note, node.group, tuple(pills)))
    return Graph(tuple(boxes), tuple(edges), GROUPS)


def _pill(leaf: Leaf, node: Node, again: bool) -> Pill:
    """A leaf beside its consumer, without the part of its name that is the module's."""
    name = leaf.name.removeprefix(f"{node.module}.") if node.module else leaf.name
    if leaf.kind == "number":
        value = f"{leaf.value:.4g}".replace("-", "−")
        name = value if _is_number(leaf.name.partition("#")[0]) else f"{name} {value}"
    return Pill(leaf.id, name, leaf.kind, again)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def shape_of(value: Any) -> str:
    """Return a shape as a reader writes it: 3 × 2."""
    shape = getattr(value, "shape", ())
    return " × ".join(map(str, shape)) or "scalar"
