"""The README says what is so."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

import pytest
from command import done, minivae

from minivae.cli import COMMANDS
from minivae.tensor import Op

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str = "") -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def test_the_step_shown_is_the_step_printed() -> None:
    (shown,) = [block for block in blocks() if "μ̄ = L̄ μ" in block]
    printed = done("step", "--plain")
    for part in shown.split("...\n"):
        assert part in printed


def test_the_bug_shown_is_the_bug_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shown,) = [block for block in blocks() if "--find-bug" in block]
    rule = "@cube.vjp('x', 'x̄ = 3 ȳ x²')\ndef cube_x(g, y, x):\n    return 2 * g * x**2"
    text = (
        "import numpy as np\nimport minivae as mv\nfrom minivae.tensor import op\n\n\n"
        "@op('y = x³')\ndef cube(x):\n    return x**3\n\n" + rule + "\n\n\n"
        "weight = mv.Parameter(np.array([[0.3, -0.5], [1.0, 2.0]]), 'weight')\n"
        "make_model = lambda: (lambda x: mv.ops.mean(cube(x @ weight)), X)\n"
        "X = np.array([[1.0, -1.0], [0.5, 0.2]])\n"
    )
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    try:
        outcome = minivae("step", "--model", "mine:make_model", "--find-bug")
    finally:
        Op.registry.pop("cube", None)
        sys.modules.pop("mine", None)
    assert outcome.code == 1
    assert shown.split("\n", 1)[1].replace("mine.py:11", "mine.py:10") == outcome.out


def test_the_comparison_shown_is_the_one_printed(tmp_path: Path) -> None:
    (shown,) = [block for block in blocks() if "--diff" in block]
    with contextlib.chdir(tmp_path):
        for beta in (1, 4):
            model = ("--model", "betavae", "--beta", beta)
            done("step", *model, "--json", f"b{beta}.json")
        outcome = minivae("step", "--diff", "b1.json", "b4.json")
    assert outcome.code == 1
    for part in shown.split("\n", 1)[1].split("...\n"):
        assert part in outcome.out


def test_the_ten_lines_are_ten_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = [block for block in blocks("python") if "import minivae as mv" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    exec(code.replace("epochs=5", "epochs=1, quiet=True"), {})
    assert re.match(
        r"-ELBO \d+\.\d, of which KL \d+\.\d nats per image", capsys.readouterr().out
    )


def test_every_command_has_its_row() -> None:
    named = set(re.findall(r"^\| `minivae (\w+)", README, re.MULTILINE))
    assert named == set(COMMANDS)


def test_files_it_points_to_are_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_the_op_it_shows_is_the_op() -> None:
    (shown,) = [block for block in blocks("python") if "tanh" in block]
    source = (ROOT / "minivae/ops/activations.py").read_text(encoding="utf-8")
    assert shown.strip() in source
