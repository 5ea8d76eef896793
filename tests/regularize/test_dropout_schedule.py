import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.regularize import DropoutSchedule, parse_dropout_schedule

WHOLE = ["constant", "linear", "linear-down", "curriculum"]
SHARED = ["early", "early-linear", "late"]
SHARES = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)
STEPS = st.integers(1, 300)
SCHEDULES = st.one_of(
    st.sampled_from(WHOLE).map(DropoutSchedule),
    st.builds(DropoutSchedule, st.sampled_from(SHARED), SHARES),
)


def factors(word, steps):
    schedule = parse_dropout_schedule(word)
    return [schedule.factor(step, steps) for step in range(steps)]


@given(SCHEDULES, STEPS)
def test_every_factor_lies_between_0_and_1(schedule, steps):
    assert all(0.0 <= schedule.factor(step, steps) <= 1.0 for step in range(steps))


@given(SCHEDULES)
def test_the_word_of_a_schedule_names_it(schedule):
    assert parse_dropout_schedule(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("early-0.4", [1, 1, 0, 0, 0]),
        ("early-linear-0.8", [1, 0.75, 0.5, 0.25, 0]),
        ("late-0.4", [0, 0, 0, 1, 1]),
        ("linear", [0, 0.25, 0.5, 0.75, 1]),
        ("linear-down", [1, 0.75, 0.5, 0.25, 0]),
        ("curriculum", [0, 1 - math.e**-2, 1 - math.e**-4, 1 - math.e**-6, 1 - math.e**-8]),
    ],
)
def test_the_table_is_true(word, expected):
    assert factors(word, 5) == pytest.approx(expected)


@given(SHARES, STEPS)
def test_early_and_late_act_during_their_share_of_the_steps(share, steps):
    early = [DropoutSchedule("early", share).factor(s, steps) for s in range(steps)]
    late = [DropoutSchedule("late", share).factor(s, steps) for s in range(steps)]
    assert early == late[::-1] == sorted(early, reverse=True)
    assert abs(sum(early) - share * steps) <= 0.5


@given(SHARES, STEPS)
def test_early_linear_acts_where_early_does(share, steps):
    for step in range(steps):
        linear = DropoutSchedule("early-linear", share).factor(step, steps)
        assert (linear > 0) == (DropoutSchedule("early", share).factor(step, steps) > 0)


@given(STEPS)
def test_linear_down_mirrors_linear_and_curriculum_rises_above_it(steps):
    up, down, curve = (factors(word, steps) for word in ("linear", "linear-down", "curriculum"))
    assert [a + b for a, b in zip(up, down, strict=True)] == pytest.approx([1.0] * steps)
    assert up == sorted(up)
    assert curve == sorted(curve)
    # The formula of the paper for the rate of keeping: θ(t) = (1 - θ̄) exp(-γ t) + θ̄, γ = 10 / T.
    for step, factor in enumerate(curve):
        keep = (1 - 0.7) * math.exp(-10 / steps * step) + 0.7
        assert 0.3 * factor == pytest.approx(1 - keep)


def test_a_run_of_one_step_has_a_factor():
    assert {word: factors(word, 1) for word in WHOLE} == {
        "constant": [1.0],
        "linear": [0.0],
        "linear-down": [1.0],
        "curriculum": [0.0],
    }


@pytest.mark.parametrize("word", ["", "eraly-0.2", "early-", "early-x", "linear-0.5", "late0.5"])
def test_another_word_is_refused_with_all_that_there_are(word):
    with pytest.raises(UsageError, match=r"must be one of constant, early-S.*S is a share"):
        parse_dropout_schedule(word)


@pytest.mark.parametrize("word", ["early", "late", "early-0", "early-1", "late-1.5", "late-nan"])
def test_a_share_must_lie_between_0_and_1(word):
    with pytest.raises(UsageError, match="needs a share of the steps between 0 and 1; got"):
        parse_dropout_schedule(word)


def test_a_share_without_meaning_and_an_unknown_kind_are_refused():
    with pytest.raises(UsageError, match="takes no share; got 0.5"):
        DropoutSchedule("linear", 0.5)
    with pytest.raises(UsageError, match="got 'sometimes'"):
        DropoutSchedule("sometimes")


@pytest.mark.parametrize(("step", "steps"), [(-1, 5), (5, 5), (0, 0)])
def test_a_step_outside_the_run_is_refused(step, steps):
    with pytest.raises(UsageError, match=r"`step` must lie in \[0, \d\)"):
        DropoutSchedule().factor(step, steps)


def test_it_loads_no_torch():
    code = "import redrop.regularize, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
