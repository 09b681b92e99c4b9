"""Drawings as inline SVG: lines over epochs, points in a plane.

Coordinates are in the drawing's own units, about a pixel. Colours, line styles and
letter sizes are classes of figures.css. A drawing is one picture to a screen reader:
its text says what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from minivae.backend import Array

HUES = 10  # classes k0 ... k9 of figures.css
LABELLED = 20  # more classes than these are not named within the drawing
SAME = 1e-9  # relative: values that differ by less are drawn as one
LINE = 15.0  # height of a line of text
NAME_LINE, NAME_LETTER = 19.0, 10.0  # of a class, as large as it gets on a phone

# Each marker is drawn around its point; numbers are steps from corner to corner.
CIRCLE = "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z"
MARKERS = (
    CIRCLE,
    "m-2.7-2.7h5.4v5.4h-5.4z",  # square
    "m0-3.6l3.5 6.4h-7z",  # triangle
    "m0-4l3.2 4l-3.2 4l-3.2-4z",  # diamond
    "m0 3.6l3.5-6.4h-7z",  # triangle, point down
    "m-1.1-3.6h2.2v2.5h2.5v2.2h-2.5v2.5h-2.2v-2.5h-2.5v-2.2h2.5z",  # plus
    "m0-1.6l2.2-2.2l1.6 1.6l-2.2 2.2l2.2 2.2l-1.6 1.6l-2.2-2.2l-2.2 2.2l-1.6-1.6"
    "l2.2-2.2l-2.2-2.2l1.6-1.6z",  # cross
    "m-4.2-1.3h8.4v2.6h-8.4z",  # lying bar
    "m-1.3-4.2h2.6v8.4h-2.6z",  # standing bar
    "m-3.2-3.2h6.4l-6.4 6.4h6.4z",  # hourglass
)


@dataclass(frozen=True)
class Line:
    """A named line; `name` is also its class in figures.css."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class _Box:
    """The plotting area of a drawing, and the data's range across it."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (self.right - self.left) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (self.bottom - self.top) * (value - low) / (high - low)

    def axes(self, x_name: str, y_name: str = "", whole: bool = False) -> list[str]:
        """Rules and numbers along y, ticks and numbers along x, and the names."""
        parts = []
        ticks = nice_ticks(*self.y_range)
        for value, text in zip(ticks, as_text(ticks), strict=True):
            y = self.y(value)
            parts.append(
                f'<path class="rule" d="M{self.left:.1f} {y:.1f}H{self.right}"/>'
            )
            parts.append(_text(self.left - 6, y + 4, text, "tick end"))
        ticks = nice_ticks(*self.x_range, whole=whole)
        for value, text in zip(ticks, as_text(ticks), strict=True):
            x = self.x(value)
            parts.append(f'<path class="axis" d="M{x:.1f} {self.bottom}v5"/>')
            parts.append(_text(x, self.bottom + 18, text, "tick middle"))
        parts.append(
            f'<path class="axis" d="M{self.left} {self.bottom}H{self.right}"/>'
        )
        middle = (self.left + self.right) / 2
        parts.append(_text(middle, self.bottom + 37, x_name, "name middle"))
        if y_name:
            x, y = self.left - 36, (self.top + self.bottom) / 2
            turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"'
            parts.append(_text(x, y, y_name, "name middle", turn))
        return parts


def line_chart(
    epochs: Sequence[int],
    lines: Sequence[Line],
    *,
    title: str,
    best: int,
    text: str,
) -> str:
    """Draw lines over the epochs, named at their ends, with one epoch marked."""
    width, height = 340, 236
    values = [value for line in lines for value in line.values]
    y_range = _padded(min(values), max(values), 0.05)
    x_range = (epochs[0], epochs[-1]) if len(epochs) > 1 else (0, 2 * epochs[0])
    box = _Box(46, 46, width - 72, height - 40, x_range, y_range)
    x = box.x(best)
    parts = [_text(0, 14, title, "title"), *box.axes("epoch", whole=True)]
    parts.append(f'<path class="best" d="M{x:.1f} {box.top - 4}V{box.bottom}"/>')
    side = "end" if x > (box.left + box.right) / 2 else "start"
    parts.append(_text(x, box.top - 9, f"best: epoch {best}", f"tick {side}"))
    ends = []
    for line in lines:
        points = [
            f"{box.x(epoch):.1f} {box.y(value):.1f}"
            for epoch, value in zip(epochs, line.values, strict=True)
        ]
        parts.append(f'<path class="line {line.name}" d="M{"L".join(points)}"/>')
        at = f'cx="{x:.1f}" cy="{box.y(line.values[list(epochs).index(best)]):.1f}"'
        parts.append(f'<circle class="dot {line.name}" {at} r="3"/>')
        ends.append(box.y(line.values[-1]))
    for line, y in zip(lines, spread(ends, LINE), strict=True):
        parts.append(_text(box.right + 6, y + 4, line.name, f"{line.name} label"))
    return _svg(width, height, parts, text, "chart")


def scatter(
    points: Array,
    groups: Array,
    names: Sequence[str],
    *,
    x_name: str,
    y_name: str,
    text: str,
    prior: bool,
) -> str:
    """Draw points (N, 2) on equal scales, by group: its colour, its marker, its name.

    `groups` (N,) are numbers into `names`. With `prior`, circles show one and two
    standard deviations of N(0, I).
    """
    width, height = 560, 500
    left, top, right, bottom = 56, 10, width - 10, height - 44
    low, high = points.min(axis=0), points.max(axis=0)
    if prior:
        low, high = np.minimum(low, -2.1), np.maximum(high, 2.1)
    unit = 1.04 * max(
        (high[0] - low[0]) / (right - left), (high[1] - low[1]) / (bottom - top)
    )
    unit = unit or 1 / (right - left)
    middle = (low + high) / 2
    half = unit * np.array([right - left, bottom - top]) / 2
    ranges = [(float(m - h), float(m + h)) for m, h in zip(middle, half, strict=True)]
    box = _Box(left, top, right, bottom, ranges[0], ranges[1])
    parts = box.axes(x_name, y_name)
    if prior:
        for deviations in (1, 2):
            r = deviations / unit
            parts.append(
                f'<circle class="prior" cx="{box.x(0):.1f}" cy="{box.y(0):.1f}" '
                f'r="{r:.1f}"/>'
            )
    places = np.array([(box.x(a), box.y(b)) for a, b in points.tolist()])
    medians = []
    for i in range(len(names)):
        own = places[groups == i]
        marks = "".join(f"M{x:.1f} {y:.1f}{_marker(i)}" for x, y in own.tolist())
        parts.append(f'<path class="points k{i % HUES}" d="{marks}"/>')
        medians.append(np.median(own, axis=0))
    if 1 < len(names) <= LABELLED:
        for i, (x, y) in enumerate(_apart(medians, names)):
            parts.append(_text(x, y + 4, names[i], f"class middle halo k{i % HUES}"))
    return _svg(width, height, parts, text, "scatter")


def legend(names: Sequence[str]) -> str:
    """Return the markers of a scatter with their names, as a list."""
    items = (
        '<li><svg viewBox="-6 -6 12 12" width="14" height="14" aria-hidden="true">'
        f'<path class="points k{i % HUES}" d="M0 0{_marker(i)}"/></svg>'
        f"{escape(name)}</li>"
        for i, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def nice_ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return round numbers from `low` to `high`, three to eight of them.

    With `whole`, integers: fewer, where there are not so many.
    """
    largest = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(largest))
    step = max(m * power for m in (1, 2, 5) if m * power <= largest * (1 + 1e-9))
    if whole:
        step = max(1.0, round(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def as_text(ticks: Sequence[float]) -> list[str]:
    """Return ticks as text, all with the decimals that their distance needs."""
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick + 0.0:.{decimals}f}".replace("-", "−") for tick in ticks]


def spread(places: Sequence[float], least: float) -> list[float]:
    """Move places as little as it takes for all to be `least` apart, order kept."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for a, b in pairwise(order):
        moved[b] = max(moved[b], moved[a] + least)
    shift = sum(m - p for m, p in zip(moved, places, strict=True)) / len(places)
    return [m - shift for m in moved]


def _apart(medians: Sequence[Array], names: Sequence[str]) -> list[tuple[float, float]]:
    """Return places for names near their medians, moved up or down not to overlap."""
    places = [(float(x), float(y)) for x, y in medians]
    widths = [NAME_LETTER * len(name) / 2 + 4 for name in names]
    for _ in range(200):
        clashes = 0
        for i, (xi, yi) in enumerate(places):
            for j, (xj, yj) in enumerate(places[:i]):
                if abs(xi - xj) >= widths[i] + widths[j] or abs(yi - yj) >= NAME_LINE:
                    continue
                clashes += 1
                push = (NAME_LINE - abs(yi - yj)) / 2 + 0.1
                push = push if yi >= yj else -push
                places[i], places[j] = (xi, yi + push), (xj, yj - push)
                yi += push
        if not clashes:
            break
    return places


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    size = max(abs(low), abs(high))
    if high - low <= SAME * size:  # one value, or as good as one
        return low - (0.05 * size or 1.0), high + (0.05 * size or 1.0)
    pad = share * (high - low)
    return low - pad, high + pad


def _marker(group: int) -> str:
    return MARKERS[(group + group // HUES) % len(MARKERS)]


def _text(x: float, y: float, text: str, name: str, more: str = "") -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}"{more}>{escape(text)}</text>'


def _svg(width: int, height: int, parts: Sequence[str], text: str, name: str) -> str:
    label = escape(text)
    return (
        f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )
