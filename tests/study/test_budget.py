from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.study.budget import SHARES, Budget, open_account, parse_budget
from redrop.study.stage import Stage, none_recipe
from tests.study.surface import Surface

BASELINE = Stage(
    name="1-baseline", kind="baseline", arms=(none_recipe(),), seeds=(0,), steps=100, reason=""
)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("10m", Budget(600, "seconds")),
        ("2h", Budget(7200, "seconds")),
        ("1.5 hours", Budget(5400, "seconds")),
        ("90s", Budget(90, "seconds")),
        ("20000 steps", Budget(20_000, "steps")),
        ("5M tokens", Budget(5_000_000, "tokens")),
    ],
)
def test_budgets_are_read_as_people_write_them(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "10", "0m", "ten minutes", "-5m", "5 runs", "0 steps"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_budget(text)


def test_the_shares_are_the_whole() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)


@given(st.integers(1, 10**6), st.integers(1, 1000), st.sampled_from(["screen", "dose", "confirm"]))
def test_what_a_stage_may_run_costs_no_more_than_its_share(
    amount: int, steps: int, stage: str
) -> None:
    account = open_account(Budget(amount, "steps"), tokens_per_step=None, workers=1)
    later = tuple(SHARES)[tuple(SHARES).index(stage) :]
    share = SHARES[stage] / sum(SHARES[name] for name in later)
    assert account.runs(steps, *later) * steps <= share * amount + 1e-3 * steps
    assert (account.runs(steps, *later) + 1) * steps > share * amount


def test_time_is_that_of_all_workers_and_a_step_costs_what_was_measured() -> None:
    account = open_account(Budget(60, "seconds"), tokens_per_step=None, workers=2)
    assert account.runs(100) == 0  # nothing is known yet
    study = Surface(seconds_per_step=0.02).study(BASELINE)
    after = account.after(study)
    assert (after.total, after.spent, after.per_step) == (120, 2.0, 0.02)
    assert after.runs(100) == 59


def test_a_budget_in_tokens_pays_by_step() -> None:
    account = open_account(Budget(100_000, "tokens"), tokens_per_step=50, workers=2)
    assert account.runs(100) == 20
    assert account.after(Surface().study(BASELINE)).spent == 5000
    with pytest.raises(UsageError, match="needs a task on text"):
        open_account(Budget(100_000, "tokens"), tokens_per_step=None, workers=1)


def test_what_is_needed_is_said_on_the_clock() -> None:
    account = open_account(Budget(10, "seconds"), tokens_per_step=None, workers=2)
    account = replace(account, per_step=0.1)
    assert account.say_needed(6, 100, workers=2) == "33 s"
