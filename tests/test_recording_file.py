"""A recording's file gives back every bit, and anything else is refused in one line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import nested
from test_study import CONV, EPS, X, tiny

from minivae import UserError, ops
from minivae.models import MODELS
from minivae.random import Noise
from minivae.study import Recording, record
from minivae.study.recording import VERSION, Node
from minivae.tensor import Parameter, Tensor


@cache
def recording() -> Recording:
    return record(tiny("betavae", beta=4.0), X, EPS)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{}, CONV], ids=["dense", "conv"])
def test_reading_gives_back_what_was_written(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model = tiny(name, **options)
    x = (Noise(1).uniform((2, *model.shape)) < 0.5).astype(np.float64)
    step = record(model, x, checks="local")
    step.save(tmp_path / "step.json")
    again = Recording.load(tmp_path / "step.json")
    assert again.to_json() == step.to_json()
    assert list(tmp_path.iterdir()) == [tmp_path / "step.json"]
    for one, other in zip(step.nodes, again.nodes, strict=True):
        assert (one.name, one.inputs, one.params) == (
            *(other.name, other.inputs, other.params),
        )


def test_every_bit_comes_back() -> None:
    odd = np.array([np.nan, -0.0, np.inf, 5e-324, 0.1, 1 / 3])

    def model(batch: Any) -> Tensor:
        w = Parameter(odd, "w")
        rows = ops.getitem(ops.stack(w, w), index=(slice(None, None, -1), ..., [0, 2]))
        return ops.sum(ops.pow(rows, 2) * np.float32(0.5))

    step = record(model, np.zeros(1, np.float32), checks="none")
    again = Recording.loads(step.to_json())
    value = np.asarray(again.named("w").value)
    assert value.tobytes() == odd.tobytes()
    node = again.named("getitem")
    assert isinstance(node, Node)
    assert node.params["index"] == (slice(None, None, -1), Ellipsis, [0, 2])
    assert isinstance(again.named("2").value, int)
    assert np.float64(again.replay()).tobytes() == np.float64(step.replay()).tobytes()


def test_an_array_stands_in_the_file_once() -> None:
    whole = json.loads(recording().to_json())
    texts = [(a["dtype"], str(a["shape"]), a["base64"]) for a in whole["arrays"]]
    assert len(set(texts)) == len(texts)


def test_fields_of_a_later_program_are_passed_over() -> None:
    whole = json.loads(recording().to_json())
    whole["mood"] = whole["nodes"][0]["mood"] = "good"
    assert Recording.loads(json.dumps(whole)).to_json() == recording().to_json()


# What is refused

Change = Callable[[dict[str, Any]], Any]
REFUSED: dict[str, tuple[Change, str]] = {
    "another program's": (lambda w: w.update(format="trace"), '"format" is not'),
    "version 1": (lambda w: w.update(version=1), "a recording of version 1, and this"),
    "version 3": (lambda w: w.update(version=VERSION + 1), "reads version 2"),
    "a field less": (lambda w: w["nodes"][2].pop("op"), "nodes[2].op is missing"),
    "a number for text": (
        lambda w: w["nodes"][0].update(name=5),
        "nodes[0].name should be text, not 5",
    ),
    "text for a list": (lambda w: w.update(events="none"), "events should be a list"),
    "a number for an object": (
        lambda w: w.update(settings=3),
        "settings should be an object, not 3",
    ),
    "true for an integer": (
        lambda w: w["nodes"][0]["source"].update(line=True),
        "nodes[0].source.line should be an integer, not True",
    ),
    "a node from the future": (
        lambda w: w["nodes"][0]["inputs"][0].update(id="n5"),
        "n0 refers to output 0 of 'n5', which is not there (yet)",
    ),
    "an output that is not": (
        lambda w: w["nodes"][1]["inputs"][0].update(output=3),
        "n1 refers to output 3 of 'n0'",
    ),
    "an id twice": (lambda w: w["nodes"][1].update(id="n0"), "'n0' is there twice"),
    "an event of nobody": (
        lambda w: w["events"][0].update(sender="n99"),
        "events[0] refers to output 0 of 'n99'",
    ),
    "an array that is not": (
        lambda w: w["leaves"][0].update(value={"array": 9999}),
        "leaves[0].value should be one of",
    ),
    "code for an array": (
        lambda w: w["leaves"][0].update(value={"eval": "exit()"}),
        "leaves[0].value should be one of",
    ),
    "a dtype of objects": (
        lambda w: w["arrays"][0].update(dtype="object"),
        "arrays[0].dtype should be one of bool",
    ),
    "a huge shape": (
        lambda w: w["arrays"][0].update(shape=[1 << 30, 1 << 30]),
        "arrays[0].base64 should be 9223372036854775808 bytes",
    ),
    "a negative shape": (
        lambda w: w["arrays"][0].update(shape=[-1]),
        "arrays[0].shape should be a list of sizes",
    ),
    "not base64": (
        lambda w: w["arrays"][0].update(base64="!?"),
        "arrays[0].base64 should be base64",
    ),
    "no arrays": (lambda w: w.pop("arrays"), "arrays should be a list"),
    "a rule too many": (
        lambda w: w["nodes"][0]["rules"].append(None),
        "n0.rules should be 3 rules",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_named(name: str, tmp_path: Path) -> None:
    change, words = REFUSED[name]
    whole = copy.deepcopy(json.loads(recording().to_json()))
    change(whole)
    path = tmp_path / "step.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError) as refused:
        Recording.load(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ")
    assert words in text
    assert "\n" not in text
    assert len(text) < 300 + len(str(path))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, '{"format": NaN}', "9" * 5000, "\x00"],
    ids=["empty", "cut", "list", "null", "deep", "NaN", "digits", "zero"],
)
def test_what_is_no_json_of_ours_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no recording"):
        Recording.loads(text)


@pytest.mark.parametrize("depth", [600, 900])
def test_settings_nested_too_deeply_are_refused(depth: int) -> None:
    whole = json.loads(recording().to_json())
    whole["nodes"][0]["params"] = {"axis": nested(1, depth)}
    with pytest.raises(UserError, match="no recording"):
        Recording.loads(json.dumps(whole))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.json"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8 text"):
        Recording.load(path)


def test_a_replay_without_its_op_says_which_is_missing() -> None:
    whole = json.loads(recording().to_json())
    whole["nodes"][1]["op"] = "swish"
    step = Recording.loads(json.dumps(whole))
    with pytest.raises(UserError, match="no op is called 'swish' here"):
        step.replay()
