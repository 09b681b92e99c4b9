"""The bug museum's collection: classic mistakes, each as a variant of one experiment.

A class changes the one method in which its mistake lies; nothing else differs from
`minivae.verify.experiment`, and nothing here is used anywhere else. The docstring says
what is wrong, where it was seen in public, and how to notice. `what` names the number
that is compared, `reported` what the mistake's own log says of it, `exact` the truth.
`looks` are the checks that are expected to catch it, `seen_by_gradcheck` whether finite
differences do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from scipy import special

from minivae import ops
from minivae.backend import Array
from minivae.distributions import DiagGaussian
from minivae.ops.losses import LOG_2PI
from minivae.random import Noise, Stream
from minivae.tensor import Tensor
from minivae.verify.experiment import TEST, TRAIN, BinaryExperiment, Experiment

Terms = tuple[float, float, float]
Function = Callable[[Array], float]
Mistake = type["Wrong"]
MISTAKES: dict[str, Mistake] = {}


class Wrong(Experiment):
    """What all mistakes have; by default they report a −ELBO, after training."""

    looks: ClassVar[tuple[str, ...]]
    what: ClassVar[str] = "−ELBO"
    seen_by_gradcheck: ClassVar[bool] = False
    trains: ClassVar[bool] = True  # whether the mistake is there during training

    def __init_subclass__(cls) -> None:
        if "looks" in vars(cls):
            MISTAKES[cls.__name__] = cls

    def reported(self) -> float:
        """What its own log says."""
        x = self.data()[TRAIN]
        return self.neg_elbo(x, 100)

    def exact(self) -> float:
        """What is so."""
        return self.truth(self.data()[TRAIN])


class WrongBinary(BinaryExperiment, Wrong):
    """The same with pixels of 0 and 1."""


# Sampler


class exp_logvar_as_std(Wrong):
    """The sampler takes exp(logvar) for the standard deviation.

    Seen: DeZero examples/vae.py; numpy-ml models/vae.py; keras #3283, PR #9972.
    Notice: its log is better than the truth, and than the best log p there is.
    """

    looks = ("draws_have_the_variance", "kl_is_that_of_the_draws", "bayes_identity")

    def draw_z(self, mu: Tensor, logvar: Tensor, eps: Array) -> Tensor:
        return mu + ops.exp(logvar) * eps


class noise_scaled_down(Wrong):
    """The noise is multiplied by epsilon_std = 0.01: an autoencoder in disguise.

    Seen: old Keras examples; keras PR #4211 ("way lower than it should be").
    Notice: recon far too good; decoded draws of the prior look like nothing.
    """

    looks = ("draws_have_the_variance", "kl_is_that_of_the_draws", "bayes_identity")

    def draw_z(self, mu: Tensor, logvar: Tensor, eps: Array) -> Tensor:
        return mu + ops.exp(0.5 * logvar) * (0.01 * eps)


class logvar_taken_for_std(Wrong):
    """The KL is handed logvar where its formula wants the standard deviation.

    Seen: PyTorch-VAE docstrings call logvar "standard deviation"; IBMEA #2.
    Notice: the KL is not 0 at the prior, where mu = 0 and logvar = 0.
    """

    looks = ("kl_is_the_closed_form", "latents_at_the_prior_cost_nothing")

    def divergence(self, mu: Tensor, logvar: Tensor) -> Tensor:
        var = logvar**2 + 1e-8
        return 0.5 * ops.sum(mu**2 + var - 1 - ops.log(var), axis=1)


# Sums and means


class kl_averaged_over_latents(Wrong):
    """The KL is a mean over latents, not a sum.

    Seen: the Keras blog, keras-io #270; lightning-bolts (kl.mean()); podgorskiy/VAE #1.
    Notice: a KL that does not grow with the number of latents; blurred draws.
    """

    looks = ("kl_is_the_closed_form", "latents_at_the_prior_cost_nothing")

    def divergence(self, mu: Tensor, logvar: Tensor) -> Tensor:
        return ops.gaussian_kl(mu, logvar, reduction="none") / mu.shape[1]


class recon_averaged_over_pixels(Wrong):
    """The reconstruction is a mean over pixels, the KL a sum: beta is 64 unsaid.

    Seen: AntixK/PyTorch-VAE (#11, #23, #35); old Keras examples; GDL (500 x mean).
    Notice: the KL goes to 0 and all reconstructions look alike.
    """

    looks = ("log_likelihood_is_the_density", "tiled_pixels_count_twice")

    def nll(self, decoded: Tensor, x: Array) -> Tensor:
        return super().nll(decoded, x) / x.shape[1]


class recon_summed_over_batch(Wrong):
    """The reconstruction is summed over the batch, the KL averaged.

    Seen: SeldonIO/alibi-detect #90 (the loss depends on the batch size).
    Notice: change the batch size, and the weight of the KL has changed.
    """

    looks = ("duplicated_batch_has_the_same_loss",)
    what = "loss"

    def objective(self, recon: Tensor, kl: Tensor) -> Tensor:
        return ops.sum(recon) + self.beta * ops.mean(kl)

    def reported(self) -> float:
        return _own_loss(self)


# The weight of the KL


class kl_weight_m_over_n(Wrong):
    """The KL is weighed by 0.00025, "batch over data set size".

    Seen: AntixK/PyTorch-VAE, M_N = 0.00025 in every config (#40, #56).
    Notice: print tau² = beta σ²; the sum over a batch needs no such correction.
    """

    looks = ("loss_is_recon_plus_beta_kl",)
    what = "loss"

    def objective(self, recon: Tensor, kl: Tensor) -> Tensor:
        return ops.mean(recon) + 0.00025 * ops.mean(kl)

    def reported(self) -> float:
        return _own_loss(self)


class validation_weighed_otherwise(Wrong):
    """Validation weighs the KL by 1, training by 0.00025.

    Seen: AntixK/PyTorch-VAE experiment.py: 0.00025 in training, 1.0 in validation.
    Notice: a gap between the two curves from the first step, on the same images.
    """

    looks = ("validation_has_the_loss_of_training",)
    what = "training loss"

    def objective(self, recon: Tensor, kl: Tensor) -> Tensor:
        return ops.mean(recon) + 0.00025 * ops.mean(kl)

    def validation_loss(self, x: Array, eps: Array) -> Terms:
        _, recon, kl = self.loss(x, eps)
        return recon + kl, recon, kl

    def reported(self) -> float:
        return _own_loss(self)


class beta_ignored(Wrong):
    """beta is an option, stored, printed, and never multiplied with anything.

    Seen: lightning-bolts #328 (kl_coeff never applied); tsgm #69 (beta never used).
    Notice: two runs with different beta are the same run.
    """

    looks = ("slope_by_beta_is_the_kl", "loss_is_recon_plus_beta_kl")
    beta = 4.0
    what = "weight of the KL"

    def objective(self, recon: Tensor, kl: Tensor) -> Tensor:
        return ops.mean(recon) + ops.mean(kl)

    def reported(self) -> float:
        return self.beta

    def exact(self) -> float:
        x, eps = _batch(self)
        loss, recon, kl = self.loss(x, eps)
        return (loss - recon) / kl


# Likelihoods


class mse_called_elbo(Wrong):
    """Squared error without ½, 1/σ² and the normaliser is called an ELBO.

    Seen: in most VAEs on the web; pythae's default "mse".
    Notice: it can never be negative, as a density's NLL is on small pixels.
    """

    looks = ("log_likelihood_is_the_density", "bayes_identity")

    def nll(self, decoded: Tensor, x: Array) -> Tensor:
        return ops.squared_error(decoded, x, reduction="none")


class unit_variance_decoder(Wrong):
    """The decoder's σ is 1 for pixels between 0 and 1: far wider than the data.

    Seen: pythae's default "mse" (tau² = 1), where 8 of 784 directions survive.
    Notice: tau² above every eigenvalue of the data: no latent is worth its KL.
    """

    looks = ("sigma_is_that_of_the_residual",)
    sigma = 1.0
    what = "−ELBO, σ learned"

    def exact(self) -> float:
        learned = Experiment()
        learned.train()
        return learned.truth(self.data()[TRAIN])


class grey_pixels_as_a_likelihood(WrongBinary):
    """Cross-entropy of grey pixels is reported as a negative log likelihood.

    Seen: pytorch/examples #460 (open since 2018), keras, DeZero, pyro #2519.
    Notice: it cannot reach 0; its floor is the entropy of the pixels.
    """

    looks = ("grey_pixels_are_refused",)
    what = "−log likelihood"

    def nll(self, decoded: Tensor, x: Array) -> Tensor:
        return ops.soft_bce(decoded, x, reduction="none")

    def data(self) -> Array:
        from sklearn.datasets import load_digits

        return load_digits().data / 16

    def exact(self) -> float:
        grey = self.data()[TRAIN]
        u = Noise(0, Stream.CHECK).uniform(grey.shape, np.float64)
        return self.truth((u < grey).astype(np.float64))


class clipped_probabilities(WrongBinary):
    """Probabilities are clipped to 0.999 before the logarithm: no gradient above.

    Seen: DeZero functions.py, binary_cross_entropy clips to [1e-15, 0.999].
    Notice: pixels that are surely wrong stay wrong. Its zero gradient is right for it.
    """

    looks = ("a_sure_logit_has_a_gradient", "log_likelihood_is_the_density")
    what = "slope at logit 20"

    def nll(self, decoded: Tensor, x: Array) -> Tensor:
        p = -ops.maximum(-ops.sigmoid(decoded), -0.999)
        return -ops.sum(x * ops.log(p) + (1 - x) * ops.log(1 - p), axis=1)

    def reported(self) -> float:
        return self.slope(20.0)

    def exact(self) -> float:
        return float(special.expit(20.0))

    def slope(self, logit: float) -> float:
        """∂/∂l of −log p(0), by a difference."""
        sides = np.zeros((2, self.pixels))
        sides[:, 0] = (logit + 0.5, logit - 0.5)
        high, low = self.log_likelihood(sides, np.zeros_like(sides))
        return low - high


class softplus_as_probability(WrongBinary):
    """Images are drawn with softplus of the logits for a probability: up to 1 and over.

    Seen: jax examples/mnist_vae.py, image_sample: bernoulli(logaddexp(0, logit)).
    Notice: drawn images are brighter than the data; above logit 0.54 always white.
    """

    looks = ("draws_of_images_have_the_mean",)
    what, trains = "lit pixels drawn", False

    def draw(self, decoded: Array, seed: int) -> Array:
        u = Noise(seed, Stream.PRIOR).uniform(decoded.shape, np.float64)
        return (u < np.logaddexp(0, decoded)).astype(np.float64)

    def reported(self) -> float:
        return float(self.draw(self.decoded(), 0).sum(axis=1).mean())

    def exact(self) -> float:
        return float(special.expit(self.decoded()).sum(axis=1).mean())

    def decoded(self) -> Array:
        """Logits of the training images' mean codes."""
        return self.decode(self.encode(self.data()[TRAIN])[0])


class constant_in_every_term(Wrong):
    """D log 2π stands inside each of the D terms of the sum over pixels.

    Seen: jmtomczak/intro_dgm, log_normal_diag (it cancels in q − p, alone it does not).
    Notice: the density integrates to nearly nothing.
    """

    looks = ("log_likelihood_is_the_density", "bayes_identity")

    def nll(self, decoded: Tensor, x: Array) -> Tensor:
        squares = (decoded - x) ** 2 * ops.exp(-self.logvar_x())
        terms = self.pixels * LOG_2PI + self.logvar_x() + squares
        return 0.5 * ops.sum(terms, axis=1)


class rescaled_squared_error(Wrong):
    """The likelihood is squared error of pixels times 255, over 255.

    Seen: YannDubs/disentangling-vae, rec_dist "gaussian": tau² = 0.00196.
    Notice: 625 of 784 directions survive: hardly a bottleneck, hardly a KL.
    """

    looks = ("log_likelihood_is_the_density",)

    def nll(self, decoded: Tensor, x: Array) -> Tensor:
        return ops.squared_error(255 * decoded, 255 * x, reduction="none") / 255


# Evaluation


class embedding_is_drawn(Wrong):
    """embed() draws from q where the mean is wanted: other codes at every call.

    Seen: pythae embed() and reconstruct() (#126); lightning-bolts #566.
    Notice: call it twice.
    """

    looks = ("embedding_is_the_mean",)
    what, trains = "rms distance of calls", False
    calls = 0

    def embed(self, x: Array) -> Array:
        self.calls += 1
        mu, logvar = self.encode(x)
        eps = Noise(self.calls, Stream.LATENT).normal(mu.shape, np.float64)
        return self.sample(mu, logvar, eps)

    def reported(self) -> float:
        x = self.data()[TRAIN]
        apart = self.embed(x) - self.embed(x)
        return float(np.sqrt((apart**2).sum(axis=1).mean()))

    def exact(self) -> float:
        return 0.0


class mean_code_in_evaluation(Wrong):
    """In evaluation z is the mean of q: the bound is no bound any more.

    Seen: YannDubs/disentangling-vae, reparameterize() returns the mean in eval().
    Notice: the reported −ELBO is below the least −log p there is.
    """

    looks = ("evaluation_is_the_expectation",)
    trains = False

    def each(self, x: Array, first: int) -> Array:
        mu, logvar = self.encode(x)
        return self.kl(mu, logvar) - self.log_likelihood(self.decode(mu), x)


class return_inside_the_loop(Wrong):
    """The test loop returns after its first batch, divided by all batches.

    Seen: disentangling-vae evaluate.py: test recon 1.865 published, training 118.8.
    Notice: test numbers far below training's; they fall with the batch size.
    """

    looks = ("evaluation_ignores_the_batch_size",)
    trains = False

    def neg_elbo(self, x: Array, batch: int) -> float:
        total, batches = 0.0, math.ceil(len(x) / batch)
        for start in range(0, len(x), batch):
            total += float(self.each(x[start : start + batch], start).mean())
            return total / batches
        return math.nan


class mean_of_batch_means(Wrong):
    """The mean over batches of their means, the last batch being short.

    Seen: in countless training loops that average loss.item() over the loader.
    Notice: evaluate with another batch size.
    """

    looks = ("evaluation_ignores_the_batch_size",)
    trains = False

    def neg_elbo(self, x: Array, batch: int) -> float:
        starts = range(0, len(x), batch)
        means = [self.each(x[s : s + batch], s).mean() for s in starts]
        return float(np.mean(means))

    def reported(self) -> float:
        return self.neg_elbo(self.data()[TRAIN], 133)  # 133, 133, 133 and one

    def exact(self) -> float:
        return float(self.each(self.data()[TRAIN], 0).mean())


class test_set_is_the_training_set(Wrong):
    """The "test" images are those that were trained on.

    Seen: disentangling-vae (train=True for both); keras-io trains on train + test.
    Notice: test as good as training, always. Compare the images by their bytes.
    """

    looks = ("splits_share_no_image",)
    what = "test −ELBO"

    def splits(self, x: Array) -> dict[str, Array]:
        return {"train": x, "test": x}

    def train(self, images: Array | None = None) -> None:
        super().train(self.data()[:40] if images is None else images)

    def reported(self) -> float:
        return self.truth(self.splits(self.data()[:40])["test"])

    def exact(self) -> float:
        return self.truth(self.data()[TEST])


class batch_statistics_in_eval(Wrong):
    """Images are centred by their batch in evaluation too: mates change a code.

    Seen: batch norm left in training mode; UvA's tutorial 9 warns of it.
    Notice: an image alone has another code than among others.
    """

    looks = ("encoded_alike_in_any_company",)
    what = "−ELBO, one at a time"

    def posterior(self, x: Array) -> DiagGaussian:
        return super().posterior(x - x.mean(axis=0))

    def exact(self) -> float:
        return self.neg_elbo(self.data()[TRAIN], 1)


# Importance weights


class nll_of_the_wrong_sign(Wrong):
    """get_nll returns the mean log p(x), its sign unchanged.

    Seen: pythae vae_model.py; its own test asserts that the "nll" is below 0.
    Notice: a better model has a larger "nll".
    """

    looks: ClassVar[tuple[str, ...]] = (
        "iwae_1_is_the_elbo",
        "iwae_is_the_log_of_the_mean",
    )
    what, trains = "log p, 50 draws", False

    def iwae(self, x: Array, k: int, seed: int) -> Array:
        return -super().iwae(x, k, seed)

    def reported(self) -> float:
        return float(self.iwae(self.data()[TRAIN], 50, 0).mean())

    def exact(self) -> float:
        return float(Experiment.iwae(self, self.data()[TRAIN], 50, 0).mean())


class softmax_of_the_loss(nll_of_the_wrong_sign):
    """The draws are weighed by the softmax of the loss: the worst counts most.

    Seen: AntixK/PyTorch-VAE iwae.py (#34, PR #53).
    Notice: more draws give a lower bound, below the ELBO.
    """

    looks: ClassVar[tuple[str, ...]] = ("iwae_is_the_log_of_the_mean",)

    def iwae(self, x: Array, k: int, seed: int) -> Array:
        loss = -self.log_weights(x, k, seed)
        return -(special.softmax(loss, axis=0) * loss).sum(axis=0)


class mean_of_logs(nll_of_the_wrong_sign):
    """The bound is the mean of log w, not the log of the mean: the ELBO again.

    Seen: arahuja/generative-tf #1.
    Notice: it does not rise with the number of draws.
    """

    looks: ClassVar[tuple[str, ...]] = ("iwae_is_the_log_of_the_mean",)

    def iwae(self, x: Array, k: int, seed: int) -> Array:
        return self.log_weights(x, k, seed).mean(axis=0)


# Metrics


class stratified_weights_in_columns(Wrong):
    """The weights of total correlation fill columns 0 and 1, not the diagonal.

    Seen: rtqichen/beta-tcvae PR #1; from there disentangling-vae #58 and pythae.
    Notice: on all the data it is not the brute-force sum.
    """

    looks = ("total_correlation_is_brute_force",)
    what, trains = "total correlation", False

    def total_correlation(self, mu: Array, logvar: Array, z: Array) -> float:
        N = len(mu)
        weights = np.full((N, N), 1 / (N - 1))
        weights.reshape(-1)[::N] = 1 / N  # the diagonal is [:: N + 1]
        weights.reshape(-1)[1::N] = 1 / (N * (N - 1))
        terms, log_w = self.log_densities(mu, logvar, z), np.log(weights)
        joint = special.logsumexp(terms.sum(axis=2) + log_w, axis=1)
        each = special.logsumexp(terms + log_w[:, :, None], axis=1).sum(axis=1)
        return float((joint - each).mean())

    def reported(self) -> float:
        return self.total_correlation(*self.drawn())

    def exact(self) -> float:
        return Experiment.total_correlation(self, *self.drawn())

    def drawn(self) -> tuple[Array, Array, Array]:
        """q of 200 images, and a draw of each."""
        mu, logvar = self.encode(self.data()[:200])
        eps = Noise(1, Stream.CHECK).normal(mu.shape, np.float64)
        return mu, logvar, self.sample(mu, logvar, eps)


class view_as_transpose(Wrong):
    """Codes (N, Z) are reshaped, not transposed, to (Z, N): latents are mixed.

    Seen: disentangling-vae #78 (#64: a MIG of 0.0008 where 0.5 was expected).
    Notice: a code that is the factors themselves does not score 1.
    """

    looks = ("identity_code_has_mig_1",)
    what, trains = "MIG of the factors", False

    def columns(self, codes: Array) -> Sequence[Array]:
        return list(codes.reshape(codes.shape[1], -1))

    def reported(self) -> float:
        factors = np.stack(np.meshgrid(range(4), range(5), range(3)), -1).reshape(-1, 3)
        return self.mig(factors.astype(np.float64), factors)

    def exact(self) -> float:
        return 1.0


class all_units_counted_active(Wrong):
    """The number of active units is the length of the mask, whatever is in it.

    Seen: disentanglement_lib factor_vae.py; its default threshold prunes nothing.
    Notice: a latent that is constant is counted.
    """

    looks = ("constant_latents_are_not_active",)
    what, trains = "active of 5, 2 still", False

    def active_units(self, means: Array) -> int:
        return len(means.var(axis=0) > 0.01)

    def reported(self) -> float:
        return self.active_units(self.means())

    def exact(self) -> float:
        return Experiment.active_units(self, self.means())

    def means(self) -> Array:
        """Mean codes, two latents made constant."""
        return self.encode(self.data()[TRAIN])[0] * np.array([1, 1, 1, 0, 0])


class prior_of_uniforms(Wrong):
    """Traversals start from U(0, 1) where the prior is N(0, 1).

    Seen: 1Konny/Beta-VAE, "random_z" is torch.rand.
    Notice: half the space is never seen.
    """

    looks = ("prior_is_standard_normal",)
    what, trains = "variance of the prior", False

    def prior(self, n: int, seed: int) -> Array:
        return Noise(seed, Stream.PRIOR).uniform((n, self.latent), np.float64)

    def reported(self) -> float:
        return float(self.prior(4000, 0).var())

    def exact(self) -> float:
        return 1.0


# The training loop


class schedule_counts_evaluation(Wrong):
    """The warm-up's step is counted in evaluation too, and not saved.

    Seen: AntixK/PyTorch-VAE BetaVAE.num_iter; disentangling-vae n_train_steps.
    Notice: evaluate twice as often, and the warm-up is over sooner.
    """

    looks = ("evaluation_leaves_the_schedule",)
    what, trains = "warmth at step 10", False

    def warmth(self, steps: int, evaluations: int, length: int) -> float:
        return min(1.0, (steps + evaluations) / length)

    def reported(self) -> float:
        return self.warmth(10, 25, 100)

    def exact(self) -> float:
        return Experiment.warmth(self, 10, 25, 100)


class stopping_on_the_annealed_loss(Wrong):
    """Early stopping watches the loss under warm-up, which is best when it is cold.

    Seen: scvi-tools PR #3262 (stopping must wait for the warm-up).
    Notice: the epoch that is kept is always among the first.
    """

    looks = ("the_best_epoch_is_by_the_elbo",)
    what, trains = "epoch kept of 0, 1, 2", False
    history: ClassVar = [
        {"recon": 60.0, "kl": 60.0, "warmth": 0.1},
        {"recon": 70.0, "kl": 25.0, "warmth": 0.5},
        {"recon": 75.0, "kl": 14.0, "warmth": 1.0},
    ]

    def best_epoch(self, history: Sequence[dict[str, float]]) -> int:
        losses = [h["recon"] + h["warmth"] * h["kl"] for h in history]
        return int(np.argmin(losses))

    def reported(self) -> float:
        return self.best_epoch(self.history)

    def exact(self) -> float:
        return Experiment.best_epoch(self, self.history)


class kl_logged_with_its_sign_lost(Wrong):
    """The log says 'KLD': −kl.

    Seen: AntixK/PyTorch-VAE (#68).
    Notice: a KL below 0; recon + beta KL is not the loss.
    """

    looks = ("the_log_adds_up",)
    what, trains = "KL in the log", False

    def log_line(self, x: Array, eps: Array) -> dict[str, float]:
        loss, recon, kl = self.loss(x, eps)
        return {"loss": loss, "recon": recon, "kl": -kl}

    def reported(self) -> float:
        return self.log_line(*_batch(self))["kl"]

    def exact(self) -> float:
        return self.loss(*_batch(self))[2]


class optimizer_not_the_papers(Wrong):
    """ "Adam" has beta1 = 0.99 and a second moment that starts at one.

    Seen: yburda/iwae, the IWAE paper's own code: the numbers are not Adam's.
    Notice: print every constant beside every number.
    """

    looks = ("adam_is_that_of_the_paper",)
    what, trains = "first step, lr 0.1", False

    def adam(self, gradients: Sequence[float], lr: float) -> list[float]:
        return self.adam_steps(gradients, lr, beta1=0.99, v=1.0)

    def reported(self) -> float:
        return self.adam([0.01], 0.1)[0]

    def exact(self) -> float:
        return Experiment.adam(self, [0.01], 0.1)[0]


class a_check_that_cannot_fail(Wrong):
    """A gradient 5 % too large, and a gradient check of tolerance 0.1 beside it.

    Seen: numpy-ml's VAE test, rtol 0.1 and atol 0.01; minitorch grad_check, 1e-2.
    Notice: plant a wrong rule; a check that lets it pass checks nothing.
    """

    looks = ("a_wrong_gradient_is_rejected",)
    seen_by_gradcheck = True
    what = "KL gradient, relative"

    def divergence(self, mu: Tensor, logvar: Tensor) -> Tensor:
        kl = super().divergence(mu, logvar)
        return kl + 0.05 * (kl - kl.detach())

    def accepts(self, f: Function, gradient: Array, x: Array) -> bool:
        return bool(np.allclose(gradient, self.differences(f, x), 0.1, 1e-2))

    def reported(self) -> float:
        return 1.05 if self.accepts(_square, np.array([2.1]), np.ones(1)) else math.nan

    def exact(self) -> float:
        return float(self.differences(_square, np.ones(1))[0]) / 2


# What several of them use


def _square(x: Array) -> float:
    return float((x**2).sum())


def _batch(experiment: Experiment) -> tuple[Array, Array]:
    x = experiment.data()[TRAIN]
    shape = (len(x), experiment.latent)
    return x, Noise(1, Stream.LATENT).normal(shape, np.float64)


def _own_loss(experiment: Experiment) -> float:
    return experiment.loss(*_batch(experiment))[0]
