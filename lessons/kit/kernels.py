"""Judges of kernel exercises: a launch that is watched, and what it left behind.

The race checker and Numba's simulator need the core packages alone. The interpreter of
PTX needs the extra `ptx`: it runs what the real compiler makes of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from lessons.kit import races
from lessons.kit.judge import Judge, Refusal, close, same, stumbled

Array = Any
Shape = int | tuple[int, ...]


class KernelJudge(Judge):
    """Launches an answer on copies of arrays; what it returns are the copies."""

    judges: tuple[str, ...] = ()
    report: races.Report | None = None

    def launch(self, grid: Shape, block: Shape, *arguments: Any) -> list[Any]:
        """Launch the kernel; returns the arguments as it left them."""
        raise NotImplementedError


class Simulated(KernelJudge):
    """The race checker, then Numba's simulator, which must agree with it."""

    judges = ("race checker", "simulator")

    def launch(self, grid: Shape, block: Shape, *arguments: Any) -> list[Any]:
        """Launch twice; raises `Refusal` at a fault, or where the two disagree."""
        self.cases += 1
        watched, simulated = _copies(arguments), _copies(arguments)
        if not hasattr(self.answer, "__getitem__"):
            raise Refusal("it is no kernel: write @cuda.jit in the line above its def.")
        try:
            self.report = races.run(self.answer, grid, block, watched)
        except races.KernelFault as fault:
            raise Refusal(str(fault)) from fault
        except NotImplementedError:
            raise
        except Exception as error:
            raise Refusal(f"it {stumbled(error, self.file)}") from error
        kernel: Any = self.answer
        try:
            with redirect_stdout(StringIO()):  # what it prints was printed before
                kernel[grid, block](*simulated)
        except Exception as error:
            says = stumbled(error, self.file)
            raise Refusal(f"in Numba's simulator it {says}") from error
        for ours, theirs in zip(watched, simulated, strict=True):
            if isinstance(ours, np.ndarray) and not close(ours, theirs):
                raise Refusal(
                    "Numba's simulator gets other numbers than the race checker: does "
                    "the kernel depend on the order of its threads?"
                )
        _only_results_changed(self.report.parameters, arguments, watched)
        return watched


class Interpreted(KernelJudge):
    """The interpreter of PTX: the kernel as the real compiler makes it."""

    judges = ("PTX interpreter",)

    def launch(self, grid: Shape, block: Shape, *arguments: Any) -> list[Any]:
        """Compile and interpret; raises `Refusal` at a fault, or if Numba cannot."""
        from minivae_kernels import ptx
        from minivae_kernels.nvrtc import CompileError

        self.cases += 1
        given = _copies(arguments)
        function = races.body_of(self.answer)
        if "print" in function.__code__.co_names:
            raise Refusal(
                "The race checker and the simulator found nothing wrong. The "
                "interpreter of PTX, which judges next, cannot print: take the print "
                "out of the kernel."
            )
        try:
            (kernel,) = ptx.load(_compiled(function, given)).values()
            ptx.run(kernel, grid, block, list(_words(given)))
        except CompileError as error:
            first = str(error).strip().splitlines()
            raise Refusal(f"Numba cannot compile it: {' '.join(first[:3])}") from error
        except ptx.PtxError as fault:
            says = str(fault).replace(kernel.name, function.__name__)
            raise Refusal(says.replace(f"{self.file}:", "line ")) from fault
        return given


def _only_results_changed(
    names: Sequence[str], before: Sequence[Any], after: Sequence[Any]
) -> None:
    """Arrays that go in as NaN throughout are for results; others stay as they are."""
    for name, old, new in zip(names, before, after, strict=True):
        if not (same(old, new) or np.isnan(old).all()):
            raise Refusal(f"it changes {name}, which is only to be read.")


def _copies(arguments: tuple[Any, ...]) -> list[Any]:
    return [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]


def _compiled(function: Callable[..., Any], given: list[Any]) -> str:
    """Compile for the types of the arguments: contiguous arrays, int32, float32."""
    from minivae_kernels.numba_ptx import compile_numba

    return compile_numba(function, ", ".join(map(_type, given)), real="float32").ptx


def _type(argument: Any) -> str:
    if isinstance(argument, np.ndarray):
        return f"{argument.dtype}[{':, ' * (argument.ndim - 1)}::1]"
    return "int32" if isinstance(argument, (int, np.integer)) else "float32"


def _words(given: list[Any]) -> Iterator[Any]:
    """The words of the machine that Numba makes of the arguments.

    An array is (meminfo, parent, nitems, itemsize, data, *shape, *strides).
    """
    for value in given:
        if not isinstance(value, np.ndarray):
            yield np.int32(value) if _type(value) == "int32" else np.float32(value)
            continue
        yield from map(np.int64, (0, 0, value.size, value.itemsize))
        yield value
        yield from map(np.int64, (*value.shape, *value.strides))


JUDGES: dict[str, type[Judge]] = {"simulator": Simulated, "ptx": Interpreted}
