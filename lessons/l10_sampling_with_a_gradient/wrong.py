"""Lesson 10: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


@wrong(1, "exp(logvar) for σ")
def variance_as_width(mu, logvar, eps):
    return mu + np.exp(logvar) * eps


@wrong(1, "logvar itself")
def logvar_as_width(mu, logvar, eps):
    return mu + logvar * eps


@wrong(1, "mean is not in it")
def no_mean(mu, logvar, eps):
    return eps * np.sqrt(np.exp(logvar))


@wrong(1, "width is not in it")
def unit_width(mu, logvar, eps):
    return mu + eps


@wrong(1, "stretched the mean too")
def moved_first(mu, logvar, eps):
    return np.exp(logvar / 2) * (eps + mu)


@wrong(1, "way back")
def standardised(mu, logvar, eps):
    return (eps - mu) * np.exp(-logvar / 2)


@wrong(2, "½ is missing")
def no_half(slopes, eps, logvar):
    return slopes.mean(), (slopes * eps * np.exp(logvar / 2)).mean()


@wrong(2, "gradient by σ")
def by_sigma(slopes, eps, logvar):
    return slopes.mean(), (slopes * eps).mean()


@wrong(2, "noise is missing")
def no_noise(slopes, eps, logvar):
    return slopes.mean(), slopes.mean() * np.exp(logvar / 2) / 2


@wrong(2, "σ² / 2")
def with_the_variance(slopes, eps, logvar):
    return slopes.mean(), (slopes * eps).mean() * np.exp(logvar) / 2


@wrong(2, "added up")
def summed(slopes, eps, logvar):
    return slopes.sum(), (slopes * eps).sum() * np.exp(logvar / 2) / 2


@wrong(2, "multiplied by σ")
def scaled_by_mu(slopes, eps, logvar):
    sigma = np.exp(logvar / 2)
    return (slopes * sigma).mean(), (slopes * eps * sigma).mean() / 2


def _scores(z, mu, logvar):
    var = np.exp(logvar)
    return (z - mu) / var, 0.5 * ((z - mu) ** 2 / var - 1)


@wrong(3, "f is not in it")
def scores_only(values, z, mu, logvar):
    by_mu, by_logvar = _scores(z, mu, logvar)
    return by_mu.mean(), by_logvar.mean()


@wrong(3, "product belongs inside")
def product_of_means(values, z, mu, logvar):
    by_mu, by_logvar = _scores(z, mu, logvar)
    return values.mean() * by_mu.mean(), values.mean() * by_logvar.mean()


@wrong(3, "divided by σ")
def over_sigma(values, z, mu, logvar):
    by_mu, by_logvar = _scores(z, mu, logvar)
    return (values * by_mu * np.exp(logvar / 2)).mean(), (values * by_logvar).mean()


@wrong(3, "other way round")
def other_sign(values, z, mu, logvar):
    by_mu, by_logvar = _scores(z, mu, logvar)
    return -(values * by_mu).mean(), -(values * by_logvar).mean()


@wrong(3, "−1 is missing")
def no_normaliser(values, z, mu, logvar):
    by_mu, _ = _scores(z, mu, logvar)
    return (values * by_mu).mean(), (values * (z - mu) ** 2 / np.exp(logvar)).mean() / 2


@wrong(3, "½ is missing")
def score_of_variance(values, z, mu, logvar):
    by_mu, by_logvar = _scores(z, mu, logvar)
    return (values * by_mu).mean(), (values * 2 * by_logvar).mean()


@wrong(3, "added up")
def summed_scores(values, z, mu, logvar):
    by_mu, by_logvar = _scores(z, mu, logvar)
    return (values * by_mu).sum(), (values * by_logvar).sum()
