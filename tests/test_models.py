"""What every model can do, whatever its name: shapes, means and draws, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minivae import models, nn
from minivae.backend import Array
from minivae.distributions import LIKELIHOODS, Bernoulli, DiagGaussian
from minivae.errors import UserError
from minivae.models import MODELS, Autoencoder
from minivae.random import Noise
from minivae.tensor import Tensor

SHAPE = (2, 3, 4)
ACCEPTED = [
    (name, likelihood)
    for name in MODELS
    for likelihood in LIKELIHOODS
    if name in ("ae", "dae") or likelihood != "squared_error"
]
each_model = pytest.mark.parametrize("name", MODELS)


def make(name: str, likelihood: str = "soft_bce", **options: Any) -> Autoencoder:
    options = {"latent": 3, "hidden": (7, 5), "shape": SHAPE, "seed": 2, **options}
    return models.build(name, likelihood=likelihood, **options)


def images(n: int = 4) -> Array:
    return Noise(3).uniform((n, *SHAPE))


@pytest.mark.parametrize(("name", "likelihood"), ACCEPTED)
def test_everything_has_the_shape_of_images(name: str, likelihood: str) -> None:
    model, x = make(name, likelihood), images()
    assert model.embed(x).shape == (4, 3)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(6, Noise(0)).shape == (6, *SHAPE)
    assert model.interpolate(x[0], x[1], 5).shape == (5, *SHAPE)
    assert model.traverse(x[0], 1, np.linspace(-1, 1, 7)).shape == (7, *SHAPE)
    if likelihood in ("bernoulli", "soft_bce"):
        drawn = model.sample(6, Noise(0))
        assert 0 < drawn.min() < drawn.max() < 1  # probabilities, not logits


@pytest.mark.parametrize(
    ("name", "likelihood"), [pair for pair in ACCEPTED if pair[0] != "iwae"]
)
def test_the_loss_is_recon_plus_beta_kl(name: str, likelihood: str) -> None:
    model, x = make(name, likelihood), images().round()
    terms = model.loss_terms(x, Noise(0))
    kl = 0.0 if terms.kl is None else terms.kl.item()
    assert (terms.kl is not None) == model.has_kl
    expected = terms.recon.item() + model.beta * kl
    assert terms.loss.item() == pytest.approx(expected, rel=1e-6)


@each_model
def test_deterministic_unless_asked(name: str) -> None:
    model, x = make(name, dropout=0.5), images()
    before = model.state()
    for method in (model.embed, model.reconstruct):
        np.testing.assert_array_equal(method(x), method(x))
        drawn = [method(x, mean=False, noise=Noise(seed)) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert (drawn[0] != drawn[2]).any() == model.has_kl
    for name_, value in model.state().items():
        np.testing.assert_array_equal(value, before[name_])


@each_model
def test_mean_or_sample_is_always_said(name: str) -> None:
    model, x = make(name), images()
    with pytest.raises(UserError, match="noise"):
        model.embed(x, mean=False)
    with pytest.raises(UserError, match="noise"):
        model.reconstruct(x, noise=Noise(0))


@each_model
def test_an_image_is_encoded_alike_in_any_company(name: str) -> None:
    model, x = make(name), images()
    assert np.abs(model.embed(x)[:1] - model.embed(x[:1])).max() <= 1e-6


@each_model
def test_an_interpolation_begins_and_ends_at_the_reconstructions(name: str) -> None:
    model, x = make(name), images(2)
    line, ends = model.interpolate(x[0], x[1], 4), model.reconstruct(x)
    assert np.abs(line[[0, -1]] - ends).max() <= 1e-6


@each_model
def test_a_traversal_moves_one_latent(name: str) -> None:
    model, x = make(name), images(1)
    code = model.embed(x)
    here = model.traverse(x[0], 2, code[:, 2])
    assert np.abs(here - model.reconstruct(x)).max() <= 1e-6
    assert (model.traverse(x[0], 2, code[:, 2] + 1) != here).any()
    assert (model.traverse(x[0], 0, code[:, 0] + 1) != here).any()


@each_model
def test_the_same_seed_makes_the_same_model(name: str) -> None:
    first, second, other = make(name), make(name), make(name, seed=3)
    weights = [m.state()["encoder.1.weight"] for m in (first, second, other)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


@pytest.mark.parametrize(("name", "likelihood"), ACCEPTED)
def test_a_model_can_be_built_again_from_its_config(name: str, likelihood: str) -> None:
    weight = {"beta": 2.5} if name == "betavae" else {}
    model = make(name, likelihood, activation="elu", dropout=0.1, **weight)
    config = model.config()
    twin = models.build(config.pop("model"), **config)
    assert twin.config() == model.config()
    assert twin.state().keys() == model.state().keys()


def test_the_decoder_mirrors_the_encoder() -> None:
    model = make("vae")
    shapes = {n: p.shape for n, p in model.named_parameters().items() if "weight" in n}
    assert shapes == {
        "encoder.1.weight": (7, 24),
        "encoder.3.weight": (5, 7),
        "mu.weight": (3, 5),
        "logvar.weight": (3, 5),
        "decoder.0.weight": (5, 3),
        "decoder.2.weight": (7, 5),
        "decoder.4.weight": (24, 7),
    }


def test_decoders_return_logits_or_a_gaussian() -> None:
    z = np.zeros((2, 3), np.float32)
    assert isinstance(make("vae").decode(z), Tensor)
    decoded = make("vae", "gaussian").decode(z)
    assert isinstance(decoded, DiagGaussian)
    assert decoded.mu.shape == (2, *SHAPE)


def test_a_gaussian_likelihood_learns_its_sigma() -> None:
    model = make("vae", "gaussian")
    model.loss_terms(images(), Noise(0)).loss.backward()
    assert model.named_parameters()["recon_logvar"].grad is not None


def test_a_squared_error_is_for_autoencoders_only() -> None:
    assert make("ae", "squared_error").likelihood.name == "squared_error"
    for name in ("vae", "betavae"):
        with pytest.raises(UserError, match="gaussian"):
            make(name, "squared_error")


def test_without_a_likelihood_there_is_no_loss_yet() -> None:
    model = models.build("vae", shape=SHAPE)
    with pytest.raises(UserError, match="no likelihood yet"):
        model.loss_terms(images(), Noise(0))


def test_noise_may_be_given_as_an_array() -> None:
    model, x = make("vae"), images()
    eps = Noise(7).normal((4, 3))
    drawn = model.loss_terms(x, Noise(7)).loss.item()
    assert model.loss_terms(x, eps).loss.item() == drawn
    with pytest.raises(UserError, match="noise"):
        model.loss_terms(x)


@pytest.mark.parametrize("shape", [(1, 3), (4,), (3, 4)])
def test_noise_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="noise of shape"):
        make("vae").loss_terms(images(), np.zeros(shape, np.float32))
    with pytest.raises(UserError, match="noise of shape"):
        make("vae").sample(5, np.zeros((4, 3), np.float32))


def test_a_model_keeps_its_own_precision() -> None:
    model = make("vae")
    x, eps = images().astype(np.float64), np.zeros((4, 3))
    assert model.loss_terms(x, eps).loss.dtype == np.float32
    assert model.embed(x).dtype == np.float32


def test_log_prob_of_images_is_one_number_an_image() -> None:
    decoded = make("vae", "gaussian").decode(np.zeros((4, 3), np.float32))
    assert isinstance(decoded, DiagGaussian)
    assert decoded.log_prob(images()).shape == (4,)


def test_drawn_pixels_have_the_mean_of_the_logits() -> None:
    logits = Tensor(np.full((20_000, 3), [-2.0, 0.0, 3.0]))
    drawn = Bernoulli(logits)
    p = drawn.mean.numpy()[0]
    x = drawn.sample(Noise(0)).numpy()
    error = np.sqrt(p * (1 - p) / len(x))
    assert set(np.unique(x)) == {0.0, 1.0}
    assert (np.abs(x.mean(axis=0) - p) <= 4 * error).all()
    one = drawn.log_prob(np.ones_like(x)).numpy()[0]
    assert one == pytest.approx(np.log(p).sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 0}, "at least one latent"),
        ({"hidden": (4, 0)}, "hidden"),
        ({"shape": (3, 4)}, "channels, height, width"),
        ({"shape": (1, 0, 4)}, "channels, height, width"),
        ({"activation": "gelu"}, "relu"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
        ({"dropout": -0.1}, r"\[0, 1\)"),
        ({"likelihood": "poisson"}, "bernoulli"),
        ({"seed": -1}, "seed"),
    ],
)
@each_model
def test_a_model_that_makes_no_sense_is_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make(name, **options)


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf")])
def test_beta_must_be_a_weight(beta: float) -> None:
    with pytest.raises(UserError, match="beta"):
        make("betavae", beta=beta)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.embed(np.zeros((2, 24), np.float32)), r"\(N, 2, 3, 4\)"),
        (lambda m: m.sample(0, Noise(0)), "0 samples"),
        (lambda m: m.interpolate(*images(2), 1), "two ends"),
        (lambda m: m.traverse(images()[0], 3, np.zeros(2)), "0 to 2"),
    ],
)
def test_a_misuse_is_named(call: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(make("vae"))


def test_an_unknown_model_lists_the_known() -> None:
    with pytest.raises(UserError, match="ae, vae, betavae"):
        models.build("gan")


def test_layers_have_no_training_mode() -> None:
    for layer in nn.LAYERS.values():
        assert not hasattr(layer, "train")
        assert not hasattr(layer, "eval")
