import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.train import TrainConfig
from redrop.train.schedule import learning_rate

CONFIG = TrainConfig(steps=111, warmup_steps=10, learning_rate=2.0, min_learning_rate=0.5)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 2.0 / 11),
        (4, 2.0 * 5 / 11),
        (9, 2.0 * 10 / 11),
        (10, 2.0),
        (35, 0.5 + 0.75 * (1 + math.sqrt(0.5))),
        (60, 1.25),
        (85, 0.5 + 0.75 * (1 - math.sqrt(0.5))),
        (110, 0.5),
    ],
)
def test_the_rate_rises_linearly_then_falls_along_half_a_cosine(step, expected):
    assert learning_rate(step, CONFIG) == pytest.approx(expected, abs=1e-12)


def test_the_peak_is_the_only_highest_step():
    rates = [learning_rate(step, CONFIG) for step in range(111)]
    assert rates.index(max(rates)) == 10
    assert rates.count(max(rates)) == 1
    assert min(rates) == rates[0] < 0.5 == rates[-1]


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0, 1, 2, 5])
def test_very_short_runs_have_positive_rates_up_to_the_peak(steps, warmup):
    config = TrainConfig(steps=steps, warmup_steps=warmup, learning_rate=2.0, min_learning_rate=0.5)
    rates = [learning_rate(step, config) for step in range(steps)]
    assert all(0 < rate <= 2.0 for rate in rates)
    assert rates[0] == 2.0 / (warmup + 1)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", {10: 2.0, 35: 1.625, 60: 1.25, 85: 0.875, 110: 0.5}),
        ("constant", {10: 2.0, 35: 2.0, 60: 2.0, 110: 2.0}),
    ],
)
def test_other_schedules_share_the_warm_up_and_fall_as_they_are_called(schedule, expected):
    config = replace(CONFIG, schedule=schedule)
    for step in range(10):
        assert learning_rate(step, config) == learning_rate(step, CONFIG)
    for step, rate in expected.items():
        assert learning_rate(step, config) == pytest.approx(rate, abs=1e-12)


@given(st.sampled_from(["cosine", "linear", "constant"]), st.integers(1, 200), st.integers(0, 50))
def test_after_the_warm_up_no_schedule_rises_or_leaves_its_bounds(schedule, steps, warmup):
    config = replace(CONFIG, schedule=schedule, steps=steps, warmup_steps=warmup)
    rates = [learning_rate(step, config) for step in range(steps)]
    after = rates[warmup:]
    assert all(0.5 - 1e-12 <= rate <= 2.0 for rate in after)
    assert all(later <= earlier for earlier, later in pairwise(after))
    if len(after) > 1 and schedule != "constant":
        assert after[-1] == pytest.approx(0.5)
