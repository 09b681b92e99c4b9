"""The page of a sweep of beta: rate and distortion, scores, latents against factors."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from minivae.backend import Array
from minivae.beta import HIDDEN, LATENT, SETS, SIGMA2, Sweep
from minivae.data import Sprites, load
from minivae.data.sprites import SMALL
from minivae.evaluate import pictures
from minivae.models import Autoencoder
from minivae.page import kit
from minivae.page.beta_charts import Series, chart
from minivae.page.beta_words import (
    SCORES,
    beaten,
    best_beta,
    findings,
    gaps,
    lowest_beta,
    mean_sd,
    score_of,
    told,
)

SHOWN = 5  # latents in a traversal
VALUES = np.linspace(-2, 2, 9, dtype=np.float32)
HUES = {"mlp": 0, "linear": 1}
NAMED = {"sprites16": "sprites, 16x16", "digits": "digits, 8x8"}


def page(sweep: Sweep) -> str:
    """Return the HTML page of a sweep."""
    lead = (
        f"A beta-VAE minimises recon + β KL. Here β goes from {sweep.betas[0]:g} to "
        f"{sweep.betas[-1]:g}, with {sweep.seeds} seeds each, on sprites whose factors "
        "are known and on digits. What falls, what rises, and what comes apart?"
    )
    body = [
        kit.paragraph("minivae: a sweep of beta", "eyebrow"),
        "<h1>β on one page</h1>",
        kit.paragraph(lead, "lead"),
        kit.section("What these runs show", _list(findings(sweep))),
        kit.section("Rate and distortion", *_rate_distortion(sweep)),
        kit.section("Scores of disentanglement", *_scores(sweep)),
        kit.section("Latents against factors", *_matrices(sweep)),
        kit.section("Traversals", *_traversals(sweep)),
        kit.section("How it was made", *_method(sweep)),
        kit.footer(kit.QUIET),
    ]
    styles = (*kit.STYLES, "beta.css")
    return kit.page("β on one page", "\n".join(body), styles)


def _list(sentences: Sequence[str]) -> str:
    kept = (escape(text).replace(" ± ", "&nbsp;±&nbsp;") for text in sentences)
    items = "".join(f"<li>{text}</li>" for text in kept)
    return f'<ul class="findings">{items}</ul>'


def plus_minus(values: Sequence[float], decimals: int = 2) -> str:
    """Return mean ± standard deviation of values, as text."""
    mean, sd = mean_sd(values)
    return f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


# Rate and distortion


def _rate_distortion(sweep: Sweep) -> list[str]:
    charts = [_plane(sweep, name) for name in SETS]
    caption = (
        "Each point is a β, its bars one standard deviation over seeds (often "
        "smaller than the mark). The line is the rate-distortion curve of Gaussian "
        f"images with the same covariance and {LATENT} components: linear models must "
        "end on it, where its slope is −1 / 2βσ². Real images are not Gaussian, and a "
        "model with a hidden layer may lie below it. Of training images."
    )
    rows = []
    for name in SETS:
        for beta in sweep.betas:
            mlp, linear = (sweep.of(name, kind, beta) for kind in ("mlp", "linear"))
            distortion, rate = sweep.curves[name].at(beta * SIGMA2)
            tests = [p.test for p in mlp if p.test]
            rows.append(
                (
                    f"{NAMED[name]}, β {beta:g}",
                    plus_minus([p.rate for p in mlp]),
                    plus_minus([p.distortion for p in mlp]),
                    plus_minus([t[0] for t in tests]),
                    plus_minus([t[1] for t in tests]),
                    f"{linear[0].rate:.2f}",
                    f"{rate:.2f}",
                    f"{linear[0].distortion:.2f}",
                    f"{distortion:.2f}",
                )
            )
    head = (
        *("", "KL, mlp", "distortion, mlp", "KL, test", "distortion, test"),
        *("KL, linear", "KL, curve", "distortion, linear", "distortion, curve"),
    )
    numbers = kit.table("Mean ± standard deviation over seeds", head, rows, "figures")
    return [
        kit.figure(kit.group("charts", *charts), caption),
        kit.details("The same as numbers", numbers),
    ]


def _plane(sweep: Sweep, name: str) -> str:
    curve = sweep.curves[name].points()
    series = [Series("Gaussian curve", None, curve)]
    for kind in ("linear", "mlp"):
        places, spreads, labels = [], [], []
        for beta in sweep.betas:
            found = sweep.of(name, kind, beta)
            (x, dx), (y, dy) = (
                mean_sd([getattr(p, term) for p in found])
                for term in ("distortion", "rate")
            )
            places.append((x, y))
            spreads.append((dx, dy))
            labels.append(f"{beta:g}" if kind == "mlp" else "")
        series.append(Series(kind, HUES[kind], places, spreads, labels))
    ends = ", ".join(
        f"beta {beta:g} at distortion {x:.2f} and rate {y:.2f}"
        for beta, (x, y) in zip(sweep.betas, series[-1].places, strict=True)
    )
    text = f"Rate against distortion on {NAMED[name]}: mlp with {ends}"
    return chart(
        series,
        title=NAMED[name],
        x_name="distortion, squared error per image",
        y_name="rate: KL, nats",
        text=text,
    )


# Scores


def _scores(sweep: Sweep) -> list[str]:
    panels = (
        ("Votes: chance is 0.2", ("higgins", "factor_vae")),
        ("Gaps and importances: chance is 0", ("mig", "sap", "dci")),
    )
    charts = []
    for title, names in panels:
        series = []
        for name in names:
            found = [score_of(sweep, name, beta) for beta in sweep.betas]
            both = [mean_sd(values) for values in found]
            places = [(float(i), mean) for i, (mean, _) in enumerate(both)]
            spreads = [(0.0, sd) for _, sd in both]
            hue = list(SCORES).index(name)
            series.append(Series(SCORES[name], hue, places, spreads, joined=True))
        ends = "; ".join(
            f"{s.name} from {s.places[0][1]:.2f} to {s.places[-1][1]:.2f}"
            for s in series
        )
        charts.append(
            chart(
                series,
                title=title,
                x_name="β",
                y_name="",
                x_ticks=[(float(i), f"{b:g}") for i, b in enumerate(sweep.betas)],
                text=f"{title}, over beta: {ends}",
            )
        )
    caption = (
        "Scores of the mean codes of test images, active latents alone; bars are one "
        "standard deviation over seeds. They are of this set: not to be compared with "
        "published scores of dSprites."
    )
    head = ("score", *(f"β {beta:g}" for beta in sweep.betas))
    rows = [
        (
            SCORES[name],
            *(plus_minus(score_of(sweep, name, beta), 3) for beta in sweep.betas),
        )
        for name in SCORES
    ]
    rows.append(
        (
            "turns beaten",
            *(f"{100 * beaten(sweep, beta):.0f} %" for beta in sweep.betas),
        )
    )
    rows.append(
        (
            "active latents",
            *(
                plus_minus(
                    [
                        len(p.scores["latents"]) if p.scores else 0
                        for p in sweep.of("sprites16", "mlp", beta)
                    ],
                    1,
                )
                for beta in sweep.betas
            ),
        )
    )
    by_factor = gaps(sweep)
    gap_rows = [
        (factor, *(plus_minus(values) for values in row))
        for factor, row in by_factor.items()
    ]
    gap_words = (
        "The MIG is a mean over factors. Factor by factor, how far the best latent is "
        "ahead of the second, in shares of the factor's entropy:"
    )
    return [
        kit.figure(kit.group("charts", *charts), caption),
        kit.table("Mean ± standard deviation over seeds", head, rows, "figures"),
        kit.paragraph(gap_words),
        kit.table("MIG by factor", ("factor", *head[1:]), gap_rows, "figures"),
    ]


# Latents against factors


def _matrices(sweep: Sweep) -> list[str]:
    low, best = lowest_beta(sweep), best_beta(sweep)
    shown = [(low, 0), *((best, seed) for seed in range(sweep.seeds) if best != low)]
    tables = []
    for beta, seed in shown:
        point = sweep.of("sprites16", "mlp", beta)[seed]
        assert point.scores is not None
        tables.append(
            _matrix(
                f"β {beta:g}, seed {seed}",
                list(point.scores["factors"]),
                point.scores["latents"],
                told(point),
                point.kl_per_latent,
            )
        )
    caption = (
        "Mutual information of each active latent (down, by its KL in nats) with each "
        "factor (across), in per cent of the factor's entropy. One dark cell in a row "
        f"and in a column is a factor that has a latent of its own. On the left β "
        f"{low:g}; then the β with the largest MIG, seed by seed."
    )
    digits = [
        (
            f"β {beta:g}",
            plus_minus(
                [float(told(p).max(initial=0)) for p in sweep.of("digits", "mlp", beta)]
            ),
        )
        for beta in sweep.betas
    ]
    single = (
        "Digits have no factors, but a class. The best single latent tells of its "
        "entropy these shares:"
    )
    return [
        kit.figure(kit.group("matrices", *tables), caption),
        kit.paragraph(single),
        kit.table("Digits", ("", "share"), digits, "figures"),
    ]


def _matrix(
    title: str,
    factors: Sequence[str],
    latents: Sequence[int],
    shares: Array,
    kl: Sequence[float],
) -> str:
    heads = "".join(f'<th scope="col">{escape(f)}</th>' for f in factors)
    order = sorted(range(len(latents)), key=lambda i: -kl[latents[i]])
    rows = "".join(
        f'<tr><th scope="row">{latents[i]} <small>{kl[latents[i]]:.2f}</small></th>'
        + "".join(_cell(float(v)) for v in shares[i])
        + "</tr>"
        for i in order
    )
    return (
        f'<table class="matrix"><caption>{escape(title)}</caption><thead><tr>'
        f'<th scope="col">latent</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _cell(share: float) -> str:
    level = round(100 * min(1.0, max(0.0, share)))
    name = ' class="deep"' if level > 55 else ""
    return f'<td{name} style="--share:{level}%">{level}</td>'


# Pictures


def _traversals(sweep: Sweep) -> list[str]:
    sprite = Sprites(16, SMALL).at(shape=2, scale=3, orientation=0)
    starts = {"sprites16": sprite, "digits": load("digits").test.images[0]}
    groups = []
    for name in SETS:
        parts = []
        for beta in dict.fromkeys((lowest_beta(sweep), _telling(sweep, name))):
            model = sweep.kept[name, beta]
            kl = sweep.of(name, "mlp", beta)[0].kl_per_latent
            strips = _strips(model, starts[name], kl)
            caption = f"{NAMED[name]}, β {beta:g}, seed 0"
            parts.append(kit.figure(strips, caption))
        groups.append(kit.group("columns", *parts))
    words = (
        "The code of one image with one latent moved from −2 to 2, the "
        f"{SHOWN} latents with the largest KL. A row shows what a latent changes here; "
        "whether it changes one thing everywhere, the matrices above tell, which are "
        "of all test images."
    )
    return [kit.paragraph(words), *groups]


def _telling(sweep: Sweep, name: str) -> float:
    """The beta of the largest MIG; without factors, the largest that leaves a nat."""
    if name == "sprites16":
        return best_beta(sweep)
    kept = [b for b in sweep.betas if sweep.of(name, "mlp", b)[0].rate >= 1]
    return max(kept, default=lowest_beta(sweep))


def _strips(model: Autoencoder, image: Array, kl: Sequence[float]) -> str:
    parts = []
    for latent in pictures.liveliest(kl, SHOWN):
        images = model.traverse(image, latent, VALUES)
        png, size = pictures.as_sheet(images, len(VALUES))
        parts.append(f"<p>latent {latent}<small>KL {kl[latent]:.2f}</small></p>")
        text = f"Decoded images: latent {latent} moved from −2 to 2"
        parts.append(kit.image(png, text, size, max(1, 320 // size[0])))
    return kit.group("strips", *parts)


def _method(sweep: Sweep) -> list[str]:
    sides = " – ".join(map(str, HIDDEN))
    return [
        kit.paragraph(
            f"mlp: an encoder with a hidden layer of {sides} units and its mirror "
            f"image, {LATENT} latents, a Gaussian decoder with σ² = {SIGMA2:g} held "
            f"fixed (βσ² is what counts: a learned σ would move with β). About "
            f"{sweep.steps:,} steps of Adam on the sprites and half as many on the "
            "digits; seeds 0, 1, ... decide weights, noise and order. The weights kept "
            "are those best on validation images."
        ),
        kit.paragraph(
            "linear: the same without hidden layers, trained on Gaussian images with "
            "the covariance of the real ones, which is all that its objective sees; "
            "its rate and distortion are exact."
        ),
        kit.paragraph(
            "The sprites are the 12,000 of sprites16: five factors drawn on a canvas "
            "of 64 units, seen in 16x16 pixels, where a shape is 3 to 7 pixels wide. "
            "Orientations run over each shape's own period. The same command with the "
            "same seeds makes this page again: minivae beta."
        ),
    ]
