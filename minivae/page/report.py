"""The report of a run: its numbers, its curves, its pictures, on one page."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from minivae.data import Dataset
from minivae.evaluate import pictures
from minivae.page import kit
from minivae.train import Run

TITLES = {"ae": "Autoencoder", "vae": "VAE", "betavae": "beta-VAE"}


def report(run: Run, data: Dataset, ledger: dict[str, Any]) -> str:
    """Return the HTML page of a run, given its ledger on the test split."""
    config = run.model.config()
    title = f"{TITLES.get(run.model.name, run.model.name)} on {ledger['data']}"
    sizes = " – ".join(map(str, (*config["hidden"], config["latent"])))
    lead = (
        f"{np.prod(run.model.shape)} pixels – {sizes} latents, and back; likelihood "
        f"{ledger['likelihood']}; {len(run.metrics)} epochs, seed "
        f"{run.config['train']['seed']}."
    )
    body = [
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>',
        _headline(ledger),
        kit.section("Training", *_training(run)),
        kit.section("Reconstructions", _reconstructions(run, data)),
        kit.section("Samples", _samples(run)),
        kit.section("Latents", *_latents(run, data, ledger)),
        kit.section("Ledger", kit.table(*ledger_table(ledger))),
        kit.section("Configuration", *_configuration(run)),
    ]
    return kit.page(title, "\n".join(body))


def _headline(ledger: dict[str, Any]) -> str:
    items = [(objective_name(ledger), f"{ledger['objective']:.2f}")]
    if ledger["neg_elbo"] is not None:
        value = f"{ledger['neg_elbo']:.2f}"
        items = [("−ELBO", f"{value} <small>± {ledger['neg_elbo_se']:.2f}</small>")]
    items.append(("reconstruction", f"{ledger['recon']:.2f}"))
    if ledger["kl_per_latent"]:
        active = f"{ledger['active_units']} <small>of {len(ledger['kl_per_latent'])}"
        items += [("KL", f"{ledger['kl']:.2f}"), ("active units", f"{active}</small>")]
    cells = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in items)
    note = (
        f"{ledger['unit']} per image, {ledger['split']} split, "
        f"{ledger['n_images']} images"
    )
    return f'<dl class="numbers">{cells}</dl>\n<p class="lead">{note}</p>'


def objective_name(ledger: dict[str, Any]) -> str:
    """Return what the objective is, in words that promise nothing it is not."""
    if ledger["beta"] is None:
        return "objective (recon)"
    return f"objective (recon + {ledger['beta']:g} KL)"


def ledger_table(
    ledger: dict[str, Any],
) -> tuple[str, tuple[str, str, str], list[tuple[str, str, str]]]:
    """Return caption, head and rows of the ledger, as text."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    no_bound = "no bound: " + (
        f"{ledger['likelihood']} is not a likelihood"
        if ledger["beta"] is not None
        else "an AE has no prior"
    )
    se = ledger["neg_elbo_se"]
    rows = [
        (
            objective_name(ledger),
            number(ledger["objective"]),
            "what training minimises",
        ),
        (
            "−ELBO",
            number(ledger["neg_elbo"]),
            no_bound if se is None else f"± {se:.2f}",
        ),
        ("recon", number(ledger["recon"]), ledger["likelihood"]),
    ]
    if ledger["beta"] is not None:
        latents = len(ledger["kl_per_latent"])
        active = f"of {latents}; variance of the mean over 0.01"
        rows += [
            ("KL", number(ledger["kl"]), f"summed over {latents} latents"),
            ("active units", str(ledger["active_units"]), active),
        ]
    if ledger["floor"] is not None:
        least = "entropy of the pixels: no model is lower"
        rows.append(("floor", number(ledger["floor"]), least))
    baseline = "the mean image, whatever the code"
    rows.append(("collapsed", number(ledger["collapsed"]), baseline))
    caption = f"{ledger['data']}, {ledger['split']}, {ledger['n_images']} images"
    return caption, ("term", ledger["unit"], ""), rows


def _training(run: Run) -> list[str]:
    best = min(run.metrics, key=lambda line: line["validation"]["objective"])
    text = (
        f"The weights kept are those of epoch {best['epoch']}, the best of "
        f"{len(run.metrics)} by the validation objective "
        f"({best['validation']['objective']:.2f})."
    )
    terms = ("objective", "recon", "kl") if run.model.has_kl else ("objective",)
    charts = [
        kit.picture(
            pictures.curve(run.metrics, term, run.model.likelihood.unit),
            "svg+xml",
            f"{term} over the epochs",
            "",
        )
        for term in terms
    ]
    return ['<div class="charts">', *charts, "</div>", kit.paragraph(text)]


def _reconstructions(run: Run, data: Dataset) -> str:
    images = pictures.reconstructions(run.model, data, "test", 40)
    return kit.picture(
        pictures.as_png(pictures.grid(images, 16)),
        "png",
        "Test images, each beside its reconstruction",
        "In pairs: an image of the test split, and what the decoder makes of its mean "
        "code.",
    )


def _samples(run: Run) -> str:
    images = pictures.samples(run.model, 80, run.config["train"]["seed"])
    caption = "Mean images decoded from z ~ N(0, I): draws from the model."
    if not run.model.has_kl:
        caption = (
            "Codes drawn from N(0, I), decoded. An autoencoder has no distribution of "
            "its codes, so nothing says that these should look like data."
        )
    sheet = pictures.as_png(pictures.grid(images, 16))
    return kit.picture(sheet, "png", "Decoded draws", caption)


def _latents(run: Run, data: Dataset, ledger: dict[str, Any]) -> list[str]:
    kl = ledger["kl_per_latent"]
    latents = pictures.liveliest(kl, 8) if kl else list(range(min(8, run.model.latent)))
    span = (-3.0, 3.0)
    if not kl:
        codes = run.model.embed(data.test.images[:500])
        span = (float(codes.min()), float(codes.max()))
    values = np.linspace(*span, 11, dtype=np.float32)
    images = pictures.traversals(run.model, data, "test", 0, latents, values)
    parts = [
        kit.picture(
            pictures.as_png(pictures.grid(images, len(values))),
            "png",
            "Traversals of single latents",
            f"One test image; in each row one latent moves from {span[0]:.1f} to "
            f"{span[1]:.1f}: numbers {', '.join(map(str, latents))}.",
        )
    ]
    if kl:
        order = pictures.liveliest(kl, len(kl))
        rows = "".join(
            f'<tr><th scope="row">{i}</th><td>{kl[i]:.3f}</td><td><span class="bar" '
            f'style="width:{8 * kl[i] / (max(kl) or 1):.2f}rem"></span></td></tr>'
            for i in order
        )
        parts.append(
            '<div class="scroll"><table><caption>KL per latent, nats, largest first'
            '</caption><thead><tr><th scope="col">latent</th><th scope="col">KL</th>'
            f'<th scope="col"></th></tr></thead><tbody>{rows}</tbody></table></div>'
        )
    return parts


def _configuration(run: Run) -> list[str]:
    groups = []
    for name in ("model", "train", "data", "versions"):
        rows = [(key, _plain(key, value)) for key, value in run.config[name].items()]
        groups.append(kit.table(name, ("option", "value"), rows))
    return ['<div class="two">', *groups, "</div>"]


def _plain(key: str, value: Any) -> str:
    if key == "sha256":
        return f"{value[:16]}…"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "–" if value is None else str(value)
