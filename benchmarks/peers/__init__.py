"""The same work in minivae, PyTorch and JAX, each in a process of its own.

work.py         what is computed: weights, images, noise, in plain arrays
ours.py  with_torch.py  with_jax.py     the same cases, each in one library
worker.py       a process that has one of them loaded and waits to be asked
plan.py         which case is compared with which
run.py          asks the workers in turn; rows, tables, `--peers`
"""
