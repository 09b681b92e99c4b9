"""What a sweep of beta shows, in numbers and in sentences made of them.

Every sentence is put together from what was measured, so that another machine, other
seeds or other betas cannot make it untrue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minivae.backend import Array
from minivae.beta import SETS, SIGMA2, Point, Sweep

SCORES = {
    "higgins": "beta-VAE",
    "factor_vae": "FactorVAE",
    "mig": "MIG",
    "sap": "SAP",
    "dci": "DCI",
    "modularity": "modularity",
    "turned": "MIG, turned at random",
}
SURE = 0.95  # share of turns that a code's own axes must beat to mean something
LITTLE = 0.1  # of a factor's entropy: a smaller gap is not called a latent of its own


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (of one value, 0)."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return float(np.mean(values)), spread


def score_of(sweep: Sweep, name: str, beta: float) -> list[float]:
    """Return a score of the sprites' models at a beta, by seed."""
    found = []
    for point in sweep.of("sprites16", "mlp", beta):
        assert point.scores is not None
        dci = point.scores["dci"]["disentanglement"]
        own = point.scores | {"dci": dci, "turned": np.mean(point.turned)}
        found.append(float(own[name]))
    return found


def best_beta(sweep: Sweep) -> float:
    """The beta with the largest mean MIG."""
    return max(sweep.betas, key=lambda beta: mean_sd(score_of(sweep, "mig", beta))[0])


def lowest_beta(sweep: Sweep) -> float:
    """The smallest beta there is."""
    return sweep.betas[0]


def told(point: Point) -> Array:
    """I(z_j; f_k) / H(f_k) of a model's active latents: (Z, F)."""
    assert point.scores is not None
    entropy = np.array(point.scores["entropy"])
    matrix = np.array(point.scores["mutual_information"], np.float64)
    return matrix.reshape(-1, len(entropy)) / entropy


def gaps(sweep: Sweep) -> dict[str, list[list[float]]]:
    """Return, for each factor and beta, by seed: how far its best latent is ahead."""
    some = sweep.of("sprites16", "mlp", sweep.betas[0])[0]
    assert some.scores is not None
    names = list(some.scores["factors"])
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for beta in sweep.betas:
        each = []
        for point in sweep.of("sprites16", "mlp", beta):
            shares = np.concatenate([np.zeros((2, len(names))), told(point)])
            ranked = np.sort(shares, axis=0)
            each.append(ranked[-1] - ranked[-2])
        for k, name in enumerate(names):
            found[name].append([float(own[k]) for own in each])
    return found


def findings(sweep: Sweep) -> list[str]:
    """Return what the sweep shows, a sentence or two each."""
    return [
        *(_trade(sweep, name) for name in SETS),
        _on_the_curve(sweep),
        _mig(sweep),
        _axes(sweep),
        _by_factor(sweep),
        _agreement(sweep),
        _seeds(sweep),
        "No score sees all of it. The beta-VAE metric forgives latents that mix; "
        "modularity forgives factors that are missing, and cannot tell little from "
        "nothing. MIG and SAP count it against a code if two latents share a factor, "
        "though one that turns in a circle, as orientation does, is best held by two.",
    ]


def _trade(sweep: Sweep, name: str) -> str:
    low, high = (sweep.of(name, "mlp", sweep.betas[i]) for i in (0, -1))
    rates, distortions = (
        [mean_sd([getattr(p, term) for p in own])[0] for own in (low, high)]
        for term in ("rate", "distortion")
    )
    below = sum(_is_below(sweep, name, beta) for beta in sweep.betas)
    return (
        f"{name}: from β {sweep.betas[0]:g} to {sweep.betas[-1]:g} the rate goes from "
        f"{rates[0]:.2f} to {rates[1]:.2f} nats and the distortion from "
        f"{distortions[0]:.2f} to {distortions[1]:.2f}. At {below} of the "
        f"{len(sweep.betas)} betas the model with a hidden layer lies below the "
        "Gaussian curve, where no linear model can be."
    )


def _is_below(sweep: Sweep, name: str, beta: float) -> bool:
    """Whether the mean point has less distortion than the curve at its rate."""
    own = sweep.of(name, "mlp", beta)
    rate, distortion = (
        mean_sd([getattr(p, term) for p in own])[0] for term in ("rate", "distortion")
    )
    curve = sweep.curves[name].points(400)
    rates = [r for _, r in curve][::-1]
    distortions = [d for d, _ in curve][::-1]
    return bool(distortion < np.interp(rate, rates, distortions))


def _on_the_curve(sweep: Sweep) -> str:
    furthest = 0.0
    for name in SETS:
        for beta in sweep.betas:
            distortion, rate = sweep.curves[name].at(beta * SIGMA2)
            for p in sweep.of(name, "linear", beta):
                apart = abs(p.distortion / distortion - 1)
                if rate > 0.5:
                    apart = max(apart, abs(p.rate / rate - 1))
                furthest = max(furthest, apart)
    return (
        "The linear models, trained like any other, end on the curve: no rate above "
        f"half a nat and no distortion is further from it than {100 * furthest:.1f} %."
    )


def _mig(sweep: Sweep) -> str:
    best, low = best_beta(sweep), lowest_beta(sweep)
    (there, sd), (here, sd0) = (
        mean_sd(score_of(sweep, "mig", beta)) for beta in (best, low)
    )
    text = (
        f"Of these betas, {best:g} has the largest MIG, {there:.3f} ± {sd:.3f} over "
        f"{sweep.seeds} seeds."
    )
    if best == low:
        return f"{text} A stronger β does not help here."
    clear = there - here > math.hypot(sd, sd0)
    how = "more than" if clear else "within"
    return (
        f"{text} At β {low:g} it is {here:.3f} ± {sd0:.3f}: {how} the spread of seeds "
        "apart."
    )


def beaten(sweep: Sweep, beta: float) -> float:
    """The share of random turns, over all seeds, that have less MIG than the code."""
    own = score_of(sweep, "mig", beta)
    points = sweep.of("sprites16", "mlp", beta)
    return float(
        np.mean([np.less(p.turned, m) for p, m in zip(points, own, strict=True)])
    )


def _axes(sweep: Sweep) -> str:
    shares = {beta: beaten(sweep, beta) for beta in sweep.betas}
    sure = [f"{beta:g}" for beta, share in shares.items() if share >= SURE]
    numbers = ", ".join(f"{100 * share:.0f} %" for share in shares.values())
    text = (
        "A latent is an axis, and another axis might do as well. Of the same codes "
        f"turned at random, the axes as trained have more MIG than {numbers}, from the "
        "smallest β to the largest: "
    )
    if not sure:
        return f"{text}at no β do they mean clearly more than any others would."
    return f"{text}at β {_and(sure)} they mean more than others would."


def _by_factor(sweep: Sweep) -> str:
    largest = {
        name: max(mean_sd(values)[0] for values in row)
        for name, row in gaps(sweep).items()
    }
    own = [n for n, v in largest.items() if v >= LITTLE]
    none = [n for n, v in largest.items() if v < LITTLE]
    numbers = ", ".join(f"{name} {v:.2f}" for name, v in largest.items())
    text = (
        "How far the best latent of a factor is ahead of the second, at the β where "
        f"that is most, in shares of the factor's entropy: {numbers}. "
    )
    if own:
        text += f"A latent stands out for {_and(own)}. "
    if none:
        text += f"No latent does for {_and(none)}, at any β tried here."
    return text.strip()


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _agreement(sweep: Sweep) -> str:
    chosen = {
        SCORES[name]: max(
            sweep.betas, key=lambda b: mean_sd(score_of(sweep, name, b))[0]
        )
        for name in ("higgins", "factor_vae", "mig", "sap", "dci", "modularity")
    }
    text = ", ".join(f"{name} β {beta:g}" for name, beta in chosen.items())
    if len({*chosen.values()}) == 1:
        return f"All scores are largest at the same β, {best_beta(sweep):g}."
    return f"The scores do not choose the same β: {text}."


def _seeds(sweep: Sweep) -> str:
    best = best_beta(sweep)
    values = score_of(sweep, "mig", best)
    between = [mean_sd(score_of(sweep, "mig", beta))[0] for beta in sweep.betas]
    return (
        f"A seed matters: at β {best:g} the MIG goes from {min(values):.3f} to "
        f"{max(values):.3f} by seed alone; between betas, its mean goes from "
        f"{min(between):.3f} to {max(between):.3f}."
    )
