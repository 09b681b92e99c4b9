"""A recorded step as text for a terminal of 80 columns: the parts, and the whole."""

from __future__ import annotations

import math
import textwrap

import numpy as np

from minivae.study.recording import (
    Event,
    Node,
    ParameterUpdate,
    Recording,
    Ref,
    Source,
    Value,
)

WIDTH = 79
INDENT = "     "
COLUMN = 10  # characters of a number in a table
PER_TABLE = (WIDTH - COLUMN) // COLUMN


def as_text(recording: Recording) -> str:
    """Return the whole step: forward, loss by image, backward, update, checks."""
    parts = [recording.title, "=" * min(WIDTH, len(recording.title)), ""]
    parts += [*(note for note in recording.notes), *inputs(recording)]
    parts += heading("FORWARD", "every op, in the order in which it was applied")
    for number, node in enumerate(recording.nodes, 1):
        parts += [*forward(recording, number, node), ""]
    if recording.terms is not None:
        parts += [*terms(recording), ""]
    parts += heading(
        "BACKWARD", "every contribution, in the order in which it is added"
    )
    parts += wrapped(
        "x̄ is the adjoint of x: the derivative of the loss by x. Each op has one rule "
        "for each input, which turns the adjoint that arrives into the one it sends.",
    )
    parts.append("")
    for number, event in enumerate(recording.events, 1):
        parts += [*backward(recording, number, event), ""]
    if recording.update is not None:
        parts += heading("UPDATE", optimizer(recording))
        for update in recording.update.parameters:
            parts += [*parameter(update), ""]
        parts += [*verdict(recording), ""]
    parts += checks(recording)
    return "\n".join(parts).rstrip("\n") + "\n"


def heading(title: str, note: str) -> list[str]:
    """Return a title with a note, underlined."""
    return ["", f"{title}  {note}", "-" * WIDTH, ""]


def wrapped(text: str, indent: str = "") -> list[str]:
    """Return text in lines, what follows the first a little further in."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "    "
    )


def inputs(recording: Recording) -> list[str]:
    """Return the images and the noise."""
    lines = []
    for leaf in recording.leaves:
        if leaf.kind in ("input", "noise"):
            lines += [f"{leaf.name} {np.shape(leaf.value)}", numbers(leaf.value)]
    return lines


def forward(recording: Recording, number: int, node: Node) -> list[str]:
    """Return what a node did: its call, formula, line and value."""
    settings = [f"{key}={value}" for key, value in node.params.items()]
    given = [recording.label(ref) for ref in node.inputs]
    call = f"{node.name} = {node.op}({', '.join(given + settings)})"
    lines = textwrap.wrap(
        call, WIDTH, initial_indent=f"{number:>3}  ", subsequent_indent=INDENT + "    "
    )
    lines += wrapped(node.formula, INDENT)
    if node.source.line:
        lines += code(node.source, node.source.text)
    if node.rungs:
        lines += wrapped(f"kernels {', '.join(node.rungs)}", INDENT)
    for output in node.outputs:
        label = f"{node.name}.{output.name} " if len(node.outputs) > 1 else ""
        lines.append(numbers(output.value, label))
    return lines + not_finite(node)


def code(source: Source, text: str) -> list[str]:
    """Return where a line of code is, and the line: beside it, or below if too long."""
    if len(f"{INDENT}{source}  {text}") <= WIDTH:
        return [f"{INDENT}{source}  {text}"]
    room = WIDTH - len(INDENT) - 2
    shown = text if len(text) <= room else text[: room - 4] + " ..."
    return [f"{INDENT}{source}", f"{INDENT}  {shown}"]


def not_finite(node: Node) -> list[str]:
    """Return a line for each output with a NaN or an infinity in it."""
    lines = []
    for output in node.outputs:
        bad = ~np.isfinite(np.asarray(output.value))
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            lines += wrapped(
                f"NOT FINITE: {bad.sum()} of {bad.size} elements, the first at "
                f"{element(output.name, first)}",
                INDENT,
            )
    return lines


def backward(recording: Recording, number: int, event: Event) -> list[str]:
    """Return what a rule sent, or the sum over what broadcasting had repeated."""
    sender = recording.by_id[event.sender]
    receiver = recording.label(Ref(event.receiver, event.output))
    assert isinstance(sender, Node)
    rule = sender.rules[event.position]
    if event.kind == "unbroadcast":
        axes = ", ".join(map(str, event.axes))
        lines = [f"{number:>3}  un-broadcast to {receiver}"]
        lines += wrapped(
            f"summed over axis {axes}, along which {sender.name} had repeated it",
            INDENT,
        )
        lines.append(numbers(event.gradient, "adds     "))
    else:
        formula = rule.formula if rule else ""
        lines = [f"{number:>3}  {sender.name} → {receiver}    {formula}"]
        for output, upstream in zip(sender.outputs, event.upstream, strict=True):
            label = f"{output.name} " if len(sender.outputs) > 1 else ""
            lines.append(numbers(upstream, f"arrives  {label}"))
        lines.append(numbers(event.gradient, "sends    "))
    if event.adds and event.count > 1 and event.total is not None:
        lines.append(f"{INDENT}contribution {event.count} to {receiver}, which is now")
        lines.append(numbers(event.total, "sum      "))
    return lines


def terms(recording: Recording) -> list[str]:
    """Return the table of the loss: as many tables as the columns need."""
    found = recording.terms
    if found is None:
        return ["This loss has no parts by image."]
    names = [*(f"image {i}" for i in range(len(found.cells))), "mean"]
    rows = [*([cell.value for cell in row] for row in found.cells), list(found.means)]
    heads = [column.name for column in found.columns]
    lines = heading("THE LOSS BY IMAGE", f"{found.formula}, {found.unit}")
    for start in range(0, len(heads), PER_TABLE):
        part = slice(start, start + PER_TABLE)
        lines.append(" " * COLUMN + "".join(f"{h:>{COLUMN}}" for h in heads[part]))
        for name, row in zip(names, rows, strict=True):
            cells = "".join(f"{cell:>{COLUMN}.4f}" for cell in row[part])
            lines.append(f"{name:>{COLUMN}}{cells}")
        lines.append("")
    exact = [column.name for column in found.columns if column.exact]
    drawn = [column.name for column in found.columns if not column.exact]
    says = []
    if drawn:
        says.append(f"{_listed(drawn)}: at the draws of this step")
    if exact:
        says.append(f"{_listed(exact)}: exact")
    return [*lines, *wrapped("; ".join(says) + ".")]


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 5 else f"{names[0]} to {names[-1]}"


def optimizer(recording: Recording) -> str:
    """Return the optimizer's name and rate."""
    assert recording.update is not None
    rate = recording.update.settings.get("lr", math.nan)
    return f"{recording.update.optimizer}, learning rate {rate:g}"


def parameter(update: ParameterUpdate) -> list[str]:
    """Return a parameter before and after, its gradient, and the optimizer's state."""
    arrays = {
        "value": update.value,
        "gradient": update.gradient,
        **{f"{name} before": array for name, array in update.state.items()},
        **{f"{name} after": array for name, array in update.new_state.items()},
        "new value": update.new_value,
    }
    width = max(map(len, arrays)) + 1
    lines = [f"{update.name} {update.value.shape}"]
    return lines + [numbers(a, f"{label:<{width}}") for label, a in arrays.items()]


def verdict(recording: Recording) -> list[str]:
    """Return what became of the loss, beside what the gradient promised."""
    update = recording.update
    assert update is not None
    predicted = update.loss_predicted - update.loss
    real = update.loss_after - update.loss
    return wrapped(
        f"Loss {update.loss:.6f} before the update, {update.loss_after:.6f} after: a "
        f"change of {real:+.6f}. The gradient predicted {predicted:+.6f} (gradient "
        "times change, over all parameters)."
    )


def checks(recording: Recording) -> list[str]:
    """Return the verdict of all checks, and each one that failed."""
    lines = heading("CHECKS", "every gradient beside a difference quotient")
    for kind, meaning in (
        ("local", "rules, each by itself under a random upstream"),
        ("global", "gradients of the loss, by moving a value and replaying"),
    ):
        mine = [check for _, check in recording.checks(kind)]
        told = [check for check in mine if check.method != "none"]
        wrong = [check for check in mine if check.failed]
        if told:
            worst = max(check.claim.error for check in told)
            text = f"{len(mine)} {meaning}: {len(wrong)} wrong"
            if len(told) < len(mine):
                text += f", {len(mine) - len(told)} without a verdict"
            lines += wrapped(f"{text}; worst relative error {worst:.1e}")
        for check in wrong:
            lines += wrapped(f"WRONG {check.claim.name}: {check.claim.claim}", "  ")
    return lines if len(lines) > 4 else []


def element(name: str, index: tuple[int, ...]) -> str:
    """Return an element's name: mu[1, 0]."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def numbers(value: Value | None, label: str = "") -> str:
    """Return an array as an indented block, large ones with their middle left out."""
    if value is None:
        return f"{INDENT}{label}–"
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
