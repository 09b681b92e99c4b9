"""Lesson 12: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


@wrong(1, "one array under several names")
def aliased(decode, z, latent, values):
    codes, row = [], z.copy()
    for value in values:
        row[latent] = value
        codes.append(row)
    return decode(np.array(codes))


@wrong(1, "changes its argument z")
def written_into_z(decode, z, latent, values):
    pictures = []
    for value in values:
        z[latent] = value
        pictures.append(decode(z[None])[0])
    return np.array(pictures)


@wrong(1, "were added to the latent")
def added(decode, z, latent, values):
    codes = np.tile(z, (len(values), 1))
    codes[:, latent] += values
    return decode(codes)


@wrong(1, "The other latents are 0")
def from_nothing(decode, z, latent, values):
    codes = np.zeros((len(values), len(z)))
    codes[:, latent] = values
    return decode(codes)


@wrong(1, "All latents were set")
def everything(decode, z, latent, values):
    codes = np.tile(z, (len(values), 1))
    codes[:] = np.asarray(values)[:, None]
    return decode(codes)


@wrong(1, "Nothing moves")
def copy_changed(decode, z, latent, values):
    codes = np.tile(z, (len(values), 1))
    codes.copy()[:, latent] = values
    return decode(codes)


@wrong(1, "The latent before it")
def counted_from_one(decode, z, latent, values):
    codes = np.tile(z, (len(values), 1))
    codes[:, latent - 1] = values
    return decode(codes)


@wrong(1, "Those are the codes")
def not_decoded(decode, z, latent, values):
    codes = np.tile(z, (len(values), 1))
    codes[:, latent] = values
    return codes


@wrong(1, "decode takes codes (M, 3), not an array (3,)")
def one_code_at_a_time(decode, z, latent, values):
    pictures = []
    for value in values:
        code = z.copy()
        code[latent] = value
        pictures.append(decode(code))
    return np.stack(pictures)


def _shares(code, factor, bins):
    values = np.unique(factor)
    cells = np.linspace(code.min(), code.max(), bins + 1)
    counts = [np.histogram(code[factor == f], cells)[0] for f in values]
    return np.array(counts).T / len(code)


def _terms(p, log=np.log):
    alone = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    return np.where(
        p > 0, p * log(np.where(p > 0, p, 1) / np.where(p > 0, alone, 1)), 0
    )


def _h(p):
    return -(p[p > 0] * np.log(p[p > 0])).sum()


@wrong(2, "in bits")
def bits(code, factor, bins=20):
    return _terms(_shares(code, factor, bins), np.log2).sum()


@wrong(2, "never negative")
def upside_down(code, factor, bins=20):
    return -_terms(_shares(code, factor, bins)).sum()


@wrong(2, "entropy of the pair")
def joint_entropy(code, factor, bins=20):
    return _h(_shares(code, factor, bins))


@wrong(2, "still open about the factor")
def conditional_entropy(code, factor, bins=20):
    p = _shares(code, factor, bins)
    return _h(p) - _h(p.sum(axis=1))


@wrong(2, "divided by the factor's entropy")
def normalised(code, factor, bins=20):
    p = _shares(code, factor, bins)
    return _terms(p).sum() / _h(p.sum(axis=0))


@wrong(2, "a count over N")
def of_counts(code, factor, bins=20):
    return _terms(_shares(code, factor, bins)).sum() * len(code)


@wrong(2, "equal width")
def quantiles(code, factor, bins=20):
    edges = np.quantile(code, np.linspace(0, 1, bins + 1))
    counts = [np.histogram(code[factor == f], edges)[0] for f in np.unique(factor)]
    return _terms(np.array(counts).T / len(code)).sum()


@wrong(2, "0 log 0")
def not_a_number(code, factor, bins=20):
    p = _shares(code, factor, bins)
    with np.errstate(all="ignore"):
        return (p * np.log(p / np.outer(p.sum(axis=1), p.sum(axis=0)))).sum()


@wrong(2, "entropy of the factor, whatever")
def no_code(code, factor, bins=20):
    return _h(_shares(code, factor, bins).sum(axis=0))


def _of_cells(cells, factor):
    counts = np.array(
        [
            [np.sum((cells == b) & (factor == f)) for f in np.unique(factor)]
            for b in np.unique(cells)
        ]
    )
    return _terms(counts / len(factor)).sum()


@wrong(2, "a bin of its own")
def top_bin(code, factor, bins=20):
    edges = np.linspace(code.min(), code.max(), bins + 1)
    return _of_cells(np.digitize(code, edges), factor)


@wrong(2, "one bin too few")
def bins_for_edges(code, factor, bins=20):
    return _terms(_shares(code, factor, bins - 1)).sum()


@wrong(2, "into 20 bins, whatever")
def bins_not_used(code, factor, bins=20):
    return _terms(_shares(code, factor, 20)).sum()


@wrong(2, "into 10 bins, whatever")
def bins_of_numpy(code, factor, bins=20):
    return _terms(_shares(code, factor, 10)).sum()


@wrong(2, "in place of shares")
def counts_throughout(code, factor, bins=20):
    return _terms(_shares(code, factor, bins) * len(code)).sum()


@wrong(2, "In the logarithm are counts")
def counts_in_the_logarithm(code, factor, bins=20):
    return _terms(_shares(code, factor, bins) * len(code)).sum() / len(code)


@wrong(2, "The factor was put into bins too")
def both_in_bins(code, factor, bins=20):
    return _terms(np.histogram2d(code, factor, bins)[0] / len(code)).sum()


@wrong(2, "entropy of the code's bins")
def no_factor(code, factor, bins=20):
    return _h(_shares(code, factor, bins).sum(axis=1))


@wrong(3, "not divided by the factor's entropy")
def in_nats(information, entropies):
    ranked = np.sort(information, axis=0)
    return (ranked[-1] - ranked[-2]).mean()


@wrong(3, "down a column")
def along_rows(information, entropies):
    ranked = np.sort(information / entropies, axis=1)
    return (ranked[:, -1] - ranked[:, -2]).mean()


@wrong(3, "for each latent, and not divided")
def along_rows_in_nats(information, entropies):
    ranked = np.sort(information, axis=1)
    return (ranked[:, -1] - ranked[:, -2]).mean()


@wrong(3, "Each row was sorted")
def last_axis(information, entropies):
    ranked = np.sort(information)
    return ((ranked[-1] - ranked[-2]) / entropies).mean()


@wrong(3, "Nothing was sorted")
def first_two(information, entropies):
    return (abs(information[0] - information[1]) / entropies).mean()


@wrong(3, "that tell least")
def from_the_small_end(information, entropies):
    ranked = np.sort(information, axis=0)
    return ((ranked[0] - ranked[1]) / entropies).mean()


@wrong(3, "were taken for one")
def the_best_dropped(information, entropies):
    best = information.max(axis=0)
    rest = np.where(information < best, information, 0)
    return ((best - rest.max(axis=0)) / entropies).mean()


@wrong(3, "best latent alone")
def no_gap(information, entropies):
    return (information.max(axis=0) / entropies).mean()


@wrong(3, "best less the worst")
def range_of_all(information, entropies):
    ranked = np.sort(information, axis=0)
    return ((ranked[-1] - ranked[0]) / entropies).mean()


@wrong(3, "added up")
def total(information, entropies):
    ranked = np.sort(information, axis=0)
    return ((ranked[-1] - ranked[-2]) / entropies).sum()


@wrong(3, "largest information there is")
def share_of_the_best(information, entropies):
    ranked = np.sort(information, axis=0)
    return (1 - ranked[-2] / ranked[-1]).mean()


@wrong(3, "had to be transposed")
def reshaped(information, entropies):
    Z, F = information.shape
    by_factor = information.reshape(F, Z)
    ranked = np.sort(by_factor, axis=1)
    return ((ranked[:, -1] - ranked[:, -2]) / entropies).mean()


@wrong(3, "sum of the entropies")
def ratio_of_sums(information, entropies):
    ranked = np.sort(information, axis=0)
    return (ranked[-1] - ranked[-2]).sum() / entropies.sum()


@wrong(1, "they count from 0")
def one_too_far(decode, z, latent, values):
    codes = np.tile(z, (len(values), 1))
    codes[:, (latent + 1) % len(z)] = values
    return decode(codes)
