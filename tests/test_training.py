"""Training: repeatable to the bit, measured without being disturbed, stopped in time.

The images are 160 digits, the models tiny: what is claimed does not depend on size.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import MODELS, few_digits, fit, same, script_validation, small
from tolerances import FLOAT32, FLOAT64

import minivae as mv
from minivae import train
from minivae.data import Dataset, load
from minivae.errors import UserError
from minivae.evaluate import ledger
from minivae.evaluate.ledger import standard_error
from minivae.models import Autoencoder
from minivae.optim import OPTIMIZERS, SCHEDULES, scheduled_lr
from minivae.random import Noise, Stream
from minivae.train import train_step, validate, warmth_at


@pytest.fixture
def data() -> Dataset:
    return few_digits()


# The same again


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_bytes(
    name: str, data: Dataset, tmp_path: Path
) -> None:
    options = {"optimizer": "adamw", "warmup": 1, "schedule": "step"}
    folders = [tmp_path / "first", tmp_path / "second"]
    first, second = (
        fit(small(name, dropout=0.2), data, out=out, **options) for out in folders
    )
    assert same(first.model.state(), second.model.state())
    files = [{p.name: p.read_bytes() for p in out.iterdir()} for out in folders]
    assert len(files[0]) == 5
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("model_seed", "fit_seed"), [(1, 0), (0, 1)], ids=["weights", "noise and order"]
)
def test_another_seed_gives_other_weights(
    model_seed: int, fit_seed: int, data: Dataset
) -> None:
    first = fit(small(seed=0), data, seed=0)
    other = fit(small(seed=model_seed), data, seed=fit_seed)
    assert not same(first.model.state(), other.model.state())


def test_the_seed_is_that_of_the_latents_and_of_dropout(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(*given: Any) -> tuple[float, float]:
        seen.append((given[3].seed, given[5].seed))
        return train_step(*given)

    monkeypatch.setattr(train, "train_step", watched)
    fit(small(dropout=0.1), data, seed=7)
    assert seen == [(7, 7)] * 8


def test_training_does_not_depend_on_the_global_random_state(data: Dataset) -> None:
    first = fit(small(), data)
    np.random.seed(99)
    before = np.random.get_state()[1].tobytes()  # type: ignore[index]
    second = fit(small(), data)
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[index]
    assert same(first.model.state(), second.model.state())


# Measuring


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch", [1, 64, 100])
def test_what_is_measured_does_not_depend_on_the_batch_size(
    name: str, batch: int
) -> None:
    # another batch size sums the same float32 products in another order
    digits = load("digits:dynamic")
    model = small(name, likelihood="bernoulli")
    images = digits.validation.images
    whole = validate(model, images, batch=len(images))
    for term, value in validate(model, images, batch=batch).items():
        assert abs(value - whole[term]) <= FLOAT32 * max(1, abs(whole[term])), term
    full = ledger(model, digits, draws=2, batch=len(digits.test))
    parts = ledger(model, digits, draws=2, batch=batch)
    for term in ("objective", "recon", "kl", "neg_elbo", "kl_per_latent"):
        if full[term] is not None:
            np.testing.assert_allclose(
                parts[term], full[term], rtol=FLOAT32, atol=FLOAT32
            )
    assert parts["active_units"] == full["active_units"]


@pytest.mark.parametrize("name", MODELS)
def test_measuring_changes_no_state(name: str, data: Dataset) -> None:
    def two_steps(look_between: bool) -> Autoencoder:
        model = small(name, likelihood="bernoulli", dropout=0.3)
        optimizer = mv.optim.Adam(model.parameters(), 0.01)
        noise, dropout = Noise(0, Stream.LATENT), Noise(0, Stream.DROPOUT)
        x = data.train.images[:30]
        train_step(model, optimizer, x, noise, dropout=dropout)
        if look_between:
            before = model.state()
            assert validate(model, x) == validate(model, x)
            assert ledger(model, data) == ledger(model, data)
            model.reconstruct(x)
            model.sample(3, Noise(0))
            assert same(model.state(), before)
        train_step(model, optimizer, x, noise, dropout=dropout)
        return model

    assert same(two_steps(False).state(), two_steps(True).state())


def test_evaluation_drops_nothing(data: Dataset) -> None:
    plain = small(likelihood="bernoulli")
    dropping = small(likelihood="bernoulli", dropout=0.5)
    states = zip(dropping.named_parameters(), plain.state().values(), strict=True)
    dropping.load_state(dict(states))
    images = data.validation.images
    assert validate(dropping, images) == validate(plain, images)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "iwae"])
def test_the_parts_of_every_line_add_up(name: str, data: Dataset) -> None:
    run = fit(small(name), data, warmup=2, epochs=3)
    beta = {"ae": 0.0, "betavae": 4.0}.get(name, 1.0)
    for line, part in itertools.product(run.metrics, ("train", "validation")):
        terms = line[part]
        exact = terms["recon"] + beta * terms["kl"]
        assert abs(terms["objective"] - exact) <= FLOAT64 * exact
    assert [line["epoch"] for line in run.metrics] == [1, 2, 3]
    assert [line["step"] for line in run.metrics] == [4, 8, 12]


# Stopping, and what is kept


def test_training_stops_early_and_keeps_the_best_weights(data: Dataset) -> None:
    run = fit(small("ae"), data, epochs=60, lr=0.3, schedule="constant", patience=3)
    objectives = [line["validation"]["objective"] for line in run.metrics]
    best = int(np.argmin(objectives))
    assert len(objectives) < 60
    assert len(objectives) == best + 1 + 3
    measured = validate(run.model, data.validation.images)["objective"]
    assert abs(measured - objectives[best]) <= 1e-6 * objectives[best]
    assert objectives[-1] > objectives[best]


def test_without_patience_every_epoch_is_trained(data: Dataset) -> None:
    run = fit(small("ae"), data, epochs=12, lr=0.3, schedule="constant")
    objectives = [line["validation"]["objective"] for line in run.metrics]
    assert len(objectives) == 12
    measured = validate(run.model, data.validation.images)["objective"]
    assert abs(measured - min(objectives)) <= 1e-6 * measured


@pytest.mark.parametrize(
    ("objectives", "patience", "warmup", "epochs"),
    [
        ((5, 4, 4), 2, 0, 4),
        ((5, 4, 6, 6, 3, 3), 3, 0, 8),
        ((5, 4, 6, 6, 3, 3), 2, 0, 4),
        ((1, 2), 2, 5, 7),
        ((1, 2), 1, 3, 4),
        ((5, 4, 3, 2, 1, 1), 2, 3, 7),
        ((1, 2), 0, 0, 10),
    ],
)
def test_patience_counts_epochs_without_a_better_one_after_the_warm_up(
    objectives: tuple[float, ...],
    patience: int,
    warmup: int,
    epochs: int,
    data: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script_validation(monkeypatch, *objectives)
    run = fit(small(), data, epochs=10, patience=patience, warmup=warmup)
    assert len(run.metrics) == epochs


def test_the_weights_kept_are_those_of_the_scripted_best_epoch(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_validation(monkeypatch, 5, 3, 4, 3)
    kept = fit(small(), data, epochs=4, schedule="constant")
    script_validation(monkeypatch, 5, 3)
    two = fit(small(), data, epochs=2, schedule="constant")
    assert same(kept.model.state(), two.model.state())


# Warm-up and schedules: functions of the step


@pytest.mark.parametrize(
    ("step", "steps", "warmth"),
    [
        (0, 10, 0.0),
        (1, 10, 0.1),
        (5, 10, 0.5),
        (10, 10, 1.0),
        (99, 10, 1.0),
        (0, 0, 1.0),
    ],
)
def test_warmth_rises_in_a_line(step: int, steps: int, warmth: float) -> None:
    assert warmth_at(step, steps) == warmth


def test_the_warm_up_is_counted_in_epochs(data: Dataset) -> None:
    run = fit(small(), data, epochs=4, warmup=2)
    steps = [line["step"] for line in run.metrics]
    warmths = [line["warmth"] for line in run.metrics]
    assert steps == [4, 8, 12, 16]
    assert warmths == [3 / 8, 7 / 8, 1, 1]  # of each epoch's last step


def test_the_first_step_of_a_warm_up_ignores_the_kl(data: Dataset) -> None:
    model = small(likelihood="bernoulli")
    x, eps = data.train.images[:9], Noise(0).normal((9, 2))
    cold, recon, kl, _ = model.loss_terms(x, eps, warmth=0.0)
    assert cold.item() == recon.item()
    half = model.loss_terms(x, eps, warmth=0.5).loss.item()
    assert kl is not None
    assert abs(half - recon.item() - 0.5 * kl.item()) <= FLOAT32 * half


def test_the_warm_up_changes_training_but_not_what_is_measured(data: Dataset) -> None:
    cold, warm = fit(small("betavae"), data, warmup=2), fit(small("betavae"), data)
    assert not same(cold.model.state(), warm.model.state())
    for run in (cold, warm):
        best = min(run.metrics, key=lambda line: line["validation"]["objective"])
        assert best["validation"] == validate(run.model, data.validation.images)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", {0: 1.0, 50: 1.0, 99: 1.0}),
        ("step", {0: 1.0, 59: 1.0, 60: 0.3, 84: 0.3, 85: 0.1, 99: 0.1}),
        ("cosine", {s: math.cos(math.pi * (s + 0.5) / 200) ** 2 for s in (0, 50, 99)}),
        ("warmup", {0: 0.1, 1: 0.3, 4: 0.9, 5: 1.0, 99: 1.0}),
    ],
)
def test_a_schedule_has_known_values(schedule: str, factors: dict[int, float]) -> None:
    for step, factor in factors.items():
        found = scheduled_lr(schedule, 0.5, step, total=100)
        assert abs(found - 0.5 * factor) <= FLOAT64, step


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_training_follows_the_schedule(schedule: str, data: Dataset) -> None:
    run = fit(small(), data, epochs=3, schedule=schedule)
    for line in run.metrics:
        last = line["step"] - 1
        assert line["lr"] == scheduled_lr(schedule, 0.01, last, total=12)


# Every option reaches training


CHANGES: dict[str, Any] = {
    "epochs": 3,
    "batch": 40,
    "lr": 0.02,
    "weight_decay": 0.1,
    "clip_norm": 0.1,
    "schedule": "step",
    "warmup": 1,
    "seed": 1,
}


@pytest.mark.parametrize(("option", "value"), CHANGES.items())
def test_an_option_changes_the_weights(option: str, value: Any, data: Dataset) -> None:
    first, other = fit(small(), data), fit(small(), data, **{option: value})
    assert other.config["train"][option] == value
    assert not same(first.model.state(), other.model.state())


def test_every_optimizer_trains_in_its_own_way(data: Dataset) -> None:
    runs = [
        fit(small(), data, optimizer=name, weight_decay=0.1).model.state()
        for name in OPTIMIZERS
    ]
    assert not any(same(a, b) for a, b in itertools.combinations(runs, 2))


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.5},
        {"activation": "tanh"},
        {"likelihood": "soft_bce"},
        {"likelihood": "gaussian"},
    ],
    ids=lambda options: next(iter(options.values())),
)
def test_an_option_of_the_model_changes_the_objective(
    options: dict[str, Any], data: Dataset
) -> None:
    parts = [(split.grey, None) for split in (data.train, data.validation, data.test)]
    grey = Dataset.from_parts("grey", "gray", parts)
    plain = fit(small("ae", likelihood="squared_error"), grey)
    other = fit(small("ae", **{"likelihood": "squared_error", **options}), grey)
    assert plain.metrics != other.metrics


def test_beta_changes_the_weights(data: Dataset) -> None:
    states = [fit(small("betavae", beta=b), data).model.state() for b in (0, 1, 4)]
    assert not any(same(a, b) for a, b in itertools.combinations(states, 2))
    assert same(states[1], fit(small("vae"), data).model.state())


@pytest.mark.parametrize(
    ("mode", "chosen"), [("gray", "soft_bce"), ("fixed", "bernoulli")]
)
def test_the_likelihood_follows_the_data(mode: str, chosen: str) -> None:
    run = fit(small(), load(f"digits:{mode}"), epochs=1, batch=500)
    assert run.config["model"]["likelihood"] == run.model.likelihood.name == chosen


# What is refused


def test_a_loss_that_is_not_finite_is_refused_before_the_update(data: Dataset) -> None:
    model = small("ae", likelihood="squared_error")
    optimizer = mv.optim.SGD(model.parameters(), 0.1)
    x = data.train.images[:5].copy()
    x[2, 0, 3, 3] = np.nan
    before = model.state()
    with pytest.raises(
        UserError, match=r"the loss became nan at step 1, first in encoder\.1 ="
    ):
        train_step(model, optimizer, x, Noise(0))
    assert same(model.state(), before)
    assert optimizer.steps == 0


def test_a_training_that_diverges_is_refused(data: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="the loss became"):
        fit(small(), data, optimizer="sgd", lr=1e30, out=out)
    assert not list(out.iterdir())


@pytest.mark.parametrize("objective", [math.nan, math.inf])
def test_a_validation_that_is_not_finite_is_refused(
    objective: float, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_validation(monkeypatch, objective)
    with pytest.raises(UserError, match=r"objective became .* in epoch 1"):
        fit(small(), data)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 81}, "80 training images, fewer than one batch of 81"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": math.nan}, "learning rate must be positive"),
        ({"weight_decay": -1.0}, "weight decay must not be negative"),
        ({"clip_norm": 0.0}, "clipping norm must be positive"),
        ({"seed": -1}, "seed must be in"),
        ({"optimizer": "lion"}, "no optimizer 'lion'"),
        ({"momentum": 0.9}, "unexpected keyword argument 'momentum'"),
    ],
)
def test_bad_options_are_refused_and_nothing_changes(
    options: dict[str, Any], words: str, data: Dataset, tmp_path: Path
) -> None:
    model, out = small(), tmp_path / "out"
    before = model.state()
    with pytest.raises(UserError, match=words):
        fit(model, data, out=out, **options)
    assert not out.exists()
    assert same(model.state(), before)


def test_a_batch_may_be_the_whole_split(data: Dataset) -> None:
    assert fit(small(), data, batch=80).metrics[-1]["step"] == 2


def test_images_of_another_shape_are_refused(data: Dataset) -> None:
    with pytest.raises(UserError, match="the model takes"):
        fit(mv.VAE((1, 4, 4), 2, hidden=(8,)), data)


def test_the_training_mean_weighs_a_short_last_batch_by_its_images(
    data: Dataset,
) -> None:
    """The last batch is short, and counts for as many images as it has."""
    run = mv.fit(small(), data, epochs=1, batch=64, lr=1e-9, quiet=True)
    eps = mv.Noise(0, Stream.LATENT)
    rows = np.random.default_rng(0).permutation(len(data.train))
    images, model = data.epoch(0, 0), small()
    model.use_likelihood(run.model.likelihood.name)
    recon = [
        model.loss_terms(images[part], eps, reduction="none").recon.numpy()
        for part in (rows[:64], rows[64:])
    ]
    mean = float(np.concatenate(recon).mean())
    assert run.metrics[0]["train"]["recon"] == pytest.approx(mean, rel=1e-5)


def test_the_standard_error_is_that_of_a_mean() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert standard_error(values) == pytest.approx(np.sqrt(5 / 3 / 4))
