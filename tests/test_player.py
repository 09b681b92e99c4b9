"""The frame's policy, and the player: buttons, slider, phases, keys, the address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import Opened, chromium

from minivae.page import kit

PHASES = [("load", 3), ("add", 2), ("store", 1)]
SHOWN = """
const steps = JSON.parse(document.getElementById("data").textContent);
makePlayer({
  phases: steps,
  show: (i) => (document.querySelector("h1").textContent = `at ${i}`),
});
"""


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str = "") -> Path:
    """A page with a player whose heading says the step."""
    for name in ("frame.html", "player.js", "player.css", *kit.STYLES):
        text = (kit.FOLDER / name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "shown.js").write_text(SHOWN)
    monkeypatch.setattr(kit, "FOLDER", folder)
    steps = [name for name, count in PHASES for _ in range(count)]
    text = kit.page(
        "player",
        f"<h1>none</h1>{kit.player(PHASES)}{body}",
        styles=(*kit.STYLES, "player.css"),
        scripts=("player.js", "shown.js"),
        data=steps,
    )
    path = folder / "player.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return written(tmp_path, monkeypatch, '<label>n <input id="n"></label>')


def test_only_the_pages_own_script_and_style_are_allowed(path: Path) -> None:
    (policy,) = re.findall(r'content="(default-src[^"]*)"', path.read_text())
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert re.search(r"; script-src 'sha256-[\w+/]+=*'; base-uri 'none'", policy)


def test_text_within_the_data_cannot_end_it() -> None:
    text = kit.page("t", "", scripts=("player.js",), data={"n": "</script><b>&amp;"})
    assert r"\u003c/script\u003e\u003cb\u003e\u0026amp;" in text
    assert text.count("</script>") == 2


@pytest.mark.needs("browser")
def test_a_script_that_is_not_the_pages_own_does_not_run(
    path: Path, browser: Any
) -> None:
    text = path.read_text()
    planted = text.replace("<h1>", "<script>window.planted = 1</script><h1>")
    path.write_text(planted)
    with Opened(browser, path) as seen:
        assert seen.page.evaluate("window.planted") is None
        assert seen.text("h1") == "at 0"
        assert len(seen.messages) == 1
        assert "Content Security Policy" in seen.messages[0]


@pytest.mark.needs("browser")
def test_buttons_slider_phases_and_keys_move(path: Path, browser: Any) -> None:
    with Opened(browser, path) as seen:
        page = seen.page
        assert seen.text("h1") == "at 0"
        for move, step in (
            (lambda: page.get_by_role("button", name="Next").click(), 1),
            (lambda: page.get_by_role("button", name="Previous").click(), 0),
            (lambda: page.locator("[data-go='-1']").click(force=True), 0),
            (lambda: page.get_by_role("button", name="add").click(), 3),
            (lambda: page.keyboard.press("ArrowRight"), 4),
            (lambda: page.keyboard.press("ArrowLeft"), 3),
            (lambda: page.keyboard.press("End"), 5),
            (lambda: page.keyboard.press("ArrowRight"), 5),
            (lambda: page.keyboard.press("Home"), 0),
            (lambda: page.keyboard.press("Control+ArrowRight"), 0),
            (lambda: page.keyboard.press("Meta+ArrowRight"), 0),
            (lambda: page.get_by_role("slider").fill("3"), 2),
        ):
            move()
            assert seen.text("h1") == f"at {step}"
            phase = ["load", "load", "load", "add", "add", "store"][step]
            assert seen.text(".said") == f"Step {step + 1} of 6, {phase}: at {step}"
        assert page.url.endswith("#step=3")
        text = "Step 3 of 6, load: at 2"
        assert page.get_by_role("slider").get_attribute("aria-valuetext") == text
        page.locator("#n").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("End")
        assert seen.text("h1") == "at 2"
        seen.quiet()


@pytest.mark.needs("browser")
def test_the_address_says_the_step(path: Path, browser: Any) -> None:
    for address, step in (("#step=5", 4), ("#step=99", 5), ("#step=x", 0), ("", 0)):
        with Opened(browser, path, address=address) as seen:
            assert seen.text("h1") == f"at {step}"


@pytest.mark.needs("browser")
def test_without_scripts_the_player_is_not_shown(path: Path, browser: Any) -> None:
    with Opened(browser, path, java_script_enabled=False) as seen:
        assert not seen.page.locator(".player").is_visible()
