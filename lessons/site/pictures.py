"""Every picture of the site says what it shows: it has a text, or the build ends.

A text that is given where the picture is included stands. The figures of the lessons
come out of their code, and bring their own: PNG's Description, from `kit.figure`.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util import logging


def describe(app: Sphinx, document: nodes.document) -> None:
    """Give each picture of a page its words; one without is a warning."""
    for picture in document.findall(nodes.image):
        if not picture.get("alt"):
            picture["alt"] = description(Path(app.srcdir, picture["uri"]))
        if not picture["alt"]:
            words = "a picture without alternative text: %s"
            logging.getLogger(__name__).warning(words, picture["uri"], location=picture)


def description(path: Path) -> str:
    """Return what a PNG says of itself, or nothing."""
    with Image.open(path) as picture:
        return str(picture.info.get("Description", ""))


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to pages that were read."""
    app.connect("doctree-read", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
