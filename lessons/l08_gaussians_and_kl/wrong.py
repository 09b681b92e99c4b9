"""Lesson 8: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong

LOG_2PI = np.log(2 * np.pi)


@wrong(1, "exp(logvar) for σ")
def variance_as_sigma(x, mu, logvar):
    sigma = np.exp(logvar)
    return -0.5 * (LOG_2PI + 2 * np.log(sigma) + ((x - mu) / sigma) ** 2)


@wrong(1, "log 2π is missing")
def without_its_constant(x, mu, logvar):
    return -0.5 * (logvar + (x - mu) ** 2 / np.exp(logvar))


@wrong(1, "logvar itself is missing")
def without_logvar(x, mu, logvar):
    return -0.5 * (LOG_2PI + (x - mu) ** 2 / np.exp(logvar))


@wrong(1, "−log N")
def negative(x, mu, logvar):
    return 0.5 * (LOG_2PI + logvar + (x - mu) ** 2 / np.exp(logvar))


@wrong(1, "the density")
def density(x, mu, logvar):
    var = np.exp(logvar)
    return np.exp(-((x - mu) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)


@wrong(1, "½ before the square")
def no_half(x, mu, logvar):
    return -0.5 * (LOG_2PI + logvar) - (x - mu) ** 2 / np.exp(logvar)


@wrong(1, "summed over the last axis")
def summed(x, mu, logvar):
    return -0.5 * (LOG_2PI + logvar + (x - mu) ** 2 / np.exp(logvar)).sum(axis=-1)


@wrong(2, "averaged over the latents")
def mean_over_latents(mu, logvar):
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).mean(axis=1)


@wrong(2, "averaged over the images too")
def mean_over_the_batch(mu, logvar):
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=1).mean()


@wrong(2, "summed over the images too")
def one_number(mu, logvar):
    return 0.5 * np.sum(mu**2 + np.exp(logvar) - 1 - logvar)


@wrong(2, "Nothing is summed")
def unsummed(mu, logvar):
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar)


@wrong(2, "never negative")
def upside_down(mu, logvar):
    return 0.5 * (1 + logvar - mu**2 - np.exp(logvar)).sum(axis=1)


@wrong(2, "½ is missing")
def twice(mu, logvar):
    return (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=1)


@wrong(2, "It is σ²")
def logvar_as_log_sigma(mu, logvar):
    return 0.5 * (mu**2 + np.exp(logvar) ** 2 - 1 - 2 * logvar).sum(axis=1)


@wrong(2, "−1 is missing")
def not_zero_at_the_prior(mu, logvar):
    return 0.5 * (mu**2 + np.exp(logvar) - logvar).sum(axis=1)


@wrong(2, "not symmetric")
def backwards(mu, logvar):
    return 0.5 * ((1 + mu**2) / np.exp(logvar) - 1 + logvar).sum(axis=1)


def _mean_and_error(values):
    return values.mean(), values.std() / np.sqrt(len(values))


def _terms(mu, logvar, z):
    log_q = -0.5 * (LOG_2PI + logvar + (z - mu) ** 2 / np.exp(logvar)).sum(axis=1)
    return log_q + 0.5 * (LOG_2PI + z**2).sum(axis=1)


@wrong(3, "draws have σ = exp(logvar)")
def too_wide(mu, logvar, eps):
    return _mean_and_error(_terms(mu, logvar, mu + np.exp(logvar) * eps))


@wrong(3, "draws are of the prior")
def of_the_prior(mu, logvar, eps):
    return _mean_and_error(_terms(mu, logvar, eps))


@wrong(3, "log q − log p")
def other_sign(mu, logvar, eps):
    z = mu + np.exp(0.5 * logvar) * eps
    return _mean_and_error(-_terms(mu, logvar, z))


@wrong(3, "latents were averaged")
def mean_of_latents(mu, logvar, eps):
    z = mu + np.exp(0.5 * logvar) * eps
    return _mean_and_error(_terms(mu, logvar, z) / len(mu))


@wrong(3, "log p(z) is not in it")
def entropy_only(mu, logvar, eps):
    return _mean_and_error(-0.5 * (LOG_2PI + logvar + eps * eps).sum(axis=1))


@wrong(3, "√S times more certain")
def spread_of_single_draws(mu, logvar, eps):
    values = _terms(mu, logvar, mu + np.exp(0.5 * logvar) * eps)
    return values.mean(), values.std()


@wrong(3, "with √S only")
def over_s(mu, logvar, eps):
    values = _terms(mu, logvar, mu + np.exp(0.5 * logvar) * eps)
    return values.mean(), values.std() / len(values)


@wrong(3, "2 values are wanted")
def mean_only(mu, logvar, eps):
    return _terms(mu, logvar, mu + np.exp(0.5 * logvar) * eps).mean()


@wrong(1, "Here each element is its own")
def all_added_up(x, mu, logvar):
    return (-0.5 * (LOG_2PI + logvar + (x - mu) ** 2 * np.exp(-logvar))).sum()


@wrong(2, "summed over the images, not")
def by_latent(mu, logvar):
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=0)
