# %% [markdown]
# # 14. Shared memory and reductions
#
# The threads of lesson 13 never met: each wrote its own cells. A sum cannot be made that
# way. This lesson lets the threads of a block work together, through a small memory that
# they share, and shows what they owe each other: to wait.
#
# ## A memory for a block
#
# `cuda.shared.array` makes an array that all threads of a block see, and no other block.
# Its size must be known when the kernel is compiled. Here each thread leaves its number
# there and subtracts that of its left neighbour.

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


def differences(x, out):
    shared = cuda.shared.array(8, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    if t > 0 and i < x.size:
        out[i] = shared[t] - shared[t - 1]


x, out = np.arange(13, dtype=np.float32), np.zeros(13, np.float32)
races.run(differences, grid=2, block=8, arrays=(x**2, out))
print(*(f"{value:g}" for value in out))
assert out.tolist() == [0, *range(1, 15, 2), 0, *range(17, 25, 2)]

# %% [markdown]
# ## Waiting
#
# `cuda.syncthreads()` is a *barrier*: no thread passes before all threads of its block
# have come. What any of them wrote before it, all of them see after it. It says nothing
# about other blocks.
#
# All threads of a block must reach a barrier, and the same one. If it stands in a branch
# that some do not take, those who did wait for ever. If it is left out, a thread reads a
# cell that another is still writing. On one day the numbers may be right, on another not.
# So the accesses are watched, not the results.


# %%
def without_waiting(x, out):
    shared = cuda.shared.array(8, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 0
    if t > 0 and i < x.size:
        out[i] = shared[t] - shared[t - 1]


def waiting_in_a_branch(x, out):
    shared = cuda.shared.array(8, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < x.size:
        shared[t] = x[i]
        cuda.syncthreads()
        out[i] = shared[t] - shared[max(t - 1, 0)]


def trusting_zeros(x, out):
    shared = cuda.shared.array(8, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < x.size:
        shared[t] = x[i]
    cuda.syncthreads()
    right = shared[t + 1] if t < 7 else 0
    if i < x.size:
        out[i] = right - shared[t]


for kernel in (without_waiting, waiting_in_a_branch, trusting_zeros):
    try:
        races.run(kernel, grid=2, block=8, arrays=(x, np.zeros(13, np.float32)))
    except races.KernelFault as fault:
        print(textwrap.fill(f"{kernel.__name__}: {fault}", 78), end="\n\n")

# %% [markdown]
# The last one is a fault of another kind: shared memory may hold anything at first, what
# another block left there for example. Whoever has nothing to contribute writes a zero.

# %% [markdown]
# ## Adding together
#
# Eight threads hold a number each. In one step, four of them add the number of a partner.
# In the next, two of those; then one. Three steps instead of seven additions in a row; for
# 1,024 threads, ten instead of 1,023. A step may begin only when the one before is done
# by *all*: this is what a barrier is for.
#
# Below, each row is the time between two barriers, each column a cell of shared memory. A
# filled square was written by the thread whose number it bears; a dot was only read.

# %%
block_sum = kit.yours("14.1")
out = np.zeros(2, np.float32)
report = races.run(block_sum, grid=2, block=8, arrays=(x, out))
print(f"sums {out.tolist()}; each of 2 blocks passed {report.barriers // 2} barriers")
assert out.tolist() == [28, 50]

drawn, axes = kit.canvas(height=2.4)
seen = {}
for access in report.accesses:
    if access.block == (0, 0, 0) and access.shared:
        seen.setdefault((access.epoch, access.cell[0]), []).append(access)
for (epoch, cell), accesses in seen.items():
    writers = {a.thread[0] for a in accesses if a.kind == "writes"}
    colour = "#4477AA" if writers else "#FFFFFF"
    axes.plot(cell, epoch, "s", color=colour, markersize=20)
    for writer in writers:
        axes.text(cell, epoch, writer, ha="center", va="center", color="white")
    if not writers:
        axes.plot(cell, epoch, "o", color="#EE6677", markersize=6)
last = max(epoch for epoch, _ in seen)
axes.set(xlim=(-0.6, 7.6), ylim=(last + 0.6, -0.6), xlabel="cell of shared memory")
axes.set(yticks=range(last + 1), ylabel="barriers passed")
axes.set_title("Eight numbers become one")
kit.figure(
    drawn,
    "l14_tree",
    "Eight cells of shared memory, from top to bottom by barriers passed. All eight "
    "threads write, then four, then two, then one, each its own cell; the cells of "
    "the other half are only read. At the end cell 0 is read.",
)

# %% [markdown]
# ## A product in tiles
#
# In $C = AB$ each thread makes one cell of $C$. If it reads its row of $A$ and its column
# of $B$ by itself, every element of $A$ is read once for each column of $C$. But the
# threads of a block want the same rows and columns.
#
# A block of T × T threads can bring a T × T tile of $A$ and one of $B$ into shared memory,
# one element a thread, wait, and then make T terms of every sum from there. Each element
# that a block reads is used T times: the traffic falls by T.


# %%
def naive(A, B, C):
    row, column = cuda.grid(2)
    if row < A.shape[0] and column < B.shape[1]:
        total = np.float32(0)
        for k in range(A.shape[1]):
            total += A[row, k] * B[k, column]
        C[row, column] = total


matmul_tiled = kit.yours("14.2")
rng = np.random.default_rng(14)
A, B = (
    rng.normal(size=(8, 10)).astype(np.float32),
    rng.normal(size=(10, 8)).astype(np.float32),
)
reads = {}
for name, kernel in {"naive": naive, "in tiles": matmul_tiled}.items():
    C = np.zeros((8, 8), np.float32)
    report = races.run(kernel, (2, 2), (4, 4), (A, B, C))
    reads[name] = sum(report.number(each, "reads") for each in report.parameters[:2])
    print(f"{name:<8} reads {reads[name]:5} elements of A and B")
    assert np.allclose(C, A @ B, atol=1e-4)
assert reads["in tiles"] < reads["naive"]

# %% [markdown]
# Two barriers stand in the loop. The first: no thread may use a tile before it is all
# there. The second: none may overwrite it before all have used it. Leaving out the second
# is the classic race: it is seen only when one thread is ahead of another.

# %% [markdown]
# ## Your turn
#
# The sum of a block and the tiled product, for sizes that tiles do not divide:
# `python -m lessons check 14`. It also counts who read what: a right sum made by one
# thread alone is sent back.
#
# ## What this cannot show
#
# How much a saved read is worth, and whether shared memory or the arithmetic is then the
# limit: that needs a clock, and a device (lesson 15). Real kernels go further: several
# cells a thread in registers, and sums within a warp without any shared memory, by
# shuffles, of which the checker of this lesson knows nothing. `minivae kernels matmul`
# lists those rungs.
#
# ## References
#
# - M. Harris (2007). *Optimizing parallel reduction in CUDA*. NVIDIA.
# - NVIDIA. *CUDA C++ Programming Guide*, "Shared memory" (the tiled product) and
#   "Synchronization functions".
# - D. B. Kirk, W. W. Hwu (2016). *Programming Massively Parallel Processors*, 3rd ed.,
#   chapters 4 and 5.
