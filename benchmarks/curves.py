"""`python -m benchmarks curves`: conv against dense, trained on the same images.

Each training is what `minivae train --arch ARCH --epochs N --seed S` does, without its
run folder. A seed decides the first weights, the order of the images, how they are
drawn and the noise of the latents; the two trainings of a seed share all but the
weights, so that their difference is paired.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import FIGURES
from minivae.errors import UserError

if TYPE_CHECKING:
    from benchmarks.report import Sheet
    from minivae.data import Dataset

ARCHS = ("dense", "conv")
LATENT = 20


@dataclass(frozen=True)
class Curve:
    """One training: the validation objective by epoch, and the bound on the test split.

    All in nats per image; the bound is of the weights that were best on validation.
    """

    arch: str
    seed: int
    parameters: int
    validation: list[float]
    neg_elbo: float


@dataclass(frozen=True)
class Difference:
    """conv − dense of the test −ELBO: its mean over the seeds and standard error."""

    by_seed: list[float]
    mean: float
    se: float


def curves(
    epochs: int = 20,
    seeds: int = 3,
    data: str = "fashion10k:dynamic",
    out: Path = FIGURES,
    write: bool = False,
    json: bool = False,
) -> None:
    """Train conv and dense VAEs for the same epochs, and draw their validation.

    Args:
        epochs: of each training
        seeds: trainings of each architecture, with seeds 0, 1, ...
        data: 0/1 images, so that there is an ELBO
        out: folder for curves.png and curves.svg
        write: also put the table into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    from rich.console import Console

    from benchmarks import drawing, report
    from minivae.data import load

    if seeds < 2:
        raise UserError(f"a standard error needs two seeds or more, not {seeds}")
    images = load(data)
    if not images.binary:
        raise UserError(f"{data} is grey and has no ELBO: use :dynamic, or :fixed")
    if write:
        report.split_page("curves")  # not after minutes of training
    found = []
    with Console(stderr=True).status("") as status:
        for seed in range(seeds):
            for arch in ARCHS:
                status.update(f"training {arch}, seed {seed} of {seeds}")
                found.append(trained(arch, seed, epochs, images))
    difference = paired(found)
    paths = drawing.save(lambda: drawn(found, difference), out / "curves")
    sheets = [sheet(found, difference, data)]
    if write:
        report.write_page("curves", sheets)
    if json:
        told = {"runs": [asdict(c) for c in found], "difference": asdict(difference)}
        print(report.document([], curves=told))
    else:
        report.print_sheets(sheets)
        print(f"pictures  {', '.join(map(str, paths))}")


def trained(arch: str, seed: int, epochs: int, data: Dataset) -> Curve:
    """Train one model as `minivae train` does, and measure it on the test split."""
    import minivae as mv

    model = mv.VAE(data.shape, LATENT, arch=arch, seed=seed)
    run = mv.fit(model, data, epochs=epochs, seed=seed, quiet=True)
    return Curve(
        arch,
        seed,
        sum(parameter.size for parameter in model.parameters()),
        [line["validation"]["objective"] for line in run.metrics],
        mv.evaluate.ledger(run.model, data)["neg_elbo"],
    )


def paired(found: Sequence[Curve]) -> Difference:
    """Return conv − dense of the test −ELBO, paired by seed."""
    bounds = {(curve.arch, curve.seed): curve.neg_elbo for curve in found}
    seeds = sorted({curve.seed for curve in found})
    differences = [bounds["conv", seed] - bounds["dense", seed] for seed in seeds]
    se = statistics.stdev(differences) / math.sqrt(len(differences))
    return Difference(differences, statistics.mean(differences), se)


def sheet(found: Sequence[Curve], difference: Difference, data: str) -> Sheet:
    """Return the bounds by seed and architecture, and how they differ."""
    from benchmarks.drawing import signed
    from benchmarks.report import Sheet

    bounds = {arch: [c.neg_elbo for c in found if c.arch == arch] for arch in ARCHS}
    rows = [
        (str(seed), *(f"{bounds[arch][seed]:.2f}" for arch in ARCHS), signed(d))
        for seed, d in enumerate(difference.by_seed)
    ]
    means = (f"{statistics.mean(bounds[arch]):.2f}" for arch in ARCHS)
    last = f"{signed(difference.mean)} ± {difference.se:.2f}"
    rows.append(("mean ± standard error", *means, last))
    sizes = {curve.arch: curve.parameters for curve in found}
    counts = " and ".join(f"{sizes[arch]:,}" for arch in ARCHS)
    epochs = len(found[0].validation)
    note = f"{data}, {epochs} epochs, {LATENT} latents; {counts} parameters."
    title = "Test −ELBO, nats per image: conv against dense"
    return Sheet(title, ("seed", *ARCHS, "conv − dense"), rows, [note])


def drawn(found: Sequence[Curve], difference: Difference) -> Any:
    """Draw the validation objective against epochs, a line for each training."""
    from matplotlib.ticker import MaxNLocator

    from benchmarks.drawing import COLOURS, label, panels, signed

    figure, (axes,) = panels(1, width=5.2, height=3.2)
    for arch in ARCHS:
        those = [curve for curve in found if curve.arch == arch]
        bound = statistics.mean(curve.neg_elbo for curve in those)
        for curve in those:
            epochs = range(1, 1 + len(curve.validation))
            name = f"{arch}: {bound:.1f} on test images" if curve is those[0] else None
            style: dict[str, Any] = {"color": COLOURS[arch], "lw": 1.2, "alpha": 0.8}
            axes.plot(epochs, curve.validation, label=name, **style)
    outcome = f"{signed(difference.mean)} ± {difference.se:.2f} nats"
    title = f"Test −ELBO, conv − dense: {outcome}"
    label(axes, title, "epoch", "validation −ELBO, nats per image")
    ends = [value for curve in found for value in curve.validation[2:]]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    if low < high:  # the first epochs would squeeze all others
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure
