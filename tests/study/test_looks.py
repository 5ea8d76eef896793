"""Looks that were planned, and looks that were not.

Limits of the simulations come from the binomial: a correct program fails each once in 10^6.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from redrop.report.content import build_report
from redrop.study.looks import continue_looks, error_of_all, further_tests, say_looks
from redrop.study.plan import continue_plan
from redrop.study.records import Study, read_study, write_atomically
from redrop.study.schema import StudyPlan, parse_plan
from redrop.study.statistics import critical_t, further_seeds, paired_interval
from redrop.study.verdict import judge
from tests.study.synthetic import make_plan, write_ends

FALSE_ALARM = 1e-6
STUDIES = 4000
MOST = 60
"""Pairs that any study of a simulation has at most."""

Draws = NDArray[np.float64]


def plan_of(seeds: int, looks: int = 1) -> StudyPlan:
    """A plan that was never looked at."""
    plan = make_plan(seeds=range(seeds), looks=looks, margin=0.0)
    return replace(plan, arms=plan.arms[:2], spent=0.0)


def after(*seeds: int, looks: int = 1) -> StudyPlan:
    """The plan of a study that was begun at the first number of seeds and got the others."""
    plan = plan_of(seeds[0], looks)
    for number in seeds[1:]:
        plan = continue_plan(plan_of(number), plan, Path("study"))
    return plan


def is_wrong(pairs: Draws, plan: StudyPlan) -> bool:
    """Whether the interval leaves out 0, the truth."""
    interval = paired_interval(pairs.tolist(), tests=plan.looks)
    assert interval is not None
    assert interval.half_width is not None
    return abs(interval.mean) > interval.half_width


def any_wrong(draws: Draws, first: int, following: Callable[[Draws, int], int], looks: int) -> int:
    """Count studies of which any of the looks is wrong; all numbers but the first may be chosen."""
    wrong = 0
    for row in draws:
        number, plan = first, plan_of(first)
        for left in reversed(range(looks)):
            if is_wrong(row[:number], plan):
                wrong += 1
                break
            if left:
                number = following(row[:number], plan.looks)
                plan = continue_looks(plan_of(number), plan)
    return wrong


def most_hits(probability: float) -> int:
    return int(stats.binom.ppf(1 - FALSE_ALARM, STUDIES, probability))


def null_draws(seed: int) -> Draws:
    return np.random.default_rng(seed).normal(0, 1, (STUDIES, MOST))


def four_more(seen: Draws, _: int) -> int:
    return len(seen) + 4


def as_advised(seen: Draws, looks: int) -> int:
    """As many as the verdict names: what a user who believes it adds."""
    plan = replace(plan_of(len(seen)), looks=looks, spent=0.05 * (looks > 1))
    interval = paired_interval(seen.tolist(), tests=looks)
    advised = further_seeds(interval, 0.0, tests=further_tests(plan, looks))
    return MOST if advised is None else min(MOST, len(seen) + advised)


def to_deceive(seen: Draws, looks: int) -> int:
    """The number at which chance is likeliest to look like an effect, for a known spread.

    With z of the pairs seen, r times as many more exceed c most often where √(1 + r) = c / z.
    """
    z = abs(seen.mean()) / seen.std(ddof=1) * np.sqrt(len(seen))
    c = stats.norm.isf(0.05 / max(4, 2 * looks) / 2)
    share = (c / z) ** 2 - 1
    return int(np.clip(len(seen) * (1 + share), len(seen) + 1, MOST)) if z else MOST


@pytest.mark.slow
@pytest.mark.parametrize("looks", [1, 2, 3])
@pytest.mark.parametrize("following", [four_more, as_advised, to_deceive])
def test_all_reports_together_err_no_more_than_the_last_one_says(
    following: Callable[[Draws, int], int], looks: int
) -> None:
    named = error_of_all(after(*range(4, 4 + looks)))
    assert named == pytest.approx([0.05, 0.075, 0.0875][looks - 1])
    assert any_wrong(null_draws(looks), 4, following, looks) <= most_hits(named)


def test_added_looks_at_the_full_error_would_break_that_promise() -> None:
    # The same count with every look at 95 %: what the rule is for.
    wrong = 0
    for row in null_draws(5):
        plans = (plan_of(4), plan_of(8), plan_of(12), plan_of(24), plan_of(48))
        wrong += any(is_wrong(row[: len(plan.seeds)], plan) for plan in plans)
    assert wrong > most_hits(0.1)


@given(st.integers(1, 4), st.integers(1, 6))
def test_whatever_is_added_less_than_twice_the_error_is_spent(looks: int, added: int) -> None:
    plan = after(*range(2, 3 + added), looks=looks)
    assert 0.05 < error_of_all(plan) < 0.1
    before = after(*range(2, 2 + added), looks=looks)
    assert plan.spent == error_of_all(before)
    assert plan.looks >= 2 * before.looks
    assert critical_t(9, tests=plan.looks) > critical_t(9, tests=before.looks)


def test_a_first_look_costs_what_it_did() -> None:
    assert (after(4).looks, error_of_all(after(4))) == (1, 0.05)


def test_planned_looks_keep_their_promise() -> None:
    plan = plan_of(4, looks=2)
    again = continue_plan(plan_of(8, looks=2), plan, Path("study"))
    assert (again.looks, again.spent, error_of_all(again)) == (2, 0.0, 0.05)
    assert further_tests(plan, 6) == 6
    third = continue_plan(plan_of(12), again, Path("study"))
    assert (third.looks, third.spent, error_of_all(third)) == (4, 0.05, 0.075)


def test_one_seed_promised_nothing() -> None:
    assert after(1, 4) == after(4)
    assert after(1, 4, 8) == after(4, 8)


def test_further_seeds_are_counted_at_the_price_of_the_look_they_make() -> None:
    for seeds in ((4,), (4, 5), (4, 5, 6)):
        plan = after(*seeds)
        assert further_tests(plan, 3 * plan.looks) == 3 * after(*seeds, 9).looks


def of_old(looks: int) -> StudyPlan:
    """A plan of before planned looks and others were told apart."""
    stored = json.loads(replace(plan_of(4), looks=looks).to_json())
    del stored["spent"]
    return parse_plan(stored, "study.json")


def test_an_older_plan_is_read_and_claims_no_plan_it_does_not_know() -> None:
    assert say_looks(of_old(1), 3) == say_looks(plan_of(4), 3)
    assert say_looks(of_old(2), 3) == (
        "The intervals hold together at 95 % for 3 comparisons if all 2 looks were planned, which "
        "this older record does not say; else at 92.5 %."
    )
    # α, α/2 and α/3 were spent: 9.17 %.
    assert error_of_all(of_old(3)) == pytest.approx(0.05 * (1 + 1 / 2 + 1 / 3))
    more = continue_plan(plan_of(9), of_old(3), Path("study"))
    assert (more.looks, more.spent) == (6, error_of_all(of_old(3)))


def test_a_plan_says_what_was_spent_after_its_file() -> None:
    plan = after(4, 8, 12)
    assert parse_plan(json.loads(plan.to_json()), "study.json") == plan
    with pytest.raises(ValueError, match="`spent` of a plan must be at least 0"):
        replace(plan, spent=-0.1)


def written(folder: Path, plan: StudyPlan) -> Study:
    losses = [2.5 + 0.01 * (seed % 3) for seed in plan.seeds]
    write_ends(folder, {"none": losses, "all-0.1": [each - 0.1 for each in losses]})
    write_atomically(folder / "study.json", plan.to_json())
    return read_study(folder)


def test_verdict_and_method_say_that_the_look_was_not_planned(tmp_path: Path) -> None:
    study = written(tmp_path, after(4, 8))
    said = (
        "This look was not planned: seeds were added to a study that could be judged at 95 % "
        "before. The intervals are wider for it, and those of all its reports, earlier ones "
        "included, hold together at 92.5 % for 1 comparison."
    )
    assert said in judge(study).notes
    method = " ".join(build_report(study).method)
    assert said + " Bonferroni: each is that of 98.75 % alone." in method
    assert "planned look" not in method
    difference = judge(study).best[0].difference
    assert difference is not None
    assert difference.tests == 4


def test_a_first_look_at_one_arm_says_no_more_than_its_share(tmp_path: Path) -> None:
    study = written(tmp_path, after(4))
    assert not [note for note in judge(study).notes if "hold together" in note]
    assert "it holds at 95 %." in " ".join(build_report(study).method)
