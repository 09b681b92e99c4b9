"""The museum: every mistake is caught as its page says, and the right model is not."""

from __future__ import annotations

import json
import math

import pytest
from command import minivae

from minivae.verify.experiment import BinaryExperiment, Experiment
from minivae.verify.mistakes import MISTAKES, Wrong
from minivae.verify.museum import (
    Exhibit,
    exhibit,
    gradient_check,
    page,
    told,
    wrong_lines,
)
from minivae.verify.protocol import OPTIONAL, REQUIRED
from minivae.verify.suite import CHECKS, judge

each_mistake = pytest.mark.parametrize("name", MISTAKES)


def test_there_are_enough() -> None:
    assert len(MISTAKES) >= 28


@each_mistake
def test_a_mistake_is_caught_by_the_checks_its_page_names(name: str) -> None:
    mistake = MISTAKES[name]
    assert mistake.looks
    for look in mistake.looks:
        (claim,) = judge(mistake(), look)
        assert not claim.passed, claim


@each_mistake
def test_the_gradient_check_sees_what_the_page_says(name: str) -> None:
    claim = gradient_check(MISTAKES[name]())
    assert claim.passed != MISTAKES[name].seen_by_gradcheck, claim


def test_the_right_experiment_passes_every_check_there_is() -> None:
    looked = set()
    for kind in (Experiment, BinaryExperiment):
        for claim in judge(kind()):
            assert claim.passed, claim
            looked.add(claim.name)
        assert gradient_check(kind()).passed
    assert looked == set(CHECKS)


def test_the_checks_know_no_mistake_by_its_name() -> None:
    import inspect

    from minivae.verify import checks, checks_evaluation

    source = inspect.getsource(checks) + inspect.getsource(checks_evaluation)
    assert "mistakes" not in source
    assert not [name for name in MISTAKES if name in source]
    for check in CHECKS.values():
        assert set(check.needs) <= set(OPTIONAL)


def test_a_mistake_changes_only_parts_of_the_experiment() -> None:
    parts = {*dir(BinaryExperiment), *REQUIRED, *OPTIONAL}
    for mistake in MISTAKES.values():
        assert wrong_lines(mistake), mistake.__name__
        assert parts & vars(mistake).keys()


@each_mistake
def test_every_page_tells_where_it_was_seen_and_how_to_notice(name: str) -> None:
    words = told(MISTAKES[name])
    assert words["title"].endswith(".")
    assert len(words["seen"]) > 15
    assert words["notice"].endswith(".")


def test_the_lines_of_pages_fit_a_terminal() -> None:
    for mistake in MISTAKES.values():
        assert max(map(len, wrong_lines(mistake))) <= 76, mistake.__name__


def test_a_page_fits_a_terminal() -> None:
    outcome = minivae("museum", "a_check_that_cannot_fail")
    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert "its log says" in outcome.out
    assert "caught by" in outcome.out


def test_its_log_is_not_the_truth() -> None:
    found = exhibit(MISTAKES["exp_logvar_as_std"])
    assert found.as_said
    assert found.reported < found.exact - 5  # better in its log, worse in truth
    assert math.isfinite(found.exact)
    right = Experiment()
    right.train()
    truth = right.truth(right.data()[:400])
    assert found.reported < truth < found.exact


def test_a_right_variant_is_not_as_said() -> None:
    class nothing_wrong(Wrong):
        """Nothing.

        Seen: nowhere. Notice: not at all.
        """

        looks = ("draws_have_the_variance",)

    del MISTAKES["nothing_wrong"]
    caught = tuple(claim for claim in judge(nothing_wrong()) if not claim.passed)
    assert caught == ()
    empty = Exhibit(
        nothing_wrong, 0.0, 0.0, caught, gradient_check(nothing_wrong()), ()
    )
    assert not empty.as_said
    assert not empty.claim().passed


def test_an_unknown_mistake_lists_the_known() -> None:
    outcome = minivae("museum", "luck")
    assert (outcome.code, outcome.out) == (2, "")
    assert "exp_logvar_as_std" in outcome.err


@pytest.mark.slow
@each_mistake
def test_every_exhibit_is_as_its_page_says(name: str) -> None:
    found = exhibit(MISTAKES[name])
    assert found.as_said
    assert abs(found.reported - found.exact) > 1e-3 * max(1.0, abs(found.exact))
    lines = page(found).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_the_table_has_a_line_for_each() -> None:
    outcome = minivae("museum", "--json")
    assert outcome.code == 0
    claims = json.loads(outcome.out)
    assert [claim["name"] for claim in claims] == [f"museum/{n}" for n in MISTAKES]
