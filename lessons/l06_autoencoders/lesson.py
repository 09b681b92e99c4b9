# %% [markdown]
# # 6. Autoencoders
#
# An autoencoder learns to return what it is given. That is worth nothing by itself: the
# identity does it perfectly. All that such a net learns comes from what *keeps* it from
# being the identity. This lesson is about three such things: too few numbers in the
# middle, a net that is too simple, and noise.
#
# ## The idea
#
# An *encoder* makes a code $z$ of $Z$ numbers from an image $x$ of $D$ pixels, a *decoder*
# makes an image $\hat x$ from the code, and both are trained to keep
#
# $$L = \mathbb E\, |\hat x - x|^2$$
#
# small: a squared error, summed over pixels, averaged over images. If $Z < D$ the net is
# *undercomplete*. Its code is a bottleneck, and what does not fit is lost. The labels of
# the images take no part.

# %%
import numpy as np

import minivae as mv
from lessons import kit

data = mv.data.load("digits")  # 8 × 8 pixels
train, test = (s.images.astype(np.float64) for s in (data.train, data.test))
X, D = train.reshape(len(train), -1), 64


def error(made, clean):
    return float(((made - clean).reshape(len(clean), -1) ** 2).sum(axis=1).mean())


def trained(model, epochs, lr=0.01):
    options = {"batch": 100, "lr": lr, "schedule": "cosine", "quiet": True}
    mv.fit(model, data, epochs=epochs, **options)
    return model


# %% [markdown]
# ## With straight lines only: PCA
#
# Let encoder and decoder be linear layers, nothing between. Then $\hat x = W_2 W_1 x + b$:
# one matrix of rank $Z$ at most. So all $\hat x$ lie in a flat subspace of $Z$ dimensions,
# and the best subspace is known: it passes through the mean image, along the $Z$ first
# principal directions. What is lost is the variance in all other directions,
#
# $$L^* = \sum_{i > Z} \lambda_i,$$
#
# the sum of the small eigenvalues of the images' covariance (Baldi and Hornik 1989, who
# also show that gradient descent has no other minimum to get stuck in).

# %%
best_linear = kit.yours("6.1")
eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
assert abs(error(best_linear(X, 8), X) - eigenvalues[8:].sum()) < 1e-4

linear = trained(
    mv.AE((1, 8, 8), latent=8, hidden=(), likelihood="squared_error"), epochs=200
)
ratio = error(linear.reconstruct(train), train) / eigenvalues[8:].sum()
print(f"8 codes, squared error: PCA {eigenvalues[8:].sum():.4f}, trained × {ratio:.4f}")
assert 1 - 1e-6 < ratio < 1.02

# %% [markdown]
# Training arrives at the error of PCA, but not at its axes. If $M$ is any invertible matrix
# of $Z \times Z$, the encoder $M W_1$ with the decoder $W_2 M^{-1}$ has the same error: the
# subspace is found, the coordinates in it are arbitrary. Keep that in mind for lesson 12.
#
# ## With a bend: better, and with holes
#
# Hidden layers let the subspace bend. With two codes we can look at it; with eight we can
# ask what lies between the codes. A code is drawn evenly, each number between the least
# and the largest that any training image has there, and decoded. Is what comes out near
# anything that the net has seen?


# %%
def bent(latent):
    net = mv.AE((1, 8, 8), latent=latent, hidden=(128, 64), likelihood="squared_error")
    return trained(net, epochs=80, lr=0.003)


def nearest(images):  # the squared distance to the nearest training image
    apart = images.reshape(-1, 1, D) - X[None]
    return (apart**2).sum(axis=2).min(axis=1)


two, eight = bent(2), bent(8)
flat_error, bent_error = eigenvalues[2:].sum(), error(two.reconstruct(train), train)
print(
    f"2 codes, squared error: PCA {flat_error:.3f}, with hidden layers {bent_error:.3f}"
)
assert bent_error < flat_error

codes = eight.embed(train)
low, high = codes.min(axis=0), codes.max(axis=0)
evenly = low + (high - low) * mv.Noise(seed=6).uniform((len(test), 8))
of_digits, of_anything = eight.reconstruct(test), eight.picture(evenly)
typical, empty = nearest(of_digits).mean(), nearest(of_anything).mean()
print("8 codes, distance to the nearest training image: decoded from test digits")
print(f"{typical:.2f}, from codes drawn evenly {empty:.2f}")
assert empty > 3 * typical

# %%
drawn, (left, right) = kit.canvas(2, height=3.4)
points = left.scatter(
    *two.embed(train).T, c=data.train.labels, cmap="tab10", s=5, linewidths=0
)
left.set(title="Two codes of each digit", xlabel="code 1", ylabel="code 2")
left.legend(*points.legend_elements(), fontsize=7, ncols=2, markerscale=0.7)
kit.tiles(right, np.concatenate([of_digits[:12], of_anything[:12]]), columns=6)
right.set_title("Decoded from digits")
right.set_xlabel("From codes drawn evenly", weight="bold", loc="left")
kit.figure(
    drawn,
    "l06_holes",
    "Left: the two codes of each training digit, in ten colours; digits of one kind "
    "lie together, with gaps between. Right: decoded images. Two rows from digits can "
    "be read; two rows from codes drawn evenly are blots.",
)

# %% [markdown]
# The labels were not trained on, and yet equal digits lie together. On the right, the lower
# rows are no digits. With eight codes almost all of the box is empty, and the decoder was
# never asked what to make of a code there. Nothing in $L$ says where codes should lie, so
# *an autoencoder has no codes to draw from*. A VAE adds a term that does (lessons 8 to 11).
#
# ## With room enough: the identity
#
# Now let $Z = 128$, twice the number of pixels: *overcomplete*. No bottleneck is left. A
# linear net, trained the same way, returns anything, also what is no image at all.

# %%
wide = {"latent": 128, "hidden": (), "likelihood": "squared_error"}
plain = trained(mv.AE((1, 8, 8), **wide), epochs=60)
noise = mv.Noise(seed=60)
v = 0.1
spoilt = test + np.sqrt(v) * noise.normal(test.shape, np.float64)
left_over = error(plain.reconstruct(test), test)
print(f"overcomplete, test images: squared error {left_over:.4f}")
print(f"spoilt by {error(spoilt, test):.2f}, ", end="")
print(f"still {error(plain.reconstruct(spoilt), test):.2f} off when it is done")
assert left_over < 0.05

# %% [markdown]
# ## What keeps it from that: noise
#
# A *denoising* autoencoder is shown a spoilt image $\tilde x$ and held against the clean one:
#
# $$L = \mathbb E\, |r(\tilde x) - x|^2.$$
#
# The identity is no longer the answer, whatever the size of the code: it would return the
# noise. To do better the net must know how pixels go together (Vincent et al. 2008). The
# whole difference is one word in the loss, the target.

# %%
denoising_loss = kit.yours("6.2")
masks = noise.uniform(X.shape, np.float64)
of_identity = denoising_loss(lambda seen: seen, X, masks, 0.3)
print(
    f"identity, 30 % masked: {of_identity:.3f} = 0.3 × {(X**2).sum(axis=1).mean():.3f}"
)
assert abs(of_identity / (0.3 * (X**2).sum(axis=1).mean()) - 1) < 0.02

# %% [markdown]
# For a linear net and Gaussian noise of variance $v$ the best there is has a formula. With
# $S$ the covariance of the images, centred, it is $A = S (S + v I)^{-1}$. Along a principal
# direction this is a factor $\lambda_i / (\lambda_i + v)$: directions with much variance
# pass, those in which there is more noise than image are closed. No direction is cut off
# as in PCA; each is weighed. (This is the Wiener filter.)

# %%
best_denoiser = kit.yours("6.3")
A, mean = best_denoiser(np.cov(X.T, bias=True), v), X.mean(axis=0)
exact = ((spoilt.reshape(-1, D) - mean) @ A.T + mean).reshape(test.shape)
options = {"noise": f"gaussian:{v}", "likelihood": "squared_error", "latent": 128}
line = trained(mv.DenoisingAE((1, 8, 8), hidden=(), **options), epochs=60)
curve = trained(mv.DenoisingAE((1, 8, 8), hidden=(256,), **options), epochs=60)
made = {
    "seen": spoilt,
    "overcomplete": plain.reconstruct(spoilt),
    "exact linear": exact,
    "denoising, linear": line.reconstruct(spoilt),
    "denoising, hidden": curve.reconstruct(spoilt),
}
for name, images in made.items():
    print(f"{name:<18} squared error to the clean image {error(images, test):.3f}")
assert error(made["denoising, linear"], test) < 1.1 * error(exact, test)
assert error(made["overcomplete"], test) > 3 * error(exact, test)

# %%
drawn, axes = kit.canvas()
shown = [images[:10] for images in (test, *made.values())]
kit.tiles(axes, np.concatenate(shown), columns=10)
names = [name.replace(", ", ",\n") for name in ("clean", *made)]
axes.set_yticks([9 * row + 4 for row in range(len(shown))], names)
axes.tick_params(length=0)
axes.set_anchor("E")  # the names need the room on the left
kit.figure(
    drawn,
    "l06_denoising",
    "Ten digits in six rows: clean; as seen, with noise; and as returned by four "
    "autoencoders. The overcomplete one returns the noise too. The exact linear one "
    "and the two that were trained to denoise return smooth digits.",
)

# %% [markdown]
# The overcomplete net hands the noise on. The denoising nets have as many codes, and
# remove most of it. What they have learned is where images are: the step $r(\tilde x) -
# \tilde x$ points to where the data are dense, and for small $v$ it is $v$ times the gradient
# of the log density (Vincent 2011; Alain and Bengio 2014).
#
# ## Your turn
#
# The best linear autoencoder, the denoising loss, and the best denoiser:
# `python -m lessons check 6`.
#
# ## What this cannot show
#
# Small digits and one net each: it is no ranking of methods. Other things than noise can
# stand in for the bottleneck, a penalty on the code or on its slope for example (`mv.AE`
# has both). And a low error on digits says nothing about what a code is good for. For
# classes, clusters or strange images, compare it with PCA before you believe in it.
#
# ## References
#
# - P. Baldi, K. Hornik (1989). Neural networks and principal component analysis: learning
#   from examples without local minima. *Neural Networks* 2.
# - G. E. Hinton, R. R. Salakhutdinov (2006). Reducing the dimensionality of data with neural
#   networks. *Science* 313.
# - P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol (2008). Extracting and composing
#   robust features with denoising autoencoders. *ICML*.
# - P. Vincent (2011). A connection between score matching and denoising autoencoders.
#   *Neural Computation* 23.
# - G. Alain, Y. Bengio (2014). What regularized auto-encoders learn from the data-generating
#   distribution. *JMLR* 15.
