"""The report: everything there, nothing fetched, readable by eye, phone and ear."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Opened, chromium, runs_only_its_own

import minivae as mv
from minivae.data import Dataset, load
from minivae.evaluate.embed import plane
from minivae.evaluate.pictures import as_sheet
from minivae.page import drawing, kit, report
from minivae.train import Run

MODELS: dict[str, type[Any]] = {"ae": mv.AE, "vae": mv.VAE, "betavae": mv.BetaVAE}
SECTIONS = [
    *(
        "Explorer",
        "Training",
        "Reconstructions",
        "Samples",
        "Latents",
        "Ledger",
        "Configuration",
    )
]
VOID = {"meta", "img", "input", "path", "circle"}
LIMIT = 800_000  # bytes of a page


class Page(HTMLParser):
    """The tags of a page with their attributes, its headings and all of its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.inside.pop() == tag, f"{tag} is closed out of turn"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.inside[-1:] == ["h2"]:
            self.headings.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def trained(model: str, data: Dataset, latent: int = 3, epochs: int = 2) -> Run:
    built = MODELS[model](data.shape, latent, (16,))
    return mv.fit(built, data, epochs=epochs, batch=256, quiet=True)


def written(run: Run, data: Dataset) -> str:
    return report.report(run, data, mv.evaluate.ledger(run.model, data, draws=1))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def runs(digits: Dataset) -> dict[str, Run]:
    return {name: trained(name, digits) for name in MODELS}


@pytest.fixture(scope="module")
def pages(runs: dict[str, Run], digits: Dataset) -> dict[str, str]:
    return {name: written(run, digits) for name, run in runs.items()}


each_model = pytest.mark.parametrize("model", MODELS)


# What is on it


@each_model
def test_every_section_is_there(model: str, pages: dict[str, str]) -> None:
    page = Page(pages[model])
    assert page.headings == SECTIONS
    assert page.inside == []
    assert not re.search(r"\b(nan|inf|None)\b", page.text)


def test_a_page_says_who_made_it_and_what_it_promises(pages: dict[str, str]) -> None:
    found = re.search("<footer>(.*?)</footer>", pages["vae"])
    assert found
    assert found[1].startswith(f"Made by minivae {version('minivae')}. ")
    assert "it fetches nothing" in found[1]


@each_model
def test_a_page_fetches_nothing_and_runs_only_its_own(
    model: str, pages: dict[str, str]
) -> None:
    runs_only_its_own(pages[model])
    page = Page(pages[model])
    addresses = [a[k] for _, a in page.tags for k in ("src", "href") if k in a]
    assert addresses
    assert all(address and address.startswith("data:image/") for address in addresses)


@each_model
def test_every_figure_says_in_words_what_it_shows(
    model: str, pages: dict[str, str]
) -> None:
    page = Page(pages[model])
    assert len(page.all("figure")) == len(page.all("figcaption")) == 7
    images, drawings = page.all("img"), page.all("svg")
    assert images
    assert all(len(a.get("alt") or "") > 10 for a in images)
    assert len([a for a in drawings if a.get("role") == "img"]) == (
        2 if model == "ae" else 4
    )
    for a in drawings:
        hidden = a.get("aria-hidden") == "true"
        assert hidden or len(a.get("aria-label") or "") > 30


@each_model
def test_every_table_has_a_caption_and_scopes(
    model: str, pages: dict[str, str]
) -> None:
    page = Page(pages[model])
    assert (
        len(page.all("table"))
        == len(page.all("caption"))
        == (7 if model == "ae" else 8)
    )
    assert {a.get("scope") for a in page.all("th")} == {"row", "col"}


def test_the_best_epoch_is_the_one_marked(
    runs: dict[str, Run], digits: Dataset
) -> None:
    objectives = [50.0, 40.0, 45.0]
    lines = [
        {"epoch": i + 1, "train": terms, "validation": terms}
        for i, value in enumerate(objectives)
        for terms in [{"objective": value, "recon": value - 5, "kl": 5.0}]
    ]
    text = written(dataclasses.replace(runs["vae"], metrics=lines), digits)
    assert text.count("best: epoch 2<") == 3
    assert "at the best epoch, 2, 40.00." in text


def test_a_page_shows_every_metric_as_a_number_too(pages: dict[str, str]) -> None:
    for head in ("train objective", "validation objective", "train kl"):
        assert f'<th scope="col">{head}</th>' in pages["vae"]


HOSTILE = "<script>alert('&')</script><b onclick=x>"


@each_model
def test_names_with_html_in_them_are_text(
    model: str, runs: dict[str, Run], digits: Dataset
) -> None:
    classes = tuple(f"{HOSTILE}{i}" for i in range(10))
    hostile = dataclasses.replace(digits, name=HOSTILE, classes=classes)
    run = runs[model]
    config = run.config | {"data": run.config["data"] | {"name": HOSTILE}}
    page = Page(written(dataclasses.replace(run, config=config), hostile))
    assert page.text.count(HOSTILE) >= 3 + len(classes)
    assert len(page.all("script")) == 2
    assert not page.all("b")
    assert not [name for _, a in page.tags for name in a if name.startswith("on")]


@pytest.mark.parametrize(
    ("images", "classes", "latent"),
    [
        (np.zeros((20, 1, 784)), 1, 3),
        (np.random.default_rng(0).random((60, 3, 4, 4)), 25, 1),
        (np.random.default_rng(0).random((60, 5, 4, 6)), 2, 40),
    ],
    ids=["one constant row", "colour, many classes", "channels, many latents"],
)
@pytest.mark.parametrize("model", ["ae", "vae"])
def test_unusual_data_get_a_page_too(
    model: str, images: Any, classes: int, latent: int, tmp_path: Path
) -> None:
    labels = np.arange(len(images)) % classes
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    data = load(str(tmp_path / "own.npz"))
    built = MODELS[model](data.shape, latent, (4,))
    run = mv.fit(built, data, epochs=1, batch=8, quiet=True)
    page = Page(written(run, data))
    assert page.headings == SECTIONS
    assert not re.search(r"\b(nan|inf)\b", page.text)


def test_a_report_of_real_images_stays_small() -> None:
    data = load("fashion10k")
    built = mv.VAE(data.shape, 10, (16,), likelihood="soft_bce")
    run = mv.fit(built, data, epochs=1, batch=2000, quiet=True)
    text = written(run, data)
    assert len(text.encode()) < LIMIT
    assert ">Ankle boot</text>" in text


# The map of the latents


def test_of_many_latents_those_with_the_largest_kl_are_drawn() -> None:
    codes = np.random.default_rng(0).random((9, 4)).astype(np.float32)
    points, axes, which = plane(codes, [0.1, 3.0, 0.2, 2.0])
    np.testing.assert_array_equal(points, codes[:, [1, 3]])
    assert axes == ("latent 1 (KL 3.00 nats)", "latent 3 (KL 2.00 nats)")
    assert "the two with the largest KL" in which


def test_two_latents_are_drawn_as_they_are() -> None:
    codes = np.random.default_rng(0).random((9, 2)).astype(np.float32)
    np.testing.assert_array_equal(plane(codes, [])[0], codes)
    np.testing.assert_array_equal(plane(codes, [0.1, 3.0])[0], codes)


def test_without_a_kl_the_principal_components_are_drawn() -> None:
    codes = np.random.default_rng(0).normal(size=(50, 4)) * (0.1, 5, 0.1, 2)
    points, axes, which = plane(codes, [])
    centred = codes - codes.mean(axis=0)
    variances = np.linalg.eigvalsh(centred.T @ centred / 49)[::-1]
    np.testing.assert_allclose(points.var(axis=0, ddof=1), variances[:2])
    assert f"({100 * variances[0] / variances.sum():.0f} % of variance)" in axes[0]
    assert "principal components" in which


def test_codes_that_are_all_one_have_no_components() -> None:
    points, axes, which = plane(np.full((9, 4), 3.0))
    assert points.shape == (9, 2)
    assert axes == ("latent 0", "latent 1")
    assert "the first two of 4" in which


def test_the_components_may_be_of_other_codes() -> None:
    rng = np.random.default_rng(0)
    others, codes = rng.normal(size=(2, 50, 4)) * (0.1, 5, 0.1, 2)
    points, axes, _ = plane(codes, others=others)
    centred = others - others.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    exact = np.abs((codes - others.mean(axis=0)) @ vectors[:, [3, 2]])
    np.testing.assert_allclose(np.abs(points), exact, atol=1e-12)
    assert f"({100 * values[3] / values.sum():.0f} % of variance)" in axes[0]


# Drawings


def test_ticks_are_round_and_within() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        low = float(rng.normal() * 10 ** rng.uniform(-3, 5))
        high = low + float(10 ** rng.uniform(-3, 5))
        ticks = drawing.nice_ticks(low, high)
        slack = 1e-6 * (high - low)
        assert 3 <= len(ticks) <= 8
        assert low - slack <= ticks[0]
        assert ticks[-1] <= high + slack
        assert len(set(drawing.as_text(ticks))) == len(ticks)
    assert drawing.as_text([-0.5, 0.0, 0.5]) == ["−0.5", "0.0", "0.5"]
    assert drawing.nice_ticks(1, 3, whole=True) == [1, 2, 3]


def test_labels_keep_their_distance_and_their_order() -> None:
    moved = drawing.spread([10.0, 8.0, 40.0, 9.0], 15)
    assert sorted(range(4), key=moved.__getitem__) == [1, 3, 0, 2]
    assert min(np.diff(sorted(moved))) >= 15 - 1e-9
    assert drawing.spread([10.0, 50.0], 15) == [10.0, 50.0]


def test_classes_differ_by_marker_and_not_by_colour_alone() -> None:
    assert len(set(drawing.MARKERS)) == drawing.HUES
    points = np.random.default_rng(0).normal(size=(40, 2))
    names = [f"class {i}" for i in range(20)]
    text = drawing.scatter(
        points, np.arange(40) % 20, names, x_name="", y_name="", text="", prior=True
    )
    looks = re.findall(r'class="points (k\d)" d="M[-\d.]+ [-\d.]+(.*?)(?=M|")', text)
    assert len(looks) == len(set(looks)) == 20


def test_a_sheet_shows_the_images_between_transparent_lines() -> None:
    from matplotlib.image import imread

    for C in (1, 3):
        images = np.random.default_rng(0).random((5, C, 4, 6)).astype(np.float32)
        png, size = as_sheet(images, 3)
        assert size == (3 * 7 + 1, 2 * 5 + 1)
        pixels = imread(io.BytesIO(png))
        if C == 1:
            pixels = np.stack([pixels[..., 0], pixels[..., -1]], axis=-1)
        assert pixels.shape[:2] == size[::-1]
        assert pixels[0, :, -1].max() == 0
        seen = pixels[6:10, 8:14]  # the fifth image
        assert seen[..., -1].min() == 1
        assert abs(seen[..., :C] - images[4].transpose(1, 2, 0)).max() <= 0.5 / 255


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, by WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
    ]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_on_the_paper(theme: str) -> None:
    colours: dict[str, str] = {}
    for name in kit.STYLES:
        light, _, dark = (
            (kit.FOLDER / name).read_text().partition("@media (prefers-color-scheme")
        )
        part = light if theme == "light" else dark
        found = re.findall(r"--(\w+): (#[0-9a-f]{6});", part)
        colours = dict(found) | colours if name != kit.STYLES[0] else dict(found)
    assert colours.keys() >= {"paper", "ink", *(f"k{i}" for i in range(10))}
    for name in ("ink", "soft", "accent", "second"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for i in range(10):
        assert contrast(colours[f"k{i}"], colours["paper"]) >= 3, i


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


class Seen(Opened):
    """A report with all its details open, and how it looks."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str) -> None:
        super().__init__(browser, path, width=width, height=800, scheme=scheme)
        page = self.page
        page.evaluate(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        self.out_of_reach = page.evaluate(
            "[...document.querySelectorAll('.scroll:not([tabindex])')]"
            ".filter(e => e.scrollWidth > e.clientWidth).length"
        )
        self.broken = page.evaluate(
            "[...document.images].filter(i => !i.alt || !i.naturalWidth).length"
        )
        self.colours = page.evaluate(
            "['body', '.line.train', '.points.k0', '.scatter text'].map(s => {"
            " const e = document.querySelector(s), c = getComputedStyle(e);"
            " return [c.backgroundColor, c.color, c.stroke, c.fill].join() })"
        )
        self.picture = page.screenshot(full_page=True)


@pytest.mark.needs("browser")
@each_model
def test_a_browser_shows_it_at_any_width_in_light_and_dark(
    model: str, pages: dict[str, str], browser: Any, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(pages[model], encoding="utf-8")
    colours, pictures = [], set()
    for width in (320, 1280):
        for scheme in ("light", "dark"):
            with Seen(browser, path, width, scheme) as seen:
                seen.quiet()
                assert seen.overflow() <= 0
                assert seen.out_of_reach == 0
                assert seen.broken == 0
                colours.append(seen.colours)
                pictures.add(seen.picture)
    assert colours[0] == colours[2]
    assert colours[1] == colours[3]
    assert all(a != b for a, b in zip(colours[0], colours[1], strict=True))
    assert len(pictures) == 4
