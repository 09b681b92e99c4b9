"""Lesson 6: PCA by scikit-learn, losses by norms, the denoiser by least squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lessons.kit import Judge, Mistake, exercise

Array = Any
Net = Callable[[Array], Array]


@exercise(1)
def best_linear(judge: Judge) -> None:
    """The reconstructions are those of scikit-learn's PCA."""
    from sklearn.decomposition import PCA

    cases = []
    for N, D, latent in [(12, 4, 1), (20, 5, 2), (15, 6, 3), (30, 3, 2), (9, 5, 4)]:
        mixed = judge.normal(N, D) @ judge.normal(D, D)
        cases.append((mixed + 3 * judge.normal(D), latent))

    def exact(X: Array, latent: int) -> Array:
        pca = PCA(latent, svd_solver="full").fit(X)
        return pca.inverse_transform(pca.transform(X))

    def uncentred(X: Array, latent: int) -> Array:
        V = np.linalg.svd(X, full_matrices=False)[2][:latent]
        return X @ V.T @ V

    def last(X: Array, latent: int) -> Array:  # of the eigenvalues, the smallest
        mean = X.mean(axis=0)
        V = np.linalg.svd(X - mean)[2][-latent:]
        return (X - mean) @ V.T @ V + mean

    def whitened(X: Array, latent: int) -> Array:
        pca = PCA(latent, svd_solver="full", whiten=True).fit(X)
        return pca.transform(X) @ pca.components_ + X.mean(axis=0)

    def without_mean_out(X: Array, latent: int) -> Array:
        return exact(X, latent) - X.mean(axis=0)

    def without_mean_in(X: Array, latent: int) -> Array:
        V = PCA(latent, svd_solver="full").fit(X).components_
        return X @ V.T @ V

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "The decoder's bias is missing: what comes out has mean 0, the images "
                "have not.",
                without_mean_out,
            ),
            Mistake(
                "The directions were taken from X as it is. With biases the best "
                "subspace passes through the mean of the images: centre first.",
                uncentred,
            ),
            Mistake(
                "The directions are right, but X was projected as it is: centre it, "
                "and add the mean again.",
                without_mean_in,
            ),
            Mistake(
                "Those are the directions along which the images vary least. "
                "np.linalg.eigh gives eigenvalues in ascending order.",
                last,
            ),
            Mistake(
                "The codes were divided by their spread, and nothing undoes that on "
                "the way out.",
                whitened,
            ),
            Mistake(
                "All of X comes back: nothing was left out. How many codes are there?",
                lambda X, latent: X,
            ),
            Mistake(
                "Every image becomes the mean image: the codes are not in it.",
                lambda X, latent: np.tile(X.mean(axis=0), (len(X), 1)),
            ),
        ],
    )


def _nets(judge: Judge) -> list[tuple[Net, Array, Array, float]]:
    """Some nets, images that a mask can spoil, and uniforms."""
    cases = []
    for N, D, p in [(3, 4, 0.3), (1, 6, 0.5), (5, 3, 0.7), (4, 5, 0.2)]:
        W, b = judge.normal(D, D), judge.normal(D)

        def net(x: Array, W: Array = W, b: Array = b) -> Array:
            return np.tanh(x @ W.T + b)

        cases.append((net, 1 + judge.normal(N, D), judge.uniform(N, D), p))
    return cases


@exercise(2)
def denoising_loss(judge: Judge) -> None:
    """Pixel by pixel: what goes in is spoilt, what comes out is held against X."""

    def mask(X: Array, u: Array, p: float) -> Array:
        spoilt = X.copy()
        spoilt[u < p] = 0
        return spoilt

    def squares(net: Net, X: Array, u: Array, p: float) -> Array:
        return (net(mask(X, u, p)) - X) ** 2

    def exact(net: Net, X: Array, u: Array, p: float) -> float:
        return float(np.linalg.norm(net(mask(X, u, p)) - X) ** 2 / len(X))

    def against_spoilt(net: Net, X: Array, u: Array, p: float) -> float:
        seen = mask(X, u, p)
        return exact(lambda _: net(seen) - seen + X, X, u, p)

    def mask_reversed(net: Net, X: Array, u: Array, p: float) -> float:
        return exact(lambda _: net(X - mask(X, u, p)), X, u, p)

    def rescaled(net: Net, X: Array, u: Array, p: float) -> float:
        return exact(lambda seen: net(seen / (1 - p)), X, u, p)

    judge.match(
        _nets(judge),
        exact,
        [
            Mistake(
                "The spoilt image is the target too: an identity would be perfect. "
                "Hold what comes out against the clean image.",
                against_spoilt,
            ),
            Mistake(
                "The net is shown the clean image: there is nothing to undo.",
                lambda net, X, u, p: exact(lambda _: net(X), X, u, p),
            ),
            Mistake(
                "The mask is the other way round: pixels with a number below p are set "
                "to 0, the others stay.",
                mask_reversed,
            ),
            Mistake(
                "The kept pixels were divided by 1 − p, as dropout does. Masking noise "
                "leaves them as they are.",
                rescaled,
            ),
            Mistake(
                "What comes out was masked, not what goes in.",
                lambda net, X, u, p: exact(lambda _: mask(net(X), u, p), X, u, p),
            ),
            Mistake(
                "Only the masked pixels are counted. All pixels are to come back.",
                lambda *case: (squares(*case) * (case[2] < case[3])).sum(axis=1).mean(),
            ),
            Mistake(
                "You averaged over the pixels. Here a loss is a sum over the pixels, "
                "and a mean over the images.",
                lambda *case: squares(*case).mean(),
            ),
            Mistake(
                "You summed over the images. Here a loss is a mean over the images.",
                lambda *case: squares(*case).sum(),
            ),
            Mistake(
                "A squared error has no root.",
                lambda *case: np.sqrt(squares(*case).sum(axis=1)).mean(),
            ),
        ],
    )


@exercise(3)
def best_denoiser(judge: Judge) -> None:
    """E|A x̃ − x|² = |A L − L|² + v |A|² with S = L Lᵀ: least squares for A."""
    cases = []
    for D, v in [(2, 0.5), (3, 2.0), (4, 0.1), (3, 0.7), (5, 1.3)]:
        L = judge.normal(D, D)
        cases.append((L @ L.T, v))

    def exact(S: Array, v: float) -> Array:
        L, D = np.linalg.cholesky(S), len(S)
        rows = np.concatenate([L.T, np.sqrt(v) * np.eye(D)])
        target = np.concatenate([L.T, np.zeros((D, D))])
        return np.linalg.lstsq(rows, target, rcond=None)[0].T

    judge.match(
        cases,
        exact,
        [
            Mistake(
                "That is the identity: it returns the noise with the image.",
                lambda S, v: np.eye(len(S)),
            ),
            Mistake(
                "v is the variance of the noise already: you squared it.",
                lambda S, v: exact(S, v**2),
            ),
            Mistake(
                "v was taken for the square of a variance: you took its root.",
                lambda S, v: exact(S, v**0.5),
            ),
            Mistake(
                "That gives the noise, v (S + v I)⁻¹ x̃. The image is the other part.",
                lambda S, v: np.eye(len(S)) - exact(S, v),
            ),
            Mistake(
                "That is (S + v I)⁻¹ alone. A has no unit: think of v = 0.",
                lambda S, v: np.linalg.inv(S) @ exact(S, v),
            ),
            Mistake(
                "v was added to every element of S. Noise of two pixels is "
                "independent: it adds to the variances, on the diagonal.",
                lambda S, v: S @ np.linalg.inv(S + v),
            ),
            Mistake(
                "Each element was divided by itself. Pixels that go together tell of "
                "each other: it takes the inverse of a matrix.",
                lambda S, v: S / (S + v * np.eye(len(S))),
            ),
            Mistake(
                "Only the variances are used: each pixel is shrunk by itself, and "
                "learns nothing from the others.",
                lambda S, v: np.diag(np.diag(S) / (np.diag(S) + v)),
            ),
        ],
    )
