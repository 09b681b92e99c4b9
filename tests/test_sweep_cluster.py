"""A sweep on a Dask cluster of this machine: workers and the scheduler die."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import refused
from sweep_work import children
from test_sweep import SHORT, TINY, check_forty, command, killed_every

pytestmark = pytest.mark.needs("cluster")

HERE = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def dask(folder: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dask scheduler` or `dask worker` in a folder of its own."""
    folder.mkdir(exist_ok=True)
    log = (folder / f"{arguments[0]}-{time.monotonic_ns()}.log").open("wb")
    paths = f"{HERE}{os.pathsep}{HERE / 'kernels'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *map(str, arguments)],
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def scheduler(folder: Path, port: int) -> object:
    quiet = ("--no-dashboard", "--host", "127.0.0.1", "--port", port)
    return dask(folder, "scheduler", *quiet)


def two_workers(folder: Path, address: str) -> object:
    options = ("--nworkers", 2, "--nthreads", 1, "--no-dashboard")
    return dask(folder, "worker", address, *options)


def swept(address: str, out: Path, *options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("sweep", "--scheduler", address, *options, "--out", out),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_no_scheduler_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minivae import workers

    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    grid = ("--grid", "seed=0,1", *SHORT, "--out", tmp_path / "sweep")
    refused("no Dask scheduler answers", "sweep", "--scheduler", address, *grid)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_scheduler_dies_and_the_same_command_goes_on(tmp_path: Path) -> None:
    port, out, logs = free_port(), tmp_path / "sweep", tmp_path / "logs"
    address, grid = f"tcp://127.0.0.1:{port}", ("--grid", "seed=0..7")
    options = (*grid, *TINY, "--epochs", 30)
    with scheduler(logs, port) as first, two_workers(logs, address):
        process = swept(address, out, *options)
        while len(list(out.glob("*/ledger.json"))) < 2 and process.poll() is None:
            time.sleep(0.1)
        first.send_signal(signal.SIGKILL)
        told = process.communicate(timeout=300)[1]
    assert process.returncode == 2, told
    assert told.splitlines()[-1].startswith(f"minivae: the scheduler at {address} went")
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/ledger.json")}
    assert 2 <= len(before) < 8
    with scheduler(logs, port), two_workers(logs, address):
        process = swept(address, out, *options)
        told = process.communicate(timeout=300)[1]
    assert process.returncode == 0, told
    assert re.match(rf"8 runs, {8 - len(before)} of them", told)
    assert len(list(out.glob("*/ledger.json"))) == 8
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_of_two_threads_is_refused(tmp_path: Path) -> None:
    port, out, logs = free_port(), tmp_path / "sweep", tmp_path / "logs"
    address = f"tcp://127.0.0.1:{port}"
    one = ("worker", address, "--nworkers", 1, "--nthreads", 2, "--no-dashboard")
    with scheduler(logs, port), dask(logs, *one):
        process = swept(address, out, "--grid", "seed=0", *SHORT)
        told = process.communicate(timeout=200)[1]
    assert process.returncode == 1
    assert "--nthreads 1" in told


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_forty_runs_of_two_workers_one_killed_every_few_seconds(tmp_path: Path) -> None:
    port, out, logs = free_port(), tmp_path / "sweep", tmp_path / "logs"
    address, long = f"tcp://127.0.0.1:{port}", (*TINY, "--epochs", 60)
    grid = ("--grid", "beta=1,2,4,8", "--grid", "seed=0..9")
    with scheduler(logs, port), two_workers(logs, address) as nannies:
        process = swept(address, out, *grid, *long)
        kills = killed_every(1, process, lambda: workers_of(nannies.pid), out)
        told = process.communicate()[1]
    assert process.returncode == 0, told
    assert kills >= 3
    check_forty(out, long, tmp_path / "alone")


def workers_of(nannies: int) -> list[int]:
    """The worker processes: children of the nannies that are no resource tracker."""
    found = []
    for pid in children(nannies):
        told = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"spawn_main" in told:
            found.append(pid)
    return found
