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
    "conv_cuda:forward": 80,
    "conv_cuda:adjoint": 80,
    "conv_cuda:weight": 80,
    "conv_implicit:forward": 64,
    "conv_implicit:adjoint": 64,
    "conv_implicit:weight": 64,
}
"""Above 32, which all others keep to: 2,048 threads share 65,536 registers."""

WHY_FEWER_WARPS = {
    "matmul:vectors": "64 sums a thread: reuse from registers hides more than warps do",
    "matmul:registers": "16 sums a thread, the same trade at half the price",
    "adam:vectors": "four 128-bit loads a thread on the way; at 32 registers it spills",
    "gaussian:backward_drawn": "at 32 it spills on sm_80; the last rung has 32",
    "logmeanexp_cuda:thread_a_row": "a readable rung",
    "gaussian_cuda:sample_drawn": "a readable rung",
    "gaussian_cuda:backward_drawn": "a readable rung",
    "conv_cuda:forward": "a readable rung: strides of 64 bits for 10 axes",
    "conv_cuda:adjoint": "a readable rung, the same",
    "conv_cuda:weight": "a readable rung, the same",
    "conv_implicit:forward": "16 sums a thread, as matmul:registers",
    "conv_implicit:adjoint": "the same",
    "conv_implicit:weight": "the same",
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
    "relu:forward": 2,
    "relu:backward": 3,
    "matmul:vectors": 34,
}
"""128-bit loads and stores: one for each array (or more, where a loop is unrolled)."""

INSTRUCTIONS = {
    "philox_cuda:words": 166.31,
    "philox:words": 34.04,
    "philox_cuda:uniforms": 171.31,
    "philox:uniforms": 38.04,
    "philox_cuda:standard_normals": 261.06,
    "philox:standard_normals": 83.05,
    "bernoulli_cuda:atomic": 116.2,
    "bernoulli_cuda:gradient": 83.51,
    "bernoulli_cuda:block_tree": 174.23,
    "bernoulli_cuda:add_partials": 0.74,
    "bernoulli_cuda:warp_shuffles": 200.36,
    "bernoulli_cuda:block_stride": 115.58,
    "bernoulli:one_pass": 102.68,
    "bernoulli:vectors": 69.08,
    "bernoulli:vectors,FAST=1": 21.33,
    "gaussian_cuda:sample": 111.0,
    "gaussian_cuda:kl_of_image": 57.7,
    "gaussian_cuda:sample_drawn": 341.73,
    "gaussian:forward_stored": 87.05,
    "gaussian:forward_drawn": 165.45,
    "gaussian:forward_drawn,FAST=1": 116.55,
    "gaussian_cuda:backward": 185.0,
    "gaussian_cuda:backward_drawn": 417.73,
    "gaussian:backward_stored": 77.4,
    "gaussian:backward_sample": 62.9,
    "gaussian:backward_drawn": 152.95,
    "gaussian:backward_drawn,FAST=1": 103.7,
    "descent_cuda:sgd": 49.43,
    "descent_cuda:scaled_descent": 52.43,
    "adam_cuda:adam": 68.55,
    "adam:grid_stride": 56.45,
    "adam:vectors": 26.36,
    "colsum_cuda:block_a_column": 62.5,
    "colsum_cuda:thread_a_column": 16.06,
    "colsum:tiles": 13.08,
    "colsum:add_partials": 0.35,
    "bias_activation_cuda:bias_activation": 67.33,
    "bias_activation:vectors": 6.07,
    "matmul_cuda:naive": 1297.62,
    "matmul_cuda:coalesced": 1297.62,
    "matmul_cuda:shared_tile": 441.34,
    "matmul:registers": 175.0,
    "matmul:vectors": 332.07,
    "logmeanexp_cuda:thread_a_row": 81.45,
    "logmeanexp:online": 178.67,
    "relu_cuda:forward": 29.29,
    "relu:forward": 9.61,
    "relu_cuda:backward": 38.33,
    "relu:backward": 11.68,
    "conv_cuda:forward": 1473.06,
    "conv_columns:columns": 228.86,
    "conv_implicit:forward": 587.97,
    "conv_cuda:adjoint": 4759.75,
    "conv_columns:begin": 38.38,
    "conv_columns:scatter": 406.14,
    "conv_columns:collect": 253.14,
    "conv_implicit:adjoint": 2454.16,
    "conv_cuda:weight": 2153.78,
    "conv_implicit:weight": 609.44,
}
"""PTX instructions that the interpreter executes an element, on each family's example.

A pixel, a latent, a parameter, a value of the first operand; a kernel that serves other
families too on the example of the first. Ten per cent more is a
finding."""
