"""Good files changed at random: bytes of any, and values of those in JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from minivae.models import MODELS, option_types

TOKENS = [b"[", b"{", b'"', b"null", b"-1", b"1e999", b"NaN", b"9" * 30, b"\xff" * 8]
TOKENS += [b"../", b"<script>", b"(", b")", b"'", b"\0", b"\r\n", b",", b"PK\x05\x06"]
PLACES = st.floats(0, 1, exclude_max=True)
EDITS = st.one_of(
    st.tuples(st.just("cut"), PLACES, st.just(b"")),
    st.tuples(st.just("flip"), PLACES, st.binary(min_size=1, max_size=1)),
    st.tuples(st.just("over"), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("over"), PLACES, st.sampled_from(TOKENS)),
    st.tuples(st.just("insert"), PLACES, st.sampled_from(TOKENS)),
    st.tuples(st.just("twice"), PLACES, st.just(b"")),
)
"""What is done to a good file, and where; most damage is done near its beginning."""


def changed(good: bytes, edits: list[tuple[str, float, bytes]], near: bool) -> bytes:
    content = bytearray(good)
    for what, place, given_bytes in edits:
        reach = min(len(content), 256) if near else len(content)
        i = int(place * reach)
        if what == "cut":
            del content[i:]
        elif what == "flip" and content:
            content[i] ^= given_bytes[0]
        elif what == "over":
            content[i : i + len(given_bytes)] = given_bytes
        elif what == "insert":
            content[i:i] = given_bytes
        else:
            content += content[i:]
    return bytes(content)


NUMBERS = [0, -1, 1, 2, 28, 2**20, 10**9, 2**31, 2**63, 10**30, -(10**30), 10**400]
NUMBERS += [0.5, -0.0, 5e-324, 1e-9, 1e308, -1e308, math.nan, math.inf, -math.inf]
WORDS = ["", "x" * 80, "\0", "\n", "\ud800", "../..", "dense", "conv", "burgess"]
WORDS += ["relu", "elu", "gaussian", "bernoulli", "pixel", "mask:nan", "gaussian:1e308"]
WORDS += [*MODELS, "exact", "adam", "cosine", "cuda"]
PLAIN = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS)


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


VALUES = st.one_of(
    PLAIN,
    st.lists(PLAIN, max_size=4),
    st.lists(st.lists(PLAIN, max_size=3), max_size=3),
    st.dictionaries(st.sampled_from(WORDS), PLAIN, max_size=3),
    PLAIN.map(lambda value: [value] * 300),
    PLAIN.map(lambda value: nested(value, 400)),
)
"""What stands in a JSON file instead of what should."""
KEYS = [*sorted({key for name in MODELS for key in option_types(name)}), "__class__"]
CHANGES = st.one_of(
    st.tuples(st.sampled_from(["set", "add", "twice"]), PLACES, VALUES),
    st.tuples(st.just("remove"), PLACES, st.none()),
)


def respelt(good: bytes, changes: list[tuple[str, float, Any]]) -> bytes:
    """A file of JSON, one document or one a line, with other values in some places."""
    lines = [json.loads(line) for line in documents(good)]
    again = ""
    for what, place, value in changes:
        places: list[tuple[Any, Any]] = []
        collect(lines, places)
        if not places:
            break
        holder, key = places[int(place * len(places))]
        if what == "set":
            holder[key] = value
        elif what == "add" and isinstance(holder, dict):
            holder[KEYS[int(1e6 * place) % len(KEYS)]] = value
        elif what == "twice" and isinstance(key, str):
            again = f"{json.dumps(key)}: {json.dumps(value)}, "
        elif what == "remove":
            del holder[key]
    text = "\n".join(map(json.dumps, lines))
    return text.replace("{", "{" + again, 1).encode()


def documents(content: bytes) -> list[bytes]:
    lines = content.splitlines()
    return lines if lines[0].endswith(b"}") else [content]


def collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    """Every place in a document, as what holds it and its key."""
    if not isinstance(value, (dict, list)) or len(places) > 4000:
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        places.append((value, key))
        if not isinstance(value[key], list) or len(value[key]) < 50:
            collect(value[key], places)


def inputs(in_json: bool) -> st.SearchStrategy[tuple[Callable[..., bytes], Any]]:
    """How to change a file, and the changes: bytes, or half of the time JSON's values.

    The file itself is not drawn: a report of a failure would show all of it.
    """
    edits = st.tuples(st.lists(EDITS, min_size=1, max_size=4), st.booleans())
    by_bytes = st.tuples(st.just(changed), edits)
    if not in_json:
        return by_bytes
    changes = st.tuples(st.lists(CHANGES, min_size=1, max_size=3))
    return by_bytes | st.tuples(st.just(respelt), changes)
