"""Figures of a lesson: files when it is run, pictures in the page that is built.

    drawn, (left, right) = kit.canvas(2)
    left.plot(...)
    kit.figure(drawn, "l03_error", "Two curves by step size: ...")

One look for all: thin axes, colours that the colour-blind can tell apart (P. Tol 2021,
"bright"), line styles that differ too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lessons.kit.exercises import ROOT

PICTURES = ROOT / "out"
DOTS_PER_INCH = 150
WIDTH, HEIGHT = 6.4, 3.2  # inches, of one pair of axes and of each row
COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#BBBBBB")
STYLES = ("-", "--", ":", "-.", "-", "--")
LOOK: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#333333",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "image.cmap": "gray",
}


def canvas(columns: int = 1, rows: int = 1, height: float = HEIGHT) -> tuple[Any, Any]:
    """Return a figure and its axes, alone or as an array, in the look of the course."""
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    cycle = cycler(color=COLOURS) + cycler(linestyle=STYLES)
    mpl.rcParams.update(LOOK | {"axes.prop_cycle": cycle})
    width = WIDTH if columns == 1 else 3.4 * columns
    drawn = Figure((width, height * rows), layout="constrained")
    return drawn, drawn.subplots(rows, columns)


def tiles(axes: Any, images: Any, columns: int) -> None:
    """Show images (N, 1, H, W) of 0 to 1 side by side, row by row, on one pair of axes.

    A thin line of paper lies between them; what is outside 0 to 1 is cut off.
    """
    import numpy as np

    N, _, H, W = images.shape
    rows = -(-N // columns)
    sheet = np.ones((rows * (H + 1) - 1, columns * (W + 1) - 1))
    for i, image in enumerate(images):
        top, left = i // columns * (H + 1), i % columns * (W + 1)
        sheet[top : top + H, left : left + W] = image[0]
    axes.imshow(sheet, vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def figure(drawn: Any, name: str, alt: str) -> Any:
    """Keep a figure: as `out/NAME.png`, or as the cell's output. Call it last.

    `alt` says in words what there is to see, for who does not see it. It stands in the
    picture itself (PNG's Description), where the site finds it.
    """
    options: Any = {"dpi": DOTS_PER_INCH, "metadata": {"Description": alt}}
    if "ipykernel" in sys.modules:
        from io import BytesIO

        from IPython import display

        picture: Any = display.Image
        drawn.savefig(file := BytesIO(), format="png", **options)
        return picture(file.getvalue(), alt=alt)
    drawn.savefig(_path(f"{name}.png"), **options)
    return None


def page(html: str, name: str) -> Any:
    """Write a page, of a recorded step for example, as `out/NAME.html`.

    In a notebook it is written beside that, and the cell's output is a link to it.
    """
    if "ipykernel" in sys.modules:
        from IPython import display

        link: Any = display.HTML
        Path(f"{name}.html").write_text(html, encoding="utf-8")
        return link(f'<a href="{name}.html">{name}.html</a>, a page of its own')
    _path(f"{name}.html").write_text(html, encoding="utf-8")
    return None


def _path(name: str) -> Path:
    """Return where a file goes, and say so."""
    PICTURES.mkdir(exist_ok=True)
    path, here = PICTURES / name, Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    print(f"{'page' if name.endswith('html') else 'figure'}: {shown}")
    return path
