"""The step in PyTorch, forward and backward compiled by `torch.compile`.

It writes C++ and needs a compiler on the machine. The update is its fused Adam, which
is one call already.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.peers import with_torch
from benchmarks.peers.work import Arrays, Case, training

__all__ = ["described", "step"]


def described() -> str:
    """Return the version and the number of threads."""
    return f"torch.compile on {torch.get_num_threads()} threads"


def step(given: Arrays) -> dict[str, Case]:
    """Return the training step, and the matrix product beside it."""
    fresh = partial(with_torch.Stepper, given, torch.compile)
    return {"step": training(fresh), "sgemm": with_torch.sgemm_case()}
