"""What is asked of a rung: the checks that it must pass before anything is timed.

    for fault in proof(family("bernoulli"), rung): print(fault)

A rung's results must be those of the reference and its inputs stay as they were. The
kernels of a CUDA rung run as they are compiled, in the interpreter, with all its
detectors on outputs that nobody has written, and must move the bytes that the rung
states. Tests, mutants and a reader's own kernel go through the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minivae_kernels.devices import (
    CannotRunError,
    Session,
    running_on,
    why_not_interpreted,
)
from minivae_kernels.examples import Call, example
from minivae_kernels.family import Family, Rung
from minivae_kernels.ptx import PtxError

SHAPES = (
    *((1, 1), (1, 3), (31, 1), (3, 4), (3, 31), (1, 33), (33, 3), (2, 1023), (2, 1024)),
    *((129, 5), (65, 20), (5, 784), (17, 132), (300, 8), (70, 4), (2, 1100)),
)
"""One row and many, below a warp and above a block, multiples of 4 and not."""
LONGEST_PRODUCT = 200  # a longer sum is more of the same, tile by tile
EMPTY = ((0, 4), (3, 0), (0, 0))
DOUBLE_SHAPES = ((3, 31), (65, 20), (17, 132))
TOLERANCE = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 2e-6}
"""Of the largest value: some roundings, and the hardware's own functions."""
IN_PLACE = {"sgd", "adagrad", "rmsprop", "adam", "bias_activation"}
WORST_NOISE = (5 + (6 << 32), 0, 4 * 1396662)
"""Its first uniform is 1 − 2⁻²⁴, whose logarithm the hardware may put above 0."""


def shapes_for(family: Family) -> list[tuple[int, int]]:
    """Return the shapes on which a family is checked, the empty ones too."""
    product, mean = family.name == "matmul", family.name == "logmeanexp"
    return [
        shape
        for shape in SHAPES + EMPTY
        if not (product and shape[1] > LONGEST_PRODUCT)
        and not (mean and shape[1] == 0)  # a mean of nothing is refused
    ]


def faults(
    family: Family,
    rung: Rung,
    shapes: Sequence[tuple[int, int]] | None = None,
    dtype: DTypeLike = np.float32,
    seed: int | None = None,
) -> Iterator[str]:
    """Yield what is wrong with a rung, call by call; nothing if it is right.

    Inputs are new in each run unless a seed is given. Calls that it refuses are left
    out: a reason is no fault.
    """
    seed = random.randrange(1 << 32) if seed is None else seed
    for shape in shapes_for(family) if shapes is None else shapes:
        call = example(family.name, shape, dtype, rung=rung, seed=seed)
        for fault in faults_of_call(family, rung, call, TOLERANCE[np.dtype(dtype)]):
            yield f"{rung.name} on {shape}, seed {seed}: {fault}"


def all_faults(family: Family, rung: Rung, seed: int | None = None) -> Iterator[str]:
    """Yield the faults of all shapes, of long walks, and at the edges of precision."""
    yield from faults(family, rung, seed=seed)
    yield from special_faults(family, rung)


def proof(family: Family, rung: Rung) -> Iterator[str]:
    """Yield all faults, those of the same source in float64 too.

    Raises `CannotRunError` where there is nothing to prove it with: a proof that runs
    nothing finds nothing.
    """
    if rung.kernels and (reason := why_not_interpreted(rung)):
        raise CannotRunError(f"{rung.name} {reason}")
    yield from all_faults(family, rung)
    if np.dtype(np.float64) in rung.dtypes:
        yield from faults(family, rung, DOUBLE_SHAPES, np.float64)


def special_faults(family: Family, rung: Rung) -> Iterator[str]:
    """Yield faults of grids that walk far, and of approximations as bad as allowed."""
    for shape in ((130, 20), (40, 132)):
        call = example(family.name, shape, rung=rung)
        for fault in faults_of_call(family, rung, call, 2e-6, most_blocks=1):
            yield f"{rung.name} on {shape} by one block: {fault}"
    if family.name in ("matmul", "bias_activation"):
        (x, other), options = example(family.name, (33, 20), rung=rung)
        plain: list[dict[str, Any]] = [{**options, "activation": "identity"}]
        plain += [{}] if family.name == "matmul" else []  # a product without a bias
        for chosen in plain:
            for fault in faults_of_call(family, rung, ([x, other], chosen), 2e-6):
                yield f"{rung.name} with {sorted(chosen)}, no relu: {fault}"
    yield from (f"{rung.name}, noise: {fault}" for fault in _at_the_edge(family, rung))


def faults_of_call(
    family: Family, rung: Rung, call: Call, tolerance: float, **place: Any
) -> Iterator[str]:
    """Yield what is wrong with one call of a rung; `place` are options of `ptx`."""
    arrays, options = call
    before = _copies(call)
    on_device = rung.runs_on == "cuda"
    opened = running_on("ptx", **place) if on_device else nullcontext(Session("cpu"))
    with opened as session:
        if rung.why_not(*arrays, **options):
            return
        try:
            found = results(family, rung, call)
        except PtxError as error:
            yield f"{type(error).__name__}: {error}"
            return
    if any(
        a.tobytes() != b.tobytes() for a, b in zip(before, _copies(call), strict=True)
    ):
        yield "its inputs have changed"
    expected = results(family, family.rungs[0], call)
    yield from differences(found, expected, tolerance)
    if strange := session.launches.keys() - {str(kernel) for kernel in rung.kernels}:
        yield f"launches {', '.join(sorted(strange))}, which it does not name"
    cost = rung.cost(*arrays, **options) if rung.cost else None
    if cost is not None and session.bytes_moved != cost.moved:
        yield f"moves {session.bytes_moved} bytes and states {cost.moved}"


def results(family: Family, rung: Rung, call: Call) -> list[Any]:
    """Return everything a rung returns or changes; the call's arrays are left alone."""
    arrays, options = call
    if family.name in IN_PLACE:
        arrays = [a.copy() for a in arrays]
    returned = rung.function(*arrays, **options)
    found = arrays if family.name in IN_PLACE else returned
    return list(found) if isinstance(found, (tuple, list)) else [found]


def differences(
    found: list[Any], expected: list[Any], tolerance: float
) -> Iterator[str]:
    """Yield where results are not the expected ones; NaN is never right."""
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            yield f"result {number} is {a.dtype}{a.shape}, not {b.dtype}{b.shape}"
        elif a.dtype.kind in "ui":
            if not np.array_equal(a, b):
                yield f"result {number} differs in {int((a != b).sum())} words"
        elif a.size:
            allowed = tolerance * max(1.0, float(np.abs(b).max()))
            error = float(np.abs(a.astype(np.float64) - b).max())
            if not error <= allowed:
                yield f"result {number} is {error:.1e} off, {allowed:.1e} allowed"


def _copies(call: Call) -> list[Any]:
    values = (*call[0], *call[1].values())
    return [np.array(a) for a in values if isinstance(a, np.ndarray)]


def _at_the_edge(family: Family, rung: Rung) -> Iterator[str]:
    """Yield faults where the hardware's approximations are as wrong as they may be."""
    for noise in (-1, 1):
        if family.name == "bernoulli":
            edges = [0, 1e-8, -1e-8, 20, -20, 90, -90, 5]
            logits = np.array([edges, edges[::-1]], np.float32)
            call: Call = ([logits, np.ones_like(logits), 1.0], {})
            yield from faults_of_call(family, rung, call, 2e-6, noise=noise)
        elif family.name == "gaussian.forward" and rung.needs == "key":
            zero = np.zeros((1, 4), np.float32)
            call = ([zero, zero], {"key": WORST_NOISE})
            # near u = 1 the root multiplies an error of the logarithm by 1 / radius
            yield from faults_of_call(family, rung, call, 1.5e-3, noise=noise)
