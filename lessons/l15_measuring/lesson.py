# %% [markdown]
# # 15. Measuring
#
# "Three times faster" is easily said. It depends on what was timed, from when to when, on
# which machine, beside what, and how often. This lesson builds a stopwatch that is not
# fooled, and then asks the better question: how fast could it be at all?
#
# ## A stopwatch that lies
#
# Work for a device is only *handed over*. The call returns at once, and the device goes
# on by itself: a clock read then has measured the handing over. The first calls of a
# kernel compile it, load it, allocate memory: they are of another kind and come first.
# And on a machine that others use as well, single calls are disturbed.
#
# So: call a few times without counting; wait until the device has nothing to do; then
# time each call by itself, wait included. Report the median, which a few disturbed calls
# do not move, with the 20th and 80th percentile to say how much to trust it.

# %%
import time

import minivae_kernels as kernels
import numpy as np

from lessons import kit
from minivae.backend import limited_threads

bench = kit.yours("15.1")


def measured(work, repeats=30):
    """Median and percentiles on one core, which has nothing to wait for."""
    with limited_threads(1):
        return bench(work, time.perf_counter, lambda: None, 3, repeats)


# %% [markdown]
# ## Two ceilings
#
# Every kernel moves bytes and does operations. A machine has a greatest rate for either,
# and does both at once. So no kernel is faster than the longer of two times:
#
# $$t \ge \max\left(\frac{\text{operations}}{\text{peak}},\;
# \frac{\text{bytes}}{\text{bandwidth}}\right).$$
#
# Which of the two it is depends on one number, operations per byte, the *intensity*.
# Below the machine's own ratio of peak to bandwidth a kernel waits for memory, above it
# for arithmetic (Williams et al. 2009). Measure both ceilings of one core, by what comes
# nearest to them: a large copy, and a large matrix product.

# %%
source = np.random.default_rng(0).random(32_000_000, np.float32)
target = np.empty_like(source)
matrix = np.random.default_rng(1).random((768, 768), np.float32)
product = np.empty_like(matrix)

copy_seconds, *_ = measured(lambda: np.copyto(target, source), 10)
bandwidth = 2 * source.nbytes / copy_seconds
matmul_seconds, *_ = measured(lambda: np.matmul(matrix, matrix, out=product), 10)
peak = 2 * 768**3 / matmul_seconds
print(f"bandwidth {bandwidth / 1e9:6.1f} GB/s, by a copy of 128 MB")
print(f"peak      {peak / 1e9:6.1f} GFLOP/s, by a product of 768 × 768")
print(f"they meet at {peak / bandwidth:.1f} operations a byte")

# %% [markdown]
# ## Where kernels stand
#
# The loss of lesson 5, with its gradient, exists in this project several times: as array
# expressions, and as compiled loops. All compute the same. The arithmetic of a pixel, with
# an exponential and a logarithm, is counted as 40 operations; the bytes are those that
# *must* move: two arrays in, one out.

# %%
floor_seconds = kit.yours("15.2")
rng = np.random.default_rng(2)
logits = rng.normal(size=(8192, 784)).astype(np.float32)
pixels = (rng.random((8192, 784)) < 0.5).astype(np.float32)
family = kernels.family("bernoulli")
cost = family.cost(logits, pixels)
floor, intensity = floor_seconds(cost.flops, cost.bytes, peak, bandwidth)
print(f"floor {1e3 * floor:.2f} ms, at {intensity:.1f} operations a byte\n")

rows = []
for rung in family.rungs:
    if rung.why_not(logits, pixels):
        continue
    with family.use(rung.name):
        p50, p20, p80 = measured(lambda: family(logits, pixels), 5)
    rows.append((rung.name, p50))
    print(
        f"{rung.name:<22} {1e3 * p50:7.2f} ms ({1e3 * p20:.2f} to {1e3 * p80:.2f}), "
        f"{100 * floor / p50:4.0f} % of what is possible"
    )

# %%
drawn, axes = kit.canvas(height=3.4)
x = np.logspace(-1.5, 2.5, 200)
axes.plot(x, np.minimum(peak, bandwidth * x) / 1e9, "-", color="#333333")
for (name, seconds), marker in zip(rows, "os^Dv"):
    axes.plot(
        intensity, cost.flops / seconds / 1e9, marker, label=name, linestyle="none"
    )
axes.plot(2 * 768**3 / (12 * 768**2), peak / 1e9, "*", markersize=10, color="#AA3377")
axes.annotate(
    "matrix product",
    (2 * 768**3 / (12 * 768**2), peak / 1e9),
    (-8, 8),
    textcoords="offset points",
    ha="right",
)
axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s")
axes.set_title("The roofline of this machine, just now")
axes.legend(loc="lower right")
kit.figure(
    drawn,
    "l15_roofline",
    "GFLOP/s by operations a byte, both logarithmic: a slope, then a flat line, with "
    "the matrix product on it. One loss computed in three ways, with as many "
    "operations a byte: array expressions and the first compiled loop are far below "
    "the line, the loop with polynomials is close to it.",
)

# %% [markdown]
# The slope is memory, the flat part is arithmetic; nothing can stand above the line. A
# point below it has something to win, and the vertical distance says how much; it does
# not say where. The array expressions read and write whole arrays again and again: they
# move several times the bytes of the floor. The first compiled loop moves no more than it
# must, and yet is no faster: it calls the mathematical library for one exponential and
# one logarithm at a time, and that is its limit. The last replaces them by polynomials of
# which the processor computes many side by side. Both faults had to go.

# %% [markdown]
# ## Faster than what?
#
# A shared machine is fast in one minute and slow in the next. Measure A for a while and
# then B, and the difference may be the weather. Measure them *in turn*, A, B, A, B, and
# divide within each round: what slows the machine down slows both. Quote the ratio, and
# its least and largest value; leave absolute times to those who have that machine.

# %%
paired_ratio = kit.yours("15.3")
first, last = (
    next(r for r in family.rungs if r.name == n) for n in (rows[0][0], rows[-1][0])
)
times = {first.name: [], last.name: []}
few = logits[:512].copy(), pixels[:512].copy()
for _ in range(7):
    for name in times:
        with family.use(name):
            times[name].append(measured(lambda: family(*few), 5)[0])
ratio, least, largest = paired_ratio(
    np.array(times[last.name]), np.array(times[first.name])
)
print(f"{last.name} / {first.name}: {ratio:.3f} ({least:.3f} to {largest:.3f})")
assert ratio < 1

# %% [markdown]
# ## Your turn
#
# A stopwatch, a floor, and a fair ratio: `python -m lessons check 15` tries them on a
# device that only pretends, whose true times are known.
#
# ## What this cannot show
#
# The figures above are of this machine at this moment, and none of them is a GPU's. There
# the same stopwatch needs the device's own events, and caches that are emptied between
# calls. `python -m benchmarks kernels` does that where there is a device, and says "not
# measured" where there is none.
#
# ## References
#
# - S. Williams, A. Waterman, D. Patterson (2009). Roofline: an insightful visual
#   performance model for multicore architectures. *Communications of the ACM* 52(4).
# - T. Hoefler, R. Belli (2015). Scientific benchmarking of parallel computing systems:
#   twelve ways to tell the masses when reporting performance results. *SC*.
