"""What a notebook shows: a tensor as a table without a script, a recording as its page.

A table has a caption, column and row headers, and every number in it as text, so that
it reads the same to eyes and ears, in a live notebook and in an exported page. Where
HTML is not shown there is `repr`.
"""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from minivae.backend import Array, to_numpy
from minivae.page.step import step_page
from minivae.study import Recording, as_text
from minivae.tensor import Tensor

HEIGHT = 760  # pixels of a frame
ROWS, COLUMNS = 10, 8  # of an array that are shown; its last axis is the columns


def tensor_html(tensor: Tensor) -> str:
    """Return a tensor as a table: what made it, its shape and dtype, its numbers."""
    origin = tensor.node.op.name if tensor.node else "leaf"
    name = tensor.name or origin
    made = f", by {origin}: {tensor.node.op.formula}" if tensor.node else ""
    parts = [f"{name} {tensor.shape}, {tensor.dtype}{made}"]
    html = array_html(to_numpy(tensor.data), parts[0])
    if tensor.grad is not None:
        html += array_html(to_numpy(tensor.grad), f"gradient of {name}")
    return html


def array_html(array: Array, caption: str) -> str:
    """Return an array as an accessible table, its head rows if it is large."""
    lead, columns = array.shape[:-1], array.shape[-1] if array.ndim else 1
    rows = array.reshape(-1, columns) if array.size else np.empty((0, columns))
    shown = rows[:ROWS, :COLUMNS]
    left_out = rows.size - shown.size
    if left_out:
        caption += f"; {left_out} of {rows.size} numbers left out, "
        caption += f"min {array.min():.4g}, mean {array.mean():.4g}, "
        caption += f"max {array.max():.4g}"
    heads = "".join(f'<th scope="col">{j}</th>' for j in range(shown.shape[1]))
    body = ""
    for i, row in enumerate(shown):
        index = np.unravel_index(i, lead) if lead else ()
        label = ", ".join(str(int(k)) for k in index) or "value"
        cells = "".join(f"<td>{_number(x)}</td>" for x in row)
        body += f'<tr><th scope="row">{label}</th>{cells}</tr>'
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f'<thead><tr><th scope="col">index</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _number(x: Any) -> str:
    return f"{x:.4g}" if np.issubdtype(type(x), np.floating) else escape(str(x))


class Shown:
    """What `recording.show()` returns: a notebook shows the page, others the text.

    The page stands in a frame of its own, so that its style and its script stay there.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def _repr_html_(self) -> str:
        page = escape(step_page(self.recording))
        title = escape(f"One training step: {self.recording.title}")
        return (
            f'<iframe srcdoc="{page}" title="{title}" sandbox="allow-scripts" '
            f'style="width:100%;height:{HEIGHT}px;border:0"></iframe>'
        )

    def __repr__(self) -> str:
        return as_text(self.recording)
