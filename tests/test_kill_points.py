"""SIGKILL at every write: what is left goes on to the bytes of a whole training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_training_killed_at_every_fault_point_ends_with_the_same_bytes(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "kill_points.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{HERE.parent}:{HERE.parent / 'kernels'}"},
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["points"] > 60
