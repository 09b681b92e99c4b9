"""The run folder: files that are either whole or not there.

    config.json               every option, versions, the data's digest, threads
    metrics.jsonl             one line an epoch
    last.safetensors          the newest weights and moments of the optimizer, and under
                              the metadata key `minivae` one JSON of the rest
    checkpoint.safetensors    the weights with the best validation objective

Every file is written beside its place, flushed to the disk, and renamed into it. There
is no pickle: reading a run cannot run code.

They are written in this order, and last.safetensors is what counts. Stopped anywhere,
a run has metrics that can be cut back to it, and where its weights are the best so far,
a checkpoint that can be made of it again.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError
from minivae.files import write

CONFIG, METRICS = "config.json", "metrics.jsonl"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"
REQUIRED: dict[str, dict[str, Any]] = {  # of CONFIG: what reading a run needs
    "model": {"model": str, "shape": list},
    "train": {"seed": int},
    "data": {"source": str, "data_dir": (str, NoneType), "sha256": str},
    "versions": {},
}
MOMENT = "optimizer."  # prefix of the moments' names in LAST
REST: dict[str, type] = {  # what else is in LAST
    "epoch": int,  # how many are finished
    "step": int,  # updates so far
    "latent": int,  # position in the noise of the latents
    "dropout": int,
    "order": dict,  # the shuffling generator before it shuffles the epoch
    "sums": list,  # of recon, kl and objective over the epoch's images so far
}


def how_to_resume(folder: Path) -> str:
    """Return the command that goes on with a run."""
    return f"minivae train --resume {shlex.quote(str(folder))}"


def prepare(folder: Path) -> None:
    """Make `folder` ready for a run; raises `UserError` if one is there already."""
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file: give a folder for the run")
        files = (CONFIG, METRICS, BEST, LAST)
        if held := [name for name in files if (folder / name).exists()]:
            raise UserError(
                f"{folder} holds a run already ({held[0]}): give another folder, "
                f"remove it yourself, or go on with it: {how_to_resume(folder)}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error


def forget(folder: Path) -> None:
    """Remove what a run wrote that ended before it had a state to go on from."""
    if not (folder / LAST).exists():
        for name in (METRICS, CONFIG):
            (folder / name).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document, with keys in the order in which they were set."""
    write(path, (json.dumps(value, indent=2) + "\n").encode())


def write_metrics(folder: Path, metrics: Sequence[Any]) -> None:
    """Write the lines of a run's metrics, one an epoch; without any, no file."""
    if metrics:
        lines = (json.dumps(line, sort_keys=True) + "\n" for line in metrics)
        write(folder / METRICS, "".join(lines).encode())
    else:
        (folder / METRICS).unlink(missing_ok=True)


def write_tensors(
    path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write arrays as safetensors; equal content gives equal bytes."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    shaped = {n: a.reshape(tensors[n].shape) for n, a in contiguous.items()}
    text = None
    if metadata is not None:  # one key only: several would come in any order
        text = {"minivae": json.dumps(metadata, sort_keys=True)}
    write(path, save(shaped, metadata=text))


def read_tensors(path: Path) -> dict[str, Array]:
    """Read arrays from safetensors; raises `UserError` for a file that is none."""
    return _read(path)[0]


def read_weights(path: Path, expected: Mapping[str, Array]) -> dict[str, Array]:
    """Read arrays that can take the place of `expected`.

    Raises `UserError` if a name, a shape or a dtype is another.
    """
    found = read_tensors(path)
    _check_fit(path, found, expected)
    return found


def read_state(
    path: Path, expected: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read the state that a training goes on from: `expected` arrays, and REST.

    Raises `UserError` for a file that is none, or another model's or program's.
    """
    found, metadata = _read(path)
    try:
        rest = json.loads(metadata["minivae"])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} was not written by minivae: its metadata has no JSON 'minivae'"
        ) from error
    for name, kind in REST.items():
        held = rest.get(name) if isinstance(rest, dict) else None
        if type(held) is not kind or (isinstance(held, int) and held < 0):
            raise UserError(f"{path} is not the state of a run: no {name!r} that works")
    if [type(value) for value in rest["sums"]] != 3 * [float]:
        raise UserError(f"{path} is not the state of a run: no 'sums' that work")
    try:
        np.random.PCG64().state = rest["order"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path} is not the state of a run: no 'order' that works: {error}"
        ) from error
    _check_fit(path, found, expected)
    return found, rest


def _read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read the arrays and the metadata of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for name, array in arrays.items():  # other packages may register dtypes
                if array.dtype.isbuiltin != 1:
                    raise TypeError(f"{name} is {array.dtype}")
            return arrays, file.metadata() or {}
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from error
    except (TypeError, AttributeError) as error:  # a dtype that NumPy does not have
        raise UserError(
            f"{path} is no safetensors file that NumPy can hold: {error}"
        ) from error


def _check_fit(
    path: Path, found: Mapping[str, Array], expected: Mapping[str, Array]
) -> None:
    if differing := sorted(found.keys() ^ expected.keys()):
        more = ", ..." if len(differing) > 4 else ""
        raise UserError(
            f"{path} is another model's: parameters do not match: "
            f"{', '.join(differing[:4])}{more}"
        )
    for name, array in expected.items():
        for what in ("shape", "dtype"):
            here, there = getattr(array, what), getattr(found[name], what)
            if here != there:
                raise UserError(
                    f"{path} is another model's: {name} is {here} here, {there} there"
                )


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's configuration; raises `UserError` if `folder` is not a run."""
    path = folder / CONFIG
    if not folder.is_dir():
        raise UserError(f"there is no run folder {folder}")
    if not path.is_file():
        raise UserError(f"{folder} is not a run: it has no {CONFIG}")
    try:
        config = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    for group, keys in REQUIRED.items():
        held = config.get(group) if isinstance(config, dict) else None
        if not isinstance(held, dict) or not held.keys() >= keys.keys():
            raise UserError(
                f"{path} is not the configuration of a run: {group!r} is not complete"
            )
        for key, kind in keys.items():
            if not isinstance(held[key], kind):
                raise UserError(f"{path}: {group}.{key} cannot be {held[key]!r}")
    return config


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's metrics, one an epoch."""
    path = folder / METRICS
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a run: it has no {METRICS}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} has a line that is not JSON: {error}") from error
    if not lines or not all(map(_is_of_an_epoch, lines)):
        raise UserError(f"{path} does not hold one object for each epoch")
    return lines


def _is_of_an_epoch(line: Any) -> bool:
    try:
        return math.isfinite(line["validation"]["objective"] + line["epoch"])
    except (KeyError, TypeError):
        return False
