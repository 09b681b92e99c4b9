"""The report of a run: its numbers, its curves, its pictures, on one page."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.data import Dataset
from minivae.evaluate import pictures
from minivae.models import BernoulliVAE
from minivae.page import drawing, kit
from minivae.page import explorer as exploring
from minivae.page.decoder_data import NoExplorerError
from minivae.page.latents import latent_map
from minivae.train import Run

TITLES = {
    "ae": "Autoencoder",
    "dae": "Denoising autoencoder",
    "vae": "VAE",
    "betavae": "beta-VAE",
    "iwae": "Importance-weighted autoencoder",
    "mixturevae": "VAE with a mixture prior",
    "bernoullivae": "VAE with Bernoulli latents",
}
TERMS = {"objective": "Objective", "recon": "Reconstruction", "kl": "KL"}
SHEET = 480  # pixels across, at most, unless one image is wider
VISIBLE = 0.1  # nats of KL, at least, that a bar of full length stands for
LISTED = 32  # more latents than these are not all listed
EPOCHS = 50  # more epochs than these are not all listed
LARGEST = 4_000_000  # bytes of a page, at most, with an explorer in it


def report(run: Run, data: Dataset, ledger: dict[str, Any]) -> str:
    """Return the HTML page of a run, given its ledger on the test split.

    It has an explorer of the decoder, or says why not: a layer that no page runs, a
    weight that float16 cannot hold, or a page of more than 4 MB.
    """
    title = f"{TITLES.get(run.model.name, run.model.name)} on {ledger['data']}"
    first = [
        kit.paragraph("minivae: report of a run", "eyebrow"),
        f"<h1>{escape(title)}</h1>",
        kit.paragraph(_lead(run, data, ledger), "lead"),
        _headline(ledger),
    ]
    rest = [
        kit.section("Training", *_training(run)),
        kit.section("Reconstructions", _reconstructions(run, data)),
        kit.section("Samples", _samples(run)),
        kit.section("Latents", *_latents(run, data, ledger)),
        kit.section("Ledger", *_ledger(ledger)),
        kit.section("Configuration", *_configuration(run)),
    ]

    def page(explored: list[str], footer: str, **scripted: Any) -> str:
        section = kit.section("Explorer", *explored)
        return kit.page(title, "\n".join([*first, section, *rest, footer]), **scripted)

    try:
        made = exploring.explorer(run.model, data, ledger["kl_per_latent"])
        text = page(
            made.parts,
            kit.footer("it fetches nothing, and runs no script but its own"),
            styles=exploring.STYLES,
            scripts=exploring.SCRIPTS,
            data=made.data,
        )
        if (size := len(text.encode("utf-8"))) > LARGEST:
            raise NoExplorerError(
                f"with it the page would have {size / 1e6:.1f} MB, more than the "
                f"{LARGEST / 1e6:g} MB that a page may have"
            )
    except NoExplorerError as reason:
        why = kit.paragraph(f"This report has no explorer: {reason}.")
        return page([why], kit.footer(kit.QUIET))
    return text


def _lead(run: Run, data: Dataset, ledger: dict[str, Any]) -> str:
    model, epochs = run.model, len(run.metrics)
    mirrored = model.decoder_arch == model.arch
    decoder = "its mirror image as" if mirrored else f"a {model.decoder_arch}"
    if model.config().get("tied"):
        decoder = "its mirror image, of the same weights, as"
    spoilt = ""
    if model.noise_in_words:
        spoilt = (
            f" In training it saw them spoilt ({model.noise_in_words}), and was to "
            "return the clean ones; but for the training curve, all below is measured "
            "on clean images."
        )
    return (
        f"An encoder of {model.sizes} units with {decoder} decoder, trained for "
        f"{epochs} epoch{'s' * (epochs > 1)} on {len(data.train):,} images.{spoilt} "
        f"The likelihood is {ledger['likelihood']}, the seed "
        f"{run.config['train']['seed']}."
    )


def _headline(ledger: dict[str, Any]) -> str:
    items = [(objective_name(ledger), f"{ledger['objective']:.2f}", "")]
    if ledger["neg_elbo"] is not None:
        elbo = ("−ELBO", f"{ledger['neg_elbo']:.2f}", f"± {ledger['neg_elbo_se']:.2f}")
        items = [elbo] if ledger["beta"] == 1 else [*items, elbo]
    if ledger["kl_per_latent"]:
        latents = f"of {len(ledger['kl_per_latent'])}"
        items += [
            ("reconstruction", f"{ledger['recon']:.2f}", ""),
            ("KL", f"{ledger['kl']:.2f}", ""),
            ("active units", str(ledger["active_units"]), latents),
        ]
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value}"
        + (f" <small>{more}</small></dd></div>" if more else "</dd></div>")
        for name, value, more in items
    )
    note = (
        f"In {ledger['unit']} per image, over the {ledger['n_images']:,} images of the "
        f"{ledger['split']} split."
    )
    return f'<dl class="numbers">{cells}</dl>\n{kit.paragraph(note, "note")}'


def objective_name(ledger: dict[str, Any]) -> str:
    """Return what the objective is, in words that promise nothing it is not."""
    if ledger["objective_formula"]:
        return f"objective ({ledger['objective_formula']})"
    if ledger["beta"] is None:
        return "objective (recon)"
    return f"objective (recon + {ledger['beta']:g} KL)"


def ledger_table(
    ledger: dict[str, Any],
) -> tuple[str, tuple[str, str, str], list[tuple[str, str, str]]]:
    """Return caption, head and rows of the ledger, as text."""
    formula, name = ledger["objective_formula"], objective_name(ledger)
    rows = [
        ("objective", ledger["objective"], formula)
        if formula
        else (name, ledger["objective"], "what training minimises")
    ]
    if ledger["noise"]:
        rows.append(("noise", "none", f"in training {ledger['noise']}"))
    rows += [*_bound_rows(ledger), ("recon", ledger["recon"], ledger["likelihood"])]
    if ledger["beta"] is not None:
        rows += _code_rows(ledger)
    if ledger["floor"] is not None:
        least = "entropy of the pixels: no model is lower"
        rows.append(("floor", ledger["floor"], least))
    baseline = "the mean image, whatever the code"
    rows.append(("collapsed", ledger["collapsed"], baseline))
    caption = f"{ledger['data']}, {ledger['split']}, {ledger['n_images']} images"
    told = [(name, _number(value), note) for name, value, note in rows]
    return caption, ("term", ledger["unit"], ""), told


def _number(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    return "–" if value is None else f"{value:.2f}"


def _bound_rows(ledger: dict[str, Any]) -> list[tuple[str, Any, str]]:
    if ledger["neg_elbo"] is None:
        why = (
            f"{ledger['likelihood']} is not a likelihood"
            if ledger["beta"] is not None
            else "an AE has no prior"
        )
        return [("−ELBO", None, f"no bound: {why}")]
    rows = [("−ELBO", ledger["neg_elbo"], f"± {ledger['neg_elbo_se']:.2f}")]
    rows += [
        (f"−IWAE-{k}", bound["value"], f"± {bound['se']:.2f}, of {k} draws")
        for k, bound in ledger["iwae"].items()
    ]
    if exact := ledger["log_p"]:
        note = f"± {exact['se']:.2f}, exact: {exact['method']}"
        if exact["n_images"] < ledger["n_images"]:
            note += f", first {exact['n_images']}"
        rows.append(("−log p", -exact["value"], note))
    return rows


def _code_rows(ledger: dict[str, Any]) -> list[tuple[str, Any, str]]:
    latents = len(ledger["kl_per_latent"])
    over = f"summed over {latents} latents" if latents else "estimated at the draws"
    active = "variance of the mean over 0.01"
    rows: list[tuple[str, Any, str]] = [
        ("KL", ledger["kl"], over),
        (
            "active units",
            str(ledger["active_units"]),
            f"of {latents}; {active}" if latents else active,
        ),
    ]
    if split := ledger["aggregate"]:
        N = split["images"]
        rows += [
            (
                "mutual information",
                split["mutual_information"],
                f"of the KL; on {N:,} images at most {math.log(N):.2f}",
            ),
            (
                "marginal KL",
                split["marginal_kl"],
                "the rest of it: KL(q(z) ‖ p(z))",
            ),
            (
                "total correlation",
                split["total_correlation"],
                "of q(z), part of the marginal KL",
            ),
        ]
    if ledger["tau2"] is not None:
        rows.append(
            ("τ² = β σ²", f"{ledger['tau2']:.4g}", f"σ² {ledger['sigma2']:.4g}")
        )
    if ledger["beta"] != 1 or ledger["tau2"] is not None:
        norm = f"normalised, β Z / D: {ledger['normalised_beta']:.3g}"
        rows.append(("effective β", ledger["effective_beta"], norm))
    return rows


# Its pictures


def _training(run: Run) -> list[str]:
    lines, unit = run.metrics, run.model.likelihood.unit
    best = min(lines, key=lambda line: line["validation"]["objective"])["epoch"]
    epochs = [line["epoch"] for line in lines]
    terms = TERMS if run.model.has_kl else {"objective": TERMS["objective"]}
    charts = []
    for term, name in terms.items():
        train, validation = (
            [line[part][term] for line in lines] for part in ("train", "validation")
        )
        if not math.isfinite(4 * sum(map(abs, (*train, *validation)))):
            continue  # no axis reaches there; the table tells
        reached = validation[epochs.index(best)]
        charts.append(
            drawing.line_chart(
                epochs,
                [drawing.Line("train", train), drawing.Line("validation", validation)],
                title=f"{name}, {unit} per image",
                best=best,
                text=f"{name} over the epochs. Validation: first {validation[0]:.2f}, "
                f"last {validation[-1]:.2f}, at the best epoch, {best}, {reached:.2f}. "
                f"Training: first {train[0]:.2f}, last {train[-1]:.2f}",
            )
        )
    warm = run.config["train"].get("warmup")
    caption = (
        "Means over each epoch. The weights kept, and shown below, are those of epoch "
        f"{best}, where the validation objective was lowest. The training numbers are "
        "taken while the weights still move, so early on they lag behind."
    )
    if warm and run.model.has_kl:
        caption += f" The KL's weight rose from 0 over the first {warm} epochs."
    every = max(1, -(-len(lines) // EPOCHS))
    shown = [li for li in lines if li["epoch"] in (1, best) or li["epoch"] % every == 0]
    head = (
        "epoch",
        *(f"{part} {t}" for t in terms for part in ("train", "validation")),
    )
    rows = [
        (
            str(li["epoch"]),
            *(f"{li[part][t]:.2f}" for t in terms for part in ("train", "validation")),
        )
        for li in shown
    ]
    return [
        kit.figure(kit.group("charts", *charts), caption),
        kit.details(
            "The same as numbers", kit.table(f"{unit} per image", head, rows, "figures")
        ),
    ]


def _sheets(images: Array, columns: int, texts: list[str]) -> str:
    """Images as one sheet for each text, equally many in each."""
    parts = []
    for share, text in zip(np.array_split(images, len(texts)), texts, strict=True):
        png, size = pictures.as_sheet(share, columns)
        parts.append(kit.image(png, text, size, max(1, SHEET // size[0])))
    return kit.group("sheets", *parts)


def _columns(run: Run) -> int:
    """How many images stand beside one another: an even number."""
    return max(2, min(8, SHEET // (run.model.shape[2] + 1) // 2 * 2))


def _reconstructions(run: Run, data: Dataset) -> str:
    n = min(40, len(data.test))
    images = pictures.reconstructions(run.model, data, "test", n)
    texts = ["Test images, each beside its reconstruction"]
    if n == 40 and images.shape[1] in (1, 3):
        halves = (("first", "twenty"), ("next", "twenty"))
        texts = [
            f"The {a} {b} test images, each beside its reconstruction"
            for a, b in halves
        ]
    caption = (
        "In pairs: an image of the test split as the model saw it, and what the "
        "decoder makes of its " + ("mean code." if run.model.has_kl else "code.")
    )
    return kit.figure(_sheets(images, _columns(run), texts), caption)


def _samples(run: Run) -> str:
    images = pictures.samples(run.model, 80, run.config["train"]["seed"])
    caption = (
        "Mean images decoded from draws of the prior, z ~ N(0, I): the model's own."
    )
    if not run.model.has_kl:
        caption = (
            "Codes drawn from N(0, I), decoded. An autoencoder has no distribution of "
            "its codes, so nothing says that these should look like data."
        )
    texts = ["Forty decoded draws", "Forty more decoded draws"]
    return kit.figure(_sheets(images, _columns(run), texts), caption)


def _latents(run: Run, data: Dataset, ledger: dict[str, Any]) -> list[str]:
    kl = ledger["kl_per_latent"]
    content, caption = latent_map(run.model, data, kl)
    parts = [kit.figure(content, caption)]
    if kl:
        parts = [kit.group("latents", *parts, _kl_table(kl))]
    return [*parts, _traversals(run, data, kl)]


def _kl_table(kl: list[float]) -> str:
    order = pictures.liveliest(kl, len(kl))
    shown = order if len(order) <= LISTED else order[: LISTED - 8]
    most = max(*kl, VISIBLE)
    rows = [(str(i), f"{kl[i]:.3f}", kl[i] / most) for i in shown]
    if rest := order[len(shown) :]:
        total = sum(kl[i] for i in rest)
        rows.append((f"other {len(rest)}", f"{total:.3f}", min(1.0, total / most)))
    return kit.bars("KL of each latent, largest first", ("latent", "nats"), rows)


def _traversals(run: Run, data: Dataset, kl: list[float]) -> str:
    model = run.model
    latents = pictures.liveliest(kl, 8) if kl else list(range(min(8, model.latent)))
    span, count = (-3.0, 3.0), 11
    if isinstance(model, BernoulliVAE):
        span, count = (0.0, 1.0), 2
    if not kl:
        codes = model.embed(data.test.images[:500])
        span = (float(codes.min()), float(codes.max()))
    values = np.linspace(*span, count, dtype=np.float32)
    reach = f"from {span[0]:.1f} to {span[1]:.1f}".replace("-", "−")
    scale = max(1, 60 // (model.shape[2] + 1))
    parts = []
    for latent in latents:
        images = pictures.traversals(model, data, "test", 0, [latent], values)
        png, size = pictures.as_sheet(images, len(values))
        more = f"<small>KL {kl[latent]:.2f}</small>" if kl else ""
        parts.append(f"<p>latent {latent}{more}</p>")
        text = f"Decoded images: latent {latent} moved {reach}"
        parts.append(kit.image(png, text, size, scale))
    which = "the latents with the largest KL" if kl else "the first latents"
    which = which if len(latents) < model.latent else "all latents"
    caption = (
        f"Traversals: the code of the first test image with one latent moved {reach}, "
        f"left to right, the others held; {which}."
    )
    return kit.figure(kit.group("strips", *parts), caption)


# Its numbers


def _ledger(ledger: dict[str, Any]) -> list[str]:
    parts = [kit.table(*ledger_table(ledger), "ledger")]
    recon, kl, collapsed = ledger["recon"], ledger["kl"], ledger["collapsed"]
    if collapsed is None or min(recon, collapsed) <= 0:
        return parts  # a density may be above 1: nothing to measure from
    whole = max(recon + kl, collapsed)
    track, left = [], 0.0
    for name, value in (("recon", recon), ("kl", kl)):
        share = 100 * value / whole
        track.append(
            f'<rect class="{name}" x="{left:.2f}%" width="{share:.2f}%" height="100%"/>'
        )
        left += share
    key = [("recon", f"recon {recon:.2f}")]
    if ledger["beta"] is not None:
        key.append(("kl", f"KL {kl:.2f}"))
    if ledger["floor"] is not None:
        left = 100 * ledger["floor"] / whole
        at = f'x1="{left:.2f}%" x2="{left:.2f}%"'
        track.append(f'<line class="floor" {at} y1="-25%" y2="125%"/>')
        key.append(("floor", f"floor {ledger['floor']:.2f}"))
    key.append(("rest", f"to the collapsed {collapsed:.2f}"))
    items = "".join(
        f'<li><span class="key {name}"></span>{escape(text)}</li>' for name, text in key
    )
    content = (
        f'<svg class="track" aria-hidden="true">{"".join(track)}</svg>'
        f'<ul class="legend">{items}</ul>'
    )
    caption = (
        f"What the model leaves unexplained, in {ledger['unit']} per image, beside "
        "what a decoder leaves that says the mean image whatever the code."
    )
    if ledger["floor"] is not None:
        caption += " The upright line is the entropy of the pixels themselves."
    return [kit.figure(content, caption, "meter"), *parts]


def _configuration(run: Run) -> list[str]:
    groups = []
    for name in ("model", "train", "data", "versions"):
        rows = [(key, _plain(key, value)) for key, value in run.config[name].items()]
        groups.append(kit.table(name, ("option", "value"), rows))
    return [kit.group("columns", *groups)]


def _plain(key: str, value: Any) -> str:
    if key == "sha256":
        return f"{value[:16]}…"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "–" if value is None else str(value)
