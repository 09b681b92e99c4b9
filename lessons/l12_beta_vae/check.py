"""Lesson 12: one code at a time, scikit-learn's information, gaps by sorted lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lessons.kit import Judge, Mistake, exercise

Array = Any


@exercise(1)
def traverse(judge: Judge) -> None:
    """Each code by itself: one latent set, the others untouched."""
    cases = []
    for Z, latent, M in [(3, 0, 4), (5, 4, 2), (2, 1, 5), (4, 2, 3)]:
        W, b = judge.normal(Z, 6), judge.normal(6)

        def decode(codes: Array, W: Array = W, b: Array = b) -> Array:
            codes = np.asarray(codes)
            if codes.ndim != 2:
                raise ValueError(
                    f"decode takes codes (M, {len(W)}), not an array {codes.shape}"
                )
            return np.tanh(codes @ W + b)

        cases.append((decode, judge.normal(Z), latent, judge.normal(M)))

    def by_codes(make: Callable[..., Any]) -> Callable[..., Array]:
        """What is decoded of the codes that `make` returns one by one."""

        def like(decode: Any, z: Array, latent: int, values: Array) -> Array:
            codes = [make(z, latent, value, values) for value in values]
            return np.concatenate([decode(code[None]) for code in codes])

        return like

    def one_set(z: Array, latent: int, value: float, values: Array) -> Array:
        return np.concatenate([z[:latent], [value], z[latent + 1 :]])

    def moved(z: Array, latent: int, value: float, values: Array) -> Array:
        return one_set(z, latent, z[latent] + value, values)

    def last_for_all(z: Array, latent: int, value: float, values: Array) -> Array:
        return one_set(z, latent, values[-1], values)

    def others_zero(z: Array, latent: int, value: float, values: Array) -> Array:
        return one_set(np.zeros_like(z), latent, value, values)

    def one_too_far(z: Array, latent: int, value: float, values: Array) -> Array:
        return one_set(z, (latent + 1) % len(z), value, values)

    def one_too_near(z: Array, latent: int, value: float, values: Array) -> Array:
        return one_set(z, (latent - 1) % len(z), value, values)

    judge.match(
        cases,
        by_codes(one_set),
        [
            Mistake(
                "All pictures are that of the last value: the codes are one array "
                "under several names, and each value was written over the one before. "
                "Copy z for each.",
                by_codes(last_for_all),
            ),
            Mistake(
                "The values were added to the latent. It is to be set to them.",
                by_codes(moved),
            ),
            Mistake(
                "The other latents are 0. They stay as they are in z: only then is it "
                "this image that changes.",
                by_codes(others_zero),
            ),
            Mistake(
                "All latents were set. Only one is to move.",
                by_codes(lambda z, latent, value, values: np.full_like(z, value)),
            ),
            Mistake(
                "Nothing moves: every picture is that of z itself.",
                by_codes(lambda z, latent, value, values: z),
            ),
            Mistake(
                "The latent after it was set: they count from 0.",
                by_codes(one_too_far),
            ),
            Mistake(
                "The latent before it was set: they count from 0.",
                by_codes(one_too_near),
            ),
            Mistake(
                "Those are the codes; wanted is what is decoded from them.",
                lambda decode, z, latent, values: np.stack(
                    [one_set(z, latent, value, values) for value in values]
                ),
            ),
        ],
    )


def _binned(code: Array, bins: int) -> Array:
    """Number the bins, from the left; the largest value is in the last one."""
    edges = np.linspace(code.min(), code.max(), bins + 1)
    return np.clip(np.searchsorted(edges, code, side="right") - 1, 0, bins - 1)


def _entropy(labels: Array) -> float:
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(share * np.log(share)).sum())


@exercise(2)
def mutual_information(judge: Judge) -> None:
    """scikit-learn's, of bins; and what it is made of, for what else was computed."""
    from sklearn.metrics import mutual_info_score

    cases = []
    sizes = [(200, 3, 5, 0.5), (300, 4, 20, 1.0), (60, 2, 8, 0.1), (250, 6, 3, 0.8)]
    for N, K, bins, noise in sizes:
        factor = (judge.uniform(N) ** 2 * K).astype(int)  # some values are rarer
        cases.append((factor + noise * judge.normal(N), factor, bins))

    def exact(code: Array, factor: Array, bins: int) -> float:
        return float(mutual_info_score(_binned(code, bins), factor))

    def joint(code: Array, factor: Array, bins: int) -> float:
        return _entropy(_binned(code, bins) * (factor.max() + 1) + factor)

    def counted(code: Array, factor: Array, bins: int) -> float:
        """Σ p log [n(b, f) / (n(b) n(f))]: a log N is left over."""
        return exact(code, factor, bins) - float(np.log(len(code)))

    def largest_alone(code: Array, factor: Array, bins: int) -> float:
        edges = np.linspace(code.min(), code.max(), bins + 1)
        return float(mutual_info_score(np.searchsorted(edges, code, "right"), factor))

    def by_quantiles(code: Array, factor: Array, bins: int) -> float:
        edges = np.quantile(code, np.linspace(0, 1, bins + 1)[1:-1])
        return float(mutual_info_score(np.searchsorted(edges, code, "right"), factor))

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "That is in bits. Nats are wanted: the natural logarithm.",
                lambda *case: exact(*case) / np.log(2),
            ),
            Mistake(
                "The sign is the other way round: information is never negative.",
                lambda *case: -exact(*case),
            ),
            Mistake(
                "That is the entropy of the pair, H(b, f). Information is what the two "
                "share: H(b) + H(f) − H(b, f).",
                joint,
            ),
            Mistake(
                "That is H(f | b): what is still open about the factor once the bin is "
                "known. Wanted is what the bin told.",
                lambda code, factor, bins: _entropy(factor) - exact(code, factor, bins),
            ),
            Mistake(
                "You divided by the factor's entropy. That is for the gap, later; here "
                "nats are wanted.",
                lambda code, factor, bins: exact(code, factor, bins) / _entropy(factor),
            ),
            Mistake(
                "The joint shares are not divided by N: a share is a count over N.",
                lambda code, factor, bins: len(code) * exact(code, factor, bins),
            ),
            Mistake(
                "Those are counts in place of shares: divide each by N, the joint and "
                "both margins.",
                lambda *case: len(case[0]) * counted(*case),
            ),
            Mistake(
                "In the logarithm are counts: divide each by N, the joint and both "
                "margins.",
                counted,
            ),
            Mistake(
                "The largest value of the code got a bin of its own. It belongs to the "
                "last bin.",
                largest_alone,
            ),
            *(
                Mistake("There is one bin too few: `bins` bins have bins + 1 edges.", f)
                for f in (
                    lambda code, factor, bins: exact(code, factor, bins - 1),
                    lambda code, factor, bins: largest_alone(code, factor, bins - 1),
                )
            ),
            *(
                Mistake(
                    f"The code is put into {always} bins, whatever `bins` is.",
                    lambda code, factor, bins, always=always: exact(
                        code, factor, always
                    ),
                )
                for always in (20, 10)
            ),
            Mistake(
                "The factor was put into bins too. Its values are kinds already: with "
                "fewer bins than values some would be thrown together.",
                lambda code, factor, bins: float(
                    mutual_info_score(_binned(code, bins), _binned(factor, bins))
                ),
            ),
            Mistake(
                "That is the entropy of the code's bins, whatever the factor is.",
                lambda code, factor, bins: _entropy(_binned(code, bins)),
            ),
            Mistake(
                "The bins hold equal numbers of images. Wanted are bins of equal "
                "width.",
                by_quantiles,
            ),
            Mistake(
                "0 log 0 came out as NaN: sum over the pairs that occur.",
                lambda *case: np.nan,
            ),
            Mistake(
                "That is the entropy of the factor, whatever the code is.",
                lambda code, factor, bins: _entropy(factor),
            ),
        ],
    )


@exercise(3)
def mig(judge: Judge) -> None:
    """The first and the second of a sorted list, factor by factor."""
    cases = []
    for Z, F in [(4, 3), (3, 5), (6, 2), (5, 4)]:
        entropies = 1 + judge.uniform(F)
        cases.append((judge.uniform(Z, F) * entropies, entropies))
    information, entropies = cases[0]
    tied = information.copy()
    tied[tied.argmin(axis=0)[0], 0] = tied[:, 0].max()
    cases.append((tied, entropies))

    def first_rows(information: Array) -> Array:
        return information[0] - information[1]

    def smallest(information: Array) -> Array:
        columns = [sorted(column) for column in information.T.tolist()]
        return np.array([c[1] - c[0] for c in columns])

    def of_rows(information: Array) -> Array:
        ranked = np.sort(information, axis=1)
        return ranked[-1] - ranked[-2]

    def distinct(information: Array) -> Array:
        columns = [sorted(set(column)) for column in information.T.tolist()]
        return np.array([c[-1] - c[-2] for c in columns])

    def of(gap: Callable[[Array], Array]) -> Callable[[Array, Array], float]:
        return lambda information, H: float(np.mean(gap(information) / H))

    def gaps(information: Array) -> Array:
        """The two largest of each column, one less the other."""
        columns = [sorted(column, reverse=True) for column in information.T.tolist()]
        return np.array([c[0] - c[1] for c in columns])

    def exact(information: Array, entropies: Array) -> float:
        return float(np.mean(gaps(information) / entropies))

    def scaled(H: Array) -> Array:
        """The same shape, and the columns as a `reshape` in place of `.T` has them."""
        return H.reshape(H.shape[::-1]).T

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "The gap is not divided by the factor's entropy: a factor with many "
                "values would count more.",
                lambda information, H: float(gaps(information).mean()),
            ),
            Mistake(
                "The gap is between factors, for each latent. Wanted is, for each "
                "factor, the gap between latents: down a column.",
                lambda information, H: float(gaps((information / H).T).mean()),
            ),
            Mistake(
                "The gap is between factors, for each latent, and not divided by the "
                "entropy. Wanted is, for each factor, the gap between latents: down a "
                "column.",
                lambda information, H: float(gaps(information.T).mean()),
            ),
            Mistake(
                "Each row was sorted, where each column has to be: `np.sort` sorts "
                "along the last axis unless it is told another.",
                of(of_rows),
            ),
            *(
                Mistake(
                    "Nothing was sorted: that is the first latent less the second.", f
                )
                for f in (of(first_rows), of(lambda i: np.abs(first_rows(i))))
            ),
            *(
                Mistake(
                    "Those are the two latents that tell least. Wanted are the two "
                    "that tell most.",
                    f,
                )
                for f in (of(smallest), of(lambda i: -smallest(i)))
            ),
            Mistake(
                "Two latents that tell equally much were taken for one. The second "
                "latent is then as good as the best, and the gap is 0.",
                of(distinct),
            ),
            Mistake(
                "That is the best latent alone. MIG asks how far it is ahead: a code "
                "that holds a factor twice scores 0.",
                lambda information, H: float((information.max(axis=0) / H).mean()),
            ),
            Mistake(
                "That is the best less the worst. Wanted is the best less the second.",
                lambda information, H: float((np.ptp(information, axis=0) / H).mean()),
            ),
            Mistake(
                "The gaps were added up. Wanted is their mean over the factors.",
                lambda information, H: float((gaps(information) / H).sum()),
            ),
            Mistake(
                "You divided by the largest information there is. A factor that no "
                "latent tells of would look as good as one that is told in full.",
                lambda information, H: float(
                    (gaps(information) / information.max(axis=0)).mean()
                ),
            ),
            Mistake(
                "The matrix was reshaped where it had to be transposed: rows and "
                "columns are mixed up.",
                lambda information, H: exact(scaled(information), H),
            ),
            Mistake(
                "The sum of the gaps was divided by the sum of the entropies. Each gap "
                "has its own.",
                lambda information, H: float(gaps(information).sum() / H.sum()),
            ),
        ],
    )
