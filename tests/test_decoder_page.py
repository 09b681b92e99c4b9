"""A page's decoder: its layers are Python's, its weights 16 bits, its size bounded."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from explorers import trained, written
from pages import chromium
from tiny import MODELS
from tolerances import FLOAT32

import minivae as mv
from minivae import nn
from minivae.data import load
from minivae.page import explorer, kit, report
from minivae.page.decoder_data import (
    NoExplorerError,
    as_text,
    layers_of,
    pictured,
    rounded,
    run_network,
)
from minivae.random import Noise


def network(*layers: nn.Layer) -> nn.Sequential:
    """Layers whose parameters are all drawn, and rounded."""
    made, noise = nn.Sequential(*layers), Noise(3)
    for parameter in made.parameters():
        parameter.assign(noise.normal(parameter.shape))
    return rounded(made)


drawn = Noise(1)
IMAGE = nn.Unflatten((3, 5, 4))
NETWORKS: dict[str, tuple[nn.Sequential, ...]] = {
    "Linear": (network(nn.Linear(60, 7, drawn)), network(nn.Linear(60, 8, drawn))),
    "TiedLinear": (network(nn.TiedLinear(nn.Linear(7, 60, drawn))),),
    "Conv2d": (
        network(IMAGE, nn.Conv2d(3, 2, 3, drawn)),
        network(IMAGE, nn.Conv2d(3, 2, 4, drawn, stride=2, padding=3)),
    ),
    "ConvTranspose2d": (
        network(IMAGE, nn.ConvTranspose2d(3, 2, 4, drawn, stride=2, padding=1)),
        network(IMAGE, nn.ConvTranspose2d(3, 2, 3, drawn, stride=3, output_padding=2)),
        network(IMAGE, nn.ConvTranspose2d(3, 1, 2, drawn, padding=1)),
    ),
    "Upsample": (network(nn.Linear(60, 60, drawn), IMAGE, nn.Upsample(3)),),
    "LayerNorm": (
        network(IMAGE, nn.LayerNorm((3, 5, 4))),
        network(IMAGE, nn.LayerNorm((4,), eps=0.5)),
    ),
    "Dropout": (network(nn.Linear(60, 7, drawn), nn.Dropout(0.5)),),
    "Flatten": (network(IMAGE, nn.Flatten(), nn.Linear(60, 7, drawn)),),
    "Unflatten": (network(nn.Linear(60, 6, drawn), nn.Unflatten((1, 2, 3))),),
    "Sequential": (network(nn.Sequential(nn.Linear(60, 7, drawn)), nn.Tanh()),),
    **{
        layer.__name__: (network(nn.Linear(60, 40, drawn), layer()),)
        for layer in nn.ACTIVATIONS.values()
    },
}
REFUSED = {"MaxPool2d": nn.MaxPool2d(2), "AvgPool2d": nn.AvgPool2d(2)}


def test_every_layer_is_run_or_refused() -> None:
    assert NETWORKS.keys() | REFUSED.keys() == nn.LAYERS.keys()
    for name, layer in REFUSED.items():
        with pytest.raises(NoExplorerError, match=f"a layer {name}, which no page"):
            layers_of(network(IMAGE, layer))


@pytest.fixture(scope="module")
def decoder() -> Iterator[Any]:
    """A blank page that has decoder.js."""
    with chromium() as browser:
        page = browser.new_page()
        page.add_script_tag(content=(kit.FOLDER / "decoder.js").read_text())
        yield page


@pytest.mark.needs("browser")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_of_the_page_is_the_layer_of_python(name: str, decoder: Any) -> None:
    codes = 2 * Noise(2).normal((3, 60))
    for made in NETWORKS[name]:
        layers, weights = layers_of(made)
        found = decoder.evaluate(
            "([layers, weights, codes]) => { const decode = makeDecoder(layers,"
            " halvesOf(weights), 60); return codes.map((z) => [...decode(z)]); }",
            [layers, as_text(weights), codes.tolist()],
        )
        exact = run_network(made, codes).reshape(3, -1)
        assert np.shape(found) == exact.shape
        error = np.abs(np.array(found) - exact).max() / max(1, np.abs(exact).max())
        assert error <= FLOAT32


@pytest.mark.needs("browser")
def test_every_finite_half_is_read_exactly(decoder: Any) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    found = decoder.evaluate("text => [...halvesOf(text)]", as_text(halves))
    np.testing.assert_array_equal(np.array(found), halves.astype(np.float64))


@pytest.mark.parametrize("case", [*MODELS, "conv", "tied"])
def test_the_network_is_the_models_own_way_from_code_to_picture(case: str) -> None:
    model = trained(case)[0].model
    codes = Noise(4).normal((5, model.latent))
    pictures = run_network(pictured(model), codes)
    np.testing.assert_array_equal(pictures, model.picture(codes))
    before = model.state()
    rounded(pictured(model))
    assert all((before[n] == value).all() for n, value in model.state().items())


def test_a_weight_beyond_float16_is_refused() -> None:
    made = network(nn.Linear(2, 2, drawn))
    made.parameters()[0].assign(np.full((2, 2), 7e4, np.float32))
    with pytest.raises(NoExplorerError, match="7e\\+04 is more than float16"):
        layers_of(made)


# What is stored, and when there is none


def test_sliders_reach_the_codes_and_three_deviations() -> None:
    vae, ae = trained("vae")[0].model, trained("ae")[0].model
    codes = np.linspace(-0.31, 4.14, 20)[:, None] * np.ones(10)
    near = explorer.ranges_of(vae, codes.astype(np.float32) / 2)[0]
    assert (near.low, near.high, near.step) == (-3, 3, 0.1)
    reach = explorer.ranges_of(vae, codes.astype(np.float32))[0]
    assert reach.low == -reach.high
    assert 4.14 <= reach.high <= 4.14 + reach.step
    reach = explorer.ranges_of(ae, codes.astype(np.float32))[0]
    assert -0.31 - reach.step <= reach.low <= -0.31
    for same in (np.zeros((3, 10)), np.full((3, 10), 1e4)):
        for reach in explorer.ranges_of(ae, same.astype(np.float32)):
            assert reach.low < same[0, 0] < reach.high
            assert 20 <= (reach.high - reach.low) / reach.step <= 200


def test_latents_stand_in_the_order_of_their_kl() -> None:
    text = written("vae")
    latents = [int(i) for i in re.findall(r'id="z(\d+)"', text)]
    kl = [
        float(k) for k in re.findall(r"<label[^>]*>latent \d+ <small>KL ([\d.]+)", text)
    ]
    assert sorted(latents) == list(range(10))
    assert kl == sorted(kl, reverse=True)
    assert text.index("<summary>2 more latents</summary>") > text.index(
        f'id="z{latents[7]}"'
    )


def test_a_conv_model_of_28_pixels_stays_small() -> None:
    data = load("fashion10k:dynamic")
    model = mv.VAE(data.shape, 20, arch="conv", likelihood="bernoulli")
    made = explorer.explorer(model, data, [1.0] * 20)
    size = len(
        kit.page("t", "".join(made.parts), scripts=explorer.SCRIPTS, data=made.data)
    )
    assert size < 4_000_000 - 800_000  # what the rest of a report may have


@pytest.mark.parametrize("why", ["a layer", "a page"])
def test_a_report_without_an_explorer_says_why_and_runs_nothing(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = trained("vae")
    numbers = mv.evaluate.ledger(run.model, data, draws=1)
    if why == "a page":
        monkeypatch.setattr(report, "LARGEST", 50_000)
        words = (
            r"no explorer: with it the page would have 0\.\d MB, more than the 0\.05 MB"
        )
    else:
        model = copy.deepcopy(run.model)
        model.decoder = nn.Sequential(*model.decoder.layers, nn.MaxPool2d(1))
        run = dataclasses.replace(run, model=model)
        words = "no explorer: its decoder has a layer MaxPool2d, which no page runs"
    text = report.report(run, data, numbers)
    assert re.search(words, text)
    assert "it fetches nothing and runs nothing" in text
    assert "<script" not in text
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
