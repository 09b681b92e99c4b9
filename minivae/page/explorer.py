"""The explorer: a run's decoder inside its report, moved by sliders and a pad.

Here its data and its HTML are made. decoder.js runs the layers, from weights rounded to
float16; explorer.js connects them with the controls. How far the rounded decoder is
from the model is measured and said, and the page checks its own decoder, where it is
opened, against what Python makes of the same rounded weights.

Without scripts a picture stands in its place: two latents moved over their ranges.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset
from minivae.evaluate import pictures
from minivae.models import Autoencoder, BernoulliVAE, MixtureVAE
from minivae.page import kit
from minivae.page.decoder_data import (
    as_text,
    check_of,
    layers_of,
    pictured,
    rounded,
    run_network,
)

SCRIPTS = ("decoder.js", "explorer.js")
STYLES = (*kit.STYLES, "explorer.css")
SHOWN, MOST = 8, 100  # latents with a slider: at once, and with those folded away
HANDFUL = 10  # test images whose codes are in the page
MEASURED = 200  # test images on which the rounding is measured
STILL = 560  # pixels across, at most, of the picture without scripts
REACH = 3.0  # standard deviations of a prior of 1 that a slider has at least
STEPS = 60  # of a slider, about


@dataclass(frozen=True)
class Range:
    """The values that a slider reaches, in steps; both ends are whole steps."""

    low: float
    high: float
    step: float

    def values(self, count: int) -> Array:
        """Return `count` values from low to high, evenly."""
        return np.linspace(self.low, self.high, count, dtype=np.float32)


@dataclass(frozen=True)
class Explorer:
    """What a page needs: the parts of its section as HTML, and the scripts' data."""

    parts: list[str]
    data: dict[str, Any]


def explorer(model: Autoencoder, data: Dataset, kl: Sequence[float]) -> Explorer:
    """Return the explorer of a trained model; `kl` is by latent, or empty.

    Raises `NoExplorerError` if the decoder has a layer that decoder.js does not know,
    or a weight that float16 cannot hold.
    """
    network = pictured(model)
    layers, weights = layers_of(network)
    small = rounded(network)
    codes = model.embed(data.test.images[:MEASURED])
    told = _rounding(run_network(small, codes) - run_network(network, codes), weights)
    ranges, order = ranges_of(model, codes), _order(codes, kl)

    numbers, names = _handful(data)
    starts = model.embed(data.test.images[numbers])
    images = [
        {"name": name, "code": as_text(code), "picture": _address(grey[None])}
        for name, code, grey in zip(names, starts, data.test.grey[numbers], strict=True)
    ]
    made = {
        "shape": list(model.shape),
        "switches": isinstance(model, BernoulliVAE),
        "layers": layers,
        "weights": as_text(weights),
        "prior": prior_of(model),
        "ranges": [[r.low, r.high, r.step] for r in ranges],
        "axes": order[:2],
        "tiles": _tiles(model),
        "images": images,
        "check": check_of(small, starts[:1]),
    }
    parts = [
        _still(model, starts[0], names[0], order[:2], ranges),
        _controls(model, names, order, ranges, kl),
        kit.paragraph(told, "note rounding"),
        _numbers(model, codes, order, kl),
    ]
    return Explorer(parts, made)


def _address(images: Array) -> str:
    """Return one image as the address of a picture that is inside the page."""
    png, _ = pictures.as_sheet(images, 1)
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _rounding(difference: Array, weights: Array) -> str:
    most, mean = (
        f"{number:.0e}".replace("e-0", "e-")
        for number in (np.abs(difference).max(), np.abs(difference).mean())
    )
    return (
        f"The page holds the decoder's {weights.size:,} weights as float16, in "
        f"{weights.nbytes / 1000:,.0f} kB. Of the codes of {len(difference)} test "
        f"images it makes pictures that differ from the float32 model's by {most} at "
        f"most, {mean} on average, where black is 0 and white 1."
    )


# What there is to move


def prior_of(model: Autoencoder) -> dict[str, Any] | None:
    """Return the prior as weights, means and deviations of Gaussians, or as coins."""
    if not model.has_kl:
        return None
    if isinstance(model, BernoulliVAE):
        return {"coins": True}
    if not isinstance(model, MixtureVAE):
        zeros = [[0.0] * model.latent]
        return {"weights": [1.0], "mu": zeros, "std": [[1.0] * model.latent]}
    prior = model.prior
    weights = np.exp(prior.logits.numpy().astype(np.float64))
    std = np.exp(0.5 * prior.logvar.numpy().astype(np.float64))
    return {
        "weights": (weights / weights.sum()).tolist(),
        "mu": prior.mu.numpy().tolist(),
        "std": std.tolist(),
    }


def ranges_of(model: Autoencoder, codes: Array) -> list[Range]:
    """Return what each latent's slider reaches: its codes, and ±3 of a prior N(0, 1),
    as far to both sides.

    Of a mixture ±3 deviations around the components; 0 and 1 of a Bernoulli latent.
    """
    prior = prior_of(model)
    if prior and "coins" in prior:
        return [Range(0, 1, 1)] * model.latent
    low, high = codes.min(axis=0), codes.max(axis=0)
    if prior and len(prior["weights"]) == 1:
        high = np.maximum(REACH, np.maximum(-low, high))
        low = -high
    elif prior:
        mu, reach = np.array(prior["mu"]), REACH * np.array(prior["std"])
        low = np.minimum(low, (mu - reach).min(axis=0))
        high = np.maximum(high, (mu + reach).max(axis=0))
    return [_range(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _range(low: float, high: float) -> Range:
    """A range of whole steps of 1, 2 or 5 times a power of ten, about 60 of them."""
    if not high - low > 1e-6 * max(1.0, abs(low), abs(high)):
        low, high = low - 1, high + 1
    rough = (high - low) / STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(m * power for m in (1, 2, 5) if m * power <= rough * (1 + 1e-6))
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return Range(*(float(f"{n:.6g}") for n in (first * step, last * step, step)))


def _order(codes: Array, kl: Sequence[float]) -> list[int]:
    """The latents by their KL, largest first; without one, by how much they vary."""
    return pictures.liveliest(kl or codes.std(axis=0).tolist(), codes.shape[1])


def _handful(data: Dataset) -> tuple[list[int], list[str]]:
    """A few test images, first one of each class: their numbers, names that differ."""
    labels = data.test.labels
    if labels is None:
        chosen = list(range(min(HANDFUL, len(data.test))))
        return chosen, [str(i) for i in chosen]
    firsts = np.sort(np.unique(labels, return_index=True)[1]).tolist()
    others = [i for i in range(min(HANDFUL, len(data.test))) if i not in firsts]
    chosen = [*firsts, *others][:HANDFUL]
    return chosen, [f"{i} ({data.class_name(int(labels[i]))})" for i in chosen]


def _tiles(model: Autoencoder) -> int:
    """How many pictures the pad has along a side."""
    if isinstance(model, BernoulliVAE):
        return 2
    return 9 if max(model.shape) <= 32 else 5


# Its words and controls


def _intro(model: Autoencoder, order: list[int], kl: Sequence[float]) -> str:
    how = "their KL, the largest" if kl else "how much the codes vary, the most"
    text = (
        "The decoder runs in this page. Move a latent, and it paints anew; the pad "
        f"moves two at once. The latents stand in the order of {how} first."
    )
    if isinstance(model, BernoulliVAE):
        text += (
            " These latents are 0 or 1. The code of a test image is the probability "
            "of a 1, so it may lie between, as it does for the reconstructions below."
        )
    if not model.has_kl:
        text += " An autoencoder has no prior, so there is nothing to draw codes from."
    if len(order) > MOST:
        text += f" Of {len(order)} latents the first {MOST} have a slider."
    return text


def _still(
    model: Autoencoder, code: Array, name: str, axes: list[int], ranges: list[Range]
) -> str:
    """The picture without scripts: the pad, as it is at the start."""
    count = _tiles(model)
    x, y = axes[0], axes[-1]
    across, up = ranges[x].values(count), ranges[y].values(count)[::-1]
    if len(axes) == 1:
        up = up[:1]
    codes = np.repeat(code[None], len(up) * len(across), axis=0)
    codes[:, y] = np.repeat(up, len(across))
    codes[:, x] = np.tile(across, len(up))
    apart = 1 if model.shape[0] in (1, 3) else model.shape[0]  # channels side by side
    png, size = pictures.as_sheet(model.picture(codes), len(across) * apart)
    words = f"latent {x} rises to the right, {_reach(ranges[x])}"
    if len(axes) > 1:
        words += f", latent {y} upwards, {_reach(ranges[y])}"
    caption = (
        f"Decoded images: {words}; the rest is the code of test image {name}. Where "
        "scripts run, an explorer of all latents stands in this place."
    )
    scale = max(1, STILL // size[0])
    return kit.figure(
        kit.image(png, f"Decoded images: {words}", size, scale), caption, "still"
    )


def _reach(reach: Range) -> str:
    return f"from {reach.low:g} to {reach.high:g}".replace("-", "−")


def _controls(
    model: Autoencoder,
    names: list[str],
    order: list[int],
    ranges: list[Range],
    kl: Sequence[float],
) -> str:
    """All that needs a script; hidden until one runs."""
    draw = '<button type="button" data-do="draw">Draw from the prior</button>'
    rows = [_row(i, ranges[i], kl, isinstance(model, BernoulliVAE)) for i in order]
    folded = rows[SHOWN:MOST]
    more = kit.details(f"{len(folded)} more latents", kit.group("rest", *folded))
    return f"""<div class="explorer" role="group" aria-label="Explorer" hidden>
{kit.paragraph(_intro(model, order, kl), "intro")}
<div class="seen">
<canvas role="img" aria-label="The decoded picture" aria-describedby="where"></canvas>
<p class="where" id="where"></p>
<div class="do">{draw if model.has_kl else ""}
<button type="button" data-do="reset">Reset</button></div>
</div>
{_pad(order) if len(order) > 1 else ""}
<div class="codes" role="group" aria-label="Latents">
{"".join(rows[:SHOWN])}</div>
{more if folded else ""}
{_line(names)}
<p class="said" role="status" aria-live="polite"></p>
</div>"""


def _row(latent: int, reach: Range, kl: Sequence[float], switch: bool) -> str:
    """One latent: its name, its slider or switch, its value."""
    small = f" <small>KL {kl[latent]:.2f}</small>" if kl else ""
    control = (
        'type="checkbox" role="switch"'
        if switch
        else f'type="range" min="{reach.low:g}" max="{reach.high:g}" '
        f'step="{reach.step:g}"'
    )
    return (
        f'<div class="latent"><label for="z{latent}">latent {latent}{small}</label>'
        f'<input id="z{latent}" data-latent="{latent}" {control}>'
        '<span class="value" aria-hidden="true"></span></div>\n'
    )


def _pad(order: list[int]) -> str:
    def axis(which: int, word: str) -> str:
        options = "".join(
            f'<option value="{i}"{" selected" * (i == order[which])}>'
            f"latent {i}</option>"
            for i in order[:MOST]
        )
        return (
            f'<label><span class="word">{word}</span> '
            f'<select data-axis="{which}">{options}</select></label>'
        )

    return f"""<div class="plane">
<div class="pad" role="slider" tabindex="0" aria-label="Pad of two latents"
 aria-roledescription="two-dimensional slider"><canvas aria-hidden="true"></canvas>
<span class="marker"></span></div>
<div class="axes">{axis(0, "across")}{axis(1, "up")}</div>
</div>"""


def _line(names: list[str]) -> str:
    """The way from one test image to another."""

    def end(which: int, word: str) -> str:
        chosen = min(which, len(names) - 1)
        options = "".join(
            f'<option value="{i}"{" selected" * (i == chosen)}>{escape(name)}</option>'
            for i, name in enumerate(names)
        )
        return (
            f'<div class="end"><label><span class="word">{word}'
            f'</span> <select data-end="{which}">{options}</select></label></div>'
        )

    label = "Between two test images"
    return f"""<div class="line-between" role="group" aria-label="{label}">
{end(0, "from test image")}
<input type="range" min="0" max="100" step="2" value="0" aria-label="Interpolate">
{end(1, "to test image")}
</div>"""


def _numbers(
    model: Autoencoder, codes: Array, order: list[int], kl: Sequence[float]
) -> str:
    """The latents as a table, for whoever rather reads."""
    head = ["latent", *(["KL, nats"] if kl else []), "mean", "deviation", "range"]
    mean, std = codes.mean(axis=0), codes.std(axis=0)
    low, high = codes.min(axis=0), codes.max(axis=0)
    rows = [
        [
            str(i),
            *([f"{kl[i]:.3f}"] if kl else []),
            _signed(mean[i]),
            f"{std[i]:.2f}",
            f"{_signed(low[i])} to {_signed(high[i])}",
        ]
        for i in order[:MOST]
    ]
    kind = "Mean codes" if model.has_kl else "Codes"
    caption = f"{kind} of the first {len(codes)} test images"
    return kit.details(
        "The latents as numbers", kit.table(caption, head, rows, "figures")
    )


def _signed(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-", "−")
