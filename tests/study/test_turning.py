"""Limits of the simulations come from the binomial: a correct program fails each once in 10^6."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from redrop.study.turning import turning_point

STEPS = np.arange(0, 1401, 50)


def curve(losses: NDArray[np.float64]) -> dict[int, float | None]:
    return dict(zip(STEPS.tolist(), losses.tolist(), strict=True))


def alike(rng: np.random.Generator, deviation: float, memory: float = 0.7) -> NDArray[np.float64]:
    """Noise of evaluations in a row, each much like the one before."""
    noise = rng.normal(0, deviation, len(STEPS))
    for i in range(1, len(noise)):
        noise[i] = memory * noise[i - 1] + np.sqrt(1 - memory**2) * noise[i]
    return noise


FALLING = 1.5 + 2 * np.exp(-STEPS / 500)
LEVEL = 1.5 + 2 * np.exp(-STEPS / 60)


@pytest.mark.parametrize("losses", [FALLING, LEVEL], ids=["falling", "level"])
def test_noise_is_rarely_taken_for_a_turning_point(losses: NDArray[np.float64]) -> None:
    rng = np.random.default_rng(0)
    found = [turning_point([curve(losses + alike(rng, 0.02))], 0.01) for _ in range(500)]
    called = sum(each is not None for each in found)
    assert called <= stats.binom.ppf(1 - 1e-6, 500, 0.05)


@pytest.mark.parametrize("turn", [200, 400, 700, 1000])
def test_a_turning_point_is_found_where_it_is(turn: int) -> None:
    rng = np.random.default_rng(turn)
    losses = 1.5 + 2 * np.exp(-5 * STEPS / turn) + 0.6 * np.maximum(0, STEPS - turn) / turn
    found = [turning_point([curve(losses + alike(rng, 0.01))], 0.01) for _ in range(100)]
    assert all(each is not None for each in found)
    assert np.median([each.step for each in found if each]) == pytest.approx(turn, rel=0.3)
    assert all(each.rise > 0.01 for each in found if each)


def test_a_minimum_near_the_end_is_none_yet() -> None:
    losses = 2.0 + np.abs(STEPS - 1150) / 1000
    assert turning_point([curve(losses)], 0.01) is None
    assert turning_point([curve(2.0 + np.abs(STEPS - 1000) / 1000)], 0.01) is not None


def test_a_rise_below_the_margin_is_none() -> None:
    losses = 2.0 + np.abs(STEPS - 400) / 100_000
    assert turning_point([curve(losses)], 0.01) is None
    assert turning_point([curve(losses)], 0.001) is not None


def test_a_fall_at_the_end_takes_it_back() -> None:
    losses = 2.0 + np.abs(STEPS - 400) / 1000
    losses[-1] = 1.5
    assert turning_point([curve(losses)], 0.01) is None


@given(st.floats(-3, 3), st.floats(0.1, 10))
def test_it_lies_at_the_same_step_on_any_scale(level: float, scale: float) -> None:
    losses = 2.0 + np.abs(STEPS - 400) / 1000
    plain = turning_point([curve(losses)], 0.01)
    moved = turning_point([curve(level + scale * losses)], 0.01 * scale)
    assert plain is not None
    assert moved is not None
    assert (moved.step, moved.rise) == (plain.step, pytest.approx(scale * plain.rise))


def test_the_mean_of_seeds_is_judged_where_all_have_a_value() -> None:
    up, down = 2.0 + np.abs(STEPS - 400) / 1000, 2.0 - STEPS / 1000
    assert turning_point([curve(up), curve(down)], 0.01) is None
    holes = {**curve(up), 500: None}
    found = turning_point([curve(up), holes], 0.01)
    assert found is not None
    assert found.step == 400
    assert turning_point([], 0.01) is None
    assert turning_point([{0: 2.0, 50: 1.0, 100: 2.0}], 0.01) is None
