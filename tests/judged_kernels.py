"""Run with NUMBA_ENABLE_CUDASIM=1: what each kernel of a lesson is told, as JSON.

Kernels of right.py and wrong.py, each as it is written and spelled in another way.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

from numba import cuda  # noqa: E402
from respelling import respelled  # noqa: E402

from lessons.kit.exercises import lesson  # noqa: E402
from lessons.kit.judge import Refusal  # noqa: E402
from lessons.kit.kernels import Simulated  # noqa: E402
from lessons.kit.races import body_of  # noqa: E402


def main() -> None:
    found, told = lesson(int(sys.argv[1])), {}
    for kind in ("right", "wrong"):
        module = import_module(f"{found.package}.{kind}")
        for given in vars(module)[kind.upper()]:
            body = body_of(given.answer)
            versions = {
                body.__name__: given.answer,
                f"{body.__name__} respelt": cuda.jit(respelled(body)),
            }
            for name, kernel in versions.items():
                try:
                    found.exercise(given.exercise).check(Simulated(kernel))
                    told[name] = ""
                except Refusal as refusal:
                    told[name] = str(refusal)
    print(json.dumps(told))


main()
