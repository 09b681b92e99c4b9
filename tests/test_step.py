"""`minivae step`: keys and lines, the hunt for a wrong rule, and two steps compared."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import pytest
from command import done, minivae, refused
from test_study import EPS, X, tiny

from minivae import ops, study
from minivae.models import MODELS
from minivae.ops.losses import bce_unfused
from minivae.page.step import step_page
from minivae.study import Recording, compare, record
from minivae.study.walk import Walk
from minivae.tensor import Op, Parameter, Tensor

LEARNER = """
import numpy as np
import minivae as mv
from minivae import ops
from minivae.tensor import op


@op("y = x³")
def cube_{name}(x):
    return x**3


@cube_{name}.vjp("x", "x̄ = 3 ȳ x²")
def cube_x(g, y, x):
    return {rule}


def make_model():
    weight = mv.Parameter(np.array([[0.3, -0.5], [1.0, 2.0]]), "weight")

    def model(x):
        return ops.mean(ops.tanh(cube_{name}(ops.matmul(x, weight))))

    return model, np.array([[1.0, -1.0], [0.5, 0.2]])
"""


@pytest.fixture
def learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module of a learner's and say how the command line names it."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, rule: str) -> str:
        text = LEARNER.replace("{name}", name).replace("{rule}", rule)
        (tmp_path / f"mine_{name}.py").write_text(text, encoding="utf-8")
        return f"mine_{name}:make_model"

    yield write
    for name in [n for n in Op.registry if n.startswith("cube_")]:
        del Op.registry[name]
        sys.modules.pop(f"mine_{name[5:]}", None)


def lines(*commands: str, options: tuple[str, ...] = ()) -> str:
    """Run the command with lines on its stdin."""
    before, sys.stdin = sys.stdin, io.StringIO("\n".join(commands) + "\n")
    try:
        return done("step", *options)
    finally:
        sys.stdin = before


@pytest.fixture(scope="module")
def step() -> Recording:
    return record(tiny(), X, EPS)


# The walk


def test_lines_of_a_pipe_move_through_the_step() -> None:
    text = lines("f", "n", "p", "b", "g mu", "e", "c", "q", "n")
    titles = re.findall(r"^(\w+ \d+ of \d+)", text, re.MULTILINE)
    assert titles == [
        *("forward 1 of 13", "forward 2 of 13", "forward 1 of 13"),
        *("backward 1 of 25", "forward 3 of 13"),
    ]
    assert "THE LOSS BY IMAGE  −ELBO = recon + KL, nats" in text
    assert "checks of mu" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", MODELS)
def test_the_whole_walk_is_seen_one_stop_at_a_time(name: str) -> None:
    walk = Walk(record(tiny(name), X, checks="local"))
    seen = [walk.here()]
    while not walk.done:
        seen.append(walk.obey("n"))
    assert len(seen) == sum(walk.sizes.values())
    assert walk.obey("n") == ["this is the last step"]
    text = "\n".join(line for lines in seen for line in lines)
    assert max(map(len, text.splitlines())) <= 80
    for node in walk.recording.nodes:
        assert f"{node.name} = {node.op}(" in text
    assert "Loss " in text
    assert "predicted" in text


def test_every_key_answers(step: Recording) -> None:
    walk = Walk(step)
    assert walk.obey("p") == ["this is the start"]
    assert walk.obey("g z")[0].startswith("forward 5 of 13, sampling")
    opened = "\n".join(walk.obey("o"))
    assert "z = reparameterize, opened" in opened
    assert "exp = exp(mul)" in opened
    assert walk.obey("u")[0].startswith("update 1 of 10")
    assert walk.obey("g decoder.0.weight")[0].startswith("update 7 of 10")
    assert walk.obey("g eps")[0] == "eps (3, 2), noise"
    assert "is it encoder.1.weight, encoder.1.bias" in "\n".join(walk.obey("g encoder"))
    assert walk.obey("x") == ["no command 'x'; ? lists them"]
    for key in "npfbgecq":
        assert any(re.search(rf"\b{key}  ", line) for line in walk.obey("?"))


def test_the_rule_and_its_line_stand_by_the_contribution(step: Recording) -> None:
    walk = Walk(step)
    walk.obey("b")
    while "z → logvar" not in "\n".join(shown := walk.obey("n")):
        pass
    text = "\n".join(shown)
    assert "ℓ̄ = ½ z̄ ε e^(ℓ/2)" in text
    assert "return 0.5 * g * noise * xp_of(logvar).exp(0.5 * logvar)" in text
    assert "contribution 2 to logvar, which is now" in text
    assert "its rule: right, relative error" in text
    assert "the gradient of the loss: right, relative error" in text


def test_plain_writes_the_whole_walk() -> None:
    text = done("step", "--plain", "--arch", "conv")
    for title in ("FORWARD", "THE LOSS BY IMAGE", "BACKWARD", "UPDATE", "CHECKS"):
        assert f"\n{title}  " in text
    assert "\x1b" not in text


def _pty(keys: bytes, **environment: str) -> str:
    """Run the command on a terminal of 80 x 24 and type."""
    import pty

    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "minivae", "step"],
        stdin=child,
        stdout=child,
        env={**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
        | environment,
    )
    os.close(child)
    shown = b""
    for key in keys:
        deadline = time.monotonic() + 60
        while b"q quit" not in shown[-200:] and time.monotonic() < deadline:
            shown += os.read(parent, 65536)
        os.write(parent, bytes([key]))
        shown += b"\n"
        time.sleep(0.05)
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert process.wait(60) == 0
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
def test_single_keys_move_on_a_terminal() -> None:
    screens = _pty(b"fbq").split("\x1b[H\x1b[2J")[1:]
    assert len(screens) == 3
    assert "13 ops forward" in screens[0]
    assert screens[1].startswith("forward 1 of 13")
    assert screens[2].startswith("backward 1 of 25")
    for screen in screens:
        assert len(screen.splitlines()) <= 24
        assert max(map(len, screen.splitlines())) <= 80


# Finding a wrong rule


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_found_in_a_model_that_is_right(name: str) -> None:
    text = done("step", "--model", name, "--find-bug")
    assert re.match(r"\d+ rules checked, 0 wrong\n", text)


def test_a_wrong_rule_is_named_and_exits_with_1() -> None:
    op = Op.registry["reparameterize"]
    wrong = dict(mutations.wrong_rules(op, "logvar"))["times 2"]
    with mutations.planted(op, "logvar", wrong):
        outcome = minivae("step", "--find-bug")
    assert outcome.code == 1
    assert outcome.out.startswith("WRONG z = reparameterize, z = μ + e^(ℓ/2) ε\n")
    assert "rule for logvar: ℓ̄ = ½ z̄ ε e^(ℓ/2)" in outcome.out


def test_a_learners_wrong_rule_is_found(learner: Any) -> None:
    right = learner("a", "3 * g * x**2")
    assert "0 wrong" in done("step", "--model", right, "--find-bug")
    outcome = minivae("step", "--model", learner("b", "2 * g * x**2"), "--find-bug")
    assert outcome.code == 1
    assert "WRONG cube_b = cube_b, y = x³" in outcome.out
    assert "mine_b.py:13" in outcome.out
    outcome = minivae("step", "--model", learner("c", "g.no_such"), "--find-bug")
    assert outcome.code == 1
    assert "the rule raises AttributeError" in outcome.out


# Comparing


def test_diff_finds_a_planted_change(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.json", tmp_path / "wrong.json"
    done("step", "--json", right)
    assert "agree within 1e-09" in done("step", "--diff", right, right)
    op = Op.registry["tanh"]
    with mutations.planted(
        op, "x", dict(mutations.wrong_rules(op, "x"))["times 1.001"]
    ):
        done("step", "--json", wrong)
    outcome = minivae("step", "--diff", right, wrong)
    assert outcome.code == 1
    assert "first difference: rule of decoder.1 for decoder.0[" in outcome.out
    assert "0 values of 13 nodes differ" in outcome.out


def test_diff_of_two_betas_starts_where_beta_comes_in() -> None:
    one, four = (
        record(tiny("betavae", beta=beta), X, EPS, checks="none") for beta in (1.0, 4.0)
    )
    found = compare(one, four)
    assert [d.name for d in found.inputs] == ["beta"]
    assert found.first is not None
    assert (found.first.name, found.first.what) == ("beta_kl", "value")
    assert {d.name for d in found.values} == {"beta_kl", "loss"}
    assert found.gradients[0].name.startswith("beta_kl for kl")


def test_diff_of_fused_and_unfused_agrees_and_says_what_is_only_in_one() -> None:
    logits = Parameter(np.array([[0.3, -1.2], [2.0, 0.1]]), "logits")
    target = np.array([[1.0, 0.0], [0.0, 1.0]])

    def fused(x: Any) -> Tensor:
        return 1.0 * ops.bernoulli_nll(logits, x)

    def unfused(x: Any) -> Tensor:
        return 1.0 * bce_unfused(logits, x)

    found = compare(record(fused, target), record(unfused, target))
    assert found.first is None
    assert found.only_a == ("bernoulli_nll",)
    assert "softplus" in found.only_b
    assert found.matched == 1


def test_diff_of_one_changed_weight_names_the_element() -> None:
    model = tiny()
    before = record(model, X, EPS, checks="none")
    weight = model.named_parameters()["mu.weight"].data.copy()
    weight[1, 2] += 0.25
    model.named_parameters()["mu.weight"].assign(weight)
    found = compare(before, record(model, X, EPS, checks="none"))
    (changed,) = found.inputs
    assert (changed.name, changed.index) == ("mu.weight", (1, 2))
    assert abs(changed.b - changed.a - 0.25) <= 1e-12
    assert found.first is not None
    assert found.first.name == "mu"


@pytest.mark.needs("ptx")
def test_diff_of_cpu_and_ptx_agrees_in_float32() -> None:
    from minivae.backend import running_on

    model = tiny().to(dtype=np.float32)
    cpu = record(model, X, EPS, checks="none")
    with running_on("ptx"):
        ptx = record(model, X, EPS, checks="local")
    assert ptx.settings.backend == "numpy, ptx"
    assert ptx.first_fault() is None
    assert set(cpu.nodes[0].rungs) != set(ptx.nodes[0].rungs)
    found = compare(cpu, ptx)
    assert found.first is None, found.first
    assert found.matched == len(cpu.nodes)


# What a user may get wrong


def test_json_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    assert done("step", "--json", path) == f"{path}\n"
    assert json.loads(path.read_text())["format"] == "minivae step"
    assert done("step", "--read", path, "--plain") == done("step", "--plain")


def test_mistakes_are_one_line(tmp_path: Path, learner: Any) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"format": "minivae step", "version": 9}')
    refused("a recording of version 9", "step", "--read", other)
    refused("no recording", "step", "--diff", Path(__file__), other)
    refused("no model 'vea'", "step", "--model", "vea")
    refused("beta belongs to", "step", "--beta", 2)
    refused("no tiny model of arch", "step", "--arch", "burgess")
    refused("cannot import nowhere", "step", "--model", "nowhere:make")
    refused("has no function make", "step", "--model", "json:make")
    refused("must return two things", "step", "--model", "os:getcwd")
    refused("--tolerance is for --diff", "step", "--tolerance", 1)
    refused("--rung is for --kernel", "step", "--rung", "bernoulli_numba")
    refused("there is no file", "step", "--read", tmp_path / "none.json")
    assert not list(tmp_path.glob("*.part"))


# Notebook


def test_a_tensor_is_a_table_for_a_notebook() -> None:
    x = Tensor(
        np.array([[1.0, -2.5], [np.nan, 4.0]]), True, "<script>alert(1)</script>"
    )
    html = x._repr_html_()  # type: ignore[attr-defined]
    assert html.count("<table>") == 1
    assert '<th scope="col">1</th>' in html
    assert '<th scope="row">0</th><td>1</td><td>-2.5</td>' in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    ops.sum(x * 2.0).backward()
    assert x._repr_html_().count("<caption>") == 2
    large: Any = Tensor(np.arange(1000.0).reshape(10, 100))
    assert "920 of 1000 numbers left out" in large._repr_html_()
    for shape in ((), (0,), (3,), (0, 4), (2, 3, 4)):
        empty: Any = Tensor(np.zeros(shape))
        assert "<tbody>" in empty._repr_html_()


def test_a_recording_shows_its_page_in_a_frame(step: Recording) -> None:
    shown = step.show()
    assert repr(shown) == study.as_text(step)
    html = shown._repr_html_()
    assert html.startswith('<iframe srcdoc="')
    assert html.count("<") == 2  # the page itself is escaped, whole
    assert unescape(html.split('"')[1]) == step_page(step)


def test_the_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "step.html"
    assert done("step", "--html", page) == f"{page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    refused("cannot write", "step", "--html", tmp_path / "nowhere" / "step.html")
