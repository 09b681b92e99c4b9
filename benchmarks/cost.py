"""`python -m benchmarks cost`: what a step of each model costs, beside the plain AE's.

The models take turns, so that their ratios hold where their times do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    from rich.console import Console

    from benchmarks import report

    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    if write:
        report.split_page("cost")
    with Console(stderr=True).status("measuring, a minute or so"):
        rows = measure(rounds)
    sheets = [sheet(rows)]
    if write:
        report.write_page("cost", sheets)
    if json:
        print(report.document(rows))
    else:
        report.print_sheets(sheets)


def measure(rounds: int) -> list[Row]:
    """Return a row for each model; `ratio` is the plain AE's time over its own."""
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
        timings = in_turns({name: work.step for name, work in works.items()}, rounds)
    return [
        Row(
            name,
            "minivae",
            BATCH,
            *(timing.p50, timing.p20, timing.p80),
            ratio_to=AE,
            ratio=timings[AE].p50 / timing.p50,
        )
        for name, timing in timings.items()
    ]


def sheet(rows: list[Row]) -> Sheet:
    """Return the rows as a table; what it shows is time over the plain AE's."""
    from benchmarks.report import Sheet

    lines = [
        (
            row.benchmark,
            *(f"{ms:.2f}" for ms in (row.p50_ms, row.p20_ms, row.p80_ms)),
            f"{1 / row.ratio:.2f}" if row.ratio else "",
        )
        for row in rows
    ]
    title = f"A step of 784 – 400 – {LATENT} at batch {BATCH}, Bernoulli, Adam, float32"
    header = ("model", "p50 ms", "p20", "p80", "over the AE's")
    return Sheet(title, header, lines)
