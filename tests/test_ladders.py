"""Benchmarks of kernels: right before they are timed, and rated by their floor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in
from minivae_kernels import families, family
from minivae_kernels.family import Cost

from benchmarks import charts, compare, kernels, ladders, report
from benchmarks.__main__ import main
from benchmarks.ladders import COPY, SGEMM, Cpu, Ladder, Timed
from benchmarks.timing import Timing
from minivae import UserError

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def relu() -> Ladder:
    (found,) = ladders.measure([family("relu.forward")], Cpu(rounds=1, shapes={}))
    return found


class Clock(Cpu):
    """Every rung takes 4 ms; the copy 2 ms, the product 1 ms."""

    def time(self, cases: Any) -> dict[str, Timed]:
        taken = {COPY: 2.0, SGEMM: 1.0}
        return {n: Timed(Timing(*[taken.get(n, 4.0)] * 3)) for n in cases}


def test_a_rung_is_rated_by_the_slower_of_its_bytes_and_its_operations() -> None:
    place = Clock(rounds=1, shapes={})
    (by_copy,) = ladders.measure([family("relu.forward")], place)
    rungs = [row for row in by_copy.rows() if row.impl.startswith("forward_n")]
    assert [row.ratio_to for row in rungs] == ["floor", "floor"]
    # a copy of as many bytes takes 2 ms, and a rung 4
    assert [row.ratio for row in rungs] == [pytest.approx(0.5, rel=1e-3)] * 2
    assert rungs[0].gflops == pytest.approx(8 * 784 / 4e6)
    by_copy.floor = Cost(by_copy.floor.bytes, 8 * by_copy.multiplied)
    assert ladders._floor_ms(by_copy, by_copy.floor) == pytest.approx(8.0)


def test_rungs_for_a_device_are_listed_with_the_reason_and_no_time(
    relu: Ladder,
) -> None:
    entries = {e.name: e for e in relu.entries}
    assert list(entries) == [rung.name for rung in family("relu.forward").rungs]
    for entry in entries.values():
        assert (entry.timing is None) == (entry.runs_on == "cuda")
        assert bool(entry.why_not) == (entry.timing is None)
    rows = {row.impl: row for row in relu.rows()}
    assert rows["forward_vectors"].p50_ms is None
    assert rows["forward_vectors"].ratio is None
    assert {COPY, SGEMM} <= rows.keys()


def test_a_wrong_rung_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    relu = family("relu.forward")
    wrong = replace(relu.rungs[1], function=lambda x: np.maximum(x, 1e-3))
    monkeypatch.setattr(relu, "rungs", [relu.rungs[0], wrong])
    with pytest.raises(UserError, match=r"forward_numba is wrong, and so is not timed"):
        list(ladders.measure([relu], Cpu(rounds=1, shapes={})))


def test_every_family_has_a_size_here_and_on_a_device() -> None:
    names = {each.name for each in families()}
    assert names == set(ladders.ON_CPU) == set(ladders.ON_CUDA)


def test_the_document_has_rows_as_every_benchmark_and_more_beside(
    relu: Ladder,
) -> None:
    static = kernels.static_rows([relu.family])
    found = json.loads(kernels.document([relu], static, Cpu(1)))
    names = set(report.Row.__dataclass_fields__)
    assert all(set(row) == names for row in found["rows"])
    assert found["device"] == "cpu"
    told = {entry["name"]: entry for entry in found["kernels"]}
    assert told["forward_vectors"]["why_not"]
    assert told["forward_numba"]["floor_ms"] > 0
    assert told["forward_numba"]["error"] == 0


def test_tables_fit_80_columns_and_say_what_was_not_measured(
    relu: Ladder, capsys: pytest.CaptureFixture[str]
) -> None:
    static = kernels.static_rows([relu.family])
    report.print_sheets(kernels.sheets_of(relu, static, Cpu(1)))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "forward_vectors  not measured" in printed
    assert "Not measured: " in printed


def test_pictures_are_drawn_of_each_ladder_and_the_roof(
    relu: Ladder, tmp_path: Path
) -> None:
    paths = charts.save([relu], kernels.static_rows([relu.family]), tmp_path)
    assert {path.name for path in paths} == {
        f"{stem}.{kind}"
        for stem in ("relu-forward", "roofline")
        for kind in ("png", "svg")
    }
    svg = (tmp_path / "relu-forward.svg").read_text(encoding="utf-8")
    assert "forward_vectors" in svg
    assert "floor" in svg


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["magic"], "no family 'magic'; have philox.words"),
        (["--rung", "relu"], "--rung takes module:rung, as mymodule:my_rung, not relu"),
        (["--rung", "no_such:rung"], "cannot import no_such: No module named"),
        (["--rung", "json:dumps"], "json declares no rung dumps"),
        (["--device", "moon"], "no device 'moon' to measure on; have cpu, cuda"),
        (["--rounds", "0"], "rounds must be at least 1, not 0"),
        (["relu", "--write"], "the page has all families on the CPU"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["kernels", *arguments])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"benchmarks: {message}")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("name", ["kernels", "mutants"])
def test_the_page_has_the_markers(name: str) -> None:
    report.split_page(name)


# Comparing


def written(path: Path, ms: float, spread: float = 0.1, **more: Any) -> Path:
    row = report.Row("relu", "ours", 8, ms, ms - spread, ms + spread)
    path.write_text(
        report.document([row, report.Row("relu", "other")], **more), "utf-8"
    )
    return path


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(2.0, 1.0, "faster"), (1.0, 2.0, "slower"), (1.0, 1.15, "same")],
)
def test_a_difference_counts_where_the_spreads_do_not_meet(
    before: float,
    after: float,
    verdict: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a = written(tmp_path / "a.json", before)
    b = written(tmp_path / "b.json", after, gpu={"gpu": "another"})
    main(["compare", str(a), str(b), "--json"])
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert row["verdict"] == verdict
    assert row["ratio"] == pytest.approx(after / before)
    assert found["differences"] == ["gpu: None then another."]
    compare.run(a, b)
    assert verdict in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*: No such file"),
        ("{", "is not JSON"),
        ("[]", "has no rows"),
        ('{"rows": []}', "no timed row in common"),
    ],
)
def test_a_file_that_cannot_be_compared_says_why(
    text: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "b.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        compare.run(written(tmp_path / "a.json", 1.0), path)


# On a device: its stand-in


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in, alone: PyTorch must stay out of this process."""
    from benchmarks import torch_expressions

    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    monkeypatch.setattr(torch_expressions, "peers", lambda *_, **__: {})
    monkeypatch.setattr(torch_expressions, "version", lambda: None)
    return stand_in


@pytest.mark.needs("ptx")
def test_a_device_is_timed_by_events_and_graphs(cupy: Any) -> None:
    from benchmarks.cuda import Cuda

    place = Cuda(rounds=1, small=True)
    (found,) = ladders.measure([family("relu.forward")], place)
    entries = {e.name: e for e in found.entries}
    for name in ("forward_numpy", "forward_each", "forward_vectors"):
        assert entries[name].timing is not None
        assert entries[name].graph_ms is not None
    assert entries["forward_numba"].why_not == "runs on NumPy arrays, got cupy"
    (sheet,) = kernels.sheets_of(found, {}, place)
    assert sheet.header[-1] == "graph"
    assert "On a stand-in: no GPU" in sheet.notes[0]


@pytest.mark.needs("ptx")
def test_what_cannot_be_captured_has_no_graph_and_leaves_the_stream(
    cupy: Any,
) -> None:
    from benchmarks.cuda import Cuda

    place = Cuda(rounds=1, small=True)

    def asks_the_host() -> None:
        if stand_in.Stream.capturing is not None:
            raise RuntimeError("operation not permitted when stream is capturing")

    timed = place.time({"step": asks_the_host})
    assert timed["step"].graph_ms is None
    assert stand_in.Stream.capturing is None


TORCH = """
import sys
sys.path[:0] = {path!r}
import stand_in
sys.modules["cupy"] = stand_in
from minivae_kernels import families, family
from benchmarks import ladders, torch_expressions
from benchmarks.cuda import Cuda
place = Cuda(rounds=1, small=True)
for name in torch_expressions.EXPRESSIONS:
    each = family(name)
    each.rungs = each.rungs[:1]  # what it is compared with
    (found,) = ladders.measure([each], place)
    print(name, [e.name for e in found.entries if e.timing])
"""


@pytest.mark.needs("torch")
@pytest.mark.needs("ptx")
def test_pytorchs_expressions_compute_the_same() -> None:
    """In a process of its own: PyTorch brings threads along."""
    path = [str(ROOT / name) for name in (".", "kernels", "tests")]
    run = [sys.executable, "-c", TORCH.format(path=path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'torch'") == len(done.stdout.splitlines()) >= 10


# A session

NOT_THERE = ("tyro", "pooch", "playwright", "torch", "jax", "xdist", "pytest_timeout")
TOOL = '#!/bin/sh\necho "$0 $@" >>"{calls}"\n'
PASSES_ON = 'while [ "$1" != {python} ]; do shift; done\nexec "$@"\n'


@pytest.mark.needs("ptx")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_session_on_a_gpu_goes_all_the_way_without_one(tmp_path: Path) -> None:
    """As on a bare machine: what need not be there is not; tools are passed through."""
    bare, tools, out = (tmp_path / name for name in ("bare", "tools", "out"))
    bare.mkdir()
    tools.mkdir()
    for name in NOT_THERE:
        error = f"raise ModuleNotFoundError('no {name}', name='{name}')\n"
        (bare / f"{name}.py").write_text(error, encoding="utf-8")
    for name in ("nvidia-smi", "compute-sanitizer", "ncu"):
        text = TOOL.format(calls=tmp_path / "calls.txt")
        text += "" if name == "nvidia-smi" else PASSES_ON.format(python=sys.executable)
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / "benchmarks/gpu_session.sh", "--dry", out],
        env={
            **{k: v for k, v in os.environ.items() if k != "MINIVAE_REQUIRE"},
            "PYTHON": sys.executable,
            "PYTHONPATH": str(bare),
            "PATH": f"{tools}:{os.environ['PATH']}",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    log = (out / "session.log").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stdout + log[-3000:]
    found = json.loads((out / "session.json").read_text(encoding="utf-8"))
    assert found["dry"] is True
    assert "no GPU" in found["gpu"]["gpu"]
    assert {step["exit"] for step in found["steps"]} == {0}
    names = "machine tests benchmarks training memcheck racecheck ncu"
    assert [step["step"] for step in found["steps"]] == names.split()
    impls = {(row["benchmark"], row["impl"]) for row in found["rows"]}
    assert {("relu.forward", "forward_vectors"), ("step", "plain CuPy")} <= impls
    calls = (tmp_path / "calls.txt").read_text(encoding="utf-8")
    assert calls.count("--tool memcheck") == calls.count("--tool racecheck") == 1
    assert "--clock-control none --csv --metrics gpu__time_duration.sum" in calls
    with tarfile.open(out / "session.tar.gz") as tar:
        held = {Path(name).name for name in tar.getnames()}
    assert {"session.json", "session.log", "roofline.png"} <= held
    assert "cupy.py" not in held
    assert " passed" in log
    assert " skipped" not in log.split("=== benchmarks")[0]
