"""What the AE family's benchmarks count and draw; their numbers are not tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bottleneck, cost, drawing, field, overfitting, report
from benchmarks.__main__ import main
from minivae import models
from minivae.data import Dataset, load
from minivae.verify.exact import Spectrum


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    for name, value in (("LATENT", 4), ("HIDDEN", 8), ("EVERY", 2), ("PATIENCE", 4)):
        monkeypatch.setattr(overfitting, name, value)
    return bottleneck.first_images(load("digits"), 100)


def trained(way: overfitting.Way, few: Dataset, epochs: int = 6) -> Any:
    return overfitting.trained(way, 0, epochs, few, 100)


def test_only_the_training_images_become_fewer() -> None:
    whole = load("digits")
    few = bottleneck.first_images(whole, 100)
    assert (len(few.train), len(few.validation)) == (100, len(whole.validation))
    np.testing.assert_array_equal(few.train.images, whole.train.images[:100])
    np.testing.assert_array_equal(few.test.images, whole.test.images)
    assert few.name == whole.name


@pytest.mark.parametrize("way", overfitting.WAYS, ids=lambda way: way.name)
def test_every_way_trains_and_is_measured(way: overfitting.Way, few: Dataset) -> None:
    curve = trained(way, few)
    assert curve.epochs == [2, 4, 6]
    assert min(*curve.train, *curve.validation, curve.test) > 0  # no less than entropy
    assert curve.train[-1] < curve.train[0]


def test_early_stopping_is_the_plain_training_cut_off(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([9.0, 9.0, 8.0, 5.0, 7.0, 6.0, 6.0, 6.0, 4.0])
    monkeypatch.setattr(overfitting, "excess", lambda model, images: next(told))
    curve = trained(overfitting.Way("early", patience=4), few, epochs=100)
    assert curve.epochs == [2, 4, 6, 8]
    assert curve.validation == [9.0, 5.0, 6.0, 6.0]
    assert (curve.best, curve.test) == (1, 4.0)


def test_a_perfect_reconstruction_is_the_zero_of_the_scale() -> None:
    images = np.linspace(0.1, 0.9, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    model: Any = models.build(
        "ae", shape=(1, 8, 8), latent=1, hidden=(), likelihood="soft_bce"
    ).to(dtype=np.float64)
    state = {name: np.zeros_like(value) for name, value in model.state().items()}
    x = images.reshape(-1).astype(np.float64)
    model.load_state(state | {"decoder.0.bias": np.log(x / (1 - x))})
    assert abs(overfitting.excess(model, images)) <= 1e-9


def test_pca_leaves_the_small_eigenvalues() -> None:
    few = bottleneck.first_images(load("digits"), 200)
    x = few.train.images.reshape(200, -1).astype(np.float64)
    exact = Spectrum.of(x - x.mean(axis=0)).discarded(5)
    assert bottleneck.by_pca(5, few).train == pytest.approx(exact, rel=1e-4)


def test_a_linear_autoencoder_touches_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"epochs": 400, "lr": 0.02, "batch": 100}
    monkeypatch.setitem(bottleneck.TRAINING, bottleneck.LINEAR, options)
    few = bottleneck.first_images(load("digits"), 400)
    least = bottleneck.by_pca(3, few).train
    found = bottleneck.trained(bottleneck.LINEAR, 3, 0, few).train
    assert least - 1e-6 <= found <= 1.02 * least


def test_tables_are_readable_and_pictures_are_drawn(
    few: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = [trained(way, few) for way in overfitting.WAYS]
    wide = [c for c in curves for _ in range(2)]
    points = [
        bottleneck.Point(how, size, seed, 20.0 / size, 30.0 / size)
        for size in bottleneck.SIZES
        for how in (bottleneck.PCA, bottleneck.LINEAR, bottleneck.DEEP)
        for seed in (0, 1)
    ]
    row = report.Row("AE", "minivae", 128, 2.0, 1.9, 2.1, ratio_to="AE", ratio=1.0)
    sheets = [
        overfitting.sheet(wide, "digits, 100 images"),
        bottleneck.sheet(points, "digits, 100 images"),
        cost.sheet([cost.Cost(row, (0.9, 1.0, 1.1))]),
    ]
    report.print_sheets(sheets)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "early stopping" in printed
    for name, draw in (
        ("overfitting", lambda: overfitting.drawn(curves)),
        ("bottleneck", lambda: bottleneck.drawn(points)),
    ):
        paths = drawing.save(draw, tmp_path / name)
        assert all(path.stat().st_size > 5000 for path in paths)


def test_the_field_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from minivae.verify.oracles import score

    monkeypatch.setattr(score, "trained", lambda train=score.trained: train(20))
    field.field(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["field.png"]


def test_a_cost_is_a_time_over_the_plain_autoencoders() -> None:
    costs = {found.row.benchmark: found for found in cost.measure(1)}
    assert costs.keys() == {case.name for case in cost.CASES}
    plain = costs[cost.AE].row.p50_ms
    assert plain is not None
    for found in costs.values():
        assert found.row.p50_ms is not None
        assert found.row.ratio == pytest.approx(plain / found.row.p50_ms)
        assert found.over == pytest.approx(3 * (found.row.p50_ms / plain,))


@pytest.mark.parametrize("name", ["overfitting", "bottleneck", "cost"])
def test_the_page_has_its_markers(name: str) -> None:
    report.split_page(name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("overfitting", "--seeds", "0"), "one seed and 10 epochs at least"),
        (("overfitting", "--images", "9"), "take 50 or more"),
        (("bottleneck", "--images", "64"), "take more than 64"),
        (("bottleneck", "--seeds", "0"), "one seed at least, not 0"),
        (("cost", "--rounds", "0"), "rounds must be at least 1, not 0"),
    ],
)
def test_bad_input_ends_in_one_line(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 2
    told = capsys.readouterr()
    assert words in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)


def test_the_json_document_has_the_curves(
    few: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setattr(overfitting, "WAYS", overfitting.WAYS[:6])
    main_options = ("--images", "50", "--epochs", "4", "--seeds", "1", "--json")
    main(["overfitting", "--data", "digits", *main_options, "--out", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == []
    assert {c["way"] for c in found["overfitting"]} == {
        way.name for way in overfitting.WAYS
    }
