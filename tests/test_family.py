"""The AE family: what spoils an image, what shares a weight, what weighs on a code."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import done, refused
from tiny import few_digits, fit, same, small
from tolerances import FLOAT32, FLOAT64, STANDARD_ERRORS

import minivae as mv
from minivae import checkpoint, models, nn
from minivae.backend import Array
from minivae.errors import UserError
from minivae.models.corruption import KINDS, corruption
from minivae.random import Noise, Stream
from minivae.train import train_step, validate

SHAPE = (1, 8, 8)
NOISES = ("gaussian:0.1", "mask:0.3", "salt:0.3")
DENSE: dict[str, Any] = {"hidden": (7, 5), "activation": "tanh"}
CONV: dict[str, Any] = {"arch": "conv", "channels": (3,), "hidden": (5,)}
ARCHS = pytest.mark.parametrize("arch", [DENSE, CONV], ids=["dense", "conv"])


def make(name: str = "ae", likelihood: str = "squared_error", **options: Any) -> Any:
    options = {"latent": 3, "seed": 2, "likelihood": likelihood, **options}
    return models.build(name, shape=SHAPE, **options).to(dtype=np.float64)


def images(n: int = 6) -> Array:
    return Noise(3).uniform((n, *SHAPE), np.float64)


# What spoils an image


def test_each_kind_of_noise_is_tested() -> None:
    assert {text.partition(":")[0] for text in NOISES} == set(KINDS)


@pytest.mark.parametrize("text", NOISES)
def test_noise_has_the_amount_that_was_asked_for(text: str) -> None:
    """On evenly spaced uniforms the shares are exact; normals have a standard error."""
    found, n = corruption(text), 10_000
    x = np.full((1, n), 0.25)
    u = ((np.arange(n) + 0.5) / n)[None]
    if found.kind == "gaussian":
        added = found.apply(x, found.draw(Noise(0), x)) - x
        error = found.amount * math.sqrt(2 / n)
        assert abs(added.var() - found.amount) <= STANDARD_ERRORS * error
        assert abs(added.mean()) <= STANDARD_ERRORS * math.sqrt(found.amount / n)
        return
    spoilt = found.apply(x, u)
    shares = {v: float((spoilt == v).mean()) for v in (0.0, 1.0, 0.25)}
    ones = found.amount / 2 if found.kind == "salt" else 0.0
    exact = {0.0: found.amount - ones, 1.0: ones, 0.25: 1 - found.amount}
    assert shares == pytest.approx(exact, abs=FLOAT64)


@pytest.mark.parametrize("text", NOISES)
def test_the_same_noise_spoils_the_same_way(text: str) -> None:
    model, x = make("dae", noise=text), images()
    once, again = (model.corrupted(x, Noise(5)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert (model.corrupted(x, Noise(6)) != once).any()
    drawn = model.loss_noise(Noise(5), len(x))
    np.testing.assert_array_equal(model.corrupted(x, drawn), once)


@pytest.mark.parametrize("text", NOISES)
def test_an_image_is_spoilt_before_the_encoder_and_compared_clean(text: str) -> None:
    model, x = make("dae", noise=text), images()
    before = x.copy()
    loss = model.loss_terms(x, Noise(5)).loss.item()
    rebuilt = model.reconstruct(model.corrupted(x, Noise(5)))
    exact = ((rebuilt - x) ** 2).sum(axis=(1, 2, 3)).mean()
    assert abs(loss - exact) <= FLOAT64 * exact
    np.testing.assert_array_equal(x, before)


def test_evaluation_sees_clean_images() -> None:
    plain, noisy = make("ae"), make("dae", noise="mask:0.5")
    noisy.load_state(plain.state())
    assert validate(noisy, images()) == validate(plain, images())
    assert noisy.loss_terms(images()).loss.item() == validate(plain, images())["recon"]
    np.testing.assert_array_equal(
        noisy.reconstruct(images()), plain.reconstruct(images())
    )


def test_training_draws_from_a_stream_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, int, int]] = []

    def watched(*given: Any) -> tuple[float, float, float]:
        seen.append((given[3].seed, given[3].stream, given[3].position))
        return train_step(*given)

    monkeypatch.setattr(mv.train, "train_step", watched)
    fit(small("dae"), few_digits(), seed=7)
    assert {(seed, stream) for seed, stream, _ in seen} == {(7, Stream.CORRUPT)}
    pixels = 25 * 64
    assert [position for *_, position in seen[:3]] == [0, pixels, 2 * pixels]
    assert len({position for *_, position in seen}) == 8  # never the same twice


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("poisson:1", "no noise 'poisson:1'; have gaussian:V, mask:P, salt:P"),
        ("gaussian", "takes a positive variance, as gaussian:0.1, not 'gaussian'"),
        ("gaussian:-1", "positive variance"),
        ("gaussian:inf", "positive variance"),
        ("mask:1", r"a probability in \[0, 1\), as mask:0.3, not 'mask:1'"),
        ("mask:nan", "a probability in"),
        ("salt:-0.1", "a probability in"),
        ("salt:much", "a probability in"),
        ("", "no noise ''"),
    ],
)
def test_noise_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        corruption(text)


def test_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match="noise of shape"):
        make("dae").loss_terms(images(), np.zeros((6, 3)))


@pytest.mark.parametrize("text", [*NOISES, "mask:0.0", "gaussian:1e-07"])
def test_noise_is_read_as_it_is_written(text: str) -> None:
    assert str(corruption(text)) == text


# What shares a weight


def untied_twin(model: Any) -> Any:
    """The same function with two copies of every weight."""
    config = model.config() | {"tied": False}
    twin = models.build(config.pop("model"), **config).to(dtype=np.float64)
    decoder = iter(list(twin.decoder.layers))
    state = twin.state() | model.state()
    for layer, own in zip(model.decoder.layers, decoder, strict=True):
        name = next((n for n, p in twin.named_parameters().items()
                     if p is getattr(own, "weight", None)), None)  # fmt: skip
        if name is not None:
            weight = layer.weight.numpy()
            state[name] = weight.T if weight.ndim == 2 else weight
    twin.load_state(state)
    return twin


@ARCHS
def test_a_tied_decoder_has_biases_only(arch: dict[str, Any]) -> None:
    model = make(tied=True, **arch)
    weights = [name for name in model.state() if "weight" in name]
    assert len(weights) == len(make(**arch).state()) // 4
    assert not [name for name in weights if name.startswith("decoder")]
    parameters = model.parameters()
    assert len({id(p) for p in parameters}) == len(parameters)


@ARCHS
def test_a_shared_weight_has_the_gradients_of_both_its_uses(
    arch: dict[str, Any],
) -> None:
    model, x = make(tied=True, **arch), images()
    twin = untied_twin(model)
    loss, theirs = (m.loss_terms(x).loss for m in (model, twin))
    assert abs(loss.item() - theirs.item()) <= FLOAT64 * theirs.item()
    loss.backward()
    theirs.backward()
    mirrored = [p for n, p in twin.named_parameters().items()
                if n.startswith("decoder") and "weight" in n][::-1]  # fmt: skip
    own = {n: p for n, p in model.named_parameters().items() if "weight" in n}
    assert len(own) == len(mirrored)
    for (name, weight), second in zip(own.items(), mirrored, strict=True):
        first = twin.named_parameters()[name].grad
        assert first is not None
        assert second.grad is not None
        back = second.grad.T if second.grad.ndim == 2 else second.grad
        assert weight.grad is not None
        exact = first + back
        assert np.abs(weight.grad - exact).max() <= FLOAT64 * np.abs(exact).max()


def test_a_tied_transposed_convolution_is_the_adjoint() -> None:
    """⟨w ⋆ x, y⟩ = ⟨x, w ⋆ᵀ y⟩, both biases at 0."""
    conv = nn.Conv2d(2, 3, 4, Noise(0), stride=2, padding=1).to(dtype=np.float64)
    back = nn.ConvTranspose2d.tied(conv).to(dtype=np.float64)
    x, y = Noise(1).normal((2, 2, 6, 8), float), Noise(2).normal((2, 3, 3, 4), float)
    there, here = (conv(x).numpy() * y).sum(), (x * back(y).numpy()).sum()
    assert abs(there - here) <= FLOAT64 * abs(there)
    assert back.weight is conv.weight


def test_an_optimizer_packs_a_shared_weight_once_and_moves_both() -> None:
    model = small("ae", tied=True, likelihood="squared_error")
    optimizer = mv.optim.SGD(model.parameters(), 0.01)
    assert optimizer.values.size == sum(p.size for p in model.parameters())
    x = images().astype(np.float32)
    before, weight = model.reconstruct(x), model.code_layer.weight.numpy().copy()
    train_step(model, optimizer, x, Noise(0))
    decoder = model.decoder.layers[0]
    assert np.shares_memory(decoder.weight.data, model.code_layer.weight.data)
    assert (model.code_layer.weight.numpy() != weight).any()
    assert (model.reconstruct(x) != before).any()


@ARCHS
def test_a_tied_run_is_loaded_as_it_was_saved(
    arch: dict[str, Any], tmp_path: Path
) -> None:
    model = models.build("ae", shape=SHAPE, latent=3, tied=True, **arch)
    run = fit(model, few_digits(), out=tmp_path)
    stored = checkpoint.read_tensors(tmp_path / checkpoint.BEST)
    assert stored.keys() == model.state().keys()
    loaded = mv.load_run(tmp_path).model
    assert same(loaded.state(), run.model.state())
    x = images().astype(np.float32)
    np.testing.assert_array_equal(loaded.reconstruct(x), run.model.reconstruct(x))


# What weighs on a code


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_the_contraction_is_the_length_of_the_jacobian(activation: str) -> None:
    model = make(hidden=(), code_activation=activation, contraction=0.5, latent=9)
    x, h = images(), 1e-6
    squares = np.zeros(len(x))
    for pixel in np.eye(64).reshape(64, *SHAPE):
        slope = (model.embed(x + h * pixel) - model.embed(x - h * pixel)) / (2 * h)
        squares += (slope**2).sum(axis=1)
    found = model.squared_slopes(model.encode(x)).numpy()
    assert np.abs(found / squares - 1).max() <= 1e-8


def test_penalties_are_means_over_images_of_sums_over_latents() -> None:
    options = {"hidden": (), "code_activation": "tanh", "latent": 9}
    model = make(l1=0.3, contraction=0.2, **options)
    x = images()
    terms = model.loss_terms(x)
    z = model.embed(x)
    squares = model.squared_slopes(model.encode(x)).numpy()
    exact = terms.recon.item() + 0.3 * np.abs(z).sum(axis=1).mean()
    exact += 0.2 * squares.mean()
    assert abs(terms.loss.item() - exact) <= FLOAT64 * exact
    assert model.objective_formula == "recon + 0.3 Σ|zⱼ| + 0.2 ‖∂z/∂x‖²"
    each = model.loss_terms(x, reduction="none").loss.numpy()
    assert each.shape == (len(x),)
    assert abs(each.mean() - exact) <= FLOAT64 * exact
    twice = model.loss_terms(np.concatenate([x, x])).loss.item()
    assert abs(twice - exact) <= FLOAT64 * exact


def test_the_validation_objective_has_the_penalties_and_recon_has_not() -> None:
    model = small("ae", l1=0.5, likelihood="squared_error")
    run = fit(model, few_digits())
    for line in run.metrics:
        for part in ("train", "validation"):
            assert line[part]["objective"] > line[part]["recon"]
    found = mv.evaluate.ledger(run.model, few_digits())
    z = run.model.embed(few_digits().test.images)
    exact = found["recon"] + 0.5 * np.abs(z).sum(axis=1).mean()
    assert abs(found["objective"] - exact) <= FLOAT32 * exact
    assert found["objective_formula"] == "recon + 0.5 Σ|zⱼ|"


def test_l1_makes_a_tied_code_sparse() -> None:
    """Of a relu code, the share of latents that speak falls as l1 grows."""
    shares = []
    for l1 in (0.0, 1.0):
        model = mv.AE(SHAPE, 96, (), "squared_error", tied=True, l1=l1,
                      code_activation="relu")  # fmt: skip
        run = fit(model, few_digits(), epochs=30, lr=0.003)
        z = run.model.embed(few_digits().test.images)
        shares.append(float((z > 1e-3).mean()))
    assert shares[1] <= 0.5 * shares[0]


# What contradicts itself

CONTRACTIVE: dict[str, Any] = {
    "contraction": 0.1,
    "hidden": (),
    "code_activation": "tanh",
}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "contraction of relu": (
        {**CONTRACTIVE, "code_activation": "relu"},
        "sigmoid or tanh, not relu",
    ),
    "contraction of a linear code": (
        {**CONTRACTIVE, "code_activation": None},
        "sigmoid or tanh, not None",
    ),
    "contraction of two layers": (
        {**CONTRACTIVE, "hidden": (5,)},
        "without hidden layers, and this one is 64 – 5 – 3",
    ),
    "contraction of convolutions": (
        {**CONTRACTIVE, **CONV},
        "an encoder of one layer, arch dense",
    ),
    "tied to another stack": (
        {**CONV, "tied": True, "decoder_arch": "dense"},
        "conv and dense do not",
    ),
    "a negative l1": ({"l1": -1.0}, "l1 must not be negative"),
    "a NaN l1": ({"l1": math.nan}, "l1 must not be negative"),
    "an endless contraction": (
        {**CONTRACTIVE, "contraction": math.inf},
        "contraction must not be negative or infinite",
    ),
    "an unknown activation": ({"code_activation": "gelu"}, "no activation 'gelu'"),
    "dropout of nothing": ({"hidden": (), "dropout": 0.2}, "has nothing to drop"),
}


@pytest.mark.parametrize("name", ["ae", "dae"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_contradiction_is_refused(name: str, mistake: str) -> None:
    options, words = MISTAKES[mistake]
    with pytest.raises(UserError, match=words):
        make(name, **options)


def test_noise_for_dropout_needs_dropout() -> None:
    with pytest.raises(UserError, match="noise for dropout, and this model has none"):
        make("ae").loss_terms(images(), dropout=Noise(0, Stream.DROPOUT))


REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "noise for an ae": (("--model", "ae", "--noise", "mask:0.2"), "belongs to --model"),
    "noise for a vae": (("--noise", "mask:0.2"), "noise belongs to --model dae"),
    "too much noise": (("--model", "dae", "--noise", "mask:1.5"), "in [0, 1)"),
    "a tied vae": (("--tied",), "tied belongs to --model ae or dae, not to vae"),
    "an l1 for a vae": (("--l1", 0.1), "l1 belongs to --model ae or dae"),
    "contraction of two layers": (
        ("--model", "ae", "--contraction", 0.1, "--code-activation", "tanh"),
        "an encoder of one layer",
    ),
    "dropout of nothing": (
        ("--model", "ae", "--dropout", 0.2, "--hidden"),
        "has nothing to drop",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_the_command_refuses_and_writes_nothing(mistake: str, tmp_path: Path) -> None:
    options, words = REFUSED[mistake]
    refused(words, "train", "--data", "digits", "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


# What a run says of it


def test_a_run_tells_its_noise_and_its_penalties(tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = ("--noise", "mask:0.25", "--l1", 0.01, "--tied", "--hidden", 8)
    shown = done(
        *("train", "--model", "dae", "--data", "digits", "--epochs", 1, "--latent", 3),
        *(*given, "--out", out),
    )
    config = checkpoint.read_config(out)["model"]
    wanted = {"model": "dae", "noise": "mask:0.25", "l1": 0.01, "tied": True}
    assert wanted.items() <= config.items()
    assert "in training mask:0.25" in shown
    assert "recon + 0.01 Σ|zⱼ|" in shown
    table = shown.partition("\n\npictures")[0]
    assert max(map(len, table.splitlines())) <= 80
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Denoising autoencoder on digits" in page
    assert "its mirror image, of the same weights, as decoder" in page
    assert "spoilt (each pixel set to 0 with probability 0.25)" in page
