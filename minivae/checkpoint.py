"""The run folder: files that are either whole or not there.

    config.json               every option, versions, the data's digest, threads
    metrics.jsonl             one line an epoch
    last.safetensors          the newest weights and moments of the optimizer, and under
                              the metadata key `minivae` one JSON of the rest
    previous.safetensors      the same, one epoch before
    checkpoint.safetensors    the weights with the best validation objective

Every file is written beside its place, flushed to the disk, and renamed into it. There
is no pickle: reading a run cannot run code. The safetensors files carry the SHA-256 of
what is in them.

They are written in this order, and last.safetensors is what counts. Stopped anywhere,
a run has metrics that can be cut back to it, and where its weights are the best so far,
a checkpoint that can be made of it again. If it is damaged, previous.safetensors takes
its place. While a process trains, it holds the lock of the file .lock, which the system
lets go of when the process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from minivae.backend import Array
from minivae.errors import UserError
from minivae.files import fits, parsed, read_text, write

CONFIG, METRICS = "config.json", "metrics.jsonl"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"
PREVIOUS, LOCK = "previous.safetensors", ".lock"
REQUIRED: dict[str, dict[str, Any]] = {  # of CONFIG: what reading a run needs
    "model": {"model": str, "shape": list, "latent": int},
    "train": {"seed": int},
    "data": {"source": str, "data_dir": (str, NoneType), "sha256": str},
    "versions": {},
}
TERMS = ("recon", "kl", "objective")  # of a line of METRICS, in each part
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


class DamagedError(UserError):
    """A file is not what was once written there."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a run's folder: in this context no other process trains in it.

    Raises `UserError` if one does already, or if nothing can be written there.
    """
    try:
        lock = _lock(folder / LOCK)
    except BlockingIOError as error:
        raise UserError(
            f"another process trains in {folder}: wait for its end, or give another "
            "folder"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(lock)


def _lock(path: Path) -> int:
    """Open a file and lock it; raises `BlockingIOError` if another process has it."""
    import fcntl

    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its last holder has removed it in between


@contextmanager
def begun(folder: Path) -> Iterator[None]:
    """Hold a folder for a new run; raises `UserError` if one is there already."""
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file: give a folder for the run")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    with claimed(folder):
        files = (CONFIG, METRICS, BEST, LAST, PREVIOUS)
        if held := [name for name in files if (folder / name).exists()]:
            raise UserError(
                f"{folder} holds a run already ({held[0]}): give another folder, "
                f"remove it yourself, or go on with it: {how_to_resume(folder)}"
            )
        yield


def has_state(folder: Path) -> bool:
    """Whether a run has a state to go on from."""
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def forget(folder: Path) -> None:
    """Remove what a run wrote that ended before it had a state to go on from."""
    if not has_state(folder):
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
    path: Path,
    tensors: Mapping[str, Array],
    rest: Mapping[str, Any] | None = None,
    keep: Path | None = None,
) -> None:
    """Write arrays as safetensors; equal content gives equal bytes.

    `rest` goes with them as JSON, and so does the SHA-256 of all; see `files.write`.
    """
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    shaped = {n: a.reshape(tensors[n].shape) for n, a in contiguous.items()}
    told = dict(rest or {})
    told["sha256"] = _digest(shaped, told)
    # one key only: several would come in any order
    text = {"minivae": json.dumps(told, sort_keys=True)}
    write(path, save(shaped, metadata=text), keep)


def _digest(tensors: Mapping[str, Array], rest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the arrays, with their names, and of the rest."""
    sha = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        sha.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def read_tensors(path: Path) -> dict[str, Array]:
    """Read arrays from safetensors, which need not be minivae's.

    Raises `UserError` for a file that is none, `DamagedError` for one whose SHA-256
    is not what it says.
    """
    found, metadata = _read(path)
    if "minivae" in metadata:
        _check_digest(path, found, _rest(path, metadata))
    return found


def _rest(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        rest = parsed(metadata["minivae"])
    except (KeyError, ValueError) as error:
        raise DamagedError(
            f"{path} was not written by minivae: its metadata has no JSON 'minivae'"
        ) from error
    return rest if isinstance(rest, dict) else {}


def _check_digest(path: Path, found: Mapping[str, Array], rest: dict[str, Any]) -> None:
    """Take the SHA-256 out of the rest, and hold it against what is there."""
    told = rest.pop("sha256", None)
    if told != _digest(found, rest):
        raise DamagedError(
            f"{path} is damaged: its SHA-256 is not that of what was written"
        )


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

    Raises `DamagedError` for a file that is none or whose content is not what was
    written, and `UserError` for another model's.
    """
    found, metadata = _read(path)
    rest = _rest(path, metadata)
    _check_digest(path, found, rest)
    for name, kind in REST.items():
        held = rest.get(name)
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


class State(NamedTuple):
    """A state that a training goes on from, and why it is not the newest, if so."""

    path: Path
    tensors: dict[str, Array]
    rest: dict[str, Any]
    fault: str = ""


def read_newest(folder: Path, expected: Mapping[str, Array]) -> State | None:
    """Read the newest state of a run that is whole; None if there is no state yet.

    Raises `UserError` where all that there are fail.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    fault = ""
    if last.exists():
        try:
            return State(last, *read_state(last, expected))
        except DamagedError as error:
            if not previous.exists():
                raise
            fault = str(error)
    if not previous.exists():
        return None
    return State(previous, *read_state(previous, expected), fault)


def read_best(
    folder: Path,
    expected: Mapping[str, Array],
    moments: Mapping[str, Array],
    epoch: int,
) -> dict[str, Array]:
    """Read the best weights, which are those after `epoch`.

    If their file is damaged or not there, the previous state may be that of the same
    epoch; if it is not, raises `UserError`.
    """
    try:
        return read_weights(folder / BEST, expected)
    except DamagedError as error:
        previous = folder / PREVIOUS
        if previous.exists():
            tensors, rest = read_state(previous, {**expected, **moments})
            if rest["epoch"] == epoch:
                return {name: tensors[name] for name in expected}
        raise UserError(
            f"{error}, and no other file has the weights after epoch {epoch}, which "
            "are the best: train into a new folder"
        ) from error


def holds(folder: Path, weights: Mapping[str, Array]) -> bool:
    """Whether the best weights on the disk are these, bit for bit."""
    try:
        held = read_weights(folder / BEST, weights)
    except UserError:
        return False
    return all(held[name].tobytes() == weights[name].tobytes() for name in weights)


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
        raise DamagedError(f"there is no {path}") from error
    except (SafetensorError, OSError) as error:
        raise DamagedError(
            f"{path} is no readable safetensors file: {error}"
        ) from error
    except (TypeError, AttributeError) as error:  # a dtype that NumPy does not have
        raise DamagedError(
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
        config = parsed(read_text(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    for group, keys in REQUIRED.items():
        held = config.get(group) if isinstance(config, dict) else None
        if not isinstance(held, dict) or not held.keys() >= keys.keys():
            raise UserError(
                f"{path} is not the configuration of a run: {group!r} is not complete"
            )
        for key, kind in keys.items():
            if not isinstance(held[key], kind):
                told = repr(held[key])[:40]
                raise UserError(f"{path}: {group}.{key} cannot be {told}")
    return config


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's metrics, one an epoch, in their order."""
    path = folder / METRICS
    try:
        lines = [parsed(line) for line in read_text(path).splitlines()]
    except OSError as error:
        raise UserError(f"{folder} is not a run: it has no {METRICS}") from error
    except ValueError as error:
        raise UserError(f"{path} has a line that is not JSON: {error}") from error
    if not lines or not all(_is_of_epoch(n, line) for n, line in enumerate(lines, 1)):
        raise UserError(f"{path} does not hold one object for each epoch")
    return lines


def _is_of_epoch(number: int, line: Any) -> bool:
    """Whether a line is that of an epoch, with the numbers that are shown of it."""
    try:
        means = [line[part][t] for part in ("train", "validation") for t in TERMS]
        numbers = [line["epoch"], *means]
    except (KeyError, TypeError):
        return False
    are_numbers = all(type(number) in (int, float) for number in numbers)
    objective = line["validation"]["objective"]
    return are_numbers and line["epoch"] == number and fits(objective, float)
