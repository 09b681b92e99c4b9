"""The comparison with other libraries: everything of it that needs none of them."""

import json
import math

import numpy as np
import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.peers import ours, plan, run, work, worker
from minivae import UserError, ops
from minivae.random import Noise
from minivae.tensor import Tensor

A, B, C = (plan.Entry(name, name, "work") for name in ("minivae", "torch", "jax"))
ONE = [plan.Comparison("work", 8, (A, B))]


def test_missing_libraries_have_no_entries():
    for comparison in plan.plan(("minivae",)):
        assert {entry.library for entry in comparison.entries} == {"minivae"}
    here = {e.library for c in plan.plan(tuple(plan.MODULES)) for e in c.entries}
    assert here == set(plan.MODULES)


@pytest.fixture(scope="module")
def given():
    weights = ours.VAE((1, 28, 28), work.Z, (work.H,), likelihood="bernoulli").state()
    return work.make(weights, Noise(0).uniform((16, 1, 28, 28)))


def test_our_cases_are_all_that_the_plan_asks_for(given):
    asked = {e.case for c in plan.plan(("minivae",)) for e in c.entries}
    assert ours.cases(given).keys() == asked
    assert sum(array.size for array in work.weights(given).values()) == 652_824


def test_all_are_given_binary_images_of_the_stated_shapes(given):
    for batch in work.BATCHES:
        assert given[f"x/{batch}"].shape == (work.READY, batch, 1, 28, 28)
        assert np.isin(given[f"x/{batch}"], (0, 1)).all()
        assert given[f"noise/{batch}"].shape == (work.READY, batch, work.Z)
    assert {array.dtype for array in given.values()} == {np.dtype(np.float32)}


def test_a_check_starts_afresh_each_time(given):
    for name in ("step 128", "adam"):
        case = ours.cases(given)[name]
        before = case.check()
        case.call()
        assert case.check() == before
        assert before


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
        return run.largest_difference(checks, ONE)

    assert of([2.0, -4.0]) == 0
    assert of([2.0, -5.0]) == pytest.approx(0.25)
    assert math.isnan(of([2.0, math.nan]))


@pytest.mark.parametrize("difference", [2e-4, math.nan, math.inf])
def test_there_are_no_ratios_where_the_libraries_disagree(difference):
    run.refuse_disagreement(1e-4)
    with pytest.raises(UserError, match="do not compute the same"):
        run.refuse_disagreement(difference)


def test_a_ratio_pairs_the_medians_of_each_round():
    found = run.ratio_of([[1, 1, 9], [2, 2], [3]], [[2, 2], [2, 9, 2], [3]])
    assert found.p50 == 1  # of 1/2, 1 and 1
    assert found.p20 < found.p50 == found.p80


@pytest.fixture
def lines():
    seconds = {(0, A): [[0.002], [0.004]], (0, B): [[0.004], [0.008]]}
    return run.lines_of(ONE, seconds, {"work": 6e6})


def test_the_others_are_rated_by_us(lines):
    us, them = lines
    assert us.row == report.Row(
        "work",
        "minivae",
        8,
        us.row.p50_ms,
        us.row.p20_ms,
        us.row.p80_ms,
        gflops=pytest.approx(2),
    )
    assert us.row.p50_ms == pytest.approx(3)
    assert us.ratio is None
    assert (them.row.ratio_to, them.row.ratio) == ("minivae", pytest.approx(0.5))
    assert them.row.gflops / us.row.gflops == pytest.approx(them.row.ratio)


def test_what_is_missing_is_said_in_a_line(lines, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    found = run.Peers(lines, 2, 3e-6, {"minivae": "ours", "torch": "theirs"}, ["jax"])
    report.print_sheets([run.sheet(found)])
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for words in (
        "jax is not installed",
        "[peers]",
        "3.0e-06",
        "CORETYPE=Prescott",
        "0.50-0.50",
    ):
        assert words in printed
    assert "| work 8 | torch |" in report.markdown([run.sheet(found)])
    assert json.loads(report.document([], peers=found.document()))["peers"]["ratios"]


class Answering:
    """A worker that notes who was asked what, and needs no process."""

    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def ask(self, kind, names, seconds):
        self.asked.append((self.name, *names))
        return {name: [1.0] for name in names}


def test_libraries_take_turns_and_cases_of_one_share_theirs(monkeypatch):
    monkeypatch.setattr(run, "SETTLE", 0)
    asked = []
    workers = {name: Answering(name, asked) for name in plan.MODULES}
    both = (A, B, plan.Entry("torch, other", "torch", "other"), C)
    plans = [*ONE, plan.Comparison("more", None, both)]
    seconds = run.take_turns(workers, plans, rounds=2)
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
    assert worker.answer(cases, ["check"]) == {"work": [1.0]}
    assert worker.answer(cases, ["time", ["work"], 0]).keys() == {"work"}


def test_a_worker_that_dies_is_told_in_one_line(tmp_path):
    missing = tmp_path / "nothing.npz"
    with (
        pytest.raises(UserError, match=r"failed: FileNotFoundError"),
        run.working("minivae", missing),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("train", "--peers", "--profile"), "give --profile or --peers, not both"),
        (("train", "--peers", "--rounds", "0"), "rounds must be at least 1, not 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(options)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"benchmarks: {words}\n"
