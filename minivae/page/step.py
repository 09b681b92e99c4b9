"""The page of one training step: every op, every rule, every number, one at a time.

What does not change as the reader steps (title, table of the loss, graph, final
gradients) is written here and stands without scripts; the cards are made by step.js
from the data of step_data.py. Texts of a recording are escaped here and set as text
there: a name with HTML in it is a name.
"""

from __future__ import annotations

import re
from html import escape

import numpy as np

from minivae.backend import Array
from minivae.page import diagram, kit
from minivae.page.array_data import flat, statistics
from minivae.page.formula import FormulaError, mathml
from minivae.page.graph import Graph
from minivae.page.step_data import StepData, graph_of, shape_of
from minivae.study.recording import Leaf, Node, Recording, Ref

SCRIPTS = tuple(
    f"{name}.js"
    for name in (
        *("arrays", "tables"),  # what a number looks like
        *("ops", "convolution", "losses", "replay", "worked"),  # what it comes from
        *("graph", "cards", "forward", "backward", "update"),  # the drawing, the cards
        *("terms", "follow", "what_if"),  # beside them
        *("player", "step"),
    )
)
STYLES = ("style.css", "player.css", "step.css")
SCRIPTLESS = (
    '<h2 id="card-title">Step by step</h2><noscript><p class="note">To step '
    "through the graph takes a script, and scripts are off here. The table of the loss "
    "and the gradients of all parameters stand without.</p></noscript>"
)
LISTED = 64  # cells of an array that is written out without scripts
DIRECTIONS = {"wide": True, "tall": False}


def step_page(recording: Recording) -> str:
    """Return the HTML page of a recorded step: one file that fetches nothing."""
    data = StepData(recording)
    whole = data.whole()
    graph = graph_of(recording)
    pictures = {name: diagram.drawn(graph, wide) for name, wide in DIRECTIONS.items()}
    whole["maps"] = {name: diagram.as_data(p) for name, p in pictures.items()}
    if whole["update"]:
        whole["update"]["formula"] = data.formula(whole["update"]["formula"])
    if whole["terms"]:
        whole["terms"]["weight"] = _weight(recording)
    drawings = [
        diagram.svg(p, _graph_words(recording, graph)) for p in pictures.values()
    ]
    body = [
        _header(recording),
        kit.player(_phases(recording)),
        _graph(recording, graph, drawings),
        kit.group(
            "desk",
            f'<article id="card" class="card" aria-labelledby="card-title">{SCRIPTLESS}'
            "</article>",
            kit.group("aside", _terms(recording), _panels(recording)),
        ),
        _gradients(recording),
        *(
            f'<template id="formula-{number}">{_formula(text)}</template>'
            for text, number in data.formulas.items()
        ),
        kit.footer(kit.BY_KEYS),
    ]
    return kit.page(
        f"{recording.title}: one step", "\n".join(body), STYLES, SCRIPTS, whole
    )


def _phases(recording: Recording) -> list[tuple[str, int]]:
    updates = recording.update.parameters if recording.update else ()
    counts = {
        "forward": len(recording.nodes),
        "backward": len(recording.events),
        "update": len(updates),
    }
    return [(name, count) for name, count in counts.items() if count]


# The header


def _header(recording: Recording) -> str:
    settings = recording.settings
    name = settings.model
    article = "an" if name[:1] in "AEIOU" else "a"
    facts = {
        "model": _cut(recording.title.partition(",")[0]),
        "batch": str(settings.batch),
        "likelihood": str(settings.config.get("likelihood") or "–"),
        "beta": "–" if settings.beta is None else f"{settings.beta:g}",
        "seed": "–" if settings.seed is None else str(settings.seed),
        "dtype": settings.dtype,
        "backend": settings.backend,
    }
    if recording.update:
        rate = recording.update.settings.get("lr")
        shown = recording.update.optimizer + (f", lr {rate:g}" if rate else "")
        facts["optimizer"] = shown
    cells = "".join(
        f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()
    )
    notes = "".join(kit.paragraph(note, "note") for note in recording.notes)
    return (
        "<header><div>"
        + kit.paragraph("minivae: one training step, taken apart", "eyebrow")
        + f"<h1>One training step of {article} {escape(name)}</h1>"
        + kit.paragraph(_lead(recording), "lead")
        + _verdict(recording)
        + f'{notes}</div><dl class="facts">{cells}</dl></header>'
    )


def _cut(sizes: str) -> str:
    """Return the sizes of many layers with those in the middle left out."""
    parts = sizes.split(" – ")
    return sizes if len(parts) <= 7 else " – ".join([*parts[:3], "…", *parts[-2:]])


def _lead(recording: Recording) -> str:
    ops, events = len(recording.nodes), len(recording.events)
    loss = f"{recording.loss_value:.4f}".replace("-", "−")
    text = f"Forward, {ops} ops make the loss, {loss}"
    if recording.terms:
        text += f" {recording.terms.unit} an image"
    text += f". Backward, {events} steps of the chain rule carry it to every parameter."
    if update := recording.update:
        change = f"{update.loss_after - update.loss:+.4f}".replace("-", "−")
        text += (
            f" {update.optimizer} then moves them, and the loss changes by {change}."
        )
    return text


def _verdict(recording: Recording) -> str:
    """What the checks of the recording say, in words, and the first that failed."""
    if name := _first_not_finite(recording):
        text = f"✗ {name} is the first value that is not finite: nan or infinite."
        return kit.paragraph(text, "verdict wrong")
    checks = [*recording.checks("local"), *recording.checks("global")]
    if not checks:
        return ""
    failed = [(item, check) for item, check in checks if not check.claim.passed]
    if not failed:
        text = (
            f"✓ {len(checks)} gradients checked against finite differences: each rule "
            "alone, and each value through the rest of the step. All agree."
        )
        return kit.paragraph(text, "verdict good")
    count = f"✗ {len(failed)} of {len(checks)} gradients differ from finite differences"
    guilty = recording.first_fault()
    if guilty is None:
        text = (
            f"{count}, yet each rule agrees by itself. The first through the rest of "
            f"the step: {failed[0][0].name}. A kink, as of relu at 0, can do this."
        )
        return kit.paragraph(text, "verdict wrong")
    node, check = guilty
    rule = node.rules[check.position]
    which = f", its rule for {rule.input}" if rule else ""
    text = f"{count}. The first that is wrong by itself: {node.name}{which}."
    return kit.paragraph(text, "verdict wrong")


def _first_not_finite(recording: Recording) -> str | None:
    """The name of the first value that went in, or was made, with a nan or infinity."""
    refs = [Ref(leaf.id) for leaf in recording.leaves]
    for node in recording.nodes:
        refs += [Ref(node.id, output) for output in range(len(node.outputs))]
    finite = ((ref, np.isfinite(recording.value_of(ref)).all()) for ref in refs)
    return next(
        (recording.label(ref) for ref, is_finite in finite if not is_finite), None
    )


# The graph


def _graph_words(recording: Recording, graph: Graph) -> str:
    groups = [g for g in graph.groups if any(box.group == g for box in graph.boxes)]
    return (
        f"The graph of the step: {len(recording.nodes)} ops in "
        f"{', '.join(groups)}. The list below it names all of them."
    )


def _graph(recording: Recording, graph: Graph, drawings: list[str]) -> str:
    groups = [g for g in graph.groups if any(box.group == g for box in graph.boxes)]
    folds = "".join(
        f'<button type="button" data-fold="{g}" aria-expanded="true">{g}</button>'
        for g in groups
    )
    keys = "".join(
        f'<li><span class="key {name}" aria-hidden="true"></span>{words}</li>'
        for name, words in (
            ("current", "here"),
            ("done", "computed"),
            ("waiting", "not yet"),
            ("target", "receives"),
            ("reached", "has a gradient"),
        )
    )
    scroll = (
        '<div class="scroll map-view" tabindex="0" role="region" '
        'aria-label="Graph of the step">'
    )
    return (
        '<section class="graph"><h2 class="hidden">The graph</h2>'
        f"{scroll}{''.join(drawings)}</div>"
        f'<div class="graph-foot"><ul class="legend">{keys}</ul>'
        f'<div class="folds" role="group" aria-label="Fold a group">'
        f"<span>fold</span> {folds}</div></div>"
        f"{_list(recording)}</section>"
    )


def _list(recording: Recording) -> str:
    """All nodes and leaves as buttons: what the drawing shows, in words."""
    everything: list[Node | Leaf] = [*recording.nodes, *recording.leaves]
    items = "".join(
        f'<li><button type="button" data-pick="{escape(item.id)}">'
        f"<b>{escape(item.name)}</b> <span>{escape(_what(recording, item))}</span> "
        '<span class="state"></span></button></li>'
        for item in everything
    )
    return (
        '<details class="nodes"><summary>All nodes as a list</summary>'
        f"<ol>{items}</ol></details>"
    )


def _what(recording: Recording, item: Node | Leaf) -> str:
    if isinstance(item, Leaf):
        return f"{item.kind}, {shape_of(item.value)}"
    inputs = ", ".join(recording.label(ref) for ref in item.inputs)
    return f"{item.op}({inputs}), {shape_of(item.value)}"


# The table of the loss


def _terms(recording: Recording) -> str:
    terms = recording.terms
    if terms is None:
        text = "This model gave its loss as one number, so there is no table by image."
        return (
            f'<section class="terms"><h2>The loss</h2>{kit.paragraph(text)}</section>'
        )
    heads = "".join(
        f'<th scope="col">{escape(c.name)}'
        f"<small>{'exact' if c.exact else 'one draw'}</small></th>"
        for c in terms.columns
    )
    rows = "".join(
        f'<tr><th scope="row">image {n}</th>'
        + "".join(
            f'<td data-cell="{n},{j}">{number(cell.value)}</td>'
            for j, cell in enumerate(row)
        )
        + "</tr>"
        for n, row in enumerate(terms.cells)
    )
    means = "".join(
        f'<td data-mean="{j}">{number(mean)}</td>' for j, mean in enumerate(terms.means)
    )
    added = " + ".join(c.name for c in terms.columns if c.adds)
    words = (
        f"In {terms.unit} an image. {added} make the loss; the optimiser sees only the "
        "last number of the last row. “One draw” is an estimate from the noise of this "
        "step, “exact” a closed form."
    )
    return (
        '<section class="terms" id="terms"><h2>The loss, image by image</h2>'
        '<div class="scroll" tabindex="0" role="region" aria-label="The loss by image">'
        f'<table class="loss"><caption>{escape(terms.formula)}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody>"
        f'<tfoot><tr><th scope="row">mean</th>{means}</tr></tfoot></table></div>'
        f'<p id="terms-words" class="note" role="status"></p>'
        f"{kit.paragraph(words, 'note')}</section>"
    )


def _weight(recording: Recording) -> float | None:
    """By what the KL is multiplied, where the objective is recon + beta KL."""
    assert recording.terms is not None
    weighted = [c.name for c in recording.terms.columns if c.kind == "weighted"]
    beta = recording.settings.beta
    if not weighted or beta is None or weighted[0] == "weighted kl":
        return None if weighted else 0.0
    return beta


def _panels(recording: Recording) -> str:
    return (
        '<section class="panel needs-script"><h2>What if</h2>'
        '<div id="what-if"></div></section><section class="panel needs-script">'
        '<h2 id="follow-title">Follow one number</h2><div id="follow"></div></section>'
    )


# The gradients


def _gradients(recording: Recording) -> str:
    parts = []
    for leaf in recording.leaves:
        gradient = recording.adjoint_of(Ref(leaf.id))
        if leaf.kind == "parameter" and gradient is not None:
            parts.append(array_table(f"∂loss/∂{leaf.name}", np.asarray(gradient)))
    if not parts:
        return ""
    return (
        '<details class="gradients" open><summary>The gradients of all parameters'
        f"</summary>{kit.group('arrays', *parts)}</details>"
    )


def array_table(name: str, array: Array) -> str:
    """Return an array as a table of its cells, or of its statistics if it is large."""
    title = f"<b>{escape(name)}</b> {shape_of(array)}"
    if array.size > LISTED or not array.size:
        least, most, mean, bad = statistics(array)
        cells = {"min": least, "max": most, "mean": mean, "not finite": bad}
        heads = "".join(f'<th scope="col">{key}</th>' for key in cells)
        row = "".join(f"<td>{number(float(value))}</td>" for value in cells.values())
        body = f'<tr><th scope="row">all cells</th>{row}</tr>'
    else:
        table = flat(array)
        heads = "".join(f'<th scope="col">{j}</th>' for j in range(table.shape[1]))
        indices = np.ndindex(*array.shape[:-1]) if array.ndim else [()]
        body = "".join(
            f'<tr><th scope="row">{",".join(map(str, index)) or escape(name)}</th>'
            + "".join(f"<td>{number(float(value))}</td>" for value in row)
            + "</tr>"
            for index, row in zip(indices, table, strict=True)
        )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<table class="cells"><caption>{title}</caption><thead><tr><td></td>{heads}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def number(value: float) -> str:
    """Return a number as step.js shows it: four decimals, a true minus sign."""
    if not np.isfinite(value):
        text = "nan" if np.isnan(value) else "∞" if value > 0 else "−∞"
    elif value == int(value) and abs(value) < 1e5:
        text = str(int(value))
    elif 0.5e-4 <= abs(value) < 1e5:
        text = f"{value:.4f}"
    else:
        text = re.sub(r"e([+-])0*", r"e\1", f"{value:.2e}").replace("e+", "e")
    return text.replace("-", "−")


# Formulas


def _formula(text: str) -> str:
    """Return a formula as MathML; one that is not in the grammar as it is written.

    Those of the registry all are; an optimizer's may be several, and a learner's own op
    may say what it likes.
    """
    parts = re.split(r"(?:;|:|,(?= \w\S* ←)) ", text.rstrip("."))
    return "".join(f"<div>{_one(part)}</div>" for part in parts if part)


def _one(text: str) -> str:
    try:
        return mathml(text, block=True)
    except FormulaError:
        return f'<p class="unwritten">{escape(text)}</p>'
