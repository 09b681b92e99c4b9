"""The explorer of a report in Chromium: every control paints what Python says."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import AXE
from explorers import NEXT, Exploring, python, trained, written
from pages import Opened, chromium, open_all, runs_only_its_own
from tiny import MODELS, few_digits
from tolerances import PAGE

import minivae as mv
from minivae import nn
from minivae.data import load
from minivae.page import explorer, report
from minivae.page.decoder_data import rounded

HOSTILE = "</script><b onclick=x>'&\""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explorers")


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
        assert options == [f"{i} ({HOSTILE}{i % 3})" for i in range(10)]
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
