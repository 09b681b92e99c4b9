"""The same work in minivae, PyTorch and JAX, each in a process of its own.

work.py         what is computed: weights, images, noise, in plain arrays
ours.py  with_torch.py  with_compile.py  with_jax.py    each in one library
worker.py       a process that has one of them loaded and waits to be asked
processes.py    starts such processes and asks them
steps.py        whole training steps: a fresh process for each, in every round
kernels.py      single kernels beside PyTorch's, between processes that stay warm
ratios.py       what both make of their times: agreement, ratios, tables
run.py          `python -m benchmarks peers`
"""
