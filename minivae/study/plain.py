"""A recorded step as text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from minivae.study.recording import Backward, Forward, Recording

WIDTH = 79
INDENT = "     "


def as_text(recording: Recording) -> str:
    """Return the whole step: forward, ELBO by image, backward, update."""
    parts = [recording.title, "=" * min(WIDTH, len(recording.title)), ""]
    for value in recording.inputs:
        parts += [f"{value.name} {value.array.shape}", _numbers(value.array)]
    parts += _heading("FORWARD", "every op, in the order in which it was applied")
    for number, node in enumerate(recording.forward, 1):
        parts += _forward(number, node)
    parts += _heading("THE LOSS BY IMAGE", "nats; recon is a draw, the KL is exact")
    parts.append(_loss_table(recording))
    parts += _heading(
        "BACKWARD", "every contribution, in the order in which it is added"
    )
    parts += _wrapped(
        "x̄ is the adjoint of x: the derivative of the loss by x. Each op has one rule "
        "for each input, which turns the adjoint that arrives into the one it sends.",
        "",
    )
    parts.append("")
    for number, event in enumerate(recording.backward, 1):
        parts += _backward(number, event)
    parts += _heading("UPDATE", recording.optimizer)
    for update in recording.updates:
        parts += [f"{update.name} {update.value.shape}"]
        for label, array in (
            ("value", update.value),
            ("gradient", update.gradient),
            ("new value", update.new_value),
        ):
            parts.append(_numbers(array, f"{label:<10}"))
    parts += ["", *_verdict(recording)]
    return "\n".join(parts) + "\n"


def _heading(title: str, note: str) -> list[str]:
    return ["", f"{title}  {note}", "-" * WIDTH, ""]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "    "
    )


def _forward(number: int, node: Forward) -> list[str]:
    settings = [f"{key}={value}" for key, value in node.params.items()]
    call = f"{node.name} = {node.op}({', '.join(node.inputs + settings)})"
    lines = textwrap.wrap(
        call, WIDTH, initial_indent=f"{number:>3}  ", subsequent_indent=INDENT + "    "
    )
    lines += _wrapped(f"{node.formula}    {node.source}", INDENT)
    for value in node.outputs:
        label = f"{value.name} " if len(node.outputs) > 1 else ""
        lines.append(_numbers(value.array, label))
    return [*lines, ""]


def _backward(number: int, event: Backward) -> list[str]:
    lines = [f"{number:>3}  {event.sender} → {event.receiver}    {event.formula}"]
    lines.append(_numbers(event.upstream, "arrives  "))
    lines.append(_numbers(event.raw, "sends    "))
    if event.summed_axes:
        axes = ", ".join(map(str, event.summed_axes))
        lines.append(f"{INDENT}summed over axis {axes}, where broadcasting repeated it")
        lines.append(_numbers(event.gradient, "adds     "))
    if event.count > 1:
        lines.append(
            f"{INDENT}contribution {event.count} to {event.receiver}, which is now"
        )
        lines.append(_numbers(event.total, "sum      "))
    return [*lines, ""]


def _loss_table(recording: Recording) -> str:
    terms = recording.terms
    latents = terms.kl.shape[1]
    head = ["", "recon", *(f"kl z{j}" for j in range(latents))]
    rows = np.column_stack([terms.recon, terms.kl])
    if latents:
        weighted = terms.beta * terms.kl.sum(axis=1)
        head += ["beta kl", "loss"]
        rows = np.column_stack([rows, weighted, terms.recon + weighted])
    names = [*(f"image {i}" for i in range(len(rows))), "mean"]
    rows = np.vstack([rows, rows.mean(axis=0)])
    lines = ["".join(f"{cell:>10}" for cell in head)]
    for name, row in zip(names, rows, strict=True):
        lines.append(f"{name:>10}" + "".join(f"{cell:>10.4f}" for cell in row))
    return "\n".join(lines)


def _numbers(value: Any, label: str = "") -> str:
    """Return an array as an indented block, large ones with their middle left out."""
    if value is None:
        return f"{INDENT}{label}–"
    if isinstance(value, tuple):  # the adjoints of several outputs
        fields = zip(value._fields, value, strict=True)  # type: ignore[attr-defined]
        return "\n".join(_numbers(item, f"{label}{name} ") for name, item in fields)
    prefix = INDENT + label
    text = np.array2string(
        np.asarray(value),
        precision=4,
        suppress_small=True,
        max_line_width=WIDTH - len(prefix),
        threshold=64,
        edgeitems=3,
        floatmode="maxprec",
    )
    first, *rest = (line for line in text.splitlines() if line.strip())
    return "\n".join([prefix + first, *(" " * len(prefix) + line for line in rest)])


def _verdict(recording: Recording) -> list[str]:
    predicted = recording.loss_predicted - recording.loss
    real = recording.loss_after - recording.loss
    return _wrapped(
        f"Loss {recording.loss:.6f} before the update, "
        f"{recording.loss_after:.6f} after: a change of {real:+.6f}. The gradient "
        f"predicted {predicted:+.6f} (gradient times change, over all parameters).",
        "",
    )
