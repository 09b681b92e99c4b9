# %% [markdown]
# # 4. Tensors
#
# Networks compute with arrays: a batch of images, a matrix of weights. Nothing about the
# chain rule changes, and yet most wrong gradients are wrong here: in a transpose, in an
# axis, in a sum that is missing. This lesson gives three rules from which nearly all
# others follow.
#
# ## The same rule, many numbers at once
#
# The adjoint of an array $x$ is the array of the adjoints of its elements, $\bar x_i =
# \partial L / \partial x_i$. So it **has the shape of $x$**, always. That costs nothing to
# check and finds half of all mistakes.
#
# A step $y = f(x)$ has a whole matrix of derivatives, the Jacobian $J_{ki} = \partial y_k
# / \partial x_i$, and the chain rule reads $\bar x_i = \sum_k \bar y_k J_{ki}$, or $\bar x
# = J^\top \bar y$. The Jacobian of a layer with 784 inputs and 400 outputs, for a batch of
# 128, would have five billion entries. It is never made: a rule is a function that
# *applies* $J^\top$.

# %%
import numpy as np

import minivae as mv
from lessons import kit

rng = mv.Noise(seed=4)


def jacobian(f, x):
    """∂f/∂x, as a matrix: a row for each output, by central differences (lesson 3)."""
    rows = [
        kit.derivative(lambda v, k=k: np.ravel(f(v))[k], x).ravel()
        for k in range(np.size(f(x)))
    ]
    return np.array(rows)


X, W = rng.normal((3, 4), np.float64), rng.normal((4, 2), np.float64)
pictures = {
    "tanh, of 3 × 4": jacobian(np.tanh, X),
    "sum over the rows": jacobian(lambda x: x.sum(axis=0), X),
    "a row repeated 3 times": jacobian(lambda b: np.tile(b, (3, 1)), X[0]),
    "X W, by X": jacobian(lambda x: x @ W, X),
}
drawn, panels = kit.canvas(2, 2, height=2.4)
for axes, (title, J) in zip(panels.flat, pictures.items()):
    size = np.abs(J).max()
    axes.imshow(J, cmap="PuOr", vmin=-size, vmax=size, aspect="auto")
    axes.set(title=title, xlabel="inputs", ylabel="outputs", xticks=[], yticks=[])
kit.figure(
    drawn,
    "l04_jacobians",
    "Four Jacobians as tiles of colour, a row for each output. Of tanh: a diagonal. "
    "Of the sum over the rows: three diagonals side by side. Of a row repeated 3 "
    "times: three diagonals, one below the other. Of X W by X: one block, three times "
    "along the diagonal.",
)

# %% [markdown]
# White is zero. An element-wise function has a diagonal: its rule is a product, element by
# element. The next two are each other's transpose, which is the next section. The last is
# a band of copies of $W^\top$.

# %% [markdown]
# ## Broadcasting
#
# Adding a bias of 2 numbers to a batch of 128 rows, NumPy repeats the bias 128 times
# without saying so. Forward, one number is used in 128 places. So, by lesson 2, backward
# its 128 contributions are **added**. Repeating and adding up are each other's transpose:
#
# | forward | backward |
# | --- | --- |
# | repeat along an axis | sum over that axis |
# | sum over an axis | repeat along that axis |
#
# A rule that forgets it returns an array of the shape of the *output*. In `minivae` no
# rule has to remember: the engine compares shapes and adds up, once, as an event of its
# own that can be watched.

# %%
from minivae.tensor import Contribution, Parameter, Unbroadcast, backward_steps

bias = Parameter(np.zeros(2), "bias")
out = (mv.Tensor(X @ W) + bias) * mv.Tensor(rng.normal((3, 2), np.float64))
for event in backward_steps(out.sum()):
    if isinstance(event, Contribution):
        print(f"{event.node.op.name:<5} sends an array of shape {np.shape(event.raw)}")
    elif isinstance(event, Unbroadcast):
        print(f"      summed over axis {event.axes}: shape {event.gradient.shape}")

# %% [markdown]
# ## The matrix product
#
# $Y_{nk} = \sum_d X_{nd} W_{dk}$. Differentiate by one element of $X$: it appears in row
# $n$ only, with the factors $W_{dk}$. By one element of $W$: it appears in every row. So
#
# $$\bar X_{nd} = \sum_k \bar Y_{nk} W_{dk}, \qquad \bar W_{dk} = \sum_n X_{nd} \bar Y_{nk},
# \qquad\text{or}\qquad \bar X = \bar Y W^\top, \quad \bar W = X^\top \bar Y.$$
#
# The sum over $n$ in the second is the batch: a weight is used once for every image, and
# their contributions are added. Shapes say where the transposes must be, but only as long
# as the matrices are not square.

# %%
matmul_rule = kit.yours("4.3")
g = rng.normal((3, 2), np.float64)
X_, W_ = matmul_rule(g, X, W)
by_x, by_w = kit.pullback(np.matmul, (X, W), g)  # Jᵀ g by differences, for each input
print(f"largest differences: {abs(X_ - by_x).max():.0e}, {abs(W_ - by_w).max():.0e}")
assert np.allclose(X_, by_x)
assert np.allclose(W_, by_w)

# %% [markdown]
# ## A test for linear steps
#
# If a step is linear in its input, then $J$ is the step itself, and its rule must be the
# transpose: for *any* $v$ and $g$,
#
# $$\langle g,\, J v \rangle = \langle J^\top g,\, v \rangle.$$
#
# Two products and no small number $h$: the two sides agree to the last digits or the rule
# is wrong. It is the sharpest test there is for sums, repeats, products, slices,
# transposes, and for the convolutions of lesson 7.

# %%
v = rng.normal(X.shape, np.float64)
one, other = float((g * (v @ W)).sum()), float((X_ * v).sum())
print(f"⟨g, v W⟩ = {one:.15f}\n⟨g Wᵀ, v⟩ = {other:.15f}")
assert abs(one - other) < 1e-4 * abs(one)  # yours may be in float32

# %% [markdown]
# ## Your turn
#
# The rule of a sum, the un-broadcasting of any shape, and the rule of the matrix product:
# `python -m lessons check 4`.
#
# ## What this cannot show
#
# Rules say what the gradient is, not what it costs. Both products of a linear layer's
# backward pass are as large as the forward one, so a training step costs about three
# times an evaluation. How fast such products can be is the subject of lessons 13 to 15.
#
# ## References
#
# - M. Giles (2008). *Collected Matrix Derivative Results for Forward and Reverse Mode
#   Algorithmic Differentiation*, section 2.
# - A. Griewank, A. Walther (2008). *Evaluating Derivatives*, 2nd ed., chapter 3.
