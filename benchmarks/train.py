"""`python -m benchmarks train`: a training step, and with `--profile` its anatomy.

With `--peers` the step and single kernels are compared with other libraries instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from minivae.errors import UserError

if TYPE_CHECKING:
    from benchmarks.report import Row, Sheet
    from benchmarks.timing import Sgemm
    from benchmarks.workload import Workload

BATCHES = (128, 512)
DATA = "fashion10k:gray"
STEP, WITH_DATA, SGEMM = "step", "step with its data", "sgemm"


def train(
    profile: bool = False,
    peers: bool = False,
    rounds: int = 20,
    write: bool = False,
    json: bool = False,
) -> None:
    """Time a step of the dense VAE 784-400-20, in turns with a matrix product.

    Args:
        profile: also where the step's time goes, starting, memory, the engine's cost
        peers: instead compare it, and single kernels, with PyTorch and JAX
        rounds: turns that each case gets, of 5 calls each (with peers, 0.3 seconds)
        write: also put the tables into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    from rich.console import Console

    from benchmarks import figures, report
    from benchmarks import profile as profiling
    from benchmarks.timing import REPEAT, Sgemm
    from benchmarks.workload import Workload
    from minivae import backend, data

    if peers:
        if profile:
            raise UserError("give --profile or --peers, not both")
        from benchmarks.peers import run

        run.peers(rounds, write, json)
        return
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    if write:
        report.split_page("train")  # not after a minute of measuring
    anatomy: dict[str, Any] | None = None
    with Console(stderr=True).status("measuring, a minute or so"):
        backend.keep_freed_memory()
        grey = data.load(DATA).train.grey
        works = [Workload(grey, batch) for batch in BATCHES]
        rows = measure(works, Sgemm(), rounds)
        sheets = [sheet(rows)]
        if profile:
            steps = [profiling.profile_step(work, rounds * REPEAT) for work in works]
            single = list(figures.figures())
            sheets += [profiling.sheet(step) for step in steps]
            sheets.append(figures.sheet(single))
            anatomy = {
                "steps": [asdict(step) for step in steps],
                "figures": [asdict(figure) for figure in single],
            }
    if write:
        report.write_page("train", sheets)
    if json:
        print(report.document(rows, anatomy))
    else:
        report.print_sheets(sheets)


def measure(works: Sequence[Workload], sgemm: Sgemm, rounds: int) -> list[Row]:
    """Return the rows of every workload's step, alone and with its data, and sgemm."""
    from benchmarks.report import Row
    from benchmarks.timing import Timing, in_turns
    from benchmarks.workload import step_flops

    cases: dict[tuple[str, int | None], Callable[[], object]] = {(SGEMM, None): sgemm}
    for work in works:
        cases[STEP, work.batch] = work.step
        cases[WITH_DATA, work.batch] = work.step_with_data
    timings = in_turns(cases, rounds)

    def gflops(flops: float, timing: Timing) -> float:
        return flops / timing.p50 / 1e6

    pace = gflops(sgemm.flops, timings[SGEMM, None])
    rows = []
    for work in works:
        flops = step_flops(work.model, work.batch)
        for name in (STEP, WITH_DATA):
            timing = timings[name, work.batch]
            rate = gflops(flops, timing)
            rows.append(
                Row(
                    name,
                    "minivae",
                    work.batch,
                    *(timing.p50, timing.p20, timing.p80),
                    ratio_to=SGEMM,
                    ratio=rate / pace,
                    gflops=rate,
                )
            )
    timing = timings[SGEMM, None]
    ends = (timing.p50, timing.p20, timing.p80)
    rows.append(Row(SGEMM, "numpy", None, *ends, gflops=pace))
    return rows


def sheet(rows: Sequence[Row]) -> Sheet:
    """Return the rows as a table."""
    from benchmarks.report import Sheet

    header = ("case", "batch", "p50 ms", "p20", "p80", "GFLOP/s", "of sgemm")
    lines = [
        (
            row.benchmark,
            str(row.batch or ""),
            *(f"{ms:.2f}" for ms in (row.p50_ms, row.p20_ms, row.p80_ms)),
            f"{row.gflops:.1f}",
            "" if row.ratio is None else f"{row.ratio:.0%}",
        )
        for row in rows
    ]
    return Sheet("VAE 784-400-20, Bernoulli, Adam, float32: one step", header, lines)
