"""The explorer of a report: the page's decoder is Python's, by every control."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import AXE
from pages import Opened, chromium, open_all, runs_only_its_own
from tiny import MODELS, few_digits, fit
from tolerances import FLOAT32, PAGE

import minivae as mv
from minivae import nn
from minivae.backend import Array
from minivae.data import Dataset, load
from minivae.models import Autoencoder
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
from minivae.train import Run

HOSTILE = "</script><b onclick=x>'&\""


@cache
def trained(case: str) -> tuple[Run, Dataset]:
    """A small run: a model's name, "conv", "tied", or a VAE by its latents."""
    data, shape = few_digits(), (1, 8, 8)
    if case == "conv":
        model: Autoencoder = mv.VAE(shape, 3, (8,), arch="conv", channels=(4,))
    elif case == "tied":
        model = mv.AE(shape, 3, (8,), tied=True)
    elif case.isdigit():
        model = mv.VAE(shape, int(case), (8,))
    else:
        model = MODELS[case](shape, latent=10, hidden=(8,))
    run = fit(model, data, epochs=1)
    if case == "mixturevae":  # components that differ, as after a longer training
        run.model.prior_logits.assign(np.array([0, 1.5], np.float32))
        run.model.prior_logvar.assign(Noise(5).normal((2, 10)))
    return run, data


@cache
def written(case: str, **changed: Any) -> str:
    run, data = trained(case)
    data = dataclasses.replace(data, **changed)
    return report.report(run, data, mv.evaluate.ledger(run.model, data, draws=1))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explorers")


SEEDED = """{ let a = 1; Math.random = () => {
  a = (a + 0x6D2B79F5) | 0; let t = Math.imul(a ^ (a >>> 15), 1 | a);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296; }; }"""
LISTEN = """() => document.querySelector('.explorer').addEventListener(
  'decoded', ({ detail: { code, image } }) => {
    window.last = { code: [...code], image: [...image] }; })"""
NEXT = """() => new Promise((done) => requestAnimationFrame(
  () => requestAnimationFrame(() => done(window.last))))"""


class Exploring(Opened):
    """An explorer in the browser; `code` and `image` are what it last decoded."""

    def __init__(self, browser: Any, folder: Path, case: str, **options: Any) -> None:
        path = folder / "explorer.html"
        path.write_text(written(case), encoding="utf-8")
        super().__init__(browser, path, **options)
        self.model = trained(case)[0].model
        self.page.evaluate(SEEDED)
        self.page.evaluate(LISTEN)
        self.act(lambda: self.button("Reset").click())

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name)

    def act(self, do: Callable[[], Any]) -> None:
        """Do something, and hold what it made the decoder paint against Python."""
        do()
        last = self.page.evaluate(NEXT)
        self.code, self.image = (np.array(last[key]) for key in ("code", "image"))
        error = np.abs(self.image - python(self.model, self.code)).max()
        assert error <= PAGE

    def press(self, selector: str, *keys: str) -> None:
        self.page.locator(selector).first.focus()
        for key in keys:
            self.act(lambda key=key: self.page.keyboard.press(key))

    def axes(self) -> list[int]:
        """The latents that the pad moves, across and up."""
        selects = self.page.locator("[data-axis]").all()
        return [int(select.input_value()) for select in selects]

    def ranges(self) -> list[explorer.Range]:
        codes = self.model.embed(few_digits().test.images)
        return explorer.ranges_of(self.model, codes)

    def painted(self, selector: str) -> Array:
        """The red of a canvas: (height, width)."""
        width, red = self.page.evaluate(
            "s => { const c = document.querySelector(s), { width, height } = c;"
            " const d = c.getContext('2d').getImageData(0, 0, width, height).data;"
            " return [width, [...d].filter((_, i) => i % 4 === 0)]; }",
            selector,
        )
        return np.array(red).reshape(-1, width)


def python(model: Autoencoder, code: Array) -> Array:
    """The picture of a code with the rounded weights, flat."""
    small = rounded(pictured(model))
    return run_network(small, code[None].astype(np.float32)).ravel()


# The decoder


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
def decoder(browser: Any) -> Iterator[Any]:
    """A blank page that has decoder.js."""
    page = browser.new_page()
    page.add_script_tag(content=(kit.FOLDER / "decoder.js").read_text())
    yield page
    page.close()


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


# By its controls


each = pytest.mark.parametrize("case", [*MODELS, "conv", "tied"])
some = pytest.mark.parametrize("case", ["ae", "vae", "bernoullivae", "conv"])
FAR = 10**6
KEYS = {
    "ArrowRight": (1, 0),
    "ArrowLeft": (-1, 0),
    "ArrowUp": (0, 1),
    "ArrowDown": (0, -1),
    "Shift+ArrowDown": (0, -10),
    "PageUp": (0, 10),
    "PageDown": (0, -10),
    "Shift+ArrowLeft": (-10, 0),
    "End": (FAR, 0),
    "Home": (-FAR, 0),
}
"""Steps across and up that a key goes on the pad, within the ranges."""


@pytest.mark.needs("browser")
@each
def test_keys_move_a_latent_and_the_picture_is_pythons(
    case: str, folder: Path, browser: Any
) -> None:
    with Exploring(browser, folder, case) as seen:
        start, control = seen.code, seen.page.locator("[data-latent]").first
        latent, was_on = int(control.get_attribute("data-latent")), None
        if case == "bernoullivae":
            was_on = control.is_checked()
        seen.press("[data-latent]", "Space" if case == "bernoullivae" else "ArrowRight")
        moved = np.flatnonzero(seen.code != start)
        assert moved.tolist() == [latent]
        value = seen.page.locator(".latent .value").first.inner_text()
        assert value == f"{seen.code[latent]:.2f}".replace("-", "−")
        if case == "bernoullivae":
            assert seen.code[latent] == (0 if was_on else 1)
            assert control.is_checked() is not was_on
            assert seen.page.get_by_role("switch").count() == 8
        else:
            step = seen.ranges()[latent].step
            assert 0 < seen.code[latent] - start[latent] <= 1.5 * step + 1e-9
            assert control.get_attribute("aria-valuetext") == value
        picture = seen.image.reshape(seen.model.shape)[0]
        shown = seen.painted(".seen canvas")
        assert np.abs(shown - 255 * picture).max() <= 0.501
        assert seen.page.locator(".rounding .good").count() == 1
        seen.quiet()


@pytest.mark.needs("browser")
@pytest.mark.parametrize("case", ["vae", "bernoullivae"])
def test_keys_move_the_pad_in_two_latents(
    case: str, folder: Path, browser: Any
) -> None:
    with Exploring(browser, folder, case) as seen:
        axes, ranges = seen.axes(), seen.ranges()
        for key, steps in KEYS.items():
            expected = seen.code.copy()
            for axis, count in zip(axes, steps, strict=True):
                reach = ranges[axis]
                goal = expected[axis] + count * reach.step
                expected[axis] = max(reach.low, min(reach.high, goal))
            seen.press(".pad", key)
            assert np.abs(seen.code - expected).max() <= 1e-9, key
        x, y = (f"{seen.code[axis]:.2f}".replace("-", "−") for axis in axes)
        told = seen.page.locator(".pad").get_attribute("aria-valuetext")
        assert told == f"latent {axes[0]} across: {x}, latent {axes[1]} up: {y}"
        seen.quiet()


@pytest.mark.needs("browser")
@pytest.mark.parametrize("case", ["vae", "bernoullivae"])
def test_the_pad_is_made_of_decoded_pictures(
    case: str, folder: Path, browser: Any
) -> None:
    with Exploring(browser, folder, case) as seen:
        x, y = seen.axes()
        seen.press("[data-latent] >> nth=2", "Space" if case != "vae" else "End")
        seen.page.wait_for_timeout(300)
        pad, n = seen.painted(".pad canvas"), 2 if case == "bernoullivae" else 9
        assert pad.shape == (9 * n - 1, 9 * n - 1)
        code, ranges = seen.code.copy(), seen.ranges()
        for row, column in ((0, 0), (n - 1, 0), (n // 2, n - 1)):
            code[x] = ranges[x].values(n)[column]
            code[y] = ranges[y].values(n)[::-1][row]
            tile = pad[9 * row : 9 * row + 8, 9 * column : 9 * column + 8]
            exact = 255 * python(seen.model, code).reshape(8, 8)
            assert np.abs(tile - exact).max() <= 0.501


@pytest.mark.needs("browser")
def test_a_pointer_and_other_axes_move_the_pad(folder: Path, browser: Any) -> None:
    with Exploring(browser, folder, "vae") as seen:
        axes = seen.axes()
        seen.page.locator("[data-axis='0']").select_option(index=2)
        third = int(seen.page.locator("[data-axis='0']").input_value())
        box = seen.page.locator(".pad").bounding_box()
        before = seen.code
        place = {"x": box["width"] / 2, "y": box["height"] / 2}
        seen.act(lambda: seen.page.locator(".pad").click(position=place))
        assert abs(seen.code[third]) <= 0.2
        assert (seen.code != before).sum() == 2
        seen.page.locator("[data-axis='1']").select_option(str(third))
        assert seen.axes() == [axes[1], third]
        seen.act(seen.button("Reset").click)
        assert seen.axes() == axes


@pytest.mark.needs("browser")
@some
def test_the_ends_of_the_line_are_reconstructions(
    case: str, folder: Path, browser: Any
) -> None:
    model, data = trained(case)[0].model, trained(case)[1]
    small = copy.deepcopy(model)
    small.decoder = rounded(nn.Sequential(*model.decoder.layers))
    images = data.test.images
    first, second = 0, 1
    with Exploring(browser, folder, case) as seen:
        line = "[aria-label=Interpolate]"
        for key, number in (("End", second), ("Home", first)):
            seen.press(line, key)
            exact = small.reconstruct(images[number : number + 1]).ravel()
            assert np.abs(seen.image - exact).max() <= PAGE
        seen.press(line, *(["ArrowRight"] * 3))
        steps = small.interpolate(images[first], images[second], 51)
        assert np.abs(seen.image - steps[3].ravel()).max() <= PAGE
        assert "6 % of the way from" in seen.text(".where")
        seen.page.locator("[data-end='1']").select_option("3")
        seen.act(lambda: None)
        exact = small.reconstruct(images[3:4]).ravel()
        assert np.abs(seen.image - exact).max() <= PAGE
        seen.quiet()


@pytest.mark.needs("browser")
@some
def test_a_draw_changes_the_picture_where_there_is_a_prior(
    case: str, folder: Path, browser: Any
) -> None:
    with Exploring(browser, folder, case) as seen:
        start, picture = seen.code, seen.image
        if not seen.model.has_kl:
            assert seen.button("Draw from the prior").count() == 0
            assert "An autoencoder has no prior" in seen.text("main")
            return
        seen.act(seen.button("Draw from the prior").click)
        assert (seen.code != start).mean() > 0.5
        assert np.abs(seen.image - picture).max() > 100 * PAGE
        codes = seen.model.embed(few_digits().test.images[:10])
        others = [python(seen.model, code) for code in codes]
        nearest = int(np.abs(np.array(others) - seen.image).sum(axis=1).argmin())
        told = f"Drawn. Of the 10 test images here it is nearest to {nearest}."
        assert seen.text(".said") == told
        seen.act(seen.button("Reset").click)
        assert (seen.code == start).all()
        assert seen.text(".said") == "Back to the code of test image 0."
        seen.quiet()


@pytest.mark.needs("browser")
@pytest.mark.parametrize("case", ["vae", "mixturevae", "bernoullivae"])
def test_draws_are_the_priors(case: str, folder: Path, browser: Any) -> None:
    prior = explorer.prior_of(trained(case)[0].model)
    assert prior
    with Exploring(browser, folder, case) as seen:
        codes = np.array(
            seen.page.evaluate(
                "() => Array.from({ length: 1000 }, () => {"
                " document.querySelector('[data-do=draw]').click();"
                " return [...document.querySelectorAll('.latent')].map((row) =>"
                " [Number(row.querySelector('input').dataset.latent), Number("
                " row.querySelector('.value').textContent.replace('−', '-'))])"
                " .sort((a, b) => a[0] - b[0]).map(([, z]) => z); })"
            )
        )
    if "coins" in prior:
        mean, var = np.full(10, 0.5), np.full(10, 0.25)
        assert set(codes.ravel()) == {0, 1}
    else:
        weights, mu, std = (np.array(prior[key]) for key in ("weights", "mu", "std"))
        mean = weights @ mu
        var = weights @ (mu**2 + std**2) - mean**2
    assert (np.abs(codes.mean(axis=0) - mean) <= 4 * np.sqrt(var / 1000)).all()
    assert (np.abs(codes.var(axis=0) / var - 1) <= 4 * np.sqrt(2 / 1000)).all()


# By ear, without scripts, and on other data


@pytest.mark.needs("axe")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("case", ["vae", "bernoullivae"])
def test_axe_finds_nothing(case: str, scheme: str, folder: Path, browser: Any) -> None:
    with Exploring(browser, folder, case, scheme=scheme, bypass_csp=True) as seen:
        seen.page.add_script_tag(path=str(AXE))
        open_all(seen)
        found = seen.page.evaluate(
            "axe.run('section:first-of-type', { resultTypes: ['violations'] })"
        )
        assert [
            (v["id"], [n["target"] for n in v["nodes"]]) for v in found["violations"]
        ] == []


@pytest.mark.needs("browser")
def test_every_control_has_a_name_and_a_visible_focus(
    folder: Path, browser: Any
) -> None:
    with Exploring(browser, folder, "vae") as seen:
        open_all(seen)
        names = seen.page.locator(".explorer").aria_snapshot()
        for name in ("Draw from the prior", "Reset", "Pad of two latents", "across"):
            assert name in names
        assert names.count("- slider") == 10 + 2
        seen.button("Reset").focus()
        order = []
        for _ in range(4):
            seen.page.keyboard.press("Tab")
            order.append(
                seen.page.evaluate(
                    "(e => [e.className || e.tagName,"
                    " getComputedStyle(e).outlineStyle])(document.activeElement)"
                )
            )
        assert order[0] == ["pad", "solid"]
        assert [name for name, _ in order[1:]] == ["SELECT", "SELECT", "INPUT"]
        assert {style for _, style in order} == {"solid"}
        live = seen.page.locator(".explorer [aria-live], .explorer output")
        assert live.count() == 1


@pytest.mark.needs("browser")
def test_without_scripts_a_picture_stands_in_its_place(
    folder: Path, browser: Any
) -> None:
    path = folder / "still.html"
    path.write_text(written("vae"), encoding="utf-8")
    for scripts in (True, False):
        with Opened(browser, path, java_script_enabled=scripts) as seen:
            assert seen.page.locator(".explorer").is_visible() is scripts
            assert seen.page.locator(".still").is_visible() is not scripts


@pytest.mark.needs("browser")
@pytest.mark.parametrize("altered", ["weights", "one pixel"])
def test_a_decoder_that_is_not_pythons_is_told(
    altered: str, folder: Path, browser: Any
) -> None:
    text = written("vae")
    key = "weights" if altered == "weights" else "values"
    (stored,) = re.findall(f'"{key}":"([^"]+)"', text)
    zeroed = {"weights": slice(0, 200), "one pixel": slice(4, 6)}[altered]
    other = list(stored)
    other[zeroed] = "A" * len(stored[zeroed])  # 75 weights, or a float's highest byte
    path = folder / "altered.html"
    path.write_text(text.replace(stored, "".join(other)), encoding="utf-8")
    with Opened(browser, path) as seen:
        assert "✗ In this browser the decoder is not Python's" in seen.text(".rounding")


@pytest.mark.needs("browser")
def test_names_with_html_in_them_are_text(folder: Path, browser: Any) -> None:
    run, data = trained("vae")
    test = dataclasses.replace(data.test, labels=np.arange(len(data.test)) % 3)
    named = dataclasses.replace(
        data, name=HOSTILE, test=test, classes=tuple(f"{HOSTILE}{i}" for i in range(3))
    )
    text = report.report(run, named, mv.evaluate.ledger(run.model, named, draws=1))
    runs_only_its_own(text)
    path = folder / "hostile.html"
    path.write_text(text, encoding="utf-8")
    with Opened(browser, path) as seen:
        options = seen.page.locator("[data-end='0'] option").all_inner_texts()
        assert options == [f"{i} ({HOSTILE}{i})" for i in range(3)]
        assert seen.page.locator(".end img").first.get_attribute("alt") == (
            f"Test image 0 ({HOSTILE}0)"
        )
        assert f"the code of test image 0 ({HOSTILE}0)" in seen.text(".where")
        assert seen.page.locator("b").count() == 0
        seen.quiet()


@pytest.mark.needs("browser")
@pytest.mark.parametrize("latent", [1, 2, 120])
def test_few_and_many_latents(latent: int, folder: Path, browser: Any) -> None:
    with Exploring(browser, folder, str(latent)) as seen:
        assert seen.page.locator("[data-latent]").count() == min(latent, explorer.MOST)
        assert seen.page.locator(".pad").count() == (latent > 1)
        seen.press("[data-latent]", "End")
        seen.press("[aria-label=Interpolate]", "End")
        if latent > explorer.MOST:
            assert "Of 120 latents the first 100 have a slider" in seen.text("main")
        seen.quiet()


@pytest.mark.needs("browser")
@pytest.mark.parametrize("channels", [2, 3])
def test_images_of_several_channels(
    channels: int, folder: Path, browser: Any, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).random((40, channels, 4, 6))
    np.savez(tmp_path / "own.npz", images=images)
    data = load(str(tmp_path / "own.npz"))
    run = mv.fit(mv.AE(data.shape, 2, (4,)), data, epochs=1, batch=8, quiet=True)
    text = report.report(run, data, mv.evaluate.ledger(run.model, data, draws=1))
    path = folder / "channels.html"
    path.write_text(text, encoding="utf-8")
    with Opened(browser, path) as seen:
        seen.page.evaluate(NEXT)
        width, height, green = seen.page.evaluate(
            "() => { const c = document.querySelector('.seen canvas');"
            " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            " return [c.width, c.height, [...d].filter((_, i) => i % 4 === 1)]; }"
        )
        code = run.model.embed(data.test.images[:1])[0]
        exact = 255 * python(run.model, code).reshape(channels, 4, 6)
        assert (width, height) == ((6, 4) if channels == 3 else (12, 4))
        painted = np.array(green).reshape(4, width)
        wanted = exact[1] if channels == 3 else np.hstack([exact[0], exact[1]])
        assert np.abs(painted - wanted.clip(0, 255)).max() <= 0.501
        seen.quiet()


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
