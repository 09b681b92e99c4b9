"""`minivae embed`, `probe`, `cluster`, `detect`: what a code is good for.

Each beside its baselines, with 95 % intervals, and a plain word on who wins.
"""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from minivae.cli.evaluate import load
from minivae.cli.tables import print_table, say
from minivae.errors import UserError

if TYPE_CHECKING:
    from minivae.evaluate.foreign import Case

NAMES = {"code": "code", "pca": "PCA", "pixels": "pixels"}
SHORT = {"reconstruction": "recon", "PCA residual": "PCA", "mean image": "mean"}


def embed(
    run: Positional[Path],
    latents: tuple[int, int] | None = None,
    by: str = "pca",
    neighbours: int = 5,
    split: str = "test",
    out: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Draw the mean codes in the plane, PCA of the pixels beside them.

    Args:
        run: run folder
        latents: which two; by default both of two, of more see --by
        by: of more than two latents, pca of the codes, or the two of the largest kl
        neighbours: that trustworthiness looks at
        split: train, validation or test
        out: where to write, without suffix; by default RUN/figures/embedding
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    import numpy as np

    from minivae.evaluate import embed as measure
    from minivae.evaluate import pictures
    from minivae.evaluate.scatter import Plane, side_by_side

    loaded, images = load(run, data_dir)
    found = measure(
        loaded.model,
        images,
        latents=latents,
        by=by,
        neighbours=neighbours,
        split=split,
    )
    planes = {
        "Mean codes": Plane(found.code, found.axes),
        "PCA of the pixels": Plane(found.pca, ("component 1", "component 2")),
    }
    labels = np.zeros(len(found.code), int) if found.labels is None else found.labels
    names = {int(label): images.class_name(int(label)) for label in np.unique(labels)}
    contents = {
        ".png": side_by_side(planes, labels, names),
        "-code.npy": pictures.as_npy(found.code),
        "-pca.npy": pictures.as_npy(found.pca),
        "-latents.npy": pictures.as_npy(found.codes),
    }
    paths = pictures.save_files(contents, out or run / "figures" / "embedding")
    document = found.document | {"files": [str(path) for path in paths]}
    if _printed(document, json):
        return
    _told(document, f"trustworthiness of the plane, {neighbours} neighbours")
    rows = [
        (f"code: {', '.join(found.axes)}", document["trustworthiness"]["code"]),
        ("PCA of the pixels, 2 components", document["trustworthiness"]["pca"]),
    ]
    _table(("plane", "T", "95 %"), [(name, *_ends(value)) for name, value in rows])
    say(document["verdict"]["text"])
    print("\n".join(map(str, paths)))


def probe(
    run: Positional[Path],
    labels: tuple[str, ...] | None = None,
    draws: int = 10,
    split: str = "test",
    seed: int = 0,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Classify by few labels: on the mean code, on PCA of its size, on pixels.

    Args:
        run: run folder
        labels: numbers of labelled training images, and all; by default 10 100 1000 all
        draws: how often the labelled images are drawn
        split: train, validation or test: where accuracy is taken
        seed: of the draws
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    from minivae.evaluate import probe as measure

    loaded, images = load(run, data_dir)
    found = measure(
        loaded.model, images, labels=labels, draws=draws, split=split, seed=seed
    )
    if _printed(found, json):
        return
    _told(found, "accuracy ± half its 95 % interval")
    for classifier in dict.fromkeys(row["classifier"] for row in found["rows"]):
        rows = [
            (
                f"{row['labels']}",
                *(_half(row["accuracy"][name]) for name in NAMES),
                row["verdict"]["short"],
            )
            for row in found["rows"]
            if row["classifier"] == classifier
        ]
        print(f"\n{classifier}")
        _table(("labels", *NAMES.values(), "verdict"), rows)
    say(
        f"PCA has {found['latent']} components, or as many as there can be. The "
        "verdict is by the difference between the code and the better baseline, draw "
        f"by draw and image by image; {draws} draws of the labelled images, one of all."
    )


def cluster(
    run: Positional[Path],
    clusters: int | None = None,
    restarts: int = 10,
    split: str = "test",
    resamples: int = 1000,
    seed: int = 0,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Compare k-means' clusters with classes: on mean code, PCA of its size, pixels.

    Args:
        run: run folder
        clusters: how many; by default as many as classes
        restarts: of k-means, of which the best by its own objective counts
        split: train, validation or test: where clusters are compared with labels
        resamples: of the images, for the intervals
        seed: of k-means and of the resamples
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    from minivae.evaluate import cluster as measure

    loaded, images = load(run, data_dir)
    found = measure(
        loaded.model,
        images,
        clusters=clusters,
        restarts=restarts,
        split=split,
        resamples=resamples,
        seed=seed,
    )
    if _printed(found, json):
        return
    _told(found, f"k-means, {found['clusters']} clusters, best of {restarts} starts")
    rows = [
        (NAMES[name], *_ends(row["nmi"]), *_ends(row["ari"]))
        for name, row in found["rows"].items()
    ]
    _table(("features", "NMI", "95 %", "ARI", "95 %"), rows)
    for metric, verdict in found["verdicts"].items():
        say(f"{metric.upper()}: {verdict['text']}")


def detect(
    run: Positional[Path],
    leave_out: tuple[str, ...] = (),
    against: str | None = None,
    epochs: int | None = None,
    k: int = 50,
    false_alarms: float = 0.05,
    resamples: int = 1000,
    seed: int = 0,
    out: Path | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Tell foreign images from a model's own: a class left out, or other data.

    With --leave-out a model like the run's is trained anew without each class, which
    is foreign then; with --against the run's own model judges another data set.

    Args:
        run: run folder
        leave_out: classes, by name or number, or all
        against: a data set whose test images are foreign, of the same size and mode
        epochs: of the models trained without a class; by default the run's
        k: draws of z in −ELBO and IWAE
        false_alarms: share of the validation images that the thresholds let through
        resamples: of the images, for the intervals
        seed: of the resamples
        out: where to write, without suffix; by default RUN/figures/foreign-...
        data_dir: folder of the data, if it has moved
        json: print one JSON document and nothing else
    """
    from minivae import backend
    from minivae.evaluate import foreign

    backend.keep_freed_memory()
    loaded, images = load(run, data_dir)
    options: dict[str, Any] = {
        "k": k,
        "false_alarms": false_alarms,
        "resamples": resamples,
        "seed": seed,
    }
    if bool(leave_out) == (against is not None):
        raise UserError(
            "which images are foreign? give --leave-out CLASS ... (or all), or "
            "--against DATA"
        )
    stem = out or run / "figures" / "foreign"
    if against is not None:
        if epochs is not None:
            raise UserError("--epochs is for --leave-out: --against trains nothing")
        case = foreign.against(loaded.model, images, against, data_dir, **options)
        found = [_case(case, stem)]
    else:
        labels = foreign.class_labels(images, leave_out)
        found = []
        for i, label in enumerate(labels, start=1):
            name = images.class_name(label)
            print(f"training without {name}, {i} of {len(labels)}", file=sys.stderr)
            case = foreign.left_out(loaded, images, label, epochs, **options)
            own = stem.with_name(f"{stem.name}-{_slug(name)}")
            found.append(_case(case, own))
    summary = foreign.summary(found) if len(found) > 1 else None
    if _printed({"run": str(run), "cases": found, "summary": summary}, json):
        return
    for one in found:
        _print_case(one)
    if summary:
        _print_summary(found, summary)


def _case(case: Case, stem: Path) -> dict[str, Any]:
    """Write the pictures of a case; returns its document with their paths."""
    from minivae.evaluate import foreign, pictures

    contents = {".png": foreign.picture(case), ".npy": pictures.as_npy(case.scores)}
    paths = pictures.save_files(contents, stem)
    return {**case.document, "files": [str(path) for path in paths]}


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def _print_case(found: dict[str, Any]) -> None:
    own = found["n_images"] - found["n_foreign"]
    say(
        f"foreign: {found['foreign']}. Trained on {found['data']}; test images: "
        f"{found['n_foreign']} foreign, {own} others"
    )
    rows = [
        (
            row["score"] + (" *" if row["baseline"] else ""),
            *_ends(row["auroc"]),
            *_ends(row["average_precision"]),
            f"{row['false_positive_rate']['value']:.3f}",
            f"{row['detection_rate']['value']:.3f}",
        )
        for row in found["scores"]
    ]
    _table(("score", "AUROC", "95 %", "AP", "95 %", "FPR", "found"), rows)
    for metric, name in (("auroc", "AUROC"), ("average_precision", "AP")):
        say(f"{name}: {found['verdicts'][metric]['text']}")
    if found["below_chance"]:
        say("All scores rank below chance: the foreign images look typical.")
    share, prevalence = found["false_alarms"], found["n_foreign"] / found["n_images"]
    say(
        f"* baseline. By chance AUROC is 0.5, AP {prevalence:.3f}. FPR and found: the "
        "share of the others and of the foreign above the threshold that "
        f"{100 * share:g} % of the validation images exceed."
    )
    if found["missing"]:
        print(found["missing"])
    print("\n".join(found["files"]))
    say(
        "The picture: 32 most typical images, then the 32 least, by the best of the "
        "model's scores; foreign ones in orange frames."
    )
    print()


def _print_summary(found: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    rows = []
    for one in found:
        values = {row["score"]: row["auroc"] for row in one["scores"]}
        verdict = one["verdicts"]["auroc"]
        rows.append(
            (
                one["foreign"],
                *_best_two(verdict, values),
                "below chance" if one["below_chance"] else verdict["short"],
            )
        )
    verdict = summary["verdict"]
    mean = ("mean", *_best_two(verdict, summary["mean"]), verdict["short"])
    print("AUROC ± half its 95 % interval, of the best score and the best baseline")
    _table(("left out", "model", "baseline", "verdict"), [*rows, mean])
    say(f"Over the classes: {verdict['text']}")


def _best_two(verdict: dict[str, Any], values: dict[str, Any]) -> list[str]:
    names = (verdict["ours"], verdict["baseline"])
    return [f"{SHORT.get(name, name)}  {_half(values[name])}" for name in names]


# Tables


def _printed(document: dict[str, Any], json: bool) -> bool:
    """Print a document if --json was given; returns whether it was."""
    if json:
        print(jsonlib.dumps(document, indent=2))
    return json


def _told(found: dict[str, Any], what: str) -> None:
    latents = f"{found['latent']} latent{'s' * (found['latent'] > 1)}"
    print(
        f"{found['data']}, {found['split']}, {found['n_images']} images; mean codes of "
        f"{latents}\n{what}"
    )


def _half(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} ± {(found['high'] - found['low']) / 2:.3f}"


def _ends(found: dict[str, float]) -> tuple[str, str]:
    return f"{found['value']:.3f}", f"{found['low']:.3f}–{found['high']:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    print_table(table)
