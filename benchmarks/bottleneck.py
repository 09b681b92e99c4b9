"""`python -m benchmarks bottleneck`: the size of the code against what is left.

PCA is the best linear map there is, on its training images. A linear autoencoder must
come to it; one with hidden layers may do better, or, on few images, worse.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import FIGURES
from minivae.errors import UserError

if TYPE_CHECKING:
    from benchmarks.report import Sheet
    from minivae.backend import Array
    from minivae.data import Dataset

SIZES = (2, 4, 8, 16, 32, 64)
HIDDEN = 256
PCA, LINEAR, DEEP = "PCA", "linear AE", "AE"
TRAINING = {
    LINEAR: {"epochs": 400, "lr": 2e-3, "batch": 100},
    DEEP: {"epochs": 100, "lr": 1e-3, "batch": 100},
}


@dataclass(frozen=True)
class Point:
    """The squared error per image that a code of `size` numbers leaves."""

    how: str
    size: int
    seed: int
    train: float
    test: float


def bottleneck(
    images: int = 1000,
    seeds: int = 3,
    data: str = "fashion10k:gray",
    out: Path = FIGURES,
    write: bool = False,
    json: bool = False,
) -> None:
    """Train autoencoders of several code sizes, and draw them beside PCA.

    Args:
        images: of the training split, the first ones
        seeds: trainings of each autoencoder with a hidden layer; one of the linear
        data: a data set
        out: folder for bottleneck.png and bottleneck.svg
        write: also put the table into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    from rich.console import Console

    from benchmarks import drawing, report
    from minivae.data import load

    if seeds < 1:
        raise UserError(f"it takes one seed at least, not {seeds}")
    loaded = load(data)
    if not max(SIZES) < images <= len(loaded.train):
        raise UserError(
            f"{data} has {len(loaded.train)} training images: take more than "
            f"{max(SIZES)} of them"
        )
    if write:
        report.split_page("bottleneck")  # not after minutes of training
    few = first_images(loaded, images)
    found = []
    with Console(stderr=True).status("") as status:
        for size in SIZES:
            found.append(by_pca(size, few))
            for how, count in ((LINEAR, 1), (DEEP, seeds)):
                for seed in range(count):
                    status.update(f"{how} with a code of {size}, seed {seed}")
                    found.append(trained(how, size, seed, few))
    paths = drawing.save(lambda: drawn(found), out / "bottleneck")
    sheets = [sheet(found, f"{data}, {images} images")]
    if write:
        report.write_page("bottleneck", sheets)
    if json:
        print(report.document([], bottleneck=[asdict(point) for point in found]))
    else:
        report.print_sheets(sheets)
        print(f"pictures  {', '.join(map(str, paths))}")


def first_images(data: Dataset, count: int) -> Dataset:
    """Return the data set with only the first training images."""
    from minivae.data import Dataset

    base, _, mode = data.name.rpartition(":")
    parts = [
        (data.train.grey[:count], None),
        (data.validation.grey, None),
        (data.test.grey, None),
    ]
    return Dataset.from_parts(base, mode, parts, data.source)


def by_pca(size: int, data: Dataset) -> Point:
    """Project on the first principal directions of the training images."""
    from sklearn import decomposition

    rows = data.train.images.reshape(len(data.train), -1)
    pca = decomposition.PCA(size, svd_solver="full").fit(rows)

    def rebuilt(x: Array) -> Array:
        flat = x.reshape(len(x), -1)
        return pca.inverse_transform(pca.transform(flat)).reshape(x.shape)

    ends = (squared_error(rebuilt, data.split(split).images) for split in SPLITS)
    return Point(PCA, size, 0, *ends)


def trained(how: str, size: int, seed: int, data: Dataset) -> Point:
    """Train an autoencoder by `mv.fit`; its weights are those best on validation."""
    import minivae as mv

    hidden = (HIDDEN,) if how == DEEP else ()
    model = mv.AE(data.shape, size, hidden, "squared_error", seed)
    mv.fit(model, data, seed=seed, quiet=True, **TRAINING[how])
    ends = (
        squared_error(model.reconstruct, data.split(split).images) for split in SPLITS
    )
    return Point(how, size, seed, *ends)


SPLITS = ("train", "test")


def squared_error(rebuild: Any, images: Array) -> float:
    """Return the squared error of a reconstruction, a mean over images."""
    squares = (rebuild(images) - images) ** 2
    return float(squares.sum(axis=(1, 2, 3)).mean())


def sheet(found: Sequence[Point], data: str) -> Sheet:
    """Return a row for each size: PCA, linear, and with a hidden layer."""
    from benchmarks.overfitting import spread
    from benchmarks.report import Sheet

    rows = []
    for size in dict.fromkeys(point.size for point in found):
        cells = [
            spread([getattr(p, split) for p in found if (p.how, p.size) == (how, size)])
            for split in SPLITS
            for how in (PCA, LINEAR, DEEP)
        ]
        rows.append((str(size), *cells))
    header = ("code", "PCA", "linear", "AE", "PCA", "linear", "AE")
    note = (
        f"First on the training images, then on test images. {data}; the AE is 784 – "
        f"{HIDDEN} – code, mirrored. Where there are several seeds, means ± standard "
        "deviations."
    )
    return Sheet(
        "Squared error per image by the size of the code", header, rows, [note]
    )


def drawn(found: Sequence[Point]) -> Any:
    """Draw the error against the size, for training and for test images."""
    from benchmarks.drawing import COLOURS, label, panels, ticks

    figure, axes = panels(2, width=4.2, height=3.2)
    sizes = list(dict.fromkeys(point.size for point in found))
    for split, panel in zip(SPLITS, axes, strict=True):
        for how, marker in ((PCA, "s"), (LINEAR, "x"), (DEEP, "o")):
            means = [
                statistics.mean(
                    getattr(p, split) for p in found if (p.how, p.size) == (how, size)
                )
                for size in sizes
            ]
            line = "--" if how == LINEAR else "-"
            panel.plot(
                *(sizes, means),
                line,
                marker=marker,
                ms=6 if how == LINEAR else 4,
                lw=1.2,
                color=COLOURS[how],
                label=how,
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        ticks(panel.xaxis, sizes)
        ticks(panel.yaxis, [5, 10, 20, 40])
        label(
            panel, f"{split} images", "numbers in the code", "squared error per image"
        )
    axes[0].legend()
    return figure
