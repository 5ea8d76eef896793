import math

import pytest

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
