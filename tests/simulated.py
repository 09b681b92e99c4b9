"""Run in a process with NUMBA_ENABLE_CUDASIM=1: the readable rungs, step by step.

Prints the name of each rung that equals its reference. Philox words are equal bit for
bit. Rungs that use warp functions are left out: the simulator has none.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "kernels"), str(ROOT / "tests")]

from kernel_cases import TOLERANCES, assert_close, call_for, results  # noqa: E402
from minivae_kernels import families, running_on  # noqa: E402

WITH_WARPS = {"bernoulli_warp_shuffles", "bernoulli_block_stride"}
SHAPE = (3, 5)


def main() -> None:
    for family in families():
        for rung in family.rungs:
            is_numba = rung.kernels and rung.language == "Numba"
            if not is_numba or rung.name in WITH_WARPS:
                continue
            call = call_for(family.name, rung, SHAPE, np.float32)
            with running_on("simulator"):
                found = results(family.name, rung, call)
            expected = results(family.name, family.rungs[0], call)
            assert_close(found, expected, TOLERANCES[np.float32])
            print(rung.name)


main()
