"""The proof finds what is wrong with a rung, and does not take nothing for a proof."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from minivae_kernels import CannotRunError, family
from minivae_kernels.devices import why_not_interpreted
from minivae_kernels.family import Cost
from minivae_kernels.launch import empty
from minivae_kernels.proof import faults, proof

from benchmarks.__main__ import main


def test_the_proof_of_a_cpu_rung_finds_what_is_wrong() -> None:
    relu = family("relu.forward")
    assert not list(proof(relu, relu.rungs[1]))
    wrong = {
        "off": lambda x: np.maximum(x, 1e-3),
        "its inputs have changed": lambda x: np.maximum(x, 0, out=x),
        "not float32(1, 1)": lambda x: np.maximum(x, 0).ravel(),
    }
    for words, function in wrong.items():
        faults = list(proof(relu, replace(relu.rungs[1], function=function)))
        assert any(words in fault for fault in faults)


@pytest.mark.needs("ptx")
def test_what_a_rung_does_not_write_is_seen() -> None:
    """Outputs are NaN until they are written, and NaN is never right."""
    relu = family("relu.forward")

    def all_but_the_last(x: Any) -> Any:
        y = empty(x.shape, x)
        if x.size:
            y[:-1] = np.maximum(x[:-1], 0)
        return y

    forgetful = replace(relu.rungs[-1], function=all_but_the_last, cost=None)
    (fault,) = faults(relu, forgetful, [(3, 4)])
    assert "result 0 is nan off" in fault


@pytest.mark.needs("ptx")
def test_bytes_that_are_not_those_stated_are_a_fault() -> None:
    relu = family("relu.forward")
    generous = replace(relu.rungs[-1], cost=lambda x: Cost(3 * x.nbytes, x.size))
    assert list(faults(relu, generous, [(3, 4)], seed=1)) == [
        "forward_vectors on (3, 4), seed 1: moves 96 bytes and states 144"
    ]


def test_without_a_compiler_nothing_is_called_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from minivae_kernels import devices

    relu = family("relu.forward")
    reason = "needs NVRTC, which was not found: pip install 'minivae[ptx]'"
    monkeypatch.setattr(devices, "why_no_ptx", lambda: reason)
    assert why_not_interpreted(relu.rungs[-1]) == reason
    with pytest.raises(CannotRunError, match="needs NVRTC"):
        list(proof(relu, relu.rungs[-1]))
    with pytest.raises(SystemExit) as end:
        main(["mutants", "relu.cu"])
    assert end.value.code == 2
