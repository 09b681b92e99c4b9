"""`minivae sample`, `reconstruct`, `interpolate`, `traverse`, `manifold`: pictures.

PNG and .npy files, and beside each picture a number that a baseline has too.
"""

from __future__ import annotations

import json as jsonlib
import math
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from minivae.cli.evaluate import load
from minivae.cli.tables import say
from minivae.errors import UserError


def sample(
    run: Positional[Path],
    n: int = 80,
    seed: int = 0,
    columns: int = 16,
    out: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Decode draws from the prior N(0, I); say how near they come to real images.

    Args:
        run: run folder
        n: how many
        seed: of the draws
        columns: images in a row of the picture
        out: where to write, without suffix; by default RUN/figures/samples
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    from minivae.evaluate import likeness, pictures

    _check_count("n", n)
    loaded, images = load(run, data_dir)
    drawn = pictures.samples(loaded.model, n, seed)
    measured = likeness.sampling(loaded.model, images, seed)
    files = _write(drawn, columns, out or run / "figures" / "samples")
    _tell(files, measured, json)
    if not loaded.model.has_kl and not json:
        say("An autoencoder has no prior: these codes are drawn from one all the same.")


def reconstruct(
    run: Positional[Path],
    n: int = 40,
    split: str = "test",
    columns: int = 16,
    out: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Put images beside what the decoder makes of their mean codes.

    Args:
        run: run folder
        n: how many images
        split: train, validation or test
        columns: images in a row of the picture, originals and reconstructions counted
        out: where to write, without suffix; by default RUN/figures/reconstructions
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    from minivae.evaluate import likeness, pictures

    _check_count("n", n)
    loaded, images = load(run, data_dir)
    pairs = pictures.reconstructions(loaded.model, images, split, n)
    measured = likeness.reconstruction(loaded.model, images, split)
    files = _write(pairs, columns, out or run / "figures" / "reconstructions")
    _tell(files, measured, json)


def interpolate(
    run: Positional[Path],
    pairs: tuple[tuple[int, int], ...] = ((0, 1), (2, 3), (4, 5), (6, 7)),
    steps: int = 12,
    paths: tuple[str, ...] = ("linear", "spherical", "pixels"),
    split: str = "test",
    seed: int = 0,
    out: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Decode paths between the mean codes of two images, and fade their pixels.

    Args:
        run: run folder
        pairs: numbers of the images at the two ends
        steps: images in a row
        paths: linear and spherical between codes, pixels; a row for each, pair by pair
        split: train, validation or test
        seed: of the pairs whose middles are measured
        out: where to write, without suffix; by default RUN/figures/interpolations
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    from minivae.evaluate import likeness, pictures

    _check_count("pairs", len(pairs))
    _check_count("paths", len(paths))
    _check_steps(steps)
    for path in paths:
        if path not in pictures.PATHS:
            raise UserError(f"no path {path!r}; have {', '.join(pictures.PATHS)}")
    loaded, images = load(run, data_dir)
    lines = pictures.interpolations(loaded.model, images, split, pairs, steps, paths)
    measured = likeness.interpolation(loaded.model, images, split, seed)
    files = _write(lines, steps, out or run / "figures" / "interpolations")
    _tell(files, measured, json)


def traverse(
    run: Positional[Path],
    image: int = 0,
    latents: tuple[int, ...] = (),
    span: float = 3.0,
    steps: int = 11,
    frames: int = 40,
    split: str = "test",
    out: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Decode one image's mean code with one latent moved: a row for each, and a GIF.

    Args:
        run: run folder
        image: number of the image
        latents: which latents; by default all, in the order of their KL, largest first
        span: each goes from minus this to plus this
        steps: images in a row
        frames: of the GIF, in which every latent goes there and back
        split: train, validation or test
        out: where to write, without suffix; by default RUN/figures/traversals
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    import numpy as np

    from minivae.evaluate import features, pictures

    _check_steps(steps)
    if not math.isfinite(span):
        raise UserError(f"span must be a finite number, not {span}")
    loaded, images = load(run, data_dir)
    model = loaded.model
    features.check_latents(model, latents)
    order, carried, what = pictures.ranked_latents(model, images)
    chosen = latents or tuple(order)
    values = np.linspace(-span, span, steps, dtype=np.float32)
    where = (model, images, split, image, chosen)
    film = pictures.traversal_film(*where, span, frames)
    contents = pictures.contents(pictures.traversals(*where, values), steps)
    contents[".gif"] = pictures.as_gif(film)
    files = pictures.save_files(contents, out or run / "figures" / "traversals")
    by_latent = dict(zip(order, carried, strict=True))
    rows = [{"latent": i, what.lower(): by_latent[i]} for i in chosen]
    if json:
        _print_json({"files": list(map(str, files)), "code": "mean", "rows": rows})
        return
    print("\n".join(map(str, files)))
    told = ", ".join(f"{i} ({by_latent[i]:.2f})" for i in chosen)
    unit = "KL in nats" if what == "KL" else "variance of the mean codes"
    say(f"rows: latents {told}; in brackets their {unit}")


def manifold(
    run: Positional[Path],
    steps: int = 20,
    latents: tuple[int, int] = (0, 1),
    out: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Decode a grid over two latents, at the quantiles of the prior; PCA's beside it.

    Args:
        run: run folder
        steps: images a side
        latents: which two go right and up; of more, the others are held at 0
        out: where to write, without suffix; by default RUN/figures/manifold
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    from minivae.evaluate import likeness, pictures

    loaded, images = load(run, data_dir)
    drawn = pictures.manifold(loaded.model, images, steps, latents)
    linear = pictures.linear_manifold(images, steps)
    measured = likeness.reconstruction(loaded.model, images, "test")
    stem = out or run / "figures" / "manifold"
    files = _write(drawn, steps, stem)
    files += _write(linear, steps, stem.with_name(stem.name + "-pca"))
    _tell(files, measured, json)


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{name} must be at least 1, not {value}")


def _check_steps(steps: int) -> None:
    from minivae.evaluate.pictures import MOST_STEPS

    _check_count("steps", steps)
    if steps > MOST_STEPS:
        raise UserError(f"{steps:,} images in a row: at most {MOST_STEPS}")


def _write(images: object, columns: int, stem: Path) -> list[Path]:
    from minivae.evaluate import pictures

    _check_count("columns", columns)
    return pictures.save(images, columns, stem)  # type: ignore[arg-type]


def _print_json(document: dict[str, Any]) -> None:
    print(jsonlib.dumps(document, indent=2))


def _tell(files: list[Path], measured: dict[str, Any], json: bool) -> None:
    """Print what was written, what was measured beside it, and who wins."""
    if json:
        _print_json({"files": list(map(str, files)), **measured})
        return
    print("\n".join(map(str, files)))
    print(f"{measured['measure']}, with its 95 % interval:")
    for name, row in measured["rows"].items():
        print(f"  {name:12} {row['value']:8.2f}  {row['low']:.2f}–{row['high']:.2f}")
    for verdict in measured["verdicts"].values():
        say(verdict["text"])
