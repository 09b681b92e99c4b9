"""The (q, θ) plane of expectation maximisation: how each method climbs the ELBO.

Across: the gap KL(q ‖ posterior), which only q closes and only θ opens. Upward: log p,
which q does not move. ELBO = log p − gap is constant along the slanted lines and rises
towards the upper left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from minivae import em
from minivae.backend import Array
from minivae.models import Autoencoder, build
from minivae.page import kit
from minivae.page.drawing import _Box, _svg, nice_ticks

WIDTH, HEIGHT = 560, 420
LATENT, IMAGES = 2, 400

Path = Sequence[em.Place]


def walks(x: Array) -> dict[str, Path]:
    """Return the four paths from one start, on images (N, C, H, W) of mean 0."""
    start = em.PPCA.start(x, LATENT)

    def fresh() -> Autoencoder:
        """A linear VAE at the start of exact EM: its θ, and q = p."""
        model = build(
            "vae", shape=x.shape[1:], latent=LATENT, hidden=(), likelihood="gaussian"
        ).to(dtype=np.float64)
        state = {name: np.zeros_like(value) for name, value in model.state().items()}
        state["decoder.0.weight"] = start.W
        state["recon_logvar"] = np.array(np.log(start.s2))
        model.load_state(state)
        return model

    model = fresh()
    own = em.per_example(model, x, 60, 0.1)
    return {
        "exact EM": list(em.exact_em(x, LATENT, 40)),
        "generalised EM": list(em.climb(fresh(), x, 240, em=True)),
        "amortised VAE": list(em.climb(fresh(), x, 240, em=False)),
        "per-example VI": [em.place(model, x, q) for q in own],
    }


def page(x: Array, gap: em.Gap, told: str) -> str:
    """Return the page: the plane, where each method ends, and a gap in two parts."""
    paths = walks(x)
    ends = [
        (name, _nats(p[-1].log_p), _nats(p[-1].gap), _nats(p[-1].elbo))
        for name, p in paths.items()
    ]
    elbo = gap.log_p - gap.approximation - gap.amortisation
    rows = [
        ("log p(x)", _nats(gap.log_p)),
        ("approximation: what the best q lacks", _nats(gap.approximation)),
        ("amortisation: what the encoder lacks", _nats(gap.amortisation)),
        ("ELBO", _nats(elbo)),
    ]
    caption = (
        f"Four methods from one start, on {len(x)} digits and {LATENT} latents. Exact "
        "EM goes left in E-steps and up in M-steps. Generalised EM does so by small "
        "steps. A VAE moves both at once. Per-example inference moves q alone, level "
        "with where it began."
    )
    body = [
        kit.paragraph("minivae: expectation maximisation", "eyebrow"),
        "<h1>EM and the VAE in one plane</h1>",
        kit.paragraph(
            "ELBO(q, θ) = log p(x; θ) − KL(q ‖ posterior). All numbers are exact, in "
            "nats per image.",
            "lead",
        ),
        kit.section("The plane", kit.figure(plane(paths) + _legend(paths), caption)),
        kit.section(
            "Where they end",
            kit.table(
                "After the last step",
                ("method", "log p", "gap", "ELBO"),
                ends,
                "figures",
            ),
        ),
        kit.section(
            "A gap in two parts",
            kit.paragraph(told),
            kit.table("Means over images", ("part", "nats"), rows, "figures"),
        ),
        kit.footer(kit.QUIET),
    ]
    return kit.page("EM and the VAE", "\n".join(body))


def _nats(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def plane(paths: Mapping[str, Path]) -> str:
    """Draw paths of places in the plane, with lines of equal ELBO."""
    places = [place for path in paths.values() for place in path]
    most = 1.05 * max(place.gap for place in places)
    low, high = (f(p.log_p for p in places) for f in (min, max))
    margin = 0.06 * (high - low)
    y_range = (low - margin, high + margin)
    box = _Box(62, 16, WIDTH - 16, HEIGHT - 46, (-0.02 * most, most), y_range)
    parts = box.axes("gap: KL(q ‖ posterior), nats", "log p, nats")
    for elbo in nice_ticks(y_range[0] - most, y_range[1]):
        line = _contour(box, elbo)
        if line is not None:
            parts.append(f'<path class="best" d="{line}"/>')
    for hue, path in enumerate(paths.values()):
        points = "L".join(f"{box.x(p.gap):.1f} {box.y(p.log_p):.1f}" for p in path)
        style = f"stroke:var(--k{hue})"
        parts.append(f'<path class="line" style="{style}" d="M{points}"/>')
        end = f'cx="{box.x(path[-1].gap):.1f}" cy="{box.y(path[-1].log_p):.1f}"'
        parts.append(f'<circle style="fill:var(--k{hue})" {end} r="4"/>')
    first = places[0]
    begin = f'cx="{box.x(first.gap):.1f}" cy="{box.y(first.log_p):.1f}"'
    parts.append(f'<circle class="axis" {begin} r="6"/>')
    told = "; ".join(
        f"{name} from ELBO {path[0].elbo:.1f} to {path[-1].elbo:.1f}"
        for name, path in paths.items()
    )
    return _svg(WIDTH, HEIGHT, parts, f"Gap against log p: {told}", "scatter")


def _contour(box: _Box, elbo: float) -> str | None:
    """The part of log p = ELBO + gap that lies in the box."""
    left, right = box.x_range
    bottom, top = box.y_range
    start, stop = max(left, bottom - elbo), min(right, top - elbo)
    if start >= stop:
        return None
    ends = ((box.x(g), box.y(elbo + g)) for g in (start, stop))
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in ends)


def _legend(paths: Mapping[str, Path]) -> str:
    items = "".join(
        '<li><svg viewBox="-6 -6 12 12" width="14" height="14" aria-hidden="true">'
        f'<circle r="5" style="fill:var(--k{hue})"/></svg>{escape(name)}</li>'
        for hue, name in enumerate(paths)
    )
    return f'<ul class="legend">{items}<li>dotted: equal ELBO</li></ul>'
