"""On a real device: every CUDA rung, and a training.

`benchmarks/gpu_session.sh` runs this file; without a device its tests skip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import IN_PLACE, TOLERANCES, assert_close, call_for, results
from minivae_kernels import Family, Rung, families, family, running_on
from minivae_kernels.devices import why_not_interpreted
from minivae_kernels.examples import Call

import minivae as mv
from minivae import backend
from minivae.train import train_step

pytestmark = pytest.mark.gpu

RUNGS = [
    pytest.param(f, rung, id=f"{f.name}-{rung.name}")
    for f in families()
    for rung in f.rungs
    if rung.runs_on == "cuda"
]
OWN = [each for each in RUNGS if each.values[1].kernels]  # not a library's
each_rung = pytest.mark.parametrize(("family", "rung"), RUNGS)


def on_device(family: Family, rung: Rung, call: Call) -> list[np.ndarray]:
    """What a rung returns or changes on the device, brought back."""
    library = backend.cuda_library()

    def moved(value: Any) -> Any:
        return library.asarray(value) if isinstance(value, np.ndarray) else value

    arrays = [moved(a) for a in call[0]]
    options = {k: moved(v) for k, v in call[1].items()}
    if reason := rung.why_not(*arrays, **options):
        pytest.skip(f"{rung.name} {reason}")
    returned = rung.function(*arrays, **options)
    changed = arrays if family.name in IN_PLACE else returned
    found = changed if isinstance(changed, (tuple, list)) else [changed]
    return [library.asnumpy(a) for a in found]


@pytest.mark.parametrize("shape", [(5, 20), (300, 784)], ids=["small", "large"])
@each_rung
def test_a_rung_equals_its_reference(
    family: Family, rung: Rung, shape: tuple[int, int]
) -> None:
    call = call_for(family.name, rung, shape, np.float32)
    expected = results(family.name, family.rungs[0], call)
    # other sums than NumPy's, of up to 784 terms; words are compared bit for bit
    assert_close(on_device(family, rung, call), expected, 1e-5)


@pytest.mark.parametrize(("family", "rung"), OWN)
def test_a_device_computes_what_the_interpreter_does(
    family: Family, rung: Rung
) -> None:
    if reason := why_not_interpreted(rung):
        pytest.skip(f"{rung.name} {reason}")
    call = call_for(family.name, rung, (5, 20), np.float32)
    with running_on("ptx"):
        expected = results(family.name, rung, call)
    # its own exp and log differ by as much as NVIDIA documents
    assert_close(on_device(family, rung, call), expected, TOLERANCES[np.float32])


def test_words_are_those_of_numpy_bit_for_bit() -> None:
    library, words = backend.cuda_library(), family("philox.words")
    key = ((5 << 32) + 7, 3, (1 << 40) + 8, 1023)
    for rung in words.rungs:
        if rung.runs_on == "cuda":
            found = rung.function(*key, like=library.empty(0, np.float32))
            expected = words.rungs[0].function(*key)
            np.testing.assert_array_equal(library.asnumpy(found), expected)


def test_three_training_steps_are_those_of_the_cpu() -> None:
    def trained(device: str) -> dict[str, np.ndarray]:
        model = mv.VAE((1, 8, 8), 4, (32,), likelihood="bernoulli").to(device=device)
        optimizer, noise = mv.optim.SGD(model.parameters(), 0.01), mv.Noise(0)
        images = (mv.Noise(1).uniform((24, 1, 8, 8)) < 0.5).astype(np.float32)
        for batch in images.reshape(3, 8, 1, 8, 8):
            train_step(model, optimizer, backend.to_device(batch, device), noise)
        return model.state()

    here, there = trained("cpu"), trained("cuda")
    for name, value in here.items():
        assert np.abs(backend.to_numpy(there[name]) - value).max() <= 1e-4
