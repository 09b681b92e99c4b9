"""The AE family's exact limits: known numbers, and what is planted breaks them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from minivae import nn, verify
from minivae.backend import Array
from minivae.errors import UserError
from minivae.evaluate import reconstruction_field
from minivae.models import AE, DenoisingAE
from minivae.models.corruption import Corruption
from minivae.random import Noise
from minivae.tensor import Tensor
from minivae.verify import exact
from minivae.verify.oracles import score


def failed(name: str) -> set[str]:
    return {c.name.partition("/")[2] for c in verify.run(name) if not c.passed}


# The exact side


def test_the_filters_of_digits_have_their_known_numbers() -> None:
    x = exact.digits()
    spectrum = exact.Spectrum.of(x)
    A, least = spectrum.wiener(0.05, 64)
    assert least == pytest.approx(1.054466, abs=1e-6)
    S = x.T @ x / len(x)
    assert np.abs(A - S @ np.linalg.inv(S + 0.05 * np.eye(64))).max() <= 1e-12
    raw = load_digits().data / 16  # this one is of pixels that are not centred
    _, least = exact.marginalised_masking(raw.T @ raw / len(raw), 0.3)
    assert least == pytest.approx(1.838353, abs=1e-6)


@pytest.mark.parametrize("D", [5, 16, 64])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.8])
def test_the_masks_have_the_moments_of_all_masks(D: int, p: float) -> None:
    masks, weights = exact.mask_design(D, p)
    q = 1 - p
    second = np.full((D, D), q * q) + p * q * np.eye(D)
    assert abs(weights.sum() - 1) <= 1e-12
    assert np.abs(weights @ masks - q).max() <= 1e-12
    assert np.abs(masks.T * weights @ masks - second).max() <= 1e-12


def test_the_marginalised_solution_is_a_minimum_over_drawn_masks() -> None:
    x = exact.coarse_digits()
    A, least = exact.marginalised_masking(x.T @ x / len(x), 0.3)
    rng = np.random.default_rng(0)
    spoilt = np.tile(x, (50, 1)) * (rng.random((50 * len(x), x.shape[1])) >= 0.3)
    clean = np.tile(x, (50, 1))
    measured = ((clean - spoilt @ A.T) ** 2).sum(axis=1)
    error = measured.std() / math.sqrt(len(measured))
    assert abs(measured.mean() - least) <= 4 * error
    best = np.linalg.lstsq(spoilt, clean, rcond=None)[0].T
    assert np.abs(best - A).max() <= 0.05


def test_few_points_have_the_moments_of_all() -> None:
    x = exact.digits()
    few = exact.same_moments(x)
    assert few.shape == (128, 64)
    assert np.abs(few.mean(axis=0)).max() <= 1e-12
    assert np.abs(few.T @ few / len(few) - x.T @ x / len(x)).max() <= 1e-12


def test_the_score_is_the_slope_of_log_p() -> None:
    mixture, h = score.MIXTURE, 1e-5
    x = score.drawn(20, Noise(4)).reshape(-1, 2)
    for axis in np.eye(2):
        slope = (mixture.log_p(x + h * axis) - mixture.log_p(x - h * axis)) / (2 * h)
        assert np.abs(mixture.score(x) @ axis - slope).max() <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("latent", [1, 2, 10, 20, 32])
@pytest.mark.parametrize("name", ["linear_ae", "tied", "denoising"])
def test_the_limits_are_reached_with_any_number_of_latents(
    name: str, latent: int
) -> None:
    for claim in verify.run(name, latent):
        assert claim.passed, claim


# What is planted


def test_a_variance_taken_for_a_deviation_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        Corruption, "apply", lambda own, x, drawn: x + own.amount * drawn
    )
    assert {"5 latents, loss", "5 latents, filter", "score"} <= failed("denoising")
    assert "field" in failed("score")


def test_a_noisy_target_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(own: DenoisingAE, x: Array, noise: Any = None, **options: Any) -> Any:
        seen = x if noise is None else own.corrupted(x, noise)
        return own.loss_from(seen, seen, None, options.get("reduction", "mean"))

    monkeypatch.setattr(DenoisingAE, "loss_terms", wrong)
    assert {"5 latents, loss", "overcomplete, filter"} <= failed("denoising")
    assert {"loss", "filter"} <= failed("masking")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda own, x, u: x * (u >= own.amount) / (1 - own.amount),
        lambda own, x, u: x * (u < own.amount),
    ],
    ids=["scaled up, as dropout is", "dropped and kept in each other's place"],
)
def test_a_wrong_mask_is_seen(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corruption, "apply", wrong)
    assert "filter" in failed("masking")


def test_a_weight_that_hears_of_one_use_only_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deaf(own: nn.TiedLinear, x: Tensor, dropout: Any) -> Tensor:
        return x @ own.weight.detach() + own.bias

    monkeypatch.setattr(nn.TiedLinear, "forward", deaf)
    assert failed("tied")


def test_another_activations_slope_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = AE.squared_slopes

    def wrong(own: AE, z: Tensor) -> Tensor:
        own.code_activation = "sigmoid"
        return right(own, z)

    monkeypatch.setattr(AE, "squared_slopes", wrong)
    assert failed("penalties") == {"contraction, tanh"}


def test_an_l1_of_squares_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from minivae import ops

    monkeypatch.setattr(ops, "abs", lambda z: z**2)
    assert "L1, tied" in failed("penalties")


def test_fewer_latents_are_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    from minivae.verify.oracles import overcomplete

    monkeypatch.setattr(overcomplete, "MORE", -40)
    monkeypatch.setattr(overcomplete, "STEPS", 600)
    assert failed("overcomplete") == {"squared error", "identity"}


def test_a_field_is_of_the_models_own_points() -> None:
    model = AE((1, 1, 2), 2, (), "squared_error")
    points = np.zeros((5, 2))
    assert reconstruction_field(model, points).shape == (5, 2)
    with pytest.raises(UserError, match=r"points are \(N, 2\), not \(5, 3\)"):
        reconstruction_field(model, np.zeros((5, 3)))
