"""Lesson 11: likelihoods by SciPy, the KL by quadrature, entropies by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from lessons.kit import Judge, Mistake, exercise

Array = Any
Terms = tuple[float, float, float]
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(8)  # exact up to degree 15


def _pixels(logits: Array, x: Array) -> Array:
    return -stats.bernoulli.logpmf(x.astype(int), 1 / (1 + np.exp(-logits)))


def _latents(mu: Array, logvar: Array) -> Array:
    """E_q[log q(z) − log p(z)] of each latent: the integrand is a square of z."""
    sigma = np.sqrt(np.exp(logvar))[..., None]
    z = mu[..., None] + sigma * NODES
    difference = stats.norm.logpdf(z, mu[..., None], sigma) - stats.norm.logpdf(z)
    return (difference * WEIGHTS).sum(axis=-1) / WEIGHTS.sum()


def _bits(N: int, D: int, Z: int) -> float:
    return float(1 / np.log(2))


def _by_pixel(N: int, D: int, Z: int) -> float:
    return N / D


def _by_latent(N: int, D: int, Z: int) -> float:
    return N / Z


def _sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


RECON: dict[str, Callable[[Array, Array], Array]] = {  # what a pixel costs
    "kl is right. In recon only the pixels that are 1 are paid for: those that are 0 "
    "cost −log(1 − p).": lambda logits, x: x * _pixels(logits, x),
    "kl is right. recon is the squared error: wanted is −log p of the pixel.": (
        lambda logits, x: (_sigmoid(logits) - x) ** 2
    ),
    "kl is right. recon has the other sign: that is log p, wanted is −log p.": (
        lambda logits, x: -_pixels(logits, x)
    ),
    "kl is right. In recon x and 1 − x are swapped: p is the probability of a 1.": (
        lambda logits, x: _pixels(-logits, x)
    ),
    "kl is right. recon is NaN: a logit is any number, and its log may not exist. The "
    "probability is sigmoid(logit).": lambda logits, x: np.full(x.shape, np.nan),
    "kl is right. The sigmoid was taken twice: logits are not probabilities yet, but "
    "after one sigmoid they are.": lambda logits, x: _pixels(_sigmoid(logits), x),
}
KL: dict[str, Callable[[Array, Array], Array]] = {  # what a latent costs
    "recon is right. kl is twice what it should be: where is the ½?": (
        lambda mu, logvar: 2 * _latents(mu, logvar)
    ),
    "recon is right. In kl the log σ² has the other sign: it is subtracted.": (
        lambda mu, logvar: _latents(mu, logvar) + logvar
    ),
    "recon is right. In kl µ is not squared.": (
        lambda mu, logvar: _latents(mu, logvar) + (mu - mu**2) / 2
    ),
    "recon is right. In kl stands σ in place of σ²: exp(logvar) is σ² already.": (
        lambda mu, logvar: (
            _latents(mu, logvar) + (np.exp(logvar / 2) - np.exp(logvar)) / 2
        )
    ),
    "recon is right. In kl the −1 is missing: at µ = 0, σ = 1 it must be 0.": (
        lambda mu, logvar: _latents(mu, logvar) + 0.5
    ),
}


@exercise(1)
def vae_loss(judge: Judge) -> None:
    """recon and kl by SciPy and by quadrature; and how they are put together."""
    cases = []
    sizes = [(3, 4, 2), (2, 6, 3), (5, 3, 4), (4, 5, 2)]
    for (N, D, Z), beta in zip(sizes, (1.0, 4.0, 0.5, 0.0), strict=True):
        x = (judge.uniform(N, D) < 0.5).astype(float)
        codes = judge.normal(N, Z), judge.normal(N, Z)
        cases.append((2 * judge.normal(N, D), x, *codes, beta))

    def made(recon: float, kl: float, beta: float) -> Terms:
        return recon + beta * kl, recon, kl

    def parts(logits: Array, x: Array, mu: Array, logvar: Array) -> tuple[float, float]:
        recon = _pixels(logits, x).sum(axis=1).mean()
        return float(recon), exact_kl(mu, logvar)

    def exact_kl(mu: Array, logvar: Array) -> float:
        return float(_latents(mu, logvar).sum(axis=1).mean())

    def exact(*case: Any) -> Terms:
        return made(*parts(*case[:4]), case[4])

    def scaled(a: Any, b: Any) -> Any:
        """A mistake that multiplies recon by a(N, D, Z), and kl by b(N, D, Z)."""

        def like(*case: Any) -> Terms:
            recon, kl = parts(*case[:4])
            N, D, Z = *case[0].shape, case[2].shape[1]
            return made(a(N, D, Z) * recon, b(N, D, Z) * kl, case[4])

        return like

    def one(N: int, D: int, Z: int) -> float:
        return 1.0

    def instead(recon: Any = None, kl: Any = None) -> Any:
        """A mistake in one term, or in each: what a pixel costs, or a latent."""

        def like(*case: Any) -> Terms:
            logits, x, mu, logvar, beta = case
            terms = list(parts(logits, x, mu, logvar))
            if recon is not None:
                terms[0] = float(recon(logits, x).sum(axis=1).mean())
            if kl is not None:
                terms[1] = float(kl(mu, logvar).sum(axis=1).mean())
            return made(terms[0], terms[1], beta)

        return like

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "recon is averaged over the pixels, kl is a sum: against it the KL "
                "weighs D times as much, as if beta were multiplied by D.",
                scaled(lambda N, D, Z: 1 / D, one),
            ),
            Mistake(
                "kl is averaged over the latents: as if beta were divided by Z. The "
                "latents are independent, so their KLs add up.",
                scaled(one, lambda N, D, Z: 1 / Z),
            ),
            Mistake(
                "Both terms are averages, recon over the pixels and kl over the "
                "latents: beta is off by D / Z. In nats per image, both are sums.",
                scaled(lambda N, D, Z: 1 / D, lambda N, D, Z: 1 / Z),
            ),
            Mistake(
                "Both terms are summed over the images: the gradient, and with it the "
                "learning rate, depends on the size of the batch. Take the mean.",
                scaled(lambda N, D, Z: N, lambda N, D, Z: N),
            ),
            Mistake(
                "recon is summed over the images and kl averaged: as if beta were "
                "divided by the size of the batch.",
                scaled(lambda N, D, Z: N, one),
            ),
            Mistake(
                "kl is summed over the images and recon averaged: as if beta were "
                "multiplied by the size of the batch.",
                scaled(one, lambda N, D, Z: N),
            ),
            Mistake(
                "beta multiplies recon. It is the weight of the KL.",
                lambda *case: (
                    case[4] * parts(*case[:4])[0] + parts(*case[:4])[1],
                    *parts(*case[:4]),
                ),
            ),
            Mistake(
                "The loss is right. beta is in the third value too: report the KL as "
                "it is, or nobody can compare two betas.",
                lambda *case: (*exact(*case)[:2], case[4] * exact(*case)[2]),
            ),
            Mistake(
                "beta is not in the loss.",
                lambda *case: (sum(parts(*case[:4])), *parts(*case[:4])),
            ),
            Mistake(
                "The KL has the other sign. It is never negative, and a loss is "
                "lowered: what is added to it is what we want little of.",
                scaled(one, lambda N, D, Z: -1),
            ),
            Mistake(
                "The KL is subtracted in the loss. recon − KL is neither the ELBO nor "
                "its negative.",
                lambda *case: (
                    parts(*case[:4])[0] - case[4] * parts(*case[:4])[1],
                    *parts(*case[:4]),
                ),
            ),
            Mistake(
                "You took exp(logvar) for σ. It is σ²: logvar is log σ².",
                lambda logits, x, mu, logvar, beta: exact(
                    logits, x, mu, 2 * logvar, beta
                ),
            ),
            *(
                Mistake(f"{what} in bits. Nats are wanted: the natural logarithm.", f)
                for what, f in {
                    "Both terms are": scaled(_bits, _bits),
                    "recon is": scaled(_bits, one),
                    "kl is": scaled(one, _bits),
                }.items()
            ),
            *(
                Mistake(
                    f"{what} summed over the images and averaged over what is in one: "
                    "sum over axis 1, then take the mean over the images.",
                    scaled(a, b),
                )
                for what, a, b in (
                    ("Both terms are", _by_pixel, _by_latent),
                    ("recon is", _by_pixel, one),
                    ("kl is", one, _by_latent),
                )
            ),
            Mistake(
                "The values are right, in another order: wanted are loss, recon, kl.",
                lambda *case: tuple(exact(*case)[k] for k in (0, 2, 1)),
            ),
            Mistake(
                "The values are right, in another order: wanted are loss, recon, kl.",
                lambda *case: tuple(exact(*case)[k] for k in (1, 2, 0)),
            ),
            *(Mistake(says, instead(recon=f)) for says, f in RECON.items()),
            *(Mistake(says, instead(kl=f)) for says, f in KL.items()),
        ],
        returns=("loss", "recon", "kl"),
    )

    x = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    far = 800 * np.array([[1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]])  # two are wrong
    case = far, x, judge.normal(2, 2), judge.normal(2, 2), 2.0

    def at_most(most: float) -> Any:
        """−log p is |logit| where the pixel is the other, or what can be had of it."""

        def like(*case: Any) -> Terms:
            logits, x, mu, logvar, beta = case
            recon = np.clip((1 - 2 * x) * logits, 0, most).sum(axis=1).mean()
            return made(float(recon), exact_kl(mu, logvar), beta)

        return like

    judge.match(
        [case],
        at_most(np.inf),
        [
            *(
                Mistake(
                    f"recon is {bad} for logits of ±800. There p is 0 or 1 in floating "
                    "point: go from the logits to the loss without p (lesson 5).",
                    lambda *case, bad=bad: made(bad, exact_kl(*case[2:4]), case[4]),
                )
                for bad in (np.nan, np.inf)
            ),
            *(
                Mistake(
                    "For logits of ±800 recon is too small: p was kept away from 0 and "
                    "1, so that no wrong pixel costs more than some −log ε. Go from "
                    "the logits to the loss without p (lesson 5).",
                    at_most(-np.log(tiny)),
                )
                for tiny in (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15)
            ),
        ],
        returns=("loss", "recon", "kl"),
    )


@exercise(2)
def kl_weight(judge: Judge) -> None:
    """Linear interpolation between two points, and level after them."""
    steps = [(s, w) for w in (4, 10, 1) for s in (0, 1, 2, 3, 4, 7, 10, 25)]

    def exact(step: int, warmup: int) -> float:
        return float(np.interp(step, [0, warmup], [0, 1])) if warmup else 1.0

    def cases(of: list[tuple[int, int]], mistakes: list[Mistake]) -> None:
        judge.match(of, exact, mistakes)

    cases(
        steps,
        [
            Mistake(
                "After the warm-up it goes on rising: the KL then weighs more than in "
                "the ELBO. Its factor ends at 1.",
                lambda step, warmup: step / warmup,
            ),
            Mistake(
                "It goes the other way: the KL counts in full first and fades out. At "
                "step 0 its factor is 0.",
                lambda step, warmup: 1 - exact(step, warmup),
            ),
            Mistake(
                "It is one step ahead: step 0 has the factor 0.",
                lambda step, warmup: exact(step + 1, warmup),
            ),
            Mistake(
                "It jumps from 0 to 1 (does `//` round it down?). Wanted is a straight "
                "line between.",
                lambda step, warmup: float(step >= warmup),
            ),
            Mistake(
                "That is 1 from the beginning: there is no warm-up in it.",
                lambda step, warmup: 1.0,
            ),
            Mistake(
                "After the warm-up it falls back to 0. It stays at 1.",
                lambda step, warmup: step / warmup if step <= warmup else 0.0,
            ),
        ],
    )
    cases(
        [(s, 0) for s in (0, 1, 5)],
        [
            Mistake(
                "With a warm-up of 0 steps the KL counts in full from step 0 on.",
                lambda step, warmup: float(step > 0),
            ),
            Mistake(
                "With a warm-up of 0 steps the KL would never count.",
                lambda step, warmup: 0.0,
            ),
        ],
    )


@exercise(3)
def collapsed_loss(judge: Judge) -> None:
    """The entropies of the pixels; a pixel that is always 0 costs nothing."""
    cases = []
    for N, D in [(8, 4), (12, 6), (5, 3), (20, 5)]:
        X = (judge.uniform(N, D) < judge.uniform(D)).astype(float)
        X[:, 0] = 0  # background
        X[:2, 1] = 0, 1  # and one that is not
        cases.append((X,))

    def entropy(p: Array) -> Array:
        return stats.entropy(np.stack([p, 1 - p]))

    def exact(X: Array) -> float:
        return float(entropy(X.mean(axis=0)).sum())

    def one_half_only(X: Array) -> float:
        p = X.mean(axis=0)
        return float(-(p * np.log(np.where(p > 0, p, 1))).sum())

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "0 log 0 came out as NaN. A pixel that is the same in every image "
                "costs nothing: the limit is 0.",
                lambda X: np.nan,
            ),
            Mistake(
                "That is in bits. Nats are wanted: the natural logarithm.",
                lambda X: exact(X) / np.log(2),
            ),
            Mistake(
                "You averaged over the pixels. Their costs add up.",
                lambda X: exact(X) / X.shape[1],
            ),
            Mistake(
                "You averaged over the pixels that are not the same in every image. "
                "The costs of the pixels add up.",
                lambda X: exact(X) / np.ptp(X, axis=0).sum(),
            ),
            *(
                Mistake(
                    "Those are means over the pixels of each image. The decoder says "
                    "one probability for each pixel: the mean over the images, axis 0.",
                    f,
                )
                for f in (
                    lambda X: entropy(X.mean(axis=1)).sum(),
                    lambda X: entropy(X.mean(axis=1)).mean(),
                )
            ),
            Mistake(
                "You summed over the images. Wanted is the loss per image.",
                lambda X: exact(X) * len(X),
            ),
            Mistake(
                "The sign is the other way round: that is log p, wanted is the loss.",
                lambda X: -exact(X),
            ),
            Mistake(
                "One probability for all pixels is not the best: the decoder may say "
                "another for each pixel.",
                lambda X: X.shape[1] * float(entropy(X.mean())),
            ),
            Mistake(
                "Only the pixels that are 1 are paid for. Those that are 0 cost "
                "−log(1 − p).",
                one_half_only,
            ),
            Mistake(
                "A decoder that says ½ everywhere knows nothing of the images. It can "
                "do better without a code.",
                lambda X: X.shape[1] * np.log(2),
            ),
            Mistake(
                "It costs nothing only if the decoder knows the image. Without a code "
                "it says the same for all.",
                lambda X: 0.0,
            ),
        ],
    )
