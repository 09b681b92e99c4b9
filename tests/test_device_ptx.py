"""A training whose every kernel runs in the interpreter, and on a stand-in for CuPy."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import stand_in
from command import minivae
from kernel_cases import IN_PLACE, TOLERANCES, assert_close, call_for, results
from minivae_kernels import Family, Rung, families, family

import minivae as mv
from minivae import backend
from minivae.train import train_step

pytestmark = pytest.mark.needs("ptx")

DIGITS = mv.data.load("digits:threshold")


def trained(device: str, **sizes: Any) -> tuple[dict[str, np.ndarray], Counter[str]]:
    """The parameters of a VAE after 3 steps of SGD on 8 digits each."""
    model = mv.VAE(DIGITS.shape, latent=4, likelihood="bernoulli", **sizes)
    noise = mv.Noise(0)
    with backend.running_on(device) as launches:
        optimizer = mv.optim.SGD(model.parameters(), 0.01, momentum=0.9)
        for step in range(3):
            images = DIGITS.train.images[8 * step : 8 * step + 8]
            train_step(model, optimizer, images, noise)
        return model.state(), Counter(launches)


DENSE = {"philox", "bernoulli", "matmul", "colsum", "relu", "descent"}
MODELS = [
    ("dense", {"hidden": (32,)}, DENSE),
    ("conv", {"channels": (4, 8), "hidden": (16,)}, {*DENSE, "conv_implicit"}),
]


@pytest.mark.parametrize(("arch", "sizes", "kernels"), MODELS)
def test_three_steps_in_the_interpreter_are_those_of_the_cpu(
    arch: str, sizes: Any, kernels: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    there, launches = trained("ptx", arch=arch, **sizes)
    here, none = trained("cpu", arch=arch, **sizes)
    assert not none
    for name, value in here.items():
        assert np.abs(there[name] - value).max() <= 1e-5
    stems = {name.split(":")[0].removesuffix("_cuda") for name in launches}
    assert stems == kernels
    products = sum(n for k, n in launches.items() if k.startswith("matmul"))
    if arch == "dense":  # 5 layers: 15 products less the gradient of the images
        assert products == 3 * 14
    else:  # 2 convolutions and 2 transposed: 12, less the gradient of the images
        assert sum(n for k, n in launches.items() if k.startswith("conv_")) == 3 * 11
    with capsys.disabled():
        print(f"\n{arch}", *(f"{n:4} launches of {k}" for k, n in launches.items()))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "adagrad", "rmsprop"])
def test_an_optimizer_takes_the_same_steps_on_given_gradients(name: str) -> None:
    def stepped(device: str) -> np.ndarray:
        rng = np.random.default_rng(1)
        shapes = [(32, 64), (32,), (4, 33), (7,)]
        parameters = [
            mv.Parameter(rng.normal(size=shape).astype(np.float32)) for shape in shapes
        ]
        with backend.running_on(device):
            optimizer = mv.optim.OPTIMIZERS[name](parameters, 1e-2, weight_decay=0.1)
            for _ in range(3):
                for parameter in parameters:
                    gradient = rng.normal(size=parameter.shape).astype(np.float32)
                    parameter.grad = gradient
                optimizer.step()
        return optimizer.values.copy()

    assert np.abs(stepped("ptx") - stepped("cpu")).max() <= 1e-6


def test_spans_of_a_buffer_are_updated_wherever_they_begin() -> None:
    kernels = {"adam:grid_stride", "adam:vectors"}  # at byte 12, and at byte 48

    def stepped(device: str) -> np.ndarray:
        parameters = [
            mv.Parameter(np.full(shape, 0.5, np.float32))
            for shape in ((3,), (9,), (5,))
        ]
        with backend.running_on(device) as launches:
            optimizer = mv.optim.Adam(parameters)
            for parameter in parameters[1:]:
                parameter.grad = np.full(parameter.shape, 0.25, np.float32)
            optimizer.step()
        assert device == "cpu" or set(launches) == kernels
        return optimizer.values.copy()

    assert np.abs(stepped("ptx") - stepped("cpu")).max() <= 1e-6


@pytest.mark.parametrize("shape", [(6, 8), (6, 7)])
def test_the_fused_sampler_runs_its_kernels_both_ways(shape: tuple[int, int]) -> None:
    def gradients(device: str) -> list[np.ndarray]:
        rng = np.random.default_rng(2)
        mu, logvar = (
            mv.Parameter(rng.normal(size=shape).astype(np.float32)) for _ in range(2)
        )
        noise = rng.normal(size=shape).astype(np.float32)
        with backend.running_on(device) as launches:
            z, kl = mv.ops.reparameterize_kl(mu, logvar, noise)
            (mv.ops.sum(z * z) + kl).backward()
        stems = {name.split(":")[0].removesuffix("_cuda") for name in launches}
        assert device == "cpu" or stems == {"gaussian"}
        assert mu.grad is not None
        assert logvar.grad is not None
        return [z.data, mu.grad, logvar.grad]

    assert_close(gradients("ptx"), gradients("cpu"), 2e-6)


@pytest.mark.slow
def test_the_command_trains_there_and_counts_launches(tmp_path: Any) -> None:
    done = minivae(
        *("train", "--device", "ptx", "--data", "digits:threshold", "--epochs", "1"),
        *("--hidden", "32", "--latent", "4", "--batch", "700"),
        *("--out", str(tmp_path / "run")),
    )
    assert done.code == 0, done.err
    assert "launches of bernoulli:vectors,FAST=1" in done.err
    assert "recon" in done.out


def test_without_nvrtc_the_device_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from minivae_kernels import devices

    monkeypatch.setitem(devices.MISSING, "ptx", lambda: "needs NVRTC: pip install it")
    with pytest.raises(mv.UserError, match="device 'ptx': needs NVRTC: pip install it"):
        mv.fit(mv.VAE(DIGITS.shape, 2, (4,)), DIGITS, epochs=1, device="ptx")


# The path of a real device, on the stand-in


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    stand_in.launches.clear()
    return stand_in


CUDA = [(f, r) for f in families() for r in f.rungs if r.runs_on == "cuda"]


def moved(value: Any, change: Callable[[Any], Any]) -> Any:
    return change(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize(("family", "rung"), CUDA, ids=lambda each: each.name)
def test_a_rung_on_a_device_equals_its_reference(
    family: Family, rung: Rung, cupy: Any
) -> None:
    arrays, options = call_for(family.name, rung, (5, 20), np.float32)
    there = [moved(a, cupy.asarray) for a in arrays]
    given = {k: moved(v, cupy.asarray) for k, v in options.items()}
    with family.use(rung.name):
        returned = family(*there, **given)
    changed = there if family.name in IN_PLACE else returned
    found = changed if isinstance(changed, (tuple, list)) else [changed]
    assert all(isinstance(a, cupy.ndarray) for a in found)
    expected = results(family.name, family.rungs[0], (arrays, options))
    assert_close([a.get() for a in found], expected, TOLERANCES[np.float32])
    assert cupy.launches or not rung.kernels


def test_the_best_rung_of_a_device_is_chosen_for_its_arrays(cupy: Any) -> None:
    x = cupy.asarray(np.ones((4, 8), np.float32))
    assert family("bernoulli").chosen(x, x).name == "bernoulli_fast"
    assert family("matmul").chosen(x, x.T).name == "matmul_cublas"
    assert family("bernoulli").chosen(x[:, 1:5], x[:, 1:5]).name == "bernoulli_fast"
    odd = cupy.asarray(np.ones((4, 7), np.float32))
    assert family("bernoulli").chosen(odd, odd).name == "bernoulli_one_pass"


def test_an_old_driver_is_told_what_to_do(
    cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minivae_kernels import CannotRunError
    from minivae_kernels.launch import CudaC

    monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: 12080)
    w = cupy.asarray(np.ones(8, np.float32))
    kernel = CudaC("adam", "grid_stride", 256)
    with pytest.raises(CannotRunError, match=r"CUDA up to 12\.8, the toolkit is 13\."):
        kernel[1, 256](w, w, w, w, 8, *[1.0] * 10)


def test_an_array_left_on_the_host_is_refused(cupy: Any) -> None:
    from minivae_kernels.launch import CudaC

    w = np.ones(8, np.float32)
    there = cupy.asarray(w)
    kernel = CudaC("adam", "grid_stride", 256)
    with pytest.raises(TypeError, match="g is not on the device"):
        kernel[1, 256](there, w, there, there, 8, *[1.0] * 10)
