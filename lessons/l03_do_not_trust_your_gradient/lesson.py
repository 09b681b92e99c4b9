# %% [markdown]
# # 3. Do not trust your gradient
#
# A wrong rule seldom stops anything. A gradient that is twice too large trains, one that
# lacks a term trains a little worse, and nobody can tell from the loss. So every rule is
# compared with something that knows nothing about rules: small changes.
#
# ## How wrong is a difference?
#
# The derivative is the limit of $(f(x + h) - f(x))/h$. On a computer $h$ stays finite, so
# ask for the error. By Taylor's formula it is $\tfrac h2 f''(x)$ and smaller terms: half
# the step, half the error.
#
# Across both sides, $(f(x + h) - f(x - h))/2h$, the terms with even powers cancel. What
# is left begins with $\tfrac{h^2}{6} f'''(x)$: half the step, a *quarter* of the error.
#
# But $f$ is computed with rounding, to a relative $\epsilon$ of about $10^{-16}$ in
# float64 and $10^{-7}$ in float32. The difference of two nearly equal numbers keeps that
# error and loses their size: divided by $2h$ it becomes $\epsilon |f| / h$, which *grows*
# as $h$ shrinks. The best $h$ is between, near $\epsilon^{1/3}$.

# %%
import numpy as np

from lessons import kit

x0 = 0.7
exact = np.exp(np.sin(x0)) * np.cos(x0)
steps = np.logspace(-13, 0, 105)


def f(x):
    return np.exp(np.sin(x))


def errors(kind, dtype):
    x, hs = dtype(x0), steps.astype(dtype)
    if kind == "both sides":
        slopes = (f(x + hs) - f(x - hs)) / (2 * hs)
    else:
        slopes = (f(x + hs) - f(x)) / hs
    return np.abs(slopes.astype(np.float64) - exact) / abs(exact)


curves = {
    "one side, float64": errors("one side", np.float64),
    "both sides, float64": errors("both sides", np.float64),
    "both sides, float32": errors("both sides", np.float32),
}
for label, error in curves.items():
    best = int(np.nanargmin(np.where(error > 0, error, np.nan)))
    print(f"{label:<20} best error {error[best]:.0e} at h = {steps[best]:.0e}")

# %%
drawn, axes = kit.canvas()
for label, error in curves.items():
    axes.plot(steps, np.where((error > 0) & (error < 3), error, np.nan), label=label)
axes.set(xscale="log", yscale="log", xlabel="step h", ylabel="relative error")
axes.set_title("Too far is wrong, too near is noise")
axes.legend()
kit.figure(
    drawn,
    "l03_error",
    "Relative error by step h, both logarithmic: three valleys. One side in float64 "
    "is lowest between 1e-8 and 1e-7; both sides in float64 are lower, between 1e-6 "
    "and 1e-5; both sides in float32 are never low, and best between 1e-3 and 1e-2.",
)

# %% [markdown]
# On the right of each valley is the slope of Taylor's formula: 1 for one side, 2 for
# both. On the left is rounding. In float32 the bottom lies far higher, and few steps
# reach it; elements of different size need different ones. So **gradients are checked in
# float64**, also those of a model that is trained in float32.

# %%
large = (steps > 1e-4) & (steps < 1e-2)
slopes = {
    label: np.polyfit(np.log(steps[large]), np.log(error[large]), 1)[0]
    for label, error in curves.items()
    if "float64" in label
}
print({label: round(float(slope), 2) for label, slope in slopes.items()})
assert abs(slopes["one side, float64"] - 1) < 0.1
assert abs(slopes["both sides, float64"] - 2) < 0.1

# %% [markdown]
# ## An upstream that hides nothing
#
# A rule of a network does not compute $\partial f/\partial x$, which would be a matrix.
# It takes the adjoint $g$ of the output and returns $\sum_k g_k\, \partial f_k / \partial
# x$. That is the gradient of a number, $\varphi(x) = \sum_k g_k f_k(x)$, which differences
# can check. What should $g$ be?
#
# The outputs of softmax add up to 1, whatever $x$ is. With $g = (1, \dots, 1)$, $\varphi$
# is constant and its gradient zero; and a rule that sends nothing at all passes. That is
# not made up: it is how published checkers were fooled. Draw $g$ at random, and no such
# accident survives.

# %%
import minivae as mv


def softmax(x):
    e = mv.ops.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


x = mv.Noise(seed=3).normal((2, 3), np.float64)
with_ones = mv.Tensor(x, requires_grad=True)
softmax(with_ones).sum().backward()
print(f"with ones its largest gradient is {np.abs(with_ones.grad).max():.0e}")

for claim in mv.gradcheck.check(softmax, [x]):
    print(f"with a random one: error {claim.error:.0e}, allowed {claim.tolerance:.0e}")
    assert claim.passed

# %% [markdown]
# ## A corner
#
# $\max(x, 0)$ has no derivative at 0. A difference across the corner gives ½, the rule 0
# or 1, and neither is wrong. A checker must notice that it stands on a corner, or it will
# cry wolf until somebody loosens its tolerance. Two steps tell: for a smooth function the
# quotients with $h$ and $h/2$ agree to a part in $h^2$; across a corner they do not.

# %%
h = 1e-2
for at in (0.004, 0.5):
    one, half = ((max(at + s, 0) - max(at - s, 0)) / (2 * s) for s in (h, h / 2))
    print(f"at x = {at}: h gives {one:.3f}, h/2 gives {half:.3f}")

# %% [markdown]
# ## Your turn
#
# Write the differences, and then a checker that accepts six right rules and refuses ten
# wrong ones, some of them hardly wrong. `python -m lessons check 3` plants them.

# %%
numeric_gradient = kit.yours("3.1")
print(numeric_gradient(lambda x: float((x**3).sum()), np.array([1.0, 2.0]), 1e-5))

# %% [markdown]
# ## What this cannot show
#
# The check compares a rule with its own function. If the *function* is not what was
# meant, a KL that is averaged where it should be summed for example, its gradient is a
# correct gradient of the wrong thing, and passes. Such mistakes need other checks:
# identities, bounds, and exact answers (lessons 8 and 9, and `minivae museum`).
#
# ## References
#
# - J. Nocedal, S. J. Wright (2006). *Numerical Optimization*, 2nd ed., section 8.1.
# - N. J. Higham (2002). *Accuracy and Stability of Numerical Algorithms*, 2nd ed.,
#   chapter 1.
