"""`minivae sweep`: a training for every combination of some options' values."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import tyro

from minivae.cli.train import prepared, train
from minivae.errors import UserError

if TYPE_CHECKING:
    from minivae.data import Dataset
    from minivae.sweep import Sweep, Task, Value

OF_DATA = ("data", "data_dir", "block")
OWN = ("out", "resume", "threads")  # options of `train` that a sweep has its own of


def _sweep(
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    out: Path | None = None,
    workers: int | None = None,
    threads: int | None = None,
    scheduler: str | None = None,
    **base: Any,
) -> int:
    """Train a model for every combination of some options' values, each in its folder.

    On all cores of this machine, or on a Dask cluster. The same command again runs only
    what is missing. Ends with a table, and a page with error bars over seeds.

    Args:
        grid: an option of train and its values, as beta=1,2,4 or seed=0..9; repeatable
        out: folder of the sweep
        workers: processes at once; by default one for each core
        threads: of each worker; by default as many as leave no core with two
        scheduler: of a Dask cluster, as tcp://host:8786; `out` on a disk that all share
    """
    from minivae import sweep as sweeps
    from minivae import workers as pools

    if out is None:
        raise UserError("where to? say: minivae sweep --grid beta=1,2,4 --out DIR")
    if scheduler is not None and workers is not None:
        raise UserError("--workers are of this machine: a scheduler has its own")
    axes = read_grid(grid)
    if scheduler is None:
        workers, threads = sweeps.shared_out(workers, threads)
    places = sweeps.combinations(axes)
    base = _absolute(base)
    _check(axes, base)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    sweep = sweeps.Sweep.open(out.resolve(), base, places, threads or 1)
    pool = (
        pools.on_this_machine(workers or 1)
        if scheduler is None
        else pools.on_cluster(scheduler)
    )
    failures = _run(sweep, pool)
    _show(sweep)
    for name, failure in failures.items():
        print(f"failed: {name}: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _signature() -> inspect.Signature:
    """Return the signature of `_sweep` with the options of `train` for `base`."""
    own = inspect.signature(_sweep).parameters.values()
    shared = inspect.signature(train).parameters.values()
    return inspect.Signature(
        [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.name != "base"]
        + [p.replace(kind=p.KEYWORD_ONLY) for p in shared if p.name not in OWN],
        return_annotation=int,
    )


def _documented() -> str:
    """Return the docstring of `_sweep` with the options of `train` below its own."""
    shared = (inspect.getdoc(train) or "").partition("Args:\n")[2].splitlines()
    names = tuple(f"    {name}:" for name in OWN)
    told = [line for line in shared if not line.startswith(names)]
    return "\n".join([inspect.getdoc(_sweep) or "", *told])


def sweep(**given: Any) -> int:
    """Call `_sweep`; its signature and its docstring are made of two others' below."""
    return _sweep(**given)


_hints = get_type_hints(train) | get_type_hints(_sweep, include_extras=True)
sweep.__signature__ = _signature()  # type: ignore[attr-defined]
sweep.__annotations__ = {n: _hints[n] for n in _signature().parameters} | {
    "return": int
}
sweep.__doc__ = _documented()


# The grid


def read_grid(grid: Sequence[str]) -> dict[str, list[Value]]:
    """Return the values of each axis, as the option of `train` takes them."""
    from minivae.sweep import split_axis

    hints, axes = get_type_hints(train), {}
    for text in grid:
        name, words = split_axis(text)
        if name not in hints or name in ("return", *OWN, "data_dir"):
            raise UserError(f"--grid {text}: {name} is no option of train to go over")
        kinds = get_args(hints[name]) or (hints[name],)
        reader = next((READERS[kind] for kind in READERS if kind in kinds), None)
        if reader is None:
            raise UserError(f"--grid {text}: {name} takes more than one value itself")
        if name in axes:
            raise UserError(f"--grid {text}: {name} is there twice")
        try:
            axes[name] = [reader(word) for word in words]
        except (ValueError, KeyError) as error:
            raise UserError(f"--grid {text}: {error} does not fit {name}") from error
        if len(set(axes[name])) < len(words):
            raise UserError(f"--grid {text}: a value is there twice")
    return axes


READERS: dict[type, Callable[[str], Any]] = {
    bool: lambda word: {"true": True, "false": False}[word.lower()],
    int: int,
    float: float,
    str: str,
}


def _absolute(base: dict[str, Any]) -> dict[str, Any]:
    """Return options that mean the same in another folder, as JSON would have them."""
    from minivae.data.catalogue import is_own

    told = dict(base)
    file, colon, mode = told["data"].rpartition(":")
    for path, rest in ((told["data"], ""), (file, colon + mode)):
        if is_own(path) and Path(path).exists():
            told["data"] = f"{Path(path).resolve()}{rest}"
    if told["data_dir"] is not None:
        told["data_dir"] = str(Path(told["data_dir"]).resolve())
    return {n: list(v) if isinstance(v, tuple) else v for n, v in told.items()}


def _check(axes: dict[str, list[Value]], base: dict[str, Any]) -> None:
    """Build a model for each value of each axis; raises `UserError` for what fails."""
    first = {name: values[0] for name, values in axes.items()}
    for name, values in axes.items():
        for value in values:
            options = base | first | {name: value, "threads": None}
            prepared(options, _data(*(options.get(name) for name in OF_DATA)))


# A run


def finish(task: Task) -> None:
    """Bring a run of a sweep to its end, wherever it stands, and write its ledger."""
    from minivae import backend, checkpoint, evaluate
    from minivae import train as training
    from minivae.sweep import write_ledger

    folder = Path(task.folder)
    chosen = task.options | {"threads": task.threads}
    images = _data(*(chosen.get(name) for name in OF_DATA))
    with backend.limited_threads(task.threads):
        if (folder / checkpoint.CONFIG).exists():
            run = training.resume(folder, images, quiet=True)
        else:
            model, _, options = prepared(chosen, images)
            run = training.fit(model, images, out=folder, quiet=True, **options)
        numbers = evaluate.ledger(run.model, images, iwae=())
        if images.factors is not None:
            scores = evaluate.disentanglement(run.model, images)
            numbers["disentanglement"] = scores
    write_ledger(folder, numbers)


@lru_cache(maxsize=1)
def _data(name: Any, data_dir: Any, block: Any) -> Dataset:
    """Load a data set once for the runs that a worker does one after another."""
    from minivae.data import load

    return load(name, data_dir, block)


def _run(sweep: Sweep, pool: Any) -> dict[str, str]:
    """Do what is missing, and tell of it; returns why runs failed, by their names."""
    from minivae import sweep as sweeps

    started, total = time.monotonic(), len(sweep.runs)
    missing = len(sweep.tasks())
    print(f"{total} runs, {missing} of them to be done, {sweep.path}", file=sys.stderr)
    failures: dict[str, str] = {}
    for left, outcome in sweeps.run(sweep, finish, pool):
        name = Path(outcome.task.folder).name
        word = "failed" if outcome.failure else "done"
        if outcome.failure:
            failures[name] = outcome.failure
        seconds = time.monotonic() - started
        line = f"{total - left:5}/{total} {word:6} {seconds:6.0f} s  {name}"
        print(line, file=sys.stderr, flush=True)
    return failures


def _show(sweep: Sweep) -> None:
    """Print the table, and write the page, of what is finished."""
    from rich import box
    from rich.table import Table

    from minivae.cli.tables import print_table
    from minivae.files import write
    from minivae.page import sweep as page
    from minivae.sweep import PAGE

    groups = sweep.groups()
    if not groups:
        return
    head, rows = page.rows(groups)
    table = Table(box=box.SIMPLE_HEAD)
    for name in head:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    print_table(table)
    write(sweep.path / PAGE, page.page(sweep, groups).encode("utf-8"))
    print(f"mean ± standard deviation over seeds; the page: {sweep.path / PAGE}")
