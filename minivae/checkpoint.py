"""The run folder: files that are either whole or not there.

    config.json               every option, versions, the data's digest, threads
    metrics.jsonl             one line an epoch
    checkpoint.safetensors    the weights with the best validation objective
    last.safetensors          the weights and the optimizer's moments of the last epoch,
                              and under the metadata key `minivae` one JSON of the rest

Every file is written beside its place, flushed to the disk, and renamed into it. There
is no pickle: reading a run cannot run code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError

CONFIG, METRICS = "config.json", "metrics.jsonl"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"
REQUIRED = {  # of CONFIG: what reading a run needs
    "model": ("model", "shape"),
    "train": ("seed",),
    "data": ("source", "data_dir", "sha256"),
    "versions": (),
}
MOMENT = "optimizer."  # prefix of the moments' names in LAST


def prepare(folder: Path) -> None:
    """Make `folder` ready for a run; raises `UserError` if one is there already."""
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file: give a folder for the run")
        files = (CONFIG, METRICS, BEST, LAST)
        if held := [name for name in files if (folder / name).exists()]:
            raise UserError(
                f"{folder} holds a run already ({held[0]}): give another folder, or "
                "remove it yourself"
            )
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error


def write(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or all of the new."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document, with keys in the order in which they were set."""
    write(path, (json.dumps(value, indent=2) + "\n").encode())


def write_lines(path: Path, values: Sequence[Any]) -> None:
    """Write JSON values, one on each line."""
    lines = (json.dumps(value, sort_keys=True) + "\n" for value in values)
    write(path, "".join(lines).encode())


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
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no {path}") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from error


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
        if not isinstance(held, dict) or not held.keys() >= set(keys):
            raise UserError(
                f"{path} is not the configuration of a run: {group!r} is not complete"
            )
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
    if not lines or not all(isinstance(x, dict) and "validation" in x for x in lines):
        raise UserError(f"{path} does not hold one object for each epoch")
    return lines
