# %% [markdown]
# # 13. First CUDA kernels
#
# A GPU runs thousands of threads at once. A *kernel* is a function that each of them
# runs, and all that tells one thread from another is its index. This lesson writes two
# kernels in Python, with Numba, and runs them without a GPU: thread by thread, where
# every access to memory can be watched.
#
# ## A thread and its index
#
# Threads come in *blocks*, and blocks make up the *grid*. A thread finds its place by
# three numbers: its index in the block, the block's index in the grid, and the size of a
# block. `cuda.grid(1)` puts them together:
#
# $$i = \mathtt{blockIdx} \cdot \mathtt{blockDim} + \mathtt{threadIdx}.$$
#
# Blocks are whole: 13 elements on blocks of 8 threads take 2 blocks, and 3 threads find
# an index beyond the end. They must do nothing. The `if` that says so is called a guard.

# %%
import textwrap
from types import ModuleType

import numpy as np

from lessons import kit
from lessons.kit import races

try:
    from numba import cuda
except ImportError:  # the kernels below are only watched: any `cuda` has the name
    cuda = ModuleType("cuda")


def double(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = 2 * x[i]


x, out = np.arange(13, dtype=np.float32), np.zeros(13, np.float32)
report = races.run(double, grid=2, block=8, arrays=(x, out))
assert np.array_equal(out, 2 * x)
print(f"{report.number('x', 'reads')} reads, {report.number('out', 'writes')} writes")

# %% [markdown]
# ## More elements than threads
#
# A grid has limits, and a kernel should not depend on its size. So let a thread go on
# when it is done: from its index in steps of the grid's size, until the end. This is the
# *grid-stride loop*. The guard has moved into the loop's condition.


# %%
def double_strided(x, out):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        out[i] = 2 * x[i]


def double_in_runs(x, out):
    share = (x.size + cuda.gridsize(1) - 1) // cuda.gridsize(1)
    first = cuda.grid(1) * share
    for i in range(first, min(first + share, x.size)):
        out[i] = 2 * x[i]


drawn, panels = kit.canvas(2, height=1.1)
for axes, kernel in zip(panels, (double_strided, double_in_runs)):
    x, out = np.ones(48, np.float32), np.zeros(48, np.float32)
    report = races.run(kernel, grid=2, block=8, arrays=(x, out))
    steps = {}
    owner = np.zeros((3, 16))
    when = np.zeros((3, 16), int)
    for access in report.accesses:
        if access.kind == "writes":
            thread = access.block[0] * 8 + access.thread[0]
            steps[thread] = steps.get(thread, -1) + 1
            owner.flat[access.cell[0]] = thread
            when.flat[access.cell[0]] = steps[thread]
    axes.imshow(owner, cmap="viridis", vmax=20)
    for (row, column), step in np.ndenumerate(when):
        axes.text(
            column, row, step, ha="center", va="center", color="white", fontsize=7
        )
    axes.set(title=kernel.__name__, xticks=[], yticks=[])
    assert np.array_equal(out, 2 * x)
kit.figure(
    drawn,
    "l13_owners",
    "48 elements in rows of 16; the colour is the thread that writes, the number its "
    "step. double_strided: the colour changes from element to element, and each row "
    "is one step. double_in_runs: three neighbours have one colour, in steps 0, 1 and "
    "2.",
)

# %% [markdown]
# 48 elements, in rows of 16; colour is the thread, the number says in which of its steps
# it writes. Both kernels are right. On the left, threads that run side by side touch
# neighbouring elements at the same time, which the hardware serves together. On the
# right they are three apart. Lesson 15 is about what that costs.

# %% [markdown]
# ## What can go wrong
#
# A kernel may touch only what exists, and Python's negative indices do not help: on a GPU
# there is no bounds check at all. Two threads that access one cell, at least one of them
# writing, with nothing to order them, are a *race*: either may come first, and the result
# is one or the other. Both faults often give the right numbers. So the lessons do not
# look at numbers alone: they watch the accesses.


# %%
def total(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[0] += x[i]


def unguarded(x, out):
    i = cuda.grid(1)
    out[i] = x[i]


for kernel in (total, unguarded):
    try:
        races.run(kernel, grid=2, block=8, arrays=(np.ones(13), np.zeros(13)))
    except races.KernelFault as fault:
        print(textwrap.fill(f"{kernel.__name__}: {fault}", 78), end="\n\n")

# %% [markdown]
# Adding into one cell from many threads takes an *atomic* update, which reads, adds and
# writes in one piece. It is right, and slow where all threads want the same cell: lesson
# 14 has the better way.


# %%
def total_by_atomics(x, out):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(out, 0, x[i])


out = np.zeros(1)
races.run(total_by_atomics, grid=2, block=8, arrays=(np.ones(13), out))
print(f"by atomics: {out[0]:g}")
assert out[0] == 13

# %% [markdown]
# ## A kernel of a VAE
#
# The sampling step of lesson 10 and the KL of lesson 8 read the same numbers. As array
# expressions they pass over memory nine times; as one kernel, once: three arrays in, two
# out. The arithmetic is the same, and on a GPU it is almost free. The grid has two axes
# here: an image and a latent.

# %%
sample_and_kl = kit.yours("13.2")
N, Z = 5, 3
rng = np.random.default_rng(13)
mu, logvar, eps = rng.normal(size=(3, N, Z)).astype(np.float32)
z, kl = np.zeros((2, N, Z), np.float32)
report = races.run(sample_and_kl, (2, 1), (4, 4), (mu, logvar, eps, z, kl))
reads = sum(report.number(name, "reads") for name in report.parameters[:3])
writes = sum(report.number(name, "writes") for name in report.parameters[3:])
print(f"{reads} reads and {writes} writes for {N * Z} latents")
assert reads >= 3 * N * Z
assert writes >= 2 * N * Z
assert np.allclose(z, mu + np.exp(logvar / 2) * eps, atol=1e-6)

# %% [markdown]
# ## Your turn
#
# Two kernels in `exercise.py`, with `@cuda.jit` above them as they would run on a device.
# `python -m lessons check 13` watches every access, runs them in Numba's simulator, and,
# where the extra `ptx` is installed, compiles them with NVIDIA's compiler and interprets
# the result. The answer says which of these judged.
#
# ## What this cannot show
#
# Passing here is necessary, not sufficient: nothing was timed, and nothing ran side by
# side. Run the same file on a GPU before you believe in its speed.
#
# ## References
#
# - NVIDIA. *CUDA C++ Programming Guide*, chapters "Programming model" and "Memory
#   consistency".
# - M. Harris (2013). CUDA Pro Tip: write flexible kernels with grid-stride loops. NVIDIA
#   developer blog.
