"""Lesson 9: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


def _parts(x, W, s2, mu, logvar):
    var = np.exp(logvar)
    square = ((x - W @ mu) ** 2).sum() + (var * (W**2).sum(axis=0)).sum()
    normaliser = -0.5 * len(x) * np.log(2 * np.pi * s2)
    kl = 0.5 * (mu**2 + var - 1 - logvar)
    return normaliser, -0.5 * square / s2, kl


@wrong(1, "at the mean code")
def at_the_mean(x, W, s2, mu, logvar):
    recon = -0.5 * ((x - W @ mu) ** 2).sum() / s2
    normaliser, _, kl = _parts(x, W, s2, mu, logvar)
    return normaliser + recon - kl.sum()


@wrong(1, "KL is added")
def kl_added(x, W, s2, mu, logvar):
    normaliser, recon, kl = _parts(x, W, s2, mu, logvar)
    return normaliser + recon + kl.sum()


@wrong(1, "KL is not in it")
def no_kl(x, W, s2, mu, logvar):
    normaliser, recon, _ = _parts(x, W, s2, mu, logvar)
    return normaliser + recon


@wrong(1, "−ELBO, the loss")
def the_loss(x, W, s2, mu, logvar):
    normaliser, recon, kl = _parts(x, W, s2, mu, logvar)
    return kl.sum() - recon - normaliser


@wrong(1, "normaliser")
def squared_error_only(x, W, s2, mu, logvar):
    _, recon, kl = _parts(x, W, s2, mu, logvar)
    return recon - kl.sum()


@wrong(1, "averaged over the latents")
def mean_kl(x, W, s2, mu, logvar):
    normaliser, recon, kl = _parts(x, W, s2, mu, logvar)
    return normaliser + recon - kl.mean()


@wrong(1, "It is σ²")
def logvar_as_log_sigma(x, W, s2, mu, logvar):
    normaliser, recon, kl = _parts(x, W, s2, mu, 2 * logvar)
    return normaliser + recon - kl.sum()


def _exact(x, W, s2):
    M = W.T @ W + s2 * np.eye(W.shape[1])
    return np.linalg.inv(M) @ W.T @ x, s2 * np.linalg.inv(M)


@wrong(2, "least squares")
def without_prior(x, W, s2):
    A = np.linalg.inv(W.T @ W)
    return A @ W.T @ x, s2 * A


@wrong(2, "lacks the factor s2")
def covariance_unscaled(x, W, s2):
    mean, covariance = _exact(x, W, s2)
    return mean, covariance / s2


@wrong(2, "inverse of the covariance")
def precision(x, W, s2):
    mean, covariance = _exact(x, W, s2)
    return mean, np.linalg.inv(covariance)


@wrong(2, "WᵀW + s2 I belongs")
def unit_noise(x, W, s2):
    return _exact(x, W, 1.0)


@wrong(2, "only the diagonal")
def diagonal(x, W, s2):
    mean, covariance = _exact(x, W, s2)
    return mean, covariance * np.eye(len(mean))


@wrong(2, "once too often")
def divided_twice(x, W, s2):
    mean, covariance = _exact(x, W, s2)
    return mean / s2, covariance


@wrong(2, "2 values are wanted")
def mean_only(x, W, s2):
    return _exact(x, W, s2)[0]


def _best(X, means, covariance):
    second = means.T @ means + len(X) * covariance
    W = np.linalg.solve(second, means.T @ X).T
    total = ((X - means @ W.T) ** 2).sum() + len(X) * np.trace(W @ covariance @ W.T)
    return W, total


@wrong(3, "regression on the mean codes")
def regression(X, means, covariance):
    W = np.linalg.solve(means.T @ means, means.T @ X).T
    return W, ((X - means @ W.T) ** 2).mean()


@wrong(3, "leaves out that z varies")
def residual_at_the_means(X, means, covariance):
    W, _ = _best(X, means, covariance)
    return W, np.mean((X - means @ W.T) ** 2)


@wrong(3, "variance of one pixel")
def per_image(X, means, covariance):
    W, total = _best(X, means, covariance)
    return W, total / len(X)


@wrong(3, "not averaged")
def per_pixel_only(X, means, covariance):
    W, total = _best(X, means, covariance)
    return W, total / X.shape[1]


@wrong(3, "added once")
def one_covariance(X, means, covariance):
    W = np.linalg.solve(means.T @ means + covariance, means.T @ X).T
    spread = np.trace(covariance @ W.T @ W) / X.shape[1]
    return W, ((X - means @ W.T) ** 2).mean() + spread


@wrong(3, "transposed")
def transposed(X, means, covariance):
    W, total = _best(X, means, covariance)
    return W.T, total / X.size


@wrong(3, "standard deviation")
def sigma(X, means, covariance):
    W, total = _best(X, means, covariance)
    return W, np.sqrt(total / X.size)
