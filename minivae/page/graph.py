"""A layered layout of a graph: who stands beside whom, and where the lines run.

A box is an op or an input. What only one box uses, its parameters say, is a pill at its
side and never crosses anything. Boxes stand in layers, each after those it uses; the
groups (encoder, sampling, decoder, loss) are bands of layers, one after the other. A
line over several layers has a place in each of them, a joint. The order within the
layers comes from barycentre sweeps (Sugiyama, Tagawa & Toda 1981), the places from
least squares under the order and the distances.

`main` is the axis along which the layers follow each other, `cross` the one within.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 12
LAYER_GAP, BAND_GAP, CROSS_GAP = 22.0, 34.0, 16.0
JOINT = 4.0  # cross extent of a line that passes a layer, to each side


@dataclass(frozen=True)
class Pill:
    """A leaf beside the box that uses it; `again` if it has stood elsewhere before."""

    id: str
    text: str
    kind: str
    again: bool = False


@dataclass(frozen=True)
class Box:
    """A node of the graph with its pills."""

    id: str
    name: str
    note: str  # the second line
    group: str
    pills: tuple[Pill, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Boxes in an order in which each comes after those it uses, and the lines."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]


class Extent(NamedTuple):
    """How much room something takes from the point where lines meet it."""

    main: float  # to each side
    before: float  # cross, towards smaller
    after: float  # cross, towards larger: with its pills


class Joint(NamedTuple):
    """Where the line number `edge` passes a layer."""

    edge: int
    layer: int


Item = str | Joint


class Point(NamedTuple):
    """A place on the plane of a layout, and the band it lies in."""

    main: float
    cross: float
    band: int


@dataclass
class Layout:
    """Where everything is; `lines` has the points of each edge, in its direction."""

    places: dict[str, Point]
    lines: list[list[Point]]
    bands: list[tuple[str, float, float]]  # name, start, end along the main axis
    size: tuple[float, float]  # main, cross
    crossings: int
    layers: list[list[Item]] = field(default_factory=list)


def layout(graph: Graph, extents: Mapping[str, Extent]) -> Layout:
    """Lay a graph out; `extents` say how large each box is with its pills."""
    rank = _ranks(graph)
    layers, links = _layers(graph, rank)
    layers, crossings = _ordered(layers, links)
    cross = _cross(layers, links, extents)
    bands = _bands(graph, rank)
    main, spans, length = _main(layers, bands, extents)
    band_of = [number for number, (_, layers_) in enumerate(bands) for _ in layers_]
    places: dict[Item, Point] = {}
    for number, layer in enumerate(layers):
        for item in layer:
            places[item] = Point(main[number], cross[item], band_of[number])
    lines = []
    for e, (source, target) in enumerate(graph.edges):
        joints = [Joint(e, r) for r in range(rank[source] + 1, rank[target])]
        passed: list[Item] = [source, *joints, target]
        lines.append([places[item] for item in passed])
    return Layout(
        {box.id: places[box.id] for box in graph.boxes},
        lines,
        [(name, *span) for (name, _), span in zip(bands, spans, strict=True)],
        (length, max(cross[i] + _extent(i, extents).after for i in cross)),
        crossings,
        layers,
    )


# Layers


def _ranks(graph: Graph) -> dict[str, int]:
    """The layer of each box: after all it uses, and after all earlier groups.

    Where a group uses what comes after it, the groups are no bands: all are one.
    """
    banded = _is_banded(graph)
    sources: dict[str, list[str]] = {box.id: [] for box in graph.boxes}
    for source, target in graph.edges:
        sources[target].append(source)
    rank: dict[str, int] = {}
    for group in graph.groups if banded else [None]:
        start = 1 + max(rank.values(), default=-1)
        for box in graph.boxes:
            if group in (None, box.group):
                rank[box.id] = max([start, *(1 + rank[s] for s in sources[box.id])])
    return rank


def _is_banded(graph: Graph) -> bool:
    place = {box.id: graph.groups.index(box.group) for box in graph.boxes}
    return all(place[source] <= place[target] for source, target in graph.edges)


def _bands(graph: Graph, rank: Mapping[str, int]) -> list[tuple[str, list[int]]]:
    """The groups there are, each with its layers."""
    if not _is_banded(graph):
        return [("", list(range(1 + max(rank.values()))))]
    bands = []
    for group in graph.groups:
        mine = [rank[box.id] for box in graph.boxes if box.group == group]
        if mine:
            bands.append((group, list(range(min(mine), max(mine) + 1))))
    return bands


def _layers(
    graph: Graph, rank: Mapping[str, int]
) -> tuple[list[list[Item]], list[list[tuple[Item, Item]]]]:
    """The items of each layer, joints included, and the links to the next layer."""
    layers: list[list[Item]] = [[] for _ in range(1 + max(rank.values()))]
    for box in graph.boxes:
        layers[rank[box.id]].append(box.id)
    links: list[list[tuple[Item, Item]]] = [[] for _ in layers[1:]]
    for number, (source, target) in enumerate(graph.edges):
        joints = [Joint(number, r) for r in range(rank[source] + 1, rank[target])]
        for joint in joints:
            layers[joint.layer].append(joint)
        passed: list[Item] = [source, *joints, target]
        for step, link in enumerate(pairwise(passed)):
            links[rank[source] + step].append(link)
    return layers, links


# The order within the layers


def _ordered(
    layers: list[list[Item]], links: list[list[tuple[Item, Item]]]
) -> tuple[list[list[Item]], int]:
    """Sweep forth and back, each layer in the order of its neighbours' means."""
    best, fewest = [list(layer) for layer in layers], crossings(layers, links)
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        numbers = range(1, len(layers)) if forth else range(len(layers) - 2, -1, -1)
        for n in numbers:
            towards = links[n - 1] if forth else links[n]
            fixed = layers[n - 1] if forth else layers[n + 1]
            place = {item: i for i, item in enumerate(fixed)}
            near = _neighbours(towards, forth)
            own = {item: i for i, item in enumerate(layers[n])}
            layers[n] = sorted(
                layers[n],
                key=lambda item: _mean(
                    [place[other] for other in near.get(item, [])], own[item]
                ),
            )
        if (found := crossings(layers, links)) < fewest:
            best, fewest = [list(layer) for layer in layers], found
    return best, fewest


def _neighbours(
    links: Iterable[tuple[Item, Item]], before: bool
) -> dict[Item, list[Item]]:
    """For each item of a layer, those of the layer before it, or after it."""
    near: dict[Item, list[Item]] = {}
    for source, target in links:
        item, other = (target, source) if before else (source, target)
        near.setdefault(item, []).append(other)
    return near


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def crossings(
    layers: Sequence[Sequence[Item]], links: Sequence[Sequence[tuple[Item, Item]]]
) -> int:
    """How many pairs of lines cross between the layers."""
    total = 0
    for (upper, lower), between in zip(pairwise(layers), links, strict=True):
        above = {item: i for i, item in enumerate(upper)}
        below = {item: i for i, item in enumerate(lower)}
        ends = [(above[source], below[target]) for source, target in between]
        for i, (a, b) in enumerate(ends):
            total += sum((a - c) * (b - d) < 0 for c, d in ends[:i])
    return total


# Places


def _extent(item: Item, extents: Mapping[str, Extent]) -> Extent:
    return Extent(0, JOINT, JOINT) if isinstance(item, Joint) else extents[item]


def _cross(
    layers: Sequence[Sequence[Item]],
    links: Sequence[Sequence[tuple[Item, Item]]],
    extents: Mapping[str, Extent],
) -> dict[Item, float]:
    """Places along the cross axis: near the neighbours, in order, apart."""
    place: dict[Item, float] = {}
    for layer in layers:
        place.update(_apart(layer, [0.0] * len(layer), extents))
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        numbers = range(len(layers)) if forth else range(len(layers) - 1, -1, -1)
        for n in numbers:
            near: dict[Item, list[Item]] = {}
            if n > 0:
                near = _neighbours(links[n - 1], before=True)
            if n < len(links) and (not forth or n == 0):
                for item, others in _neighbours(links[n], before=False).items():
                    near[item] = near.get(item, []) + others
            wanted = [
                _mean([place[other] for other in near.get(item, [])], place[item])
                for item in layers[n]
            ]
            place.update(_apart(layers[n], wanted, extents))
    first = min(place[i] - _extent(i, extents).before for i in place)
    return {item: at - first for item, at in place.items()}


def _apart(
    layer: Sequence[Item], wanted: Sequence[float], extents: Mapping[str, Extent]
) -> dict[Item, float]:
    """The places nearest to the wanted ones (least squares), in order and apart.

    Less the room of all before it, the place of each is at least that of the one
    before: an isotonic regression, by pooling neighbours that are out of order.
    """
    room = [0.0]
    for item, following in pairwise(layer):
        after = _extent(item, extents).after
        room.append(room[-1] + after + CROSS_GAP + _extent(following, extents).before)
    pools: list[tuple[float, int]] = []  # mean, how many
    for want, used in zip(wanted, room, strict=True):
        mean, count = want - used, 1
        while pools and pools[-1][0] > mean:
            other, many = pools.pop()
            mean = (mean * count + other * many) / (count + many)
            count += many
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return {item: at + used for item, at, used in zip(layer, flat, room, strict=True)}


def _main(
    layers: Sequence[Sequence[Item]],
    bands: Sequence[tuple[str, list[int]]],
    extents: Mapping[str, Extent],
) -> tuple[list[float], list[tuple[float, float]], float]:
    """Places of the layers along the main axis, the span of each band, the length."""
    half = [max(_extent(item, extents).main for item in layer) for layer in layers]
    places, spans, at = [0.0] * len(layers), [], 0.0
    for _, numbers in bands:
        start, at = at, at + LAYER_GAP / 2
        for n in numbers:
            places[n] = at + half[n]
            at += 2 * half[n] + LAYER_GAP
        at -= LAYER_GAP / 2
        spans.append((start, at))
        at += BAND_GAP - LAYER_GAP
    return places, spans, at - BAND_GAP + LAYER_GAP
