"""Whole trainings: what the README promises, reached from nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import done

from minivae.data.catalogue import places

pytestmark = pytest.mark.slow

MODELS = [
    ("ae", ["--likelihood", "squared_error"]),
    ("ae", ["--likelihood", "soft_bce"]),
    ("vae", []),
    ("betavae", ["--beta", "4"]),
]


def trained(folder: Path, *options: str) -> dict[str, float]:
    done("train", "--out", folder, *options)
    assert (folder / "report.html").stat().st_size > 50_000
    return json.loads(done("evaluate", folder, "--json"))


def test_the_demo_reaches_its_figure(tmp_path: Path) -> None:
    ledger = trained(tmp_path / "demo")
    assert ledger["floor"] < ledger["neg_elbo"] <= 248
    assert ledger["active_units"] >= 10


def test_the_full_set_reaches_its_figures(tmp_path: Path) -> None:
    """The IWAE paper's network, on Fashion-MNIST: 40 epochs."""
    if any(place.name == "fashion" and place.kind == "missing" for place in places()):
        pytest.skip("the files of fashion are not here: minivae data get fashion")
    given = ["--data", "fashion:dynamic", "--hidden", "200", "200", "--latent", "50"]
    given += ["--activation", "tanh", "--batch", "100", "--warmup", "10"]
    ledger = trained(tmp_path / "full", *given)
    assert ledger["floor"] < ledger["iwae"]["50"]["value"] <= 238
    assert ledger["iwae"]["50"]["value"] < ledger["iwae"]["5"]["value"]
    assert ledger["iwae"]["5"]["value"] < ledger["neg_elbo"] <= 240


@pytest.mark.parametrize("data", ["digits", "fashion10k"])
@pytest.mark.parametrize(("model", "options"), MODELS, ids=lambda value: str(value))
def test_every_model_learns(
    tmp_path: Path, data: str, model: str, options: list[str]
) -> None:
    epochs = {"digits": 40, "fashion10k": 12}[data]
    given = ["--model", model, "--data", data, "--epochs", str(epochs), *options]
    ledger = trained(tmp_path / "run", *given)
    # on digits a KL weighed by 4 costs more than it tells: nothing is learnt, and said
    if (model, data) == ("betavae", "digits"):
        assert ledger["active_units"] <= 2
        assert ledger["recon"] == pytest.approx(ledger["collapsed"], rel=0.05)
    else:
        assert ledger["recon"] < 0.9 * ledger["collapsed"]
