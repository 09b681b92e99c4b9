"""Pictures of ladders: a bar a rung with the floor as a line, and the roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import drawing
from benchmarks.ladders import Entry, Ladder

if TYPE_CHECKING:
    from minivae_kernels.catalogue import RungRow

BAR, FLOOR = drawing.COLOURS["dense"], drawing.COLOURS["conv"]
PALE = "#a8bfd8"  # a thing counted, not timed
GREY = "#777777"
ROW = 0.27  # inches of a bar
MUCH = 20  # times as long: beside it a bar cannot be seen


def save(
    found: Sequence[Ladder], static: Mapping[str, RungRow], folder: Path
) -> list[Path]:
    """Draw each ladder and the roofline of all into `folder`; returns the paths."""
    paths = []
    for ladder in found:
        name = ladder.family.name.replace(".", "-")
        paths += drawing.save(partial(bars, ladder, static), folder / name)
    return paths + drawing.save(partial(roofline, found), folder / "roofline")


def bars(ladder: Ladder, static: Mapping[str, RungRow]) -> Any:
    """Draw what was timed; and of CUDA rungs that were not, the bytes an element."""
    timed = [e for e in ladder.entries if e.timing is not None]
    name, equation = ladder.family.name, ladder.family.equation
    untimed = [e for e in ladder.entries if e.timing is None and e.runs_on == "cuda"]
    counted = [e for e in untimed if f"{name} {e.name}" in static]
    rows = max(len(timed), len(counted))
    figure, axes = drawing.panels(1 + bool(counted), 4.6, 1.0 + ROW * rows)
    figure.suptitle(f"{name}:  {equation}", x=0.01, ha="left")
    _times(axes[0], ladder, timed)
    if counted:
        _bytes(axes[1], ladder, counted, static)
    return figure


def _times(axes: Any, ladder: Ladder, entries: Sequence[Entry]) -> None:
    from benchmarks.peers.ratios import short

    timings = [e.timing for e in entries if e.timing is not None]
    floors = [e.floor_ms for e in entries if e.floor_ms is not None]
    for i, (t, floor) in enumerate(zip(timings, floors, strict=True)):
        axes.barh(i, t.p50, color=BAR, height=0.62)
        spread = [[t.p50 - t.p20], [t.p80 - t.p50]]
        axes.errorbar(t.p50, i, xerr=spread, fmt="none", ecolor=GREY, elinewidth=1)
        end = max(t.p80, min(floors))
        _beside(axes, i, end, f"{short(t.p50)} ms, {floor / t.p50:.0%}")
    _floor_line(axes, min(floors), f"floor {short(min(floors))} ms, 100%")
    _widths(axes, [*floors, *(t.p20 for t in timings), *(t.p80 for t in timings)])
    _rungs(axes, entries)
    drawing.label(axes, ladder.size, "ms: p50, with p20 to p80", "")


def _bytes(
    axes: Any, ladder: Ladder, entries: Sequence[Entry], static: Mapping[str, RungRow]
) -> None:
    rows = [static[f"{ladder.family.name} {e.name}"] for e in entries]
    floor = min(row.floor for row in rows)
    moved = [row.bytes_per_element or floor for row in rows]
    for i, (row, value) in enumerate(zip(rows, moved, strict=True)):
        known = row.bytes_per_element is not None
        if known:
            axes.barh(i, value, color=PALE, height=0.62)
        _beside(axes, i, value, f"{value:.3g}" if known else "a library: not counted")
    _floor_line(axes, floor, f"floor {floor:.3g} bytes")
    _widths(axes, [*moved, floor])
    _rungs(axes, entries)
    drawing.label(axes, "on CUDA: not timed", "bytes an element, counted", "")


def _beside(axes: Any, i: int, end: float, text: str) -> None:
    """Write to the right of a bar."""
    place = {"textcoords": "offset points", "va": "center", "fontsize": 7.5}
    axes.annotate(text, (end, i), (4, 0), **place)


def _widths(axes: Any, values: Sequence[float]) -> None:
    """Leave room for words beside the bars; by powers of ten where they differ much."""
    low, high = min(values), max(values)
    if high > MUCH * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 2, high * (high / low) ** 0.45)
        drawing.ticks(axes.xaxis)
    else:
        axes.set_xlim(0, 1.4 * high)


def _floor_line(axes: Any, floor: float, name: str) -> None:
    axes.axvline(floor, color=FLOOR, lw=1.3, label=name)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.01, 0.985),
        fontsize=7.5,
        borderpad=0,
        handlelength=1,
    )


def _rungs(axes: Any, entries: Sequence[Entry]) -> None:
    names = [e.name if e.number is None else f"{e.name}  {e.number}" for e in entries]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first rung on top
    axes.tick_params(axis="y", length=0)


def roofline(found: Sequence[Ladder]) -> Any:
    """Draw each family's first and fastest rung under the machine's two rates.

    The roof is the best copy and the best product measured beside any of them.
    """
    import numpy as np

    figure, (axes,) = drawing.panels(1, 6.8, 4.6)
    copy = max(ladder.copy_gbs for ladder in found)
    product = max(ladder.sgemm_gflops for ladder in found)
    points = [point for ladder in found if (point := _points(ladder)) is not None]
    densities = [density for _, density, _, _ in points]
    ends = min([*densities, 1.0]) / 3, max([*densities, product / copy]) * 3
    x = np.geomspace(*ends, 200)
    axes.plot(x, np.minimum(x * copy, product), color=FLOOR, lw=1.3)
    left = x[len(x) // 4]
    axes.annotate(
        f"copy {copy:.3g} GB/s",
        (left, min(left * copy, product)),
        (-6, 6),
        textcoords="offset points",
        ha="right",
        color=FLOOR,
    )
    axes.annotate(
        f"sgemm {product:.3g} GFLOP/s",
        (product / copy, product * 1.12),
        ha="left",
        color=FLOOR,
    )
    for _, density, first, best in points:
        axes.plot([density] * 2, [first, best], color=GREY, lw=0.6, alpha=0.6)
        axes.plot(density, first, "o", ms=4, mfc="white", mec=BAR)
        axes.plot(density, best, "o", ms=5, color=BAR)
    axes.set(xscale="log", yscale="log", xlim=ends)
    _names(axes, points)
    for axis in (axes.xaxis, axes.yaxis):
        drawing.ticks(axis)
        axis.set_minor_formatter("")
    axes.plot([], [], "o", ms=4, mfc="white", mec=BAR, label="rung 0, the definition")
    axes.plot([], [], "o", ms=5, color=BAR, label="the fastest rung")
    axes.legend(loc="lower right")
    drawing.label(axes, "Kernels under the roof", "FLOP a byte of the floor", "GFLOP/s")
    return figure


def _points(ladder: Ladder) -> tuple[str, float, float, float] | None:
    """Return a family's name, FLOP a byte, and the rates of its first and best rung."""
    times = [e.timing.p50 for e in ladder.entries if e.timing is not None]
    if not times or not ladder.floor.flops or not ladder.floor.bytes:
        return None
    flops = ladder.floor.flops
    first, best = (flops / ms / 1e6 for ms in (times[0], min(times)))
    return ladder.family.name, flops / ladder.floor.bytes, first, best


def _names(axes: Any, points: Sequence[tuple[str, float, float, float]]) -> None:
    """Write families beside their points, those that are near each other apart."""
    from math import exp, log

    low, high = (log(value) for value in axes.get_ylim())
    step = 0.034 * (high - low)  # of a line of text
    width = 0.16 * log(axes.get_xlim()[1] / axes.get_xlim()[0])
    placed: list[tuple[float, float]] = []
    for name, density, _, best in sorted(points, key=lambda p: p[3]):
        x, y = log(density), log(best)
        for other_x, other_y in placed:
            if abs(x - other_x) < width and y < other_y + step:
                y = other_y + step
        placed.append((x, y))
        place = {"textcoords": "offset points", "va": "center", "fontsize": 7}
        axes.annotate(name, (density, exp(y)), (6, 0), **place)
