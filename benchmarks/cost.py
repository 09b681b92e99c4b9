"""`python -m benchmarks cost`: what a step of each model costs, beside the plain AE's.

The models take turns, and a ratio is that of two medians of one round: the median over
the rounds, with the 20th and 80th percentile, holds where times do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from minivae.errors import UserError

if TYPE_CHECKING:
    from benchmarks.report import Row, Sheet

BATCH, LATENT = 128, 20


@dataclass(frozen=True)
class Case:
    """A model, by a name that says what is special about it."""

    name: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)


AE = "AE"
CASES = (
    Case(AE, "ae"),
    Case("AE, tied", "ae", {"tied": True}),
    Case("AE, L1", "ae", {"l1": 0.1}),
    Case("AE, dropout", "ae", {"dropout": 0.2}),
    Case("denoising AE, gaussian", "dae", {"noise": "gaussian:0.1"}),
    Case("denoising AE, mask", "dae", {"noise": "mask:0.3"}),
    Case("VAE", "vae"),
    Case("beta-VAE", "betavae"),
    Case("beta-VAE, free bits", "betavae", {"free_bits": 0.25}),
)


def cost(rounds: int = 20, write: bool = False, json: bool = False) -> None:
    """Time a training step of AEs, VAE and beta-VAE, in turns.

    Args:
        rounds: turns that each model gets, of 5 calls each
        write: also put the table into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    from dataclasses import asdict

    from rich.console import Console

    from benchmarks import report

    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    if write:
        report.split_page("cost")
    with Console(stderr=True).status("measuring, a minute or so"):
        costs = measure(rounds)
    sheets = [sheet(costs)]
    if write:
        report.write_page("cost", sheets)
    if json:
        ratios = {cost.row.benchmark: asdict(cost)["over"] for cost in costs}
        print(report.document([cost.row for cost in costs], over_the_ae=ratios))
    else:
        report.print_sheets(sheets)


@dataclass(frozen=True)
class Cost:
    """A model's row, and its time over the plain AE's: 20th, 50th, 80th percentile."""

    row: Row
    over: tuple[float, float, float]


def measure(rounds: int) -> list[Cost]:
    """Return each model's cost; a row's `ratio` is the plain AE's time over its own."""
    from benchmarks.report import Row
    from benchmarks.steps import DATA
    from benchmarks.timing import in_turns
    from benchmarks.workload import Workload
    from minivae import backend, data, models

    backend.keep_freed_memory()
    grey = data.load(DATA).train.grey
    works = {
        case.name: Workload(
            grey,
            BATCH,
            models.build(
                case.model,
                shape=(1, 28, 28),
                latent=LATENT,
                likelihood="bernoulli",
                **case.options,
            ),
        )
        for case in CASES
    }
    with backend.limited_threads(None):  # as in training
        steps = {name: work.step for name, work in works.items()}
        passes = [in_turns(steps, 1) for _ in range(rounds)]
    costs = []
    for name in steps:
        times = [timings[name].p50 for timings in passes]
        ratios = [timings[name].p50 / timings[AE].p50 for timings in passes]
        p20, p50, p80 = np.percentile(times, (20, 50, 80))
        low, middle, high = np.percentile(ratios, (20, 50, 80))
        row = Row(name, "minivae", BATCH, p50, p20, p80, ratio_to=AE, ratio=1 / middle)
        costs.append(Cost(row, (low, middle, high)))
    return costs


def sheet(costs: list[Cost]) -> Sheet:
    """Return the costs as a table."""
    from benchmarks.report import Sheet

    lines = [
        (
            cost.row.benchmark,
            f"{cost.row.p50_ms:.2f}",
            f"{cost.over[1]:.2f}",
            f"{cost.over[0]:.2f}-{cost.over[2]:.2f}",
        )
        for cost in costs
    ]
    title = f"A step at batch {BATCH}, 784 – 400 – {LATENT}, Adam, float32"
    header = ("model", "p50 ms", "over the AE's", "20-80 %")
    return Sheet(title, header, lines)
