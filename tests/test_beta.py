"""The sweep of beta: on the curve where that is known, and words that stay true."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from command import done, refused
from tolerances import FLOAT64

from minivae import beta, models
from minivae.beta import Curve, Point, Sweep
from minivae.data import load
from minivae.errors import UserError
from minivae.page.beta import page
from minivae.page.beta_words import best_beta, findings, gaps, score_of
from minivae.verify.exact import Spectrum

FACTORS = {"shape": 3, "scale": 4, "orientation": 10, "x": 10, "y": 10}


@pytest.fixture(scope="module")
def digits() -> Spectrum:
    return beta.spectrum_of(load("digits"))


# What is measured


def test_gaussian_images_have_the_mean_and_covariance_of_the_real(
    digits: Spectrum,
) -> None:
    x = beta.gaussian_images(digits)
    S = (digits.U * digits.l) @ digits.U.T
    assert np.abs(x.mean(axis=0)).max() <= FLOAT64
    assert np.abs(x.T @ x / len(x) - S).max() <= FLOAT64


@pytest.mark.parametrize("level", [0.01, 0.1, 0.3, 5.0])
def test_the_curve_is_reverse_water_filling(level: float, digits: Spectrum) -> None:
    curve = Curve("digits", digits.l[:8].tolist(), float(digits.l.sum()))
    rate, distortion = digits.rate_distortion(level, 8)
    np.testing.assert_allclose(curve.at(level), (distortion, rate), atol=FLOAT64)


def test_the_curve_ends_at_rate_0_and_falls(digits: Spectrum) -> None:
    points = Curve("digits", digits.l[:8].tolist(), float(digits.l.sum())).points(30)
    distortions, rates = np.array(points).T
    assert (np.diff(distortions) > 0).all()
    assert (np.diff(rates) < 0).all()
    assert abs(rates[-1]) <= FLOAT64
    assert abs(distortions[-1] - digits.l.sum()) <= FLOAT64


def test_distortion_is_the_squared_error_of_a_drawn_code() -> None:
    """A decoder of zeros: the distortion is the images' mean square, exactly."""
    data = load("digits")
    model = models.build(
        "betavae", shape=data.shape, latent=2, hidden=(8,), likelihood="gaussian",
        sigma=math.sqrt(beta.SIGMA2),
    )  # fmt: skip
    for name, p in model.named_parameters().items():
        if name.startswith("decoder"):
            p.assign(np.zeros_like(p.data))
    x = data.test.images
    _, distortion = beta.measured(model, x)
    assert abs(distortion - (x.astype(np.float64) ** 2).sum() / len(x)) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("level", [1.0, 4.0])
def test_a_linear_model_ends_on_the_curve(level: float, digits: Spectrum) -> None:
    found = beta.linear_point("digits", digits, load("digits"), level)
    rate, distortion = digits.rate_distortion(level * beta.SIGMA2, beta.LATENT)
    assert abs(found.rate / rate - 1) <= 0.01
    assert abs(found.distortion / distortion - 1) <= 0.01


def test_turning_a_code_takes_its_axes_away() -> None:
    sprites = load("sprites16").test
    assert sprites.factors is not None
    codes = sprites.factors - sprites.factors.mean(axis=0)
    codes = codes / codes.std(axis=0)
    turned = beta.turned_migs(codes, sprites.factors, 0)
    assert len({*turned}) == beta.TURNS
    assert max(turned) <= 0.5
    assert {*beta.turned_migs(codes[:, :0], sprites.factors, 0)} == {0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": 1}, "two seeds or more"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"betas": ()}, "positive numbers"),
        ({"betas": (1.0, -1.0)}, "positive numbers"),
        ({"betas": (math.nan,)}, "positive numbers"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(
    options: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        beta.run(**options)  # type: ignore[arg-type]


# What is said of it


def made_up(mig: dict[float, list[float]], x_gap: float = 0.6) -> Sweep:
    """A sweep with these MIGs by beta and seed, and x told by the first latent."""
    entropy = [math.log(n) for n in FACTORS.values()]
    told = np.zeros((2, 5))
    told[0, 3] = x_gap * entropy[3]
    sweep = Sweep(steps=10, seeds=2)
    for name in beta.SETS:
        sweep.curves[name] = Curve(name, [1.0, 0.5], 2.0)
        for level, values in mig.items():
            curve = sweep.curves[name].at(level * beta.SIGMA2)
            sweep.points.append(Point(name, "linear", level, 0, curve[1], curve[0]))
            for seed, value in enumerate(values):
                scores = {
                    **dict.fromkeys(("higgins", "factor_vae", "sap"), value),
                    **{"mig": value, "modularity": 1 - value},
                    "dci": {"disentanglement": value},
                    "factors": FACTORS,
                    "latents": [0, 1],
                    "mutual_information": told.tolist(),
                    "entropy": entropy,
                }
                point = Point(name, "mlp", level, seed, 2.0, curve[0] - 0.1, [1.5, 0.5])
                sweep.points.append(
                    replace(point, scores=scores, turned=[0.05, 0.11], test=(2.0, 1.0))
                )
    return sweep


def test_the_words_follow_the_numbers() -> None:
    sweep = made_up({1.0: [0.1, 0.12], 8.0: [0.3, 0.34]})
    text = " ".join(findings(sweep))
    assert best_beta(sweep) == 8
    assert "Of these betas, 8 has the largest MIG, 0.320 ± 0.028 over 2 seeds" in text
    assert "At β 1 it is 0.110 ± 0.014: more than the spread of seeds apart." in text
    assert "have more MIG than 75 %, 100 %, from the smallest β" in text
    assert "at β 8 they mean more than others would." in text
    assert "A latent stands out for x." in text
    assert "No latent does for shape, scale, orientation and y, at any β" in text
    assert "The scores do not choose the same β" in text
    assert "modularity β 1" in text
    assert "goes from 0.300 to 0.340 by seed alone" in text
    assert "no distortion is further from it than 0.0 %" in text


def test_what_does_not_help_is_not_said_to() -> None:
    worse = " ".join(findings(made_up({1.0: [0.3, 0.34], 8.0: [0.1, 0.12]})))
    assert "A stronger β does not help here." in worse
    unclear = " ".join(findings(made_up({1.0: [0.1, 0.3], 8.0: [0.15, 0.35]})))
    assert "within the spread of seeds apart" in unclear
    nothing = " ".join(findings(made_up({1.0: [0.1, 0.1]}, x_gap=0.05)))
    assert "stands out" not in nothing
    assert "No latent does for shape, scale, orientation, x and y" in nothing
    assert "at no β do they mean clearly more" in nothing


def test_a_linear_model_off_the_curve_is_told() -> None:
    sweep = made_up({1.0: [0.1, 0.2]})
    at = next(i for i, p in enumerate(sweep.points) if p.model == "linear")
    far = replace(sweep.points[at], distortion=1.05 * sweep.points[at].distortion)
    sweep.points[at] = far
    assert "further from it than 5.0 %" in " ".join(findings(sweep))


def test_gaps_are_the_parts_of_the_mig() -> None:
    found = gaps(made_up({1.0: [0.1, 0.2]}))
    assert found["x"] == [[pytest.approx(0.6), pytest.approx(0.6)]]
    assert found["shape"] == [[0, 0]]
    assert score_of(made_up({1.0: [0.1, 0.2]}), "dci", 1.0) == [0.1, 0.2]


# The page


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def with_models(sweep: Sweep) -> Sweep:
    """Give a made-up sweep untrained models to look at."""
    for name in beta.SETS:
        for level in sweep.betas:
            sweep.kept[name, level] = models.build(
                "betavae",
                shape=load(name).shape,
                latent=2,
                hidden=(8,),
                likelihood="gaussian",
                beta=level,
            )
    return sweep


def test_the_page_says_and_shows_it_and_fetches_nothing() -> None:
    sweep = with_models(made_up({1.0: [0.1, 0.12], 8.0: [0.3, 0.34]}))
    html = page(sweep)
    tags = Tags(html)
    for sentence in findings(sweep):
        assert escape(sentence) in html.replace("&nbsp;", " ")
    assert len(tags.all("svg")) == 4
    assert all(len(a.get("aria-label") or "") > 30 for a in tags.all("svg"))
    assert len([a for a in tags.all("table") if a.get("class") == "matrix"]) == 3
    assert tags.all("img")
    assert all(a.get("alt") for a in tags.all("img"))
    assert not re.search(r"\b(nan|inf|None)\b", html)
    assert not re.search(r"https?:|url\(|@import", html)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags.found}


def test_a_page_of_collapsed_models_can_be_made() -> None:
    sweep = with_models(made_up({1.0: [0.1, 0.12]}))
    for i, p in enumerate(sweep.points):
        if p.scores is not None:
            none = p.scores | {"latents": [], "mutual_information": []}
            sweep.points[i] = replace(p, scores=none, kl_per_latent=[0.0, 0.0])
    assert "No latent does for shape" in page(sweep)


def test_beta_writes_its_page_and_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beta, "LINEAR_STEPS", 2)
    out = tmp_path / "beta.html"
    small = ("--betas", 4, "--seeds", 2, "--steps", 2, "--threads", 1)
    printed = done("beta", "--out", out, *small)
    assert printed.endswith(f"{out}\n{tmp_path / 'beta.json'}\n")
    numbers = json.loads((tmp_path / "beta.json").read_text())
    points = [(p["data"], p["model"], p["seed"]) for p in numbers["points"]]
    each = [("linear", 0), ("mlp", 0), ("mlp", 1)]
    assert points == [(name, *one) for name in beta.SETS for one in each]
    assert numbers["sigma2"] == beta.SIGMA2
    assert "<h1>β on one page</h1>" in out.read_text(encoding="utf-8")


def test_beta_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    refused("path of an .html", "beta", "--out", tmp_path / "a.txt")
    refused("there is no folder", "beta", "--out", tmp_path / "none" / "a.html")
    refused("two seeds or more", "beta", "--out", tmp_path / "a.html", "--seeds", 1)
    assert list(tmp_path.iterdir()) == []
