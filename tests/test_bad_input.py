"""Bad input to kernels: refused in words, or computed as the reference would; no more.

A loop that believes a wrong shape reads memory that is not its own. So every rung of
every family is given arrays that do not fit, one axis of one array at a time.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from kernel_cases import PHILOX, TOLERANCES, assert_close, call_for, results
from minivae_kernels import CannotRunError, Family, Rung, families, running_on
from minivae_kernels.examples import Call

import minivae as mv
from benchmarks.__main__ import main
from minivae import backend

RUNGS = [
    pytest.param(
        *(each, rung),
        id=f"{each.name}-{rung.name}",
        marks=[pytest.mark.needs("ptx")] if rung.kernels else [],
    )
    for each in families()
    for rung in each.rungs[1:]
    if (rung.kernels or rung.runs_on != "cuda") and each.name not in PHILOX
]
COMPILED = [p for p in RUNGS if p.values[1].runs_on != "numpy"]
each_rung = pytest.mark.parametrize(("family", "rung"), RUNGS)
each_compiled_rung = pytest.mark.parametrize(("family", "rung"), COMPILED)


def place_of(rung: Rung) -> Any:
    return running_on("ptx") if rung.kernels else nullcontext()


def arrays_of(call: Call) -> Iterator[tuple[Any, Any, np.ndarray]]:
    """Every array of a call, and where it stands: container and key."""
    arrays, options = call
    for container, keys in ((arrays, range(len(arrays))), (options, list(options))):
        for key in keys:
            value = container[key]  # type: ignore[index]
            if isinstance(value, np.ndarray) and value.ndim:
                yield container, key, value


def shortened(call: Call) -> Iterator[tuple[str, Call]]:
    """The call with one axis of one of its arrays one shorter, in every way."""
    for number, (_, key, value) in enumerate(arrays_of(call)):
        for axis in range(value.ndim):
            changed = copy.deepcopy(call)
            container, key, array = list(arrays_of(changed))[number]
            cut = [slice(None)] * array.ndim
            cut[axis] = slice(array.shape[axis] - 1)
            container[key] = array[tuple(cut)]
            yield f"{key} without the end of axis {axis}", changed


@each_rung
def test_an_array_that_does_not_fit_is_refused_or_a_smaller_problem(
    family: Family, rung: Rung
) -> None:
    """Never an access out of bounds: the interpreter would raise, a loop go astray."""
    said = {}
    for what, call in shortened(call_for(family.name, rung, (5, 20), np.float32)):
        try:
            with place_of(rung):
                if rung.why_not(*call[0], **call[1]):
                    continue
                found = results(family.name, rung, call)
        except ValueError as error:
            said[what] = str(error)
            continue
        expected = results(family.name, family.rungs[0], call)
        assert_close(found, expected, TOLERANCES[np.float32])
    unclear = [what for what, words in said.items() if not re.search(r"\d", words)]
    assert not unclear  # an error names the shapes


@each_compiled_rung
def test_arrays_of_two_dtypes_are_refused_and_go_to_the_reference_visibly(
    family: Family, rung: Rung
) -> None:
    call = call_for(family.name, rung, (5, 20), np.float32)
    places = list(arrays_of(call))
    if len(places) < 2:
        pytest.skip("takes one array")
    container, key, value = places[-1]
    container[key] = value.astype(np.float64)
    arrays, options = call
    with place_of(rung):
        with (
            pytest.raises(CannotRunError, match=r"float64|one dtype"),
            family.use(rung.name),
        ):
            family(*arrays, **options)
        assert family.chosen(*arrays, **options).runs_on == "numpy"
        assert "one dtype" in family.explain(*arrays, **options)


@each_compiled_rung
def test_a_dtype_it_is_not_compiled_for_is_named(family: Family, rung: Rung) -> None:
    call = call_for(family.name, rung, (5, 20), np.float32)
    for container, key, value in list(arrays_of(call)):
        container[key] = value.astype(np.float16)
    with (
        place_of(rung),
        pytest.raises(CannotRunError, match=r"compiled for float32.*got float16"),
        family.use(rung.name),
    ):
        family(*call[0], **call[1])


# What is missing


def test_without_cupy_a_device_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(mv.UserError, match=r"needs CuPy.*pip install 'minivae\[cuda13"):
        backend.cuda_library()
    with pytest.raises(SystemExit) as end:
        main(["kernels", "relu", "--device", "cuda"])
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("benchmarks: device 'cuda' needs CuPy")
    assert said.err.count("\n") == 1
