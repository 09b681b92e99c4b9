"""`minivae evaluate` and `minivae report`: a run's numbers, and its page."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

if TYPE_CHECKING:
    from minivae.data import Dataset
    from minivae.train import Run


def load(folder: Path, data_dir: Path | None) -> tuple[Run, Dataset]:
    """Load a run and its data set; raises `UserError` if the data have changed."""
    from minivae import data, train
    from minivae.errors import UserError

    run = train.load_run(folder)
    recorded = run.config["data"]
    images = data.load_again(recorded, data_dir)
    if images.digest() != recorded["sha256"]:
        raise UserError(
            f"{recorded['source']} is not what {folder} was trained on: "
            "its digest differs"
        )
    return run, images


def evaluate(
    runs: Positional[tuple[Path, ...]],
    split: str = "test",
    draws: int = 16,
    iwae: str = "5,50",
    disentanglement: bool = False,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Print the bound ledger of a run, or of several that may be compared.

    Args:
        runs: run folders
        split: train, validation or test
        draws: codes drawn for each image
        iwae: numbers of draws of the importance-weighted bounds, with commas
        disentanglement: also hold the codes against the factors of the data
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    from minivae import backend
    from minivae.errors import UserError
    from minivae.evaluate import comparable, factors, ledger, subject

    backend.keep_freed_memory()
    if not runs:
        raise UserError("which run? say: minivae evaluate RUN")
    options: dict[str, Any] = {"split": split, "draws": draws, "iwae": _numbers(iwae)}
    loaded = [load(run, data_dir) for run in runs]
    for _, images in loaded if disentanglement else ():
        factors.known_factors(images)  # not after minutes of bounds
    subjects = [subject(run.model, images, split) for run, images in loaded]
    comparable(subjects, [str(run) for run in runs])
    found = [ledger(run.model, images, **options) for run, images in loaded]
    for numbers, (trained, images) in zip(found, loaded, strict=True):
        if disentanglement:
            scored = factors.disentanglement(trained.model, images, split=split)
            numbers["disentanglement"] = scored
    if json:
        print(jsonlib.dumps(found if len(found) > 1 else found[0], indent=2))
        return
    for run, numbers in zip(runs, found, strict=True):
        if len(runs) > 1:
            print(run)
        _print_ledger(numbers)
        if disentanglement:
            _print_factors(numbers["disentanglement"])


def _print_factors(found: dict[str, Any]) -> None:
    """Print the scores, and what each active latent says of each factor."""
    from rich import box
    from rich.table import Table

    from minivae.cli.tables import print_table
    from minivae.evaluate.factors import score_rows

    caption = f"{found['split']}, {found['n_images']} images, "
    caption += f"{len(found['latents'])} active latents"
    table = Table(title=caption, title_justify="left", box=box.SIMPLE_HEAD)
    for name, justify in (
        ("disentanglement", "left"),
        ("score", "right"),
        ("", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, score, note in score_rows(found):
        table.add_row(name, f"{score:.3f}", note)
    print_table(table)
    told = "Mutual information, nats: latents down, factors across"
    table = Table(title=told, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("latent")
    for name in found["factors"]:
        table.add_column(name, justify="right")
    for latent, row in zip(found["latents"], found["mutual_information"], strict=True):
        table.add_row(str(latent), *(f"{value:.2f}" for value in row))
    table.add_section()
    table.add_row("entropy", *(f"{value:.2f}" for value in found["entropy"]))
    if bias := found["mi_bias"]:  # much the same for all latents
        table.add_row(
            "by chance", *(f"{max(own):.2f}" for own in zip(*bias, strict=True))
        )
    print_table(table)


def _numbers(text: str) -> tuple[int, ...]:
    from minivae.errors import UserError

    try:
        return tuple(int(word) for word in text.split(",") if word)
    except ValueError as error:
        raise UserError(f"--iwae takes whole numbers, as 5,50, not {text}") from error


def report(run: Positional[Path], data_dir: Path | None = None) -> None:
    """Write report.html into a run folder.

    Args:
        run: run folder
        data_dir: folder of the data, if it has moved
    """
    from minivae import backend
    from minivae.evaluate import ledger

    backend.keep_freed_memory()
    loaded, images = load(run, data_dir)
    print(write_report(loaded, images, ledger(loaded.model, images)))


def print_ledger(run: Run, images: Dataset) -> dict[str, Any]:
    """Print the ledger of a run as a table; returns its numbers."""
    from minivae.evaluate import ledger

    numbers = ledger(run.model, images)
    _print_ledger(numbers)
    return numbers


def _print_ledger(numbers: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from minivae.cli.tables import print_table
    from minivae.page.report import ledger_table

    caption, head, rows = ledger_table(numbers)
    table = Table(title=caption, title_justify="left", box=box.SIMPLE_HEAD)
    for name, justify in zip(head, ("left", "right", "left"), strict=True):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    print_table(table)


def write_report(run: Run, images: Dataset, numbers: dict[str, Any]) -> Path:
    """Write the page of a run; returns its path."""
    from minivae.files import write
    from minivae.page.report import report as page

    assert run.path is not None
    path = run.path / "report.html"
    write(path, page(run, images, numbers).encode("utf-8"))
    return path


def write_pictures(run: Run, images: Dataset) -> None:
    """Write reconstructions and samples into the run's folder figures."""
    from minivae.evaluate import pictures

    assert run.path is not None
    figures = run.path / "figures"
    pairs = pictures.reconstructions(run.model, images, "test", 40)
    pictures.save(pairs, 16, figures / "reconstructions")
    drawn = pictures.samples(run.model, 80, run.config["train"]["seed"])
    pictures.save(drawn, 16, figures / "samples")
