"""EM, exact and by steps: who moves when, and that it climbs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import done, minivae
from stops import stopped
from tiny import few_digits, fit, same, small

import minivae as mv
from minivae import em, train
from minivae.errors import UserError
from minivae.random import Noise, Stream


def images(n: int = 50) -> np.ndarray:
    x = few_digits().train.grey[:n].astype(np.float64)
    return x - x.mean(axis=0)


def linear(latent: int = 2, **options: Any) -> Any:
    model = mv.VAE((1, 8, 8), latent, (), "gaussian", **options)
    return model.to(dtype=np.float64)


def test_an_e_step_finds_the_posterior_and_an_m_step_the_best_theta() -> None:
    model = em.PPCA.start(images(), 3)
    mean, covariance = model.e_step()
    assert abs(model.gap(mean, covariance)) <= 1e-12
    assert model.gap(mean + 0.1, covariance) > 0
    before = model.log_p()
    model.m_step(mean, covariance)
    best = model.log_p() - model.gap(mean, covariance)
    assert best > before
    right = model.W.copy(), model.s2
    rng = np.random.default_rng(0)
    for _ in range(5):  # no other theta is better for this q
        model.W = right[0] + 0.01 * rng.normal(size=right[0].shape)
        model.s2 = right[1] * 1.02
        assert model.log_p() - model.gap(mean, covariance) < best


def test_log_p_of_ppca_is_that_of_the_model_with_its_weights() -> None:
    x, model = images(), linear()
    ppca = em.PPCA.start(x, 2)
    state = {name: np.zeros_like(value) for name, value in model.state().items()}
    state["decoder.0.weight"], state["recon_logvar"] = ppca.W, np.array(np.log(ppca.s2))
    model.load_state(state)
    found = em.place(model, x)
    assert found.log_p == pytest.approx(ppca.log_p(), rel=1e-12)
    q_is_p = np.zeros((len(x), 2)), np.eye(2)
    assert found.gap == pytest.approx(ppca.gap(*q_is_p), rel=1e-12)


def test_exact_em_climbs() -> None:
    places = list(em.exact_em(images(), 3, 30))
    assert all(b.log_p >= a.log_p - 1e-12 for a, b in pairwise(places))
    assert all(b.elbo >= a.elbo - 1e-12 for a, b in pairwise(places))


@pytest.mark.parametrize("latent", [0, 64])
def test_as_many_latents_as_pixels_are_refused(latent: int) -> None:
    with pytest.raises(UserError, match="latents for 64 pixels"):
        em.PPCA.start(images(), latent)


def test_steps_by_turns_move_one_at_a_time() -> None:
    for alternate in (True, False):
        walk = list(em.climb(linear(), images(), 4, em=alternate))
        moved = [a.log_p != b.log_p for a, b in pairwise(walk)]
        assert moved == ([False, True] * 2 if alternate else [True] * 4)


def test_a_q_of_each_image_closes_the_gap_that_the_encoder_leaves() -> None:
    model, x = linear(), images(20)
    first, *_, last = (em.place(model, x, q).elbo for q in em.per_example(model, x, 40))
    assert last > first
    split = em.gap(model, x, 100)
    assert split.amortisation > 0
    assert split.approximation >= -1e-9


def test_the_expectation_by_points_is_that_of_many_draws() -> None:
    model = mv.VAE((1, 8, 8), 2, (6,), "bernoulli", activation="tanh")
    model.to(dtype=np.float64)
    x = (images(10) > 0).astype(np.float64)
    noise = Noise(0, Stream.CHECK)
    draws = [
        -sum(t.item() for t in model.loss_terms(x, noise)[1:3]) for _ in range(3000)
    ]
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(em.expected_elbo(model, x) - np.mean(draws)) <= 4 * error


def test_the_plane_needs_an_exact_log_p() -> None:
    deep = mv.VAE((1, 8, 8), 3, (6,), "bernoulli").to(dtype=np.float64)
    with pytest.raises(UserError, match="at most two latents"):
        em.place(deep, images())
    with pytest.raises(UserError, match="two latents, not for 3"):
        em.rule(deep, 5)


# minivae train --em


def test_training_by_em_moves_encoder_and_decoder_by_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, moved = train.train_step, []

    def watched(model: Any, *rest: Any) -> Any:
        before = model.state()
        result = real(model, *rest)
        after, of_p = model.state(), model.generative_parameters()
        changed = {n for n in after if (after[n] != before[n]).any()}
        assert changed
        moved.append({name in of_p for name in changed})
        return result

    monkeypatch.setattr(train, "train_step", watched)
    fit(small(likelihood="gaussian"), few_digits(), em=True, epochs=1)
    assert moved == [{False}, {True}, {False}, {True}]


def test_training_by_em_goes_on_as_it_would_have(tmp_path: Path) -> None:
    whole = fit(small(), few_digits(), em=True, epochs=3)
    out = tmp_path / "run"
    options = {"em": True, "epochs": 3, "out": out}
    stopped(5, out, lambda: fit(small(), few_digits(), **options))  # before an M-step
    resumed = mv.resume(out, few_digits(), quiet=True)
    assert same(whole.model.state(), resumed.model.state())


def test_em_of_what_has_no_q_is_refused() -> None:
    with pytest.raises(UserError, match="no q"):
        fit(small("ae"), few_digits(), em=True)
    with pytest.raises(UserError, match="em is true or false"):
        fit(small(), few_digits(), em=3)


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    told = done("em", "--out", tmp_path / "em.html", "--steps", 5)
    assert "approximation" in told
    page = (tmp_path / "em.html").read_text(encoding="utf-8")
    for name in ("exact EM", "generalised EM", "amortised VAE", "per-example VI"):
        assert name in page
    assert minivae("em", "--steps", 0, "--out", tmp_path / "x.html").code == 2
    assert not (tmp_path / "x.html").exists()
