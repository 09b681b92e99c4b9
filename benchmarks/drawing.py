"""Pictures for the pages: the same colours everywhere, as PNG and as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minivae.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = Path(__file__).with_name("figures")
COLOURS = {
    "dense": "#4477aa",
    "conv": "#cc5544",
    "train": "#4477aa",
    "validation": "#cc5544",
    "PCA": "#777777",
    "linear AE": "#222222",
    "AE": "#4477aa",
}
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "minivae",  # the same picture has the same bytes
}


def panels(count: int, width: float = 3.2, height: float = 2.8) -> tuple[Figure, Any]:
    """Return a figure of so many axes in a row, sizes in inches each."""
    from matplotlib.figure import Figure

    figure = Figure((count * width, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Write what is drawn over axes."""
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def ticks(axis: Any, values: Sequence[float] | None = None) -> None:
    """Write whole numbers at the ticks, 10k for 10,000; at `values`, if given."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    if values is not None:
        axis.set_ticks(values)
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda v, _: f"{v / 1e3:g}k" if v >= 1e4 else f"{v:g}")
    )


def signed(value: float) -> str:
    """Return a number with two decimals and its sign."""
    return f"{value:+.2f}".replace("-", "−")


def save(
    draw: Callable[[], Figure], stem: Path, suffixes: Sequence[str] = (".png", ".svg")
) -> list[Path]:
    """Draw, and write `stem`.png and `stem`.svg; returns their paths."""
    import matplotlib as mpl

    paths = [stem.with_suffix(suffix) for suffix in suffixes]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(STYLE):
            figure = draw()
            for path in paths:
                dated = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
                figure.savefig(path, dpi=150, **dated)
    except OSError as error:
        raise UserError(f"cannot write to {stem.parent}: {error.strerror}") from error
    return paths
