"""What every page shares: the frame, the style sheet, and how text becomes HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent


def page(title: str, body: str) -> str:
    """Return a whole HTML document around `body`, with the style sheet inside."""
    frame = Template((FOLDER / "frame.html").read_text(encoding="utf-8"))
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    return frame.substitute(title=escape(title), style=style, body=body)


def section(heading: str, *parts: str) -> str:
    """Return a section under a heading; `heading` is text, `parts` are HTML."""
    return (
        f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"
    )


def paragraph(text: str) -> str:
    """Return text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with a caption, column heads, and row heads first in each row."""
    heads = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def picture(content: bytes, kind: str, text: str, caption: str) -> str:
    """Return a figure with its data inside; `kind` is "png" or "svg+xml"."""
    data = base64.b64encode(content).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure class="{kind[:3]}">'
        f'<img src="data:image/{kind};base64,{data}" alt="{escape(text)}">'
        f"{below}</figure>"
    )
