"""beta on one page: what a stronger KL does to rate, distortion and disentanglement.

Models with a Gaussian decoder of fixed sigma² are trained for each beta and seed:

    mlp      one hidden layer on each side, on sprites (with factors) and on digits
    linear   the same without hidden layers: its optimum is known, and lies on the
             Gaussian rate-distortion curve at the level beta sigma²

Rate is the KL in nats, distortion E|x − x̂(z)|², both by image and of the training
images, whose objective was minimised. Scores are of test images. Everything follows
from the seeds.

Sources: Higgins et al. 2017; Alemi et al. 2018 (rate and distortion of a VAE); Cover &
Thomas 2006, section 10.3 (the curve).
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from minivae import models
from minivae.backend import Array
from minivae.data import Dataset, Images, load
from minivae.errors import UserError
from minivae.evaluate import disentanglement
from minivae.evaluate import factor_metrics as metrics
from minivae.evaluate.bounds import draw
from minivae.evaluate.features import flat
from minivae.models import Autoencoder
from minivae.random import Noise, Stream
from minivae.train import fit
from minivae.verify.exact import Spectrum
from minivae.verify.linear import train as train_linear
from minivae.verify.oracles.rate_distortion import measure as measure_linear

SETS = ("sprites16", "digits")
BETAS = (1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 32.0)
SIGMA2 = 0.04
LATENT, HIDDEN = 8, (128,)
BATCH, LR = 128, 3e-3
LINEAR_STEPS = 6000
TURNS = 20  # at random, of a code's axes
AT_ONCE = 500


@dataclass(frozen=True)
class Point:
    """One trained model: rate and distortion, and what its latents say of factors."""

    data: str
    model: str  # mlp or linear
    beta: float
    seed: int
    rate: float
    distortion: float
    kl_per_latent: list[float] = field(default_factory=list)
    test: tuple[float, float] | None = None  # rate and distortion of test images
    scores: dict[str, Any] | None = None
    turned: list[float] = field(default_factory=list)  # MIGs of its code, turned


@dataclass(frozen=True)
class Curve:
    """The Gaussian rate-distortion curve of a set's training images, for k latents."""

    data: str
    eigenvalues: list[float]
    total: float  # the distortion at rate 0: the variance of an image

    def at(self, level: float) -> tuple[float, float]:
        """Return distortion and rate at the water level beta sigma²."""
        kept = np.array(self.eigenvalues)
        rate = 0.5 * np.log(np.maximum(kept / level, 1)).sum()
        return float(self.total - np.maximum(kept - level, 0).sum()), float(rate)

    def points(self, count: int = 80) -> list[tuple[float, float]]:
        """Return distortions and rates from half the level of beta 1 to rate 0."""
        levels = np.geomspace(SIGMA2 / 2, max(self.eigenvalues), count)
        return [self.at(float(level)) for level in levels]


@dataclass
class Sweep:
    """All that is measured, and one model of each set and beta, to be looked at."""

    steps: int
    seeds: int
    curves: dict[str, Curve] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    kept: dict[tuple[str, float], Autoencoder] = field(default_factory=dict)

    def of(self, data: str, model: str, beta: float) -> list[Point]:
        """Return the points of a set, a kind of model and a beta, by seed."""
        wanted = (data, model, beta)
        return [p for p in self.points if (p.data, p.model, p.beta) == wanted]

    @property
    def betas(self) -> list[float]:
        """The betas there are, in order."""
        return sorted({p.beta for p in self.points})

    def numbers(self) -> dict[str, Any]:
        """Return everything but the models, for JSON."""
        names = ("minivae", "numpy", "scikit-learn")
        return {
            "versions": {name: importlib.metadata.version(name) for name in names},
            "sigma2": SIGMA2,
            "latent": LATENT,
            "hidden": list(HIDDEN),
            "steps": self.steps,
            "curves": [asdict(curve) for curve in self.curves.values()],
            "points": [asdict(point) for point in self.points],
        }


def run(
    betas: Sequence[float] = BETAS,
    seeds: int = 3,
    steps: int = 4000,
    tell: Callable[[str], None] = lambda what: None,
) -> Sweep:
    """Train and measure all models; `tell` hears what comes next.

    `steps` are those of the sprites' models; digits, of which there are fewer, have
    half as many. Raises `UserError`.
    """
    if seeds < 2:
        raise UserError(f"a spread needs two seeds or more, not {seeds}")
    if steps < 1:
        raise UserError(f"steps must be at least 1, not {steps}")
    if not betas or not all(0 < beta < math.inf for beta in betas):
        raise UserError(f"betas are positive numbers, not {list(betas)}")
    sweep = Sweep(steps, seeds)
    for name in SETS:
        data = load(name)
        spectrum = spectrum_of(data)
        total = float(spectrum.l.sum())
        sweep.curves[name] = Curve(name, spectrum.l[:LATENT].tolist(), total)
        share = steps if name == "sprites16" else max(1, steps // 2)
        for beta in sorted({float(beta) for beta in betas}):
            tell(f"{name}, beta {beta:g}, linear")
            sweep.points.append(linear_point(name, spectrum, data, beta))
            for seed in range(seeds):
                tell(f"{name}, beta {beta:g}, seed {seed}")
                model = trained(data, beta, seed, share)
                sweep.points.append(point(name, model, data, seed))
                if seed == 0:
                    sweep.kept[name, beta] = model
    return sweep


def spectrum_of(data: Dataset) -> Spectrum:
    """Return the eigenvalues of the training images' covariance."""
    images = flat(data.train.images)
    return Spectrum.of(images - images.mean(axis=0))


def trained(data: Dataset, beta: float, seed: int, steps: int) -> Autoencoder:
    """Train a beta-VAE with a hidden layer for about so many steps."""
    model = models.build(
        "betavae",
        shape=data.shape,
        latent=LATENT,
        hidden=HIDDEN,
        likelihood="gaussian",
        sigma=math.sqrt(SIGMA2),
        beta=beta,
        seed=seed,
    )
    batch = min(BATCH, len(data.train))
    epochs = max(1, round(steps * batch / len(data.train)))
    options: dict[str, Any] = {"epochs": epochs, "batch": batch, "lr": LR}
    return fit(model, data, seed=seed, quiet=True, **options).model


def point(name: str, model: Autoencoder, data: Dataset, seed: int) -> Point:
    """Measure a trained model."""
    rates, distortion = measured(model, data.train.images)
    test = measured(model, data.test.images)
    codes = model.embed(data.test.images[:]).astype(np.float64)
    if data.factors is not None:
        scores = disentanglement(model, data)
        turned = turned_migs(codes[:, scores["latents"]], data.test.factors, seed)
    else:
        assert data.test.labels is not None
        labels = data.test.labels[:][:, None]
        told = metrics.mutual_information(codes, labels)
        scores = {
            "factors": {"digit": len(np.unique(labels))},
            "latents": list(range(model.latent)),
            "mutual_information": told.tolist(),
            "entropy": metrics.entropies(labels).tolist(),
        }
        turned = []
    return Point(
        name,
        "mlp",
        model.beta,
        seed,
        sum(rates),
        distortion,
        rates,
        (sum(test[0]), test[1]),
        scores,
        turned,
    )


def measured(model: Autoencoder, images: Images) -> tuple[list[float], float]:
    """Return the KL of each latent and the distortion, at one draw of z an image."""
    D, kls, recons = math.prod(model.shape), [], []
    for start in range(0, len(images), AT_ONCE):
        x = images[start : start + AT_ONCE]
        kls.append(model.encode(x).kl_per_latent().numpy().astype(np.float64))
        recons.append(draw(model, x, 1, start, log_w=False).recon[0])
    recon = float(np.concatenate(recons).mean())
    distortion = SIGMA2 * (2 * recon - D * math.log(2 * math.pi * SIGMA2))
    return np.concatenate(kls).mean(axis=0).tolist(), distortion


def turned_migs(codes: Array, classes: Array | None, seed: int) -> list[float]:
    """Return the MIGs of codes turned at random: the same code, its axes forgotten."""
    Z = codes.shape[1]
    if Z == 0 or classes is None:
        return [0.0] * TURNS
    noise = Noise(seed, Stream.FACTORS)
    turns = (np.linalg.qr(noise.normal((Z, Z), np.float64))[0] for _ in range(TURNS))
    return [metrics.mig(codes @ Q, classes) for Q in turns]


def linear_point(name: str, spectrum: Spectrum, data: Dataset, beta: float) -> Point:
    """Train a linear model on Gaussian images with the spectrum of the real ones.

    Its objective sees the images' covariance and nothing else, so these serve as well.
    One seed is enough: there is one optimum.
    """
    model = models.build(
        "betavae",
        shape=data.shape,
        latent=LATENT,
        hidden=(),
        likelihood="gaussian",
        sigma=math.sqrt(SIGMA2),
        beta=beta,
    ).to(dtype=np.float64)
    x = gaussian_images(spectrum).reshape(-1, *data.shape)
    train_linear(model, x, LINEAR_STEPS)
    rate, distortion = measure_linear(model, x)
    return Point(name, "linear", beta, 0, rate, distortion)


def gaussian_images(spectrum: Spectrum) -> Array:
    """Return 2D images, of mean 0 and exactly this covariance: (2D, D)."""
    D = len(spectrum.l)
    drawn = Noise(0, Stream.CHECK).normal((2 * D, D), np.float64)
    Q, _ = np.linalg.qr(drawn - drawn.mean(axis=0))
    return math.sqrt(2 * D) * (Q * np.sqrt(spectrum.l)) @ spectrum.U.T
