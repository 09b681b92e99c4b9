"""Scores of disentanglement give known codes their known answers.

Five factors on a full grid, and codes that are the factors, twice the factors, two of
them turned by 45 degrees, a constant, or noise. Two of 2F copies share each factor; of
F factors, two that are turned cannot be told apart, and two latents speak of both.
Sources: the scores' own, in minivae/evaluate/factor_metrics.py; Miller 1955 (bias).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minivae.backend import Array
from minivae.data import Factors
from minivae.evaluate import factor_metrics as metrics
from minivae.gradcheck import Claim
from minivae.random import Noise, Stream

SIZES, TURNED = (3, 4, 5, 6, 4), (1, 4)  # the two that are turned are alike
EXACT, FORESTS = 1e-9, 0.02
VOTES = 4 * math.sqrt(0.1 / 500)  # four standard errors: two fifths are a coin's
NOISE_LATENTS = 50


FORMULAS = {
    "unchanged": "z = f",
    "permuted and rescaled": "z = −3.7 P f + 11",
    "duplicated": "z = (f, f)",
    "two of them turned": "z = (f₁, f₂ + f₅, f₃, f₄, f₂ − f₅)",
    "all forgotten": "z = 1",
}


def grid() -> Array:
    """Return the classes of all 1,440 combinations of five factors."""
    factors = Factors(("a", "b", "c", "d", "e"), SIZES)
    return factors.classes(np.arange(factors.combinations))


def known_codes(classes: Array) -> dict[str, Array]:
    """Return codes whose scores are known, by name."""
    z = classes.astype(np.float64)
    turned = (z - z.mean(axis=0)) / z.std(axis=0)
    a, b = turned[:, TURNED].T
    turned[:, TURNED] = np.stack([a + b, a - b], axis=1)
    return {
        "unchanged": z,
        "permuted and rescaled": -3.7 * z[:, ::-1] + 11,
        "duplicated": np.concatenate([z, z], axis=1),
        "two of them turned": turned,
        "all forgotten": np.ones((len(z), 4)),
    }


def scored(codes: Array, classes: Array) -> dict[str, float]:
    """Return the eight scores of codes, by name."""
    found = metrics.scores(codes, classes, Noise(0, Stream.CHECK))
    dci: dict[str, float] = found.pop("dci")
    return found | dci


def answers(F: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Return, for each code and score, the known answer and how near it is to be."""
    ones = dict.fromkeys(
        (
            *("higgins", "factor_vae", "mig", "sap", "modularity"),
            *("disentanglement", "completeness", "informativeness"),
        ),
        (1.0, EXACT),
    )
    one_of_two = 1 - math.log(2) / math.log(2 * F)
    told, half_told = 1 - 2 / F, 1 - math.log(2) / math.log(F)
    even = (told + 2 / F * half_told, FORESTS)
    chance, nothing = (1 / F, EXACT), (0.0, EXACT)
    return {
        "unchanged": ones,
        "permuted and rescaled": ones,
        "duplicated": ones
        | {"mig": nothing, "sap": nothing, "completeness": (one_of_two, FORESTS)},
        "two of them turned": ones
        | {
            "higgins": (1 - 1 / F, VOTES),
            "factor_vae": (1 - 1 / F, VOTES),
            "mig": (told, EXACT),
            "sap": (told, EXACT),
            "modularity": (1 - 2 / F / (F - 1), EXACT),
            "disentanglement": even,
            "completeness": even,
        },
        "all forgotten": {
            "higgins": chance,
            "factor_vae": chance,
            "mig": nothing,
            "sap": nothing,
            "modularity": nothing,
            "disentanglement": nothing,
            "completeness": nothing,
        },
    }


def claims(latent: int = 5) -> Iterator[Claim]:
    """Yield each known answer, and the information found where there is none."""
    classes = grid()
    known = answers(classes.shape[1])
    for name, codes in known_codes(classes).items():
        found, own = scored(codes, classes), known[name]
        for exact, tolerance in sorted({*own.values()}):
            names = [n for n, answer in own.items() if answer == (exact, tolerance)]
            values = np.array([found[n] for n in names])
            furthest = values[np.abs(values - exact).argmax()]  # or NaN, if one is
            yield Claim.equal(
                f"disentanglement/{name}: {exact:.4g}",
                f"{', '.join(names)}: the furthest from it",
                exact,
                furthest,
                tolerance,
                FORMULAS[name],
            )
    noise = Noise(1, Stream.CHECK).uniform((len(classes), NOISE_LATENTS), np.float64)
    told = metrics.mutual_information(noise, classes)
    bias = metrics.mi_bias(noise, classes)
    spread = math.sqrt(bias.sum() / len(classes)) / bias.size  # chi squared: var = mean
    yield Claim.compare(
        "disentanglement/bias",
        "in standard errors, the information that an independent code seems to have",
        float(bias.mean()),
        float(told.mean()),
        abs(float(told.mean() - bias.mean())) / spread,
        4.0,
        "E Î = (B − 1)(K − 1) / 2N",
    )
