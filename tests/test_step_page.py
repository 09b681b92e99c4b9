"""The page of a step in Chromium: read by eye, by keys, by ear, without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import AXE
from pages import Opened, chromium, go, open_all, walk
from steps import EVERY, IN_BROWSER, large, page_of, recorded

from minivae.page import step
from minivae.study import Recording
from minivae.study.recording import Ref


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


def written(recording: Recording, folder: Path) -> Path:
    path = folder / "step.html"
    path.write_text(step.step_page(recording), encoding="utf-8")
    return path


@pytest.mark.needs("browser")
@IN_BROWSER
def test_every_step_is_shown_without_a_request_or_a_complaint(
    case: str, folder: Path, browser: Any
) -> None:
    recording = recorded(case)
    with Opened(browser, page_of(case, folder), bypass_csp=True) as seen:
        titles = walk(seen, "document.querySelector('#card-title').textContent")
        told = walk(seen, "document.querySelector('.said').textContent")
        texts = walk(seen, "document.querySelector('main').innerText")
        nodes = len(recording.nodes)
        assert titles[:nodes] == [node.name for node in recording.nodes]
        updates = recording.update.parameters if recording.update else ()
        assert len(titles) == nodes + len(recording.events) + len(updates)
        assert len(set(told)) == len(told)
        for text in texts:
            assert not re.search(r"\b(undefined|null|NaN|false)\b|\[object", text)
        seen.quiet()


@pytest.mark.needs("browser")
def test_keys_move_step_heading_and_live_region(folder: Path, browser: Any) -> None:
    with Opened(browser, page_of("vae", folder)) as seen:
        page = seen.page
        assert seen.text(".said").startswith("Step 1 of")
        before = (seen.text("#card-title"), seen.text(".said"))
        page.keyboard.press("ArrowRight")
        after = (seen.text("#card-title"), seen.text(".said"))
        assert all(a != b for a, b in zip(before, after, strict=True))
        assert page.url.endswith("#step=2")
        page.keyboard.press("End")
        assert "update" in seen.text(".said")
        page.keyboard.press("Home")
        assert (seen.text("#card-title"), seen.text(".said")) == before


@pytest.mark.needs("browser")
def test_tab_goes_from_player_to_graph_to_card(folder: Path, browser: Any) -> None:
    with Opened(browser, page_of("vae", folder), address="#step=5") as seen:
        order = []
        for _ in range(40):
            seen.page.keyboard.press("Tab")
            order.append(
                seen.page.evaluate(
                    "(e => e.dataset.go ?? e.dataset.fold ?? e.type"
                    " ?? e.getAttribute('aria-label') ?? e.tagName)"
                    "(document.activeElement)"
                )
            )
        wanted = ["-1", "1", "range", "Graph of the step", "encoder", "SUMMARY"]
        places = [order.index(name) for name in wanted]
        assert places == sorted(places)
        assert "The loss by image" in order


@pytest.mark.needs("axe")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, folder: Path, browser: Any) -> None:
    with Opened(
        browser, page_of("vae", folder), scheme=scheme, bypass_csp=True
    ) as seen:
        seen.page.add_script_tag(path=str(AXE))
        for at in (29, 1, 5, 24, 45):
            go(seen, at)
            found = seen.page.evaluate("axe.run({ resultTypes: ['violations'] })")
            assert [
                (v["id"], [n["target"] for n in v["nodes"]])
                for v in found["violations"]
            ] == []


@pytest.mark.slow
@pytest.mark.needs("axe")
@EVERY
def test_axe_finds_nothing_in_what_can_be_opened(
    case: str, folder: Path, browser: Any
) -> None:
    with Opened(browser, page_of(case, folder), bypass_csp=True) as seen:
        seen.page.add_script_tag(path=str(AXE))
        for at in (3, 12, 20):
            go(seen, at)
            open_all(seen)
            found = seen.page.evaluate("axe.run({ resultTypes: ['violations'] })")
            assert [v["id"] for v in found["violations"]] == []


@pytest.mark.needs("browser")
@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("case", ["vae", pytest.param("conv", marks=pytest.mark.slow)])
def test_no_width_overflows(case: str, width: int, folder: Path, browser: Any) -> None:
    with Opened(browser, page_of(case, folder), width=width, bypass_csp=True) as seen:
        assert max(walk(seen, "document.documentElement.scrollWidth - innerWidth")) <= 0
        open_all(seen)
        assert seen.overflow() <= 0


@pytest.mark.needs("browser")
def test_the_accessibility_tree_has_formulas_and_tables(
    folder: Path, browser: Any
) -> None:
    with Opened(browser, page_of("vae", folder), address="#step=29") as seen:
        session = seen.context.new_cdp_session(seen.page)
        tree = session.send("Accessibility.getFullAXTree")["nodes"]
        roles = {node["role"]["value"] for node in tree if "role" in node}
        assert roles >= {
            *("MathMLMath", "table", "columnheader", "rowheader", "slider", "status")
        }
        slider = seen.page.get_by_role("slider", name="Step", exact=True)
        text = slider.get_attribute("aria-valuetext")
        assert text.startswith("Step 29 of 48, backward: z sends to logvar")


@pytest.mark.needs("browser")
def test_without_scripts_the_loss_and_the_gradients_stand(
    folder: Path, browser: Any
) -> None:
    recording = recorded("vae")
    assert recording.terms is not None
    with Opened(browser, page_of("vae", folder), java_script_enabled=False) as seen:
        for name in ("#terms table", ".gradients table", "svg.map.wide", "noscript p"):
            assert seen.page.locator(name).first.is_visible(), name
        assert not seen.page.locator("#what-if").is_visible()
        shown = seen.text("#terms table")
        for mean in recording.terms.means:
            assert step.number(mean) in shown
        gradients = seen.text(".gradients")
        for update in recording.update.parameters if recording.update else ():
            assert step.number(float(update.gradient.flat[0])) in gradients
        seen.quiet()


@pytest.mark.needs("browser")
def test_unbroadcasting_is_a_step_of_its_own(folder: Path, browser: Any) -> None:
    recording = recorded("betavae")
    at = next(i for i, e in enumerate(recording.events) if e.kind == "unbroadcast")
    event, before = recording.events[at], len(recording.nodes) + at
    total = step.number(float(np.asarray(event.total)))
    with Opened(browser, page_of("betavae", folder)) as seen:
        go(seen, before)
        assert "the next step sums it back" in seen.text("#card")
        assert total not in seen.text("#card .flow")
        go(seen, before + 1)
        assert "un-broadcast" in seen.text("#card .kicker")
        assert "The adjoint of copying is summing." in seen.text("#card")
        assert "This is all that reaches it." in seen.text("#card")
        assert total in seen.text("#card .flow")


# Folding, lighting, following


@pytest.mark.needs("browser")
def test_a_group_folds_to_one_box(folder: Path, browser: Any) -> None:
    with Opened(browser, page_of("vae", folder)) as seen:
        shown = "document.querySelectorAll('svg.wide .box:not([hidden])').length"
        before = seen.page.evaluate(shown)
        seen.page.get_by_role("button", name="decoder", exact=True).click()
        assert seen.page.evaluate(shown) == before - 4
        assert seen.page.locator("svg.wide .cover:not([hidden])").count() == 1
        seen.page.get_by_role("button", name="decoder", exact=True).click()
        assert seen.page.evaluate(shown) == before


@pytest.mark.needs("browser")
def test_a_cell_of_the_loss_lights_what_it_comes_from(
    folder: Path, browser: Any
) -> None:
    recording = recorded("vae")
    assert recording.terms is not None
    cell = recording.terms.cells[1][1]
    with Opened(browser, page_of("vae", folder), address="#step=3") as seen:
        seen.page.locator("td[data-cell='1,1'] button").click()
        lit = seen.page.evaluate(
            "[...document.querySelectorAll('svg.wide .box.lit')].map(b => b.dataset.id)"
        )
        assert set(lit) == set(cell.nodes)
        assert seen.page.locator(".made td.lit").count() == 1
        assert "mu[1, 0], logvar[1, 0]" in seen.text("#terms-words")


@pytest.mark.needs("browser")
def test_a_followed_number_is_the_sum_of_its_paths(folder: Path, browser: Any) -> None:
    recording = recorded("vae")
    gradient = recording.adjoint_of(Ref(recording.by_name["mu"].id))
    assert isinstance(gradient, np.ndarray)
    with Opened(browser, page_of("vae", folder), address="#step=28") as seen:
        assert "mu" in seen.text("#card-title")
        seen.page.locator("#follow select").select_option("[1, 0]")
        assert f"= {step.number(float(gradient[1, 0]))}?" in seen.text("#follow .why")
        text = seen.text("#follow")
        assert "KL path" in text
        assert "reconstruction path" in text
        parts = seen.page.locator("#follow .share-number").all_inner_texts()
        total = sum(float(part.replace("−", "-")) for part in parts)
        assert abs(total - gradient[1, 0]) <= 1e-4 * len(parts)
        seen.page.locator("#follow .shares button").first.click()
        assert seen.page.locator("#follow .crumbs button").count() == 1


@pytest.mark.needs("browser")
def test_a_large_step_says_why_what_if_is_off(tmp_path: Path, browser: Any) -> None:
    with Opened(browser, written(large(), tmp_path), address="#step=1") as seen:
        text = seen.text("#what-if")
        assert "Off here: " in text
        assert "313,600 cells" in text
        seen.page.get_by_label("show").first.select_option("around the largest")
        canvas = seen.page.locator("canvas").first
        assert "min" in canvas.get_attribute("aria-label")
        for _ in range(40):
            seen.page.keyboard.press("ArrowRight")
        seen.quiet()
