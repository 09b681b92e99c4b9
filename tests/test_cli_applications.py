"""The commands of the applications: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import SMALL, done, minivae, refused

APPLICATIONS = ("embed", "probe", "cluster", "detect")
QUICK: dict[str, tuple[object, ...]] = {
    "embed": (),
    "probe": ("--labels", 10, 50, "--draws", 2),
    "cluster": ("--restarts", 1, "--resamples", 100),
    "detect": ("--leave-out", 3, "--resamples", 100, "--k", 2),
    "sample": (),
    "reconstruct": (),
    "interpolate": (),
    "traverse": ("--frames", 4),
    "manifold": ("--steps", 3),
}
PICTURED = [name for name in QUICK if name not in ("probe", "cluster")]


def trained(folder: Path, *options: object) -> Path:
    done("train", *SMALL, *options, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "vae"
    return trained(folder, "--data", "digits:dynamic")


@pytest.fixture(scope="module")
def ae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "ae"
    return trained(folder, "--data", "digits", "--model", "ae", "--latent", 3)


def bare_run(tmp_path: Path, labels: Any = None) -> Path:
    """A run on own images, unlabelled if no labels are given."""
    images = np.random.default_rng(0).random((300, 8, 8))
    given = {} if labels is None else {"labels": labels}
    np.savez(tmp_path / "own.npz", images=images, **given)
    options = ("--data", tmp_path / "own.npz", "--batch", 100)
    return trained(tmp_path / "run", *options)


# What they print


@pytest.mark.parametrize("command", QUICK)
def test_json_is_one_document_the_same_each_time(
    command: str, vae: Path, tmp_path: Path
) -> None:
    def written() -> tuple[Any, dict[str, bytes]]:
        out = ("--out", tmp_path / "picture") if command in PICTURED else ()
        printed = done(command, vae, *QUICK[command], *out, "--json")
        document = json.loads(printed, parse_constant=pytest.fail)
        return document, {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    document, files = written()
    assert isinstance(document, dict)
    assert (document, files) == written()
    kinds = {name.rpartition(".")[2] for name in files}
    assert kinds == (
        {"png", "npy"} | ({"gif"} if command == "traverse" else set())
        if command in PICTURED
        else set()
    )


@pytest.mark.parametrize("command", QUICK)
def test_it_fits_80_columns_and_says_who_wins(
    command: str, vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = ("--out", tmp_path / "p") if command in PICTURED else ()
    printed = done(command, vae, *QUICK[command], *out)
    lines = [line for line in printed.splitlines() if not line.startswith("/")]
    assert max(map(len, lines)) <= 80
    if command != "traverse":
        words = ("model wins", "baseline wins", "no clear winner")
        assert any(word in printed for word in words)


@pytest.mark.parametrize("command", ["embed", "probe", "cluster"])
def test_the_table_holds_the_numbers_of_the_document(command: str, vae: Path) -> None:
    document = json.loads(done(command, vae, *QUICK[command], "--json"))
    printed = done(command, vae, *QUICK[command])
    assert "mean codes of 2 latents" in printed
    match command:
        case "embed":
            values = [one["value"] for one in document["trustworthiness"].values()]
        case "probe":
            values = [
                one["value"]
                for row in document["rows"]
                for one in row["accuracy"].values()
            ]
        case _:
            values = [
                one["value"]
                for row in document["rows"].values()
                for one in row.values()
            ]
    assert len(values) >= 2
    for value in values:
        assert f"{value:.3f}" in printed


def test_detect_says_all_of_a_case(vae: Path, tmp_path: Path) -> None:
    options = ("--leave-out", 3, 5, "--epochs", 2, "--resamples", 100, "--k", 2)
    out = ("--out", tmp_path / "f")
    document = json.loads(done("detect", vae, *options, *out, "--json"))
    assert [case["foreign"] for case in document["cases"]] == ["3", "5"]
    printed = done("detect", vae, *options, *out)
    for case in document["cases"]:
        assert case["data"] == f"digits:dynamic without {case['foreign']}"
        assert case["n_images"] == 179
        for row in case["scores"]:
            assert row["score"] in printed
            assert f"{row['auroc']['value']:.3f}" in printed
            assert f"{row['false_positive_rate']['value']:.3f}" in printed
        scores = np.load(tmp_path / f"f-{case['foreign']}.npy")
        assert scores.shape == (179, 6)
        assert scores[:, -1].sum() == case["n_foreign"]
    mean = document["summary"]["mean"]
    values = [case["scores"][1]["auroc"]["value"] for case in document["cases"]]
    assert mean["−ELBO"]["value"] == pytest.approx(np.mean(values))
    best = document["summary"]["verdict"]["ours"]
    assert f"{mean[best]['value']:.3f} ±" in printed


def test_other_data_are_foreign_too(vae: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((200, 8, 8))
    np.save(tmp_path / "noise.npy", noise)
    options = ("--against", f"{tmp_path / 'noise.npy'}:dynamic", "--json")
    (case,) = json.loads(done("detect", vae, *options))["cases"]
    assert case["foreign"] == "noise:dynamic"
    assert (case["n_images"], case["n_foreign"]) == (199, 20)
    assert max(row["auroc"]["value"] for row in case["scores"]) > 0.95


def test_an_autoencoder_has_no_kl_to_go_by(ae: Path, tmp_path: Path) -> None:
    refused("have no KL of their own", "embed", ae, "--by", "kl")
    printed = done("traverse", ae, "--frames", 2, "--out", tmp_path / "t")
    assert "variance of the mean codes" in " ".join(printed.split())
    printed = done("detect", ae, *QUICK["detect"], "--out", tmp_path / "d")
    assert "no −ELBO and no IWAE: an autoencoder has no prior" in printed


def test_a_gif_goes_there_and_back(vae: Path, tmp_path: Path) -> None:
    from PIL import Image

    done("traverse", vae, "--frames", 8, "--out", tmp_path / "t")
    with Image.open(tmp_path / "t.gif") as gif:
        assert gif.n_frames == 8  # type: ignore[attr-defined]
        frames = []
        for i in range(8):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("L"), int))
    assert abs(frames[0] - frames[4]).max() > 8
    for i in (1, 2, 3):  # a frame's colours are as exact as a palette of 256 is
        assert abs(frames[i] - frames[8 - i]).max() <= 8


def test_latents_come_by_their_kl(vae: Path, tmp_path: Path) -> None:
    document = json.loads(done("traverse", vae, "--out", tmp_path / "t", "--json"))
    kl = [row["kl"] for row in document["rows"]]
    assert kl == sorted(kl, reverse=True)
    only = done("traverse", vae, "--latents", 1, "--out", tmp_path / "t", "--json")
    assert [row["latent"] for row in json.loads(only)["rows"]] == [1]


# What they refuse


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("embed", "--latents", 0, 2), "no latent 2: there are 0 to 1"),
        (("embed", "--neighbours", 90), "takes 1 to 89 neighbours, not 90"),
        (("embed", "--by", "size"), "by is pca or kl, not size"),
        (("probe", "--labels", 9), "9 labelled images are fewer than the 10 classes"),
        (("probe", "--labels", 10_000), "10000 labelled images asked of 1439"),
        (("probe", "--split", "dev"), "no split 'dev'"),
        (("cluster", "--clusters", 1), "clusters must be 2 to 1439, not 1"),
        (("cluster", "--restarts", 0), "at least one start, not 0"),
        (("cluster", "--resamples", 9), "100 resamples or more: 9"),
        (("detect",), "give --leave-out CLASS ... (or all), or --against DATA"),
        (("detect", "--leave-out", 1, "--against", "digits"), "give --leave-out"),
        (("detect", "--leave-out", "Bag"), "has no class Bag; it has 0, 1, 2"),
        (("detect", "--against", "digits"), "use digits:dynamic"),
        (("detect", "--against", "digits:dynamic"), "what the model was trained on"),
        (("detect", "--against", "fashion10k"), "has images (1, 28, 28)"),
        (("detect", "--against", "digits", "--epochs", 3), "--against trains nothing"),
        (("detect", "--leave-out", 1, "--k", 0), "not k = 0"),
        (("detect", "--leave-out", 1, "--false-alarms", 1), "lies in (0, 1), not 1"),
    ],
    ids=str,
)
def test_a_bad_option_is_refused(
    arguments: tuple[object, ...], words: str, vae: Path, tmp_path: Path
) -> None:
    command, *options = arguments
    out = ("--out", tmp_path / "p") if command in PICTURED else ()
    outcome = minivae(command, vae, *options, *out)
    assert outcome.code == 2
    assert outcome.out == ""
    assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["probe", "cluster", "detect"])
def test_without_labels_nothing_can_be_said(command: str, tmp_path: Path) -> None:
    run = bare_run(tmp_path)
    refused("has no labels", command, run, *QUICK[command])
    done("embed", run)


@pytest.mark.parametrize("command", ["probe", "cluster", "detect"])
def test_one_class_is_not_enough(command: str, tmp_path: Path) -> None:
    run = bare_run(tmp_path, np.full(300, 3))
    refused("needs two classes or more", command, run, *QUICK[command])


def test_one_latent_spans_no_plane(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "--data", "digits", "--latent", 1)
    refused("this model has one", "embed", run)
    refused("no latent 1", "manifold", run)
