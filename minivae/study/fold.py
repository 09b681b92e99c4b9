"""A recording with one node for each module: for graphs too large to read op by op.

Ops that follow each other and belong to one part of the model (the first name of its
path) become a node with those ops inside as its `steps`; of ops outside of modules,
at most a hundred at a time. Replay, checks and the hunt for a wrong rule go inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

import numpy as np

from minivae.study.listener import fresh
from minivae.study.recording import (
    Check,
    Element,
    Event,
    Node,
    Output,
    Recording,
    Ref,
    Rule,
    Source,
    Terms,
)

MOST_INSIDE = 100  # ops outside of modules in one node


def folded(recording: Recording) -> Recording:
    """Return the recording with a node for each run of ops of one module."""
    return _Folding(recording).result()


class _Folding:
    """Where every node went: `at` gives the fold of an id, `shown` what it makes."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.runs = [
            part
            for (module, _), run in groupby(recording.nodes, _part)
            for part in _at_most(list(run), len(recording.nodes) if module else 0)
        ]
        self.at = {n.id: f"f{i}" for i, run in enumerate(self.runs) for n in run}
        self.taken = {leaf.name for leaf in recording.leaves}
        self.shown: dict[Ref, Ref] = {}

    def result(self) -> Recording:
        """Fold everything."""
        used = [Ref(self.recording.loss.id, self.recording.loss.output)]
        for node in self.recording.nodes:
            for ref in node.inputs:
                if self.at.get(ref.id, node.id) != self.at[node.id]:
                    used.append(Ref(ref.id, ref.output))
        for ref in dict.fromkeys(used):
            fold = self.at.get(ref.id)
            if fold is not None:
                count = sum(there.id == fold for there in self.shown.values())
                self.shown[ref] = Ref(fold, count)
        nodes = [self._node(f"f{i}", run) for i, run in enumerate(self.runs)]
        recording = self.recording
        return replace(
            recording,
            nodes=tuple(nodes),
            events=tuple(self._events({node.id: node for node in nodes})),
            loss=self._there(recording.loss),
            terms=self._terms(recording.terms) if recording.terms else None,
            notes=(
                *recording.notes,
                f"folded: {len(recording.nodes)} ops in {len(nodes)} nodes",
            ),
        )

    def _there(self, ref: Ref) -> Ref:
        """Return what shows a value now: a leaf, or an output of a fold."""
        found = self.shown.get(Ref(ref.id, ref.output), ref)
        return Ref(found.id, found.output, ref.shape)

    def _node(self, id: str, run: list[Node]) -> Node:
        first, last, inside = run[0], run[-1], {node.id for node in run}
        steps = tuple(
            replace(
                node,
                inputs=tuple(
                    ref if ref.id in inside else self._there(ref) for ref in node.inputs
                ),
            )
            for node in run
        )
        outer = (ref for step in steps for ref in step.inputs if ref.id not in inside)
        inputs = tuple(dict.fromkeys(outer))
        makes = [here for here, there in self.shown.items() if there.id == id]
        makes = makes or [Ref(last.id)]
        module = first.module.split(".")[0]
        name = module or (last.name if len(run) == 1 else f"{first.name}…{last.name}")
        name = fresh(name, self.taken)
        self.taken.add(name)
        rule = f"by the rules of {len(run)} ops"
        return Node(
            id=id,
            name=name,
            group=first.group,
            module=module,
            op="fold",
            formula=f"{len(run)} ops: {first.name} to {last.name}",
            inputs=inputs,
            params={},
            outputs=tuple(
                Output(self.recording.label(ref), self.recording.value_of(ref))
                for ref in makes
            ),
            source=first.source,
            rules=tuple(Rule(ref.id, rule, Source()) for ref in inputs),
            rungs=tuple(dict.fromkeys(rung for node in run for rung in node.rungs)),
            checks=tuple(self._checks(makes)),
            steps=steps,
            folded=True,
            makes=tuple(makes),
        )

    def _checks(self, makes: Iterable[Ref]) -> Iterable[Check]:
        """Yield the global checks of what a fold makes."""
        for output, ref in enumerate(makes):
            node = self.recording.by_id[ref.id]
            for check in node.checks:
                if check.kind == "global" and check.position == ref.output:
                    yield replace(check, position=output)

    def _events(self, nodes: dict[str, Node]) -> Iterable[Event]:
        """Yield one event for what a fold sends to each of its inputs."""
        sent: dict[tuple[str, str, int], list[Event]] = {}
        for event in self.recording.events:
            fold, receiver = self.at[event.sender], self.at.get(event.receiver)
            if event.adds and receiver != fold:
                key = fold, event.receiver, event.output
                sent.setdefault(key, []).append(event)
        counts: dict[Ref, int] = {}
        for (fold, receiver, output), events in sent.items():
            there = self._there(Ref(receiver, output))
            inputs = [Ref(ref.id, ref.output) for ref in nodes[fold].inputs]
            counts[there] = counts.get(there, 0) + 1
            gradient = events[0].gradient
            for event in events[1:]:
                gradient = gradient + event.gradient
            yield Event(
                kind="contribution",
                sender=fold,
                position=inputs.index(there),
                receiver=there.id,
                output=there.output,
                upstream=tuple(self._arrived(ref) for ref in nodes[fold].makes),
                gradient=gradient,
                count=counts[there],
                total=events[-1].total,
            )

    def _arrived(self, ref: Ref) -> np.ndarray | float:
        adjoint = self.recording.adjoint_of(ref)
        return 0.0 if adjoint is None else adjoint

    def _terms(self, terms: Terms) -> Terms:
        def element(old: Element) -> Element | None:
            there = self.shown.get(Ref(old.id, old.output))
            return Element(there.id, there.output, old.index) if there else None

        return replace(
            terms,
            cells=tuple(
                tuple(
                    replace(
                        cell,
                        nodes=tuple(dict.fromkeys(self.at[id] for id in cell.nodes)),
                        elements=tuple(e for e in map(element, cell.elements) if e),
                    )
                    for cell in row
                )
                for row in terms.cells
            ),
        )


def _part(node: Node) -> tuple[str, str]:
    return node.module.split(".")[0], node.group


def _at_most(run: list[Node], most: int) -> list[list[Node]]:
    size = most or MOST_INSIDE
    return [run[i : i + size] for i in range(0, len(run), size)]
