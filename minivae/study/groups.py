"""Which part of a model a node belongs to: encoder, sampling, decoder, loss."""

from __future__ import annotations

from dataclasses import replace

from minivae.study.recording import Recording


def grouped(recording: Recording) -> Recording:
    """Return the recording with the group of every node and leaf.

    A module below `decoder` is of the decoder; the others are the encoder's if there is
    a decoder, else the model's. What no module made comes before the decoder (the
    model), and is sampling (the model's), or after it, and is the loss.
    """
    roots = {node.module.split(".")[0] for node in recording.nodes}
    first, before = ("encoder", "sampling") if "decoder" in roots else ("model",) * 2
    needed: set[str] = set()  # what a decoder's, or a model's, value depends on
    groups: dict[str, str] = {}
    for node in reversed(recording.nodes):
        root = node.module.split(".")[0]
        if root:
            groups[node.id] = "decoder" if root == "decoder" else first
        else:
            groups[node.id] = before if node.id in needed else "loss"
        if node.id in needed or root == "decoder" or (root and first == "model"):
            needed |= {ref.id for ref in node.inputs}
    for node in recording.nodes:
        for ref in node.inputs:
            groups.setdefault(ref.id, groups[node.id])
    return replace(
        recording,
        leaves=tuple(
            replace(leaf, group=groups.get(leaf.id, "loss"))
            for leaf in recording.leaves
        ),
        nodes=tuple(
            replace(
                node,
                group=groups[node.id],
                steps=tuple(replace(s, group=groups[node.id]) for s in node.steps),
                constants=tuple(
                    replace(leaf, group=groups[node.id]) for leaf in node.constants
                ),
            )
            for node in recording.nodes
        ),
    )
