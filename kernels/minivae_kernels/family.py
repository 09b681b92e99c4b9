"""A kernel family: one equation, its reference, and a ladder of ways to compute it.

    bernoulli = Family("bernoulli", "L = Σ log(1 + eˡ) − l x", cost)

    @bernoulli.reference
    def bernoulli_numpy(...): ...          # the definition, and always an oracle

    @bernoulli.rung(1, runs_on="cpu", idea="one pass, no temporaries")
    def bernoulli_numba(...): ...

The registry of families is the only catalogue: dispatch, tests, benchmarks, lessons and
`explain()` read it. Nothing falls back in silence: `family.use("rung")` forces a rung,
and where it cannot run the reason is raised.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from minivae_kernels.devices import (
    CannotRunError,
    place_of,
    why_no_numba_cuda,
    why_no_nvrtc,
)

if TYPE_CHECKING:
    from minivae_kernels.launch import Kernel

F = TypeVar("F", bound=Callable[..., Any])
PLACES = ("numpy", "cpu", "cuda")  # where a rung can run, the best last
NOWHERE = "runs on CuPy arrays, or in running_on('ptx')"
LANGUAGES = {"numpy": "NumPy", "cpu": "Numba", "cuda": "CuPy"}  # without own kernels
MOST_ELEMENTS = 2**31 - 1  # of one array: what a CUDA grid counts in 32 bits
COMPILED_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Cost:
    """What a call moves and computes.

    `bytes` are those of the arrays that it reads and writes, each once; a family's are
    the floor. `beside` names what comes on top: a value an image, partial sums.
    """

    bytes: int
    flops: int
    beside: Mapping[str, int] = field(default_factory=dict)

    @property
    def moved(self) -> int:
        """All bytes read and written."""
        return self.bytes + sum(self.beside.values())


@dataclass(frozen=True)
class Rung:
    """One way to compute a family: its place on the ladder and the idea it adds."""

    number: int
    name: str
    runs_on: str
    idea: str
    function: Callable[..., Any]
    needs: str = ""  # an option without which it cannot run
    kernels: tuple[Kernel, ...] = ()  # what a CUDA rung launches
    cost: Callable[..., Cost] | None = None  # what it moves, if it says so
    unless: Callable[..., str | None] | None = None  # what else it may refuse
    dtypes: tuple[np.dtype[Any], ...] = COMPILED_DTYPES
    any_order: bool = False  # of axes in memory, that of the last array

    @property
    def language(self) -> str:
        """What it is written in."""
        return self.kernels[0].language if self.kernels else LANGUAGES[self.runs_on]

    def why_not(self, *arrays: Any, **options: Any) -> str | None:
        """Return why this rung cannot run on these arguments, or None if it can."""
        if self.needs and options.get(self.needs) is None:
            return f"needs {self.needs}="
        given = [a for a in (*arrays, *options.values()) if hasattr(a, "dtype")]
        for array in given:
            if array.size > MOST_ELEMENTS:
                return f"takes at most {MOST_ELEMENTS} elements, got {array.size}"
            if self.runs_on == "numpy":
                continue
            if self.runs_on == "cpu" and not isinstance(
                array, (np.ndarray, np.generic)
            ):
                return f"runs on NumPy arrays, got {type(array).__module__}"
            if array.dtype not in self.dtypes:
                names = " and ".join(str(dtype) for dtype in self.dtypes)
                return f"is compiled for {names}, got {array.dtype}"
        if self.runs_on != "numpy" and len({array.dtype for array in given}) > 1:
            return "takes arrays of one dtype"
        if self.runs_on == "cuda" and (reason := self._no_place(*arrays, **options)):
            return reason
        return self.unless(*arrays, **options) if self.unless else None

    def copies(self, *arrays: Any, **options: Any) -> str:
        """Return which arrays are copied first, for kernels that take no gaps."""
        parameters = [p for kernel in self.kernels for p in kernel.parameters]
        if not any(p.ndim and p.contiguous for p in parameters[:1]):
            return ""
        given = [a for a in (*arrays, *options.values()) if hasattr(a, "flags")]
        order = memory_order(given[-1]) if given and self.any_order else None
        count = sum(not dense(a, order or tuple(range(a.ndim))) for a in given)
        return f"{count} array{'s' * (count > 1)}" if count else ""

    def _no_place(self, *arrays: Any, **options: Any) -> str | None:
        place = place_of(*arrays, *options.values())
        if place is None:
            return NOWHERE
        if place != "cuda" and not self.kernels:
            return f"is a library for the device: nothing to run in {place!r}"
        if place == "simulator" and self.language != "Numba":
            return "is CUDA C, which Numba's simulator does not run"
        if self.language == "Numba":
            return why_no_numba_cuda()
        return why_no_nvrtc() if self.kernels else None


class _Listeners(threading.local):
    """Where calls of families are noted in this thread, if anywhere."""

    calls: list[tuple[str, str]] | None = None


_listeners = _Listeners()


@contextmanager
def heard() -> Iterator[list[tuple[str, str]]]:
    """Note each call in this thread, (family, rung), while in the context."""
    before, _listeners.calls = _listeners.calls, []
    try:
        yield _listeners.calls
    finally:
        _listeners.calls = before


class Family:
    """An equation with its reference and its rungs; calling it runs the best of them.

    `cost` returns the floor of a call from the same arguments. Every rung takes the
    same arguments and returns the same results; rung 0 is the reference.
    """

    registry: ClassVar[dict[str, Family]] = {}

    def __init__(self, name: str, equation: str, cost: Callable[..., Cost]) -> None:
        if name in Family.registry:
            raise TypeError(f"there is a family {name} already")
        self.name, self.equation, self.cost = name, equation, cost
        self.rungs: list[Rung] = []
        self._shapes_matter = False  # to the choice
        self._mode = threading.local()
        self._choices: dict[tuple[Any, ...], Rung] = {}
        Family.registry[name] = self

    def __repr__(self) -> str:
        return f"<family {self.name}: {self.equation}>"

    def reference(self, function: F) -> F:
        """Declare the definition, in plain array expressions of either library."""
        return self.rung(0, runs_on="numpy", idea="the definition")(function)

    def rung(
        self,
        number: int,
        *,
        runs_on: str,
        idea: str,
        needs: str = "",
        kernels: tuple[Kernel, ...] = (),
        cost: Callable[..., Cost] | None = None,
        unless: Callable[..., str | None] | None = None,
        dtypes: tuple[np.dtype[Any], ...] = COMPILED_DTYPES,
        any_order: bool = False,
    ) -> Callable[[F], F]:
        """Declare the next rung; `idea` is the one thing it adds.

        A CUDA rung names the kernels that it launches and says what they move, by the
        `cost` of a call's arguments. `unless` returns a reason to refuse arguments
        that other rungs take. A rung of `any_order` takes elements as they lie.
        """
        if runs_on not in PLACES or number != len(self.rungs):
            raise TypeError(
                f"{self.name}: rung {number} on {runs_on!r} is out of place"
            )

        def declare(function: F) -> F:
            name = function.__name__
            rest = (needs, kernels, cost, unless, dtypes, any_order)
            self.rungs.append(Rung(number, name, runs_on, idea, function, *rest))
            self._shapes_matter |= unless is not None and runs_on == "cpu"
            return function

        return declare

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        """Compute on `arrays`, by the forced rung or the best that can run on them."""
        rung = self.chosen(*arrays, **options)
        if _listeners.calls is not None:
            _listeners.calls.append((self.name, rung.name))
        return rung.function(*arrays, **options)

    def chosen(self, *arrays: Any, **options: Any) -> Rung:
        """Return the rung that a call on these arguments runs."""
        forced: Rung | None = getattr(self._mode, "forced", None)
        if forced is not None:
            if reason := forced.why_not(*arrays, **options):
                raise CannotRunError(f"{forced.name} {reason}")
            return forced
        if place_of(*arrays, *options.values()) is not None:
            return self._best(*arrays, **options)  # alignment matters: look each time
        given = ((n, *_kind(v)) for n, v in options.items() if v is not None)
        shapes = (a.shape for a in arrays) if self._shapes_matter else ()
        kinds = (*map(_kind, arrays), *shapes, *given)  # what the choice depends on
        if kinds not in self._choices:
            self._choices[kinds] = self._best(*arrays, **options)
        return self._choices[kinds]

    def _best(self, *arrays: Any, **options: Any) -> Rung:
        for rung in reversed(self.rungs):
            if rung.why_not(*arrays, **options) is None:
                return rung
        raise CannotRunError(
            f"{self.name}: {self.rungs[0].why_not(*arrays, **options)}"
        )

    def named(self, name: str) -> Rung:
        """Return a rung by name; raises `CannotRunError` that lists the names."""
        for rung in self.rungs:
            if rung.name == name:
                return rung
        names = ", ".join(rung.name for rung in self.rungs)
        raise CannotRunError(f"{self.name} has no rung {name!r}; have {names}")

    @contextmanager
    def use(self, name: str) -> Iterator[Rung]:
        """Force a rung in this thread while in the context."""
        before, rung = getattr(self._mode, "forced", None), self.named(name)
        self._mode.forced = rung
        try:
            yield rung
        finally:
            self._mode.forced = before

    def explain(self, *arrays: Any, **options: Any) -> str:
        """Say which rung runs on these arguments, and of the others why they do not."""
        lines, chosen = [repr(self)], self.chosen(*arrays, **options)
        for rung in self.rungs:
            verdict = rung.why_not(*arrays, **options) or "can run"
            if rung is chosen:
                copies = rung.copies(*arrays, **options)
                verdict = f"runs; copies {copies}, scattered" if copies else "runs"
            lines.append(f"  {rung.number} {rung.name}: {rung.idea} [{verdict}]")
        return "\n".join(lines)


def _kind(array: Any) -> Any:
    """Return what a rung may refuse in an array: its type, its dtype, its size."""
    dtype = getattr(array, "dtype", None)
    return type(array), dtype, dtype is not None and array.size > MOST_ELEMENTS


def library(*arrays: Any) -> Any:
    """Return the array library of `arrays`, for references: NumPy or CuPy."""
    if all(isinstance(a, (np.ndarray, np.generic, float, type(None))) for a in arrays):
        return np
    return sys.modules["cupy"]


def memory_order(array: Any) -> tuple[int, ...]:
    """Return the axes in the order in which they lie in memory, the closest last."""
    return tuple(sorted(range(array.ndim), key=lambda i: -abs(array.strides[i])))


def dense(array: Any, order: tuple[int, ...]) -> bool:
    """Tell whether elements lie side by side, the axes in this order."""
    return bool(array.transpose(order).flags.c_contiguous)
