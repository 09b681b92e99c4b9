# %% [markdown]
# # 5. Nets and optimizers
#
# Gradients are right now. To train with them, three more things have to be: the numbers
# that training starts from, a loss that stays finite, and steps of a sensible size. Each
# is a line or two, each has ruined many an experiment, and none of them is seen by a
# gradient check.
#
# ## The first weights
#
# A layer computes $y_k = \sum_d w_{kd} x_d$. If the weights are independent, of mean 0 and
# variance $\sigma^2$, the mean square of an output is
#
# $$\mathbb E[y^2] = \mathrm{in} \cdot \sigma^2 \cdot \mathbb E[x^2].$$
#
# relu then sets half of the outputs to 0, and half of the mean square is gone. For the
# next layer to receive what this one did, $\mathrm{in} \cdot \sigma^2 / 2$ must be 1:
# $\sigma = \sqrt{2 / \mathrm{in}}$ (He et al. 2015, section 2.2).
#
# Layers multiply: what is a factor of $\tfrac12$ for one is $2^{-10}$ after ten. Try
# scales of half, once and twice that.

# %%
import numpy as np

import minivae as mv
from lessons import kit

noise = mv.Noise(seed=5)
depth, width = 10, 256

first_weights = kit.yours("5.1")
sizes = {}
for factor in (0.5, 1.0, 2.0):
    x = np.maximum(noise.normal((200, width), np.float64), 0)
    sizes[factor] = [np.sqrt(np.mean(x**2))]
    for _ in range(depth):
        W = factor * first_weights(noise.normal((width, width), np.float64))
        x = np.maximum(x @ W.T, 0)
        sizes[factor].append(np.sqrt(np.mean(x**2)))
    print(f"scale × {factor}: after {depth} layers {sizes[factor][-1]:.1e}")
assert 0.3 < sizes[1.0][-1] / sizes[1.0][0] < 3
assert sizes[0.5][-1] < 1e-2 * sizes[1.0][-1]

# %% [markdown]
# ## A loss that survives
#
# Let pixels be 0 or 1, and let the network say for each how likely a 1 is. It says it as
# a *logit* $\ell$, any real number, with $p = \mathrm{sigmoid}(\ell) = 1/(1 + e^{-\ell})$.
# The loss is $-\log p$ for a pixel that is 1, and $-\log(1 - p)$ for one that is 0.
#
# In float64, $\mathrm{sigmoid}(40)$ is exactly 1. A pixel that is 0 there should cost 40
# nats; $-\log(1 - 1)$ is infinite. Clipping $p$ makes the loss finite and wrong, and its
# gradient zero, just where the network is most wrong. The cure is algebra, not clipping:
#
# $$-\log p(x) = \log(1 + e^{\ell}) - \ell x, \qquad
# \log(1 + e^{\ell}) = \max(\ell, 0) + \log\bigl(1 + e^{-|\ell|}\bigr).$$
#
# Nothing overflows any more, and the gradient by $\ell$ is $\mathrm{sigmoid}(\ell) - x$,
# between −1 and 1 for any logit.

# %%
bce_with_logits = kit.yours("5.2")
for logit in (4.0, 40.0, 1000.0):
    with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-logit))
        naive = -np.log(1 - p)
        clipped = -np.log(1 - min(p, 1 - 1e-7))
    stable = float(np.squeeze(bce_with_logits(np.array([[logit]]), np.array([[0.0]]))))
    print(
        f"logit {logit:6g}: naive {naive:8.4f}, clipped {clipped:8.4f}, stable {stable:9.4f}"
    )
    assert np.isclose(stable, np.logaddexp(0, logit), rtol=1e-4)

# %% [markdown]
# ## Steps of the right size
#
# Gradient descent steps by the learning rate times the gradient: parameters with small
# gradients hardly move. Adam divides each parameter's step by the recent size of its own
# gradient. It keeps two running means, of the gradient and of its square,
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2,
# \qquad w \leftarrow w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} +
# \varepsilon}.$$
#
# Both means began at zero. After one step $m$ is $(1 - \beta_1) g$, a tenth of what it
# should say; after $t$ steps of a constant gradient it is $(1 - \beta_1^t) g$. The
# corrections undo exactly that. At the first step what is left is $g / |g|$: every
# parameter moves by $\eta$, whatever the size of its gradient.

# %%
weight = mv.tensor.Parameter(np.zeros(3), "w")
adam = mv.optim.Adam([weight], lr=0.01)
weight.grad = np.array([1e-4, 1.0, -1e4])
adam.step()
print("Adam's first step:", weight.numpy())
assert np.allclose(weight.numpy(), [-0.01, -0.01, 0.01], rtol=1e-3)

# %% [markdown]
# ## The experiment
#
# A small net of the package sorts handwritten digits into zeros and others. Same net,
# same data, same sixty steps; three optimizers, each with eight learning rates.

# %%
data = mv.data.load("digits")
images = data.train.images.reshape(len(data.train.images), -1)
target = (data.train.labels == 0).astype(np.float32)[:, None]
optimizers = {"SGD": mv.optim.SGD, "RMSProp": mv.optim.RMSProp, "Adam": mv.optim.Adam}
rates = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)


def train(optimizer, lr, steps=60):
    start = mv.Noise(seed=1)
    hidden = mv.nn.Linear(images.shape[1], 32, start)
    last = mv.nn.Linear(32, 1, start)
    net = mv.nn.Sequential(hidden, mv.nn.ReLU(), last)
    steps_taken, order = [], mv.Noise(seed=2)
    update = optimizer(net.parameters(), lr)
    for _ in range(steps):
        rows = (order.uniform((64,)) * len(images)).astype(int)
        loss = mv.ops.bernoulli_nll(net(mv.Tensor(images[rows])), target[rows])
        update.zero_grad()
        loss.backward()
        update.step()
        steps_taken.append(loss.item())
    return steps_taken


drawn, (left, right) = kit.canvas(2)
for factor, values in sizes.items():
    left.plot(values, label=f"√(2/in) × {factor:g}")
left.set(yscale="log", xlabel="layer", title="Size of what arrives")
left.legend()
for name, optimizer in optimizers.items():
    ends = [float(np.mean(train(optimizer, lr)[-10:])) for lr in rates]
    right.plot(rates, ends, marker="o", markersize=3.5, label=name)
    good = [lr for lr, end in zip(rates, ends) if end < 0.05]
    print(f"{name:<8} best {min(ends):.3f}; below 0.05 at rates {good}")
right.set(xscale="log", yscale="log", xlabel="learning rate", ylim=(5e-3, 10))
right.set_title("Loss after 60 steps, in nats")
right.legend()
kit.figure(
    drawn,
    "l05_training",
    "Left: size of what arrives, by layer, on a logarithmic scale. With √(2/in) it "
    "stays level, with half of that it falls a thousandfold in ten layers, with twice "
    "it rises as much. Right: loss after 60 steps by learning rate. SGD falls until "
    "its rate is about 1; RMSProp and Adam are low at rates from 0.003 to 0.3.",
)

# %% [markdown]
# Given *its* rate, each gets there. What differs is where that rate is and how wide the
# choice: a step of plain gradient descent has the size of the gradient, whatever that
# happens to be here; a step of Adam has the size of the rate. An optimizer that was
# compared at one rate was not compared.
#
# ## Your turn
#
# The first weights, the stable loss, and one step of Adam: `python -m lessons check 5`.
#
# ## What this cannot show
#
# One small net and one task do not rank optimizers: the order changes with the task, the
# size of the batch and the patience spent on the learning rate (Schmidt et al. 2021). What
# does carry over is the kind of failure: signals that vanish with depth, losses that
# overflow, steps whose size nobody chose.
#
# ## References
#
# - K. He, X. Zhang, S. Ren, J. Sun (2015). Delving deep into rectifiers. *ICCV*, sec. 2.2.
# - X. Glorot, Y. Bengio (2010). Understanding the difficulty of training deep feedforward
#   neural networks. *AISTATS*.
# - D. P. Kingma, J. Ba (2015). Adam: a method for stochastic optimization. *ICLR*,
#   algorithm 1 and section 3.
# - R. M. Schmidt, F. Schneider, P. Hennig (2021). Descending through a crowded valley.
#   *ICML*.
