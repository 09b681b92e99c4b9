# %% [markdown]
# # 7. Convolution and its transpose
#
# A dense layer from one 64 × 64 image to another has 16 million weights, and would have
# to learn the same edge anew at every place. This lesson builds the layer that does not,
# and finds that its backward pass is a layer as well: the one that decoders are made of.
#
# ## The idea
#
# Two assumptions about pictures are built in. What matters is near: an output looks at a
# small *window* of the input only. And what matters is the same everywhere: all windows
# share one set of weights, the *kernel*. Four numbers say the rest: channels in and out,
# the kernel's size $K$, the *stride* between windows, and the *padding* of zeros around:
#
# $$y_{o,i,j} = \sum_{c,a,b} w_{o,c,a,b}\; p_{c,\,is+a,\,js+b}.$$
#
# Nothing is turned round here. What mathematics calls a convolution would have $-a$ and
# $-b$; the layer is a correlation, and kept the name.

# %%
import numpy as np

import minivae as mv
from lessons import kit

data = mv.data.load("fashion10k")
image = data.test.images[0].astype(np.float64)  # (1, 28, 28)
edges = np.array(
    [[[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]], [[[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]]]]
)

conv2d = kit.yours("7.1")
y = conv2d(image, edges, 1, 1)
package = mv.ops.conv2d(image[None], edges, np.zeros(2), stride=1, padding=1)
assert np.allclose(package.numpy()[0], y)

drawn, panels = kit.canvas(3, height=2.4)
for axes, picture, title in zip(
    panels, (image[0], *y), ("image", "left − right", "top − bottom")
):
    size = np.abs(picture).max()
    colours = {"cmap": "gray"} if title == "image" else {"cmap": "PuOr", "vmin": -size}
    axes.imshow(picture, vmax=size, **colours)
    axes.set(title=title, xticks=[], yticks=[])
kit.figure(
    drawn,
    "l07_edges",
    "A grey pullover, and two maps of it with a colour for each sign. Left minus "
    "right shows its sides and sleeves, top minus bottom its collar and hem.",
)

# %% [markdown]
# ## It is a matrix
#
# Each output is a weighted sum of pixels, so the whole layer is a product with a matrix:
# a row for each output, a column for each pixel. Push unit images through, and its
# columns come out. Most entries are zero, and the others repeat along diagonals.

# %%
small = np.arange(1.0, 10).reshape(1, 1, 3, 3)
units = np.eye(36).reshape(36, 1, 6, 6)
matrix = np.stack([conv2d(unit, small, 1, 0).ravel() for unit in units], axis=1)
print(
    f"matrix {matrix.shape}: {np.count_nonzero(matrix)} of {matrix.size} are not zero,"
)
print(f"and {len(np.unique(matrix)) - 1} different numbers")

# %% [markdown]
# ## Backward is a picture again
#
# A matrix is differentiated by transposing it: $\bar x = M^\top \bar y$. No need to write
# $M$ down. Forward, window $(i, j)$ was multiplied by the kernel to give $y_{ij}$.
# Backward, $\bar y_{ij}$ sends the kernel, times itself, back to that window. Windows
# overlap, so a pixel receives from several: contributions are **added** (lesson 2 again).
#
# A decoder needs a layer that makes pictures larger. This is one: it takes $H'$ rows and
# gives back $H$. Used forward, with weights of its own, it is called a *transposed
# convolution*. It has the shape of an inverse, and is none: $M^\top M$ is not $I$.

# %%
conv_x_rule = kit.yours("7.2")
g = mv.Noise(seed=7).normal((1, 4, 4), np.float64)
back = conv_x_rule(g, small, (6, 6), 1, 0)
assert np.allclose(back.ravel(), matrix.T @ g.ravel())
print("the rule equals the transposed matrix")

# %% [markdown]
# The test of lesson 4 fits: the layer is linear, so $\langle g, \mathrm{conv}(x) \rangle =
# \langle \mathrm{rule}(g), x \rangle$ for any $g$ and $x$, to the last digits. The package
# holds its own layers to it, at strides and sizes that do not divide.

# %%
x = mv.Noise(seed=70).normal((2, 9, 7), np.float64)
w = mv.Noise(seed=71).normal((3, 2, 4, 4), np.float64)
y = conv2d(x, w, 2, 1)
g = mv.Noise(seed=72).normal(y.shape, np.float64)
one, other = (g * y).sum(), (conv_x_rule(g, w, (9, 7), 2, 1) * x).sum()
print(f"{one:.12f}\n{other:.12f}")
assert abs(one - other) < 1e-4 * abs(one)  # yours may be in float32

# %% [markdown]
# ## What overlaps
#
# Send ones back with stride 2. With kernel 3, every second row of pixels lies in two
# windows and the others in one: a checkerboard, before anything was learned. A kernel
# that the stride divides, 4 here, is even but for the border (Odena et al. 2016). That is
# why this project's networks use 4 × 4 kernels at stride 2.

# %%
drawn, panels = kit.canvas(2, height=2.6)
for axes, K in zip(panels, (3, 4)):
    count = conv_x_rule(
        np.ones((1, 6, 6)), np.ones((1, 1, K, K)), (10 + K, 10 + K), 2, 0
    )[0]
    shown = axes.imshow(count, cmap="viridis", vmin=0, vmax=4)
    axes.set(title=f"windows over each pixel, K = {K}", xticks=[], yticks=[])
    drawn.colorbar(shown, ax=axes, ticks=[0, 1, 2, 3, 4])
    inner = count[2:-2, 2:-2]
    print(
        f"K = {K}: inside, a pixel lies in {sorted({int(n) for n in inner.ravel()})} windows"
    )
kit.figure(
    drawn,
    "l07_overlap",
    "How many windows lie over each pixel, as colours. K = 3: a grid in which pixels "
    "with 1, 2 and 4 windows take turns. K = 4: 4 windows over every pixel inside, "
    "fewer along the border.",
)

# %% [markdown]
# ## Your turn
#
# The layer and its rule by $x$, for any stride and padding: `python -m lessons check 7`.
# (The rule by $w$ is a correlation once more, of the image with $\bar y$.)
#
# ## What this cannot show
#
# The loops above are for reading. A layer that is to be fast is written as one large
# matrix product, or as tiles that never leave the processor's registers: `minivae kernels
# conv` shows that ladder, and lessons 13 to 15 how such things are measured. Nor does a
# convolution know where it is: what depends on the place has to be learned behind it.
#
# ## References
#
# - V. Dumoulin, F. Visin (2016). A guide to convolution arithmetic for deep learning.
#   arXiv:1603.07285, chapters 2 and 4.
# - A. Odena, V. Dumoulin, C. Olah (2016). Deconvolution and checkerboard artifacts.
#   *Distill*.
