# %% [markdown]
# # 9. The ELBO, exactly
#
# A VAE maximises a number called the evidence lower bound, the ELBO. Usually one has to
# believe that it is a bound, and of what. For one model everything can be computed: the
# probability of an image, the best possible code, the bound, and the gap between. This
# lesson does that, and then lets EM climb.
#
# ## The model
#
# A code $z \sim \mathcal N(0, I)$ is drawn, and an image from it: $x = W z + \text{noise}$,
# with noise of variance $s^2$ in every pixel. The probability of an image is an integral
# over all codes that could have made it,
#
# $$p(x) = \int p(x \mid z)\, p(z)\, dz.$$
#
# For a network in place of $W$, nobody can do this integral. Here $x$ is a sum of
# Gaussians, so $p(x) = \mathcal N(0,\, W W^\top + s^2 I)$: one line. (The model is
# probabilistic PCA, Tipping and Bishop 1999.)

# %%
import numpy as np
from scipy import stats
from sklearn.datasets import load_digits

from lessons import kit
from minivae.em import PPCA

rng = np.random.default_rng(9)
W, s2 = np.array([[1.5], [0.8], [-0.5]]), 0.4
x = np.array([1.2, 0.1, -0.9])
log_p = stats.multivariate_normal.logpdf(x, np.zeros(3), W @ W.T + s2 * np.eye(3))
print(f"log p(x) = {log_p:.6f} nats")

# %% [markdown]
# ## The identity
#
# Take any distribution $q$ over codes. Multiply and divide by it inside the logarithm,
# and use $p(x) = p(x, z) / p(z \mid x)$:
#
# $$\log p(x) = \underbrace{\mathbb E_q[\log p(x \mid z)] - \mathrm{KL}(q \,\|\, p(z))}
# _{\mathrm{ELBO}(q)} + \mathrm{KL}(q \,\|\, p(z \mid x)).$$
#
# A KL is never negative, so the ELBO is a lower bound of $\log p(x)$. It is tight for one
# $q$ only: the posterior $p(z \mid x)$. And maximising it over $q$ is finding the
# posterior, without ever computing $p(x)$.
#
# Every term can be checked. For $q = \mathcal N(\mu, \mathrm{diag}\,\sigma^2)$ the expected
# likelihood needs $\mathbb E_q |x - Wz|^2 = |x - W\mu|^2 + \sum_j \sigma_j^2 |w_j|^2$. The
# second part is easily forgotten: it is what the decoder pays for a code that is not sure.

# %%
elbo, posterior = kit.yours("9.1"), kit.yours("9.2")
mean, covariance = posterior(x, W, s2)
var = covariance.diagonal()

print("  mu   sigma²     ELBO       KL to the posterior   sum")
for mu, v in [
    (0.0, 1.0),
    (0.9, 0.5),
    (float(mean[0]), 0.5),
    (float(mean[0]), float(var[0])),
]:
    bound = elbo(x, W, s2, np.array([mu]), np.log([v]))
    gap = 0.5 * float(((mu - mean) ** 2 / var + v / var - 1 - np.log(v / var)).item())
    print(f"{mu:6.3f} {v:7.3f}  {bound:10.6f}  {gap:10.6f}        {bound + gap:12.6f}")
    assert abs(bound + gap - log_p) < 1e-4 * abs(log_p)  # yours may be in float32

# %% [markdown]
# The last column is $\log p(x)$ whatever $q$ is, to nine digits. In the last row $q$ is
# the posterior, and the bound touches.

# %%
drawn, (left, right) = kit.canvas(2)
mus = np.linspace(-1, 2.5, 200)
for v, label in [
    (float(var[0]), "σ² of the posterior"),
    (1.0, "σ² = 1"),
    (0.02, "σ² = 0.02"),
]:
    left.plot(
        mus, [elbo(x, W, s2, np.array([m]), np.log([v])) for m in mus], label=label
    )
left.axhline(log_p, color="#555555", linewidth=1)
left.annotate("log p(x)", (4, log_p), (0, 3), textcoords="offset points")
left.set(xlabel="mean of q", title="The bound, by q", xlim=(-1, 5.2))
left.set_ylim(log_p - 6, log_p + 0.8)
_ = left.legend(loc="center right")

# %% [markdown]
# ## Two kinds of steps
#
# Now let $W$ and $s^2$ be learned, from 1,797 digits of 64 pixels. The ELBO is a function
# of two things, $q$ and the parameters, and can be raised by either:
#
# - **E-step**: set each image's $q$ to its posterior. The bound now touches $\log p$.
# - **M-step**: with those $q$ fixed, set $W$ and $s^2$ to the best. That is least squares
#   with codes that vary.
#
# After an E-step the bound equals $\log p$. The M-step raises the bound, and $\log p$ lies
# above it: so $\log p$ never falls (Dempster, Laird and Rubin 1977; Neal and Hinton 1998).

# %%
X = load_digits().data / 16
X = X - X.mean(axis=0)

m_step = kit.yours("9.3")
model, heights = PPCA.start(X, latent=5, seed=1), []
for _ in range(40):
    heights.append(model.log_p())
    model.W, model.s2 = m_step(X, *model.e_step())
assert min(np.diff(heights)) > -1e-4 * abs(heights[-1])

# %% [markdown]
# How far is it to the top? The maximum of $\log p$ is known in closed form: the columns of
# $W$ span the first principal components, and $s^2$ is the mean variance of the others.

# %%
S = X.T @ X / len(X)
values = np.linalg.eigvalsh(S)[::-1]
noise = values[5:].mean()
top = -0.5 * (
    64 * np.log(2 * np.pi) + np.log(values[:5]).sum() + 59 * np.log(noise) + 64
)
print(f"log p after 40 steps {heights[-1]:.4f}, the maximum {top:.4f} nats per image")
assert heights[-1] <= top + 1e-4 * abs(top)

# %%
right.plot(heights)
right.axhline(top, color="#555555", linewidth=1)
right.annotate("closed form", (20, top), (0, 3), textcoords="offset points")
right.set(xlabel="EM step", title="log p never falls", ylim=(heights[1], top + 3))
kit.figure(
    drawn,
    "l09_elbo",
    "Left: the bound by the mean of q, three hills with one middle. The one with the "
    "variance of the posterior touches the line log p(x); the two with another "
    "variance stay below. Right: log p by EM step rises steeply, then flattens onto "
    "the line of the closed form.",
)

# %% [markdown]
# ## What a VAE is among these
#
# A VAE climbs the same function. Two things differ. $W$ is a network, so the posterior has
# no formula, and $q$ is restricted to what an encoder network can say of an image: one
# encoder gives every $q$. And both sides move at once, by gradients, instead of in turn.
# The price of each is a part of the gap: what no Gaussian $q$ could close, and what the
# encoder loses against a $q$ of each image's own (Cremer et al. 2018). `minivae em` draws
# all of them in one plane.
#
# ## Your turn
#
# The bound, the posterior and the M-step: `python -m lessons check 9` compares the first
# with $\log p(x) - \mathrm{KL}(q \,\|\, p(z \mid x))$, in which no expectation is taken.
#
# ## What this cannot show
#
# Here the likelihood is a quadratic and the expectation over $q$ has a formula. With a
# network inside it has none, and has to be sampled, with a gradient that goes through the
# sampling: lesson 10. And a high bound is not yet a useful code: lessons 11 and 12.
#
# ## References
#
# - M. E. Tipping, C. M. Bishop (1999). Probabilistic principal component analysis. *JRSS B*
#   61, eq. 25 to 30.
# - A. P. Dempster, N. M. Laird, D. B. Rubin (1977). Maximum likelihood from incomplete data
#   via the EM algorithm. *JRSS B* 39.
# - R. M. Neal, G. E. Hinton (1998). A view of the EM algorithm that justifies incremental,
#   sparse, and other variants. *Learning in Graphical Models*.
# - C. Cremer, X. Li, D. Duvenaud (2018). Inference suboptimality in variational
#   autoencoders. *ICML*, section 2.
