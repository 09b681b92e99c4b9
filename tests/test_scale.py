"""Time and memory against size, and conv against dense: what is made of the numbers."""

import inspect
import math

import pytest

import minivae as mv
from benchmarks import curves, drawing, point, report, scale
from benchmarks.__main__ import main
from benchmarks.steps import Step
from minivae import VAE
from minivae.cli import train as cli
from minivae.random import Noise


def series(what, sizes, seconds, peaks):
    points = zip(seconds, peaks, strict=True)
    rounds = [[{"seconds": [s], "peak_mb": mb} for s, mb in points]]
    return scale.Series(what, "mlp", sizes, rounds)


def test_slopes_are_exponents():
    assert scale.slope([1, 10, 100], [3, 30, 300]) == pytest.approx(1)
    assert scale.slope([1, 10, 100], [7, 7, 7]) == pytest.approx(0)
    linear = series("step", (32, 64), (0.001, 0.002), (100, 200))
    assert scale.slopes_of(linear) == pytest.approx({"time an image": 0, "MB": 1})


def test_the_memory_of_an_epoch_is_told_without_its_images():
    sizes = (1_000, 10_000)
    peaks = [140 + size * 784 * 4e-6 for size in sizes]
    epochs = series("epoch", sizes, (0.1, 1.0), peaks)
    assert epochs.above_images() == pytest.approx([140, 140])
    found = scale.slopes_of(epochs)
    assert found == pytest.approx({"time of an epoch": 1, "MB above the images": 0})


def test_sizes_are_medians_over_the_processes():
    found = series("step", (32, 64), (0.001, 0.002), (100, 200))
    found.rounds += 2 * series("step", (32, 64), (0.003, 0.004), (120, None)).rounds
    assert found.seconds() == [0.003, 0.004]
    assert found.peaks() == [120, 200]
    rows = scale.rows_of(found)
    assert [(r.benchmark, r.batch, r.p50_ms) for r in rows] == [
        ("mlp step", 32, pytest.approx(3)),
        ("mlp step", 64, pytest.approx(4)),
    ]


@pytest.mark.parametrize("what", ["step", "epoch"])
def test_a_point_is_seconds_and_a_peak(what, monkeypatch):
    monkeypatch.setattr(point, "SECONDS", 0)
    grey = Noise(0).uniform((16, 1, 4, 4))
    step = Step("tiny", "dense", 4, 2, 8)
    seconds, peak_mb = getattr(point, what)(step, grey, 40)
    assert len(seconds) == (1 if what == "epoch" else 5)
    assert min(seconds) > 0
    assert peak_mb is None or peak_mb >= 0


def test_an_epoch_has_as_many_images_as_asked_for(monkeypatch):
    fitted = []
    monkeypatch.setattr(
        point.mv, "fit", lambda model, data, **options: fitted.append((data, options))
    )
    grey = Noise(0).uniform((200, 1, 4, 4))
    point.epoch(Step("tiny", "dense", 4, 2, 8), grey, 450)
    (first, _), (data, options) = fitted
    assert (len(first.train), len(data.train), len(data.validation)) == (8, 450, 100)
    assert (data.train.grey[400] == grey[0]).all()
    assert data.mode == "dynamic"
    assert (options["epochs"], options["batch"]) == (1, 8)


def curve(arch, seed, neg_elbo):
    return curves.Curve(arch, seed, 10, [300.0, 260.0, 250.0], neg_elbo)


FOUND = [curve("dense", s, 240.0 + s) for s in range(3)]
FOUND += [curve("conv", s, b) for s, b in enumerate((238, 240, 239))]


def test_the_difference_is_paired_by_seed():
    found = curves.paired(FOUND[::-1])
    assert found.by_seed == [-2, -1, -3]
    assert found.mean == -2
    assert found.se == pytest.approx(1 / math.sqrt(3))


def test_a_curve_is_a_training_as_minivae_train_does_it(monkeypatch):
    data = mv.data.load("digits:dynamic")
    monkeypatch.setattr(curves, "LATENT", 2)
    found = curves.trained("conv", 3, 2, data)
    model = VAE(data.shape, 2, arch="conv", seed=3)
    command = inspect.signature(cli.train)
    options = {n: command.parameters[n].default for n in ("lr", "batch", "schedule")}
    run = mv.fit(model, data, epochs=2, seed=3, quiet=True, **options)
    assert found.validation == [m["validation"]["objective"] for m in run.metrics]
    assert found.neg_elbo == mv.evaluate.ledger(run.model, data)["neg_elbo"]


def test_tables_and_pictures_of_both(tmp_path, capsys):
    steps = series("step", (32, 64), (0.001, 0.002), (100, 200))
    epochs = series("epoch", (1_000, 10_000), (0.1, 1.0), (140, 160))
    difference = curves.paired(FOUND)
    sheets = [scale.sheet([steps, steps]), scale.sheet([epochs, epochs])]
    report.print_sheets(
        [*sheets, curves.sheet(FOUND, difference, "fashion10k:dynamic")]
    )
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    assert "−2.00 ± 0.58" in printed
    for draw in (
        lambda: scale.drawn([steps, epochs]),
        lambda: curves.drawn(FOUND, difference),
    ):
        paths = drawing.save(draw, tmp_path / "picture")
        assert [path.suffix for path in paths] == [".png", ".svg"]
        before = [path.read_bytes() for path in paths]
        drawing.save(draw, tmp_path / "picture")
        assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("train", "--arch", "resnet"), "no step of arch 'resnet' is measured"),
        (("scale", "--rounds", "0"), "rounds must be at least 1, not 0"),
        (
            ("scale", "--images", "64", "128"),
            "images must be two sizes or more",
        ),
        (("scale", "--batches", "32"), "batches must be two sizes or more"),
        (("curves", "--seeds", "1"), "a standard error needs two seeds"),
        (("curves", "--data", "digits:gray"), "digits:gray is grey and has no ELBO"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_measuring(options, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(options)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"benchmarks: {words}")
