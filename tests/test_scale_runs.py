"""What a sweep costs: the arithmetic of many machines, and what it is measured from."""

import json
import math
from pathlib import Path

import pytest

from benchmarks import report, runs, scale, stored
from benchmarks.__main__ import main
from benchmarks.runs import Costs, Place, Swept

COSTS = Costs(
    epoch_s=30.0,
    fixed_s=600.0,
    epoch_mb=8.0,
    disk_mb_s=400.0,
    tasks_s={"this machine": 250.0, "Dask": 200.0},
    table_s=1.5,
)


def test_a_run_of_the_study_is_its_steps_and_what_a_run_costs_beside_them():
    assert COSTS.run_s == 2000 * 30 + 600


def test_runs_a_core_hour_count_the_cores_of_all_threads():
    alone = Swept(Place(1, 1), epochs=1, runs=4, seconds=400.0)
    both = Swept(Place(2, 1), epochs=1, runs=4, seconds=200.0)
    threads = Swept(Place(1, 2), epochs=1, runs=4, seconds=200.0)
    assert alone.run_s == both.run_s == 100
    assert alone.per_core_hour == both.per_core_hour == 36
    assert threads.run_s == 50
    assert threads.per_core_hour == 36


@pytest.mark.parametrize("workers", [1, 7, 200, 10_799, 10_800, 10_801, 50_000])
def test_a_plan_agrees_with_the_runs_dealt_out_one_by_one(workers):
    ends = [0.0] * workers
    for number in range(runs.RUNS):  # equal runs: whoever is free first takes the next
        ends[number % workers] += COSTS.run_s
    p = runs.plan(COSTS, workers)
    assert p.days == pytest.approx(max(ends) / 86_400)
    assert p.idle == pytest.approx(1 - sum(ends) / (workers * max(ends)), abs=1e-9)
    assert p.rounds * COSTS.run_s == pytest.approx(max(ends))
    busy = sum(end > 0 for end in ends)
    assert p.disk_mb_s == pytest.approx(busy * 8 / 30)
    assert p.tasks_s == pytest.approx(busy / COSTS.run_s)


def test_at_its_limit_a_shared_thing_is_asked_for_what_it_has():
    found = runs.limits(COSTS)
    assert list(found.values()) == sorted(found.values())
    disk = found.pop("a disk as fast as this one")
    assert runs.plan(COSTS, int(disk), runs=10**9).disk_mb_s == pytest.approx(400)
    assert found.pop("the runs themselves: one each") == runs.RUNS
    for rate, workers in zip((200, 250), found.values(), strict=True):
        asked = runs.plan(COSTS, int(workers), runs=10**9).tasks_s
        assert asked == pytest.approx(rate)


def test_tables_fit_a_terminal_and_say_what_is_computed(capsys):
    found = [Swept(p, 1, 4, 1234.5) for p in ((Place(1, 1)), Place(2, 1), Place(1, 2))]
    report.print_sheets(runs.sheets(found, COSTS))
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert "…" not in told
    for sheet in runs.sheets(found, COSTS):
        assert sheet.title.startswith(("Measured: ", "Computed: "))


def test_empty_runs_are_a_whole_sweep(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    ledger = {"objective": 250.0, "recon": 240.0, "kl": 10.0}
    (run / "ledger.json").write_text(json.dumps(ledger))
    pool = runs.pools()["this machine"]
    with pool as chosen:
        rate, shown = runs.empty_runs(chosen, tmp_path / "out", run, runs=12)
    assert rate > 0
    assert shown > 0
    copies = list((tmp_path / "out").glob("*/ledger.json"))
    assert len(copies) == 12
    assert all(json.loads(path.read_text()) == ledger for path in copies)


@pytest.mark.slow
def test_what_is_measured_is_what_a_sweep_does(tmp_path, monkeypatch, capsys):
    tiny = ("--data", "digits", "--latent", "2", "--hidden", "8", "--batch", "64")
    monkeypatch.setattr(runs, "TRAINED", tiny)
    monkeypatch.setattr(runs, "RUNS", 12)
    monkeypatch.setattr(runs, "TIMED", 2)
    page = tmp_path / "SCALING.md"
    page.write_text("<!-- scale runs:begin -->\n<!-- scale runs:end -->\n")
    monkeypatch.setitem(scale.PAGES, "runs", ("scale runs", page))
    main(("scale", "--parts", "runs", "--rounds", "1", "--write", "--json"))
    told = json.loads(capsys.readouterr().out)
    costs = told["costs"]
    assert costs["epoch_mb"] > 0
    assert all(math.isfinite(v) for v in told["limits"].values())
    assert len(told["rows"]) == len(runs.places()) + 1
    assert "Computed: 12 runs of" in page.read_text()


@pytest.mark.slow
def test_a_set_that_is_read_by_blocks_is_measured_beside_one_in_memory(
    monkeypatch, capsys
):
    monkeypatch.setattr(stored, "TIMES", (1, 4))
    main(("scale", "--parts", "data", "--rounds", "1", "--json"))
    rows = json.loads(capsys.readouterr().out)["rows"]
    peak = {row["benchmark"]: row["peak_mb"] for row in rows}
    few, many = (f"train on {times * stored.IMAGES} images" for times in (1, 4))
    grown = {how: peak[f"{many}, {how}"] - peak[f"{few}, {how}"] for how in stored.HOW}
    floats = 3 * stored.IMAGES * 28 * 28 * 4 / 1e6
    assert grown["whole"] >= 0.9 * floats
    assert grown["by blocks"] <= floats / 10


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(("scale", "--parts", "moons"))
    assert end.value.code == 2
    assert "parts are sizes, runs, data, not moons" in capsys.readouterr().err


def test_the_page_of_scaling_can_be_written_into():
    for name, page in scale.PAGES.values():
        assert isinstance(page, Path)
        before, after = report.split_page(name, page)
        assert before
        assert after
