"""Commands that read a run: the ledger, the pictures, the report, and broken runs."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import SMALL, done, refused
from tolerances import FLOAT32

import minivae as mv
from minivae.data import load
from minivae.evaluate.pictures import grid
from minivae.page.report import report

IMAGES = 179  # in the test split of digits


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that trains on digits, once for every set of options."""
    made: dict[tuple[object, ...], Path] = {}

    def run(*options: object) -> Path:
        if options not in made:
            folder = tmp_path_factory.mktemp("run") / "made"
            done("train", *SMALL, *options, "--out", folder)
            made[options] = folder
        return made[options]

    return run


@pytest.fixture
def vae(runs: Callable[..., Path]) -> Path:
    return runs("--data", "digits:dynamic")


@pytest.fixture
def copy(vae: Path, tmp_path: Path) -> Path:
    """A run of one's own, to break."""
    return Path(shutil.copytree(vae, tmp_path / "copy"))


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    path = tmp_path / "own.npy"
    np.save(path, np.random.default_rng(0).random((40, 4, 4)))
    return path


# What is refused


def remove(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def overwrite(name: str, content: str) -> Callable[[Path], None]:
    def fault(run: Path) -> None:
        (run / name).write_text(content)

    return fault


def truncate(name: str) -> Callable[[Path], None]:
    def fault(run: Path) -> None:
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: len(content) // 2])

    return fault


def change(group: str, key: str, value: object) -> Callable[[Path], None]:
    """Set an entry of config.json; None removes it."""

    def fault(run: Path) -> None:
        config = json.loads((run / "config.json").read_text())
        config[group].pop(key)
        if value is not None:
            config[group][key] = value
        (run / "config.json").write_text(json.dumps(config))

    return fault


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a missing folder": (shutil.rmtree, "there is no run folder"),
    "no config": (remove("config.json"), "is not a run: it has no config.json"),
    "a half config": (truncate("config.json"), "config.json is not valid JSON"),
    "another JSON": (overwrite("config.json", "[1]"), "not the configuration of a run"),
    "no model": (change("model", "model", None), "'model' is not complete"),
    "no source": (change("data", "source", None), "'data' is not complete"),
    "a seed in words": (change("train", "seed", "x"), "train.seed cannot be 'x'"),
    "a source by number": (change("data", "source", 5), "data.source cannot be 5"),
    "another model": (change("model", "model", "gan"), "no model 'gan'"),
    "other sizes": (change("model", "hidden", [9]), "is (9, 64) here, (8, 64) there"),
    "more layers": (change("model", "hidden", [8, 8]), "parameters do not match"),
    "an unknown architecture": (change("model", "arch", "resnet"), "no architecture"),
    "another architecture": (change("model", "arch", "conv"), "needs convolutions"),
    "channels of none": (change("model", "channels", [3]), "has no convolutions"),
    "no weights": (remove("checkpoint.safetensors"), "there is no"),
    "half the weights": (truncate("checkpoint.safetensors"), "no readable safetensors"),
    "no metrics": (remove("metrics.jsonl"), "is not a run: it has no metrics.jsonl"),
    "half the metrics": (truncate("metrics.jsonl"), "a line that is not JSON"),
    "empty metrics": (overwrite("metrics.jsonl", ""), "one object for each epoch"),
    "other metrics": (overwrite("metrics.jsonl", "1\n"), "one object for each epoch"),
}


@pytest.mark.parametrize("command", ["evaluate", "report", "sample"])
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_run_is_refused(fault: str, command: str, copy: Path) -> None:
    breaking, words = BROKEN[fault]
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "figures")
    breaking(copy)
    refused(words, command, copy)
    assert not (copy / "report.html").exists()
    assert not (copy / "figures").exists()


def test_a_folder_that_holds_a_run_is_left_alone(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    refused("holds a run already", "train", "--data", "digits", "--out", copy)
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("command", ["evaluate", "report", "reconstruct", "traverse"])
def test_data_that_changed_after_training_are_refused(
    command: str, own_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    mv.fit(mv.AE((1, 4, 4), 2, (4,)), load(str(own_data)), out=run, epochs=1, batch=8)
    done("evaluate", run)
    np.save(own_data, np.load(own_data)[::-1])
    refused("its digest differs", command, run)
    own_data.unlink()
    refused("there is no file", command, run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "--split", "dev"), "no split 'dev'"),
        (("evaluate", "--draws", 0), "draws and batch must be at least 1"),
        (("sample", "--n", 0), "n must be at least 1"),
        (("sample", "--columns", 0), "columns must be at least 1"),
        (("sample", "--seed", -1), "seed must be in"),
        (("reconstruct", "--n", -3), "n must be at least 1"),
        (("reconstruct", "--split", "dev"), "no split 'dev'"),
        (
            ("interpolate", "--pairs", 0, IMAGES),
            f"no image {IMAGES}: test has 0 to 178",
        ),
        (("interpolate", "--pairs"), "pairs must be at least 1"),
        (("interpolate", "--steps", 1), "at least its two ends, not 1"),
        (("traverse", "--image", -1), "no image -1"),
        (("traverse", "--latents", 2), "no latent 2: there are 0 to 1"),
        (("traverse", "--steps", 0), "steps must be at least 1"),
        (("traverse", "--span", "nan"), "span must be a finite number"),
        (("traverse", "--steps", 10_000), "10,000 images in a row: at most 100"),
        (("traverse", "--frames", 10_000), "a GIF of 10,000 frames: give 2 to 500"),
        (("traverse", "--frames", 1), "a GIF of 1 frames"),
        (("interpolate", "--paths", "curved"), "no path 'curved'"),
        (("manifold", "--steps", 1), "2 to 100 steps a side, not 1"),
        (("manifold", "--steps", 1000), "2 to 100 steps a side, not 1,000"),
        (("manifold", "--latents", 0, 2), "no latent 2: there are 0 to 1"),
        (("manifold", "--latents", 1, 1), "over two latents, not [1, 1]"),
        (("gradcheck", "gan"), "no model 'gan'"),
        (("step", "--model", "gan"), "no model 'gan'"),
        (("step", "--beta", 2), "beta belongs to --model betavae"),
        (("step", "--lr", "nan"), "learning rate must be positive"),
    ],
    ids=str,
)
def test_a_bad_option_is_refused(
    arguments: tuple[object, ...], words: str, copy: Path
) -> None:
    command, *options = arguments
    shutil.rmtree(copy / "figures")
    refused(
        words, command, *([] if command in ("gradcheck", "step") else [copy]), *options
    )
    assert not (copy / "figures").exists()


def test_pictures_that_cannot_be_written_are_refused(vae: Path) -> None:
    refused("cannot write", "sample", vae, "--out", vae / "config.json" / "picture")


# What a training leaves behind


def test_train_writes_a_whole_run_folder(vae: Path) -> None:
    files = {str(path.relative_to(vae)) for path in vae.rglob("*") if path.is_file()}
    figures = {
        f"figures/{name}.{kind}"
        for name in ("reconstructions", "samples")
        for kind in ("png", "npy")
    }
    assert files == figures | {
        "config.json",
        "metrics.jsonl",
        "checkpoint.safetensors",
        "last.safetensors",
        "report.html",
    }
    config = json.loads((vae / "config.json").read_text())
    assert config["train"]["epochs"] == 1
    assert config["data"]["name"] == "digits:dynamic"
    assert config["data"]["sha256"] == load("digits:dynamic").digest()
    assert config["threads"] >= 1
    assert {"minivae", "numpy", "python"} <= config["versions"].keys()
    assert len((vae / "metrics.jsonl").read_text().splitlines()) == 1


def test_every_option_of_train_is_recorded(runs: Callable[..., Path]) -> None:
    given: dict[str, Any] = {
        "model": "betavae",
        "beta": 0.5,
        "activation": "tanh",
        "likelihood": "gaussian",
        "dropout": 0.1,
        "lr": 0.003,
        "optimizer": "adamw",
        "schedule": "step",
        "warmup": 2,
        "weight_decay": 0.01,
        "patience": 3,
        "seed": 5,
        "threads": 1,
    }
    options = [(f"--{k.replace('_', '-')}", v) for k, v in given.items()]
    run = runs("--data", "digits", *(part for option in options for part in option))
    config = json.loads((run / "config.json").read_text())
    recorded = config["train"] | config["model"]
    assert {key: recorded[key] for key in given} == given
    assert (recorded["hidden"], recorded["latent"], recorded["batch"]) == ([8], 2, 256)


# The ledger and the pictures


LEDGER_KEYS = {
    *("likelihood", "data", "split", "n_images", "objective", "neg_elbo"),
    *("neg_elbo_se", "recon", "kl", "kl_per_latent", "active_units", "floor"),
    "collapsed",
}


@pytest.mark.parametrize(
    ("model", "data", "likelihood", "bounded"),
    [
        ("vae", "digits:dynamic", "bernoulli", True),
        ("vae", "digits", "gaussian", True),
        ("vae", "digits", "soft_bce", False),
        ("ae", "digits:dynamic", "bernoulli", False),
        ("ae", "digits", "squared_error", False),
    ],
)
def test_an_elbo_is_reported_only_where_there_is_one(
    model: str, data: str, likelihood: str, bounded: bool, runs: Callable[..., Path]
) -> None:
    run = runs("--model", model, "--data", data, "--likelihood", likelihood)
    ledger = json.loads(done("evaluate", run, "--json", "--draws", 2))
    assert ledger.keys() >= LEDGER_KEYS
    assert (ledger["likelihood"], ledger["n_images"]) == (likelihood, IMAGES)
    assert (ledger["neg_elbo"] is not None) == bounded
    assert (ledger["neg_elbo_se"] is not None) == bounded
    assert len(ledger["kl_per_latent"]) == (2 if model == "vae" else 0)
    assert abs(sum(ledger["kl_per_latent"]) - ledger["kl"]) <= FLOAT32
    if bounded:
        excess = ledger["neg_elbo"] - ledger["recon"] - ledger["kl"]
        assert abs(excess) <= FLOAT32


def test_evaluate_prints_the_same_ledger_as_a_table(vae: Path) -> None:
    ledger = json.loads(done("evaluate", vae, "--json", "--split", "validation"))
    table = done("evaluate", vae, "--split", "validation")
    assert "digits:dynamic, validation, 179 images" in table
    for term in ("neg_elbo", "recon", "kl", "floor", "collapsed"):
        assert f"{ledger[term]:.2f}" in table


@pytest.mark.parametrize(
    ("command", "options", "columns", "count"),
    [
        ("sample", ("--n", 5, "--columns", 3), 3, 5),
        ("reconstruct", ("--n", 6, "--columns", 4), 4, 12),
        ("interpolate", ("--pairs", 0, 1, 2, 3, "--steps", 5), 5, 30),
        ("interpolate", ("--paths", "spherical", "--steps", 6), 6, 24),
        ("manifold", ("--steps", 3), 3, 9),
        ("traverse", ("--latents", 1, "--steps", 7), 7, 7),
        ("traverse", ("--image", 3), 11, 22),
    ],
)
def test_a_picture_is_written_as_png_and_as_array(
    command: str,
    options: tuple[object, ...],
    columns: int,
    count: int,
    vae: Path,
    tmp_path: Path,
) -> None:
    from matplotlib.image import imread

    stem = tmp_path / "new" / "picture-0.5"
    printed = done(command, vae, *options, "--out", stem)
    png, npy = (stem.with_name(f"picture-0.5.{kind}") for kind in ("png", "npy"))
    assert printed.splitlines()[:2] == [str(png), str(npy)]
    images = np.load(npy)
    assert images.shape == (count, 1, 8, 8)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    sheet = grid(images, columns)
    seen = imread(png)[..., :1]
    scale = seen.shape[1] // sheet.shape[1]
    assert seen.shape == (scale * sheet.shape[0], scale * sheet.shape[1], 1)
    assert abs(seen[::scale, ::scale] - sheet).max() <= 1 / 255


def test_the_pictures_show_what_they_say(vae: Path, tmp_path: Path) -> None:
    model, test = mv.load_run(vae).model, load("digits:dynamic").test.images

    def made(command: str, *options: object) -> Any:
        done(command, vae, *options, "--out", tmp_path / command)
        return np.load(tmp_path / f"{command}.npy")

    pairs = made("reconstruct", "--n", 6)
    np.testing.assert_array_equal(pairs[::2], test[:6])
    np.testing.assert_array_equal(pairs[1::2], model.reconstruct(test[:6]))
    lines = made("interpolate", "--pairs", 4, 9, "--steps", 3)
    ends, grey = model.reconstruct(test[[4, 9]]), load("digits").test.images[[4, 9]]
    for path, expected in zip(np.split(lines, 3), (ends, ends, grey), strict=True):
        np.testing.assert_allclose(path[[0, 2]], expected, rtol=FLOAT32)
    drawn = made("sample", "--n", 4, "--seed", 1)
    np.testing.assert_array_equal(drawn, made("sample", "--n", 4, "--seed", 1))
    assert (drawn != made("sample", "--n", 4, "--seed", 2)).any()


# The report


class Page(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_report_fetches_nothing_and_runs_nothing(vae: Path) -> None:
    text = (vae / "report.html").read_text(encoding="utf-8")
    tags = Page(text).tags
    policies = [a["content"] for t, a in tags if "http-equiv" in a and t == "meta"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    addresses = [a.get(key) for _, a in tags for key in ("src", "href") if key in a]
    assert addresses
    assert all(address and address.startswith("data:") for address in addresses)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    assert "url(" not in text
    assert not [name for _, a in tags for name in a if name.startswith("on")]


def test_report_writes_the_same_page_again(copy: Path) -> None:
    page = copy / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert done("report", copy).strip() == str(page)
    assert page.read_bytes() == before


def test_a_name_with_html_in_it_is_escaped(own_data: Path, tmp_path: Path) -> None:
    name = "<script>alert('&')<b onclick=x>"
    data = own_data.rename(tmp_path / f"{name}.npy")
    options = ("--hidden", 4, "--latent", 2, "--epochs", 1, "--batch", 8)
    done("train", *options, "--data", data, "--out", tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert html.escape(name) in text
    assert name not in text
    assert not {"script", "b"} & {tag for tag, _ in Page(text).tags}


@pytest.mark.parametrize(
    ("images", "likelihood"),
    [
        (np.zeros((20, 4, 4)), "gaussian"),
        (np.zeros((20, 4, 4)), "bernoulli"),
        (np.eye(10).reshape(10, 2, 5), "bernoulli"),
        (np.random.default_rng(0).random((20, 2, 4, 4)), "soft_bce"),
        (np.random.default_rng(0).random((20, 3, 4, 4)), "soft_bce"),
    ],
    ids=["black, gaussian", "black", "one test image", "two channels", "RGB"],
)
def test_odd_data_get_a_report_too(
    images: Any, likelihood: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "odd.npy", images)
    options = ("--hidden", 4, "--latent", 2, "--epochs", 1, "--batch", 4)
    given = ("--data", tmp_path / "odd.npy", "--likelihood", likelihood)
    printed = done("train", *options, *given, "--out", tmp_path / "run")
    assert ("is not a likelihood" in printed) == (likelihood == "soft_bce")
    json.loads(done("evaluate", tmp_path / "run", "--json"), parse_constant=pytest.fail)
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_collapsed_model_gets_a_report_too(vae: Path) -> None:
    run, data = mv.load_run(vae), load("digits:dynamic")
    numbers = mv.evaluate.ledger(run.model, data, draws=1)
    assert "Latents" in report(run, data, {**numbers, "kl_per_latent": [0.0, 0.0]})
