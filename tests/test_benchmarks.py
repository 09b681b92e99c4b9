"""The benchmarks' arithmetic and bookkeeping; their numbers are printed, not tested."""

import json
import math
from contextlib import contextmanager
from dataclasses import fields

import numpy as np
import pytest
from minivae_kernels import Family

from benchmarks import figures, profile, report, timing, train
from benchmarks.__main__ import main
from benchmarks.steps import STEPS, Step, images_for
from benchmarks.workload import Workload, forward_flops, model_of, step_flops
from minivae import VAE, UserError
from minivae.random import Noise
from minivae.tensor import Op, Tensor


def tiny_work():
    grey = Noise(0).uniform((10, 1, 4, 4))
    return Workload(grey, 4, VAE((1, 4, 4), 2, (8,), likelihood="bernoulli"))


@pytest.fixture
def work():
    return tiny_work()


@pytest.fixture
def conv_work():
    options = {"arch": "conv", "channels": (3, 5), "likelihood": "bernoulli"}
    return Workload(Noise(0).uniform((10, 1, 8, 8)), 4, VAE((1, 8, 8), 2, **options))


def test_flops_equal_a_count_by_hand(work):
    # 16-8, 8-2 twice, 2-8, 8-16; three products each, 2 flops, a batch of 4
    three_times = 3 * 2 * 4 * (16 * 8 + 8 * 2 + 8 * 2 + 2 * 8 + 8 * 16)
    assert step_flops(work.model, 4) == three_times - 2 * 4 * 16 * 8


def test_flops_of_convolutions_equal_a_count_by_hand(conv_work):
    # 4 x 4 taps for each pixel of the smaller map and each pair of channels
    first, second = 16 * (4 * 4) * 1 * 3, 16 * (2 * 2) * 3 * 5
    linear = 2 * (20 * 256 + 256 * 2) + 256 * 2  # there and back; μ and log σ²
    forward = 2 * (2 * (first + second) + linear)
    assert sum(forward_flops(conv_work.model)) == forward
    assert step_flops(conv_work.model, 4) == 4 * (3 * forward - 2 * first)


@pytest.mark.parametrize("arch", ["dense", "conv"])
def test_flops_are_those_of_the_products_that_a_step_calls(
    arch, work, conv_work, monkeypatch
):
    """Whoever calls them: two gradients for each layer but the first, which has one."""
    counted = []
    works = {"dense": work, "conv": conv_work}
    call, linear = Family.__call__, Op.registry["linear"]

    def counting(self, *arrays, **options):
        if self.name.startswith("conv."):
            counted.append(self.cost(*arrays, **options).flops)
        return call(self, *arrays, **options)

    def counting_linear(function):
        def counted_too(*arrays, **options):
            x, weight, _ = arrays[-3:]
            counted.append(2 * len(x) * weight.size)
            return function(*arrays, **options)

        return counted_too

    monkeypatch.setattr(Family, "__call__", counting)
    monkeypatch.setattr(linear, "forward", counting_linear(linear.forward))
    for name in ("x", "weight"):
        rule = linear.rules[name]
        counting_rule = rule._replace(function=counting_linear(rule.function))
        monkeypatch.setitem(linear.rules, name, counting_rule)
    works[arch].step()
    assert sum(counted) == step_flops(works[arch].model, 4)


def test_the_named_steps_are_those_that_papers_compare():
    flops = {str(s): step_flops(model_of(s), s.batch) / 1e9 for s in STEPS}
    assert flops == {
        "mlp b128": pytest.approx(0.42, abs=0.005),
        "mlp b512": pytest.approx(1.68, abs=0.005),
        "conv28 b128": pytest.approx(3.83, abs=0.005),
        "burgess64 b64": pytest.approx(4.72, abs=0.005),
    }


def test_a_larger_image_is_the_image_enlarged_in_a_margin():
    grey = Noise(0).uniform((2, 1, 3, 3))
    found = images_for(Step("any", "dense", 8, 2, 1), grey)
    assert found.shape == (2, 1, 8, 8)
    assert (found[:, :, 1:7:2, 1:7:2] == grey).all()
    assert (found[:, :, 2:7:2, 2:7:2] == grey).all()
    assert found.sum() == pytest.approx(4 * grey.sum())
    assert images_for(Step("any", "dense", 3, 2, 1), grey) is grey


def test_the_steps_are_training_steps_on_binary_images(work):
    before = work.model.state()
    work.step()
    work.step_with_data()
    assert work.optimizer.steps == 2
    assert any((before[n] != w).any() for n, w in work.model.state().items())
    batch = work.next_batch()
    assert batch.shape == (4, 1, 4, 4)
    assert np.isin(batch, (0, 1)).all()
    assert (batch != work.next_batch()).any()


def test_the_parts_of_a_profile_sum_to_its_step(work):
    found = profile.profile_step(work, steps=7)
    assert found.step_ms > 0
    assert sum(p.ms for p in found.parts) == pytest.approx(found.step_ms, rel=1e-9)
    assert sum(p.share for p in found.parts) == pytest.approx(1, rel=1e-9)
    assert min(p.ms for p in found.parts) >= 0
    assert [p.ms for p in found.parts] == sorted(p.ms for p in found.parts)[::-1]


def test_a_profile_of_convolutions_counts_no_gradient_of_the_images(conv_work):
    calls = {p.part: p.calls for p in profile.profile_step(conv_work, steps=3).parts}
    assert calls["conv2d, forward"] == calls["conv_transpose2d, forward"] == 2
    assert calls["conv2d, backward"] == 2 * 3 - 1
    assert calls["conv_transpose2d, backward"] == 2 * 3


def test_a_profile_counts_the_calls_of_one_step(work):
    calls = {p.part: p.calls for p in profile.profile_step(work, steps=5).parts}
    assert calls["linear, forward"] == 5
    assert calls["linear, backward"] == 5 * 3 - 1  # no gradient of the images
    assert calls["bernoulli_nll, forward"] == calls["bernoulli_nll, backward"] == 1
    assert calls[profile.DATA] == calls[profile.NOISE] == calls[profile.FORWARD] == 1
    assert calls[profile.OPTIMIZER] == 2  # zero_grad and step


def what_a_watch_may_touch(work):
    of_ops = [
        (op.forward, op.forward_with_saves, dict(op.rules))
        for op in Op.registry.values()
    ]
    of_objects = [set(vars(x)) for x in (work, work.model, work.optimizer)]
    return of_ops, of_objects, Noise.normal, Tensor.backward


def test_the_shims_are_gone_afterwards(work):
    before = what_a_watch_may_touch(work)
    with profile.watching(work):
        assert what_a_watch_may_touch(work) != before
    assert what_a_watch_may_touch(work) == before
    with pytest.raises(ZeroDivisionError), profile.watching(work):
        raise ZeroDivisionError
    assert what_a_watch_may_touch(work) == before


def test_watching_does_not_change_what_a_step_computes():
    one, other = tiny_work(), tiny_work()
    one.step_with_data()
    with profile.watching(other):
        other.step_with_data()
    for name, weight in one.model.state().items():
        assert (weight == other.model.state()[name]).all(), name


def test_time_within_a_watched_call_is_counted_once(monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 10.0])  # outer begins, inner begins, ends, outer ends
    monkeypatch.setattr(profile, "perf_counter", lambda: next(clock))
    watch = profile.Stopwatch()
    inner = watch.shim("inner", lambda: None)
    watch.shim("outer", lambda: inner())()
    assert watch.seconds == {"inner": 3.0, "outer": 7.0}
    assert watch.calls == {"inner": 1, "outer": 1}


def test_cases_take_turns_and_the_first_round_is_not_counted():
    seen = []
    cases = {name: lambda name=name: seen.append(name) for name in "ab"}
    timings = timing.in_turns(cases, rounds=2, repeat=2)
    assert "".join(seen) == "aaabbb" * 3  # each turn begins with an uncounted call
    assert timings.keys() == cases.keys()
    assert all(t.p20 <= t.p50 <= t.p80 for t in timings.values())


def test_every_turn_has_its_surroundings_to_itself():
    seen = []

    @contextmanager
    def around(name):
        seen.append(f"<{name}")
        yield
        seen.append(">")

    cases = {name: lambda name=name: seen.append(name) for name in "ab"}
    timing.in_turns(cases, rounds=1, repeat=1, around=around)
    assert "".join(seen) == 2 * "<aaa><bbb>"


def test_percentiles_are_milliseconds():
    assert timing.percentiles([0.001, 0.002, 0.003]).p50 == pytest.approx(2)


@pytest.fixture
def rows(work):
    return train.measure([work], timing.Sgemm(8), rounds=1)


def test_a_step_is_rated_by_the_sgemm_of_the_same_run(rows, work):
    step, with_data, sgemm = rows
    assert [r.benchmark for r in rows] == ["step", "step with its data", "sgemm"]
    for row in (step, with_data):
        assert row.gflops == pytest.approx(step_flops(work.model, 4) / row.p50_ms / 1e6)
        assert row.ratio_to == "sgemm"
        assert row.ratio == pytest.approx(row.gflops / sgemm.gflops)
    assert sgemm.ratio is sgemm.ratio_to is sgemm.batch is None


def test_the_json_document_has_the_documented_fields(rows):
    found = json.loads(report.document(rows, {"steps": [], "figures": []}))
    assert found.keys() == {"machine", "versions", "rows", "profile"}
    assert {"cpu", "blas_kernel", "blas_threads"} <= found["machine"].keys()
    assert {"python", "numpy", "minivae"} <= found["versions"].keys()
    names = ["benchmark", "impl", "batch", "p50_ms", "p20_ms", "p80_ms"]
    names += ["ratio_to", "ratio", "gflops", "peak_mb"]
    assert [f.name for f in fields(report.Row)] == names
    assert all(list(row) == names for row in found["rows"])
    assert found["rows"][-1]["ratio"] is None
    assert json.loads(report.document(rows))["profile"] is None


def test_tables_are_readable_at_80_columns(rows, work, capsys):
    single = [figures.Figure("peak memory of the demo, 3 epochs", 215.4, "MB", 600)]
    found = profile.profile_step(work, steps=3)
    sheets = [
        train.sheet(rows, work.model),
        profile.sheet(found),
        figures.sheet(single),
    ]
    report.print_sheets(sheets)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for word in ("step with its data", "linear, backward", "peak memory of the demo"):
        assert word in printed


def test_the_page_is_rewritten_between_its_markers_only(tmp_path, rows, work):
    page = tmp_path / "README.md"
    page.write_text("a\n<!-- train dense:begin -->\nold\n<!-- train dense:end -->\nz\n")
    for _ in range(2):
        report.write_page("train dense", [train.sheet(rows, work.model)], page)
    text = page.read_text()
    assert text.startswith("a\n<!-- train dense:begin -->\nMeasured ")
    assert text.endswith("|\n<!-- train dense:end -->\nz\n")
    assert "old" not in text
    assert text.count("| step |") == 1
    with pytest.raises(UserError, match="needs the lines"):
        report.split_page("peers", page)


@pytest.mark.parametrize(
    "name",
    [*(f"{c} {s.arch}" for c in ("train", "peers") for s in STEPS), "peers kernels"],
)
def test_the_page_of_this_repository_has_its_markers(name):
    report.split_page(name)


def test_the_cost_of_one_op_is_a_number_of_microseconds():
    assert all(map(math.isfinite, figures.add_microseconds(chain=10, repeats=2)))


def test_a_process_that_fails_is_told_in_one_line():
    with pytest.raises(UserError, match=r"failed: NameError.*nothing_there"):
        figures.seconds_of(["-c", "nothing_there"], processes=1)


def test_bad_input_ends_in_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--rounds", "0"])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.err == "benchmarks: rounds must be at least 1, not 0\n"
    assert captured.out == ""
