"""The resource table: what each CUDA kernel may take, for float32, and why not less.

Recorded from NVRTC 13.0 and numba-cuda 0.30 for sm_80 and sm_90; a compiler that needs
more than this has something to tell.
"""

from __future__ import annotations

REGISTERS = {
    "matmul:vectors": 128,
    "matmul:registers": 64,
    "adam:vectors": 40,
    "gaussian:backward_drawn": 40,
    "logmeanexp_cuda:thread_a_row": 40,
    "gaussian_cuda:sample_drawn": 40,
    "gaussian_cuda:backward_drawn": 40,
}
"""Above 32, which all others keep to: 2,048 threads share 65,536 registers."""

WHY_FEWER_WARPS = {
    "matmul:vectors": "64 sums a thread: reuse from registers hides more than warps do",
    "matmul:registers": "16 sums a thread, the same trade at half the price",
    "adam:vectors": "four 128-bit loads a thread on the way; at 32 registers it spills",
    "gaussian:backward_drawn": "at 32 registers it spills on sm_80; the last rung has 32",
    "logmeanexp_cuda:thread_a_row": "a readable rung",
    "gaussian_cuda:sample_drawn": "a readable rung",
    "gaussian_cuda:backward_drawn": "a readable rung",
}
"""The reason of each kernel that does not fill a multiprocessor."""

SLOW_SINE = {
    "philox_cuda:standard_normals",
    "gaussian_cuda:sample_drawn",
    "gaussian_cuda:backward_drawn",
}
"""Numba's sine has a path for huge angles, never taken here: with float64 and 32 bytes
of memory of its own. The CUDA C rungs use sincospi, which has none."""

WIDE = {
    "philox:words": 1,
    "philox:uniforms": 1,
    "philox:standard_normals": 1,
    "bernoulli:vectors": 3,
    "bernoulli:vectors,FAST=1": 3,
    "gaussian:forward_stored": 4,
    "gaussian:forward_drawn": 3,
    "gaussian:forward_drawn,FAST=1": 3,
    "gaussian:backward_stored": 6,
    "gaussian:backward_sample": 6,
    "gaussian:backward_drawn": 5,
    "gaussian:backward_drawn,FAST=1": 5,
    "adam:vectors": 7,
    "bias_activation:vectors": 3,
    "matmul:vectors": 34,
}
"""128-bit loads and stores: one for each array (or more, where a loop is unrolled)."""
