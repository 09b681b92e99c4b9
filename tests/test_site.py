"""The site of the course: built with the network cut, and opened from a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import offline
import pytest

ROOT = Path(__file__).parent.parent
SITE = ROOT / "lessons/site"
sys.path.insert(0, str(SITE))
pytestmark = pytest.mark.needs("site")
FETCHED = ("src", "srcset", "data", "poster", "action")
OUTSIDE = re.compile(r"\s*(https?:|//)")
REACHES = """
import socket
for call in (
    lambda: socket.create_connection(("192.0.2.1", 9), timeout=5),
    lambda: socket.getaddrinfo("example.org", 80),
):
    try:
        call()
    except OSError as error:
        print("cut")
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), timeout=5).close()
    print("this machine is there")
"""


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


def test_each_paper_beside_a_lesson_is_a_reference_of_one() -> None:
    lessons = ROOT.glob("lessons/l*/lesson.py")
    given = " ".join(
        path.read_text("utf-8").partition("## References")[2] for path in lessons
    )
    rows = re.findall(r"^\| \d.*", (SITE / "courses.md").read_text("utf-8"), re.M)
    assert len(rows) == 15
    for row in rows:
        for paper in filter(None, row.split("|")[3].strip().split("; ")):
            name, year = (
                re.findall(r"^[\w-]+", paper)[0],
                re.findall(r"\d{4}", paper)[0],
            )
            assert re.search(rf"\b{name}\b[^()]*\({year}\)", given), paper


def test_a_figure_says_in_its_file_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pictures import description

    from lessons.kit import figures

    monkeypatch.setattr(figures, "PICTURES", tmp_path)
    words = "A line from σ = 0 to β − 1."
    figures.figure(figures.canvas()[0], "line", words)
    assert description(tmp_path / "line.png") == words


@pytest.mark.parametrize("namespace", [True, False], ids=["namespace", "hook"])
def test_without_a_network_only_this_machine_is_there(
    namespace: bool, tmp_path: Path
) -> None:
    if namespace and not offline.namespaces():
        pytest.skip("this machine lets nobody make a network namespace")
    done = offline.python(["-c", REACHES], tmp_path, namespace)
    assert done.stdout.split(b"\n")[:-1] == [b"cut", b"cut", b"this machine is there"]


# The built site


class Page(HTMLParser):
    """What a page fetches, what it links to, and its pictures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.styles: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.fetched += [given[name] or "" for name in FETCHED if name in given]
        hrefs = (given.get("href"), given.get("xlink:href"))
        found = self.links if tag in ("a", "area") else self.fetched
        found += [href for href in hrefs if href]
        self.styles.append(given.get("style") or "")
        if tag == "img":
            self.pictures.append(given)

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.styles.append(data)


def fetched_by(css: str) -> list[str]:
    """The addresses of a style sheet: fonts, images and other sheets."""
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", css)
    return [address or sheet for address, sheet in found]


def test_what_a_page_fetches_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<link href='//a/x.css'><script src=https://b/x.js></script><a href=//no>x</a>"
        "<style>@import '//c/x.css'; p { background: url( \"//d/x.png\" ) }</style>"
        "<p style='background: url(//e/x.png)'><img src=f.png srcset='//g/x.png 2x'>"
    )
    found = Page(page)
    assert found.fetched == ["//a/x.css", "https://b/x.js", "f.png", "//g/x.png 2x"]
    assert found.links == ["//no"]
    assert [a for style in found.styles for a in fetched_by(style)] == [
        *("//c/x.css", "//d/x.png", "//e/x.png")
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a network: once for all tests."""
    folder, hook = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("hook")
    arguments = [str(SITE / "build.py"), str(folder)]
    done = offline.python(arguments, hook, namespace=offline.namespaces())
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return folder / "html"


def pages_of(site: Path) -> list[Path]:
    """Every page of the site, those that the program wrote among them."""
    pages = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    assert len(pages) > 30
    return sorted(pages)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pages_load_nothing_from_outside(site: Path) -> None:
    for path in pages_of(site):
        page = Page(path)
        addresses = page.fetched + [a for css in page.styles for a in fetched_by(css)]
        assert not [a for a in addresses if OUTSIDE.match(a)], path.name
    sheets = list(site.rglob("*.css"))
    assert len(sheets) > 3
    for path in sheets:
        addresses = fetched_by(path.read_text("utf-8"))
        assert not [a for a in addresses if OUTSIDE.match(a)], path.name


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_picture_says_what_it_shows(site: Path) -> None:
    for path in pages_of(site):
        for picture in Page(path).pictures:
            alt = picture.get("alt") or ""
            assert len(alt.split()) >= 3, f"{path.name}: {picture.get('src')}: {alt!r}"
            assert not re.search(r"_images|\.png", alt), f"{path.name}: {alt}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_link_leads_to_a_page_of_the_site(site: Path) -> None:
    for path in pages_of(site):
        for link in Page(path).links:
            target = link.partition("#")[0]
            if target and not re.match(r"https?:", target):
                assert (path.parent / target).is_file(), f"{path.name}: {link}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_page_tells_where_it_was_built(site: Path) -> None:
    for path in pages_of(site):
        text = path.read_text("utf-8")
        for folder in (ROOT, site.parent):
            assert f"{folder}/" not in text, f"{path.name}: {folder}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_lessons_have_their_outputs(site: Path) -> None:
    for lesson in ROOT.glob("lessons/l*/lesson.py"):
        text = (site / f"{lesson.parent.name}.html").read_text("utf-8")
        assert "<img" in text, f"{lesson} shows no figure"
        assert "<math" in text or lesson.parent.name > "l13", f"{lesson} has no formula"
        assert not re.search(r"&lt;\S+ at 0x", text), f"{lesson} prints an object"
        for page in re.findall(r'kit\.page\(.*"(\w+)"\)', lesson.read_text("utf-8")):
            assert f'href="{page}.html"' in text, f"{lesson} hides its page"


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


@pytest.fixture
def window(chromium: Any) -> Iterator[Any]:
    """A window without a network; at the end nothing was asked for or went wrong."""
    page = chromium.new_context(offline=True).new_page()
    errors: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(request.url))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    assert errors == []
    assert [
        url for url in asked if not url.startswith(("file:", "data:", "blob:"))
    ] == []


@pytest.mark.slow
@pytest.mark.needs("browser")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("width", [375, 1280])
def test_every_page_opens_from_a_file(site: Path, window: Any, width: int) -> None:
    window.set_viewport_size({"width": width, "height": 800})
    for path in pages_of(site):
        window.goto(path.as_uri())
        wide = window.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path.name} is {wide} px too wide"


@pytest.mark.slow
@pytest.mark.needs("browser")
@pytest.mark.timeout(1800)
def test_the_search_works_from_a_file(site: Path, window: Any) -> None:
    window.goto((site / "search.html").as_uri() + "?q=reparameterisation")
    window.wait_for_selector("ul.search li a", timeout=20_000)
    found = window.locator("ul.search li a").first
    assert "Sampling with a gradient" in found.inner_text()
    found.click()
    assert "Sampling with a gradient" in window.locator("article h1").inner_text()
