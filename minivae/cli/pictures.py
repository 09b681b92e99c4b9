"""`minivae sample`, `reconstruct`, `interpolate`, `traverse`: PNG and .npy files."""

from __future__ import annotations

import math
from pathlib import Path

from tyro.conf import Positional

from minivae.cli.evaluate import load
from minivae.errors import UserError


def sample(
    run: Positional[Path],
    n: int = 80,
    seed: int = 0,
    columns: int = 16,
    out: Path | None = None,
) -> None:
    """Decode draws from the prior N(0, I).

    Args:
        run: run folder
        n: how many
        seed: of the draws
        columns: images in a row of the picture
        out: where to write, without suffix; by default RUN/figures/samples
    """
    from minivae.evaluate import pictures
    from minivae.train import load_run

    _check_count("n", n)
    drawn = pictures.samples(load_run(run).model, n, seed)
    _write(drawn, columns, out or run / "figures" / "samples")


def reconstruct(
    run: Positional[Path],
    n: int = 40,
    split: str = "test",
    columns: int = 16,
    out: Path | None = None,
    data_dir: Path | None = None,
) -> None:
    """Put images beside what the decoder makes of their mean codes.

    Args:
        run: run folder
        n: how many images
        split: train, validation or test
        columns: images in a row of the picture, originals and reconstructions counted
        out: where to write, without suffix; by default RUN/figures/reconstructions
        data_dir: folder of the data, if it has moved
    """
    from minivae.evaluate import pictures

    _check_count("n", n)
    loaded, images = load(run, data_dir)
    pairs = pictures.reconstructions(loaded.model, images, split, n)
    _write(pairs, columns, out or run / "figures" / "reconstructions")


def interpolate(
    run: Positional[Path],
    pairs: tuple[tuple[int, int], ...] = ((0, 1), (2, 3), (4, 5), (6, 7)),
    steps: int = 12,
    split: str = "test",
    out: Path | None = None,
    data_dir: Path | None = None,
) -> None:
    """Decode the straight line between the mean codes of two images.

    Args:
        run: run folder
        pairs: numbers of the images at the two ends, a row of the picture for each pair
        steps: images in a row
        split: train, validation or test
        out: where to write, without suffix; by default RUN/figures/interpolations
        data_dir: folder of the data, if it has moved
    """
    from minivae.evaluate import pictures

    _check_count("pairs", len(pairs))
    loaded, images = load(run, data_dir)
    lines = pictures.interpolations(loaded.model, images, split, pairs, steps)
    _write(lines, steps, out or run / "figures" / "interpolations")


def traverse(
    run: Positional[Path],
    image: int = 0,
    latents: tuple[int, ...] = (),
    span: float = 3.0,
    steps: int = 11,
    split: str = "test",
    out: Path | None = None,
    data_dir: Path | None = None,
) -> None:
    """Decode one image's mean code with one latent moved, a row for each latent.

    Args:
        run: run folder
        image: number of the image
        latents: which latents; by default all of them
        span: each goes from minus this to plus this
        steps: images in a row
        split: train, validation or test
        out: where to write, without suffix; by default RUN/figures/traversals
        data_dir: folder of the data, if it has moved
    """
    import numpy as np

    from minivae.evaluate import pictures

    _check_count("steps", steps)
    if not math.isfinite(span):
        raise UserError(f"span must be a finite number, not {span}")
    loaded, images = load(run, data_dir)
    chosen = latents or tuple(range(loaded.model.latent))
    values = np.linspace(-span, span, steps, dtype=np.float32)
    rows = pictures.traversals(loaded.model, images, split, image, chosen, values)
    _write(rows, steps, out or run / "figures" / "traversals")


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{name} must be at least 1, not {value}")


def _write(images: object, columns: int, stem: Path) -> None:
    from minivae.evaluate import pictures

    _check_count("columns", columns)
    for path in pictures.save(images, columns, stem):  # type: ignore[arg-type]
        print(path)
