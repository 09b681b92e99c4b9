"""The comparison with other libraries: everything of it that needs none of them."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.memory import Memory
from benchmarks.peers import kernels, ours, processes, ratios, run, steps, work, worker
from benchmarks.steps import STEPS, Step
from benchmarks.workload import model_of
from minivae import UserError, ops
from minivae.random import Noise
from minivae.tensor import Tensor

A, B, C = (kernels.Entry(name, name, "work") for name in ("minivae", "torch", "jax"))
ONE = [kernels.Comparison("work", 8, (A, B))]
TINY = Step("tiny", "conv", 8, 3, 4)
GREY = Noise(0).uniform((16, 1, 28, 28))


@pytest.fixture(scope="module")
def given():
    return work.make_kernels(model_of(STEPS[0]).state(), GREY)


@pytest.fixture(scope="module")
def tiny():
    grey = Noise(0).uniform((16, 1, 8, 8))
    return work.make_step(TINY, model_of(TINY).state(), grey)


def test_missing_libraries_have_no_entries():
    for comparison in kernels.plan(("minivae",)):
        assert {entry.library for entry in comparison.entries} == {"minivae"}
    everything = kernels.plan(tuple(processes.MODULES))
    here = {entry.library for c in everything for entry in c.entries}
    assert here == {"minivae", "torch"}


def test_our_cases_are_all_that_the_plan_asks_for(given):
    asked = {e.case for c in kernels.plan(("minivae",)) for e in c.entries}
    assert ours.kernels(given).keys() == asked
    assert sum(array.size for array in work.weights(given).values()) == 652_824


def test_all_are_given_binary_images_of_the_stated_shapes(tiny):
    assert tiny["x"].shape == (work.READY, 4, 1, 8, 8)
    assert np.isin(tiny["x"], (0, 1)).all()
    assert tiny["noise"].shape == (work.READY, 4, 3)
    assert {array.dtype for array in tiny.values()} == {np.dtype(np.float32)}


def test_a_check_starts_afresh_each_time(given, tiny):
    for case in (ours.step(tiny)["step"], ours.kernels(given)["adam"]):
        before = case.check()
        case.call()
        assert case.check() == before
        assert before


@pytest.mark.parametrize("step", [*STEPS, TINY], ids=str)
def test_the_weights_alone_say_what_the_model_is(step):
    """Layer for layer, biases too, in every library's words: here in ours."""
    expected = model_of(step)
    shape = (1, step.side, step.side)
    found = ours.model({f"weight/{n}": w for n, w in expected.state().items()}, shape)
    assert found.stack == expected.stack
    assert found.latent == step.latent


def test_layers_are_in_the_order_of_their_numbers():
    numbers = (10, 2, 0)
    mixed = {f"decoder.{i}.{part}": i for i in numbers for part in ("weight", "bias")}
    mixed["encoder.1.weight"] = -1
    found = work.layers_of(mixed, "decoder")
    assert found == {f"decoder.{i}": i for i in numbers}
    assert list(found.values()) == sorted(numbers)


def test_the_steps_checked_are_the_steps_of_training(tiny):
    """The first loss is the model's on the first images; the others follow updates."""
    model = model_of(TINY)
    loss = model.loss_terms(tiny["x"][0], tiny["noise"][0]).loss.item()
    losses = ours.step(tiny)["step"].check()
    assert losses[0] == pytest.approx(loss, rel=1e-6)
    assert len(set(losses)) == work.CHECKED_STEPS


def test_the_loss_case_is_the_loss_of_the_engine(given):
    mu, logvar, noise, z_bar, logits, x = work.loss_inputs(given, 128)
    leaves = [Tensor(a, requires_grad=True) for a in (mu, logvar, logits)]
    z = ops.reparameterize(leaves[0], leaves[1], noise)
    kl = ops.sum(ops.gaussian_kl(*leaves[:2], reduction="none"))
    loss = ops.sum(ops.soft_bce(leaves[2], x, reduction="none"))
    loss = loss + kl + ops.sum(z * z_bar)
    loss.backward()
    expected = [loss.item(), *(work.size(leaf.grad) for leaf in leaves)]
    assert ours.loss_case(given, 128).check() == pytest.approx(expected, rel=1e-5)


def test_the_largest_difference_is_relative_and_never_hides_a_nan():
    def of(theirs):
        checks = {"minivae": {"work": [2.0, -4.0]}, "torch": {"work": theirs}}
        return kernels.disagreement(checks, ONE)

    assert of([2.0, -4.0]) == 0
    assert of([2.0, -5.0]) == pytest.approx(0.25)
    assert math.isnan(of([2.0, math.nan]))


@pytest.mark.parametrize("difference", [2e-4, math.nan, math.inf])
def test_there_are_no_ratios_where_the_libraries_disagree(difference):
    ratios.refuse_disagreement(1e-4)
    with pytest.raises(UserError, match="do not compute the same"):
        ratios.refuse_disagreement(difference)


def test_a_ratio_pairs_the_medians_of_each_round():
    found = ratios.ratio_of([[1, 1, 9], [2, 2], [3]], [[2, 2], [2, 9, 2], [3]])
    assert found.p50 == 1  # of 1/2, 1 and 1
    assert found.p20 < found.p50 == found.p80


# Whole steps


def turn(seconds, losses=(2.0, 1.0), sgemm=0.01):
    return steps.Turn("a library", list(losses), 100.0, 50.0, seconds, [sgemm])


@pytest.fixture
def found():
    step = STEPS[2]
    return steps.Steps(
        sizes={step: "1×28×28 – 10"},
        flops={step: 3_830_000_000},
        left_out={"jax": "not installed"},
        libraries={"minivae": "ours", "torch": "theirs"},
        difference=3e-6,
        turns={
            (step, "minivae"): [turn([0.02]), turn([0.04])],
            (step, "torch.compile"): [turn([0.04, 0.04]), turn([0.08], sgemm=0.02)],
        },
    )


def test_the_others_are_rated_by_us(found):
    ((us, them),) = steps.lines_of(found).values()
    assert us.row.benchmark == "conv28"
    assert (us.row.batch, us.row.p50_ms) == (128, pytest.approx(30))
    assert us.ratio is us.row.ratio is us.row.ratio_to is None
    assert (them.row.ratio_to, them.row.ratio) == ("minivae", pytest.approx(0.5))
    assert us.row.gflops == pytest.approx(3.83 / 0.030)
    assert (us.start_mb, us.row.peak_mb) == (100, 50)


def test_the_share_of_sgemm_is_paired_by_process(found):
    """2 x 1024³ FLOPs in 10 ms, or 20, beside 3.83 GFLOP in 20 and 40, or 40 and 80."""
    ((us, them),) = steps.lines_of(found).values()
    pace = 2 * 1024**3 / 0.01
    assert us.of_sgemm == pytest.approx(3.83e9 * np.median([1 / 0.02, 1 / 0.04]) / pace)
    assert them.of_sgemm == pytest.approx(3.83e9 / 0.04 / pace)


def test_losses_are_compared_with_our_first_ones():
    step = STEPS[0]
    found = steps.Steps({}, {}, {})
    found.note(step, "minivae", turn([], losses=(4.0, 2.0)))
    found.note(step, "torch", turn([], losses=(4.0, 2.0001)))
    assert found.difference == pytest.approx(5e-5)
    with pytest.raises(UserError, match="do not compute the same"):
        found.note(step, "jax", turn([], losses=(4.0, 2.001)))


def fails(impl, given, timed):
    raise UserError("no compiler")


def test_what_cannot_run_is_left_out_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "take_turn", fails)
    one, other = STEPS[:2]
    found = steps.Steps({}, {}, {"jax": "not installed"})
    found.first(one, "torch.compile", tmp_path)
    assert found.left_out["torch.compile, mlp b128"] == "no compiler"
    assert found.is_left_out(one, "torch.compile")
    assert not found.is_left_out(other, "torch.compile")
    assert found.is_left_out(one, "jax")
    assert found.is_left_out(other, "jax")
    with pytest.raises(UserError, match="no compiler"):
        found.first(one, "minivae", tmp_path)


def test_a_first_round_is_checked_and_not_timed(monkeypatch):
    asked = []

    def noted(impl, given, timed):
        asked.append((impl, given.name, timed))
        return turn([1.0])

    monkeypatch.setattr(steps, "take_turn", noted)
    monkeypatch.setattr(steps, "missing", dict)
    pair = (Step("a", "conv", 8, 2, 4), Step("b", "dense", 8, 2, 4))
    found = steps.compare(pair, 2, Noise(0).uniform((8, 1, 8, 8)))
    once = [(impl, f"{s}.npz") for s in pair for impl in processes.MODULES]
    assert asked == [(*who, timed) for timed in (False, True, True) for who in once]
    assert {len(turns) for turns in found.turns.values()} == {2}
    assert len(found.turns) == 8


def test_a_later_round_that_disagrees_is_refused(monkeypatch):
    def drifting(impl, given, timed):
        return turn([1.0], losses=(2.1,) if timed and impl == "jax" else (2.0,))

    monkeypatch.setattr(steps, "take_turn", drifting)
    monkeypatch.setattr(steps, "missing", dict)
    with pytest.raises(UserError, match="do not compute the same"):
        steps.compare((TINY,), 1, Noise(0).uniform((8, 1, 8, 8)))


def test_tables_are_readable_and_say_what_is_missing(found, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    peers = run.Peers(2, found)
    (sheets,) = peers.pages().values()
    report.print_sheets(run.with_notes(sheets, peers.notes()))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    for words in (
        "jax is left out: not installed",
        "3.0e-06",
        "CORETYPE=Prescott",
        "0.50-0.50",
        "torch.compile",
        "100 + 50",
        "conv28 b128: 1×28×28 – 10, 3.83 GFLOP",
    ):
        assert words in printed
    document = json.loads(report.document([], peers=peers.document()))["peers"]
    assert document["left_out"] == {"jax": "not installed"}
    assert [line["of_sgemm"] for line in document["ratios"]] == [
        line.of_sgemm for line in peers.lines()
    ]


def test_a_process_tells_its_losses_times_and_memory(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(steps, "SETTLE", 0)
    monkeypatch.setattr(steps, "SECONDS", 0)
    monkeypatch.setattr(steps, "PROBE", 0)
    np.savez(tmp_path / "given.npz", **tiny)
    found = steps.take_turn("minivae", tmp_path / "given.npz", timed=True)
    assert found.described.startswith("minivae ")
    assert found.losses == ours.step(tiny)["step"].check()
    assert len(found.steps) == worker.FEWEST
    assert len(found.sgemms) == 2 * worker.FEWEST


@pytest.mark.skipif(Memory().start_mb is None, reason="the system does not tell it")
def test_the_peak_is_above_the_start_and_forgets_what_was_before():
    code = """
import numpy as np
from benchmarks.memory import Memory
np.ones(2 * 10**7)  # 160 MB, gone before the start
memory = Memory()
before = memory.peak_mb()
np.ones(10**7)  # 80 MB, gone before the end
print(before, memory.peak_mb())
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before < 5
    assert 79 < after < 90


# Processes


class Answering:
    """A worker that notes who was asked what, and needs no process."""

    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def ask(self, kind, names, seconds):
        self.asked.append((self.name, *names))
        return {name: [1.0] for name in names}


def test_libraries_take_turns_and_cases_of_one_share_theirs(monkeypatch):
    monkeypatch.setattr(kernels, "SETTLE", 0)
    asked = []
    workers = {name: Answering(name, asked) for name in processes.MODULES}
    both = (A, B, kernels.Entry("torch, other", "torch", "other"), C)
    plans = [*ONE, kernels.Comparison("more", None, both)]
    seconds = kernels.take_turns(workers, plans, rounds=2)
    once = [("minivae", "work"), ("torch", "work")]
    more = [("minivae", "work"), ("torch", "work", "other"), ("jax", "work")]
    assert asked == 2 * (once + more)
    assert all(turns == [[1.0], [1.0]] for turns in seconds.values())
    assert len(seconds) == 6


def test_a_turn_alternates_and_counts_a_few_calls_at_least():
    seen = []
    functions = {name: lambda name=name: seen.append(name) for name in "ab"}
    times = worker.turn(functions, seconds=0)
    assert "".join(seen) == "ab" * (1 + worker.FEWEST)
    assert [len(t) for t in times.values()] == 2 * [worker.FEWEST]


def test_a_worker_answers_by_the_case(given):
    cases = {"work": work.Case(lambda: [1.0], lambda: None)}
    assert worker.answer(cases, Memory(), ["check"]) == {"work": [1.0]}
    assert worker.answer(cases, Memory(), ["time", ["work"], 0]).keys() == {"work"}


def test_a_worker_that_dies_is_told_in_one_line(tmp_path):
    missing = tmp_path / "nothing.npz"
    with (
        pytest.raises(UserError, match=r"failed: FileNotFoundError"),
        processes.working("minivae", "step", missing),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("train", "--peers", "--profile"), "give --profile or --peers, not both"),
        (("train", "--peers", "--rounds", "0"), "rounds must be at least 1, not 0"),
        (
            ("peers", "--arch", "resnet"),
            "no step of arch 'resnet' is measured; have dense, conv, burgess",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(options)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"benchmarks: {words}\n"
