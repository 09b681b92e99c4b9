"""The ledger's bounds: in order, exact where they can be, the same in any batch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import minivae_kernels as kernels
import numpy as np
import pytest
from command import done, minivae
from scipy import special, stats
from tiny import few_digits, fit, small
from tolerances import FLOAT32, FLOAT64, STANDARD_ERRORS

from minivae import models
from minivae.backend import Array, limited_threads
from minivae.errors import UserError
from minivae.evaluate import bounds, comparable, exact_log_p, ledger
from minivae.evaluate.bounds import (
    BoundsError,
    aggregate,
    assert_order,
    draw,
    importance_bound,
)
from minivae.models import Autoencoder
from minivae.random import Noise, Stream

SHAPE, N = (1, 2, 3), 40


def make(name: str, likelihood: str = "gaussian", **options: Any) -> Autoencoder:
    options = {"latent": 2, "hidden": (), "activation": "tanh", **options}
    model = models.build(name, shape=SHAPE, likelihood=likelihood, seed=3, **options)
    for parameter in model.to(dtype=np.float64).parameters():
        noise = Noise(parameter.size, Stream.CHECK)
        parameter.assign(parameter.data + noise.normal(parameter.shape, np.float64) / 2)
    return model


def images(binary: bool = False) -> Array:
    x = Noise(1, Stream.CHECK).uniform((N, *SHAPE), np.float64)
    return (x < 0.5).astype(np.float64) if binary else x


# log p, exactly


@pytest.mark.parametrize("sigma", ["shared", "pixel", 0.4])
def test_a_linear_model_is_a_gaussian(sigma: Any) -> None:
    model, x = make("vae", latent=3, sigma=sigma), images()
    state = model.state()
    W, m = state["decoder.0.weight"], state["decoder.0.bias"]
    logvar = state.get("recon_logvar", np.array(2 * math.log(0.4)))
    noise = np.diag(np.broadcast_to(np.exp(logvar).reshape(-1), (6,)))
    exact = stats.multivariate_normal(m, W @ W.T + noise).logpdf(x.reshape(N, -1))
    found = exact_log_p(model, x)
    assert found is not None
    assert found.method == "linear Gaussian"
    assert np.abs(found.log_p - exact).max() <= 1000 * FLOAT64


@pytest.mark.parametrize("latent", [1, 2])
def test_the_grid_integrates_a_linear_model_too(latent: int) -> None:
    model, x = make("vae", latent=latent), images()
    exact = bounds.linear_gaussian_log_p(model, x)
    found = bounds.quadrature_log_p(model, x)
    assert found is not None
    assert np.abs(found - exact).max() <= 1e-7


def test_a_posterior_finer_than_the_grid_has_no_log_p() -> None:
    model = make("vae", hidden=(4,), sigma=1e-4)
    assert exact_log_p(model, images()) is None


def test_the_sum_over_codes_is_log_p() -> None:
    model, x = make("bernoullivae", "bernoulli", latent=3, hidden=(4,)), images(True)
    terms = []
    for number in range(8):
        code = np.array([[number >> j & 1 for j in range(3)]], np.float64)
        logits = model.decode(code).numpy().reshape(-1)
        flat = x.reshape(N, -1)
        log_p = special.log_expit(logits) * flat + special.log_expit(-logits) * (
            1 - flat
        )
        terms.append(log_p.sum(axis=1) - 3 * math.log(2))
    exact = special.logsumexp(terms, axis=0)
    found = exact_log_p(model, x)
    assert found is not None
    assert np.abs(found.log_p - exact).max() <= 100 * FLOAT64


@pytest.mark.parametrize(
    ("name", "likelihood", "options"),
    [
        ("vae", "bernoulli", {"hidden": (4,)}),
        ("mixturevae", "bernoulli", {"hidden": (4,)}),
        ("bernoullivae", "bernoulli", {"hidden": (4,), "latent": 5}),
        ("vae", "gaussian", {"latent": 4}),
    ],
)
def test_many_importance_draws_find_log_p(
    name: str, likelihood: str, options: dict[str, Any]
) -> None:
    model, x = make(name, likelihood, **options), images(True)
    broad = {
        n: v / 10 for n, v in model.state().items() if n.startswith(("mu.", "log"))
    }
    model.load_state(model.state() | broad)
    exact = exact_log_p(model, x)
    assert exact is not None
    log_w = draw(model, x, 4000).log_w
    weights = np.exp(log_w - exact.log_p)  # unbiased, with mean 1 for every image
    error = weights.std(axis=0, ddof=1) / math.sqrt(len(weights))
    assert (abs(weights.mean(axis=0) - 1) <= 1.2 * STANDARD_ERRORS * error).all()


def test_without_a_likelihood_or_prior_there_is_no_log_p() -> None:
    assert exact_log_p(make("vae", "soft_bce"), images()) is None
    assert exact_log_p(make("ae", "squared_error"), images()) is None
    assert exact_log_p(make("vae", hidden=(4,), latent=3), images()) is None
    many = make("bernoullivae", "bernoulli", latent=13)
    assert exact_log_p(many, images(True)) is None


# The bounds


def test_a_bound_is_the_log_of_the_mean_of_its_group() -> None:
    log_w = Noise(2, Stream.CHECK).normal((7, 3), np.float64) * 100 - 3000
    found = importance_bound(log_w, 3)
    groups = [special.logsumexp(log_w[i : i + 3], axis=0) for i in (0, 3)]
    assert np.abs(found - np.mean(groups, axis=0) + math.log(3)).max() <= 1e-9
    ordered = [importance_bound(log_w[:6], k) for k in (1, 2, 6)]
    assert (ordered[0] <= ordered[1]).all()
    assert (ordered[1] <= ordered[2]).all()


@pytest.mark.parametrize("k", [0, 8])
def test_a_bound_of_more_draws_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(UserError, match="draws"):
        importance_bound(np.zeros((7, 3)), k)


@pytest.mark.parametrize("name", ["vae", "iwae", "mixturevae", "bernoullivae"])
def test_the_ledger_is_in_order(name: str) -> None:
    model = fit(small(name), few_digits()).model
    found = ledger(model, few_digits(), iwae=(2, 20))
    bound = found["iwae"]
    log_p = found["log_p"]
    assert -log_p["value"] <= bound["20"]["value"] + 4 * bound["20"]["se"]
    assert bound["20"]["value"] <= bound["2"]["value"] <= found["neg_elbo"] + 0.1
    assert abs(bound["20"]["value"] + log_p["value"]) < 0.2


@pytest.mark.parametrize("name", ["vae", "iwae", "mixturevae", "bernoullivae"])
def test_the_ledger_is_the_same_in_any_batch(name: str) -> None:
    model = fit(small(name, likelihood="bernoulli"), few_digits()).model
    whole, parts = (
        ledger(model, few_digits(), batch=batch, draws=3) for batch in (40, 7)
    )
    assert whole == ledger(model, few_digits(), batch=40, draws=3)
    for key in ("objective", "neg_elbo", "recon", "kl"):
        assert abs(whole[key] - parts[key]) <= FLOAT32 * abs(whole[key])
    for k, bound in whole["iwae"].items():
        assert abs(bound["value"] - parts["iwae"][k]["value"]) <= FLOAT32 * 100
    assert whole["aggregate"] == parts["aggregate"]


def test_the_bounds_are_the_same_bits_on_any_number_of_threads() -> None:
    model, found = small("vae", likelihood="bernoulli"), []
    for count in (1, 2, 3):
        with limited_threads(count):
            numbers = ledger(model, few_digits(), batch=7, draws=3)
        found.append([numbers[key] for key in ("neg_elbo", "recon", "kl", "iwae")])
    assert found == found[:1] * 3


def test_bound_and_objective_run_the_kernel_family() -> None:
    """Asked for by name, a rung that cannot run here says so."""
    model, x = make("iwae", samples=3), images()
    log_w = draw(model, x, 4).log_w
    noise = Noise(0, Stream.CHECK)
    with kernels.family("logmeanexp").use("logmeanexp_online"):
        with pytest.raises(kernels.CannotRunError):
            importance_bound(log_w, 2)
        with pytest.raises(kernels.CannotRunError):
            model.loss_terms(x, noise)


def test_a_bound_above_what_it_bounds_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    low, high = np.linspace(0, 1, 50), np.linspace(0.1, 1.2, 50)
    assert_order([("a", low), ("b", high)])
    with pytest.raises(BoundsError, match=r"b is .*, above a"):
        assert_order([("b", high), ("a", low)])
    with pytest.raises(BoundsError):
        assert_order([("a", low), ("b", np.full(50, np.nan))])
    real = bounds.DiagGaussian.log_prob
    monkeypatch.setattr(bounds.DiagGaussian, "log_prob", lambda q, z: real(q, z) - 1.0)
    with pytest.raises(BoundsError, match="above log p"):
        ledger(small(likelihood="bernoulli"), few_digits())


def test_an_objective_of_its_own_is_reported() -> None:
    model = small("betavae", likelihood="bernoulli", capacity=3.0, gamma=5.0)
    found = ledger(model, few_digits())
    assert found["objective_formula"] == "recon + 5 |KL − 3|"
    assert found["objective"] > found["recon"] + 5 * abs(found["kl"] - 3) - 2


# The weights of the KL


def test_tau2_is_beta_sigma2() -> None:
    model = small("betavae", likelihood="gaussian", beta=3.0, sigma=0.5)
    found = ledger(model, few_digits())
    assert found["sigma2"] == pytest.approx(0.25)
    assert found["tau2"] == pytest.approx(0.75)
    assert found["normalised_beta"] == pytest.approx(3 * 2 / 64)
    D = 64
    squares = 2 * 0.25 * (found["recon"] - D / 2 * math.log(2 * math.pi * 0.25))
    assert found["effective_beta"] == pytest.approx(3 * 0.25 / (squares / D))


# The aggregate posterior


def test_the_kl_splits_into_information_and_the_marginal() -> None:
    model, x = make("vae", latent=1), images()
    found = aggregate(model, x)
    q = model.encode(x)
    mu, std = q.mu.numpy()[:, 0], np.exp(q.logvar.numpy()[:, 0] / 2)
    z = np.linspace(-30, 30, 60_001)
    density = stats.norm.pdf(z[:, None], mu, std).mean(axis=1)
    log_p = stats.norm.logpdf(z)
    step = z[1] - z[0]
    marginal = (special.xlogy(density, density) - density * log_p).sum() * step
    mean_kl = q.kl().item()
    assert found.images == N
    assert abs(found.marginal_kl - marginal) <= 0.3  # one draw an image
    assert abs(found.mutual_information - (mean_kl - marginal)) <= 0.3
    assert 0 <= found.mutual_information <= math.log(N)
    assert abs(found.total_correlation) <= 1e-9  # of one latent


@pytest.mark.parametrize("name", ["vae", "bernoullivae"])
def test_no_image_is_told_apart_by_a_code_that_ignores_it(name: str) -> None:
    model = make(name, "bernoulli", latent=3)
    model.load_state({n: np.zeros_like(v) for n, v in model.state().items()})
    found = aggregate(model, images(True))
    assert np.abs(found[1:]).max() <= 1e-9


def test_codes_far_apart_tell_every_image() -> None:
    model = make("vae", latent=2)
    state = model.state()
    state["mu.weight"] *= 1000
    state["logvar.weight"][:] = 0
    model.load_state(state)
    found = aggregate(model, images())
    assert found.mutual_information == pytest.approx(math.log(N))
    assert aggregate(model, images(), most=7).images == 7


# Comparing runs


def test_runs_of_another_likelihood_or_binarisation_are_not_compared() -> None:
    base = {
        "likelihood": "bernoulli",
        "data": "a:fixed",
        "split": "test",
        "n_images": 3,
    }
    comparable([base, dict(base)], ["one", "two"])
    for key, value in (("likelihood", "gaussian"), ("data", "a:dynamic")):
        with pytest.raises(UserError, match=f"one and two .*{key}.*; "):
            comparable([base, {**base, key: value}], ["one", "two"])


def test_evaluate_takes_several_runs(tmp_path: Path) -> None:
    for name in ("vae", "iwae"):
        given = ("--data", "digits:fixed", "--hidden", 4, "--latent", 2, "--epochs", 1)
        done("train", "--model", name, *given, "--out", tmp_path / name)
    runs = (tmp_path / "vae", tmp_path / "iwae")
    found = json.loads(done("evaluate", *runs, "--json", "--iwae", "3"))
    assert [sorted(one["iwae"]) for one in found] == [["3"], ["3"]]
    table = done("evaluate", *runs)
    assert all(str(run) in table for run in runs)
    assert max(map(len, table.splitlines())) <= 80
    for words, option in (("at least one draw", "0"), ("whole numbers", "many")):
        outcome = minivae("evaluate", runs[0], "--iwae", option)
        assert (outcome.code, outcome.out) == (2, "")
        assert words in outcome.err
