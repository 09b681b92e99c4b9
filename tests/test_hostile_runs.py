"""A run folder is input: what a configuration may say, and what is made of it."""

from __future__ import annotations

import json
import math
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from command import refused
from fuzzing import nested
from tiny import a_run

import minivae as mv
from minivae.errors import UserError
from minivae.study import exact_json

MOST_SECONDS, MOST_MB = 5.0, 64


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CONFIGURED: dict[str, tuple[dict[str, Any], str]] = {
    "a thousand million latents": ({"latent": 10**9}, "a model larger than the files"),
    "latents without number": (
        {"latent": 10**400},
        "a model larger than the files",
    ),
    "no latent": ({"latent": -1}, "at least one latent, not -1"),
    "latents in words": ({"latent": "2"}, "model.latent cannot be '2'"),
    "not a number of latents": ({"latent": math.nan}, "model.latent cannot be nan"),
    "half a latent": ({"latent": 2.5}, "model.latent cannot be 2.5"),
    "lists of lists": ({"hidden": [[8]]}, "hidden cannot be [[8]]"),
    "a list in a list in a list": ({"hidden": nested(8, 400)}, "hidden cannot be [[[["),
    "many layers": ({"hidden": [1] * 10**5}, "at most 100 layers"),
    "a wide layer": ({"hidden": [10**12]}, "a model larger than the files"),
    "an image of an exabyte": ({"shape": [1, 2**30, 2**30]}, "shape is (channels"),
    "an image of no size": ({"shape": [1, 8, 0]}, "shape is (channels"),
    "an image of strings": ({"shape": ["1", "8", "8"]}, "shape cannot be ['1'"),
    "an unknown architecture": ({"arch": "resnet"}, "no architecture 'resnet'"),
    "an architecture in a list": ({"arch": ["conv"]}, "arch cannot be ['conv']"),
    "an activation by number": ({"activation": 1}, "activation cannot be 1"),
    "dropout of nothing": ({"dropout": math.nan}, "dropout cannot be nan"),
    "sigma without end": ({"sigma": math.inf}, "sigma cannot be inf"),
    "dropout beyond all": ({"dropout": 1e308}, "dropout must be in [0, 1)"),
    "a seed below 0": ({"seed": -1}, "seed"),
    "an option that is none": ({"__class__": "os.system"}, "unexpected keyword"),
    "an unknown model": ({"model": "os.system"}, "no model 'os.system'"),
}
"""Options of the model in a run's config.json, and how they are refused."""


@pytest.mark.parametrize("case", CONFIGURED)
def test_a_hostile_configuration_ends_in_one_line(case: str, tmp_path: Path) -> None:
    options, words = CONFIGURED[case]
    run = a_run(tmp_path)
    config = json.loads((run / "config.json").read_text())
    config["model"] |= options
    (run / "config.json").write_text(json.dumps(config))
    before, began = peak_mb(), time.process_time()
    for command in (("evaluate", run), ("train", "--resume", run)):
        refused(words, *command)
    assert peak_mb() - before <= MOST_MB
    assert time.process_time() - began <= MOST_SECONDS


@pytest.mark.parametrize("key", ["model", "shape", "latent"])
def test_what_a_configuration_lacks_is_named(key: str, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    config = json.loads((run / "config.json").read_text())
    del config["model"][key]
    (run / "config.json").write_text(json.dumps(config))
    refused("'model' is not complete", "evaluate", run)


def test_of_a_key_that_is_there_twice_the_last_is_read(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace("{", '{"model": 1, ', 1))
    assert mv.load_run(run).model.latent == 2
    (run / "config.json").write_text(text.replace('"seed"', '"latent": 3, "seed"', 1))
    refused("another model's", "evaluate", run)


def test_a_model_too_large_for_memory_is_refused_before_it_is_made() -> None:
    words = "a model of more than 268,435,456 weights"
    refused(words, "train", "--data", "digits", "--latent", 10**9)
    with pytest.raises(UserError, match=words):
        mv.VAE((1, 28, 28), hidden=(10**6,))


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_a_file_without_an_end_is_not_read(name: str, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    (run / name).unlink()
    (run / name).symlink_to("/dev/zero")
    refused(f"it has no {name}", "evaluate", run)
    (run / name).unlink()
    with (run / name).open("wb") as file:
        file.truncate(1 << 40)  # no block of it is on the disk
    refused("more than 64 MiB", "evaluate", run)


def test_half_a_surrogate_is_no_text(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"vae"', '"\\ud800"'))
    refused("not valid JSON", "evaluate", run)
    with pytest.raises(UserError, match="not JSON"):
        exact_json.loads('{"title": "\\udfff"}')
