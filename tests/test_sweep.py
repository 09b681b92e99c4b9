"""A sweep: the grid, its folder, who works, and what is made of the runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sweep_work
from command import done, minivae, refused
from stops import files

from minivae import checkpoint, workers
from minivae import sweep as sweeps
from minivae.errors import UserError
from minivae.page import sweep as page
from minivae.sweep import Outcome, Sweep, Task

TINY = ("--model", "betavae", "--data", "digits:dynamic", "--hidden", 8, "--latent", 2)
SHORT = (*TINY, "--epochs", 2, "--batch", 256)


# The grid


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("beta=1,2,4", "beta", ["1", "2", "4"]),
        ("seed=0..3", "seed", ["0", "1", "2", "3"]),
        ("seed=7, 0..1", "seed", ["7", "0", "1"]),
        ("weight-decay=0.5", "weight_decay", ["0.5"]),
        ("data=a=b", "data", ["a=b"]),
    ],
)
def test_an_axis_is_a_name_and_values(text: str, name: str, values: list[str]) -> None:
    assert sweeps.split_axis(text) == (name, values)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "a sweep over what? give a --grid"),
        (("--grid", "beta"), "takes an option and its values"),
        (("--grid", "beta="), "takes an option and its values"),
        (("--grid", "beta=1,,2"), "a value is empty, or there twice"),
        (("--grid", "beta=1,1"), "a value is empty, or there twice"),
        (("--grid", "beta=1,1.0"), "a value is there twice"),
        (("--grid", "beta=1", "--grid", "beta=2"), "beta is there twice"),
        (("--grid", "seed=3..1"), "'3..1' has 0 values"),
        (("--grid", "seed=0..99999999999"), "'0..99999999999' has"),
        (("--grid", f"seed=0..{10**30}"), "has 1,000,000,000,000,000"),
        (("--grid", "seed=a..b"), "'a..b' is no range"),
        (("--grid", "seed=1.5"), "does not fit seed"),
        (("--grid", "gamma_ray=1"), "gamma_ray is no option of train"),
        (("--grid", "out=a,b"), "out is no option of train to go over"),
        (("--grid", "hidden=8,16"), "hidden takes more than one value itself"),
        (("--grid", "beta=-1,2"), "beta"),
        (("--grid", "epochs=2,0"), "epochs must be at least 1"),
        (("--grid", "model=vae,gan"), "no model 'gan'"),
        (("--grid", "seed=0..999", "--grid", "beta=1..999"), "not 999,000"),
        (("--grid", "seed=0,1", "--workers", 0), "workers must be at least 1"),
        (("--grid", "seed=0,1", "--workers", 3, "--threads", 900), "more than the"),
        (
            ("--grid", "seed=0,1", "--scheduler", "tcp://x:1", "--workers", 2),
            "--workers are of this machine",
        ),
    ],
)
def test_a_grid_that_does_not_work_is_refused_before_anything_is_written(
    options: tuple[object, ...], words: str, tmp_path: Path
) -> None:
    refused(words, "sweep", *options, *SHORT, "--out", tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("value", ["../up", "/etc", "..", "a,b=c", "a\nb", "ü", "%2F"])
def test_no_value_leads_out_of_the_sweeps_folder(value: str, tmp_path: Path) -> None:
    name = sweeps.folder_name({"data": value, "seed": 1})
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert name.isascii()
    assert name.isprintable()
    assert name != sweeps.folder_name({"data": value + "x", "seed": 1})


def test_cores_are_shared_out_and_never_used_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeps, "cores_here", lambda: 12)
    found = {
        (w, t): sweeps.shared_out(w, t)
        for w in (None, 1, 5, 12, 20)
        for t in (None, 1, 4)
        if not (w and t and w * t > 12)
    }
    assert found[None, None] == (12, 1)
    assert found[None, 4] == (3, 4)
    assert found[5, None] == (5, 2)
    assert found[20, None] == (20, 1)
    assert all(w * t <= 12 for w, t in found.values() if w <= 12)
    with pytest.raises(UserError, match="more than the 12 cores"):
        sweeps.shared_out(4, 4)


# The folder


def opened(path: Path, betas: tuple[float, ...], **base: Any) -> Sweep:
    grid = sweeps.combinations({"beta": betas, "seed": (0, 1)})
    return Sweep.open(path, {"model": "betavae", **base}, grid, base.pop("threads", 1))


def test_a_larger_grid_goes_on_with_the_old_one(tmp_path: Path) -> None:
    opened(tmp_path, (1.0, 2.0))
    sweeps.write_ledger(_made(tmp_path / "beta=1,seed=0"), {"objective": 1.0})
    again = opened(tmp_path, (2.0, 8.0))
    assert list(again.runs) == [f"beta={b},seed={s}" for b in (1, 2, 8) for s in (0, 1)]
    assert len(again.tasks()) == 5
    assert Sweep.read(tmp_path).runs == again.runs


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_another_sweep_in_the_folder_is_not_touched(tmp_path: Path) -> None:
    opened(tmp_path, (1.0,), epochs=2)
    before = files(tmp_path)
    with pytest.raises(UserError, match="a sweep with epochs 2, not 3"):
        opened(tmp_path, (1.0,), epochs=3)
    grid = sweeps.combinations({"seed": (0, 1)})
    with pytest.raises(UserError, match="other axes"):
        Sweep.open(tmp_path, {"model": "betavae", "epochs": 2}, grid, 1)
    grid = sweeps.combinations({"beta": (1.0,), "seed": (0, 1)})
    with pytest.raises(UserError, match="other threads: 1 there, 2 here"):
        Sweep.open(tmp_path, {"model": "betavae", "epochs": 2}, grid, 2)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"axes": 1, "base": {}, "runs": {}, "threads": 1}',
        '{"axes": [], "base": {}, "threads": 1, "runs": {"../x": {"beta": 1}}}',
    ],
)
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / sweeps.MANIFEST).write_text(text)
    with pytest.raises(UserError, match="is not of a sweep"):
        Sweep.read(tmp_path)


def test_means_and_deviations_are_over_seeds(tmp_path: Path) -> None:
    sweep = opened(tmp_path, (8.0, 1.0))
    for name, objective, mig in (
        ("beta=1,seed=0", 10.0, 0.2),
        ("beta=1,seed=1", 14.0, 0.4),
        ("beta=8,seed=0", 3.0, 0.5),
    ):
        ledger = {
            "objective": objective,
            "kl": None,
            "disentanglement": {"mig": mig, "dci": 3},
        }
        sweeps.write_ledger(_made(tmp_path / name), ledger)
    one, eight = sweep.groups()
    assert (one.place, one.count) == ({"beta": 1.0}, 2)
    assert one.of("objective") == (12.0, pytest.approx(8**0.5))
    assert one.of("disentanglement.mig") == (
        pytest.approx(0.3),
        pytest.approx(0.02**0.5),
    )
    assert (eight.place, eight.of("objective")) == ({"beta": 8.0}, (3.0, 0.0))
    assert eight.of("kl") is None
    (tmp_path / "beta=8,seed=0" / "ledger.json").write_text("{")
    with pytest.raises(UserError, match="is no ledger"):
        sweep.groups()


# Who works


def tasks(tmp_path: Path, *options: dict[str, Any]) -> list[Task]:
    return [Task(str(tmp_path / f"{i}"), o, 1) for i, o in enumerate(options)]


def test_workers_die_and_nothing_is_lost(tmp_path: Path) -> None:
    given = tasks(tmp_path, {}, {"dies": 3}, {"fails": True}, {"dies": 1}, {})
    given += tasks(tmp_path / "more", {"dies": 99}, {"dies": 7, "saves": True})
    given += tasks(tmp_path / "last", {"breaks": True})
    pool = workers.on_this_machine(3)
    found = {o.task.folder: o.failure for o in pool(given, sweep_work.finish)}
    assert set(found) == {task.folder for task in given}
    told = [found[task.folder] for task in given]
    assert told[2] == "told as it is"
    assert told[5] == "its worker died 5 times in a row with nothing saved in between"
    assert told[7] == "ZeroDivisionError: by nothing"
    assert [told[i] for i in (0, 1, 3, 4, 6)] == [""] * 5
    assert len(list((tmp_path / "1").glob("death-*"))) == 3


def test_a_run_that_cannot_be_seen_from_here_is_told(tmp_path: Path) -> None:
    sweep = opened(tmp_path, (1.0,))

    def elsewhere(given: Any, work: Any) -> Iterator[Outcome]:
        yield Outcome(given[0])

    with pytest.raises(UserError, match="on a disk that all share"):
        list(sweeps.run(sweep, sweep_work.finish, elsewhere))


def test_two_sweeps_of_one_folder_are_refused(tmp_path: Path) -> None:
    sweep = opened(tmp_path, (1.0,))

    def again(given: Any, work: Any) -> Iterator[Outcome]:
        with pytest.raises(UserError, match="another process"):
            list(sweeps.run(sweep, work, again))
        yield from workers.on_this_machine(2)(given, work)

    assert len(list(sweeps.run(sweep, sweep_work.finish, again))) == 2


# Whole sweeps


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of four runs by two workers."""
    out = tmp_path_factory.mktemp("swept") / "sweep"
    grid = ("--grid", "beta=1,4", "--grid", "seed=0..1", "--workers", 2)
    told = minivae("sweep", *grid, *SHORT, "--out", out)
    assert told.code == 0, told.err
    assert max(map(len, told.out.splitlines()[:-1])) <= 80
    assert told.err.splitlines()[0] == f"4 runs, 4 of them to be done, {out}"
    assert len(told.err.splitlines()) == 5
    return out


RUN_FILES = ("config.json", "metrics.jsonl", "checkpoint", "last", "previous")


def the_same(run: Path, alone: Path) -> bool:
    """Whether two runs are equal, byte for byte; pictures and pages left out."""
    own = files_of(run)
    return own == files_of(alone) and len(own) == len(RUN_FILES)


def files_of(folder: Path) -> dict[str, bytes]:
    kept = [p for p in folder.iterdir() if p.name.startswith(RUN_FILES)]
    return {path.name: path.read_bytes() for path in kept}


@pytest.mark.parametrize(("beta", "seed"), [(1, 1), (4, 0)])
def test_a_run_of_a_sweep_is_the_run_made_alone(
    beta: int, seed: int, swept: Path, tmp_path: Path
) -> None:
    options = ("--beta", beta, "--seed", seed)
    threads = Sweep.read(swept).threads
    alone = tmp_path / "alone"
    done("train", *SHORT, *options, "--threads", threads, "--out", alone)
    assert the_same(swept / f"beta={beta},seed={seed}", alone)


def test_the_same_command_does_only_what_is_missing(
    swept: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(swept, tmp_path / "sweep"))
    (out / "beta=4,seed=1" / "ledger.json").unlink()
    shutil.rmtree(out / "beta=1,seed=0")
    held = json.loads((out / "sweep.json").read_text())["threads"]
    before = {p: p.stat().st_mtime_ns for p in out.glob("beta=[14],seed=[10]/*")}
    grid = ("--grid", "beta=1,4", "--grid", "seed=0..1", "--threads", held)
    told = minivae("sweep", *grid, *SHORT, "--out", out)
    assert told.code == 0, told.err
    assert "4 runs, 2 of them to be done" in told.err
    after = {p: p.stat().st_mtime_ns for p in before}
    assert after == before
    for path in swept.glob("beta=*/*"):
        assert (out / path.relative_to(swept)).read_bytes() == path.read_bytes()


def test_a_run_that_fails_is_told_and_the_others_are_done(tmp_path: Path) -> None:
    grid = ("--grid", "lr=0.01,1e30", "--optimizer", "sgd", "--workers", 2)
    told = minivae("sweep", *grid, *SHORT, "--out", tmp_path / "sweep")
    assert told.code == 1
    last = told.err.splitlines()[-1]
    assert last.startswith("failed: lr=1e%2B30: ")
    assert "at step" in last
    assert (tmp_path / "sweep" / "lr=0.01" / "ledger.json").exists()
    assert "0.01" in told.out


# The page


class Reader(HTMLParser):
    """What a page shows, and whether its elements close in order."""

    VOID = ("meta", "link", "img", "input", "br", "path", "circle")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.told: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.told.append(data)


def test_the_page_shows_means_and_bars(swept: Path) -> None:
    text = (swept / sweeps.PAGE).read_text(encoding="utf-8")
    reader = Reader(text)
    assert reader.open == []
    told = " ".join(reader.told)
    assert "4 of 4 runs are finished" in told
    assert "Rate and distortion" in told
    sweep = Sweep.read(swept)
    for group in sweep.groups():
        mean, spread = group.of("recon") or (0.0, 0.0)
        assert f"{mean:.2f} ± {spread:.2f}" in told
    metrics = page.measured(sweep.groups())
    assert text.count('<svg class="chart"') == len(metrics) + 1
    assert text.count('class="bars') == 2 * (len(metrics) + 1)


def test_html_in_a_value_is_text_on_the_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    grid = sweeps.combinations({"activation": (evil, "relu"), "sigma": (evil, "1")})
    base = {"model": evil, "data": evil, evil: evil}
    sweep = Sweep.open(tmp_path, base, grid, 1)
    for name in sweep.runs:
        sweeps.write_ledger(_made(tmp_path / name), {"objective": 1.0, "kl": 1.0})
    text = page.page(sweep, sweep.groups())
    assert "<script" not in text
    assert evil in " ".join(Reader(text).told)


def test_a_single_run_has_no_deviation(tmp_path: Path) -> None:
    grid = sweeps.combinations({"beta": (1.0, 2.0)})
    sweep = Sweep.open(tmp_path, {"model": "vae", "data": "digits"}, grid, 1)
    for name in sweep.runs:
        sweeps.write_ledger(_made(tmp_path / name), {"objective": 35.26})
    _, rows = page.rows(sweep.groups())
    assert rows == [["1", "1", "35.26"], ["2", "1", "35.26"]]


@pytest.mark.parametrize("value", [0.0, 1.0, 306.571, 8.8e-12])
def test_runs_that_differ_by_rounding_alone_are_drawn(
    value: float, tmp_path: Path
) -> None:
    grid = sweeps.combinations({"beta": (1.0, 2.0), "seed": (0, 1, 2)})
    sweep = Sweep.open(tmp_path, {"model": "vae", "data": "digits"}, grid, 1)
    for i, name in enumerate(sweep.runs):
        almost = value * (1 + (i == 0) * sys.float_info.epsilon)
        ledger = {"objective": almost, "recon": almost, "kl": almost}
        sweeps.write_ledger(_made(tmp_path / name), ledger)
    assert page.page(sweep, sweep.groups()).count('<svg class="chart"') >= 2


def test_more_series_than_colours_become_more_drawings(tmp_path: Path) -> None:
    grid = sweeps.combinations({"beta": (1.0, 2.0), "latent": tuple(range(1, 15))})
    sweep = Sweep.open(tmp_path, {"model": "vae", "data": "digits"}, grid, 1)
    for name in sweep.runs:
        sweeps.write_ledger(_made(tmp_path / name), {"objective": 1.0})
    assert page.page(sweep, sweep.groups()).count('<svg class="chart"') == 3


# Killed every few seconds


def killed_every(seconds: float, process: Any, victims: Any, out: Path) -> int:
    """Kill the oldest worker again and again; returns how often.

    Not before something was saved since the last time: on a machine with much else to
    do, a worker may take longer to begin than it is given to live.
    """
    kills, seen = 0, saved(out)
    while process.poll() is None:
        time.sleep(seconds)
        if saved(out) != seen and (found := victims()):
            os.kill(found[0], signal.SIGKILL)
            kills, seen = kills + 1, saved(out)
    return kills


def saved(out: Path) -> set[tuple[str, int]]:
    """Every state under a folder, and when it was saved."""
    found = set()
    for path in out.glob("*/last.safetensors"):
        with suppress(OSError):
            found.add((path.parent.name, path.stat().st_mtime_ns))
    return found


def command(*arguments: object) -> list[str]:
    code = "from minivae.cli import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_forty_runs_lose_nothing_to_a_kill_every_few_seconds(tmp_path: Path) -> None:
    out, long = tmp_path / "sweep", (*TINY, "--epochs", 60)
    grid = ("--grid", "beta=1,2,4,8", "--grid", "seed=0..9", "--workers", 2)
    process = subprocess.Popen(
        command("sweep", *grid, *long, "--out", out), stderr=subprocess.PIPE, text=True
    )
    kills = killed_every(1, process, lambda: sweep_work.grandchildren(process.pid), out)
    told = process.communicate()[1]
    assert process.returncode == 0, told
    assert kills >= 3
    check_forty(out, long, tmp_path / "alone")


def check_forty(out: Path, options: tuple[object, ...], alone: Path) -> None:
    threads = Sweep.read(out).threads
    for beta in (1, 2, 4, 8):
        for seed in range(10):
            own = ("--beta", beta, "--seed", seed, "--threads", threads)
            folder = alone / f"{beta}-{seed}"
            done("train", *options, *own, "--out", folder)
            assert the_same(out / f"beta={beta},seed={seed}", folder)
    assert len(list(out.glob("*/ledger.json"))) == 40
    assert not list(out.glob(f"**/{checkpoint.LOCK}"))
