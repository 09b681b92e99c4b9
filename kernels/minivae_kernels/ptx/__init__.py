"""An interpreter of PTX: CUDA kernels, as compiled, on NumPy arrays, with all checks.

    module = ptx.load(text)
    report = module["reduce"].run(4, 256, (x, out, np.int32(n)))  # grid, block, ...
    for touches in ptx.trace(module["reduce"], 4, 256, (x, out, np.int32(n))): ...

`load` reads what NVRTC and Numba write. `run` executes it, all threads side by side,
and raises where a GPU goes wrong, in silence or not: a race, an address out of bounds
or misaligned, a barrier that some threads never reach, a read of unwritten memory.
"""

from minivae_kernels.ptx.errors import *  # noqa: F403
from minivae_kernels.ptx.launch import Kernel as Kernel
from minivae_kernels.ptx.launch import Pointer as Pointer
from minivae_kernels.ptx.launch import Report as Report
from minivae_kernels.ptx.launch import Uninitialised as Uninitialised
from minivae_kernels.ptx.launch import load as load
from minivae_kernels.ptx.launch import trace as trace
