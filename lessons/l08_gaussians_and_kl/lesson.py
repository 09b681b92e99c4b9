# %% [markdown]
# # 8. Gaussians and the KL divergence
#
# An autoencoder of lesson 6 gives each image a point. A variational one gives it a
# *distribution* over points, which says where the code is and how sure that is. Two
# things are then needed: the density of a Gaussian, and the price of an image's
# distribution being another one than $\mathcal N(0, 1)$, the *prior*, to which those of all
# images are held. The numbers of a code are called *latents*.
#
# ## The density
#
# For one number $x$, a Gaussian of mean $\mu$ and variance $\sigma^2$ has
#
# $$\log \mathcal N(x; \mu, \sigma^2) = -\tfrac12 \left( \log 2\pi + \log \sigma^2 +
# \frac{(x - \mu)^2}{\sigma^2} \right).$$
#
# The last term pays for being far from the mean, counted in standard deviations. The
# middle one pays for being wide: a density must integrate to 1, so a wide one is low
# everywhere. A network that could choose $\sigma$ freely, without that term, would choose
# it infinite.
#
# An encoder returns $\log \sigma^2$, called `logvar` in this project and never anything
# else. Any real number is a valid one, and small variances do not underflow. The price is
# one fact to remember: $\sigma = \exp(\mathrm{logvar} / 2)$.

# %%
import numpy as np

import minivae as mv
from lessons import kit

log_normal = kit.yours("8.1")
rng = mv.Noise(seed=8)
mu, logvar = 0.5, -1.0
sigma = np.exp(logvar / 2)


x = np.linspace(mu - 10 * sigma, mu + 10 * sigma, 4001)
density = np.exp(log_normal(x, np.full_like(x, mu), np.full_like(x, logvar)))
area = np.trapezoid(density, x)
print(f"area under the density: {area:.9f}")

# %% [markdown]
# ## The divergence
#
# How different is a distribution $q$ from another, $p$? Draw from $q$, and ask by how
# much $q$ finds the draw likelier than $p$ does, on the average and in logarithms:
#
# $$\mathrm{KL}(q \,\|\, p) = \mathbb E_{z \sim q}\left[\log q(z) - \log p(z)\right].$$
#
# In nats (natural logarithms) it is the *extra* cost of describing draws of $q$ in a
# language made for $p$ instead of one made for $q$ (Cover and Thomas 2006, section 5.4). For $q = \mathcal N(\mu, \sigma^2)$
# and the prior $p = \mathcal N(0, 1)$ the expectation can be done by hand, since
# $\mathbb E[(z - \mu)^2] = \sigma^2$ and $\mathbb E[z^2] = \mu^2 + \sigma^2$:
#
# $$\mathrm{KL} = \tfrac12 \left( \mu^2 + \sigma^2 - 1 - \log \sigma^2 \right).$$
#
# It is zero where $\mu = 0$ and $\sigma = 1$, and positive everywhere else (Gibbs'
# inequality). $\mu^2$ pays for being somewhere in particular. $\sigma^2 - 1 - \log
# \sigma^2$ pays for being surer, or less sure, than the prior; once $\sigma$ is
# small, halving it costs about $\log 2$ nats each time.
#
# The latents of an image are independent under $q$ and under $p$. Then $\log q$ and
# $\log p$ are sums over the latents, and so is their expected difference: **the KL of an
# image is the sum over its latents**, never their average.

# %%
gaussian_kl = kit.yours("8.2")

mus = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, -2.0]])
logvars = np.array([[0.0, 0.0], [0.0, 0.0], [-2.0, 0.0], [-2.0, 1.0]])
kl = np.asarray(gaussian_kl(mus, logvars))
print("      mu            logvar         KL in nats")
for row in zip(mus, logvars, kl, strict=True):
    print(f"{row[0]!s:>12}  {row[1]!s:>12}  {row[2]:14.4f}")
assert kl[0] == 0
assert (kl[1:] > 0).all()

# %% [markdown]
# The package's own, which a VAE of this project is trained with, says the same.

# %%
q = mv.distributions.DiagGaussian(mv.Tensor(mus), mv.Tensor(logvars))
package = q.kl_per_latent().numpy().sum(axis=1)
assert np.allclose(package, kl, rtol=1e-6, atol=1e-9)

# %% [markdown]
# ## Is it true?
#
# The formula came from paper. The definition is an expectation, and an expectation can be
# estimated without any calculus: draw $z_1, \dots, z_S$ from $q$ and average
# $\log q(z_s) - \log p(z_s)$. A draw of $q$ is a standard normal that was stretched and
# moved, $z = \mu + \sigma \varepsilon$: lesson 10 lives on that.
#
# The error of a mean of $S$ independent draws is their standard deviation over
# $\sqrt S$: a hundred times the draws, a tenth of the error. So the estimate comes with
# its own error bar, and the claim can be tested: is the closed form within a few of them?

# %%
kl_by_sampling = kit.yours("8.3")
closed = float(gaussian_kl(np.array([[mu]]), np.array([[logvar]]))[0])
sizes = [10, 100, 1_000, 10_000, 100_000]
means, errors = [], []
for S in sizes:
    eps = rng.normal((S, 1), np.float64)
    mean, error = kl_by_sampling(np.array([mu]), np.array([logvar]), eps)
    means.append(float(mean))
    errors.append(float(error))
    print(
        f"{S:>7} draws  {means[-1]:.4f} ± {errors[-1]:.4f}   closed form {closed:.4f}"
    )
assert all(abs(m - closed) <= 4 * e for m, e in zip(means, errors, strict=True))

# %%
drawn, (left, right) = kit.canvas(2)
grid = np.linspace(-2.5, 2.5, 201)
spread = np.linspace(-4, 2, 201)
plane = np.stack(np.meshgrid(grid, spread)).reshape(2, -1, 1)
surface = np.reshape(gaussian_kl(*plane), (201, 201))
levels = [0.05, 0.25, 0.5, 1, 2, 3, 4]
lines = left.contour(grid, spread, surface, levels, colors="#4477AA", linewidths=1.2)
left.clabel(lines, fmt="%g", fontsize=8)
left.plot(0, 0, "k+", markersize=9)
left.set(xlabel="µ", ylabel="logvar", title="KL of one latent, in nats")
right.axhline(closed, color="#555555", linewidth=1)
right.errorbar(sizes, means, [2 * e for e in errors], fmt="o", capsize=3, markersize=4)
right.set(xscale="log", xlabel="draws S", title="Sampled, ± 2 standard errors")
right.annotate("closed form", (sizes[3], closed), (-12, 14), textcoords="offset points")
kit.figure(
    drawn,
    "l08_kl",
    "Left: contours of the KL by µ and logvar: closed curves around the prior at 0, "
    "0, close together above and far apart below. Right: estimates from 10 to 100,000 "
    "draws; their error bars shrink onto the line of the closed form.",
)

# %% [markdown]
# On the left, the cross is the prior. To the right of it the walls are those of a
# parabola on either side: moving by $\mu$ costs $\mu^2/2$. Downwards, growing surer costs about half a
# nat for each unit of logvar, for ever. Upwards the wall is steep: $\sigma^2 / 2$.

# %% [markdown]
# ## What the closed form is worth
#
# A VAE needs this number for every image at every step, and its gradient. By sampling,
# both would be noisy. The closed form removes that noise from one of the two terms of
# the objective; the other, the reconstruction, has to be sampled (lessons 9 and 10). Where
# no closed form exists (a mixture as the prior, for example) the estimate is all there
# is, and this lesson's error bar is how it is reported.
#
# ## Your turn
#
# Three functions in `exercise.py`: the log density, the closed form, and the estimate
# with its standard error. `python -m lessons check 8` knows the density from SciPy and
# the KL from an integral on a grid.

# %% [markdown]
# ## What this cannot show
#
# Nothing here says that codes *should* be spread like the prior, or how strongly. That
# follows from a bound on the likelihood of the data, in lesson 9; a weight on this term
# is the subject of lesson 12. And a right closed form in a wrong objective is still
# wrong: averaged over latents, its gradient is a correct gradient of something else, and
# finite differences will not complain.
#
# ## References
#
# - S. Kullback, R. A. Leibler (1951). On information and sufficiency. *Annals of
#   Mathematical Statistics* 22.
# - T. M. Cover, J. A. Thomas (2006). *Elements of Information Theory*, 2nd ed., sections
#   2.3, 2.6 and 5.4.
# - D. P. Kingma, M. Welling (2014). Auto-encoding variational Bayes. *ICLR*, appendix B.
