"""Lesson 6: typical wrong answers, each with words of the message it must get."""

import numpy as np

from lessons.kit import wrong


@wrong(1, "decoder's bias is missing")
def no_mean_added(X, latent):
    centred = X - X.mean(axis=0)
    V = np.linalg.svd(centred, full_matrices=False)[2][:latent]
    return centred @ V.T @ V


@wrong(1, "passes through the mean")
def not_centred(X, latent):
    V = np.linalg.svd(X, full_matrices=False)[2][:latent]
    return (X @ V.T) @ V


@wrong(1, "X was projected as it is")
def centred_for_directions_only(X, latent):
    V = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:latent]
    return (X @ V.T) @ V


@wrong(1, "ascending order")
def first_of_eigh(X, latent):
    mean = X.mean(axis=0)
    vectors = np.linalg.eigh(np.cov(X.T))[1][:, :latent]
    return (X - mean) @ vectors @ vectors.T + mean


@wrong(1, "divided by their spread")
def codes_of_unit_spread(X, latent):
    mean = X.mean(axis=0)
    V = np.linalg.svd(X - mean, full_matrices=False)[2][:latent]
    codes = (X - mean) @ V.T
    return codes / codes.std(axis=0, ddof=1) @ V + mean


@wrong(1, "nothing was left out")
def all_directions(X, latent):
    mean = X.mean(axis=0)
    V = np.linalg.svd(X - mean, full_matrices=False)[2]
    return (X - mean) @ V.T @ V + mean


@wrong(1, "the shape is")
def only_encoded(X, latent):
    centred = X - X.mean(axis=0)
    return centred @ np.linalg.svd(centred)[2][:latent].T


@wrong(1, "mean image")
def codes_forgotten(X, latent):
    return X * 0 + X.mean(axis=0)


@wrong(2, "an identity would be perfect")
def against_what_it_saw(reconstruct, X, uniforms, p):
    seen = X * (uniforms >= p)
    return ((reconstruct(seen) - seen) ** 2).sum(axis=1).mean()


@wrong(2, "nothing to undo")
def shown_the_clean_image(reconstruct, X, uniforms, p):
    return ((reconstruct(X) - X) ** 2).sum(axis=1).mean()


@wrong(2, "other way round")
def kept_with_probability_p(reconstruct, X, uniforms, p):
    seen = X * (uniforms < p)
    return ((reconstruct(seen) - X) ** 2).sum(axis=1).mean()


@wrong(2, "as dropout does")
def like_dropout(reconstruct, X, uniforms, p):
    seen = X * (uniforms >= p) / (1 - p)
    return ((reconstruct(seen) - X) ** 2).sum(axis=1).mean()


@wrong(2, "not what goes in")
def output_masked(reconstruct, X, uniforms, p):
    return ((reconstruct(X) * (uniforms >= p) - X) ** 2).sum(axis=1).mean()


@wrong(2, "Only the masked pixels")
def masked_pixels_only(reconstruct, X, uniforms, p):
    hidden = uniforms < p
    squares = (reconstruct(X * ~hidden) - X) ** 2
    return squares[hidden].sum() / len(X)


@wrong(2, "averaged over the pixels")
def mean_of_all(reconstruct, X, uniforms, p):
    return np.mean((reconstruct(X * (uniforms >= p)) - X) ** 2)


@wrong(2, "summed over the images")
def sum_of_all(reconstruct, X, uniforms, p):
    return np.sum((reconstruct(X * (uniforms >= p)) - X) ** 2)


@wrong(2, "has no root")
def distances(reconstruct, X, uniforms, p):
    return np.linalg.norm(reconstruct(X * (uniforms >= p)) - X, axis=1).mean()


@wrong(3, "returns the noise with the image")
def identity(S, v):
    return np.eye(len(S))


@wrong(3, "you squared it")
def v_as_width(S, v):
    return S @ np.linalg.inv(S + v**2 * np.eye(len(S)))


@wrong(3, "you took its root")
def root_of_v(S, v):
    return S @ np.linalg.inv(S + np.sqrt(v) * np.eye(len(S)))


@wrong(3, "gives the noise")
def the_other_part(S, v):
    return v * np.linalg.inv(S + v * np.eye(len(S)))


@wrong(3, "has no unit")
def precision(S, v):
    return np.linalg.inv(S + v * np.eye(len(S)))


@wrong(3, "on the diagonal")
def v_everywhere(S, v):
    return S @ np.linalg.inv(S + v)


@wrong(3, "inverse of a matrix")
def elementwise(S, v):
    return S / (S + v * np.eye(len(S)))


@wrong(3, "shrunk by itself")
def pixel_by_pixel(S, v):
    variances = np.diag(S)
    return np.diag(variances / (variances + v))
