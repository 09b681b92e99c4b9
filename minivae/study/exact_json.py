"""A recording as JSON that gives back every bit, and a reader that believes nothing.

    {"format": "minivae step", "version": 2, "title": ..., ..., "arrays": [...]}

Fields are those of `study.recording`, by name; tuples are lists. What JSON has not:

    an array        {"array": 7}, an index into "arrays", where it stands once:
                    {"dtype": "float64", "shape": [2, 3], "base64": "..."}, the bytes
                    little-endian, the last axis fastest. Base64 of the bytes keeps
                    every bit (NaN, −0, subnormals), in 11 characters for a float64,
                    where a hexadecimal float takes 20 and Python alone reads it
    inf, nan        the text "inf", "-inf" or "nan" where a float is expected
    tuple, slice    in settings of ops: {"tuple": [...]}, {"ellipsis": true},
                    {"slice": [start, stop, step]}, {"dtype": "float64"}

Reading evaluates nothing: each field is checked against its declared type, references
against what they refer to, and the first that does not fit is named.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

import numpy as np

from minivae.backend import Array, is_array, to_numpy
from minivae.errors import UserError
from minivae.files import parsed
from minivae.study.recording import FORMAT, VERSION, Node, Recording, Ref

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = ("bool", *INTEGERS, "float16", "float32", "float64")
MOST_BYTES = 1 << 30  # of a file
SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


# Writing


class _Writer:
    """Turns values into JSON's, and collects arrays, each content once."""

    def __init__(self) -> None:
        self.arrays: list[dict[str, Any]] = []
        self.places: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def plain(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float) and not isinstance(value, np.generic):
            return value if math.isfinite(value) else str(value)
        if is_array(value) or isinstance(value, np.generic):
            return {"array": self._place(to_numpy(value))}
        if is_dataclass(value):
            return {f.name: self.plain(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, dict):
            return {str(key): self.setting(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        raise UserError(f"a recording cannot hold a {type(value).__name__}")

    def setting(self, value: Any) -> Any:
        """Turn an op's setting into JSON; here tuples are not lists."""
        if isinstance(value, tuple):
            return {"tuple": [self.setting(item) for item in value]}
        if isinstance(value, list):
            return [self.setting(item) for item in value]
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return {"slice": [self.setting(part) for part in parts]}
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, (type, np.dtype)):
            return {"dtype": np.dtype(value).name}
        return self.plain(value)

    def _place(self, array: Array) -> int:
        if array.dtype.name not in DTYPES:
            raise UserError(f"a recording cannot hold an array of {array.dtype}")
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        data = little.tobytes()
        key = array.dtype.name, array.shape, data
        if key not in self.places:
            self.places[key] = len(self.arrays)
            text = base64.b64encode(data).decode("ascii")
            shape = list(array.shape)
            self.arrays.append(
                {"dtype": array.dtype.name, "shape": shape, "base64": text}
            )
        return self.places[key]


def dumps(recording: Recording) -> str:
    """Return a recording as JSON text, one line for each top-level field."""
    writer = _Writer()
    whole = writer.plain(recording)
    first = {"format": whole.pop("format"), "version": whole.pop("version")}
    whole = first | whole | {"arrays": writer.arrays}
    lines = (
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for key, value in whole.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


# Reading


def load(path: Path) -> Recording:
    """Read a recording from a file; raises `UserError` for what is none."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} has over {MOST_BYTES >> 30} GiB: no recording we made")
    try:
        return loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no recording: not UTF-8 text") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def loads(text: str) -> Recording:
    """Return the recording that `dumps` made the text of."""
    try:
        whole = parsed(text, parse_constant=_no_constant)
    except ValueError as error:
        raise UserError(f"no recording: not JSON ({error})") from error
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise UserError(f'no recording of a step: "format" is not "{FORMAT}"')
    if whole.get("version") != VERSION:
        raise UserError(
            f"a recording of version {str(whole.get('version'))[:20]}, and this reads "
            f"version {VERSION}: record the step again"
        )
    reader = _Reader(whole.pop("arrays", None))
    try:
        recording: Recording = reader.read(whole, Recording, "")
        _check_references(recording)
    except RecursionError as error:
        raise UserError("no recording: it is nested too deeply") from error
    return recording


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _wrong(where: str, expected: str, found: Any) -> NoReturn:
    shown = repr(found)
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    raise UserError(f"no recording: {where or 'it'} should be {expected}, not {shown}")


class _Reader:
    """Turns JSON into the declared types, or says where it does not fit."""

    def __init__(self, arrays: Any) -> None:
        if not isinstance(arrays, list):
            _wrong("arrays", "a list", arrays)
        self.arrays = [_array(a, f"arrays[{i}]") for i, a in enumerate(arrays)]

    def read(self, value: Any, kind: Any, where: str) -> Any:
        """Return `value` as a `kind`: a type, as the fields declare it."""
        origin, parts = get_origin(kind), get_args(kind)
        if kind is Any:
            return self.setting(value, where)
        if origin is UnionType or str(origin) == "typing.Union":
            return self._union(value, parts, where)
        if origin is tuple and parts[-1:] == (Ellipsis,):
            if not isinstance(value, list):
                _wrong(where, "a list", value)
            return tuple(
                self.read(item, parts[0], f"{where}[{i}]")
                for i, item in enumerate(value)
            )
        if origin is dict:
            if not isinstance(value, dict):
                _wrong(where, "an object", value)
            return {
                key: self.read(item, parts[1], f"{where}.{key[:40]}")
                for key, item in value.items()
            }
        if origin is np.ndarray:
            return self._array(value, where)
        if is_dataclass(kind):
            return self._record(value, kind, where)
        return _scalar(value, kind, where)

    def _union(self, value: Any, parts: tuple[Any, ...], where: str) -> Any:
        if value is None and type(None) in parts:
            return None
        kinds = [part for part in parts if part is not type(None)]
        if len(kinds) > 1:  # an array or a number
            is_object = isinstance(value, dict)
            kinds = [k for k in kinds if (get_origin(k) is np.ndarray) is is_object]
        return self.read(value, kinds[0], where)

    def _record(self, value: Any, kind: Any, where: str) -> Any:
        if not isinstance(value, dict):
            _wrong(where, "an object", value)
        hints, declared = _hints(kind), {f.name: f for f in fields(kind)}
        prefix = f"{where}." if where else ""
        for name, f in declared.items():
            no_default = f.default is MISSING and f.default_factory is MISSING
            if no_default and name not in value:
                raise UserError(f"no recording: {prefix}{name} is missing")
        # Fields that only a later program knows are passed over
        found = {
            name: self.read(value[name], hints[name], prefix + name)
            for name in declared
            if name in value
        }
        return kind(**found)

    def _array(self, value: Any, where: str) -> Array:
        index = value.get("array") if isinstance(value, dict) else None
        if type(index) is not int or not 0 <= index < len(self.arrays):
            _wrong(where, f"one of {len(self.arrays)} arrays", value)
        return self.arrays[index]

    def setting(self, value: Any, where: str) -> Any:
        """Return a setting of an op: a plain value, tuple, slice or array."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [self.setting(item, f"{where}[{i}]") for i, item in enumerate(value)]
        match value:
            case {"array": _}:
                return self._array(value, where)
            case {"tuple": [*items]}:
                return tuple(self.setting(item, where) for item in items)
            case {"slice": [start, stop, step]}:
                return slice(*(self.setting(x, where) for x in (start, stop, step)))
            case {"ellipsis": True}:
                return Ellipsis
            case {"dtype": str(name)} if name in DTYPES:
                return np.dtype(name)
            case dict():
                return {
                    k: self.setting(v, f"{where}.{k[:40]}") for k, v in value.items()
                }
        _wrong(where, "a setting", value)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _scalar(value: Any, kind: Any, where: str) -> Any:
    if kind is float:
        if isinstance(value, str) and value in SPECIAL:
            return SPECIAL[value]
        if type(value) in (int, float) and abs(value) <= 1.8e308:
            return value  # whole numbers stay whole: x ** 2
        _wrong(where, "a number", value)
    names = {str: "text", int: "an integer", bool: "true or false"}
    if type(value) is not kind:
        _wrong(where, names.get(kind, str(kind)), value)
    return value


def _array(value: Any, where: str) -> Array:
    """Decode an array whose size, dtype and bytes agree."""
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "base64": str(text)}:
            pass
        case _:
            _wrong(where, "dtype, shape and base64", value)
    if dtype not in DTYPES:
        _wrong(f"{where}.dtype", f"one of {', '.join(DTYPES)}", dtype)
    if len(shape) > 16 or not all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
        _wrong(f"{where}.shape", "a list of sizes", shape)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        _wrong(f"{where}.base64", "base64", text)
    kind = np.dtype(dtype)
    if len(data) != math.prod(shape) * kind.itemsize:
        size = f"{math.prod(shape) * kind.itemsize} bytes"
        _wrong(f"{where}.base64", size, f"{len(data)} bytes")
    array = np.frombuffer(data, kind.newbyteorder("<")).reshape(shape)
    array = array.astype(kind)  # owns its memory, in the machine's byte order
    array.setflags(write=False)
    return array


# What the parts say of each other


def _check_references(recording: Recording) -> None:
    """Refuse ids that are not unique, and references to what is not there yet."""
    known: dict[str, int] = {}
    for leaf in recording.leaves:
        _add(known, leaf.id, 1)
    for node in recording.nodes:
        _check_node(known, node)
    _check_ref(known, recording.loss, "loss")
    for i, event in enumerate(recording.events):
        where = f"events[{i}]"
        for id, output in ((event.sender, 0), (event.receiver, event.output)):
            _check_ref(known, Ref(id, output), where)
    for row in recording.terms.cells if recording.terms else ():
        for cell in row:
            for id in cell.nodes:
                _check_ref(known, Ref(id), "terms.cells")
            for element in cell.elements:
                _check_ref(known, Ref(element.id, element.output), "terms.cells")
    for update in recording.update.parameters if recording.update else ():
        _check_ref(known, Ref(update.id), "update.parameters")


def _check_node(known: dict[str, int], node: Node) -> None:
    for ref in node.inputs:
        _check_ref(known, ref, node.id)
    if len(node.rules) != len(node.inputs):
        _wrong(f"{node.id}.rules", f"{len(node.inputs)} rules", len(node.rules))
    inside = dict(known)
    for leaf in node.constants:
        _add(inside, leaf.id, 1)
    for step in node.steps:
        _check_node(inside, step)
    _add(known, node.id, len(node.outputs))


def _add(known: dict[str, int], id: str, outputs: int) -> None:
    if id in known:
        raise UserError(f"no recording: the id {id[:40]!r} is there twice")
    if not outputs:
        raise UserError(f"no recording: {id[:40]} has no value")
    known[id] = outputs


def _check_ref(known: dict[str, int], ref: Ref, where: str) -> None:
    if not 0 <= ref.output < known.get(ref.id, 0):
        raise UserError(
            f"no recording: {where} refers to output {ref.output} of {ref.id[:40]!r}, "
            "which is not there (yet)"
        )
