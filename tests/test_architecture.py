"""Convolutional models: what they are made of, which images fit, and that all works.

Their gradients are checked in `test_gradcheck.py`, beside PyTorch's in
`test_parity.py`, and their resumption in `test_resume.py`.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import done, refused
from tiny import MODELS, few_digits, fit
from tolerances import FLOAT32, FLOAT64

import minivae as mv
from minivae import models, nn
from minivae.backend import Array
from minivae.errors import UserError
from minivae.models import ARCHITECTURES, Autoencoder
from minivae.models.architecture import Stack, stack_for
from minivae.random import Noise
from minivae.study import as_text, record
from minivae.tensor import Contribution, Parameter, Tensor, backward_steps

CONVOLUTIONAL = [name for name, sizes in ARCHITECTURES.items() if sizes.channels]
each_model = pytest.mark.parametrize("name", MODELS)
each_arch = pytest.mark.parametrize("arch", CONVOLUTIONAL)


def make(name: str = "vae", size: tuple[int, int] = (8, 12), **options: Any) -> Any:
    """Return a small convolutional model of images with two channels."""
    given = {"arch": "conv", "hidden": (6,), "latent": 3, "likelihood": "soft_bce"}
    return models.build(name, shape=(2, *size), **{**given, **options})


def images(n: int = 3, size: tuple[int, int] = (8, 12)) -> Array:
    return Noise(3).uniform((n, 2, *size))


def weights(model: Autoencoder) -> dict[str, tuple[int, ...]]:
    named = model.named_parameters().items()
    return {name: p.shape for name, p in named if name.endswith("weight")}


# What they are made of


@pytest.mark.parametrize(
    ("arch", "size", "text"),
    [
        ("dense", (28, 28), "784 – 400"),
        ("conv", (28, 28), "1×28×28 – 32×14×14 – 64×7×7 – 256"),
        ("conv", (8, 8), "1×8×8 – 32×4×4 – 256"),
        (
            "burgess",
            (64, 64),
            "1×64×64 – 32×32×32 – 32×16×16 – 32×8×8 – 32×4×4 – 256 – 256",
        ),
        (
            "burgess",
            (32, 32),
            "1×32×32 – 32×16×16 – 32×8×8 – 32×4×4 – 256 – 256",
        ),
        ("burgess", (8, 8), "1×8×8 – 32×4×4 – 256 – 256"),
    ],
)
def test_an_architecture_has_its_sizes(
    arch: str, size: tuple[int, int], text: str
) -> None:
    assert str(stack_for(arch, (1, *size))) == text


def test_names_and_shapes_are_pytorchs() -> None:
    shapes = weights(mv.VAE((1, 28, 28), arch="conv"))
    assert shapes == {
        "encoder.0.weight": (32, 1, 4, 4),
        "encoder.2.weight": (64, 32, 4, 4),
        "encoder.5.weight": (256, 3136),
        "mu.weight": (20, 256),
        "logvar.weight": (20, 256),
        "decoder.0.weight": (256, 20),
        "decoder.2.weight": (3136, 256),
        "decoder.5.weight": (64, 32, 4, 4),
        "decoder.7.weight": (32, 1, 4, 4),
    }


@each_arch
def test_the_decoder_mirrors_the_encoder(arch: str) -> None:
    """Linear weights transposed; a convolution's has the shape of its transpose's."""
    stack = stack_for(arch, (1, 32, 32))
    latent = stack.hidden[-1]  # so that the decoder's first layer has a counterpart
    encoder, decoder = (
        [p.shape for n, p in part.named_parameters().items() if n.endswith("weight")]
        for part in (
            stack.encoder("relu", 0.0, Noise(0)),
            stack.decoder(latent, "relu", 0.0, Noise(0)),
        )
    )
    back = [shape if len(shape) == 4 else shape[::-1] for shape in decoder[1:]]
    assert back == encoder[::-1]


def test_channels_and_hidden_replace_the_architectures_own() -> None:
    model = make(size=(16, 24), channels=(3, 4, 5), hidden=(7, 6))
    assert model.sizes == "2×16×24 – 3×8×12 – 4×4×6 – 5×2×3 – 7 – 6 – 3"
    assert model.reconstruct(images(size=(16, 24))).shape == (3, 2, 16, 24)


@pytest.mark.parametrize(
    ("arch", "decoder_arch", "first", "last"),
    [
        ("conv", "dense", nn.Conv2d, nn.Unflatten),
        ("dense", "conv", nn.Flatten, nn.ConvTranspose2d),
        ("conv", "burgess", nn.Conv2d, nn.ConvTranspose2d),
    ],
)
def test_encoder_and_decoder_may_differ(
    arch: str, decoder_arch: str, first: type, last: type
) -> None:
    model = make(arch=arch, decoder_arch=decoder_arch, channels=None)
    assert isinstance(model.encoder.layers[0], first)
    assert isinstance(model.decoder.layers[-1], last)
    assert model.reconstruct(images()).shape == (3, 2, 8, 12)
    own = ARCHITECTURES[decoder_arch]
    assert weights(model)["decoder.0.weight"] == (own.hidden[-1], 3)
    assert model.hidden == (6,)


def test_naming_the_same_architecture_twice_changes_nothing() -> None:
    plain, named = make(), make(decoder_arch="conv")
    assert weights(plain) == weights(named)
    assert plain.config() == named.config()


@each_model
@pytest.mark.parametrize("decoder_arch", [None, "dense"])
def test_a_model_can_be_built_again_from_its_config(
    name: str, decoder_arch: str | None
) -> None:
    model = make(name, channels=(3, 2), decoder_arch=decoder_arch, dropout=0.1)
    config = json.loads(json.dumps(model.config()))
    twin = models.build(config.pop("model"), **config)
    assert twin.config() == model.config()
    for parameter, again in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(parameter.numpy(), again.numpy())


@each_arch
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_fresh_model_neither_dies_nor_explodes(arch: str, activation: str) -> None:
    """Weights are drawn by fan: the last hidden layer varies over images like them."""
    stack = stack_for(arch, (1, 32, 32))
    encoder = stack.encoder(activation, 0.0, Noise(0))
    x = Noise(1).normal((32, 1, 32, 32))
    assert 0.1 <= encoder(x).numpy().std() <= 3
    decoder = stack.decoder(10, activation, 0.0, Noise(0))
    assert 0.03 <= decoder(Noise(2).normal((32, 10))).numpy().std() <= 3


def test_layers_start_by_what_follows_them() -> None:
    """He's interval before a relu, Glorot's where nothing follows: both filled."""
    sums_of_4_taps = 8 * 4  # of 16 taps, stride 2 leaves 4 above each pixel
    for stack, fans in (
        (stack_for("conv", (1, 8, 8), channels=(8,)), (sums_of_4_taps, 16)),
        (stack_for("dense", (1, 8, 8)), (400, 64)),
    ):
        last = list(stack.decoder(3, "relu", 0.0, Noise(0)).named_parameters().items())
        bound = math.sqrt(6 / sum(fans))
        assert 0.9 * bound <= np.abs(last[-2][1].numpy()).max() <= bound
        before = last[-4][1].numpy()
        bound = math.sqrt(6 / before.shape[1])
        assert 0.9 * bound <= np.abs(before).max() <= bound


# Which images fit

FITTING = [(28, 28), (8, 8), (8, 12), (12, 20), (10, 8), (16, 16), (64, 32), (96, 64)]


@each_arch
@pytest.mark.parametrize("size", FITTING)
def test_an_image_that_fits_comes_back_in_its_size(
    arch: str, size: tuple[int, int]
) -> None:
    model = make(arch=arch, size=size)
    assert model.reconstruct(images(2, size)).shape == (2, 2, *size)
    *_, last = model.stack.maps
    assert min(last[1:]) >= 4


@each_arch
@pytest.mark.parametrize(
    "size", [(30, 30), (27, 27), (9, 8), (15, 18), (31, 45), (61, 61), (63, 33)]
)
def test_a_size_that_does_not_fit_is_refused_with_sizes_that_do(
    arch: str, size: tuple[int, int]
) -> None:
    with pytest.raises(UserError, match=f"{size[0]} x {size[1]} does not fit") as told:
        stack_for(arch, (1, *size))
    _, _, proposed = str(told.value).partition("does not fit, ")
    sizes = [(int(h), int(w)) for h, w in re.findall(r"(\d+) x (\d+)", proposed)]
    assert len(sizes) == 2
    for height, width in sizes:
        assert stack_for(arch, (1, height, width))
        assert abs(height - size[0]) + abs(width - size[1]) <= 16


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_size_fits_or_is_refused(arch: str) -> None:
    """A stack that is made halves exactly, so that its mirror image comes back."""
    for size in np.ndindex(70, 70):
        height, width = size[0] + 1, size[1] + 1
        try:
            stack = stack_for(arch, (1, height, width))
        except UserError:
            continue
        for (_, h, w), (_, smaller_h, smaller_w) in pairwise(stack.maps):
            assert (h, w) == (2 * smaller_h, 2 * smaller_w)


SQUARE = (1, 28, 28)
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown architecture": (
        {"arch": "resnet"},
        "no architecture 'resnet'; have dense, conv, burgess",
    ),
    "an unknown decoder": (
        {"arch": "conv", "decoder_arch": "unet"},
        "no architecture 'unet'; have dense",
    ),
    "a small image": (
        {"arch": "conv", "shape": (1, 6, 28)},
        "at least 8 x 8 pixels, and these are 6 x 28: use arch dense",
    ),
    "an odd image": (
        {"arch": "conv", "shape": (1, 30, 28)},
        "halves height and width 2 times here, so they must be multiples of 4: "
        "30 x 28 does not fit, 28 x 28 or 32 x 28 would",
    ),
    "too many convolutions": (
        {"arch": "conv", "channels": (2, 2, 2, 2, 2)},
        "multiples of 32: 28 x 28 does not fit, 32 x 32 would",
    ),
    "a decoder that does not fit": (
        {"decoder_arch": "burgess", "shape": (1, 30, 30)},
        "arch burgess halves",
    ),
    "dense channels": ({"channels": (3,)}, "arch dense has no convolutions"),
    "no convolutions": (
        {"arch": "conv", "channels": ()},
        "at least one channel each, not ()",
    ),
    "no channels": (
        {"arch": "burgess", "channels": (3, 0)},
        "at least one channel each, not (3, 0)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_numbers_and_what_would_fit(mistake: str) -> None:
    options, words = MISTAKES[mistake]
    with pytest.raises(UserError, match=re.escape(words)):
        models.build("vae", **{"shape": SQUARE, **options})


# What they compute


@each_model
def test_everything_has_the_shape_of_images(name: str) -> None:
    model, x = make(name), images()
    assert model.embed(x).shape == (3, 3)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(5, Noise(0)).shape == (5, *x.shape[1:])
    assert model.interpolate(x[0], x[1], 4).shape == (4, *x.shape[1:])
    assert model.traverse(x[0], 1, np.linspace(-1, 1, 6)).shape == (6, *x.shape[1:])


@each_model
def test_an_image_is_encoded_alike_in_any_company(name: str) -> None:
    model, x = make(name), images()
    assert np.abs(model.embed(x)[:1] - model.embed(x[:1])).max() <= FLOAT32


def test_moving_the_image_moves_the_maps() -> None:
    """Two halvings: 4 pixels of the image are one of the map, away from the edge."""
    stack = Stack((1, 32, 32), (3, 5), (4,))
    encoder = stack.encoder("elu", 0.0, Noise(1)).to(dtype=np.float64)
    convolutions = nn.Sequential(*encoder.layers[:4])
    x = Noise(0).normal((2, 1, 32, 36), np.float64)
    here, there = (convolutions(x[..., at : at + 32]).numpy() for at in (0, 4))
    assert here.shape == (2, 5, 8, 8)
    assert np.abs(here[..., 2:-1] - there[..., 1:-2]).max() <= FLOAT64
    assert np.abs(here[..., 1:-1] - there[..., 1:-1]).max() > 0.1


def test_a_dense_stack_is_a_convolutional_one_without_convolutions() -> None:
    layers = [type(layer) for layer in make(arch="dense", channels=None).decoder.layers]
    assert layers == [nn.Linear, nn.ReLU, nn.Linear, nn.Unflatten]


def test_the_gradient_of_the_images_is_not_computed() -> None:
    model = make(channels=(3, 2))
    loss = model.loss_terms(images(), Noise(0)).loss
    events = [e for e in backward_steps(loss) if isinstance(e, Contribution)]
    wanted = [
        (e.node.op.name, e.node.op.inputs[e.position])
        for e in events
        if e.node.op.name == "conv2d"
    ]
    assert wanted.count(("conv2d", "x")) == 1
    assert wanted.count(("conv2d", "weight")) == 2
    x = Parameter(images())
    model.recon(model.codes(x, None), images(), None, "mean").backward()
    assert x.grad is not None  # where somebody asks, it is


def test_dropout_follows_the_linear_layers_only() -> None:
    model = make(channels=(3,), hidden=(6, 5), dropout=0.5)
    for part, linear in ((model.encoder, 2), (model.decoder, 2)):
        kinds = [type(layer) for layer in part.layers]
        assert kinds.count(nn.Dropout) == linear
        for before, after in pairwise(kinds):
            assert after is not nn.Dropout or before is nn.ReLU
        first = kinds.index(nn.Dropout)
        assert nn.Linear in kinds[:first]


@each_model
def test_a_step_can_be_recorded_and_read(name: str) -> None:
    from minivae import optim

    model = make(name, channels=(2,), activation="tanh").to(dtype=np.float64)
    batch = images(2).astype(np.float64)
    noise = model.loss_noise(Noise(1), 2)
    text = as_text(record(model, batch, noise, optim.Adam(model.parameters())))
    assert "2×8×12 – 2×4×6 – 6 – 3" in text
    assert text.count("w̄ = ȳ ⋆ x") == 1


@each_model
def test_training_lowers_the_objective(name: str) -> None:
    model = MODELS[name]((1, 8, 8), 2, (16,), arch="conv", channels=(4,))
    run = fit(model, few_digits(), epochs=6)
    objectives = [line["validation"]["objective"] for line in run.metrics]
    assert min(objectives) < 0.9 * objectives[0]
    assert isinstance(model.embed(few_digits().test.images), np.ndarray)


# From the command line

CONV = ("--arch", "conv", "--channels", 4, "--hidden", 8, "--latent", 2)
QUICK = ("--epochs", 1, "--batch", 256)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolutional VAE on digits."""
    folder = tmp_path_factory.mktemp("run") / "conv"
    printed = done("train", *CONV, *QUICK, "--data", "digits:dynamic", "--out", folder)
    assert "−ELBO" in printed
    return folder


def test_the_configuration_says_how_to_build_it_again(run: Path) -> None:
    stored = json.loads((run / "config.json").read_text())["model"]
    told = {name: stored[name] for name in ("arch", "channels", "hidden")}
    assert told == {"arch": "conv", "channels": [4], "hidden": [8]}
    assert stored["decoder_arch"] == "conv"
    model = mv.load_run(run).model
    assert model.sizes == "1×8×8 – 4×4×4 – 8 – 2"


def test_every_command_reads_the_run(run: Path, tmp_path: Path) -> None:
    ledger = json.loads(done("evaluate", run, "--json"))
    assert ledger["n_images"] == 179
    assert ledger["neg_elbo"] == ledger["objective"]
    done("report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "1×8×8 – 4×4×4 – 8 – 2 units with its mirror image as decoder" in page
    for command in ("sample", "reconstruct", "interpolate", "traverse"):
        done(command, run, "--out", tmp_path / command)
        pictures = np.load(tmp_path / f"{command}.npy")
        assert pictures.shape[1:] == (1, 8, 8)
        assert 0 <= pictures.min() < pictures.max() <= 1


def test_another_decoder_is_told_on_the_page(tmp_path: Path) -> None:
    out, sizes = tmp_path / "run", ("--hidden", 8, "--latent", 2)
    parts = ("--arch", "burgess", "--channels", 3, "--decoder-arch", "dense")
    done("train", *parts, *sizes, *QUICK, "--data", "digits", "--out", out)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "1×8×8 – 3×4×4 – 8 – 2 units with a dense decoder" in page
    assert mv.load_run(out).model.decoder_arch == "dense"


def test_resume_knows_the_architecture(run: Path) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert "is finished, 1 epoch;" in done("train", "--resume", run)
    assert "is finished" in done("train", "--resume", run, *CONV)
    for option, value, words in (
        ("--arch", "dense", "was started with arch conv, not dense"),
        ("--channels", 5, "was started with channels (4,), not (5,)"),
        ("--decoder-arch", "dense", "decoder_arch conv, not dense"),
    ):
        refused(words, "train", "--resume", run, option, value)
    assert all(path.read_bytes() == content for path, content in before.items())


REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "too many convolutions": (
        ("--arch", "conv", "--channels", 2, 2, 2, 2),
        "multiples of 16: 8 x 8 does not fit, 16 x 16 would",
    ),
    "no channel": (("--arch", "conv", "--channels", 0), "at least one channel each"),
    "channels for dense": (("--channels", 4), "arch dense has no convolutions"),
    "an unknown decoder": (("--decoder-arch", "unet"), "no architecture 'unet'"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_train_refuses_and_writes_nothing(mistake: str, tmp_path: Path) -> None:
    options, words = REFUSED[mistake]
    out = tmp_path / "out"
    refused(words, "train", "--data", "digits", *options, "--out", out)
    assert not out.exists()


def test_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", np.random.default_rng(0).random((20, 9, 14)))
    data = ("--data", tmp_path / "odd.npy")
    words = "multiples of 2: 9 x 14 does not fit, 8 x 14 or 10 x 14 would"
    refused(words, "train", *data, "--arch", "conv", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Runs from before there were architectures


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that trains a dense model, whose configuration then says no more
    than it said when dense models were all there was."""

    def make(name: str) -> Path:
        out = tmp_path_factory.mktemp("before") / name
        fit(MODELS[name]((1, 8, 8), 2, (8, 5)), few_digits(), out=out)
        config = json.loads((out / "config.json").read_text())
        for key in ("arch", "channels", "decoder_arch"):
            del config["model"][key]
        (out / "config.json").write_text(json.dumps(config))
        return out

    return make


@each_model
def test_a_run_from_before_there_were_architectures_still_loads(
    name: str, before: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, x = before(name), few_digits().test.images
    run = mv.load_run(folder)
    assert (run.model.arch, run.model.hidden) == ("dense", (8, 5))
    assert run.model.reconstruct(x).shape == x.shape
    shutil.copytree(folder, tmp_path / "copy")
    again = mv.resume(tmp_path / "copy", few_digits(), quiet=True)
    for parameter, other in zip(
        run.model.parameters(), again.model.parameters(), strict=True
    ):
        assert isinstance(parameter, Tensor)
        np.testing.assert_array_equal(parameter.numpy(), other.numpy())
