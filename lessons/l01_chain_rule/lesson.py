# %% [markdown]
# # 1. The chain rule on a graph
#
# A network is a long formula, and training needs the derivative of its last number, the
# loss, by every number that went in. Nobody writes that formula down. It is built from
# steps that are small enough to differentiate in one line, and the chain rule puts the
# lines together. This lesson does it with single numbers, by hand and by machine.
#
# ## The idea
#
# Take one neuron with a target $t$:
#
# $$a = w x, \qquad s = a + b, \qquad y = \tanh s, \qquad d = y - t, \qquad L = d^2.$$
#
# Each line uses results of lines before it. Draw an arrow from every value to the values
# that are made from it, and the formula is a *graph*: $w$ and $x$ point to $a$, which
# points to $s$, and so on to $L$. Going along the arrows is the *forward pass*.
#
# Write $\bar v$ for $\partial L / \partial v$: how much the loss moves if $v$ is moved a
# little, all else following. It is called the *adjoint* of $v$. The adjoint of the loss
# itself is $\bar L = 1$. If $v$ is used in one place only, to make $u$, then
#
# $$\bar v = \bar u \, \frac{\partial u}{\partial v}.$$
#
# That is the whole method. The factor $\partial u / \partial v$ is *local*: it depends on
# this one step and on nothing else in the network. All that lies behind $u$, however
# long, has been summed up in one number, $\bar u$, which is already known when we go
# through the graph from its end to its beginning. That is the *backward pass*.

# %% [markdown]
# ## The smallest code
#
# Forward, in order; then backward, in the opposite order. Each backward line is the
# adjoint that arrives, times a local derivative.

# %%
import math

w, x, b, t = 0.8, 1.5, -0.4, 1.0

a = w * x
s = a + b
y = math.tanh(s)
d = y - t
loss = d * d

loss_ = 1.0  # L̄: the loss moves with itself
d_ = loss_ * 2 * d  # L = d²
y_ = d_ * 1  # d = y − t
s_ = y_ * (1 - y * y)  # y = tanh s
a_ = s_ * 1  # s = a + b: a sum hands its adjoint on
b_ = s_ * 1
w_ = a_ * x  # a = w x: a product hands it on times the other factor
x_ = a_ * w

print(f"loss {loss:.6f}")
print(f"by w {w_:+.6f}   by x {x_:+.6f}   by b {b_:+.6f}")

# %% [markdown]
# Two things to notice. The local derivative of $\tanh$ is written with the *output*,
# $1 - y^2$, since $y$ is at hand from the forward pass: backward needs values that
# forward made, so they are kept. And no line asks what the network is for. Replace
# $d^2$ by another loss and only the line of $\bar d$ changes.

# %% [markdown]
# ## Is it true?
#
# A derivative is a claim about small changes, so make one. Move $w$ by $h$ to either
# side, run the forward pass twice, and divide:
#
# $$\frac{\partial L}{\partial w} \approx \frac{L(w + h) - L(w - h)}{2h}.$$
#
# This knows nothing of graphs and rules. Lesson 3 is about how far to trust it.


# %%
def neuron(w: float, x: float, b: float) -> float:
    return (math.tanh(w * x + b) - t) ** 2


h = 1e-5
print("      by the rules    by two losses")
for name, rule, ahead, behind in [
    ("w", w_, neuron(w + h, x, b), neuron(w - h, x, b)),
    ("x", x_, neuron(w, x + h, b), neuron(w, x - h, b)),
    ("b", b_, neuron(w, x, b + h), neuron(w, x, b - h)),
]:
    print(f"  {name}   {rule:+.9f}    {(ahead - behind) / (2 * h):+.9f}")

# %% [markdown]
# Differences need two forward passes for each input. The rules gave all three in one
# backward pass, and would give a million in one: that is why one goes from the loss to
# the inputs, and not from each input forwards. A backward pass costs a small multiple of the forward pass, whatever the
# number of inputs (Griewank and Walther 2008, section 3.3).

# %% [markdown]
# ## The machine does the same
#
# `minivae` writes the graph down as the formula is computed, and then walks it from the
# newest step to the oldest. `backward_steps` lets us watch; `backward()` is that walk
# with nobody watching. Each line names a step, the adjoint that arrives, the one that is
# sent, and the rule in between; x, y and z in a rule are the step's own two inputs and
# its output, not those of our neuron.

# %%
import numpy as np

import minivae as mv
from minivae.tensor import Contribution, Parameter, backward_steps

W, X, B = (Parameter(np.array(v), name) for v, name in [(w, "w"), (x, "x"), (b, "b")])
L = (mv.ops.tanh(W * X + B) - t) ** 2

for event in backward_steps(L):
    if isinstance(event, Contribution):
        rule = event.node.op.rule_of(event.position).formula
        arrives, sends = float(event.upstream), float(event.raw)
        print(f"{event.node.op.name:<5} {arrives:+.6f}  ->  {sends:+.6f}   {rule}")

# %% [markdown]
# At a number that was given the walk ends, and its adjoint is kept, in `.grad`.

# %%
assert W.grad is not None
assert abs(float(W.grad) - w_) < 1e-12
print(f"by w, the machine's: {float(W.grad):+.6f}   ours: {w_:+.6f}")

# %% [markdown]
# ## The experiment: a path that goes silent
#
# The adjoint of $w$ is a product of local factors along the path from $w$ to the loss.
# One factor near zero is enough to silence the whole path. Turn up $w$: the neuron's
# output comes close to $\pm 1$, its local derivative $1 - y^2$ goes to zero, and the
# gradient with it, although the neuron may be far from its target.

# %%
from lessons import kit

ws = np.linspace(-4, 4, 401)
ys = np.tanh(ws * x + b)
factors = {
    "error  2(y − t)": 2 * (ys - t),
    "local  1 − y²": 1 - ys**2,
    "gradient by w": 2 * (ys - t) * (1 - ys**2) * x,
}
drawn, axes = kit.canvas()
for label, values in factors.items():
    axes.plot(ws, values, label=label)
axes.axhline(0, color="grey", linewidth=0.6)
axes.set(xlabel="w", title="A path is the product of its factors")
axes.legend()
kit.figure(
    drawn,
    "l01_saturation",
    "Three curves by w. The error 2(y − t) rises from −4 to 0; the local factor 1 − "
    "y² is a hump, and zero on either side; the gradient by w, a product of both, is "
    "zero wherever one of them is.",
)

# %% [markdown]
# At $w = -4$ the factor $2(y - t)$ is at its limit of −4 and the gradient is nothing: the
# neuron is as wrong as it can be, and cannot learn. It is said to *saturate*. That is why
# layers begin with small weights (lesson 5).

# %% [markdown]
# ## Your turn
#
# Write the local rules of a product and of $\tanh$, and then the whole backward pass of
# a neuron whose loss is another one, in `exercise.py` beside this file. `python -m lessons check 1` compares them
# with differences on many inputs. Here, as in all lessons, your function runs once it is
# right, and the course's until then.

# %%
mul_rule = kit.yours("1.1")
print("z = x y with z̄ = 10 at x = 3, y = 4:", mul_rule(10.0, 3.0, 4.0))

# %% [markdown]
# ## What this cannot show
#
# Here every value is used once. When a value is used twice, two adjoints arrive and must
# be added, and "the opposite order" needs a definition: lesson 2. Numbers become arrays
# in lesson 4. And a correct derivative of the wrong formula is still wrong: no rule of
# this lesson knows whether $L$ was worth minimising (lessons 8 to 11).
#
# ## References
#
# - D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986). Learning representations by
#   back-propagating errors. *Nature* 323.
# - A. Griewank, A. Walther (2008). *Evaluating Derivatives*, 2nd ed., sections 3.2, 3.3.
# - A. G. Baydin et al. (2018). Automatic differentiation in machine learning: a survey.
#   *JMLR* 18, section 3.2.
