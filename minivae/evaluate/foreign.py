"""What is foreign to a model: a class that it never saw, or another data set.

Leave one class out: a model like the run's is trained anew, on the training and the
validation images of the other classes; all test images are scored, and those of the
class should look strange to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset, load
from minivae.data.dataset import Split
from minivae.errors import UserError
from minivae.evaluate.detect import BASELINES, detect
from minivae.evaluate.features import labels_of
from minivae.evaluate.intervals import Verdict, best, crossed
from minivae.evaluate.pictures import as_png, framed, grid
from minivae.models import Autoencoder, build
from minivae.train import Run, fit

SHOWN = 32  # most and least typical images each
COLUMNS = 16


class Case(NamedTuple):
    """One question: its numbers, its images, which are foreign, and their scores.

    `scores` (N, S + 1) has a column for each score of the document, and a last one
    that is 1 for the foreign images.
    """

    document: dict[str, Any]
    images: Array
    foreign: Array
    scores: Array


def left_out(
    run: Run, data: Dataset, label: int, epochs: int | None = None, **options: Any
) -> Case:
    """Train without a class, and detect it; options are those of `detect`."""
    known = without(data, label)
    model = retrained(run, known, epochs)
    truth = labels_of(data, "test", "detect --leave-out")
    return _case(
        model,
        known,
        np.asarray(data.test.images),
        truth == label,
        data.class_name(label),
        options,
    )


def against(
    model: Autoencoder,
    data: Dataset,
    other: str,
    data_dir: str | Path | None = None,
    **options: Any,
) -> Case:
    """Detect the test images of another data set among the model's own."""
    strange = load(other, data_dir)
    if strange.shape != data.shape:
        raise UserError(
            f"{strange.name} has images {strange.shape}, {data.name} {data.shape}"
        )
    if strange.mode != data.mode:
        raise UserError(
            f"{data.name} and {strange.name} are binarised in different ways, which "
            f"alone tells them apart: use {other.rpartition(':')[0] or other}"
            f":{data.mode}"
        )
    if strange.digest() == data.digest():
        raise UserError(f"{strange.name} is what the model was trained on")
    images = np.concatenate([data.test.images, strange.test.images])
    foreign = np.arange(len(images)) >= len(data.test)
    return _case(model, data, images, foreign, strange.name, options)


def _case(
    model: Autoencoder,
    data: Dataset,
    images: Array,
    foreign: Array,
    name: str,
    options: dict[str, Any],
) -> Case:
    document, scores = detect(model, data, images, foreign, **options)
    columns = [*scores.values(), foreign.astype(np.float64)]
    return Case({"foreign": name, **document}, images, foreign, np.stack(columns, 1))


def class_labels(data: Dataset, wanted: Sequence[str]) -> list[int]:
    """Return the labels of classes given by name or number, or of all of them."""
    present = [int(i) for i in np.unique(labels_of(data, "train", "detect"))]
    if list(wanted) == ["all"]:
        return present
    known = {data.class_name(label).lower(): label for label in present}
    known |= {str(label): label for label in present}
    for name in wanted:
        if name.lower() not in known:
            have = ", ".join(data.class_name(label) for label in present)
            raise UserError(f"{data.name} has no class {name}; it has {have}")
    return list(dict.fromkeys(known[name.lower()] for name in wanted))


def without(data: Dataset, label: int) -> Dataset:
    """Return a data set whose training and validation splits lack a class."""

    def kept(split: Split) -> Split:
        grey, labels = np.asarray(split.grey), np.asarray(split.labels)
        keep = labels != label
        return replace(split, grey=grey[keep], labels=labels[keep])

    name = f"{data.name} without {data.class_name(label)}"
    return replace(
        data, name=name, train=kept(data.train), validation=kept(data.validation)
    )


def retrained(run: Run, data: Dataset, epochs: int | None = None) -> Autoencoder:
    """Return a model built as the run's, trained in the same way on `data`."""
    options = dict(run.config["train"])
    if epochs is not None:
        options["epochs"] = epochs
    description = dict(run.model.config())
    model = build(description.pop("model"), **description)
    return fit(model, data, quiet=True, **options).model


def picture(case: Case) -> bytes:
    """Draw the 32 most typical images, then the 32 least, by the model's best score.

    Foreign images have an orange frame. Each half begins with its extreme.
    """
    name = case.document["verdicts"]["auroc"]["ours"]
    column = [row["score"] for row in case.document["scores"]].index(name)
    order = np.argsort(case.scores[:, column], kind="stable")
    shown = np.concatenate([order[:SHOWN], order[::-1][:SHOWN]])
    return as_png(grid(framed(case.images[shown], case.foreign[shown]), COLUMNS))


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return each score's mean AUROC over the cases, and who wins by it.

    The intervals take the classes for a sample of classes.
    """
    names = [row["score"] for row in found[0]["scores"]]
    values = {
        name: np.array([[one["scores"][i]["auroc"]["value"] for one in found]])
        for i, name in enumerate(names)
    }
    mean = {name: crossed(row) for name, row in values.items()}
    ours = best({n: v for n, v in mean.items() if n not in BASELINES})
    rival = best({n: v for n, v in mean.items() if n in BASELINES})
    verdict = Verdict(ours, rival, crossed(values[ours] - values[rival]))
    return {
        "mean": {name: interval._asdict() for name, interval in mean.items()},
        "verdict": verdict.document(),
    }
