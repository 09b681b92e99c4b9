"""The run folder: what is in its files, and that what is read is what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from tiny import MODELS, few_digits, fit, same, script_validation, small

import minivae as mv
from minivae import checkpoint
from minivae.data import Dataset
from minivae.errors import UserError
from minivae.evaluate import ledger
from minivae.models import Autoencoder


@pytest.fixture
def data() -> Dataset:
    return few_digits()


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("name", MODELS)
def test_a_run_is_loaded_as_it_was_returned(
    name: str, likelihood: str, data: Dataset, tmp_path: Path
) -> None:
    run = fit(small(name, likelihood=likelihood, dropout=0.1), data, out=tmp_path)
    loaded = mv.load_run(tmp_path)
    assert same(loaded.model.state(), run.model.state())
    assert type(loaded.model) is type(run.model)
    assert loaded.model.beta == run.model.beta
    assert (loaded.config, loaded.metrics) == (run.config, run.metrics)
    x = data.test.images
    for make in (Autoencoder.reconstruct, Autoencoder.embed):
        assert make(loaded.model, x).tobytes() == make(run.model, x).tobytes()
    assert ledger(loaded.model, data) == ledger(run.model, data)


def test_the_weights_have_pytorchs_names_and_shapes(
    data: Dataset, tmp_path: Path
) -> None:
    model = mv.VAE((1, 8, 8), 2, hidden=(8, 5), likelihood="gaussian", dropout=0.1)
    fit(model, data, out=tmp_path)
    found = checkpoint.read_tensors(tmp_path / "checkpoint.safetensors")
    assert {name: array.shape for name, array in found.items()} == {
        "encoder.1.weight": (8, 64),
        "encoder.1.bias": (8,),
        "encoder.4.weight": (5, 8),
        "encoder.4.bias": (5,),
        "mu.weight": (2, 5),
        "mu.bias": (2,),
        "logvar.weight": (2, 5),
        "logvar.bias": (2,),
        "decoder.0.weight": (5, 2),
        "decoder.0.bias": (5,),
        "decoder.3.weight": (8, 5),
        "decoder.3.bias": (8,),
        "decoder.6.weight": (64, 8),
        "decoder.6.bias": (64,),
        "recon_logvar": (),
    }
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_the_last_state_has_one_metadata_key_with_all_the_rest(
    data: Dataset, tmp_path: Path
) -> None:
    run = fit(small(dropout=0.1), data, out=tmp_path, epochs=3)
    with safe_open(tmp_path / "last.safetensors", "numpy") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert list(metadata) == ["minivae"]
    rest = json.loads(metadata["minivae"])
    assert list(rest) == sorted(rest)
    assert (rest["epoch"], rest["step"]) == (3, 12)
    assert rest["latent"] == 3 * 80 * 2
    assert rest["dropout"] == 3 * 80 * 16
    assert rest["order"]["bit_generator"] == "PCG64"
    moments = {"optimizer.exp_avg", "optimizer.exp_avg_sq"}
    assert names == run.model.named_parameters().keys() | moments


def test_the_checkpoint_is_the_best_epoch_and_the_last_state_the_last(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_validation(monkeypatch, 1, 2)
    run = fit(small(), data, out=tmp_path)
    best = checkpoint.read_tensors(tmp_path / "checkpoint.safetensors")
    last = checkpoint.read_tensors(tmp_path / "last.safetensors")
    assert same(best, run.model.state())
    assert not same(best, {name: last[name] for name in best})


def test_without_a_folder_nothing_is_written(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(*_: Any) -> None:
        pytest.fail("a file was written")

    monkeypatch.setattr(checkpoint, "write", refuse)
    assert fit(small(), data).path is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_every_file_is_whole_or_not_there(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    checkpoint.write(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, full)
    with pytest.raises(UserError, match=r"cannot write .*: No space left"):
        checkpoint.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
