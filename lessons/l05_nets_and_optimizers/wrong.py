"""Lesson 5: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


@wrong(1, "factor √2")
def without_relu(normals):
    return normals / np.sqrt(normals.shape[1])


@wrong(1, "number of outputs")
def by_outputs(normals):
    return normals * np.sqrt(2 / normals.shape[0])


@wrong(1, "by the variance")
def variance_as_scale(normals):
    return normals * 2 / normals.shape[1]


@wrong(1, "not scaled")
def as_they_are(normals):
    return normals


@wrong(1, "Glorot")
def glorot(normals):
    out, n = normals.shape
    return normals * np.sqrt(2 / (n + out))


@wrong(1, "fixed small scale")
def one_hundredth(normals):
    return 0.01 * normals


def _pixels(logits, target):
    return np.logaddexp(0, logits) - logits * target


@wrong(1, "the shape is (100, 400)")
def transposed(normals):
    return normals.T * np.sqrt(2 / normals.shape[1])


@wrong(2, "averaged over the pixels")
def mean_over_pixels(logits, target):
    return _pixels(logits, target).mean(axis=1)


@wrong(2, "averaged over everything")
def mean_of_all(logits, target):
    return _pixels(logits, target).mean()


@wrong(2, "summed over the images too")
def sum_of_all(logits, target):
    return _pixels(logits, target).sum()


@wrong(2, "one number a pixel")
def unsummed(logits, target):
    return _pixels(logits, target)


@wrong(2, "never negative")
def log_p(logits, target):
    return -_pixels(logits, target).sum(axis=1)


@wrong(2, "Only the pixels that are 1")
def ones_only(logits, target):
    p = 1 / (1 + np.exp(-logits))
    return -(target * np.log(p)).sum(axis=1)


@wrong(2, "exchanged")
def exchanged(logits, target):
    return _pixels(logits, 1 - target).sum(axis=1)


@wrong(2, "±40")
def through_sigmoid(logits, target):
    with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-logits))
        each = np.where(target == 1, np.log(p), np.log(1 - p))
    return -each.sum(axis=1)


@wrong(2, "±20")
def clipped(logits, target):
    with np.errstate(all="ignore"):
        p = np.clip(1 / (1 + np.exp(-logits)), 1e-7, 1 - 1e-7)
    return -(target * np.log(p) + (1 - target) * np.log(1 - p)).sum(axis=1)


@wrong(3, "not corrected")
def no_correction(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w - lr * m / (np.sqrt(v) + eps), m, v


@wrong(3, "corrected means were kept")
def correction_kept(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
    v = (beta2 * v + (1 - beta2) * g * g) / (1 - beta2**t)
    return w - lr * m / (np.sqrt(v) + eps), m, v


@wrong(3, "root is missing")
def no_root(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w - lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps), m, v


@wrong(3, "uphill")
def uphill(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w + lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@wrong(3, "first step only")
def without_t(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w - lr * m / (1 - beta1) / (np.sqrt(v / (1 - beta2)) + eps), m, v


@wrong(3, "newest gradient")
def no_momentum(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w - lr * g / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@wrong(3, "Only m was corrected")
def half_corrected(w, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w - lr * m / (1 - beta1**t) / (np.sqrt(v) + eps), m, v


@wrong(3, "as they are when not given")
def other_defaults(w, g, m, v, t, lr=1e-2, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


@wrong(2, "taken for probabilities")
def logits_as_probabilities(logits, target):
    with np.errstate(invalid="ignore"):
        entropies = target * np.log(logits) + (1 - target) * np.log(1 - logits)
    return -entropies.sum(axis=1)
