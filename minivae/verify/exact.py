"""The exact side: closed forms in float64, by NumPy and SciPy alone.

Nothing here calls an op, a model or a kernel. D pixels, k latents; S = U diag(l) Uᵀ is
the covariance of the data (with 1/N), l₁ >= ... >= l_D.

Sources: Tipping & Bishop 1999 (probabilistic PCA); Lucas, Tucker, Grosse & Norouzi 2019
(the linear VAE); Dai, Wang, Aston, Hua & Wipf 2018 (which latents stay active).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import linalg, special, stats

from minivae.backend import Array


@cache
def digits() -> Array:
    """Return scikit-learn's 1,797 digits, pixels / 16, centred: (1797, 64)."""
    from sklearn.datasets import load_digits

    x = load_digits().data / 16
    centred: Array = x - x.mean(axis=0)
    centred.flags.writeable = False
    return centred


@cache
def binary_digits() -> Array:
    """Return the digits as 0/1 images, 1 above one half: (1797, 64)."""
    from sklearn.datasets import load_digits

    x: Array = (load_digits().data / 16 > 0.5).astype(np.float64)
    x.flags.writeable = False
    return x


@cache
def coarse_digits() -> Array:
    """Return the digits as means of 2 x 2 pixels, centred: (1797, 16)."""
    x = digits().reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    x.flags.writeable = False
    return x


def same_moments(x: Array) -> Array:
    """Return 2D points with the mean and the covariance of centred data: (2D, D).

    ±√D √l_i u_i. What is quadratic in the data has the same mean over them.
    """
    spectrum = Spectrum.of(x)
    half = math.sqrt(len(spectrum.l)) * (spectrum.U * np.sqrt(spectrum.l)).T
    return np.concatenate([half, -half])


@dataclass(frozen=True)
class Linear:
    """x = W z + noise of variance s2, z ~ N(0, I), for centred data."""

    W: Array
    s2: float

    @property
    def M(self) -> Array:  # noqa: N802 (as the papers have it)
        """Wᵀ W + s2 I, k x k."""
        return self.W.T @ self.W + self.s2 * np.eye(self.W.shape[1])

    def log_p(self, x: Array) -> Array:
        """log N(x; 0, W Wᵀ + s2 I), by SciPy: (N,)."""
        D = len(self.W)
        covariance = self.W @ self.W.T + self.s2 * np.eye(D)
        return stats.multivariate_normal(np.zeros(D), covariance).logpdf(x)

    def encoder(self) -> Array:
        """M⁻¹ Wᵀ: the posterior's mean is this times x. (k, D)."""
        return linalg.solve(self.M, self.W.T, assume_a="pos")

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """Return means (N, k) and covariance s2 M⁻¹ of p(z|x)."""
        return x @ self.encoder().T, self.s2 * linalg.inv(self.M)

    def elbo(self, x: Array, V: Array, d: Array) -> Array:
        """The ELBO of each image under q = N(V x, diag d), in closed form: (N,)."""
        mean = x @ V.T
        D, k = self.W.shape
        squares = ((x - mean @ self.W.T) ** 2).sum(axis=1)
        squares = squares + ((self.W**2).sum(axis=0) * d).sum()
        recon = 0.5 * (D * math.log(2 * math.pi * self.s2) + squares / self.s2)
        kl = 0.5 * ((mean**2).sum(axis=1) + (d - np.log(d)).sum() - k)
        return -recon - kl


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of the data's covariance, largest first, and its eigenvectors."""

    l: Array  # noqa: E741 (as the papers have it)
    U: Array

    @classmethod
    def of(cls, x: Array) -> Spectrum:
        """Return the spectrum of centred data (N, D)."""
        values, vectors = linalg.eigh(x.T @ x / len(x))
        return cls(np.maximum(values[::-1], 0), vectors[:, ::-1])

    def best_sigma2(self, k: int) -> float:
        """The maximum-likelihood noise of k latents: the mean discarded eigenvalue."""
        return float(self.l[k:].mean())

    def best_log_p(self, k: int) -> float:
        """The largest mean log p(x) that k latents reach.

        −½ [D log 2π + Σ_{i<=k} log l_i + (D − k) log s2 + D]. Tipping & Bishop, eq. 8.
        """
        D, s2 = len(self.l), self.best_sigma2(k)
        logs = np.log(self.l[:k]).sum() + (D - k) * math.log(s2)
        return float(-0.5 * (D * math.log(2 * math.pi) + logs + D))

    def best(self, k: int) -> Linear:
        """The maximum-likelihood model whose columns are principal directions."""
        s2 = self.best_sigma2(k)
        return Linear(self.U[:, :k] * np.sqrt(self.l[:k] - s2), s2)

    def discarded(self, k: int) -> float:
        """Σ_{i>k} l_i: the least squared error of a linear autoencoder."""
        return float(self.l[k:].sum())

    def wiener(self, variance: float, k: int) -> tuple[Array, float]:
        """The best denoiser of rank k under noise of a variance v, and its loss.

        A = U_k diag(l_i / (l_i + v)) U_kᵀ, which is S (S + v I)⁻¹ for k = D, and
        Σ_{i<=k} l_i v / (l_i + v) + Σ_{i>k} l_i. Wiener 1949; Baldi & Hornik 1989.
        """
        kept, U = self.l[:k], self.U[:, :k]
        gain = kept / (kept + variance)
        return U * gain @ U.T, float((gain * variance).sum()) + self.discarded(k)

    def rate_distortion(self, t2: float, k: int) -> tuple[float, float]:
        """Return rate (nats) and distortion of reverse water-filling at level t2.

        R = ½ Σ_{i<=k} log⁺(l_i / t2),  D = Σ_{i<=k} min(l_i, t2) + Σ_{i>k} l_i, with
        t2 = beta s2. Cover & Thomas 2006, theorem 10.3.3, for k components.
        """
        kept = self.l[:k]
        rate = 0.5 * np.log(np.maximum(kept / t2, 1)).sum()
        return float(rate), float(np.minimum(kept, t2).sum() + self.l[k:].sum())

    def learned_sigma2(self, beta: float, k: int) -> tuple[float, int]:
        """The s2 that is best under the beta objective, and how many latents stay.

        s2 = Σ_inactive l / (D − beta n), where the n active ones have l_i > beta s2.
        """
        D = len(self.l)
        for n in range(k, -1, -1):
            if beta * n < D:
                s2 = float(self.l[n:].sum() / (D - beta * n))
                if n == 0 or self.l[n - 1] > beta * s2:
                    return s2, n
        raise ArithmeticError("no latent stays and none goes")


def marginalised_masking(Q: Array, p: float) -> tuple[Array, float]:
    """The best linear denoiser of images whose pixels are 0 with probability p.

    With q = 1 − p and Q the second moment of the images, whose means are 0:
    A = q Q [q² Q + p q diag Q]⁻¹, loss tr Q − q tr(A Q). Chen, Xu, Weinberger & Sha
    2012, section 3.
    """
    q = 1 - p
    spoilt = q * q * Q + p * q * np.diag(np.diag(Q))
    A = q * Q @ linalg.pinvh(spoilt)  # a pixel that is never lit has no row in it
    return A, float(np.trace(Q) - q * np.trace(A @ Q))


def mask_design(D: int, p: float) -> tuple[Array, Array]:
    """Masks of D pixels (n, D) and weights (n,) that stand for all masks.

    Their first two moments are those of pixels dropped independently with probability
    p, so that what is quadratic in a mask has its exact mean: rows of a Hadamard
    matrix, in whose columns any two pixels are kept independently with ½, all pixels,
    and none, weighted (one weight may be negative) to q and q².
    """
    n = 1 << D.bit_length()
    halves = (linalg.hadamard(n)[:, 1 : D + 1] + 1) / 2
    masks = np.concatenate([halves, np.ones((1, D)), np.zeros((1, D))])
    q = 1 - p
    weights = np.full(n + 2, 4 * q * p / n)
    weights[n:] = q * (q - p), p * (p - q)
    return masks, weights


@dataclass(frozen=True)
class GaussianMixture:
    """Σ_c w_c N(m_c, s2 I): weights (C,), means (C, D), one variance."""

    weights: Array
    means: Array
    s2: float

    def spoilt(self, variance: float) -> GaussianMixture:
        """The density p_v of its points after Gaussian noise of a variance v."""
        return GaussianMixture(self.weights, self.means, self.s2 + variance)

    def log_p(self, x: Array) -> Array:
        """Log density of points (N, D): (N,)."""
        return special.logsumexp(self._joint(x), axis=1)

    def score(self, x: Array) -> Array:
        """∇ log p(x) = Σ_c p(c|x) (m_c − x) / s2, (N, D)."""
        posterior = special.softmax(self._joint(x), axis=1)
        return (posterior @ self.means - x) / self.s2

    def denoised(self, x: Array, variance: float) -> Array:
        """E[clean | noisy = x], (N, D), by conditioning each Gaussian.

        Σ_c p(c|x) [m_c + s2 / (s2 + v) (x − m_c)]; by Tweedie's formula this is
        x + v ∇ log p_v(x). Robbins 1956; Vincent 2011; Alain & Bengio 2014.
        """
        posterior = special.softmax(self.spoilt(variance)._joint(x), axis=1)
        gain = self.s2 / (self.s2 + variance)
        return posterior @ self.means * (1 - gain) + gain * x

    def _joint(self, x: Array) -> Array:
        D = self.means.shape[1]
        squares = ((x[:, None] - self.means) ** 2).sum(axis=2) / self.s2
        constant = D * math.log(2 * math.pi * self.s2)
        return np.log(self.weights) - 0.5 * (squares + constant)


def em_step(model: Linear, S: Array) -> Linear:
    """One step of exact EM for probabilistic PCA. Tipping & Bishop 1999, eq. 29, 30.

    W' = S W (s2 I + M⁻¹ Wᵀ S W)⁻¹,  s2' = tr(S − S W M⁻¹ W'ᵀ) / D
    """
    W, s2, M = model.W, model.s2, model.M
    SW = S @ W
    inner = s2 * np.eye(W.shape[1]) + linalg.solve(M, W.T @ SW)
    W_new = linalg.solve(inner.T, SW.T).T
    s2_new = np.trace(S - SW @ linalg.solve(M, W_new.T)) / len(S)
    return Linear(W_new, float(s2_new))


def elbo_gradients(
    W: Array, V: Array, d: Array, s2: float, S: Array
) -> dict[str, Array]:
    """The gradients of the linear VAE's mean ELBO, q = N(V x, diag d).

    dW = ((I − W V) S Vᵀ − W diag d) / s2     dV = Wᵀ (I − W V) S / s2 − V S
    d/dlog d_j = −½ |w_j|² d_j / s2 − ½ (d_j − 1)     d/dlog s2 = −½ (D − E / s2)
    with E = tr((I − W V) S (I − W V)ᵀ) + Σ_j |w_j|² d_j. Lucas et al. 2019, app. C.
    """
    D = len(W)
    rest = np.eye(D) - W @ V
    lengths = (W**2).sum(axis=0)
    E = np.trace(rest @ S @ rest.T) + (lengths * d).sum()
    return {
        "W": (rest @ S @ V.T - W * d) / s2,
        "V": W.T @ rest @ S / s2 - V @ S,
        "log d": -0.5 * lengths * d / s2 - 0.5 * (d - 1),
        "log s2": np.array(-0.5 * (D - E / s2)),
    }


def gaussian_kl(mu: Array, logvar: Array, of: Array, oflogvar: Array) -> Array:
    """KL(N(mu, e^logvar) ‖ N(of, e^oflogvar)) of each element."""
    ratio = np.exp(logvar - oflogvar)
    apart = (mu - of) ** 2 / np.exp(oflogvar)
    return 0.5 * (apart + ratio - 1 - (logvar - oflogvar))


def dense(x: Array, layers: list[tuple[Array, Array]]) -> Array:
    """A dense net with tanh between its layers, from weights (out, in) and biases."""
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        if i + 1 < len(layers):
            x = np.tanh(x)
    return x


def bernoulli_log_p(logits: Array, x: Array) -> Array:
    """log p(x_n) under logits_c, of every pair: (N, C)."""
    on, off = special.log_expit(logits), special.log_expit(-logits)
    return x @ on.T + (1 - x) @ off.T


def grid_log_p(
    layers: list[tuple[Array, Array]], x: Array, points: int = 300, reach: float = 7.0
) -> tuple[Array, Array, Array]:
    """log ∫ N(z; 0, I) Π Bernoulli(x; σ(decoder(z))) dz over two latents, on a grid.

    Returns it (N,), the grid's codes (C, 2) and log p(x, z) dz on it (N, C).
    """
    axis = np.linspace(-reach, reach, points)
    codes = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    measure = stats.norm.logpdf(codes).sum(axis=1) + 2 * math.log(axis[1] - axis[0])
    joint = bernoulli_log_p(dense(codes, layers), x) + measure
    return special.logsumexp(joint, axis=1), codes, joint


def all_binary(k: int) -> Array:
    """All codes of k zeros and ones: (2^k, k)."""
    grids = np.meshgrid(*k * [[0.0, 1.0]], indexing="ij")
    return np.stack(grids, axis=-1).reshape(-1, k)
