"""`python -m benchmarks train`: a training step, and with `--profile` its anatomy.

With `--peers` it is compared with other libraries instead: see `benchmarks peers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from minivae.errors import UserError

if TYPE_CHECKING:
    from benchmarks.report import Row, Sheet
    from benchmarks.steps import Step
    from benchmarks.timing import Sgemm
    from benchmarks.workload import Workload
    from minivae.models import Autoencoder

STEP, WITH_DATA, SGEMM = "step", "step with its data", "sgemm"


def train(
    arch: str = "dense",
    profile: bool = False,
    peers: bool = False,
    rounds: int = 20,
    write: bool = False,
    json: bool = False,
) -> None:
    """Time a step of a VAE, in turns with a matrix product.

    Args:
        arch: dense, conv (28 x 28) or burgess (64 x 64)
        profile: also where the step's time goes; of dense, starting and memory too
        peers: instead compare it, and of dense single kernels, with PyTorch and JAX
        rounds: turns that each case gets, of 5 calls each (with peers, processes)
        write: also put the tables into benchmarks/README.md
        json: print one JSON document and nothing else
    """
    from rich.console import Console

    from benchmarks import figures, report
    from benchmarks import profile as profiling
    from benchmarks.steps import DATA
    from benchmarks.timing import REPEAT, Sgemm
    from benchmarks.workload import Workload
    from minivae import backend, data

    if peers:
        if profile:
            raise UserError("give --profile or --peers, not both")
        from benchmarks.peers import run

        run.peers(arch, arch == "dense", rounds, write, json)
        return
    steps = steps_of(arch)
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, not {rounds}")
    page = f"train {arch}"
    if write:
        report.split_page(page)  # not after a minute of measuring
    anatomy: dict[str, Any] | None = None
    with Console(stderr=True).status("measuring, a minute or so"):
        backend.keep_freed_memory()
        grey = data.load(DATA).train.grey
        works = [Workload.of(step, grey) for step in steps]
        rows = measure(works, Sgemm(), rounds)
        sheets = [sheet(rows, works[0].model)]
        if profile:
            with backend.limited_threads(None):  # as in training
                profiles = [profiling.profile_step(w, rounds * REPEAT) for w in works]
            sheets += map(profiling.sheet, profiles)
            single = list(figures.figures()) if arch == "dense" else []
            sheets += [figures.sheet(single)] if single else []
            anatomy = {
                "steps": [asdict(profile) for profile in profiles],
                "figures": [asdict(figure) for figure in single],
            }
    if write:
        report.write_page(page, sheets)
    if json:
        print(report.document(rows, anatomy, arch=arch))
    else:
        report.print_sheets(sheets)


def steps_of(arch: str) -> list[Step]:
    """Return the measured steps of an architecture; raises `UserError` for others."""
    from benchmarks.steps import STEPS

    steps = [step for step in STEPS if step.arch == arch]
    if not steps:
        known = ", ".join(dict.fromkeys(step.arch for step in STEPS))
        raise UserError(f"no step of arch {arch!r} is measured; have {known}")
    return steps


def measure(works: Sequence[Workload], sgemm: Sgemm, rounds: int) -> list[Row]:
    """Return the rows of every workload's step, alone and with its data, and sgemm."""
    from benchmarks.report import Row
    from benchmarks.timing import Timing, in_turns
    from benchmarks.workload import step_flops
    from minivae import backend

    cases: dict[tuple[str, int | None], Callable[[], object]] = {(SGEMM, None): sgemm}
    for work in works:
        cases[STEP, work.batch] = work.step
        cases[WITH_DATA, work.batch] = work.step_with_data

    def around(case: tuple[str, int | None]) -> AbstractContextManager[Any]:
        """Training shares out the cores in its own way, the product in NumPy's."""
        return nullcontext() if case[0] == SGEMM else backend.limited_threads(None)

    timings = in_turns(cases, rounds, around=around)

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


def sheet(rows: Sequence[Row], model: Autoencoder) -> Sheet:
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
    sizes = f"{model.stack} – {model.latent}"
    title = f"VAE {sizes}, Bernoulli, Adam, float32: one step"
    return Sheet(title, header, lines)
