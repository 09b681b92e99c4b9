"""Lesson 11: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


def _bce(logits, x):
    return np.logaddexp(0, logits) - logits * x


def _kl(mu, logvar):
    return 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar)


@wrong(1, "averaged over the pixels, kl is a sum")
def mean_of_pixels(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).mean()
    kl = _kl(mu, logvar).sum(axis=1).mean()
    return recon + beta * kl, recon, kl


@wrong(1, "averaged over the latents: as if")
def mean_of_latents(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=1).mean()
    kl = _kl(mu, logvar).mean()
    return recon + beta * kl, recon, kl


@wrong(1, "off by D / Z")
def means_of_all(logits, x, mu, logvar, beta):
    recon, kl = _bce(logits, x).mean(), _kl(mu, logvar).mean()
    return recon + beta * kl, recon, kl


@wrong(1, "depends on the size of the batch")
def sums_of_all(logits, x, mu, logvar, beta):
    recon, kl = _bce(logits, x).sum(), _kl(mu, logvar).sum()
    return recon + beta * kl, recon, kl


@wrong(1, "divided by the size of the batch")
def sum_and_mean(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum()
    kl = _kl(mu, logvar).sum(axis=1).mean()
    return recon + beta * kl, recon, kl


@wrong(1, "multiplied by the size of the batch")
def mean_and_sum(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=1).mean()
    kl = _kl(mu, logvar).sum()
    return recon + beta * kl, recon, kl


@wrong(1, "beta multiplies recon")
def beta_at_the_wrong_place(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=1).mean()
    kl = _kl(mu, logvar).sum(axis=1).mean()
    return beta * recon + kl, recon, kl


@wrong(1, "beta is in the third value too")
def weighted_kl_reported(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=1).mean()
    kl = beta * _kl(mu, logvar).sum(axis=1).mean()
    return recon + kl, recon, kl


@wrong(1, "beta is not in the loss")
def beta_forgotten(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=1).mean()
    kl = _kl(mu, logvar).sum(axis=1).mean()
    return recon + kl, recon, kl


@wrong(1, "other sign")
def negative_kl(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=1).mean()
    kl = 0.5 * (1 + logvar - mu**2 - np.exp(logvar)).sum(axis=1).mean()
    return recon + beta * kl, recon, kl


@wrong(1, "subtracted in the loss")
def kl_subtracted(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=1).mean()
    kl = _kl(mu, logvar).sum(axis=1).mean()
    return recon - beta * kl, recon, kl


@wrong(1, "It is σ²")
def logvar_as_log_sigma(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=1).mean()
    sigma = np.exp(logvar)
    kl = (0.5 * (mu**2 + sigma**2 - 1) - np.log(sigma)).sum(axis=1).mean()
    return recon + beta * kl, recon, kl


def _terms(beta, logits, x, mu, logvar, pixel=_bce, latent=_kl):
    recon = pixel(logits, x).sum(axis=1).mean()
    kl = latent(mu, logvar).sum(axis=1).mean()
    return recon + beta * kl, recon, kl


def _sigmoid(logits):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))


def _bernoulli(p, x):
    with np.errstate(all="ignore"):
        return np.where(x > 0, -np.log(p), -np.log(1 - p))


@wrong(1, "Both terms are in bits")
def both_in_bits(logits, x, mu, logvar, beta):
    return tuple(v / np.log(2) for v in _terms(beta, logits, x, mu, logvar))


@wrong(1, "recon is in bits")
def recon_in_bits(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, lambda t, x: _bce(t, x) / np.log(2))


@wrong(1, "kl is in bits")
def kl_in_bits(logits, x, mu, logvar, beta):
    return _terms(
        beta, logits, x, mu, logvar, latent=lambda m, v: _kl(m, v) / np.log(2)
    )


@wrong(1, "Both terms are summed over the images and averaged")
def axis_0(logits, x, mu, logvar, beta):
    recon = _bce(logits, x).sum(axis=0).mean()
    kl = _kl(mu, logvar).sum(axis=0).mean()
    return recon + beta * kl, recon, kl


@wrong(1, "recon is summed over the images and averaged")
def recon_by_axis_0(logits, x, mu, logvar, beta):
    loss, recon, kl = _terms(beta, logits, x, mu, logvar)
    recon = _bce(logits, x).sum(axis=0).mean()
    return recon + beta * kl, recon, kl


@wrong(1, "kl is summed over the images and averaged over")
def kl_by_axis_0(logits, x, mu, logvar, beta):
    loss, recon, kl = _terms(beta, logits, x, mu, logvar)
    kl = _kl(mu, logvar).sum(axis=0).mean()
    return recon + beta * kl, recon, kl


@wrong(1, "in another order")
def swapped(logits, x, mu, logvar, beta):
    loss, recon, kl = _terms(beta, logits, x, mu, logvar)
    return loss, kl, recon


@wrong(1, "In recon only the pixels that are 1")
def ones_only(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, lambda t, x: -x * np.log(_sigmoid(t)))


@wrong(1, "squared error")
def squared(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, lambda t, x: (_sigmoid(t) - x) ** 2)


@wrong(1, "recon has the other sign")
def log_likelihood_of_pixels(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, lambda t, x: -_bce(t, x))


@wrong(1, "x and 1 − x are swapped")
def negative(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, lambda t, x: _bce(t, 1 - x))


@wrong(1, "recon is NaN: a logit")
def logits_as_probabilities(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, _bernoulli)


@wrong(1, "The sigmoid was taken twice")
def sigmoid_twice(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, lambda t, x: _bce(_sigmoid(t), x))


@wrong(1, "where is the ½")
def no_half(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, latent=lambda m, v: 2 * _kl(m, v))


@wrong(1, "the log σ² has the other sign")
def plus_logvar(logits, x, mu, logvar, beta):
    return _terms(
        beta,
        logits,
        x,
        mu,
        logvar,
        latent=lambda m, v: 0.5 * (m**2 + np.exp(v) - 1 + v),
    )


@wrong(1, "µ is not squared")
def mean_not_squared(logits, x, mu, logvar, beta):
    return _terms(
        beta, logits, x, mu, logvar, latent=lambda m, v: 0.5 * (m + np.exp(v) - 1 - v)
    )


@wrong(1, "σ in place of σ²")
def sigma_for_variance(logits, x, mu, logvar, beta):
    return _terms(
        beta,
        logits,
        x,
        mu,
        logvar,
        latent=lambda m, v: 0.5 * (m**2 + np.exp(0.5 * v) - 1 - v),
    )


@wrong(1, "the −1 is missing")
def no_minus_one(logits, x, mu, logvar, beta):
    return _terms(
        beta, logits, x, mu, logvar, latent=lambda m, v: 0.5 * (m**2 + np.exp(v) - v)
    )


@wrong(1, "recon is right")
def kl_of_the_mean_alone(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, latent=lambda m, v: 0.5 * m**2)


@wrong(1, "recon is inf for logits")
def by_probabilities(logits, x, mu, logvar, beta):
    return _terms(beta, logits, x, mu, logvar, lambda t, x: _bernoulli(_sigmoid(t), x))


@wrong(1, "recon is nan for logits")
def by_probabilities_times_x(logits, x, mu, logvar, beta):
    def pixel(t, x):
        p = _sigmoid(t)
        with np.errstate(all="ignore"):
            return -(x * np.log(p) + (1 - x) * np.log(1 - p))

    return _terms(beta, logits, x, mu, logvar, pixel)


@wrong(1, "p was kept away from 0 and 1")
def clipped(logits, x, mu, logvar, beta):
    def pixel(t, x):
        return _bernoulli(np.clip(_sigmoid(t), 1e-7, 1 - 1e-7), x)

    return _terms(beta, logits, x, mu, logvar, pixel)


@wrong(2, "goes on rising")
def never_level(step, warmup):
    return step / warmup if warmup else 1.0


@wrong(2, "goes the other way")
def fading(step, warmup):
    return max(0.0, 1 - step / warmup)


@wrong(2, "one step ahead")
def ahead(step, warmup):
    return min(1.0, (step + 1) / max(warmup, 1))


@wrong(2, "jumps from 0 to 1")
def whole_numbers(step, warmup):
    return min(1, step // warmup)


@wrong(2, "0 to 1 (does")
def a_step(step, warmup):
    return 1.0 if step >= warmup else 0.0


@wrong(2, "no warm-up in it")
def constant(step, warmup):
    return 1.0


@wrong(2, "falls back to 0")
def only_while_warming(step, warmup):
    return step / warmup if step <= warmup else 0


@wrong(2, "ZeroDivisionError")
def divides_by_none(step, warmup):
    return min(1.0, step / warmup)


@wrong(2, "from step 0 on")
def first_step_free(step, warmup):
    return min(1.0, step / max(warmup, 1))


@wrong(2, "would never count")
def nothing_without_warmup(step, warmup):
    return min(1.0, step / warmup) if warmup else 0.0


@wrong(3, "0 log 0")
def not_a_number(X):
    p = X.mean(axis=0)
    with np.errstate(all="ignore"):
        return -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()


def _entropies(p, log=np.log):
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return -(p * log(p) + (1 - p) * log(1 - p))


@wrong(3, "in bits")
def bits(X):
    return _entropies(X.mean(axis=0), np.log2).sum()


@wrong(3, "averaged over the pixels")
def mean_entropy(X):
    return _entropies(X.mean(axis=0)).mean()


@wrong(3, "not the same in every image")
def mean_where_there_is_one(X):
    p = X.mean(axis=0)
    with np.errstate(all="ignore"):
        return np.nanmean(-(p * np.log(p) + (1 - p) * np.log(1 - p)))


@wrong(3, "means over the pixels of each image")
def wrong_axis(X):
    return _entropies(X.mean(axis=1)).sum()


@wrong(3, "summed over the images")
def of_all_images(X):
    return len(X) * _entropies(X.mean(axis=0)).sum()


@wrong(3, "that is log p")
def log_likelihood(X):
    return -_entropies(X.mean(axis=0)).sum()


@wrong(3, "another for each pixel")
def one_grey(X):
    return X.shape[1] * _entropies(X.mean())


@wrong(3, "Only the pixels that are 1")
def one_term(X):
    p = np.clip(X.mean(axis=0), 1e-12, 1)
    return -(X * np.log(p)).sum(axis=1).mean()


@wrong(3, "It costs nothing only if")
def each_image_known(X):
    return 0.0


@wrong(3, "says ½ everywhere")
def coin(X):
    return X.shape[1] * np.log(2)
