"""The README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import done

from minivae.cli import COMMANDS

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
