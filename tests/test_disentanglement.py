"""Scores of disentanglement: known codes, chance, bias, and what has no score.

That known codes have their known answers is the oracle `disentanglement`, which
test_verify runs. Here each score is looked at by itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import SMALL, done, refused
from tolerances import FLOAT64, STANDARD_ERRORS

import minivae as mv
from minivae.backend import Array
from minivae.data import Dataset, Factors, load
from minivae.errors import UserError
from minivae.evaluate import factor_metrics as metrics
from minivae.random import Noise, Stream
from minivae.verify.oracles.disentanglement import grid, known_codes, scored

FORESTS = 0.06
"""DCI after a change that leaves its meaning: forests break ties by chance."""


def noise() -> Noise:
    return Noise(3, Stream.CHECK)


SCORES: dict[str, Callable[[Array, Array], float]] = {
    "higgins": lambda z, f: metrics.higgins(z, f, noise(), (500, 500)),
    "factor_vae": lambda z, f: metrics.factor_vae(z, f, noise()),
    "mig": metrics.mig,
    "sap": lambda z, f: metrics.sap(z, f, noise(), unordered=(0,)),
    "modularity": metrics.modularity,
    "dci": lambda z, f: metrics.dci(z, f, noise()).disentanglement,
}
each_score = pytest.mark.parametrize("name", SCORES)
CHANCE = {"higgins": 0.2, "factor_vae": 0.2, "mig": 0, "sap": 0, "dci": 0}


@pytest.fixture(scope="module")
def classes() -> Array:
    return grid()


@pytest.fixture(scope="module")
def mixed(classes: Array) -> Array:
    """Codes between order and disorder: factors, some mixed, all with noise."""
    z = known_codes(classes)["two of them turned"]
    return z + 0.3 * noise().normal(z.shape, np.float64)


# What must not matter


@each_score
@pytest.mark.parametrize("change", ["sign", "scale", "shift", "order", "unit"])
def test_a_score_does_not_depend_on_how_latents_are_written(
    change: str, name: str, classes: Array, mixed: Array
) -> None:
    changed = {
        "sign": lambda z: z * np.array([-1, 1, -1, 1, -1]),
        "scale": lambda z: z * np.array([2.0**-40, 1, 3, 1e6, 0.1]),
        "shift": lambda z: z + np.array([5.0, 0, -70, 1, 0.3]),
        "order": lambda z: z[:, [3, 1, 4, 0, 2]],
        "unit": lambda z: z * 1e-3,
    }[change](mixed)
    before, after = (SCORES[name](z, classes) for z in (mixed, changed))
    assert 0.1 < before < 0.99
    assert abs(before - after) <= {"dci": FORESTS}.get(name, FLOAT64)


@each_score
def test_a_score_does_not_depend_on_how_values_are_numbered(
    name: str, classes: Array, mixed: Array
) -> None:
    backwards = classes.max(axis=0) - classes
    before, after = (SCORES[name](mixed, f) for f in (classes, backwards))
    slack = {"dci": FORESTS, "higgins": 0.05, "factor_vae": 0.05}  # other draws
    assert abs(before - after) <= slack.get(name, FLOAT64)


@each_score
def test_a_constant_latent_changes_nothing_but_modularitys_mean(
    name: str, classes: Array, mixed: Array
) -> None:
    more = np.insert(mixed, 2, 7.0, axis=1)
    before, after = SCORES[name](mixed, classes), SCORES[name](more, classes)
    if name == "modularity":
        before *= 5 / 6
    assert abs(before - after) <= {"dci": FORESTS}.get(name, FLOAT64)


@each_score
def test_a_score_is_the_same_twice(name: str, classes: Array, mixed: Array) -> None:
    assert SCORES[name](mixed, classes) == SCORES[name](mixed, classes)


# What must


@each_score
def test_turning_two_latents_costs_something(name: str, classes: Array) -> None:
    codes = known_codes(classes)
    before, after = (
        SCORES[name](codes[which], classes)
        for which in ("unchanged", "two of them turned")
    )
    assert after <= before - 0.05


def test_the_scores_disagree_on_a_code_that_holds_all_twice(classes: Array) -> None:
    found = scored(known_codes(classes)["duplicated"], classes)
    assert found["mig"] == 0
    assert abs(found["sap"]) <= FLOAT64
    assert abs(found["disentanglement"] - 1) <= FLOAT64
    assert found["modularity"] == 1


def test_higgins_saturates_where_mig_does_not(classes: Array) -> None:
    """Each factor leaks into its neighbour: a linear classifier sees through it."""
    z = classes - classes.mean(axis=0)
    z = z / z.std(axis=0)
    leaking = z + 0.5 * np.roll(z, 1, axis=1)
    found = {name: SCORES[name](leaking, classes) for name in ("higgins", "mig")}
    assert found["higgins"] >= 0.99
    assert found["mig"] <= 0.6


def test_of_a_factor_of_kinds_sap_is_at_most_one_less_than_one(classes: Array) -> None:
    one_kind = metrics.sap(classes, classes, noise(), unordered=(0,))
    assert abs(one_kind - (4 + 1 - 1 / 3) / 5) <= 0.02  # guessing is right by a third


def test_kinds_may_be_in_any_order_on_a_latent(classes: Array) -> None:
    codes = classes.astype(float)
    codes[:, 0] = np.array([1, 2, 0])[classes[:, 0]]
    told = metrics.sap(codes, classes, noise(), unordered=(0,))
    as_numbers = metrics.sap(codes, classes, noise())
    assert told > as_numbers + 0.05


def test_modularity_squares_the_information(classes: Array) -> None:
    """One latent that tells all of factor a, of 3 values, and one bit of b."""
    z = 2 * classes[:, :1] + classes[:, 1:2] // 2
    told = math.log(2) / math.log(3)
    assert abs(metrics.modularity(z, classes) - (1 - told**2 / 4)) <= FLOAT64


# Chance and bias


@pytest.mark.parametrize("name", CHANCE)
def test_an_independent_code_scores_as_by_chance(name: str, classes: Array) -> None:
    z = noise().normal((len(classes), 6), np.float64)
    votes = math.sqrt(0.16 / 500)
    error = votes if CHANCE[name] else 0.005
    assert abs(SCORES[name](z, classes) - CHANCE[name]) <= STANDARD_ERRORS * error


def test_modularity_cannot_tell_little_from_nothing(classes: Array) -> None:
    z = noise().normal((len(classes), 20), np.float64)
    assert 0.3 <= metrics.modularity(z, classes) <= 0.8


@pytest.mark.parametrize("bins", [5, 20])
@pytest.mark.parametrize("N", [300, 1440, 6000])
def test_information_is_found_where_there_is_none(
    N: int, bins: int, classes: Array
) -> None:
    """By (B − 1)(K − 1) / 2N nats: chi squared, over 40 independent codes."""
    rows = noise().words(N) % len(classes)
    z = noise().uniform((N, 40), np.float64)
    told = metrics.mutual_information(z, classes[rows], bins)
    bias = metrics.mi_bias(z, classes[rows], bins)
    np.testing.assert_allclose(bias[0, 0], (bins - 1) * 2 / (2 * N))
    error = np.sqrt(bias.sum() / N) / bias.size
    # where cells hold few images the formula is 6 % short
    few = 0.06 * bias.mean() * (50 * bins > N)
    assert abs(told.mean() - bias.mean()) <= STANDARD_ERRORS * error + few


def test_more_images_take_the_bias_away_and_more_bins_bring_it(classes: Array) -> None:
    def told(N: int, bins: int) -> float:
        rows = noise().words(N) % len(classes)
        z = noise().uniform((N, 10), np.float64)
        return float(metrics.mutual_information(z, classes[rows], bins).mean())

    assert told(300, 20) > 3 * told(1440, 20) > 9 * told(6000, 20)
    assert told(1440, 40) > 1.5 * told(1440, 20) > 3 * told(1440, 8)


def test_more_values_than_bins_cannot_score_one() -> None:
    factors = Factors(("a", "b"), (40, 40))
    f = factors.classes(np.arange(1600))
    at_20, at_40 = metrics.mig(f, f, 20), metrics.mig(f, f, 40)
    assert abs(at_20 - math.log(20) / math.log(40)) <= FLOAT64
    assert abs(at_40 - 1) <= FLOAT64


# What has no score

GRID = grid()
FAULTS: dict[str, tuple[Any, Any, str]] = {
    "one factor": (GRID[:, :2], GRID[:, :1], "two factors or more, not 1"),
    "a constant factor": (GRID, GRID * [1, 0, 1, 1, 1], "factor 1 has one value"),
    "other images": (GRID, GRID[:9], "codes (N, Z) and classes (N, F)"),
    "flat codes": (GRID[:, 0], GRID, "codes (N, Z) and classes (N, F)"),
    "NaN": (GRID * np.nan, GRID, "not all finite"),
    "no images": (GRID[:0], GRID[:0], "empty"),
    "real classes": (GRID, GRID * 0.5, "classes are integers"),
}


@each_score
@pytest.mark.parametrize("fault", FAULTS)
def test_what_has_no_score_is_refused(fault: str, name: str) -> None:
    codes, classes, words = FAULTS[fault]
    with pytest.raises(UserError) as caught:
        SCORES[name](codes, classes)
    assert words in str(caught.value)


@pytest.mark.parametrize("bins", [0, 1])
def test_one_bin_is_refused(bins: int, classes: Array) -> None:
    with pytest.raises(UserError, match="two bins"):
        metrics.mig(classes, classes, bins)


# Of a model


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load("sprites16")


@pytest.fixture(scope="module")
def model(data: Dataset) -> mv.VAE:
    return mv.VAE(data.shape, 6, (16,), likelihood="soft_bce", seed=1)


def test_a_model_is_scored_alike_whatever_the_batch(
    model: mv.VAE, data: Dataset
) -> None:
    found = [
        mv.evaluate.disentanglement(model, data, images=600, batch=batch)
        for batch in (64, 100, 600)
    ]
    assert found[0]["n_images"] == 600
    assert found[0]["latents"]
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        assert other["latents"] == found[0]["latents"]
        for name in ("higgins", "factor_vae", "mig", "sap", "modularity"):
            assert abs(other[name] - found[0][name]) <= 1e-3  # a code may change bins
        for name, value in other["dci"].items():
            assert abs(value - found[0]["dci"][name]) <= FORESTS


def test_a_models_scores_are_those_of_its_mean_codes(
    model: mv.VAE, data: Dataset
) -> None:
    found = mv.evaluate.disentanglement(model, data, batch=1200)
    codes, classes = model.embed(data.test.images), data.test.factors
    assert classes is not None
    assert found["latents"] == list(range(6))
    assert data.factors is not None
    kinds = [data.factors.number(name) for name in data.factors.unordered]
    own = Noise(0, Stream.FACTORS)
    told = metrics.scores(codes, classes, own, unordered=kinds)
    assert kinds == [0]
    assert told == {name: found[name] for name in told}
    plain = metrics.scores(codes, classes, Noise(0, Stream.FACTORS))
    assert plain["sap"] != told["sap"]


def test_inactive_latents_do_not_count(data: Dataset) -> None:
    model = mv.VAE(data.shape, 4, (16,), likelihood="soft_bce", seed=1)
    for name, p in model.named_parameters().items():
        if name == "mu.weight":
            weight = p.data.copy()
            weight[[0, 2]] *= 1e-4
            p.assign(weight)
    found = mv.evaluate.disentanglement(model, data, images=300)
    assert found["latents"] == [1, 3]
    assert len(found["mutual_information"]) == 2
    alone = mv.evaluate.disentanglement(model, data, images=300, latents=[1, 3])
    assert alone == found


def test_a_collapsed_model_has_the_scores_of_a_constant(data: Dataset) -> None:
    model = mv.VAE(data.shape, 3, (8,), likelihood="soft_bce")
    model.named_parameters()["mu.weight"].assign(np.zeros((3, 8), np.float32))
    found = mv.evaluate.disentanglement(model, data, images=300)
    assert found["latents"] == found["mutual_information"] == []
    assert found["higgins"] == found["factor_vae"] == 0.2
    assert found["mig"] == found["modularity"] == found["sap"] == 0


def test_an_autoencoder_is_scored_by_the_latents_that_vary(data: Dataset) -> None:
    model = mv.AE(data.shape, 3, (8,), likelihood="soft_bce")
    found = mv.evaluate.disentanglement(model, data, images=300)
    assert found["latents"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"images": 1201}, "1201 images asked for: test of sprites16:gray has 1200"),
        ({"images": 0}, "0 images asked for"),
        ({"images": 1}, "shape has one value in all 1 images"),
        ({"latents": [0, 6]}, "no latent 6: there are 0 to 5"),
        ({"latents": []}, "latents are each named once"),
        ({"latents": [1, 1]}, "latents are each named once"),
        ({"split": "dev"}, "no split 'dev'"),
        ({"batch": 0}, "batch must be at least 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    options: dict[str, Any], words: str, model: mv.VAE, data: Dataset
) -> None:
    with pytest.raises(UserError, match=words):
        mv.evaluate.disentanglement(model, data, **options)


def test_a_set_without_factors_is_refused() -> None:
    digits = load("digits")
    model = mv.VAE(digits.shape, 2, (8,), likelihood="soft_bce")
    with pytest.raises(UserError, match="digits:gray has no factors"):
        mv.evaluate.disentanglement(model, digits)


# The command


def test_evaluate_adds_the_scores(tmp_path: Path) -> None:
    run, made = tmp_path / "run", tmp_path / "made.npz"
    grid = ("--size", 16, "--grid", 3, 4, 5, 5, 5, "--binary")
    done("data", "make", "sprites", *grid, "--out", made)
    done("train", "--data", made, "--out", run, *SMALL)
    few = ("--draws", 1, "--iwae", "")
    plain = json.loads(done("evaluate", run, *few, "--json"))
    assert "disentanglement" not in plain
    found = json.loads(done("evaluate", run, *few, "--disentanglement", "--json"))
    scores = found.pop("disentanglement")
    assert found == plain
    sizes = {"shape": 3, "scale": 4, "orientation": 5, "x": 5, "y": 5}
    assert scores["factors"] == sizes
    printed = done("evaluate", run, *few, "--disentanglement")
    for name in ("FactorVAE score", "MIG", "SAP", "DCI completeness", "orientation"):
        assert name in printed
    assert f"{scores['mig']:.3f}" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_evaluate_without_factors_says_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done("train", "--data", "digits", "--out", run, *SMALL)
    refused("digits:gray has no factors", "evaluate", run, "--disentanglement")
