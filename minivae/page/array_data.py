"""Arrays as a page carries them: small ones whole and exact, large ones in extracts.

    whole     {"shape", "type", "data"}: base64 of the elements, little-endian
    extract   {"shape", "type", "stats", "picture", "corners"}: of 16 MiB of weights a
              page keeps a picture of 64 x 96 of them and three corners of 8 x 8

The JSON of a recording has them all whole.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from minivae.backend import Array

WHOLE = 1024  # cells of an array that a page carries whole
PICTURE = (64, 96)  # rows and columns of a picture, at most
SHEET = (64, 224)  # of a picture that is images beside one another
ACROSS = 8  # images in a row, where they have one channel
CORNER = 8


class Arrays:
    """The arrays of a page, each once, however often it is used."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.places: dict[tuple[Any, ...], int] = {}

    def add(self, value: Any) -> Any:
        """Return how a page refers to a value: {"array": n}, or the number itself."""
        if not hasattr(value, "shape"):
            return number(float(value))
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.places:
            self.places[key] = len(self.entries)
            self.entries.append(_entry(array))
        return {"array": self.places[key]}


def number(value: float) -> float | str:
    """Return a number as JSON has it; what JSON lacks as text."""
    return value if math.isfinite(value) else str(value)


def statistics(array: Array) -> list[float | str | int]:
    """Return least, largest and mean of the finite elements, and how many are not."""
    flat = np.asarray(array, np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        return ["nan", "nan", "nan", int(flat.size)]
    return [
        float(finite.min()),
        float(finite.max()),
        float(finite.mean()),
        int(flat.size - finite.size),
    ]


def _entry(array: Array) -> dict[str, Any]:
    numbers = array if array.dtype.kind == "f" else array.astype(np.float64)
    entry: dict[str, Any] = {
        "shape": list(array.shape),
        "type": "f4" if numbers.dtype.itemsize == 4 else "f8",
    }
    if array.size <= WHOLE:
        return {**entry, "data": _text(numbers)}
    return {
        **entry,
        "stats": statistics(array),
        "picture": _picture(tiles(numbers), SHEET if array.ndim == 4 else PICTURE),
        "corners": _corners(flat(numbers)),
    }


def _text(numbers: Array) -> str:
    """Return the elements in base64, little-endian, in their own precision."""
    kind = "<f4" if numbers.dtype.itemsize == 4 else "<f8"
    data = np.ascontiguousarray(numbers).astype(kind, copy=False).tobytes()
    return base64.b64encode(data).decode("ascii")


def flat(array: Array) -> Array:
    """Return an array as rows and columns: the last axis, and all others before it."""
    return array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)


def tiles(array: Array) -> Array:
    """Return images (N, C, H, W) as a sheet, a row for each image's channels.

    Images of one channel stand beside one another; places left over are 0. An array
    of other dimensions is laid flat.
    """
    if array.ndim != 4:
        return flat(array)
    N, C, H, W = array.shape
    across = C if C > 1 else min(N, ACROSS)
    rows = -(-N * C // across)
    sheet = np.zeros((rows * across, H, W), array.dtype)
    sheet[: N * C] = array.reshape(N * C, H, W)
    stacked = sheet.reshape(rows, across, H, W).transpose(0, 2, 1, 3)
    return stacked.reshape(rows * H, across * W)


def _picture(table: Array, most: tuple[int, int]) -> dict[str, Any]:
    """Return every so many-th element, by rows and columns, in 255 levels."""
    rows, columns = (min(n, m) for n, m in zip(table.shape, most, strict=True))
    taken = np.ix_(
        np.arange(rows) * table.shape[0] // rows,
        np.arange(columns) * table.shape[1] // columns,
    )
    levels = table[taken].astype(np.float64)
    levels = np.nan_to_num(levels, nan=0.0, posinf=0.0, neginf=0.0)
    top = float(np.abs(levels).max()) or 1.0
    steps = np.rint(levels / top * 127).astype(np.int8)
    data = base64.b64encode(steps.tobytes()).decode("ascii")
    return {"rows": rows, "columns": columns, "most": top, "data": data}


def _corners(table: Array) -> list[dict[str, Any]]:
    """The first and the last 8 x 8 elements, and those around the furthest from 0."""
    rows, columns = table.shape
    finite = np.abs(np.nan_to_num(table, nan=np.inf))
    peak = np.unravel_index(int(finite.argmax()), table.shape)
    starts = {
        "first": (0, 0),
        "last": (rows - CORNER, columns - CORNER),
        "largest": (int(peak[0]) - CORNER // 2, int(peak[1]) - CORNER // 2),
    }
    corners = []
    for name, start in starts.items():
        row = max(0, min(start[0], rows - CORNER))
        column = max(0, min(start[1], columns - CORNER))
        part = table[row : row + CORNER, column : column + CORNER]
        corner = {"name": name, "row": row, "column": column, "data": _text(part)}
        corners.append({**corner, "columns": part.shape[1]})
    return corners
