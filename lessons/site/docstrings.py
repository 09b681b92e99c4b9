"""Docstrings of the package as reST: they are plain text, with formulas in Unicode.

A paragraph becomes a paragraph, with `names` in backticks as code and everything that
reST would take for markup escaped. What is indented (formulas, tables, lists of
arguments) is shown as it stands, letter under letter.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

MARKUP = re.compile(r"([\\*_|<>])")


def as_rest(lines: list[str]) -> list[str]:
    """Return a plain docstring's lines as reST."""
    made: list[str] = []
    as_it_stands = False
    for line in lines:
        indented = line.startswith(" ")
        if line and indented and not as_it_stands:
            made += ["", "::", ""]
        elif line and not indented and as_it_stands:
            made += [""]
        if line:
            as_it_stands = indented
        made.append(line if indented or not line else escaped(line))
    return made


def escaped(line: str) -> str:
    """Escape markup outside backticks; one pair of backticks becomes code."""
    parts = re.split(r"`+([^`]*)`+", line)
    for i, part in enumerate(parts):
        plain = MARKUP.sub(r"\\\1", part).replace("`", r"\`")
        parts[i] = f"``{part.strip()}``" if i % 2 and part.strip() else plain
    text = r"\ ".join(parts) if len(parts) > 1 else parts[0]
    return re.sub(r"^(\s*)([-+•]|\d+[.)]|[A-Za-z][.)])(?=\s|$)", r"\1\\\2", text)


def replace(app: Any, what: str, name: str, obj: Any, options: Any, lines: Any) -> None:
    """Put reST in place of a docstring's lines."""
    lines[:] = as_rest(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to autodoc."""
    app.connect("autodoc-process-docstring", replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
