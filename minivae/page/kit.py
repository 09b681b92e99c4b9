"""What every page shares: the frame, the style sheet, and how text becomes HTML.

A page is one file: its style, its script, its drawings (inline SVG) and its pictures
(PNG) are inside. Its policy forbids to fetch anything, and to run anything but that one
script, which it knows by its SHA-256. Colours are the style sheet's, so that a page and
its drawings follow the reader's light or dark.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

FOLDER = Path(__file__).parent
STYLES = ("style.css", "figures.css")
# What a page without a script, and a page with a player, promise in their footer
QUIET = "it fetches nothing and runs nothing"
BY_KEYS = (
    "it fetches nothing. ← and → move a step, Home and End to the first and the last"
)
POLICY = "default-src 'none'; img-src data:; style-src {styles}"
SCRIPTED = "; script-src {scripts}; base-uri 'none'; form-action 'none'"


def page(
    title: str,
    body: str,
    styles: Sequence[str] = STYLES,
    scripts: Sequence[str] = (),
    data: Any = None,
) -> str:
    """Return a whole HTML document around `body`, with the style sheets inside.

    `scripts` are files of this folder that become one module, in their order; what
    `data` holds they find, as JSON, in the element `data`. A page with scripts carries
    no `style` attributes: its policy knows the style sheet by its hash too.
    """
    frame = Template((FOLDER / "frame.html").read_text(encoding="utf-8"))
    style = _joined(styles)
    policy, script = POLICY.format(styles="'unsafe-inline'"), ""
    if scripts:
        code = _joined(scripts)
        policy = (POLICY + SCRIPTED).format(styles=_hash(style), scripts=_hash(code))
        script = f'<script type="module">{code}</script>\n'
        if data is not None:
            script = _island(data) + script
    return frame.substitute(
        title=escape(title), policy=policy, style=style, body=body, script=script
    )


def _joined(names: Sequence[str]) -> str:
    """Return files of this folder in one, without indentation and comments."""
    files = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
    told = re.sub(r"^ *(/\*.*?\*/|//.*?)$", "", files, flags=re.DOTALL | re.MULTILINE)
    lines = (line.strip() for line in told.splitlines())
    return "\n" + "\n".join(line for line in lines if line)


def _hash(text: str) -> str:
    """Return how a policy names an inline style or script."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _island(data: Any) -> str:
    """Return JSON in a script element, which no text within can close."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f'<script type="application/json" id="data">{text}</script>\n'


def player(phases: Sequence[tuple[str, int]]) -> str:
    """Return the controls of player.js; `phases` are (name, number of steps).

    They stay hidden where no script runs.
    """
    total = sum(count for _, count in phases)
    buttons = "".join(
        f'<button type="button" data-phase="{escape(name)}" data-count="{count}">'
        f"{escape(name)} <small>{count}</small></button>"
        for name, count in phases
    )
    return f"""<nav class="player" aria-label="Steps" hidden>
<div class="go">
<button type="button" data-go="-1">
<span class="arrow" aria-hidden="true">←</span> <span>Previous</span></button>
<button type="button" data-go="1">
<span>Next</span> <span class="arrow" aria-hidden="true">→</span></button>
</div>
<div class="timeline">
<input type="range" min="1" max="{total}" value="1" step="1" aria-label="Step">
<div class="phases" role="group" aria-label="Phases">{buttons}</div>
</div>
<p class="said" role="status" aria-live="polite"></p>
</nav>"""


def footer(promise: str) -> str:
    """Say who made the page, and what it promises: text that follows "one file:"."""
    version = importlib.metadata.version("minivae")
    told = f"Made by minivae {version}. This page is one file: {promise}."
    return f"<footer>{escape(told)}</footer>"


def section(heading: str, *parts: str) -> str:
    """Return a section under a heading; `heading` is text, `parts` are HTML."""
    return (
        f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"
    )


def group(name: str, *parts: str) -> str:
    """Return HTML parts that the style sheet lays out together, by a class name."""
    return f'<div class="{name}">\n' + "\n".join(parts) + "\n</div>"


def paragraph(text: str, name: str = "") -> str:
    """Return text as a paragraph, with a class name if it has one."""
    return f'<p class="{name}">{escape(text)}</p>' if name else f"<p>{escape(text)}</p>"


def details(summary: str, *parts: str) -> str:
    """Return HTML parts that a reader opens."""
    return (
        f"<details><summary>{escape(summary)}</summary>\n"
        + "\n".join(parts)
        + "\n</details>"
    )


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], name: str = ""
) -> str:
    """Return a table with a caption, column heads, and row heads first in each row."""
    body = (
        _row(first, *(f"<td>{escape(cell)}</td>" for cell in rest))
        for first, *rest in rows
    )
    return _table(caption, head, body, name)


def bars(
    caption: str, head: Sequence[str], rows: Sequence[tuple[str, str, float]]
) -> str:
    """Return a table of a name, a number as text, and a bar of a share in [0, 1]."""
    body = (
        _row(
            name,
            f'<td><span class="number">{escape(number)}</span>'
            f'<svg class="bar" aria-hidden="true" width="{60 * share:.2f}%">'
            '<rect width="100%" height="100%"/></svg></td>',
        )
        for name, number, share in rows
    )
    return _table(caption, head, body, "bars")


def _row(name: str, *cells: str) -> str:
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'


def _table(caption: str, head: Sequence[str], rows: Iterable[str], name: str) -> str:
    """A table that scrolls within the page where it is too wide, by keys too."""
    heads = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = "\n".join(rows)
    label = escape(caption)
    wide = len(head) > 3
    reached = f' tabindex="0" role="region" aria-label="{label}"' if wide else ""
    return (
        f'<div class="scroll"{reached}>'
        f'<table class="{name}"><caption>{label}</caption>'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def figure(content: str, caption: str, name: str = "") -> str:
    """Return a figure; `content` is HTML, `caption` text. The page numbers figures."""
    return (
        f'<figure class="{name}">\n{content}\n'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def image(png: bytes, text: str, size: tuple[int, int], scale: int = 1) -> str:
    """Return a PNG, shown `scale` times its (width, height); `text` describes it."""
    data = base64.b64encode(png).decode("ascii")
    width, height = size
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(text)}" '
        f'width="{width * scale}" height="{height * scale}">'
    )
