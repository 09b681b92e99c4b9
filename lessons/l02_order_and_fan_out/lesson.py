# %% [markdown]
# # 2. Order and fan-out
#
# In lesson 1 every value was used once, and going backward was reading the lines from
# bottom to top. Real networks use values many times: a weight acts on every image, a
# code feeds two terms of a loss, a layer's output goes on and around the next layer.
# Two questions come up. What happens to the adjoint of a value that is used twice? And
# what is "backward", when the graph is not a line?
#
# ## Used twice
#
# The smallest graph with both questions in it is a diamond:
#
# $$b = a^2, \qquad c = 3a, \qquad L = b\,c.$$
#
# Move $a$ by a little. $b$ moves, and by it $L$; $c$ moves, and by it $L$ as well. Both
# changes are small, and small changes add up:
#
# $$\bar a = \bar b\, \frac{\partial b}{\partial a} + \bar c\, \frac{\partial c}{\partial a}
# = \bar b \cdot 2a + \bar c \cdot 3.$$
#
# That is the chain rule for a value with several uses: **each use sends a contribution,
# and the adjoint is their sum**. It holds for any number of uses, also for two uses by
# the same step: in $a \cdot a$ the rule sends $\bar z a$ twice, and $2 \bar z a$ arrives.

# %%
a = 1.5
b, c = a * a, 3 * a
loss = b * c

b_, c_ = 1.0 * c, 1.0 * b  # L = b c
by_b, by_c = b_ * 2 * a, c_ * 3
print(f"through b {by_b:.4f}, through c {by_c:.4f}: together {by_b + by_c:.4f}")
print(f"L = 3 a³, so by hand: {9 * a * a:.4f}")
assert by_b + by_c == 9 * a * a

# %% [markdown]
# ## In which order?
#
# A rule may run when its value's adjoint is complete: when all uses have sent. So the
# order must put every value **after all values that are made from it**. It is called a
# reverse topological order. In the diamond both $L, b, c, a$ and $L, c, b, a$ will do,
# and nothing else.
#
# A graph can be written down as a dictionary that says what each value is made from, with
# a rule for each that says what it sends. `backward` goes through an order of the values
# and gives each its turn; it is exercise 2.2, and is the course's own until yours is right.

# %%
from lessons import kit

graph = {"b": ["a"], "c": ["a"], "loss": ["b", "c"]}
rules = {
    "b": lambda g: [g * 2 * a],
    "c": lambda g: [g * 3],
    "loss": lambda g: [g * c, g * b],
}

backward = kit.yours("2.2")
print(backward(graph, rules, ["loss", "b", "c", "a"]))

# %% [markdown]
# Now let $b$ be used once more, by $c = 3b$ in place of $3a$. Then $b$ has to wait for
# $c$. If it does not, nothing complains: $b$ sends what has arrived so far, and the rest
# comes too late to be sent on.

# %%
c = 3 * b
longer = {"b": ["a"], "c": ["b"], "loss": ["b", "c"]}
rules = rules | {"c": lambda g: [g * 3], "loss": lambda g: [g * c, g * b]}

right = backward(longer, rules, ["loss", "c", "b", "a"])["a"]
wrong = backward(longer, rules, ["loss", "b", "c", "a"])["a"]
print(
    f"L = 3 a⁴, by hand {12 * a**3:.4f};  in order {right:.4f};  out of it {wrong:.4f}"
)
assert abs(right - 12 * a**3) < 1e-12
assert abs(wrong - right) > 1

# %% [markdown]
# ## How the machine orders
#
# `minivae` has a simple way to keep the promise. Every step gets a number when it is
# made. A value is made after everything it is made from, so **newest first** is a
# backward order: no search, no marks. Watch the contributions to $a$ being added.

# %%
import numpy as np

from minivae.tensor import Contribution, Parameter, backward_steps

A = Parameter(np.array(a), "a")
B = A * A
L = B * (B * 3.0)
for event in backward_steps(L):
    if isinstance(event, Contribution):
        rule = event.node.op.rule_of(event.position).formula
        print(f"{event.node.op.name:<4} {rule:<9} sends {float(event.raw):9.4f}")
assert A.grad is not None
print(f"a has {float(A.grad):.4f}")
assert abs(float(A.grad) - 12 * a**3) < 1e-12

# %% [markdown]
# Gradients are added even from one backward pass to the next: a second `backward()`
# would double them. That is the same rule, and the reason why a training loop clears
# them first.

# %% [markdown]
# ## What it saves
#
# Following every path from the loss to an input, multiplying along the way and adding at
# the end, is correct too. But take a chain of steps of which each uses the one before
# twice: every step doubles the number of paths. The backward pass runs each rule once.

# %%
steps = range(1, 21)
paths, runs = [2**n for n in steps], list(steps)
drawn, (left, right_axes) = kit.canvas(2)
left.plot(steps, paths, label="along all paths")
left.plot(steps, runs, label="each rule once")
left.set(yscale="log", xlabel="steps that use a value twice", title="Rules that run")
left.legend()

shares = {"b as it is": c * 2 * a, "b in 3 b": b * 3 * 2 * a}
total = 0.0
for label, share in shares.items():
    right_axes.bar("ā", share, bottom=total, width=0.6, edgecolor="white")
    middle = total + share / 2
    right_axes.text(0, middle, label, ha="center", va="center", color="white")
    total += share
right_axes.bar("12 a³", 12 * a**3, width=0.6, color="#BBBBBB")
right_axes.set(title="Contributions to ā, and the truth", xlim=(-0.6, 1.6))
kit.figure(
    drawn,
    "l02_paths",
    "Left: rules that run, on a logarithmic scale, by the number of steps that use a "
    "value twice. Along all paths: a straight line, to a million at 20 steps. Each "
    "rule once: 20. Right: the contributions of b as it is and of b in 3 b, half "
    "each, stack up to 12 a³.",
)

# %% [markdown]
# ## Your turn
#
# `backward_order` finds an order that keeps the promise, in any graph without cycles, of
# the values that count. `backward` is the pass itself. `python -m lessons check 2` tries
# both on random graphs, and on one that is 5,000 steps deep.
#
# ## What this cannot show
#
# Values are still single numbers. With arrays there is one more way to be used several
# times: a bias that is added to every row was used once for each row (lesson 4). And how
# do we know that a rule itself is right? Lesson 3.
#
# ## References
#
# - R. E. Wengert (1964). A simple automatic derivative evaluation program.
#   *Communications of the ACM* 7(8).
# - S. Linnainmaa (1976). Taylor expansion of the accumulated rounding error. *BIT* 16.
# - A. B. Kahn (1962). Topological sorting of large networks. *Communications of the ACM*
#   5(11): the counting of exercise 2.1.
