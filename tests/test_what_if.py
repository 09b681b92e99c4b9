"""What if a number changes: the page computes what Python does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Opened, chromium, walk
from steps import IN_BROWSER, batch_of, fused, model_of, page_of, recorded

from minivae.page import step
from minivae.study import record
from minivae.study.recording import Ref
from minivae.study.tape import Tape

JS_TOLERANCE = 1e-6  # of a number the page computes, relative to 1 or its size


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steps")


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
def test_what_if_of_a_model_of_the_readers_own(tmp_path: Path, browser: Any) -> None:
    recording = fused()
    path = tmp_path / "step.html"
    path.write_text(step.step_page(recording), encoding="utf-8")
    wanted = Tape(recording).values({"x": {(1, 2): 0.5}})
    with Opened(browser, path, bypass_csp=True) as seen:
        change(seen, "x", 5, 0.5)
        shown = walk(seen, tables("#card .made"))
        for node, found in zip(recording.nodes, shown, strict=False):
            for output in range(len(node.outputs)):
                label = recording.label(Ref(node.id, output))
                assert close(found[output], wanted[label]), label
        seen.quiet()


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
