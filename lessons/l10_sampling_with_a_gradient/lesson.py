# %% [markdown]
# # 10. Sampling with a gradient
#
# In the middle of a VAE a code is *drawn*: $z \sim \mathcal N(\mu, \sigma^2)$, with $\mu$
# and $\sigma$ from the encoder. The loss behind it is an average over draws, and training
# needs its gradient by $\mu$ and $\sigma$. How does one differentiate through a die?
#
# The question is about one number, $\nabla\, \mathbb E_q[f(z)]$, and there are two answers.
#
# ## Move the draw
#
# Draw the noise first: $\varepsilon \sim \mathcal N(0, 1)$, and make the draw of it, $z =
# \mu + \sigma \varepsilon$. Now $\varepsilon$ is an input like any other. Held fast, $z$
# is a smooth function of $\mu$ and $\sigma$, and the chain rule goes through:
#
# $$\frac{\partial f(z)}{\partial \mu} = f'(z), \qquad
# \frac{\partial f(z)}{\partial \log\sigma^2} = f'(z)\, \tfrac12 \sigma \varepsilon.$$
#
# Their means over draws are the gradient of the expectation, since the distribution of
# $\varepsilon$ depends on nothing. This is the *pathwise* gradient, or reparameterisation
# (Kingma and Welling 2014; Rezende et al. 2014). It needs $f'$.

# %%
import numpy as np

import minivae as mv
from lessons import kit

noise = mv.Noise(seed=10)

sample = kit.yours("10.1")
pathwise_gradient = kit.yours("10.2")

# %% [markdown]
# ## Or reweigh it
#
# Leave the draws where they are. If $\mu$ moves, some values of $z$ become likelier and
# others less so, by $\nabla q = q\, \nabla \log q$. Hence
#
# $$\nabla\, \mathbb E_q[f(z)] = \mathbb E_q[f(z)\, \nabla \log q(z)].$$
#
# It asks nothing of $f$ but its value: $f$ may have no derivative, $z$ may be a coin. This
# is the *score function* estimator, or REINFORCE (Williams 1992).

# %%
score_gradient = kit.yours("10.3")

# %% [markdown]
# ## The same mean, another spread
#
# Take $f(z) = z^2$, where everything is known: $\mathbb E[z^2] = \mu^2 + \sigma^2$, so the
# gradient is $2\mu$ by $\mu$ and $\sigma^2$ by $\log \sigma^2$. Estimate it 4,000 times
# from 10 draws each.

# %%
mu, logvar, S, repeats = 1.0, np.log(0.5), 10, 4000
truth = np.array([2 * mu, np.exp(logvar)])


def estimates(shift):
    found = {"pathwise": [], "score function": []}
    for _ in range(repeats):
        eps = noise.normal((S,), np.float64)
        z = sample(np.full(S, mu), np.full(S, logvar), eps)
        found["pathwise"].append(pathwise_gradient(2 * z, eps, logvar))
        found["score function"].append(score_gradient(z**2 + shift, z, mu, logvar))
    return {name: np.array(values) for name, values in found.items()}


plain, shifted = estimates(0.0), estimates(10.0)
print("                        by mu              by logvar")
print(f"{'exact':<22} {truth[0]:6.3f}            {truth[1]:6.3f}")
for title, found in (("", plain), (", f + 10", shifted)):
    for name, values in found.items():
        m, s = values.mean(axis=0), values.std(axis=0)
        print(
            f"{name + title:<22} {m[0]:6.3f} (sd {s[0]:5.2f})  {m[1]:6.3f} (sd {s[1]:5.2f})"
        )
        assert (abs(m - truth) <= 4.5 * s / np.sqrt(repeats)).all()
ratio = (plain["score function"].std(axis=0) / plain["pathwise"].std(axis=0)) ** 2
print(
    f"variance, score function / pathwise: {ratio[0]:.0f} by mu, {ratio[1]:.0f} by logvar"
)
assert (ratio > 2).all()

# %%
drawn, (left, right) = kit.canvas(2)
bins = np.linspace(-2, 8, 81)
for (name, values), colour in zip(plain.items(), ("#4477AA", "#EE6677")):
    left.hist(values[:, 0], bins, alpha=0.6, label=name, color=colour)
left.axvline(truth[0], color="#333333", linewidth=1)
left.set(title="Gradient by mu, 10 draws", yticks=[])
left.legend()
wide = np.linspace(-16, 20, 81)
for values, colour in zip(shifted.values(), ("#4477AA", "#EE6677")):
    right.hist(values[:, 0], wide, alpha=0.6, color=colour)
right.axvline(truth[0], color="#333333", linewidth=1)
right.set(title="The same, of f + 10", yticks=[])
kit.figure(
    drawn,
    "l10_estimators",
    "Histograms of the gradient by mu, around a line at the truth. Left: the pathwise "
    "estimates are a narrow peak, those of the score function are several times as "
    "wide. Right, with 10 added to f: the peak is as narrow as before, the other so "
    "wide that it is almost flat.",
)

# %% [markdown]
# Both histograms have their mean at the line: both estimators are right. But one needs
# many times the draws for the same error.
#
# Add a constant to $f$ and the true gradient stays as it was. The pathwise estimates do
# too: $f'$ is the same. The score function's spread grows with the constant, since it
# multiplies it by the score. Subtracting a good constant instead, a *baseline*, is how
# it is used where nothing else works.

# %% [markdown]
# ## In a VAE
#
# The code has two jobs, and $\mu$ receives two contributions: one from the KL, in closed
# form, and one through the draw from the reconstruction. Here is that place in a recorded
# step of a tiny VAE, with the noise as an input.

# %%
model = mv.VAE(
    (1, 2, 3), latent=2, hidden=(4,), likelihood="bernoulli", activation="tanh"
)
model.to(dtype=np.float64)
batch = (noise.uniform((2, 1, 2, 3), np.float64) < 0.5).astype(np.float64)
eps = model.loss_noise(noise, 2)
recording = mv.study.record(model, batch, eps)
mu_ = recording.named("mu")
for event in recording.events:
    if event.receiver == mu_.id and event.adds:
        sender = recording.by_id[event.sender]
        print(f"{sender.name} sends to mu, by {sender.rules[event.position].formula}:")
        print(np.round(event.gradient, 4))

# %% [markdown]
# The whole step as a page: follow one number of $\bar\mu$ back to both paths.

# %%
from minivae.page.step import step_page

kit.page(step_page(recording), "l10_step")

# %% [markdown]
# ## Your turn
#
# The draw and the two estimators: `python -m lessons check 10` holds them against
# differences with the noise held fast.
#
# ## What this cannot show
#
# The comparison is for one smooth $f$ of one number. For other functions the order can
# turn round, and between the two lies a family of estimators (Mohamed et al. 2020). And a
# gradient of low variance is still one of whatever objective was written down: an unlucky
# width, $\exp(\mathrm{logvar})$ in place of $\exp(\mathrm{logvar}/2)$, has a fine gradient.
#
# ## References
#
# - D. P. Kingma, M. Welling (2014). Auto-encoding variational Bayes. *ICLR*, section 2.4.
# - D. J. Rezende, S. Mohamed, D. Wierstra (2014). Stochastic backpropagation and
#   approximate inference in deep generative models. *ICML*.
# - R. J. Williams (1992). Simple statistical gradient-following algorithms for
#   connectionist reinforcement learning. *Machine Learning* 8.
# - S. Mohamed, M. Rosca, M. Figurnov, A. Mnih (2020). Monte Carlo gradient estimation in
#   machine learning. *JMLR* 21.
