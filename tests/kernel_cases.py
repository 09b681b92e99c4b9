"""Running rungs beside their references: results, and how near they must be."""

from __future__ import annotations

import numpy as np
from minivae_kernels import Rung
from minivae_kernels.examples import Call, example

PHILOX = ("philox.words", "philox.uniforms", "philox.normals")  # takes no arrays
IN_PLACE = {"sgd", "adagrad", "rmsprop", "adam", "bias_activation"}
TOLERANCES = {np.float64: 1e-13, np.float32: 2e-6}
"""Of the largest value: some roundings, and in float32 the polynomials' 4e-7."""


def call_for(
    name: str, rung: Rung, shape: tuple[int, int], dtype: type, seed: int = 3
) -> Call:
    """A call that a rung takes."""
    return example(name, shape, dtype, rung=rung, seed=seed)


def results(name: str, rung: Rung, call: Call) -> list[np.ndarray]:
    """Everything a rung returns or changes, its inputs left alone."""
    arrays, options = call
    if name in IN_PLACE:
        arrays = [a.copy() for a in arrays]
    returned = rung.function(*arrays, **options)
    if name in IN_PLACE:
        return [np.asarray(a) for a in arrays]
    return [
        np.asarray(r) for r in (returned if isinstance(returned, tuple) else [returned])
    ]


def assert_close(
    found: list[np.ndarray], expected: list[np.ndarray], tol: float
) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if a.dtype.kind in "ui":
            np.testing.assert_array_equal(a, b)
            continue
        scale = max(1.0, float(np.abs(b).max(initial=0.0)))
        assert np.abs(a.astype(np.float64) - b).max(initial=0.0) <= tol * scale
