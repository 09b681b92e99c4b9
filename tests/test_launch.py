"""A launch, thread by thread: the recording, its text, its page, the command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import done, refused
from conftest import AXE
from minivae_kernels import devices, examples, family
from pages import Opened, chromium
from test_page import contrast

from minivae.page import kit
from minivae.page.launch import launch_page
from minivae.study.launch import FAULTY, SHAPE, SHAPES, LaunchRecording, record_launch
from minivae.study.launch_text import WIDTH, access, as_text, spans

pytestmark = pytest.mark.needs("ptx")

recorded = cache(record_launch)
CASES = [("bernoulli", "block_tree"), ("bernoulli", "vectors"), (FAULTY, None)]
EVERY = pytest.mark.parametrize(("name", "rung"), CASES)


# The recording


@pytest.mark.parametrize("name", ["bernoulli", "matmul", "colsum", "philox.words"])
def test_bytes_and_sectors_are_those_the_interpreter_counts(name: str) -> None:
    recording = recorded(name)
    chosen = next(r for r in family(name).rungs if r.name == recording.rung)
    shape = SHAPES.get(name, SHAPE)
    arrays, options = examples.example(name, shape, np.float32, rung=chosen)
    with devices.running_on("ptx") as session:
        chosen.function(*arrays, **options)
    assert len(recording.launches) == len(session.reports)
    for launch, (kernel, report) in zip(
        recording.launches, session.reports, strict=True
    ):
        requests = [r for epoch in launch.epochs for r in epoch if r.space == "global"]
        assert launch.kernel == kernel
        assert report.sectors == sum(r.sectors for r in requests)
        read = sum(r.bytes for r in requests if r.kind != "writes")
        written = sum(r.bytes for r in requests if r.kind != "reads")
        assert (read, written) == (report.bytes_read, report.bytes_written)


def test_a_tree_halves_its_threads_from_barrier_to_barrier() -> None:
    launch = recorded("bernoulli", "block_tree").launches[0]
    halves = [epoch[-1] for epoch in launch.epochs[1:-1]]
    assert [len(r.touches) // 2 for r in halves] == [128, 64, 32, 16, 8, 4, 2, 1]
    assert {(r.kind, r.space) for r in halves} == {("writes", "shared")}
    assert len(launch.epochs) == 10


def test_what_a_thread_reads_is_in_the_array() -> None:
    arrays, _ = examples.example("bernoulli", SHAPE, np.float32)
    first = recorded("bernoulli", "block_tree").launches[0].epochs[0][0]
    assert (first.array, first.kind) == ("logits", "reads")
    flat = arrays[0].ravel()
    for touch in first.touches:
        assert touch.offset == 4 * (touch.block * SHAPE[1] + touch.thread)
        assert touch.values == (flat[touch.offset // 4].item(),)


def test_shuffles_say_from_which_lane() -> None:
    epochs = recorded("bernoulli", "warp_shuffles").launches[0].epochs
    takes = [r for epoch in epochs for r in epoch if r.kind == "takes"]
    away = [max(t.offset - t.thread % 32 for t in r.touches) for r in takes]
    assert away[:5] == [16, 8, 4, 2, 1]


def test_patterns_have_their_names() -> None:
    def of(name: str, rung: str | None = None) -> str:
        return access(next(r for _, _, r in recorded(name, rung).steps()))

    assert of("bernoulli", "one_pass") == "neighbours"
    assert of("colsum") == "stride 4"
    assert of("logmeanexp") == "stride 8"
    assert spans([3, 0, 1, 2, 9, 9]) == "0–3, 9"


def test_source_lines_are_found_in_both_languages() -> None:
    python, c = recorded("bernoulli", "block_tree"), recorded("bernoulli", "one_pass")
    assert "shared[t] += shared[t + half]" in python.sources.values()
    assert any(line.startswith("bernoulli.cu:") for line in c.sources)
    assert all(python.sources.values())
    assert not [line for line in python.sources if "/" in line]


def test_a_race_ends_the_recording_and_names_both_threads() -> None:
    launch = recorded(FAULTY).launches[0]
    fault = launch.fault
    assert fault is not None
    assert (fault.kind, fault.epoch) == ("RaceError", 1)
    assert (fault.space, fault.array, fault.offset) == ("shared", "partial", 16)
    assert fault.threads == ((0, 0), (0, 4))
    assert fault.lines == ("missing_barrier.cu:11",) * 2
    assert "/" not in fault.message.replace("t / 2", "")


@pytest.mark.parametrize("name", examples.CALLS)
@pytest.mark.slow
def test_every_rung_of_every_family_can_be_stepped_through(name: str) -> None:
    for rung in family(name).rungs:
        if rung.runs_on == "cuda" and rung.kernels:
            recording = record_launch(name, rung.name)
            assert all(launch.fault is None for launch in recording.launches)
            assert all(len(line) <= WIDTH for line in as_text(recording).splitlines())
            assert launch_page(recording)


# Text and JSON


@EVERY
def test_the_text_keeps_to_80_columns(name: str, rung: str | None) -> None:
    text = as_text(recorded(name, rung))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    walls = sum(len(launch.epochs) - 1 for launch in recorded(name, rung).launches)
    assert len(re.findall(r"^─+ barrier \d+ ─+$", text, re.M)) == walls


@EVERY
def test_json_has_the_format_and_every_touch(name: str, rung: str | None) -> None:
    recording = recorded(name, rung)
    data = json.loads(recording.as_json())
    assert (data["format"], data["version"]) == ("minivae launch", 1)
    counts = [
        len(r["touches"]) for x in data["launches"] for e in x["epochs"] for r in e
    ]
    assert counts == [len(r.touches) for _, _, r in recording.steps()]


# The command


def test_the_command_writes_page_json_and_text(tmp_path: Path) -> None:
    page, file = tmp_path / "k.html", tmp_path / "k.json"
    out = done("step", "--kernel", FAULTY, "--html", page, "--json", file, "--plain")
    assert "FAULT in epoch 2: a race of threads 0 and 4 of block 0" in out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads(file.read_text(encoding="utf-8"))["rung"] == FAULTY


def test_what_is_not_there_is_said_in_a_line() -> None:
    refused("no kernel family 'nothing'; have", "step", "--kernel", "nothing")
    refused("no CUDA rung 'x'; have", "step", "--kernel", "adam", "--rung", "x")
    refused("is one kernel", "step", "--kernel", FAULTY, "--rung", "x")
    refused("--rung is for --kernel", "step", "--rung", "x")


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        devices, "why_no_ptx", lambda: f"no NVRTC: {devices.INSTALL_PTX}"
    )
    refused("pip install 'minivae[ptx]'", "step", "--kernel", "bernoulli")


# The page


def written(recording: LaunchRecording, folder: Path) -> Path:
    path = folder / "launch.html"
    path.write_text(launch_page(recording), encoding="utf-8")
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_on_every_tint(theme: str) -> None:
    colours: dict[str, str] = {}
    for name in ("style.css", "launch.css"):
        text = (kit.FOLDER / name).read_text()
        light, _, rest = text.partition("@media (prefers-color-scheme")
        part = light if theme == "light" else rest.partition("\n}\n")[0]
        colours |= re.findall(r"--(\w+): (#[0-9a-f]{6});", part)
    for tint in ("read", "write", "update", "race", "paper"):
        assert contrast(colours["ink"], colours[tint]) >= 4.5
    assert contrast(colours["soft"], colours["tint"]) >= 4.5
    assert contrast(colours["wrong"], colours["paper"]) >= 4.5


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.mark.needs("browser")
def test_keys_move_the_step_and_nothing_is_fetched(
    browser: Any, tmp_path: Path
) -> None:
    path = written(recorded(FAULTY), tmp_path)
    with Opened(browser, path) as seen:
        page = seen.page
        assert page.inner_text("h2") == "16 threads read x"
        assert page.locator("td.reads").count() == 16
        page.keyboard.press("ArrowRight")
        assert page.inner_text("h2") == "16 threads write partial"
        assert page.url.endswith("#step=2")
        assert page.locator("td.writes").count() == 16
        page.keyboard.press("End")
        assert page.inner_text("h2") == "A race"
        assert page.inner_text("td.race").split() == ["race", "✗", "0", "4"]
        assert "threads 0 and 4" in page.inner_text("[role=status]")
        page.click(".walk a >> nth=2")
        assert page.inner_text("h2") == "8 threads read partial"
        assert set(seen.requests) == {seen.own}
        assert seen.messages == []


@pytest.mark.needs("browser")
def test_each_block_has_its_own_shared_memory(browser: Any, tmp_path: Path) -> None:
    path = written(recorded("bernoulli", "block_tree"), tmp_path)
    with Opened(browser, path, address="#step=4") as seen:
        first = seen.page.inner_text("td.reads >> nth=0")
        seen.page.select_option("select", "1")
        assert seen.page.locator("td.reads").count() == 128
        assert seen.page.inner_text("td.reads >> nth=0") != first
        assert seen.messages == []


@pytest.mark.needs("browser")
def test_a_shuffle_shows_the_lanes(browser: Any, tmp_path: Path) -> None:
    path = written(recorded("bernoulli", "warp_shuffles"), tmp_path)
    with Opened(browser, path, address="#step=3") as seen:
        assert seen.page.locator("td.takes").count() == 32
        assert seen.page.inner_text("td.takes >> nth=0").split()[1:] == ["←", "16"]
        assert seen.messages == []


@pytest.mark.needs("browser")
@EVERY
def test_it_fits_a_phone(
    browser: Any, tmp_path: Path, name: str, rung: str | None
) -> None:
    path = written(recorded(name, rung), tmp_path)
    with Opened(browser, path, width=320, address="#step=3") as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.needs("browser")
def test_without_scripts_the_walk_stands(browser: Any, tmp_path: Path) -> None:
    path = written(recorded(FAULTY), tmp_path)
    with Opened(browser, path, java_script_enabled=False) as seen:
        assert seen.page.locator(".walk tbody tr").count() == 7
        assert "race of threads 0 and 4" in seen.page.inner_text(".walk")
        assert not seen.page.is_visible(".player")


@pytest.mark.needs("axe")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@EVERY
def test_axe_finds_nothing(
    browser: Any, tmp_path: Path, name: str, rung: str | None, scheme: str
) -> None:
    path = written(recorded(name, rung), tmp_path)
    with Opened(browser, path, scheme=scheme, bypass_csp=True) as seen:
        seen.page.add_script_tag(path=str(AXE))
        for step in ("Home", "ArrowRight", "End"):
            seen.page.keyboard.press(step)
            found = seen.page.evaluate("axe.run({ resultTypes: ['violations'] })")
            assert [v["id"] for v in found["violations"]] == []
