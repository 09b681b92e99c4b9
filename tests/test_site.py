"""The site of the course: built with the network cut, and opened from a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SITE = ROOT / "lessons/site"
sys.path.insert(0, str(SITE))
pytestmark = pytest.mark.needs("site")
LOADED = r"""<(?:script|img|iframe|link|source)\b[^>]*?\b(?:src|href)=["']([^"']+)"""
# a proxy that nothing listens at: what wants the network fails
CUT = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}


@pytest.mark.parametrize(
    ("plain", "rest"),
    [
        ("Return *args and x_ of a|b.", [r"Return \*args and x\_ of a\|b."]),
        ("Raises `UserError` if so.", [r"Raises \ ``UserError``\  if so."]),
        ("z:\n\n    a = b*c\n\nThen", ["z:", "::", "    a = b*c", "Then"]),
        ("- no list", [r"\- no list"]),
    ],
)
def test_a_docstring_is_text_to_rest(plain: str, rest: list[str]) -> None:
    from docstrings import as_rest

    assert [line for line in as_rest(plain.splitlines()) if line] == rest


def test_a_formula_is_mathml_and_a_typing_error_ends_the_build() -> None:
    from math_core import LatexError
    from mathml import mathml

    assert mathml(r"\mathbb E_q[x]", block=True).startswith("<math")
    with pytest.raises(LatexError):
        mathml(r"\mathbbb E", block=False)


def test_no_formula_of_a_lesson_is_torn_by_a_line_that_begins_a_list() -> None:
    for path in ROOT.glob("lessons/l*/lesson.py"):
        lines = path.read_text("utf-8").splitlines()
        for before, line in pairwise(lines):
            if re.match(r"# ([-+*]|\d+\.) ", line):
                assert before.count("$") % 2 == 0, f"{path.parent.name}: {line}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, str(SITE / "build.py"), str(folder)],
        env=os.environ | CUT,
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return folder / "html"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pages_load_nothing_from_outside(site: Path) -> None:
    pages = [p for p in site.rglob("*.html") if "_static" not in p.parts]
    assert len(pages) > 30
    for path in pages:
        for target in re.findall(LOADED, path.read_text("utf-8")):
            assert not re.match(r"(https?:)?//", target), f"{path.name}: {target}"
    for path in site.rglob("*.css"):
        text = path.read_text("utf-8")
        assert not re.search(r"url\(['\"]?(https?:)?//", text), path.name


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lessons_have_their_outputs(site: Path) -> None:
    for path in sorted(site.glob("l[0-9][0-9]_*.html")):
        text = path.read_text("utf-8")
        assert "<img" in text, f"{path.name} shows no figure"
        assert "<math" in text or path.name > "l13", f"{path.name} has no formula"


@pytest.fixture
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"],
        )
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.needs("browser")
@pytest.mark.timeout(1800)
def test_the_site_works_from_a_file(site: Path, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 375, "height": 800})
    errors: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in ["index.html", "l08_gaussians_and_kl.html", "api/random.html"]:
        page.goto((site / path).as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
    page.goto((site / "search.html").as_uri() + "?q=reparameterisation")
    page.wait_for_selector("ul.search li a", timeout=20_000)
    assert page.locator("ul.search li a").count() >= 1
    assert errors == []
    outside = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    assert json.dumps(outside) == "[]"
