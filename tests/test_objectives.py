"""What each objective is, computed again by hand; what its gradient must be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special
from tolerances import FLOAT64, STANDARD_ERRORS

import minivae as mv
from minivae import models, ops
from minivae.backend import Array
from minivae.distributions import LIKELIHOODS, DiagGaussian
from minivae.errors import UserError
from minivae.models import Autoencoder
from minivae.models.discrete import ESTIMATORS
from minivae.models.pairs import all_codes, pairwise_recon
from minivae.random import Noise, Stream
from minivae.run import Options
from minivae.tensor import Tensor
from minivae.train import validate, warmth_at

SHAPE, N, Z = (1, 2, 3), 6, 3


def make(name: str, likelihood: str = "bernoulli", **options: Any) -> Any:
    options = {"latent": Z, "hidden": (5,), "activation": "tanh", **options}
    model = models.build(name, shape=SHAPE, likelihood=likelihood, seed=3, **options)
    for parameter in model.to(dtype=np.float64).parameters():
        noise = Noise(parameter.size, Stream.CHECK)
        parameter.assign(parameter.data + noise.normal(parameter.shape, np.float64) / 2)
    return model


def images(n: int = N) -> Array:
    return (Noise(1, Stream.CHECK).uniform((n, *SHAPE), np.float64) < 0.5) * 1.0


def gradient(model: Autoencoder, x: Array, noise: Any) -> Array:
    for parameter in model.parameters():
        parameter.grad = None
    model.loss_terms(x, noise).loss.backward()
    flat = [
        np.zeros(p.size) if p.grad is None else p.grad.ravel()
        for p in model.parameters()
    ]
    return np.concatenate(flat)


def close(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return bool((abs(a - b) <= 100 * FLOAT64 * np.maximum(1, abs(b))).all())


# The KL, weighed


def kl_terms(model: Any, x: Array) -> Array:
    q = model.encode(x)
    mu, logvar = q.mu.numpy(), q.logvar.numpy()
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar)


@pytest.mark.parametrize("warmth", [1.0, 0.25])
def test_free_bits_cost_at_least_lambda_a_latent(warmth: float) -> None:
    model, x, eps = make("betavae", beta=2.0, free_bits=0.3), images(), np.ones((N, Z))
    terms = model.loss_terms(x, eps, warmth=warmth)
    latents = kl_terms(model, x)
    assert (latents < 0.3).any()
    assert (latents > 0.3).any()
    cost = 2.0 * np.maximum(0.3, latents).sum(axis=1).mean()
    assert close(terms.kl.item(), latents.sum(axis=1).mean())
    assert close(terms.loss.item(), terms.recon.item() + warmth * cost)
    assert close(terms.objective.item(), terms.recon.item() + cost)


def test_free_bits_press_no_latent_below_them() -> None:
    free = make("betavae", beta=2.0, free_bits=50.0)
    weightless = make("betavae", beta=0.0)
    x, eps = images(), np.ones((N, Z))
    assert close(gradient(free, x, eps), gradient(weightless, x, eps))


@pytest.mark.parametrize("warmth", [1.0, 0.5, 0.0])
def test_capacity_holds_the_kl_at_c(warmth: float) -> None:
    model = make("betavae", capacity=3.0, gamma=7.0)
    x, eps = images(), np.ones((N, Z))
    terms = model.loss_terms(x, eps, warmth=warmth)
    kl = kl_terms(model, x).sum(axis=1)
    exact = 7 * np.abs(kl - warmth * 3).mean()
    assert close(terms.loss.item(), terms.recon.item() + exact)
    assert close(terms.objective.item(), terms.recon.item() + 7 * np.abs(kl - 3).mean())


@pytest.mark.parametrize("options", [{"free_bits": 0.3}, {"capacity": 2.0}])
def test_the_weighed_kl_is_a_mean_over_images(options: dict[str, float]) -> None:
    model, x, eps = make("betavae", **options), images(), np.ones((N, Z))
    whole = model.loss_terms(x, eps)
    each = model.loss_terms(x, eps, reduction="none")
    assert close(each.loss.numpy().mean(), whole.loss.item())
    assert validate(model, x, batch=2) == pytest.approx(validate(model, x), rel=1e-12)


def test_the_warm_up_may_come_in_cycles() -> None:
    options = Options(epochs=10, warmup=2, cycles=2)
    assert options.warm_at == 7
    run = mv.fit(
        mv.VAE((1, 8, 8), 2, (4,)), mv.data.load("digits:dynamic"), epochs=4,
        warmup=1, cycles=2, batch=720, quiet=True,
    )  # fmt: skip
    assert [line["warmth"] for line in run.metrics] == [0.5, 1.0, 0.5, 1.0]
    assert warmth_at(1, 2) == 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cycles": 0}, "at least 1"),
        ({"cycles": 2}, "do not fit"),
        ({"cycles": 3, "warmup": 4, "epochs": 10}, "do not fit"),
    ],
)
def test_cycles_that_do_not_fit_are_refused(options: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Options(**options).check()


# Sigma


@pytest.mark.parametrize(
    ("sigma", "shape"), [("shared", ()), ("pixel", SHAPE), (0.5, None), ("0.5", None)]
)
def test_sigma_is_shared_of_each_pixel_or_given(sigma: Any, shape: Any) -> None:
    model = make("vae", "gaussian", sigma=sigma)
    named = model.named_parameters()
    assert (named["recon_logvar"].shape if "recon_logvar" in named else None) == shape
    decoded = model.decode(np.zeros((N, Z)))
    if shape is None:
        assert close(decoded.logvar.numpy(), 2 * math.log(0.5))
    x = images()
    terms = model.loss_terms(x, np.zeros((N, Z)))
    decoded = model.decode(model.encode(x).mu)
    assert close(terms.recon.item(), -decoded.log_prob(x).numpy().mean())
    config = model.config()
    assert models.build(config.pop("model"), **config).config() == model.config()


@pytest.mark.parametrize("sigma", [0, -1.0, "inf", "nan", "loud"])
def test_another_sigma_is_refused(sigma: Any) -> None:
    with pytest.raises(UserError, match="sigma"):
        make("vae", "gaussian", sigma=sigma)


def test_sigma_without_a_gaussian_is_refused() -> None:
    with pytest.raises(UserError, match="sigma is the gaussian likelihood's"):
        make("vae", "bernoulli", sigma=0.5)


# Importance weights


def log_weights(model: Any, x: Array, eps: Array, warmth: float = 1.0) -> Array:
    """log p(x|z) + log p(z) − log q(z|x), by NumPy, from the decoder's logits."""
    q = model.encode(x)
    mu, logvar = q.mu.numpy(), q.logvar.numpy()
    found = []
    for e in eps:
        z = mu + np.exp(logvar / 2) * e
        logits = model.decode(z).numpy().reshape(len(x), -1)
        flat = x.reshape(len(x), -1)
        log_px = (flat * logits - np.logaddexp(0, logits)).sum(axis=1)
        ratio = 0.5 * (z**2 - e**2 - logvar).sum(axis=1)
        found.append(log_px - warmth * ratio)
    return np.stack(found)


@pytest.mark.parametrize("k", [1, 4])
def test_the_iwae_bound_is_the_log_of_the_mean_weight(k: int) -> None:
    model, x = make("iwae", samples=k), images()
    eps = Noise(2, Stream.CHECK).normal((k, N, Z), np.float64)
    log_w = log_weights(model, x, eps)
    exact = special.logsumexp(log_w, axis=0) - math.log(k)
    found = model.loss_terms(x, eps, reduction="none")
    assert close(-found.loss.numpy(), exact)
    assert close(model.loss_terms(x, eps).loss.item(), -exact.mean())


def test_the_warm_up_weighs_what_an_iwae_has_for_a_kl() -> None:
    model, x = make("iwae", samples=4), images()
    eps = Noise(2, Stream.CHECK).normal((4, N, Z), np.float64)
    terms = model.loss_terms(x, eps, warmth=0.25)
    for found, warmth in ((terms.loss, 0.25), (terms.objective, 1.0)):
        log_w = log_weights(model, x, eps, warmth)
        exact = special.logsumexp(log_w, axis=0) - math.log(4)
        assert close(found.item(), -exact.mean())
    shown = [model.recon(model.encode(x).sample(e), x, None, "none") for e in eps]
    assert close(terms.recon.item(), np.mean([r.numpy() for r in shown]))


@pytest.mark.parametrize("estimator", ["mixture", *ESTIMATORS])
def test_the_warm_up_weighs_the_kl_of_other_latents_too(estimator: str) -> None:
    if estimator == "mixture":
        model = make("mixturevae")
    else:
        model = make("bernoullivae", estimator=estimator)
    terms = model.loss_terms(images(), Noise(1), warmth=0.25)
    assert close(terms.loss.item(), terms.recon.item() + 0.25 * terms.kl.item())


def test_the_iwae_gradient_weighs_draws_by_their_importance() -> None:
    """∇L = Σ_s softmax(log w)_s ∇ log w_s."""
    model, x = make("iwae", samples=4), images()
    eps = Noise(2, Stream.CHECK).normal((4, N, Z), np.float64)
    found = gradient(model, x, eps)
    weights = special.softmax(log_weights(model, x, eps), axis=0)
    for parameter in model.parameters():
        parameter.grad = None
    q = model.encode(x)
    recon, ratio = model.weight_terms(x, q, q.sample(eps))
    ops.sum(weights * (recon + ratio) / N).backward()
    exact = np.concatenate([p.grad.ravel() for p in model.parameters()])
    assert close(found, exact)


def test_one_importance_draw_is_the_elbo_on_average() -> None:
    vae, iwae, x = make("vae"), make("iwae", samples=1), images()
    draws = 400
    eps = Noise(2, Stream.CHECK).normal((draws, N, Z), np.float64)
    pairs = np.array(
        [
            [
                m.loss_terms(x, e[None] if m is iwae else e).loss.item()
                for m in (vae, iwae)
            ]
            for e in eps
        ]
    )
    apart = pairs[:, 0] - pairs[:, 1]
    error = apart.std(ddof=1) / math.sqrt(draws)
    assert error > 0
    assert abs(apart.mean()) <= STANDARD_ERRORS * error


def test_the_score_left_out_has_mean_0() -> None:
    plain, sticking = make("iwae", samples=1), make("iwae", samples=1, sticking=True)
    x, draws = images(2), 600
    eps = Noise(4, Stream.CHECK).normal((draws, 1, 2, Z), np.float64)
    apart = np.array([gradient(plain, x, e) - gradient(sticking, x, e) for e in eps])
    moving = apart.std(axis=0) > 0
    assert moving.any()
    error = apart.std(axis=0, ddof=1)[moving] / math.sqrt(draws)
    assert (abs(apart.mean(axis=0)[moving]) <= 1.2 * STANDARD_ERRORS * error).all()


def test_the_loss_of_a_sticking_iwae_is_that_of_the_plain_one() -> None:
    x, eps = images(), np.ones((5, N, Z))
    losses = [
        make("iwae", sticking=sticking).loss_terms(x, eps).loss.item()
        for sticking in (True, False)
    ]
    assert close(*losses)


# The mixture prior


def test_the_kl_to_a_mixture_is_that_at_the_draw() -> None:
    model, x = make("mixturevae"), images()
    eps = Noise(2, Stream.CHECK).normal((N, Z), np.float64)
    q = model.encode(x)
    z = q.sample(eps)
    terms = model.loss_terms(x, eps, reduction="none")
    exact = q.log_prob(z).numpy() - model.prior.log_prob(z).numpy()
    assert close(terms.kl.numpy(), exact)
    assert close(terms.loss.numpy(), terms.recon.numpy() + exact)


def test_two_equal_components_at_0_are_the_standard_prior() -> None:
    mixed, plain, x = make("mixturevae"), make("vae"), images()
    state = mixed.state() | plain.state()
    mixed.load_state(
        {n: 0 * v if n.startswith("prior") else v for n, v in state.items()}
    )
    draws = 400
    eps = Noise(2, Stream.CHECK).normal((draws, N, Z), np.float64)
    apart = np.array(
        [
            mixed.loss_terms(x, e).loss.item() - plain.loss_terms(x, e).loss.item()
            for e in eps
        ]
    )
    error = apart.std(ddof=1) / math.sqrt(draws)
    assert abs(apart.mean()) <= STANDARD_ERRORS * error


def test_samples_come_from_the_mixture() -> None:
    model = make("mixturevae")
    with pytest.raises(UserError, match="Noise"):
        model.sample(3, np.zeros((3, Z)))
    state = model.state()
    state["prior_mu"][:] = 7.0
    state["prior_logvar"][:] = -60.0
    model.load_state(state)
    exact = model.picture(np.full((1, Z), 7.0))
    assert np.abs(model.sample(4, Noise(0)) - exact).max() <= 1e-6


# Latents of 0 and 1


@pytest.mark.parametrize(
    ("likelihood", "sigma"),
    [("bernoulli", "shared"), ("soft_bce", "shared"), ("gaussian", "shared"),
     ("gaussian", "pixel"), ("gaussian", 0.3)],
)  # fmt: skip
def test_pairs_are_what_each_pair_is_alone(likelihood: str, sigma: Any) -> None:
    model, x = make("bernoullivae", likelihood, sigma=sigma), images()
    codes = all_codes(Z, np.float64)
    assert sorted(map(tuple, codes)) == sorted(set(map(tuple, codes)))
    decoded = model.decode(codes)
    found = pairwise_recon(LIKELIHOODS[likelihood], decoded, x).numpy()
    assert found.shape == (N, 8)
    for c, code in enumerate(codes):
        alone = model.recon(np.tile(code, (N, 1)), x, None, "none").numpy()
        assert close(found[:, c], alone)


def test_the_exact_loss_is_the_sum_over_codes() -> None:
    model, x = make("bernoullivae", estimator="exact"), images()
    p = special.expit(model.encode(x).logits.numpy())
    exact = np.zeros(N)
    for number in range(8):
        code = np.array([number >> j & 1 for j in range(Z)], np.float64)
        chance = np.prod(np.where(code == 1, p, 1 - p), axis=1)
        recon = model.recon(np.tile(code, (N, 1)), x, None, "none").numpy()
        exact += chance * recon
    found = model.loss_terms(x, reduction="none")
    assert close(found.recon.numpy(), exact)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_keeps_the_kl_exact(estimator: str) -> None:
    model, x = make("bernoullivae", estimator=estimator), images()
    terms = model.loss_terms(x, Noise(1))
    p = special.expit(model.encode(x).logits.numpy())
    exact = special.rel_entr(p, 0.5) + special.rel_entr(1 - p, 0.5)
    assert close(terms.kl.item(), exact.sum(axis=1).mean())
    assert close(terms.loss.item(), terms.recon.item() + terms.kl.item())


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_a_relaxed_code_has_the_temperature_asked_for(temperature: float) -> None:
    model = make("bernoullivae", estimator="relaxed", temperature=temperature)
    x, u = images(), Noise(2, Stream.CHECK).uniform((N, Z), np.float64)
    logits = model.encode(x).logits.numpy()
    z = special.expit((logits + special.logit(u)) / temperature)
    exact = model.recon(z, x, None, "none").numpy()
    assert close(model.loss_terms(x, u, reduction="none").recon.numpy(), exact)


def test_too_many_codes_are_counted() -> None:
    with pytest.raises(UserError, match=r"2\^13 = 8,192 codes.*12 \(4,096"):
        make("bernoullivae", latent=13, estimator="exact")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("bernoullivae", {"estimator": "magic"}, "exact, reinforce"),
        ("bernoullivae", {"temperature": 0.0}, "temperature"),
        ("iwae", {"samples": 0}, "at least one draw"),
        ("betavae", {"free_bits": -1.0}, "free_bits"),
        ("betavae", {"capacity": 2.0, "free_bits": 1.0}, "not both"),
        ("betavae", {"gamma": math.inf}, "gamma"),
    ],
)
def test_an_objective_that_makes_no_sense_is_refused(
    name: str, options: Any, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        make(name, **options)


@pytest.mark.parametrize("name", ["iwae", "bernoullivae"])
def test_a_loss_without_noise_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="noise"):
        make(name).loss_terms(images())


# A linear model


def test_without_hidden_layers_a_model_is_linear() -> None:
    model, x = make("vae", "gaussian", hidden=()), images()
    assert {n: p.shape for n, p in model.named_parameters().items()} == {
        "mu.weight": (Z, 6), "mu.bias": (Z,), "logvar.weight": (Z, 6),
        "logvar.bias": (Z,), "decoder.0.weight": (6, Z), "decoder.0.bias": (6,),
        "recon_logvar": (),
    }  # fmt: skip
    state = model.state()
    flat = x.reshape(N, -1)
    assert close(model.embed(x), flat @ state["mu.weight"].T + state["mu.bias"])
    decoded = model.decode(np.eye(Z))
    assert isinstance(decoded, DiagGaussian)
    exact = state["decoder.0.weight"].T + state["decoder.0.bias"]
    assert close(decoded.mu.numpy().reshape(Z, 6), exact)


def test_the_generative_parameters_are_those_of_the_decoder_and_prior() -> None:
    model = make("mixturevae", "gaussian")
    mine = model.generative_parameters()
    assert {name.partition(".")[0] for name in mine} == {
        "decoder", "recon_logvar", "prior_logits", "prior_mu", "prior_logvar",
    }  # fmt: skip
    x = images()
    before = model.encode(x).mu.numpy()
    for parameter in mine.values():
        parameter.assign(parameter.data + 1.0)
    assert (model.encode(x).mu.numpy() == before).all()
    assert isinstance(before, np.ndarray)
    assert isinstance(model.prior.log_prob(Tensor(before)), Tensor)
