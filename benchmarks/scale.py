"""`python -m benchmarks scale`: how time and memory grow with what is asked for.

sizes   a step's time should be proportional to its batch, an epoch's to its images
runs    a sweep's runs to its cores (runs.py)
data    and the memory of a set that is read by blocks not depend on it (stored.py)
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.drawing import FIGURES
from benchmarks.report import PAGE, Row, Sheet
from minivae.errors import UserError

MODELS = {"mlp": "dense", "conv28": "conv"}  # and the architectures they are drawn as
BATCHES = (32, 64, 128, 256, 512, 1024, 2048)
IMAGES = (1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000)
SCALING = Path(__file__).with_name("SCALING.md")
PAGES = {  # by part
    "sizes": ("scale", PAGE),
    "runs": ("scale runs", SCALING),
    "data": ("scale data", SCALING),
}
DRAWN_MB = 28 * 28 * 4 / 1e6  # of one image, as it is drawn for an epoch


@dataclass
class Series:
    """What was measured of one model at growing sizes."""

    what: str  # "step" or "epoch"
    model: str
    sizes: Sequence[int]
    rounds: list[list[dict[str, Any]]] = field(default_factory=list)

    def calls(self, number: int) -> list[float]:
        """Return the seconds of every call at a size."""
        return [s for points in self.rounds for s in points[number]["seconds"]]

    def seconds(self) -> list[float]:
        """Return the median time at each size."""
        return [statistics.median(self.calls(i)) for i in range(len(self.sizes))]

    def peaks(self) -> list[float]:
        """Return the median peak of the processes, in MB; NaN where none was told."""
        columns = zip(*self.rounds, strict=True)
        told = ([p["peak_mb"] for p in c if p["peak_mb"] is not None] for c in columns)
        return [statistics.median(peaks) if peaks else np.nan for peaks in told]

    def above_images(self) -> list[float]:
        """Return the peaks without the images that an epoch has drawn."""
        pairs = zip(self.peaks(), self.sizes, strict=True)
        return [peak - size * DRAWN_MB for peak, size in pairs]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent a of y = c xᵃ, fitted through the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def scale(
    rounds: int = 3,
    parts: tuple[str, ...] = tuple(PAGES),
    batches: tuple[int, ...] = BATCHES,
    images: tuple[int, ...] = IMAGES,
    out: Path = FIGURES,
    write: bool = False,
    json: bool = False,
) -> None:
    """Measure how steps, epochs, sweeps and memory grow; draw steps and epochs.

    Args:
        rounds: processes at each size
        parts: sizes (of batches, of epochs), runs (of a sweep), data (memory by size)
        batches: images in a step
        images: images in an epoch
        out: folder for scale.png and scale.svg
        write: also put the tables into benchmarks/README.md and SCALING.md
        json: print one JSON document and nothing else
    """
    from rich.console import Console

    from benchmarks import report

    unknown = [name for name in parts if name not in PAGES]
    if unknown or not parts:
        raise UserError(f"parts are {', '.join(PAGES)}, not {' '.join(unknown)}")
    for name, sizes, least in (("batches", batches, 1), ("images", images, 128)):
        if len(sizes) < 2 or min(sizes) < least:
            raise UserError(f"{name} must be two sizes or more, of {least} at least")
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    for name in parts if write else ():  # not after minutes of measuring
        report.split_page(*PAGES[name])
    found: list[Measured] = []
    with Console(stderr=True).status(f"measuring, some {3 * len(parts) * rounds} min"):
        for name in parts:
            match name:
                case "sizes":
                    found.append(sizes_of(rounds, batches, images, out))
                case "runs":
                    found.append(runs_of(rounds))
                case "data":
                    found.append(data_of(rounds))
            if write:
                report.write_page(PAGES[name][0], found[-1].sheets, PAGES[name][1])
    sheets = [sheet for one in found for sheet in one.sheets]
    rows = [row for one in found for row in one.rows]
    if json:
        told = {name: value for one in found for name, value in one.told.items()}
        print(report.document(rows, **told))
    else:
        report.print_sheets(sheets)
        if "sizes" in parts:
            print(f"pictures  {out / 'scale.png'}, {out / 'scale.svg'}")


class Measured(NamedTuple):
    """What a part says: tables, rows, and what the JSON document has beside them."""

    sheets: list[Sheet]
    rows: list[Row]
    told: dict[str, Any]


def sizes_of(
    rounds: int, batches: Sequence[int], images: Sequence[int], out: Path
) -> Measured:
    """Time steps at growing batches and epochs of growing images, and draw both."""
    from benchmarks import drawing

    series = [
        Series(what, model, sizes)
        for what, sizes in (("step", batches), ("epoch", images))
        for model in MODELS
    ]
    for _ in range(rounds):
        for one in series:
            one.rounds.append([point(one.what, one.model, n) for n in one.sizes])
    drawing.save(lambda: drawn(series), out / "scale")
    return Measured(
        [sheet(series[:2]), sheet(series[2:])],
        [row for one in series for row in rows_of(one)],
        {"slopes": {f"{one.model} {one.what}": slopes_of(one) for one in series}},
    )


def runs_of(rounds: int) -> Measured:
    """Time whole sweeps, and compute what a study takes."""
    from dataclasses import asdict

    from benchmarks import runs

    swept, costs = runs.measure(rounds)
    told = {"costs": asdict(costs), "limits": runs.limits(costs)}
    return Measured(runs.sheets(swept, costs), runs.rows_of(swept), told)


def data_of(rounds: int) -> Measured:
    """Measure the memory of whole trainings on sets of growing size."""
    from benchmarks import stored

    found = stored.measure(rounds)
    return Measured([stored.sheet(found)], stored.rows_of(found), {})


def point(what: str, model: str, size: int) -> Any:
    """Measure one point in a process of its own."""
    from json import loads

    from benchmarks.figures import output_of

    module = [sys.executable, "-m", "benchmarks.point"]
    return loads(output_of([*module, what, model, str(size)]))


# What it comes to


def slopes_of(series: Series) -> dict[str, float]:
    """Return the exponents: 0 is flat, 1 is linear."""
    seconds, sizes = series.seconds(), series.sizes
    if series.what == "step":
        each = [s / n for s, n in zip(seconds, sizes, strict=True)]
        return {"time an image": slope(sizes, each), "MB": slope(sizes, series.peaks())}
    return {
        "time of an epoch": slope(sizes, seconds),
        "MB above the images": slope(sizes, series.above_images()),
    }


def rows_of(series: Series) -> list[Row]:
    """Return a row for each size; of a step it is the batch."""
    from benchmarks.timing import percentiles

    rows = []
    for i, (size, peak) in enumerate(zip(series.sizes, series.peaks(), strict=True)):
        timing = percentiles(series.calls(i))
        is_step = series.what == "step"
        name = "step" if is_step else f"epoch of {size}"
        rows.append(
            Row(
                f"{series.model} {name}",
                "minivae",
                size if is_step else None,
                *(timing.p50, timing.p20, timing.p80),
                peak_mb=None if np.isnan(peak) else peak,
            )
        )
    return rows


def sheet(series: Sequence[Series]) -> Sheet:
    """Return the models side by side, sizes downwards, with their slopes below."""
    from benchmarks.drawing import signed

    is_step = series[0].what == "step"
    columns = [[f"{size:,}" for size in series[0].sizes]]
    header = ["batch" if is_step else "images"]
    for one in series:
        header += [f"{one.model} {'µs/image' if is_step else 's'}", "MB"]
        times = [
            f"{1e6 * s / n:.1f}" if is_step else f"{s:.2f}"
            for s, n in zip(one.seconds(), one.sizes, strict=True)
        ]
        columns += [times, [f"{mb:.0f}" for mb in one.peaks()]]
        if not is_step:
            header.append("above the images")
            columns.append([f"{mb:.0f}" for mb in one.above_images()])
    notes = [
        f"Slopes of {one.model}: "
        + ", ".join(f"{name} {signed(value)}" for name, value in slopes_of(one).items())
        + "."
        for one in series
    ]
    title = "A step, by batch" if is_step else "An epoch at batch 128, by images"
    return Sheet(title, header, list(zip(*columns, strict=True)), notes)


def drawn(series: Sequence[Series]) -> Any:
    """Draw time by image, time of an epoch and memory, each against size."""
    from benchmarks.drawing import COLOURS, label, panels, signed, ticks

    figure, (by_batch, by_images, memory) = panels(3)
    for one in series:
        style: dict[str, Any] = {"marker": "o", "ms": 3, "lw": 1.2}
        style["color"] = COLOURS[MODELS[one.model]]
        seconds, sizes = np.array(one.seconds()), np.array(one.sizes)
        of_time, of_memory = (
            f"{one.model}, slope {signed(a)}" for a in slopes_of(one).values()
        )
        if one.what == "step":
            by_batch.plot(sizes, 1e6 * seconds / sizes, label=of_time, **style)
            continue
        by_images.plot(sizes, seconds, label=of_time, **style)
        line = seconds[-1] * sizes / sizes[-1]
        by_images.plot(sizes, line, color="#999999", lw=0.8, ls=":", zorder=0)
        memory.plot(sizes, one.above_images(), label=of_memory, **style)
    label(by_batch, "A step: time by image", "batch", "µs")
    label(by_images, "An epoch (dotted: linear)", "images", "seconds")
    label(memory, "Peak memory above the images", "images", "MB")
    by_images.set_yscale("log")
    ticks(by_images.yaxis)
    batches, images = series[0].sizes, series[-1].sizes
    for axes, marks in ((by_batch, batches), (by_images, images), (memory, images)):
        axes.set_xscale("log")
        ticks(axes.xaxis, marks)
        axes.legend()
    for axes in (by_batch, memory):
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
    return figure
