"""The page of a step: all of it there, nothing fetched, every number Python's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import AXE
from pages import Opened, chromium
from steps import CASES, batch_of, model_of, recorded
from test_page import Page, contrast

from minivae.models import build
from minivae.page import diagram, kit, step
from minivae.page.step_data import StepData, graph_of
from minivae.random import Noise
from minivae.study import Recording, record
from minivae.study.recording import Ref
from minivae.study.tape import Tape

EVERY = pytest.mark.parametrize("case", CASES)
MOST = [
    *("vae", "bernoullivae"),
    *(
        pytest.param(case, marks=pytest.mark.slow)
        for case in CASES
        if case not in ("vae", "bernoullivae")
    ),
]
IN_BROWSER = pytest.mark.parametrize("case", MOST)  # two of them, and all when slow
PAYLOAD = '<script>window.planted = 1</script><img src="x" onerror="planted = 1">'
JS_TOLERANCE = 1e-6  # of a number the page computes, relative to 1 or its size


def written(recording: Recording, folder: Path) -> Path:
    path = folder / "step.html"
    path.write_text(step.step_page(recording), encoding="utf-8")
    return path


# What is on it


@EVERY
def test_the_page_is_whole_html_with_a_table_of_the_loss(case: str) -> None:
    recording = recorded(case)
    text = step.step_page(recording)
    body = re.sub(r"<(script|template)\b.*?</\1>", "", text, flags=re.DOTALL)
    page = Page(re.sub(r"<(path|rect|input)[^>]*>", "", body))
    assert page.inside == []
    assert recording.terms is not None
    for row in recording.terms.cells:
        for cell in row:
            assert f">{step.number(cell.value)}</td>" in body
    for leaf in recording.leaves:
        if leaf.kind == "parameter":
            assert f"∂loss/∂{leaf.name}" in body


@EVERY
def test_the_data_has_every_node_event_and_number(case: str) -> None:
    recording = recorded(case)
    data = StepData(recording).whole()
    assert [n["name"] for n in data["nodes"]] == [n.name for n in recording.nodes]
    assert len(data["events"]) == len(recording.events)
    json.dumps(data, allow_nan=False)


def test_of_equal_arrays_the_page_has_one() -> None:
    data = StepData(recorded("vae"))
    data.whole()
    entries = [json.dumps(entry) for entry in data.arrays.entries]
    assert len(entries) == len(set(entries))


def test_pages_keep_their_size() -> None:
    assert len(step.step_page(recorded("vae")).encode()) <= 200_000


def test_numbers_that_are_not_finite_are_shown_and_named() -> None:
    images, noise = batch_of("vae")
    images[0, 0, 0, 0] = np.nan
    model = model_of("vae")
    model.use_likelihood("soft_bce")
    text = step.step_page(record(model, images, noise, checks=False))
    assert ">nan</td>" in text
    assert '"nan"' in text


# The graph


@pytest.mark.parametrize("wide", [True, False])
def test_the_graph_of_the_lesson_vae_has_one_crossing(wide: bool) -> None:
    """The decoder lies within mu, z, logvar, kl; its line to recon has to leave it."""
    assert diagram.drawn(graph_of(recorded("vae")), wide).layout.crossings == 1


@EVERY
@pytest.mark.parametrize("wide", [True, False])
def test_boxes_are_apart_and_lines_run_forward(case: str, wide: bool) -> None:
    graph = graph_of(recorded(case))
    picture = diagram.drawn(graph, wide)
    areas = {}
    for box in graph.boxes:
        place, extent = picture.layout.places[box.id], picture.extents[box.id]
        areas[box.id] = (
            place.main - extent.main,
            place.main + extent.main,
            place.cross - extent.before,
            place.cross + extent.after,
        )
    for a, (left, right, top, bottom) in areas.items():
        assert left >= 0
        assert top >= -1e-9
        for b, (other_left, other_right, other_top, other_bottom) in areas.items():
            apart = (
                right <= other_left
                or other_right <= left
                or bottom <= other_top
                or other_bottom <= top
            )
            assert a == b or apart
    for points in picture.layout.lines:
        mains = [point.main for point in points]
        assert mains == sorted(mains)


@EVERY
def test_parameters_stand_beside_their_consumer(case: str) -> None:
    recording = recorded(case)
    graph = graph_of(recording)
    drawn = {pill.id for box in graph.boxes for pill in box.pills}
    drawn |= {box.id for box in graph.boxes}
    used = {ref.id for node in recording.nodes for ref in node.inputs}
    assert used | {node.id for node in recording.nodes} == drawn


def test_groups_are_bands_one_after_the_other() -> None:
    picture = diagram.drawn(graph_of(recorded("vae")), wide=True)
    names = [name for name, _, _ in picture.layout.bands]
    assert names == ["encoder", "sampling", "decoder", "loss"]
    ends = [0.0] + [end for _, _, end in picture.layout.bands]
    assert all(s >= e for (_, s, _), e in zip(picture.layout.bands, ends, strict=False))


# Colours


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ink_is_readable_on_every_tint(theme: str) -> None:
    colours: dict[str, str] = {}
    for name in step.STYLES:
        text = (kit.FOLDER / name).read_text(encoding="utf-8")
        light, _, dark = text.partition("@media (prefers-color-scheme: dark)")
        part = light if theme == "light" else dark.partition("\n}\n")[0]
        colours |= dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", part))
    tints = ["tint", "lit", "bad", *(f"{s}{n}" for s in "np" for n in (1, 2, 3))]
    assert colours.keys() >= {*tints, "ink", "paper", "good", "wrong"}
    for name in [*tints, "paper"]:
        assert contrast(colours["ink"], colours[name]) >= 4.5, name
    for name in ("good", "wrong", "accent", "second", "soft"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    assert contrast(colours["soft"], colours["tint"]) >= 4.5
    for name in ("low", "high"):
        assert contrast(colours[name], colours["paper"]) >= 3, name


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


def walk(seen: Opened, expression: str) -> list[Any]:
    """What a JavaScript expression is at every step, from the first to the last."""
    return seen.page.evaluate(
        "expression => { const found = [], last = Number(document.querySelector("
        "'.timeline input').max); document.querySelector('[data-phase]').click();"
        " for (let i = 0; i < last; i++) { found.push(eval(expression));"
        " document.querySelector('[data-go=\"1\"]').click(); } return found; }",
        expression,
    )


def go(seen: Opened, at: int) -> None:
    """Go to a step, and wait until its card has faded in."""
    seen.page.get_by_role("slider", name="Step", exact=True).fill(str(at))
    assert seen.text(".said").startswith(f"Step {at} of")
    seen.page.evaluate(
        "Promise.all(document.getAnimations().filter("
        "a => a.animationName === 'enter').map(a => a.finished))"
    )


def open_all(seen: Opened) -> None:
    seen.page.evaluate(
        "document.querySelectorAll('details').forEach(d => d.open = true)"
    )


def page_of(case: str, folder: Path) -> Path:
    path = folder / f"{case}.html"
    if not path.exists():
        path.write_text(step.step_page(recorded(case)), encoding="utf-8")
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
def test_a_name_with_html_in_it_is_text(tmp_path: Path, browser: Any) -> None:
    recording = recorded("vae")
    nodes = tuple(
        replace(n, name=n.name + PAYLOAD, module=PAYLOAD, op=PAYLOAD, formula=PAYLOAD)
        for n in recording.nodes
    )
    leaves = tuple(replace(leaf, name=leaf.name + PAYLOAD) for leaf in recording.leaves)
    hostile = replace(
        recording, title=PAYLOAD, nodes=nodes, leaves=leaves, notes=(PAYLOAD,)
    )
    with Opened(browser, written(hostile, tmp_path), bypass_csp=True) as seen:
        assert PAYLOAD in seen.text("main")
        assert set(walk(seen, "window.planted ?? 0")) == {0}
        assert seen.page.evaluate("document.querySelectorAll('main img').length") == 0
        seen.quiet()


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


# What if


def change(seen: Opened, leaf: str, element: int, value: float) -> None:
    panel = seen.page.locator("#what-if")
    panel.locator("select").nth(0).select_option(leaf)
    panel.locator("select").nth(1).select_option(index=element)
    panel.locator("input[type=number]").fill(repr(value))


def tables(selector: str) -> str:
    """An expression for the numbers of each table of a part of the card, in full."""
    return (
        f"[...document.querySelectorAll(`{selector} table.cells`)].map(t =>"
        " [...t.querySelectorAll('td[data-value]')]"
        " .sort((a, b) => a.dataset.place - b.dataset.place)"
        " .map(td => Number(td.dataset.value)))"
    )


def close(found: Any, wanted: Any) -> bool:
    found, wanted = np.asarray(found).ravel(), np.asarray(wanted, float).ravel()
    room = JS_TOLERANCE * np.maximum(1, np.abs(wanted))
    return found.shape == wanted.shape and bool((np.abs(found - wanted) <= room).all())


@pytest.mark.needs("browser")
@IN_BROWSER
def test_what_if_computes_what_python_does(
    case: str, folder: Path, browser: Any
) -> None:
    recording = recorded(case)
    leaves = [
        leaf
        for leaf in recording.leaves
        if (leaf.kind in ("noise", "input") or leaf.name == "beta")
        and leaf.traced
        and any(ref.id == leaf.id for n in recording.nodes for ref in n.inputs)
    ]
    with Opened(browser, page_of(case, folder), bypass_csp=True) as seen:
        for leaf in leaves:
            place = np.size(leaf.value) // 2
            is_image = leaf.kind == "input"
            value = 1 - float(np.ravel(leaf.value)[place]) if is_image else 0.25
            change(seen, leaf.name, place, value)
            index = np.unravel_index(place, np.shape(leaf.value))
            where = {tuple(int(i) for i in index): value}
            changes = {leaf.name: where if index else value}
            wanted = Tape(recording).values(changes)
            loss = wanted[recording.label(recording.loss)]
            assert loss == recording.replay(changes)
            assert loss != recording.loss_value
            shown = walk(seen, tables("#card .made"))
            for node, found in zip(recording.nodes, shown, strict=False):
                for output, table in enumerate(found):
                    label = recording.label(Ref(node.id, output))
                    assert len(found) == len(node.outputs)
                    if np.size(wanted[label]) <= 64:  # of larger ones a corner
                        assert close(table, wanted[label]), (leaf.name, label)
            seen.page.get_by_role("button", name="Back to the recorded step").click()
        seen.quiet()


@pytest.mark.needs("browser")
@IN_BROWSER
def test_what_if_has_the_gradients_and_the_table_of_another_step(
    case: str, folder: Path, browser: Any
) -> None:
    """The page's step with one pixel changed is the step recorded with that pixel."""
    images, noise = batch_of(case)
    place, value = 7, 1 - images.flat[7]
    images.flat[place] = value
    other = record(model_of(case), images, noise, checks=False)
    assert other.terms is not None
    with Opened(browser, page_of(case, folder), bypass_csp=True) as seen:
        leaf = next(leaf for leaf in recorded(case).leaves if leaf.kind == "input")
        if not leaf.traced:
            seen.page.locator("#what-if select").nth(0).select_option(leaf.name)
            assert "outside of the tape" in seen.text("#what-if")
            assert seen.page.locator("#what-if input[type=range]").is_disabled()
            return
        change(seen, leaf.name, place, float(value))
        shown = walk(seen, tables("#card :is(.flow > :last-child, .total)"))
        for event, found in zip(other.events, shown[len(other.nodes) :], strict=False):
            if event.adds and np.size(event.total) <= 64:
                assert close(found[-1], event.total), event
        for i, row in enumerate(other.terms.cells):
            for j, cell in enumerate(row):
                weighed = other.terms.columns[j].kind in ("weighted", "total")
                if case == "capacity" and weighed:
                    assert seen.text(f"td[data-cell='{i},{j}'] button") == "–"
                    continue
                text = seen.text(f"td[data-cell='{i},{j}'] button").split("▲")[0]
                assert text.split("▼")[0].strip() == step.number(cell.value)


@pytest.mark.needs("browser")
def test_what_if_marks_what_moved_and_goes_back(folder: Path, browser: Any) -> None:
    with Opened(browser, page_of("vae", folder), address="#step=5") as seen:
        before = seen.text("#card")
        change(seen, "eps", 1, 2.5)
        assert seen.page.locator(".made td.moved").count() == 1
        assert "▲ and ▼ mark what moved: 7 of 13 nodes" in seen.text("#what-if")
        labels = seen.page.locator("svg.wide .box.moved .label")
        moved = [label.text_content() for label in labels.all()]
        assert moved[0] == "z"
        assert "mu" not in moved
        seen.page.get_by_role("button", name="Back to the recorded step").click()
        assert seen.page.locator("td.moved").count() == 0
        assert seen.text("#card") == before


@pytest.fixture(scope="module")
def large() -> Recording:
    model = build(
        "vae", shape=(1, 28, 28), latent=20, hidden=(400,), likelihood="soft_bce"
    )
    images = Noise(0).uniform((8, 1, 28, 28), np.float32)
    return record(model, images, Noise(1), checks=False)


def test_a_large_step_keeps_to_summaries(large: Recording) -> None:
    text = step.step_page(large)
    assert len(text.encode()) <= 2_000_000


@pytest.mark.needs("browser")
def test_a_large_step_says_why_what_if_is_off(
    large: Recording, tmp_path: Path, browser: Any
) -> None:
    with Opened(browser, written(large, tmp_path), address="#step=1") as seen:
        text = seen.text("#what-if")
        assert "Off here: " in text
        assert "313,600 cells" in text
        seen.page.get_by_label("show").first.select_option("around the largest")
        canvas = seen.page.locator("canvas").first
        assert "min" in canvas.get_attribute("aria-label")
        for _ in range(40):
            seen.page.keyboard.press("ArrowRight")
        seen.quiet()
