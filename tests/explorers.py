"""Explorers of small runs, opened in a browser and held against Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pages import Opened
from tiny import MODELS, few_digits, fit
from tolerances import PAGE

import minivae as mv
from minivae.backend import Array
from minivae.data import Dataset
from minivae.models import Autoencoder
from minivae.page import explorer, report
from minivae.page.decoder_data import pictured, rounded, run_network
from minivae.random import Noise
from minivae.train import Run


@cache
def trained(case: str) -> tuple[Run, Dataset]:
    """A small run: a model's name, "conv", "tied", or a VAE by its latents."""
    data, shape = few_digits(), (1, 8, 8)
    if case == "conv":
        model: Autoencoder = mv.VAE(shape, 3, (8,), arch="conv", channels=(4,))
    elif case == "tied":
        model = mv.AE(shape, 3, (8,), tied=True)
    elif case.isdigit():
        model = mv.VAE(shape, int(case), (8,))
    else:
        model = MODELS[case](shape, latent=10, hidden=(8,))
    run = fit(model, data, epochs=1)
    if case == "mixturevae":  # components that differ, as after a longer training
        run.model.prior_logits.assign(np.array([0, 1.5], np.float32))
        run.model.prior_logvar.assign(Noise(5).normal((2, 10)))
    return run, data


@cache
def written(case: str) -> str:
    """The report of such a run."""
    run, data = trained(case)
    return report.report(run, data, mv.evaluate.ledger(run.model, data, draws=1))


SEEDED = """{ let a = 1; Math.random = () => {
  a = (a + 0x6D2B79F5) | 0; let t = Math.imul(a ^ (a >>> 15), 1 | a);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296; }; }"""
LISTEN = """() => document.querySelector('.explorer').addEventListener(
  'decoded', ({ detail: { code, image } }) => {
    window.last = { code: [...code], image: [...image] }; })"""
NEXT = """() => new Promise((done) => requestAnimationFrame(
  () => requestAnimationFrame(() => done(window.last))))"""


class Exploring(Opened):
    """An explorer in the browser; `code` and `image` are what it last decoded."""

    def __init__(self, browser: Any, folder: Path, case: str, **options: Any) -> None:
        path = folder / "explorer.html"
        path.write_text(written(case), encoding="utf-8")
        super().__init__(browser, path, **options)
        self.model = trained(case)[0].model
        self.page.evaluate(SEEDED)
        self.page.evaluate(LISTEN)
        self.act(lambda: self.button("Reset").click())

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name)

    def act(self, do: Callable[[], Any]) -> None:
        """Do something, and hold what it made the decoder paint against Python."""
        do()
        last = self.page.evaluate(NEXT)
        self.code, self.image = (np.array(last[key]) for key in ("code", "image"))
        error = np.abs(self.image - python(self.model, self.code)).max()
        assert error <= PAGE

    def press(self, selector: str, *keys: str) -> None:
        self.page.locator(selector).first.focus()
        for key in keys:
            self.act(lambda key=key: self.page.keyboard.press(key))

    def axes(self) -> list[int]:
        """The latents that the pad moves, across and up."""
        selects = self.page.locator("[data-axis]").all()
        return [int(select.input_value()) for select in selects]

    def ranges(self) -> list[explorer.Range]:
        codes = self.model.embed(few_digits().test.images)
        return explorer.ranges_of(self.model, codes)

    def painted(self, selector: str) -> Array:
        """The red of a canvas: (height, width)."""
        width, red = self.page.evaluate(
            "s => { const c = document.querySelector(s), { width, height } = c;"
            " const d = c.getContext('2d').getImageData(0, 0, width, height).data;"
            " return [width, [...d].filter((_, i) => i % 4 === 0)]; }",
            selector,
        )
        return np.array(red).reshape(-1, width)


def python(model: Autoencoder, code: Array) -> Array:
    """The picture of a code with the rounded weights, flat."""
    small = rounded(pictured(model))
    return run_network(small, code[None].astype(np.float32)).ravel()
