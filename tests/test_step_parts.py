"""What a step's page is made of: its data, its graph, its colours."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from steps import EVERY, batch_of, fused, large, model_of, recorded
from test_page import Page, contrast

from minivae.page import diagram, kit, step
from minivae.page.step_data import StepData, graph_of
from minivae.study import Recording, record
from minivae.study.recording import Check

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


def test_an_op_may_have_several_outputs() -> None:
    nodes = {node["op"]: node for node in StepData(fused()).whole()["nodes"]}
    names = [name for name, _ in nodes["reparameterize_kl"]["outputs"]]
    assert names == ["z", "kl"]


def test_of_equal_arrays_the_page_has_one() -> None:
    data = StepData(recorded("vae"))
    data.whole()
    entries = [json.dumps(entry) for entry in data.arrays.entries]
    assert len(entries) == len(set(entries))


def test_pages_keep_their_size() -> None:
    assert len(step.step_page(recorded("vae")).encode()) <= 200_000
    assert len(step.step_page(large()).encode()) <= 2_000_000


def with_failure(recording: Recording, name: str, kind: str) -> Recording:
    """The recording with the checks of a kind of one node failed."""

    def failed(check: Check) -> Check:
        return replace(check, claim=replace(check.claim, passed=check.kind != kind))

    nodes = tuple(
        replace(n, checks=tuple(map(failed, n.checks))) if n.name == name else n
        for n in recording.nodes
    )
    return replace(recording, nodes=nodes)


def test_the_header_names_the_first_rule_that_is_wrong() -> None:
    text = step.step_page(recorded("vae"))
    assert "gradients checked against finite differences" in text
    text = step.step_page(with_failure(recorded("vae"), "decoder.1", "local"))
    assert "wrong by itself: decoder.1, its rule for x." in text
    text = step.step_page(with_failure(recorded("vae"), "decoder.1", "global"))
    assert "each rule agrees by itself" in text
    assert "step: decoder.1. A kink" in text


def test_numbers_that_are_not_finite_are_shown_and_named() -> None:
    images, noise = batch_of("vae")
    images[0, 0, 0, 0] = np.nan
    model = model_of("vae")
    model.use_likelihood("soft_bce")
    text = step.step_page(record(model, images, noise, checks=False))
    assert ">nan</td>" in text
    assert "✗ x is the first value that is not finite" in text
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
