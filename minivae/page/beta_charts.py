"""Charts of a sweep: lines and points with bars of one standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minivae.page.drawing import (
    LINE,
    MARKERS,
    _Box,
    _padded,
    _svg,
    _text,
    as_text,
    nice_ticks,
    spread,
)

WIDTH, HEIGHT = 340, 280
LEFT, TOP, RIGHT, BOTTOM = 46, 34, 84, 44  # room around the plotting area
Place = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points (x, y), each with its standard deviations; without a hue, a curve."""

    name: str
    hue: int | None
    places: Sequence[Place]
    spreads: Sequence[Place] = ()
    labels: Sequence[str] = ()
    joined: bool = False


def chart(
    series: Sequence[Series],
    *,
    title: str,
    x_name: str,
    y_name: str,
    text: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
) -> str:
    """Draw series on common axes, each with its name. `text` says what is seen."""
    box = _box(series)
    parts = [_text(0, 14, title, "title"), *_axes(box, x_name, y_name, x_ticks)]
    for one in series:
        parts += _curve(box, one) if one.hue is None else _points(box, one)
    parts += _names(box, series)
    return _svg(WIDTH, HEIGHT, parts, text, "chart")


def _box(series: Sequence[Series]) -> _Box:
    """The plotting area, as large as the points and their bars are."""
    xs, ys = [], [0.0]
    for one in series:
        around = one.spreads or [(0.0, 0.0)] * len(one.places)
        for (x, y), (dx, dy) in zip(one.places, around, strict=True):
            xs += [x - dx, x + dx]
            ys += [y + dy, max(0.0, y - dy)]
    x_range = _padded(min(xs), max(xs), 0.05)
    low, high = _padded(min(ys), max(ys), 0.04)
    return _Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM, x_range, (low, high))


def _axes(
    box: _Box, x_name: str, y_name: str, x_ticks: Sequence[tuple[float, str]] | None
) -> list[str]:
    if x_ticks is None:
        return box.axes(x_name, y_name)
    parts = []
    values = nice_ticks(*box.y_range)
    for value, text in zip(values, as_text(values), strict=True):
        y = box.y(value)
        parts.append(f'<path class="rule" d="M{box.left} {y:.1f}H{box.right}"/>')
        parts.append(_text(box.left - 6, y + 4, text, "tick end"))
    for value, text in x_ticks:
        x = box.x(value)
        parts.append(f'<path class="axis" d="M{x:.1f} {box.bottom}v5"/>')
        parts.append(_text(x, box.bottom + 18, text, "tick middle"))
    parts.append(f'<path class="axis" d="M{box.left} {box.bottom}H{box.right}"/>')
    middle = (box.left + box.right) / 2
    return [*parts, _text(middle, box.bottom + 37, x_name, "name middle")]


def _curve(box: _Box, one: Series) -> list[str]:
    path = "L".join(f"{box.x(x):.1f} {box.y(y):.1f}" for x, y in one.places)
    return [f'<path class="curve" d="M{path}"/>']


def _points(box: _Box, one: Series) -> list[str]:
    hue = f"k{one.hue}"
    parts = []
    if one.joined:
        path = "L".join(f"{box.x(x):.1f} {box.y(y):.1f}" for x, y in one.places)
        parts.append(f'<path class="line s{one.hue}" d="M{path}"/>')
    for i, ((x, y), (dx, dy)) in enumerate(zip(one.places, one.spreads, strict=True)):
        bars = (
            f"M{box.x(x - dx):.1f} {box.y(y):.1f}H{box.x(x + dx):.1f}"
            f"M{box.x(x):.1f} {box.y(y - dy):.1f}V{box.y(y + dy):.1f}"
        )
        parts.append(f'<path class="bars s{one.hue}" d="{bars}"/>')
        parts.append(_mark(one.hue or 0, box.x(x), box.y(y)))
        if one.labels and one.labels[i]:
            place = (box.x(x) + 6, box.y(y) - 5)
            parts.append(_text(*place, one.labels[i], f"tick halo {hue}"))
    return parts


def _mark(hue: int, x: float, y: float) -> str:
    """A marker of its own for each hue, so that it can be told without colour."""
    return f'<path class="k{hue}" d="M{x:.1f} {y:.1f}{MARKERS[hue]}"/>'


def _names(box: _Box, series: Sequence[Series]) -> list[str]:
    """Names: at the ends of lines; of points and curves, in a corner."""
    if series[-1].joined:
        ends = [box.y(one.places[-1][1]) for one in series]
        return [
            _text(box.right + 6, y + 4, one.name, f"label k{one.hue}")
            for one, y in zip(series, spread(ends, LINE), strict=True)
        ]
    parts = []
    for i, one in enumerate(series):
        y, x = TOP + 6 + i * 18, box.right - 62
        mark = (
            f'<path class="curve" d="M{x - 5} {y}h12"/>'
            if one.hue is None
            else _mark(one.hue, x + 1, y)
        )
        hue = "" if one.hue is None else f" k{one.hue}"
        parts += [mark, _text(x + 12, y + 4, one.name, f"label{hue}")]
    return parts
