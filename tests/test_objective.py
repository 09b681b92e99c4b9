"""The objective itself, which no gradient check can judge.

A wrong objective has a correct gradient. So every oracle here is run twice: on the code
as it is, and with a classic mistake planted, which it must not survive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from tolerances import FLOAT64, STANDARD_ERRORS

from minivae import ops
from minivae.backend import Array
from minivae.data import load
from minivae.distributions import DiagGaussian
from minivae.evaluate.ledger import collapsed, floor, ledger
from minivae.models import VAE, BetaVAE
from minivae.random import Noise, Stream
from minivae.tensor import Op, Tensor

N, SHAPE, HIDDEN, LATENT = 6, (1, 2, 3), (5,), 3


def small_vae(
    latent: int = LATENT, shape: tuple[int, int, int] = SHAPE, **options: Any
) -> VAE:
    options = {"likelihood": "soft_bce", "activation": "tanh", **options}
    model = VAE(shape, latent, HIDDEN, seed=4, **options)
    for parameter in model.to(dtype=np.float64).parameters():
        noise = Noise(parameter.size, Stream.CHECK)
        parameter.assign(parameter.data + noise.normal(parameter.shape, np.float64) / 2)
    return model


def batch(n: int = N) -> tuple[Array, Array]:
    noise = Noise(1, Stream.CHECK)
    x = noise.uniform((n, *SHAPE), np.float64)
    return x, noise.normal((n, LATENT), np.float64)


def terms(model: VAE, x: Array, eps: Array) -> tuple[float, float, float]:
    found = model.loss_terms(x, eps)
    assert found.kl is not None
    return found.loss.item(), found.recon.item(), found.kl.item()


def assert_equal(found: float, expected: float) -> None:
    assert abs(found - expected) <= FLOAT64 * 100 * max(1.0, abs(expected))


# The oracles


def kl_is_that_of_the_sampler() -> None:
    """KL(q ‖ p) = E_q[log q(z) − log p(z)], z from the sampler itself."""
    draws = 20_000
    mu, logvar = np.array([[0.7, -1.2, 0.0]]), np.array([[-1.5, 0.8, 0.3]])
    q = DiagGaussian(Tensor(mu), Tensor(logvar))
    eps = Noise(2, Stream.CHECK).normal((draws, 1, 3), np.float64)
    z = q.sample(eps).numpy()
    log_q = -0.5 * (logvar + (z - mu) ** 2 / np.exp(logvar)).sum(axis=(1, 2))
    log_p = -0.5 * (z**2).sum(axis=(1, 2))
    values = log_q - log_p
    error = values.std(ddof=1) / np.sqrt(draws)
    assert abs(values.mean() - q.kl().item()) <= STANDARD_ERRORS * error


def variance_of_draws_is_exp_logvar() -> None:
    """The draws of q have the mean mu and the variance exp(logvar)."""
    draws, logvar = 50_000, np.array([[-2.0, 1.0]])
    q = DiagGaussian(Tensor(np.zeros((1, 2))), Tensor(logvar))
    z = q.sample(Noise(3, Stream.CHECK).normal((draws, 1, 2), np.float64)).numpy()
    error = np.exp(logvar) * np.sqrt(2 / draws)
    assert (abs(z.var(axis=0) - np.exp(logvar)) <= STANDARD_ERRORS * error).all()


def gaussian_density_integrates_to_one() -> None:
    """∫ exp(−nll(x)) dx = 1 on a fine grid, for several sigmas."""
    x = np.linspace(-60, 60, 200_001)[:, None]
    for logvar in (-3.0, 0.0, 2.5):
        mu = np.full_like(x, 0.7)
        nll = ops.gaussian_nll(mu, np.array(logvar), x, reduction="none")
        area = np.exp(-nll.numpy()).sum() * (x[1, 0] - x[0, 0])
        assert abs(area - 1) <= 1e-9


def gaussian_nll_is_least_at_the_mean_square() -> None:
    """The best shared sigma² is the mean squared residual per pixel."""
    rng = np.random.default_rng(0)
    x, mu = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    best = np.log(((x - mu) ** 2).mean())
    nll = [
        ops.gaussian_nll(mu, np.array(best + d), x).item() for d in (-0.01, 0.0, 0.01)
    ]
    assert nll[1] == min(nll)
    assert_equal(nll[1], 7 / 2 * (1 + np.log(2 * np.pi) + best))


def a_duplicated_batch_leaves_the_loss() -> None:
    """Means over the batch: the same images twice say nothing new."""
    model, (x, eps) = small_vae(), batch()
    once, twice = terms(model, x, eps), terms(model, doubled(x), doubled(eps))
    for a, b in zip(once, twice, strict=True):
        assert_equal(b, a)


def doubled(array: Array) -> Array:
    return np.concatenate([array, array])


def latents_at_the_prior_cost_nothing() -> None:
    """Latents that are N(0, 1) under q and that the decoder ignores add 0."""
    model, (x, eps) = small_vae(), batch()
    wider = small_vae(LATENT + 2)
    state = wider.state()
    for name, value in model.state().items():
        state[name] = np.zeros_like(state[name])
        state[name][tuple(slice(0, n) for n in value.shape)] = value
    wider.load_state(state)
    more = Noise(9, Stream.CHECK).normal((N, 2), np.float64)
    for a, b in zip(
        terms(model, x, eps), terms(wider, x, np.hstack([eps, more])), strict=True
    ):
        assert_equal(b, a)


def tiling_the_image_doubles_recon_alone() -> None:
    """Twice the pixels, of which the encoder reads half: recon doubles, KL stays."""
    model, (x, eps) = small_vae(), batch()
    tiled = small_vae(shape=(1, 2 * SHAPE[1], SHAPE[2]))
    state, own = model.state(), tiled.state()
    first, last = "encoder.1.weight", "decoder.2"
    own.update({k: v for k, v in state.items() if k != first and last not in k})
    own[first] = np.hstack([state[first], np.zeros_like(state[first])])
    for kind in ("weight", "bias"):
        own[f"{last}.{kind}"] = np.concatenate([state[f"{last}.{kind}"]] * 2)
    tiled.load_state(own)
    _, recon, kl = terms(model, x, eps)
    _, tiled_recon, tiled_kl = terms(tiled, np.concatenate([x, x], axis=2), eps)
    assert_equal(tiled_recon, 2 * recon)
    assert_equal(tiled_kl, kl)


def a_constant_decoder_gets_the_collapsed_baseline() -> None:
    """q = prior and a decoder that always says the mean image: KL 0, the baseline."""
    data = load("digits")
    model = VAE(data.shape, 2, (4,), "soft_bce").to(dtype=np.float64)
    mean = data.train.grey.mean(axis=0).reshape(-1).astype(np.float64)
    edge = 0.5 / len(data.train)
    mean = mean.clip(edge, 1 - edge)
    state = {name: np.zeros_like(value) for name, value in model.state().items()}
    state["decoder.2.bias"] = np.log(mean / (1 - mean))
    model.load_state(state)
    found = ledger(model, data, draws=2)
    assert found["kl"] == 0.0
    assert found["active_units"] == 0
    assert abs(found["objective"] - found["collapsed"]) <= 1e-6 * found["collapsed"]


ORACLES = [
    kl_is_that_of_the_sampler,
    variance_of_draws_is_exp_logvar,
    gaussian_density_integrates_to_one,
    gaussian_nll_is_least_at_the_mean_square,
    a_duplicated_batch_leaves_the_loss,
    latents_at_the_prior_cost_nothing,
    tiling_the_image_doubles_recon_alone,
    a_constant_decoder_gets_the_collapsed_baseline,
]


# The mistakes


@contextmanager
def replaced(op: Op[Any], forward: Callable[..., Any]) -> Iterator[None]:
    """Put another forward function in the place of an op's own."""
    before = op.forward, op.forward_with_saves
    kept = before[1]
    op.forward = forward
    if kept is not None:
        op.forward_with_saves = lambda *a, **p: (forward(*a, **p), kept(*a, **p)[1])
    try:
        yield
    finally:
        op.forward, op.forward_with_saves = before


def sigma_from_the_sampler() -> Any:
    """exp(logvar) taken for the standard deviation, where z is drawn."""
    return replaced(ops.reparameterize, lambda mu, lv, eps: mu + np.exp(lv) * eps)


def sigma_in_the_density() -> Any:
    """exp(logvar) taken for the standard deviation, in the Gaussian likelihood."""
    right = ops.gaussian_nll.forward
    return replaced(
        ops.gaussian_nll,
        lambda mu, lv, x, reduction="mean": (
            right(mu, 2 * lv, x, reduction=reduction) - np.sum(lv) * x[0].size / 2
        ),
    )


def mean_over_latents() -> Any:
    """The KL averaged over the latents, not summed."""
    right = ops.gaussian_kl.forward
    return replaced(
        ops.gaussian_kl,
        lambda mu, lv, reduction="mean": (
            right(mu, lv, reduction=reduction) / mu.shape[1]
        ),
    )


def mean_over_pixels(op: Op[Any]) -> Any:
    """A reconstruction term averaged over the pixels, not summed."""
    right = op.forward
    return replaced(
        op,
        lambda *arrays, reduction="mean": (
            right(*arrays, reduction=reduction) / arrays[0][0].size
        ),
    )


def sum_over_the_batch() -> Any:
    """The KL summed over the batch, while recon is averaged."""
    right = ops.gaussian_kl.forward
    return replaced(
        ops.gaussian_kl,
        lambda mu, lv, reduction="mean": right(mu, lv, reduction="none").sum(),
    )


CAUGHT = [
    (kl_is_that_of_the_sampler, sigma_from_the_sampler),
    (kl_is_that_of_the_sampler, mean_over_latents),
    (variance_of_draws_is_exp_logvar, sigma_from_the_sampler),
    (gaussian_density_integrates_to_one, sigma_in_the_density),
    (gaussian_nll_is_least_at_the_mean_square, sigma_in_the_density),
    (
        gaussian_nll_is_least_at_the_mean_square,
        lambda: mean_over_pixels(ops.gaussian_nll),
    ),
    (a_duplicated_batch_leaves_the_loss, sum_over_the_batch),
    (latents_at_the_prior_cost_nothing, mean_over_latents),
    (tiling_the_image_doubles_recon_alone, lambda: mean_over_pixels(ops.soft_bce)),
    (
        a_constant_decoder_gets_the_collapsed_baseline,
        lambda: mean_over_pixels(ops.soft_bce),
    ),
]


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.__name__)
def test_the_objective(oracle: Callable[[], None]) -> None:
    oracle()


@pytest.mark.parametrize(
    ("oracle", "mistake"), CAUGHT, ids=[oracle.__name__ for oracle, _ in CAUGHT]
)
def test_a_mistake_is_caught(oracle: Callable[[], None], mistake: Any) -> None:
    with mistake(), pytest.raises(AssertionError):
        oracle()


def test_every_oracle_has_failed_once() -> None:
    assert {oracle for oracle, _ in CAUGHT} == set(ORACLES)


# What else is exact


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_the_slope_by_beta_is_the_kl(beta: float) -> None:
    x, eps = batch()
    h = 0.25

    def loss(weight: float) -> Any:
        model = BetaVAE(SHAPE, LATENT, HIDDEN, "soft_bce", beta=weight)
        return model.to(dtype=np.float64).loss_terms(x, eps)

    low, high = loss(beta), loss(beta + h)
    assert_equal((high.loss.item() - low.loss.item()) / h, low.kl.item())
    assert_equal(low.loss.item(), low.recon.item() + beta * low.kl.item())


def test_permuting_latents_with_their_columns_leaves_the_loss() -> None:
    model, (x, eps) = small_vae(), batch()
    before = terms(model, x, eps)
    order, state = [2, 0, 1], model.state()
    for name in ("mu.weight", "mu.bias", "logvar.weight", "logvar.bias"):
        state[name] = state[name][order]
    state["decoder.0.weight"] = state["decoder.0.weight"][:, order]
    model.load_state(state)
    for a, b in zip(before, terms(model, x, eps[:, order]), strict=True):
        assert_equal(b, a)


def test_terms_by_image_and_by_latent_add_up() -> None:
    model, (x, eps) = small_vae(), batch()
    loss, recon, kl = terms(model, x, eps)
    by_image = model.loss_terms(x, eps, reduction="none")
    assert by_image.kl is not None
    assert_equal(by_image.recon.numpy().mean(), recon)
    assert_equal(by_image.kl.numpy().mean(), kl)
    assert_equal(by_image.loss.numpy().mean(), loss)
    per_latent = model.encode(x).kl_per_latent().numpy()
    assert per_latent.shape == (N, LATENT)
    assert_equal(per_latent.sum(axis=1).mean(), kl)


@pytest.mark.parametrize(("mu", "logvar"), [(0.0, 0.0), (1.5, 0.0), (0.3, -2.0)])
def test_the_kl_in_closed_form(mu: float, logvar: float) -> None:
    q = DiagGaussian(Tensor(np.full((1, 1), mu)), Tensor(np.full((1, 1), logvar)))
    assert_equal(q.kl().item(), 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar))


def test_log_prob_is_the_gaussian_log_density() -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    mu, logvar, z = rng.normal(size=(3, 4, 2))
    q = DiagGaussian(Tensor(mu), Tensor(logvar))
    expected = norm.logpdf(z, mu, np.exp(logvar / 2)).sum(axis=1)
    assert np.abs(q.log_prob(z).numpy() - expected).max() <= 1e-12
    assert np.abs(q.std.numpy() ** 2 - q.var.numpy()).max() <= 1e-12
    nll = ops.gaussian_nll(mu, logvar, z, reduction="none").numpy()
    assert np.abs(nll + expected).max() <= 1e-12


def test_the_baselines_of_the_packaged_images() -> None:
    data = load("fashion10k:dynamic")
    assert floor("bernoulli", data, "test") == pytest.approx(187.0, abs=0.05)
    assert collapsed("bernoulli", data, "test") == pytest.approx(386.1, abs=0.06)


def test_no_decoder_beats_the_floor_on_average() -> None:
    """Even the grey image itself, known exactly, costs the entropy of its pixels."""
    data = load("fashion10k:dynamic")
    grey = data.test.grey.reshape(1000, -1).astype(np.float64).clip(1e-12, 1 - 1e-12)
    logits = np.log(grey / (1 - grey))
    drawn = data.test.images.reshape(1000, -1).astype(np.float64)
    nll = ops.bernoulli_nll(logits, drawn, reduction="none").numpy()
    error = nll.std(ddof=1) / np.sqrt(len(nll))
    assert abs(nll.mean() - floor("bernoulli", data, "test")) <= STANDARD_ERRORS * error
