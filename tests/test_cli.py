"""The command line: good input makes what it promises, bad input makes one clear line.

Commands run in this process, and a few as real ones. Those that read a run are in
`test_cli_runs.py`.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from command import SMALL, done, minivae, refused

from minivae.cli import COMMANDS
from minivae.gradcheck import Claim
from minivae.train import Options

# Training: what is refused, before anything is written

REFUSED_BY_TRAIN: dict[str, tuple[tuple[object, ...], str]] = {
    "an unknown model": (("--model", "gan"), "no model 'gan'; have ae, dae, vae"),
    "an unknown architecture": (("--arch", "resnet"), "no architecture 'resnet'"),
    "an unknown data set": (("--data", "cifar"), "no data set 'cifar'"),
    "an unknown mode": (("--data", "digits:grey"), "no mode 'grey'"),
    "an unknown likelihood": (("--likelihood", "l1"), "no likelihood 'l1'"),
    "an unknown activation": (("--activation", "gelu"), "no activation 'gelu'"),
    "an unknown optimizer": (("--optimizer", "lion"), "no optimizer 'lion'"),
    "an unknown schedule": (("--schedule", "linear"), "no schedule 'linear'"),
    "an unknown device": (("--device", "tpu"), "no device 'tpu'; have cpu, cuda"),
    "bernoulli on grey": (("--likelihood", "bernoulli"), "digits:dynamic"),
    "an unscaled VAE": (("--likelihood", "squared_error"), "the likelihood gaussian"),
    "a negative beta": (("--model", "betavae", "--beta", -1), "beta must not be neg"),
    "a NaN beta": (("--model", "betavae", "--beta", "nan"), "beta must not be"),
    "a beta for a vae": (("--beta", 2), "beta belongs to --model betavae"),
    "a beta for an ae": (("--model", "ae", "--beta", 1), "beta belongs to"),
    "no latents": (("--latent", 0), "at least one latent, not 0"),
    "no epochs": (("--epochs", 0), "epochs must be at least 1, not 0"),
    "no images in a batch": (("--batch", 0), "batch must be at least 1, not 0"),
    "a batch over the split": (("--batch", 1440), "1439 training images, fewer than"),
    "an empty layer": (("--hidden", 8, 0), "at least one unit each"),
    "a negative rate": (("--lr", -0.1), "learning rate must be positive, not -0.1"),
    "a zero rate": (("--lr", 0), "learning rate must be positive"),
    "a NaN rate": (("--lr", "nan"), "learning rate must be positive, not nan"),
    "an infinite rate": (("--lr", "inf"), "learning rate must be positive, not inf"),
    "a negative decay": (("--weight-decay", -1), "weight decay must not be negative"),
    "a NaN decay": (("--weight-decay", "nan"), "weight decay must not be negative"),
    "total dropout": (("--dropout", 1), "dropout must be in [0, 1), not 1.0"),
    "a negative dropout": (("--dropout", -0.1), "dropout must be in [0, 1)"),
    "a NaN dropout": (("--dropout", "nan"), "dropout must be in [0, 1)"),
    "a negative warm-up": (("--warmup", -1), "warmup must not be negative"),
    "a negative patience": (("--patience", -1), "patience must not be negative"),
    "a negative seed": (("--seed", -1), "seed must be in [0, 2**64), not -1"),
    "no threads": (("--threads", 0), "threads must be at least 1"),
    "no data file": (("--data", "none.npz"), "there is no file none.npz"),
    "no data dir": (("--data", "mnist", "--data-dir", "none"), "not a folder"),
}


@pytest.mark.parametrize("mistake", REFUSED_BY_TRAIN)
def test_train_refuses_and_writes_nothing(mistake: str, tmp_path: Path) -> None:
    options, words = REFUSED_BY_TRAIN[mistake]
    out = tmp_path / "out"
    common = () if "--data" in options else ("--data", "digits")
    refused(words, "train", *common, *options, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--no-such-option", 1), "--no-such-option"),
        (("train", "--epochs", "many"), "--epochs"),
        (("train", "--lr"), "--lr"),
        (("evaluate",), "minivae evaluate"),
        (("trian",), "trian"),
    ],
)
def test_a_mistyped_command_line_is_pointed_out(
    arguments: tuple[object, ...], words: str, tmp_path: Path
) -> None:
    outcome = minivae(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "needs CuPy"), (0, "none was found"), (-1, "needs an NVIDIA GPU and its")],
    ids=["no library", "no GPU", "no driver"],
)
def test_cuda_that_cannot_be_used_says_what_is_missing(
    count: int | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def device_count() -> int:
        if count == -1:
            raise RuntimeError("cudaErrorInsufficientDriver")
        return count or 0

    cupy: Any = None if count is None else ModuleType("cupy")
    if cupy:
        cupy.ndarray, cupy.cuda = type("ndarray", (), {}), ModuleType("cuda")
        cupy.cuda.runtime = ModuleType("runtime")
        cupy.cuda.runtime.getDeviceCount = device_count
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    out = tmp_path / "out"
    refused(words, "train", "--data", "digits", "--device", "cuda", "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("file", "is a file"), ("file/run", "cannot write"), ("n" * 256, "cannot write")],
    ids=["a file", "below a file", "too long"],
)
def test_a_folder_that_cannot_be_written_is_refused(
    name: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    refused(words, "train", "--data", "digits", "--out", tmp_path / name)
    assert file.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refused("cannot write", "train", "--data", "digits", "--out", tmp_path / "out")


def test_a_training_that_diverges_leaves_no_run_behind(tmp_path: Path) -> None:
    wild = ("--optimizer", "sgd", "--lr", 1e30, "--data", "digits")
    refused("try a smaller", "train", *SMALL, *wild, "--out", tmp_path)
    assert not list(tmp_path.iterdir())


# Good input


def test_the_default_folder_is_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        done("train", *SMALL, "--model", "ae", "--data", "digits:threshold")
    made = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert made == ["ae-digits-threshold-001", "ae-digits-threshold-002"]


def test_the_defaults_of_train_are_those_of_fit() -> None:
    signature = inspect.signature(COMMANDS["train"])
    defaults = {name: option.default for name, option in signature.parameters.items()}
    options = vars(Options())
    assert {name: defaults[name] for name in options} == options


def fake_claims(*errors: float) -> Callable[[str | None], Iterator[Claim]]:
    return lambda model: (
        Claim.compare(f"op/fake/{i}", "f' = f", 1.0, 1.0 + error, error, 1e-6)
        for i, error in enumerate(errors)
    )


@pytest.mark.parametrize(
    ("errors", "code"), [((0, 1e-9), 0), ((0, 1e-3), 1), ((0, float("nan")), 1)]
)
def test_gradcheck_exits_with_1_if_a_gradient_is_wrong(
    errors: tuple[float, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minivae.verify.claims", fake_claims(*errors))
    told = minivae("gradcheck")
    assert told.code == code
    assert ("WRONG op/fake/1" in told.out) == bool(code)
    listed = minivae("gradcheck", "--json")
    assert listed.code == code
    assert [claim["passed"] for claim in json.loads(listed.out)] == [True, not code]


@pytest.mark.parametrize("model", ["ae", "vae", "betavae"])
def test_step_shows_its_three_phases_on_a_narrow_terminal(model: str) -> None:
    text = done("step", "--plain", "--model", model)
    places = [text.index(f"\n{phase}  ") for phase in ("FORWARD", "BACKWARD", "UPDATE")]
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= 80


def test_help_names_every_command() -> None:
    text = done("--help")
    for command in COMMANDS:
        assert command in text


# As a process, with output buffered as it is for most


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "minivae", *map(str, arguments)]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    environment.pop("PYTHONUNBUFFERED", None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, env=environment, text=True, **pipes)


def test_a_mistake_ends_the_process_with_one_line(tmp_path: Path) -> None:
    ended = process("train", "--epochs", 0, "--out", tmp_path / "out")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "minivae: epochs must be at least 1, not 0\n"
    assert not (tmp_path / "out").exists()


def test_formulas_are_printed_whatever_the_locale() -> None:
    ended = process("step", "--plain", encoding="utf-8")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Wᵀ" in ended.stdout


@pytest.mark.parametrize("command", ["--help", "step"])
def test_a_reader_who_has_seen_enough_is_no_error(command: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        ended = process(command, stdout=pipe)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        ended = process("step", stdout=full)
    assert ended.returncode == 2
    assert ended.stderr == "minivae: [Errno 28] No space left on device\n"
