"""The steps of `gpu_session.sh` that are Python: `python -m benchmarks.gpu_session`.

It is no subcommand of `benchmarks`, since it must run where tyro is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minivae_kernels import Family, families
from minivae_kernels.examples import example

from benchmarks import charts, kernels, report
from benchmarks.cuda import Cuda, described
from benchmarks.ladders import Ladder, Timed, measure
from benchmarks.report import Row, Sheet
from benchmarks.timing import Timing
from minivae import VAE, backend, data
from minivae.backend import Array, cuda_library
from minivae.errors import UserError

PLAIN, OURS = "plain CuPy", "minivae"
BATCHES = (128, 8192)
AGREEMENT = 1e-3  # relative, of losses after a few steps


def measure_kernels(out: Path, dry: bool) -> None:
    """Measure all ladders; kernels.json grows by each, figures/ is drawn at the end."""
    place = Cuda(rounds=1 if dry else 20, small=dry)
    found: list[Ladder] = []
    for family in chosen(dry):
        found += measure([family], place)
        text = kernels.document(found, {}, place)
        (out / "kernels.json").write_text(text, encoding="utf-8")
        report.print_sheets(kernels.sheets_of(found[-1], {}, place))
    charts.save(found, {}, out / "figures")


def measure_training(out: Path, dry: bool) -> None:
    """Time a VAE's step, every op as plain CuPy and by its kernels: training.json."""
    place = Cuda(rounds=1 if dry else 20, small=dry)
    rows: list[Row] = []
    for batch in (8,) if dry else BATCHES:
        steps, losses = {}, {}
        for name, around in ((PLAIN, plain_rungs), (OURS, contextlib.nullcontext)):
            steps[name], losses[name] = training_step(batch, dry, around)
        (a, b) = losses.values()
        if not abs(a - b) <= AGREEMENT * abs(a):
            raise UserError(f"losses differ: {PLAIN} {a}, {OURS} {b}")
        rows += step_rows(batch, place.time(steps))
    text = report.document(rows, gpu=place.described, losses=losses)
    (out / "training.json").write_text(text, encoding="utf-8")
    report.print_sheets([step_sheet(rows, str(place.described["gpu"]))])


def training_step(
    batch: int, dry: bool, around: Callable[[], Any]
) -> tuple[Callable[[], object], float]:
    """Return a training step on the device, and its loss after two steps."""
    from benchmarks.workload import Workload
    from minivae.train import train_step

    grey: Array = data.load("fashion10k:gray").train.grey
    hidden, latent = ((32,), 4) if dry else ((400,), 20)
    model = VAE(grey.shape[1:], latent, hidden, likelihood="bernoulli")
    work = Workload(grey, batch, model.to(device="cuda"))
    ready = [backend.to_device(x, "cuda") for x in work.ready]

    def step() -> float:
        with around():
            x = ready[work.optimizer.steps % len(ready)]
            return train_step(model, work.optimizer, x, work.latent_noise)[2]

    step()
    return step, step()


@contextmanager
def plain_rungs() -> Iterator[None]:
    """Have every family compute by its reference: plain expressions of arrays."""
    with contextlib.ExitStack() as stack:
        for family in families():
            stack.enter_context(family.use(family.rungs[0].name))
        yield


def step_rows(batch: int, timed: dict[str, Timed]) -> list[Row]:
    """Return a row for each way of the step; ratio: plain CuPy's time over it."""
    plain = timed[PLAIN].timing.p50

    def row(name: str, t: Timing) -> Row:
        ends = (t.p50, t.p20, t.p80)
        return Row("step", name, batch, *ends, ratio_to=PLAIN, ratio=plain / t.p50)

    return [row(name, each.timing) for name, each in timed.items()]


def step_sheet(rows: list[Row], gpu: str) -> Sheet:
    """Return the steps as a table."""
    from benchmarks.peers.ratios import short

    lines = [
        (
            row.impl,
            str(row.batch),
            *map(short, (row.p50_ms, row.p20_ms, row.p80_ms)),
            f"{row.ratio:.2f}",
        )
        for row in rows
    ]
    header = ("impl", "batch", "p50 ms", "p20", "p80", "of plain")
    return Sheet(f"VAE 784-400-20, Adam: one step on {gpu}", header, lines)


def launch_each(out: Path, dry: bool) -> None:
    """Run every CUDA rung once, on a small call: for compute-sanitizer."""
    for family in chosen(dry):
        for rung in family.rungs:
            if rung.kernels:
                run_rung(family, rung.name, None)
                print(f"{family.name}: {rung.name}")


def launch_fastest(out: Path, dry: bool) -> None:
    """Run the last rung of each family on its measured size: for ncu."""
    place = Cuda(rounds=1, small=dry)
    for family in chosen(dry):
        last = [rung for rung in family.rungs if rung.kernels][-1]
        run_rung(family, last.name, place.shapes.get(family.name))
        print(f"{family.name}: {last.name}")


def run_rung(family: Family, name: str, shape: Any) -> None:
    """Run a rung once on arrays of the device."""
    rung = family.named(name)
    place = Cuda(rounds=1, small=True)
    arrays, options = place.moved(example(family.name, shape, rung=rung))
    if rung.why_not(*arrays, **options) is None:
        rung.function(*arrays, **options)
        place.cupy.cuda.Device().synchronize()


def chosen(dry: bool) -> list[Family]:
    """Return all families; a few in a dry run, whose kernels are interpreted."""
    few = ("relu.forward", "adam")
    return [f for f in families() if not dry or f.name in few]


def summarise(out: Path, dry: bool) -> None:
    """Put what the steps have left into one document: session.json."""
    steps = []
    for line in (out / "steps.txt").read_text(encoding="utf-8").splitlines():
        name, code, seconds = line.split()
        ended = code if code == "skipped" else int(code)
        steps.append({"step": name, "exit": ended, "seconds": int(seconds)})
    parts = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in ("kernels", "training")
        if (path := out / f"{name}.json").exists()
    }
    rows = [row for part in parts.values() for row in part["rows"]]
    measured = parts.get("kernels", {})
    document = {
        "dry": dry,
        "gpu": described(cuda_library()),
        "steps": steps,
        "machine": measured.get("machine"),
        "versions": measured.get("versions"),
        "rows": rows,
        "kernels": measured.get("kernels", []),
    }
    text = json.dumps(document, indent=2)
    (out / "session.json").write_text(text, encoding="utf-8")
    print(f"session.json: {len(rows)} rows, {len(steps)} steps")


STEPS: dict[str, Callable[[Path, bool], None]] = {
    "kernels": measure_kernels,
    "training": measure_training,
    "launches": launch_each,
    "fastest": launch_fastest,
    "summary": summarise,
}


def main() -> None:
    """Run one step; ends with 2 where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_session")
    parser.add_argument("--dry", action="store_true", help="small, on the stand-in")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("step", choices=STEPS)
    given = parser.parse_args()
    try:
        STEPS[given.step](given.out, given.dry)
    except UserError as error:
        print(f"gpu_session: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
