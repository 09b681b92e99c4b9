"""Who does the tasks of a sweep: processes of this machine, or a Dask cluster.

A worker may die at any time: its task is given out again, and goes on from what was
saved. Only a task whose worker dies again and again, with nothing saved in between, is
given up.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from minivae import checkpoint
from minivae.errors import UserError
from minivae.sweep import Outcome, Pool, Task, Work

MOST_DEATHS = 5  # in a row, with nothing saved in between
PRELOADED = ["minivae.cli.sweep", "minivae.evaluate", "safetensors", "sklearn.datasets"]
PATIENCE = 20.0  # seconds that a worker has to save, and a scheduler to answer


class Deaths:
    """How often the workers of each task have died since it last saved something."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, int]] = {}

    def __call__(self, task: Task) -> str:
        """Count a death; returns why the task is to be given up, if it is."""
        last = Path(task.folder) / checkpoint.LAST
        saved = last.stat().st_mtime_ns if last.exists() else 0
        count, before = self.seen.get(task.folder, (0, saved))
        count = count + 1 if saved == before else 1
        self.seen[task.folder] = count, saved
        if count < MOST_DEATHS:
            return ""
        return f"its worker died {count} times in a row with nothing saved in between"


# Processes of this machine


@dataclass
class _Worker:
    process: Any
    line: Connection
    task: Task | None = None

    @classmethod
    def start(cls, work: Work) -> _Worker:
        # a server that has imported everything and started no thread forks workers
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, work), daemon=True)
        process.start()
        there.close()
        return cls(process, here)

    def give(self, task: Task) -> None:
        self.task = task
        with suppress(OSError):  # of a dead one, which the next `receive` tells
            self.line.send(task)

    def receive(self) -> str | None:
        """Return the failure of its task, or ""; None if the worker is dead."""
        try:
            return str(self.line.recv())
        except (EOFError, OSError):
            return None

    def stop(self) -> None:
        """Let it finish its step and save, then be gone."""
        self.line.close()
        self.process.terminate()
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()


def on_this_machine(count: int) -> Pool:
    """Return a pool of so many processes, each working at one task after another.

    Not a ProcessPoolExecutor: that breaks whole when one of its workers is killed.
    """

    def pool(tasks: Sequence[Task], work: Work) -> Iterator[Outcome]:
        waiting, deaths = deque(tasks), Deaths()
        busy: dict[Connection, _Worker] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < count:
                    worker = _Worker.start(work)
                    busy[worker.line] = worker
                    worker.give(waiting.popleft())
                for line in wait(list(busy)):
                    worker = busy[line]  # type: ignore[index]
                    assert worker.task is not None
                    task, failure = worker.task, worker.receive()
                    if failure is None:
                        del busy[worker.line]
                        worker.stop()
                        failure = deaths(task)
                        if not failure:
                            waiting.appendleft(task)
                            continue
                    elif waiting:
                        worker.give(waiting.popleft())
                    else:
                        del busy[worker.line]
                        worker.stop()
                    yield Outcome(task, failure)
        finally:
            for worker in busy.values():
                worker.process.terminate()  # all at once, then each is waited for
            for worker in busy.values():
                worker.stop()

    return pool


def _serve(line: Connection, work: Work) -> None:
    """What a worker does: a task after another, until nobody wants any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    try:
        while True:
            line.send(_failure(work, line.recv()))
    except (EOFError, OSError, KeyboardInterrupt):
        pass


def _end_with(sentinel: int) -> None:
    """Stop this process, as SIGTERM does, when its parent is dead."""
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _failure(work: Work, task: Task) -> str:
    try:
        work(task)
    except Exception as error:  # of one run; the others go on
        return _told(error)
    return ""


def _told(error: BaseException) -> str:
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split()) or type(error).__name__


# A Dask cluster


def on_cluster(address: str) -> Pool:
    """Return the pool of a Dask cluster's workers, each a process of one thread.

    Raises `UserError`, as does the pool, if the scheduler cannot be reached.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise UserError(
            "--scheduler needs Dask: pip install 'minivae[cluster]'"
        ) from error
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`, "
            "and workers with `dask worker`"
        ) from error
    return partial(_by_dask, distributed, client)


def _by_dask(
    distributed: Any, client: Any, tasks: Sequence[Task], work: Work
) -> Iterator[Outcome]:
    deaths = Deaths()
    given: dict[str, tuple[Task, int]] = {}

    def give(task: Task, attempt: int = 0) -> Any:
        key = f"{task.folder}#{attempt}-{os.getpid()}"
        future = client.submit(_alone, work, task, key=key, pure=False)
        given[future.key] = task, attempt
        return future

    try:
        ended = distributed.as_completed(
            [give(task) for task in tasks], loop=client.loop
        )
        for future in ended:
            task, attempt = given[future.key]
            failure = ""
            try:
                future.result()
            except distributed.KilledWorker:
                failure = deaths(task)
                if not failure:
                    ended.add(give(task, attempt + 1))
                    continue
            except (distributed.CancelledError, OSError) as error:
                raise UserError(
                    f"the scheduler at {client.scheduler.address} went away: what is "
                    "finished is kept; give the same command again when it is back"
                ) from error
            except Exception as error:  # of one run; the others go on
                failure = _told(error)
            yield Outcome(task, failure)
    finally:
        client.close(timeout=PATIENCE)


def _alone(work: Work, task: Task) -> None:
    """Do a task in a Dask worker, if that has one thread only."""
    distributed: Any = importlib.import_module("distributed")
    threads = distributed.get_worker().state.nthreads
    if threads != 1:
        raise UserError(
            f"a Dask worker has {threads} threads: start it with `dask worker "
            "--nthreads 1 --nworkers N`, a process for each run"
        )
    work(task)
