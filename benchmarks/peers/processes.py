"""Processes that have one library each loaded, and how to ask them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from minivae.errors import UserError

ROOT = Path(__file__).parents[2]
OURS = "minivae"
MODULES = {
    OURS: "ours",
    "torch": "with_torch",
    "torch.compile": "with_compile",
    "jax": "with_jax",
}
"""What is compared, in the order of turns, and the modules that hold the cases."""


def missing() -> dict[str, str]:
    """Return what of the others cannot be imported here, and why."""
    return {
        name: "not installed: pip install 'minivae[peers]'"
        for name in MODULES
        if find_spec(name.partition(".")[0]) is None
    }


class Worker:
    """A process that has one library loaded, and how to ask it."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.process, self.errors = process, errors
        self.described: str = self.answer()

    def ask(self, *question: Any) -> Any:
        """Send a question and wait for its answer."""
        assert self.process.stdin is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> Any:
        """Return the next answer; raises `UserError` if the process has ended."""
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        told = self.errors.read().strip().splitlines() or ["it says nothing"]
        raise UserError(f"a process to be compared with failed: {told[-1]}")


@contextmanager
def working(impl: str, what: str, given: Path) -> Iterator[Worker]:
    """Start a worker for `what`, "step" or "kernels"; it ends with the context."""
    command = [sys.executable, "-m", "benchmarks.peers.worker", MODULES[impl], what]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            [*command, str(given)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Worker(process, errors)
        finally:
            process.kill()
