"""`python -m benchmarks overfitting`: memorising, and what holds it back.

A few images and a wide code: the same net, the same images, the same order, trained for
the same epochs, plainly and with one thing more. After an epoch the reconstruction of
all training and all validation images is measured, clean and without dropout, and the
entropy of their own pixels taken off: 0 is a perfect reconstruction. (Those entropies
differ between the splits, so that what is left can be compared.)
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.drawing import FIGURES
from minivae.errors import UserError

if TYPE_CHECKING:
    from benchmarks.report import Sheet
    from minivae.backend import Array
    from minivae.data import Dataset

LATENT, HIDDEN, BATCH, LR = 64, 256, 50, 1e-3
EVERY = 10  # epochs between two measurements
PATIENCE = 100  # epochs


@dataclass(frozen=True)
class Way:
    """A way to train: a model, its options, and those of the optimizer."""

    name: str
    model: str = "ae"
    options: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "adam"
    weight_decay: float = 0.0
    patience: int = 0


PLAIN, EARLY = "nothing", "early stopping"
WAYS = (
    Way(PLAIN),
    Way(EARLY, patience=PATIENCE),
    Way("weight decay 1", optimizer="adamw", weight_decay=1.0),
    Way("dropout 0.3", options={"dropout": 0.3}),
    Way("denoising", "dae", {"noise": "gaussian:0.1"}),
    Way("VAE", "vae"),
)


@dataclass(frozen=True)
class Curve:
    """One training: reconstruction over the pixels' entropy, in nats per image."""

    way: str
    seed: int
    epochs: list[int]
    train: list[float]
    validation: list[float]
    test: float  # of the weights that were best on validation

    @property
    def best(self) -> int:
        """The place of the measurement with the least validation."""
        return self.validation.index(min(self.validation))


def overfitting(
    epochs: int = 600,
    images: int = 200,
    seeds: int = 3,
    data: str = "fashion10k:gray",
    out: Path = FIGURES,
    write: bool = False,
    json: bool = False,
) -> None:
    """Train on few images in six ways, and draw training and validation side by side.

    Args:
        epochs: of each training
        images: of the training split, the first ones
        seeds: trainings of each way, with seeds 0, 1, ...
        data: a data set
        out: folder for overfitting.png and overfitting.svg
        write: also put the table into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    from rich.console import Console

    from benchmarks import drawing, report
    from minivae import backend
    from minivae.data import load

    if seeds < 1 or epochs < EVERY:
        raise UserError(f"it takes one seed and {EVERY} epochs at least")
    loaded = load(data)
    if not BATCH <= images <= len(loaded.train):
        raise UserError(f"{data} has {len(loaded.train)} images: take {BATCH} or more")
    if write:
        report.split_page("overfitting")  # not after minutes of training
    backend.keep_freed_memory()
    found = []
    with Console(stderr=True).status("") as status:
        for seed in range(seeds):
            for way in WAYS:
                status.update(f"training with {way.name}, seed {seed} of {seeds}")
                found.append(trained(way, seed, epochs, loaded, images))
    paths = drawing.save(lambda: drawn(found), out / "overfitting")
    sheets = [sheet(found, f"{data}, {images} images")]
    if write:
        report.write_page("overfitting", sheets)
    if json:
        print(report.document([], overfitting=[asdict(curve) for curve in found]))
    else:
        report.print_sheets(sheets)
        print(f"pictures  {', '.join(map(str, paths))}")


def trained(way: Way, seed: int, epochs: int, data: Dataset, images: int) -> Curve:
    """Train by the step of `mv.fit` at a constant rate, measuring now and then."""
    from minivae import models
    from minivae.optim import OPTIMIZERS
    from minivae.random import Noise, Stream
    from minivae.train import train_step

    likelihood = "bernoulli" if data.binary else "soft_bce"
    model = models.build(
        way.model,
        shape=data.shape,
        latent=LATENT,
        hidden=(HIDDEN,),
        likelihood=likelihood,
        seed=seed,
        **way.options,
    )
    optimizer = OPTIMIZERS[way.optimizer](
        model.parameters(), LR, weight_decay=way.weight_decay
    )
    noise = Noise(seed, model.noise_stream)
    dropout = Noise(seed, Stream.DROPOUT) if model.dropout else None
    shuffle = np.random.default_rng(seed)
    x, validation = data.train.images[:images], data.validation.images
    curve = Curve(way.name, seed, [], [], [], 0.0)
    best = model.state()
    for epoch in range(1, epochs + 1):
        rows = shuffle.permutation(images)
        for start in range(0, images, BATCH):
            batch = x[rows[start : start + BATCH]]
            train_step(model, optimizer, batch, noise, 1.0, dropout)
        if epoch % EVERY:
            continue
        curve.epochs.append(epoch)
        curve.train.append(excess(model, x))
        curve.validation.append(excess(model, validation))
        if curve.best == len(curve.epochs) - 1:
            best = model.state()
        if way.patience and epoch - curve.epochs[curve.best] >= way.patience:
            break
    model.load_state(best)
    test = excess(model, data.test.images)
    parts = (curve.epochs, curve.train, curve.validation)
    return Curve(way.name, seed, *parts, test)


def excess(model: Any, images: Array) -> float:
    """Reconstruction less the entropy of the pixels, a mean over images."""
    from minivae.evaluate.ledger import cross_entropy
    from minivae.train import validate

    flat = images.reshape(len(images), -1).astype(np.float64)
    return validate(model, images)["recon"] - cross_entropy(flat, flat)


def sheet(found: Sequence[Curve], data: str) -> Sheet:
    """Return, for each way, where its training ended and where it was best."""
    from benchmarks.report import Sheet

    rows = []
    for way in dict.fromkeys(curve.way for curve in found):
        those = [curve for curve in found if curve.way == way]
        ends = ([c.epochs[-1] for c in those], [c.epochs[c.best] for c in those])
        last = [c.train[-1] for c in those], [c.validation[-1] for c in those]
        best, test = [min(c.validation) for c in those], [c.test for c in those]
        rows.append(
            (
                way,
                *(f"{statistics.mean(values):.0f}" for values in ends),
                *map(spread, (*last, best, test)),
            )
        )
    header = ("with", "ends", "best at", "train", "valid.", "best", "test")
    note = (
        f"{data}; 784 – {HIDDEN} – {LATENT}, Adam at {LR:g}, batches of {BATCH}. Means "
        "± standard deviations over the seeds; train and valid. at the end, best: the "
        "least validation, test: of the weights kept there."
    )
    title = "Reconstruction over the pixels' entropy, nats per image"
    return Sheet(title, header, rows, [note])


def spread(values: Sequence[float]) -> str:
    """Return a mean, and with several values their standard deviation."""
    mean = f"{statistics.mean(values):.1f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values):.1f}"


def drawn(found: Sequence[Curve]) -> Any:
    """Draw a panel for each way: training and validation against epochs."""
    from matplotlib.figure import Figure

    from benchmarks.drawing import COLOURS, label

    ways = list(dict.fromkeys(curve.way for curve in found))
    figure = Figure((9.6, 5.4), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    top = 1.25 * max(curve.validation[-1] for curve in found)
    for place, (way, axes) in enumerate(zip(ways, panels.flat, strict=True)):
        for curve in (c for c in found if c.way == way):
            first = curve.seed == 0
            for name, values in (
                ("validation", curve.validation),
                ("train", curve.train),
            ):
                style: dict[str, Any] = {"color": COLOURS[name], "lw": 1.3}
                axes.plot(curve.epochs, values, label=name if first else None, **style)
            place_of_best = curve.epochs[curve.best], min(curve.validation)
            axes.plot(
                *place_of_best,
                "o",
                ms=4,
                color=COLOURS["validation"],
                label="best validation" if first else None,
            )
        row, column = divmod(place, 3)
        y = "nats per image over entropy" if column == 0 else ""
        label(axes, f"with {way}", "epoch" if row == 1 else "", y)
        axes.set_ylim(0, top)
    panels[0, 0].legend(loc="center right")
    return figure
