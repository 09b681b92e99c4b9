"""Mathematics of the site: LaTeX to native MathML, at build time; no script needed.

math-core keeps the LaTeX as an annotation and raises for a command that it does not
know, so that a typing error ends the build. Its text is put into one line: a browser
takes the line ends in it for space.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from math_core import LatexToMathML
from sphinx.application import Sphinx

CONVERTER = LatexToMathML(annotation=True)


def mathml(latex: str, block: bool) -> str:
    """Return the MathML of a formula; raises `LatexError` for a wrong one."""
    text = CONVERTER.convert_with_local_state(latex, displaystyle=block)
    return " ".join(text.split("\n"))


def inline(translator: Any, node: Any) -> None:
    """Write a formula within a line."""
    translator.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def block(translator: Any, node: Any) -> None:
    """Write a formula that stands by itself; a wide one scrolls."""
    written = mathml(node.astext(), block=True)
    translator.body.append(f'<div class="formula" tabindex="0">{written}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
