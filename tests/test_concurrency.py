"""Several threads, many steps, another device: nothing leaks from one to another."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
import stand_in
from tolerances import FLOAT32

import minivae as mv
from minivae.tensor import mode
from minivae.train import train_step

DIGITS = mv.data.load("digits:dynamic")


def fitted(seed: int, **options: Any) -> dict[str, np.ndarray]:
    model = mv.VAE(DIGITS.shape, 2, (8,), seed=seed)
    run = mv.fit(model, DIGITS, epochs=2, seed=seed, quiet=True, **options)
    return run.model.state()


def test_two_threads_may_train_at_once() -> None:
    alone = [fitted(seed) for seed in range(2)]
    together: dict[int, dict[str, np.ndarray]] = {}

    def work(seed: int) -> None:
        together[seed] = fitted(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    for seed, weights in enumerate(alone):
        for name, value in weights.items():
            assert np.abs(together[seed][name] - value).max() <= FLOAT32


def test_no_grad_in_one_thread_is_nothing_to_another() -> None:
    seen: list[bool] = []
    with mv.no_grad():
        worker = threading.Thread(target=lambda: seen.append(not mode.paused))
        worker.start()
        worker.join()
    assert seen == [True]


def test_memory_stays_flat_over_1000_steps_with_the_collector_off() -> None:
    model = mv.VAE((1, 4, 4), 2, (8,), "bernoulli")
    optimizer = mv.optim.Adam(model.parameters())
    noise = mv.Noise(0)
    x = (mv.Noise(1).uniform((16, 1, 4, 4)) < 0.5).astype(np.float32)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    for _ in range(2000):  # until CPython's own lists of free tuples are full
        train_step(model, optimizer, x, noise)
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            train_step(model, optimizer, x, noise)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert grown < 4096


@pytest.fixture
def gpu_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", stand_in)


@pytest.mark.parametrize("name", mv.models.MODELS)
def test_a_model_trains_on_another_array_library(name: str, gpu_stand_in: None) -> None:
    def trained(device: str) -> mv.Run:
        model = mv.models.build(name, shape=DIGITS.shape, latent=2, hidden=(8,))
        return mv.fit(model, DIGITS, epochs=1, device=device, quiet=True)

    here, there = trained("cpu"), trained("cuda")
    assert isinstance(there.model.first_parameter().data, stand_in.ndarray)
    for key, value in here.model.state().items():
        assert np.abs(there.model.state()[key] - value).max() <= 1e-4
    for run in (here, there):
        assert run.model.sample(3, mv.Noise(0)).shape == (3, 1, 8, 8)
        assert mv.evaluate.ledger(run.model, DIGITS, draws=1)["n_images"] == 179
