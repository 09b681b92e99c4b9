"""Distributions: densities that are densities, KLs that are those of the draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from tolerances import FLOAT32, FLOAT64, STANDARD_ERRORS

from minivae import ops
from minivae.backend import Array
from minivae.distributions import (
    Bernoulli,
    DiagGaussian,
    Mixture,
    kl_monte_carlo,
    standard_normal,
)
from minivae.errors import UserError
from minivae.random import Noise, Stream
from minivae.tensor import Parameter, Tensor

DRAWS = 4000


def normals(*shape: int, seed: int = 0) -> Array:
    return Noise(seed, Stream.CHECK).normal(shape, np.float64)


def gaussian(seed: int) -> DiagGaussian:
    return DiagGaussian(
        Tensor(normals(5, 3, seed=seed)), Tensor(normals(5, 3, seed=seed + 1))
    )


def coins(seed: int) -> Bernoulli:
    return Bernoulli(Tensor(2 * normals(5, 3, seed=seed)))


def mixture() -> Mixture:
    parts = normals(2, seed=9), normals(2, 3, seed=10), normals(2, 3, seed=11)
    return Mixture(*map(Tensor, parts))


PAIRS: dict[str, tuple[Any, Any, Callable[[], Tensor]]] = {
    "gaussian to N(0, 1)": (
        gaussian(1),
        standard_normal(5, 3, np.float64),
        lambda: gaussian(1).kl("none"),
    ),
    "gaussian to gaussian": (
        gaussian(1),
        gaussian(3),
        lambda: gaussian(1).kl("none", gaussian(3)),
    ),
    "coins to fair coins": (
        coins(1),
        Bernoulli(Tensor(np.zeros((5, 3)))),
        lambda: coins(1).kl("none"),
    ),
    "coins to coins": (coins(1), coins(2), lambda: coins(1).kl("none", coins(2))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_closed_form_is_the_mean_of_the_draws(name: str) -> None:
    q, prior, closed = PAIRS[name]
    found = kl_monte_carlo(q, prior, Noise(4, Stream.CHECK), DRAWS)
    assert found.error.shape == (5,)
    assert (abs(found.value - closed().numpy()) <= STANDARD_ERRORS * found.error).all()
    assert (closed().numpy() > 20 * found.error).all()  # which would not notice 0


def test_a_kl_to_itself_is_0() -> None:
    for q in (gaussian(1), coins(1)):
        assert np.abs(q.kl("none", q).numpy()).max() <= FLOAT64  # type: ignore[arg-type]


def test_a_given_standard_prior_is_the_standard_prior() -> None:
    q, prior = gaussian(1), standard_normal(5, 3, np.float64)
    assert np.abs(q.kl("none").numpy() - q.kl("none", prior).numpy()).max() <= FLOAT64
    assert abs(q.kl().item() - q.kl("none").numpy().mean()) <= FLOAT64


def test_the_kl_of_coins_is_the_sum_over_both_faces() -> None:
    q, prior = coins(1), coins(2)
    p, p0 = special.expit(q.logits.numpy()), special.expit(prior.logits.numpy())
    exact = special.rel_entr(p, p0) + special.rel_entr(1 - p, 1 - p0)
    found = q.kl_per_latent(prior).numpy()
    assert np.abs(found - exact).max() <= FLOAT64


@pytest.mark.parametrize("make", [gaussian, coins])
def test_several_draws_have_a_log_prob_each(make: Callable[[int], Any]) -> None:
    q = make(1)
    u = Noise(5, Stream.CHECK).uniform((4, 5, 3), np.float64)
    z = q.sample(u)
    together = q.log_prob(z).numpy()
    assert together.shape == (4, 5)
    for s in range(4):
        alone = q.log_prob(Tensor(z.numpy()[s])).numpy()
        assert np.abs(together[s] - alone).max() <= FLOAT64


def test_coins_have_probabilities_that_sum_to_one() -> None:
    codes = np.array(np.meshgrid(*3 * [[0.0, 1.0]], indexing="ij")).reshape(3, -1).T
    q = Bernoulli(Tensor(np.repeat(normals(1, 3, seed=7), 8, axis=0)))
    assert abs(np.exp(q.log_prob(codes).numpy()).sum() - 1) <= FLOAT64


def test_a_mixture_has_the_density_of_its_parts() -> None:
    p, z = mixture(), normals(6, 5, 3, seed=12)
    weights = special.softmax(p.logits.numpy())
    each = [
        stats.norm.logpdf(z, m, np.exp(v / 2)).sum(axis=-1)
        for m, v in zip(p.mu.numpy(), p.logvar.numpy(), strict=True)
    ]
    exact = special.logsumexp(np.stack(each), axis=0, b=weights[:, None, None])
    found = p.log_prob(z).numpy()
    assert found.shape == (6, 5)
    assert np.abs(found - exact).max() <= 100 * FLOAT64


def test_a_mixture_is_drawn_as_it_says() -> None:
    p, n = mixture(), 40_000
    z = p.sample(n, Noise(1, Stream.CHECK)).numpy()
    weights = special.softmax(p.logits.numpy())[:, None]
    mean = (weights * p.mu.numpy()).sum(axis=0)
    second = (weights * (p.mu.numpy() ** 2 + np.exp(p.logvar.numpy()))).sum(axis=0)
    for power, exact in ((1, mean), (2, second)):
        error = (z**power).std(axis=0) / np.sqrt(n)
        assert (abs((z**power).mean(axis=0) - exact) <= STANDARD_ERRORS * error).all()


def test_a_mixture_of_one_thing_is_that_thing() -> None:
    q = gaussian(1)
    one = Mixture(*(Tensor(np.zeros(s)) for s in ((2,), (2, 3), (2, 3))))
    found = kl_monte_carlo(q, one, Noise(3, Stream.CHECK), DRAWS)
    exact = q.kl("none").numpy()
    assert (abs(found.value - exact) <= STANDARD_ERRORS * found.error).all()


def test_a_cold_relaxed_draw_is_the_draw() -> None:
    q, u = coins(1), Noise(6, Stream.CHECK).uniform((5, 3), np.float64)
    hard = q.sample(1 - u).numpy()  # logits + log u − log(1 − u) > 0: 1 − u < p
    assert np.abs(q.relaxed(u, 1e-6).numpy() - hard).max() <= FLOAT64
    assert np.abs(q.relaxed(u, 1.0).numpy() - hard).max() > 0.1


def test_an_estimate_of_one_draw_has_no_error() -> None:
    with pytest.raises(UserError, match="2 draws"):
        kl_monte_carlo(gaussian(1), gaussian(2), Noise(0), 1)


# Extremes: float32 stays finite, and near float64

LOGITS = np.array([[-1000.0, -88.0, 0.0, 88.0, 1000.0]])
LOGVAR = np.array([[-80.0, -40.0, 0.0, 40.0, 80.0]])
X = np.array([[0.0, 1.0, 1.0, 0.0, 1.0]])
EXTREMES: dict[str, tuple[Callable[[Tensor], Tensor], Array]] = {
    "bernoulli_nll": (lambda x: ops.bernoulli_nll(x, X.astype(x.dtype)), LOGITS),
    "soft_bce": (lambda x: ops.soft_bce(x, 0.5 * X.astype(x.dtype)), LOGITS),
    "entropy of coins": (lambda x: ops.sum(Bernoulli(x).entropy_terms()), LOGITS),
    "kl of coins": (lambda x: Bernoulli(x).kl(), LOGITS),
    "gaussian_kl": (lambda x: ops.gaussian_kl(x * 0.0 + 1.0, x), LOGVAR),
    "gaussian_nll": (lambda x: ops.gaussian_nll(x * 0, x, X.astype(x.dtype)), LOGVAR),
    "log_prob": (
        lambda x: ops.mean(DiagGaussian(x * 0.0, x).log_prob(X.astype(x.dtype))),
        LOGVAR,
    ),
    "kl to N(0, 1) given": (
        lambda x: DiagGaussian(x * 0.0, x).kl("mean", standard_normal(1, 5, x.dtype)),
        LOGVAR,
    ),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_are_finite_in_float32_and_near_float64(name: str) -> None:
    f, at = EXTREMES[name]
    for i in range(at.shape[1]):  # one at a time: a sum would hide the small ones
        found = []
        for dtype in (np.float32, np.float64):
            point = np.zeros_like(at)
            point[0, i] = at[0, i]
            x = Parameter(point.astype(dtype))
            value = f(x)
            value.backward()
            assert x.grad is not None
            found.append(np.array([value.item(), x.grad[0, i]], np.float64))
        single, double = found
        assert np.isfinite(single).all()
        error = np.abs(single - double) / np.maximum(1, np.abs(double))
        assert (error <= FLOAT32).all(), (i, single, double)
