"""Parity with PyTorch: same weights, same data, same noise, so the same numbers.

Torch runs in a process of its own (tests/torch_twin.py), once for all cases.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import pytest
import tiny
from tolerances import PARITY, PARITY_MAPS, PARITY_STEPS
from twin import Arrays, Case, ask
from twin import largest_error as largest_difference

import minivae as mv
from minivae import models, ops, optim
from minivae.backend import Array
from minivae.tensor import Op, Parameter

pytestmark = pytest.mark.needs("torch")

SHAPE, LATENT, HIDDEN, N = (2, 6, 7), 5, (24, 16), 12
IMAGES = {"conv": (2, 16, 20), "burgess": (1, 32, 32)}
STEPS = 100


# Loss and gradients

OBJECTIVES: dict[str, dict[str, Any]] = (
    {
        "ae squared_error": {"name": "ae", "likelihood": "squared_error"},
        "ae soft_bce": {"name": "ae", "likelihood": "soft_bce"},
        "vae bernoulli": {"name": "vae", "likelihood": "bernoulli"},
        "vae gaussian": {"name": "vae", "likelihood": "gaussian"},
        "vae soft_bce": {"name": "vae", "likelihood": "soft_bce"},
        "betavae bernoulli": {
            "name": "betavae",
            "likelihood": "bernoulli",
            "beta": 4.0,
        },
        "betavae gaussian": {"name": "betavae", "likelihood": "gaussian", "beta": 0.3},
    }
    | {
        f"{name} {arch}": {"name": name, "arch": arch, "likelihood": "soft_bce"}
        for name, arch in [
            *(("ae", "conv"), ("vae", "conv"), ("betavae", "conv")),
            *(("vae", "burgess"), ("betavae", "burgess")),
        ]
    }
    | {
        f"ae {name}": {"name": "ae", "likelihood": "soft_bce", "activation": name}
        for name in mv.nn.ACTIVATIONS
    }
)
GRADIENT_CASES = [f"{name} {dtype}" for name in OBJECTIVES for dtype in PARITY]


def gradient_case(name: str) -> Case:
    """Return a model with weights none of which is 0, its images and its noise."""
    objective, _, dtype = name.rpartition(" ")
    options = OBJECTIVES[objective]
    shape = IMAGES.get(options.get("arch", "dense"), SHAPE)
    model = models.build(shape=shape, latent=LATENT, hidden=HIDDEN, **options)
    rng = np.random.default_rng(0)
    x = rng.random((N, *shape))
    if model.likelihood_name == "bernoulli":
        x = np.round(x)
    given = {"x": x, "noise": rng.standard_normal((N, LATENT))}
    for path, weight in model.state().items():
        given[f"weight/{path}"] = weight + 0.05 * rng.standard_normal(weight.shape)
    return Case(
        "gradients", model.config(), {n: a.astype(dtype) for n, a in given.items()}
    )


def our_gradients(case: Case) -> Arrays:
    """Return the terms of the loss and the gradient of every parameter."""
    options, given = dict(case.options), case.given
    model = models.build(options.pop("model"), **options).to(dtype=given["x"].dtype)
    weights = {n.removeprefix("weight/"): a for n, a in given.items() if "weight/" in n}
    model.load_state(weights)
    terms = model.loss_terms(given["x"], given["noise"])
    terms.loss.backward()
    values = {n: t.numpy() for n, t in terms._asdict().items() if t is not None}
    return values | {f"grad/{n}": p.grad for n, p in model.named_parameters().items()}


# Updates

RULES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 0.1},
    "sgd with momentum": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9},
    "sgd with nesterov": {
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
    },
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.01},
    "adagrad": {"optimizer": "adagrad", "lr": 0.1},
    "adam": {"optimizer": "adam", "lr": 0.01},
    "adamw": {"optimizer": "adamw", "lr": 0.01},
}
EXTRAS: dict[str, dict[str, Any]] = {
    "plain": {"weight_decay": 0.0},
    "decayed": {"weight_decay": 0.05},
    "clipped": {"weight_decay": 0.0, "clip_norm": 5.0},
    "decayed and clipped": {"weight_decay": 0.05, "clip_norm": 5.0},
}
UPDATE_CASES = [f"{rule}, {extra}" for rule in RULES for extra in EXTRAS]
SHAPES: dict[str, tuple[int, ...]] = {"weight": (5, 4), "bias": (5,), "scale": ()}


def update_case(name: str) -> Case:
    """Return parameters and 100 gradients, about half of them longer than 5."""
    rule, _, extra = name.partition(", ")
    rng = np.random.default_rng(1)
    given = {f"weight/{n}": rng.standard_normal(s) for n, s in SHAPES.items()}
    for parameter, shape in SHAPES.items():
        given[f"gradient/{parameter}"] = rng.standard_normal((STEPS, *shape))
    return Case("updates", RULES[rule] | EXTRAS[extra], given)


def our_updates(case: Case) -> Arrays:
    """Return the parameters after updates with given gradients: those of Σ w g."""
    options, given = dict(case.options), case.given
    parameters = {n: Parameter(given[f"weight/{n}"], n) for n in SHAPES}
    optimizer = optim.OPTIMIZERS[options.pop("optimizer")](
        parameters.values(), **options
    )
    for step in range(STEPS):
        optimizer.zero_grad()
        for name, parameter in parameters.items():
            ops.sum(parameter * given[f"gradient/{name}"][step]).backward()
        optimizer.step()
    return {name: parameter.numpy() for name, parameter in parameters.items()}


# Checkpoints

RUNS: dict[str, dict[str, Any]] = {
    "run of ae": {"name": "ae", "likelihood": "squared_error"},
    "run of vae": {"name": "vae", "likelihood": "bernoulli"},
    "run of betavae": {"name": "betavae", "likelihood": "gaussian"},
    "run of conv": {"name": "vae", "arch": "conv"},
    "run of burgess": {"name": "ae", "arch": "burgess", "channels": (3, 2)},
}


def run_case(name: str, folder: Path) -> Case:
    """Train a small model and return its run folder with a few images."""
    model, data = tiny.small(**RUNS[name]), tiny.few_digits()
    tiny.fit(model, data, epochs=1, out=folder)
    given = {"folder": np.array(str(folder)), "x": data.test.images}
    return Case("reconstruction", model.config(), given)


def our_reconstruction(case: Case) -> Arrays:
    """Return what the loaded run reconstructs."""
    model = mv.load_run(str(case.given["folder"])).model
    return {"recon": model.reconstruct(case.given["x"])}


# Both sides

COMPUTE = {
    "gradients": our_gradients,
    "updates": our_updates,
    "reconstruction": our_reconstruction,
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Every case by name."""
    folder = tmp_path_factory.mktemp("runs")
    return (
        {name: gradient_case(name) for name in GRADIENT_CASES}
        | {name: update_case(name) for name in UPDATE_CASES}
        | {name: run_case(name, folder / name) for name in RUNS}
    )


@pytest.fixture(scope="module")
def theirs(
    cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Arrays]:
    """What torch answers to every case, from one process."""
    return ask(cases, tmp_path_factory.mktemp("twin"))


def largest_error(case: Case, theirs: Arrays) -> float:
    """Compare all that both sides computed; the names must be the same."""
    return largest_difference(COMPUTE[case.kind](case), theirs)


@pytest.mark.parametrize("name", GRADIENT_CASES)
def test_loss_and_gradients_equal_torchs(name, cases, theirs):
    case = cases[name]
    allowed = PARITY if case.options["arch"] == "dense" else PARITY_MAPS
    assert largest_error(case, theirs[name]) <= allowed[case.given["x"].dtype.name]


@pytest.mark.parametrize("name", UPDATE_CASES)
def test_a_hundred_updates_equal_torchs(name, cases, theirs):
    assert largest_error(cases[name], theirs[name]) <= PARITY_STEPS


@pytest.mark.parametrize("name", RUNS)
def test_a_checkpoint_loads_into_the_twin_and_gives_the_same_images(
    name, cases, theirs
):
    assert largest_error(cases[name], theirs[name]) <= PARITY["float32"]


def test_about_half_of_the_gradients_are_clipped():
    given = update_case(UPDATE_CASES[0]).given
    squares = sum(
        (given[f"gradient/{n}"] ** 2).reshape(STEPS, -1).sum(axis=1) for n in SHAPES
    )
    assert 0.25 < (squares > EXTRAS["clipped"]["clip_norm"] ** 2).mean() < 0.75


def test_torch_stays_out_of_this_process(theirs):
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    "objective", ["ae squared_error", "vae bernoulli", "vae gaussian"]
)
def test_every_rule_that_is_a_thousandth_wrong_is_seen(objective, cases, theirs):
    name = f"{objective} float64"
    wronged = 0
    for op in Op.registry.values():
        for given in op.rules:
            calls: list[str] = []
            right = mutations._wrapped(op, given, _noting(calls))
            with mutations.planted(op, given, right):
                found = largest_error(cases[name], theirs[name])
            if calls:
                wronged += 1
                assert not found <= PARITY["float64"], f"{op.name}, {given}"
    assert wronged >= 6


def _noting(calls: list[str]) -> mutations.Change:
    def change(gradient: Array) -> Array:
        calls.append("called")
        return 1.001 * gradient

    return change
