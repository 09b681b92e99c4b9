# %% [markdown]
# # 11. Train a VAE
#
# All the parts are here: a code with a distribution (lesson 8), a bound to maximise (9), a
# gradient through the draw (10). What is left is to put two numbers together and to
# train. Most trouble with VAEs comes from just that: two numbers that are not on one
# scale, and a code that is not used.
#
# ## The loss
#
# For an image of $D$ pixels, 0 or 1, and a code of $Z$ latents, the loss is the negative
# ELBO, in nats:
#
# $$L = \underbrace{\mathbb E_q\Bigl[-\sum_{d} \log p(x_d \mid z)\Bigr]}_{\text{recon}} +
# \beta \underbrace{\sum_{j} \mathrm{KL}\bigl(q(z_j \mid x) \,\|\, \mathcal
# N(0,1)\bigr)}_{\text{KL}}, \qquad \beta = 1.$$
#
# Both terms are *sums*, over pixels and over latents, since logarithms of probabilities of
# independent things add up. Over images the loss is a mean. This is not a matter of
# taste. Averaging one of the sums multiplies one term by a constant, and that constant
# is a $\beta$ that nobody chose: recon averaged over pixels is $\beta = D$ in disguise,
# the KL averaged over latents is $\beta = 1/Z$.
#
# In training, one draw of $z$ stands for the expectation (lesson 10). For a pixel with the
# logit $\ell$, $-\log p(x_d \mid z)$ is $\log(1 + e^\ell) - \ell x_d$, written so that no
# logit overflows (lesson 5). Here it is beside the package's loss; $\beta$ is 4 for this
# comparison only, so that its place is seen.


# %%
import numpy as np

import minivae as mv
from lessons import kit
from minivae.page.step import step_page

vae_loss = kit.yours("11.1")
data = mv.data.load("digits:dynamic")  # 8 × 8 pixels, drawn 0 or 1
x = data.test.images[:100]
model = mv.BetaVAE(
    (1, 8, 8), latent=10, hidden=(128,), beta=4.0, likelihood="bernoulli"
)
eps = model.loss_noise(mv.Noise(seed=11), len(x))
q, terms = model.encode(x), model.loss_terms(x, eps)
logits = model.decode(q.sample(eps)).numpy().reshape(100, -1)
ours = vae_loss(logits, x.reshape(100, -1), q.mean.numpy(), q.logvar.numpy(), 4.0)
print("          loss    recon      KL")
print("ours    ", *(f"{v:8.3f}" for v in ours))
print("package ", *(f"{v.item():8.3f}" for v in terms[:3]))
assert np.allclose(ours, [v.item() for v in terms[:3]], rtol=1e-4)

# %% [markdown]
# ## What a loss can be compared with
#
# A VAE will reach about 24 nats here. Is that good? One number to hold against it needs no
# training. Let the code tell nothing, so that the KL is 0. The decoder must then say the
# same for every image, and the best it can say is each pixel's mean $p_d$. It pays the
# entropies, $\sum_d H(p_d)$. With the means of the test images themselves, known in
# hindsight, no decoder can be below that without a code; with those of the training images
# it pays a little more. A VAE clearly above would do better without its code.

# %%
collapsed_loss = kit.yours("11.3")
without_code = float(collapsed_loss(data.test.images.reshape(-1, 64)))
print(f"without a code: {without_code:.2f} nats per image")

# %% [markdown]
# Now the experiment: the same net and the same data three times. Once with both sums, and
# once with each of the usual averages, as the $\beta$ that it amounts to. All three are
# measured by the package's *ledger*: recon with 16 draws an image, KL, and the $-$ELBO
# with $\beta = 1$, on the test images. Behind ± is the standard error of the mean over
# images.


# %%
def trained(latent=10, beta=1.0, warmup=0, epochs=50):  # warmup: epochs
    model = mv.BetaVAE((1, 8, 8), latent=latent, hidden=(128,), beta=beta)
    run = mv.fit(
        model, data, epochs=epochs, batch=64, lr=0.002, warmup=warmup, quiet=True
    )
    return model, run.metrics


models, found, curves = {}, {}, {}
print(f"{'':<17}  it prints   recon      KL  −ELBO")
kinds = {"both sums": 1.0, "mean over pixels": 64.0, "mean over latents": 0.1}
for name, beta in kinds.items():
    models[name], curves[name] = trained(beta=beta)
    found[name] = book = mv.evaluate.ledger(models[name], data)
    scale = 1 / 64 if beta == 64 else 1  # as such a program would print it
    print(
        f"{name:<17}  {scale * book['objective']:9.2f}  {book['recon']:6.2f}  "
        f"{book['kl']:6.2f}  {book['neg_elbo']:6.2f} ± {book['neg_elbo_se']:.2f}"
    )
good, pixels, latents = found.values()
assert pixels["kl"] < 0.05
assert abs(pixels["neg_elbo"] - without_code) < 1
assert latents["objective"] < good["objective"]
assert latents["neg_elbo"] > without_code > good["neg_elbo"] + 2

# %% [markdown]
# The ledger measures all three with one ruler. Averaging over pixels turned the code off:
# what is left is the net without a code. Averaging over latents prints a smaller loss than
# both sums, 15.16 against 23.86, and its reconstructions are the best of the three; as a
# model of the images it is the worst, worse than none. *A loss that was computed otherwise
# cannot be compared*, and a gradient check passes in all three.

# %%
drawn, axes = kit.canvas()
for row, book in enumerate(found.values()):
    axes.barh(row, book["recon"], color="#4477AA", label="recon" if row == 0 else None)
    axes.barh(
        row,
        book["kl"],
        left=book["recon"],
        color="#EE6677",
        label=None if row else "KL",
    )
axes.axvline(without_code, color="#333333", linewidth=1)
axes.annotate(
    "without a code", (without_code, -0.52), (3, 0), textcoords="offset points"
)
axes.set(yticks=range(3), yticklabels=list(found), ylim=(2.5, -0.9), xlim=(0, 40))
axes.set(xlabel="nats per test image", title="−ELBO = recon + KL, by what was averaged")
axes.legend(loc="lower right")
kit.figure(
    drawn,
    "l11_scales",
    "Bars of recon and KL in nats per test image, and a line at what is reached "
    "without a code. Both sums: the bar ends before the line. Mean over pixels: no "
    "KL, and the bar ends at the line. Mean over latents: less recon, but so much KL "
    "that the bar ends far beyond.",
)

# %% [markdown]
# ## When the code is rightly not used
#
# A latent with a KL of 0 tells nothing: its posterior *collapsed* to the prior. That need
# not be a fault. Take points in the plane, and a decoder with a mean for each coordinate
# and a learned variance for each. If the coordinates are independent, the decoder can say
# all there is without a code. If they are correlated, one number has to be told: where
# along the long axis. A second is never needed (the question is from the homework on VAEs
# of CS294-158).
#
# Here the truth is known: on average over points, no $-\mathrm{ELBO}$ can be below their
# entropy. Over the 20,000 points of the run it is known to within the ± that is printed.


# %%
def plane(covariance, seed, steps=1500, batch=128):
    root = np.linalg.cholesky(covariance)
    noise = mv.Noise(seed=seed)
    model = mv.VAE(
        (1, 1, 2),
        latent=2,
        hidden=(32,),
        likelihood="gaussian",
        sigma="pixel",
        seed=seed,
    )
    optimizer, history = mv.optim.Adam(model.parameters(), 0.005), []

    def points(n):
        return (noise.normal((n, 2), np.float64) @ root.T).reshape(n, 1, 1, 2)

    for step in range(steps):
        optimizer.lr = 0.005 * (1 - step / steps) + 1e-5
        terms = model.loss_terms(points(batch), noise)
        optimizer.zero_grad()
        terms.loss.backward()
        optimizer.step()
        if step % 30 == 0:
            kl = model.encode(points(500)).kl_per_latent().numpy().mean(axis=0)
            history.append(np.sort(kl)[::-1])
    fresh = points(20_000)
    kl = model.encode(fresh).kl_per_latent().numpy().mean(axis=0)
    losses = model.loss_terms(fresh, noise, reduction="none").loss.numpy()
    return history, np.sort(kl)[::-1], losses.mean(), losses.std() / len(losses) ** 0.5


clouds = {
    "independent": np.diag([1.0, 0.25]),
    "correlated": np.array([[1.0, 0.9], [0.9, 1.0]]),
}
drawn, panels = kit.canvas(2)
for (name, covariance), axes in zip(clouds.items(), panels):
    entropy = 1 + np.log(2 * np.pi) + 0.5 * np.log(np.linalg.det(covariance))
    for seed in (0, 1):
        history, kl, loss, error = plane(covariance, seed)
        print(
            f"{name:<11} seed {seed}: KL {kl[0]:.2f} and {kl[1]:.2f}, "
            f"−ELBO {loss:.3f} ± {error:.3f}, entropy {entropy:.3f}"
        )
        assert (kl > 0.2).sum() == (name == "correlated")
        assert -3 * error < loss - entropy < 0.06
    axes.plot(np.arange(len(history)) * 30, history, label=["larger", "smaller"])
    axes.set(xlabel="step", title=f"KL, {name}, seed 1", ylim=(-0.05, 2))
panels[0].legend(title="of two latents")
kit.figure(
    drawn,
    "l11_collapse",
    "KL of two latents by training step. Independent coordinates: both fall to 0. "
    "Correlated coordinates: one falls to 0 at once, the other rises to about 1.4.",
)

# %% [markdown]
# In both the bound is tight to within a few hundredths of a nat: nothing was to be gained
# by telling more. Nor is it forbidden: a linear decoder whose variance shrinks to what is
# left keeps the bound tight with two latents, for either cloud (probabilistic PCA, Tipping
# & Bishop 1999). So collapse alone is no diagnosis. Ask what the decoder can do without
# the code, and whether the loss is below that.
#
# ## When it is not used too early
#
# Another collapse is a fault. At the start the decoder knows nothing to do with a code,
# and the KL has a gradient from the first step on. Latents may be silenced before they
# were any use. *KL warm-up* lets the KL's weight rise from 0 to 1 (Bowman et al. 2016).
# What is reported, and what chooses the best weights, stays the unweighted sum.

# %%
kl_weight = kit.yours("11.2")
models["warm-up"], curves["warm-up"] = trained(warmup=20)
warm = mv.evaluate.ledger(models["warm-up"], data)
per_epoch = -(-len(data.train) // 64)
for line in curves["warm-up"]:
    step = line["step"] - 1  # the last of its epoch; kl_weight counts in steps
    assert abs(line["warmth"] - kl_weight(step, 20 * per_epoch)) < 1e-6
for name, book in (("from the start", good), ("warm-up", warm)):
    low = sum(kl < 0.2 for kl in book["kl_per_latent"])
    print(
        f"{name:<14}  KL {book['kl']:.2f}   −ELBO {book['neg_elbo']:.2f} ± "
        f"{book['neg_elbo_se']:.2f}   latents below 0.2 nats: {low}"
    )


def losses(model):  # of each test image, a mean over 16 draws
    with mv.no_grad():
        terms = [
            model.loss_terms(data.test.images, mv.Noise(seed=k), reduction="none")
            for k in range(16)
        ]
    return np.mean([t.loss.numpy() for t in terms], axis=0)


change = losses(models["warm-up"]) - losses(models["both sums"])
error = change.std(ddof=1) / len(change) ** 0.5
print(f"image by image, warm-up changes it by {change.mean():.2f} ± {error:.2f}")
assert warm["kl"] > good["kl"]
assert abs(change.mean()) < 2 * error
assert sum(kl < 0.2 for kl in good["kl_per_latent"]) == 2

# %%
drawn, (left, right) = kit.canvas(2)
for name, label in (("both sums", "from the start"), ("warm-up", "warm-up, 20 epochs")):
    lines = curves[name]
    left.plot(
        [e["epoch"] for e in lines], [e["validation"]["kl"] for e in lines], label=label
    )
left.set(xlabel="epoch", ylabel="nats", title="KL on validation images")
left.legend()
for shift, book in ((-0.2, good), (0.2, warm)):
    kls = sorted(book["kl_per_latent"], reverse=True)
    right.bar(np.arange(10) + shift, kls, 0.4)
right.set(xlabel="latent, by its KL", ylabel="nats", xticks=[])
right.set_title("KL of each, at the end")
kit.figure(
    drawn,
    "l11_warmup",
    "Left: KL on validation images by epoch. From the start: it falls to 1, then rises, "
    "to above 4. With warm-up: it falls from 14 to about 5. Right: KL of each of ten "
    "latents at the end. Two are close to 0 without warm-up, none with it.",
)

# %% [markdown]
# Without warm-up the KL first falls, as feared, and then *rises* through training: the code
# is used more, not less, as the decoder learns to read it. With it, the KL comes down from
# above and ends higher. What is hard for one model is hard for the other, so they are
# compared image by image; even so their bounds differ by no more than the error. Without
# warm-up two latents stayed at a tenth of a nat; they were not missed. On data this easy,
# and with one seed of each, warm-up shows no gain: one looks at the ledger before one adds
# a knob.
#
# ## What it has learned

# %%
flat, _ = trained(latent=2, warmup=20)
drawn, (left, right) = kit.canvas(2, height=3.4)
points = left.scatter(
    *flat.embed(data.train.grey).T, c=data.train.labels, cmap="tab10", s=5, linewidths=0
)
left.legend(
    *points.legend_elements(),
    fontsize=7,
    markerscale=0.7,
    loc="center left",
    bbox_to_anchor=(1, 0.5),
    handletextpad=0,
)
left.set(title="Mean codes, two latents", xlabel="latent 1", ylabel="latent 2")
kit.tiles(right, models["warm-up"].sample(30, mv.Noise(seed=110)), columns=6)
right.set_title("Decoded draws, ten latents")
kit.figure(
    drawn,
    "l11_codes",
    "Left: mean codes of the training digits in two latents, in ten colours: clouds "
    "side by side around 0. Right: thirty decoded draws of the prior; most resemble "
    "digits.",
)

# %% [markdown]
# Compare with lesson 6: these codes were asked to lie where the prior does, around 0 and
# about 1 wide, and a draw of the prior decodes to something like a digit. How good the
# draws are, the eye judges badly; the bound in nats is what two models are compared by.
#
# Last, one training step of a VAE that is small enough to read, on one page: every value,
# every rule, and the two ways by which the loss reaches `mu`.

# %%
small = mv.VAE(
    (1, 2, 3), latent=2, hidden=(4,), likelihood="bernoulli", activation="tanh"
)
small.to(dtype=np.float64)
batch = (mv.Noise(seed=4).uniform((3, 1, 2, 3), np.float64) < 0.5).astype(np.float64)
recording = mv.study.record(small, batch)
kit.page(step_page(recording), "l11_step")

# %% [markdown]
# ## Your turn
#
# The loss in its parts, the weight of the KL, and the loss without a code:
# `python -m lessons check 11`.
#
# ## What this cannot show
#
# Which of two codes is more useful: the bound is about images, not about codes. Nor does
# it show what a larger net on larger images would do; there, collapse by an early KL, or
# by a decoder that needs no code, is common (Chen et al. 2017). And the bound is
# below $\log p(x)$ by a gap that the ledger can only bracket, with many draws
# (Burda et al. 2016).
#
# ## References
#
# - D. P. Kingma, M. Welling (2014). Auto-encoding variational Bayes. *ICLR*, section 3.
# - S. R. Bowman, L. Vilnis et al. (2016). Generating sentences from a continuous space.
#   *CoNLL*, section 3.1.
# - M. E. Tipping, C. M. Bishop (1999). Probabilistic principal component analysis. *Journal
#   of the Royal Statistical Society B* 61.
# - X. Chen, D. P. Kingma et al. (2017). Variational lossy autoencoder. *ICLR*.
# - Y. Burda, R. Grosse, R. Salakhutdinov (2016). Importance weighted autoencoders. *ICLR*.
# - UC Berkeley, CS294-158 *Deep Unsupervised Learning*, homework on VAEs.
