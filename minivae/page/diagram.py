"""The graph of a step as inline SVG: from left to right, or from top to bottom.

The drawing is made twice, one for wide windows and one for phones; the style sheet
shows one of them. step.js moves boxes and lines when a group is folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from minivae.page.graph import Box, Extent, Graph, Layout, Pill, Point, layout

LETTER, SMALL = 7.3, 6.1  # width of a letter of a name, and of a note
HEIGHT, PILL = 38.0, 19.0
HEAD = 26.0  # room for the name of a band
LONGEST = 16  # letters of a name; longer ones are cut


@dataclass(frozen=True)
class Drawn:
    """A laid out graph with its turn: `wide` has its layers from left to right."""

    graph: Graph
    layout: Layout
    extents: dict[str, Extent]
    wide: bool

    def xy(self, point: Point) -> tuple[float, float]:
        """Return a point of the plane of the layout as x and y of the drawing."""
        main, cross = point.main, point.cross
        return (main, cross + HEAD) if self.wide else (cross + HEAD, main)


def drawn(graph: Graph, wide: bool) -> Drawn:
    """Lay out a graph for wide windows, or for phones."""
    extents = {box.id: _extent(box, wide) for box in graph.boxes}
    return Drawn(graph, layout(graph, extents), extents, wide)


def width(box: Box) -> float:
    """Return the width of a box: that of its longer line."""
    longer = max(LETTER * len(cut(box.name)), SMALL * len(cut(box.note)))
    return max(40.0, longer + 16)


def pill_width(box: Box) -> float:
    """Return the width of a box's pills: that of the longest."""
    return max((SMALL * len(cut(pill.text)) + 14 for pill in box.pills), default=0.0)


def cut(text: str) -> str:
    """Return a text that is not too long to stand in a box."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _extent(box: Box, wide: bool) -> Extent:
    pills = PILL * len(box.pills)
    across = max(width(box), pill_width(box)) / 2
    if wide:
        return Extent(across, HEIGHT / 2, HEIGHT / 2 + pills)
    right = width(box) / 2 + (pill_width(box) + 4 if box.pills else 0)
    return Extent(max(HEIGHT, pills) / 2, width(box) / 2, right)


def svg(picture: Drawn, text: str) -> str:
    """Return the drawing; `text` says what it shows to those who do not see it."""
    place = picture.layout
    length, across = place.size
    size = (length, across + HEAD + 8) if picture.wide else (across + HEAD + 8, length)
    name = "wide" if picture.wide else "tall"
    parts = [
        f'<svg class="map {name}" role="img" aria-label="{escape(text)}" '
        f'viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" '
        f'width="{size[0]:.0f}" height="{size[1]:.0f}">'
    ]
    parts += [_band(picture, *band) for band in place.bands]
    for edge, points in zip(picture.graph.edges, place.lines, strict=True):
        source, target = edge
        path = curve(_ends(picture, source, target, points), picture.wide)
        parts.append(
            f'<path class="edge" data-from="{escape(source)}" '
            f'data-to="{escape(target)}" d="{path}"/>'
        )
    parts += [_box(picture, box) for box in picture.graph.boxes]
    return "\n".join([*parts, "</svg>"])


def _band(picture: Drawn, name: str, start: float, end: float) -> str:
    across = picture.layout.size[1] + HEAD + 8
    if picture.wide:
        frame = f'x="{start:.1f}" y="0" width="{end - start:.1f}" height="{across:.0f}"'
        words = f'x="{start + 11:.1f}" y="17"'
    else:
        frame = f'x="0" y="{start:.1f}" width="{across:.0f}" height="{end - start:.1f}"'
        middle = (start + end) / 2
        words = f'x="12" y="{middle:.1f}" transform="rotate(-90 12 {middle:.1f})"'
    return (
        f'<g class="band" data-group="{escape(name)}"><rect {frame} rx="6"/>'
        f"<text {words}>{escape(name)}</text></g>"
    )


def _ends(
    picture: Drawn, source: str, target: str, points: Sequence[Point]
) -> list[tuple[float, float]]:
    """The points of a line, from the edge of one box to the edge of another."""
    first, *between, last = points
    out = HEIGHT / 2 if not picture.wide else _half(picture, source)
    into = HEIGHT / 2 if not picture.wide else _half(picture, target)
    first = first._replace(main=first.main + out)
    last = last._replace(main=last.main - into)
    return [picture.xy(point) for point in (first, *between, last)]


def _half(picture: Drawn, box_id: str) -> float:
    box = next(box for box in picture.graph.boxes if box.id == box_id)
    return width(box) / 2


def curve(points: Sequence[tuple[float, float]], wide: bool) -> str:
    """Return a path that leaves and reaches each point along the main axis."""
    x, y = points[0]
    path = f"M{x:.1f} {y:.1f}"
    for nx, ny in points[1:]:
        if wide:
            middle = (x + nx) / 2
            path += f"C{middle:.1f} {y:.1f} {middle:.1f} {ny:.1f} {nx:.1f} {ny:.1f}"
        else:
            middle = (y + ny) / 2
            path += f"C{x:.1f} {middle:.1f} {nx:.1f} {middle:.1f} {nx:.1f} {ny:.1f}"
        x, y = nx, ny
    return path


def _box(picture: Drawn, box: Box) -> str:
    x, y = picture.xy(picture.layout.places[box.id])
    half = width(box) / 2
    top = -HEIGHT / 2
    parts = [
        f'<g class="box" data-id="{escape(box.id)}" data-group="{escape(box.group)}" '
        f'transform="translate({x:.1f} {y:.1f})">',
        f"<title>{escape(box.name)}</title>",
        f'<rect x="{-half:.1f}" y="{top}" width="{2 * half:.1f}" height="{HEIGHT}" '
        'rx="5"/>',
        f'<text class="label" y="{-2 if box.note else 4.5}">{escape(cut(box.name))}'
        "</text>",
    ]
    if box.note:
        parts.append(f'<text class="op" y="12.5">{escape(cut(box.note))}</text>')
    parts.append(f'<path class="marker" d="M{-half + 1:.1f} {top - 4} l8 0 l-4 6z"/>')
    parts.append(f'<path class="grad" d="M{half - 9:.1f} {top + 3} h6l-3 5.5z"/>')
    parts += [_pill(picture, box, n, pill) for n, pill in enumerate(box.pills)]
    return "".join([*parts, "</g>"])


def _pill(picture: Drawn, box: Box, number: int, pill: Pill) -> str:
    """A leaf below its box, or to the right of it."""
    across = pill_width(box)
    if picture.wide:
        x, y = -across / 2, HEIGHT / 2 + PILL * number + 3
    else:
        x = width(box) / 2 + 4
        y = PILL * (number - len(box.pills) / 2) + 1
    again = " again" if pill.again else ""
    return (
        f'<g class="pill {escape(pill.kind)}{again}" data-id="{escape(pill.id)}" '
        f'transform="translate({x:.1f} {y:.1f})"><title>{escape(pill.text)}</title>'
        f'<rect width="{across:.1f}" height="{PILL - 3}" rx="{(PILL - 3) / 2}"/>'
        f'<text x="{across / 2:.1f}" y="{PILL - 7.5}">{escape(cut(pill.text))}</text>'
        "</g>"
    )


def as_data(picture: Drawn) -> dict[str, object]:
    """Return what step.js needs to move boxes and lines when a group is folded."""
    numbers = {box.id: number for number, box in enumerate(picture.graph.boxes)}
    lines = zip(picture.graph.edges, picture.layout.lines, strict=True)
    return {
        "bands": [[n, round(a, 1), round(b, 1)] for n, a, b in picture.layout.bands],
        "boxes": {
            box.id: [
                *(round(v, 1) for v in picture.layout.places[box.id]),
                round(width(box) / 2 if picture.wide else HEIGHT / 2, 1),
            ]
            for box in picture.graph.boxes
        },
        "lines": [
            [
                numbers[source],
                numbers[target],
                [[round(v, 1) for v in point] for point in points[1:-1]],
            ]
            for (source, target), points in lines
        ],
        "size": [round(v, 1) for v in picture.layout.size],
        "head": HEAD,
    }
