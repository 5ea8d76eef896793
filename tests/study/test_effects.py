"""Limits of the simulations come from the binomial: a correct program fails each once in 10^6."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redrop.study.effects import estimate_effects, pseudo_standard_error
from redrop.study.factorial import make_design

FALSE_ALARM = 1e-6


@given(
    st.integers(2, 8),
    st.integers(1, 2),
    st.lists(st.floats(-1, 1), min_size=8, max_size=8),
    st.lists(st.floats(-5, 5), min_size=4, max_size=4),
)
def test_effects_and_seeds_are_taken_apart_exactly(
    factors: int, replicates: int, effects: list[float], seeds: list[float]
) -> None:
    design = make_design(factors, replicates)
    losses = [
        2.0
        + seeds[row.block]
        + sum(change for change, high in zip(effects, row.high, strict=False) if high)
        for row in design.rows
    ]
    found = estimate_effects(design, losses)
    assert [each.mean for each in found.main] == pytest.approx(effects[:factors], abs=1e-9)
    assert all(abs(each.mean) < 1e-9 for each in found.interactions)


def test_an_interaction_shows_in_its_group_and_in_no_main_effect() -> None:
    design = make_design(8)
    losses = [2.0 + 0.4 * (row.high[0] and row.high[3]) for row in design.rows]
    found = estimate_effects(design, losses)
    shown = {each.name: round(each.mean, 9) for each in found.interactions if abs(each.mean) > 1e-9}
    assert shown == {"AD+BH+CF+EG": 0.2}
    main = {each.name: round(each.mean, 9) for each in found.main if abs(each.mean) > 1e-9}
    assert main == {"A": 0.2, "D": 0.2}  # half of the gain of both, as averages go


def _coverage(factors: int, replicates: int, skewed: bool) -> tuple[int, int]:
    """Count the intervals of main effects that cover the truth, two large effects among them."""
    rng = np.random.default_rng(factors + replicates)
    design = make_design(factors, replicates)
    truth = np.zeros(factors)
    truth[:2] = (-0.8, 0.5)
    high = np.array([row.high for row in design.rows])
    covered = total = 0
    for _ in range(600):
        noise = rng.exponential(0.1, len(high)) if skewed else rng.normal(0, 0.1, len(high))
        blocks = rng.normal(0, 1, design.blocks)[[row.block for row in design.rows]]
        found = estimate_effects(design, (high @ truth + noise + blocks).tolist())
        covered += sum(e.low <= t <= e.high for e, t in zip(found.main, truth, strict=True))
        total += factors
    return covered, total


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize(("factors", "replicates"), [(2, 1), (4, 1), (8, 1), (4, 2), (8, 2)])
def test_intervals_cover_the_truth(factors: int, replicates: int, skewed: bool) -> None:
    covered, total = _coverage(factors, replicates, skewed)
    # Intervals of one design share their noise: the limit is that of as many designs as were
    # drawn, as if all effects of one were covered or missed together. Lenth's rule is known to
    # cover a little more or less than it says; 90 % is what is asked of it here.
    designs = total // factors
    assert covered / factors >= stats.binom.ppf(FALSE_ALARM, designs, 0.90)


def test_large_effects_leave_the_measure_of_noise_alone() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 13).tolist()
    assert pseudo_standard_error([*noise, 50.0]) == pytest.approx(
        pseudo_standard_error([*noise, 5000.0])
    )
    assert 0.05 < pseudo_standard_error([*noise, 50.0]) < 0.2


def test_the_half_normal_plot_ranks_all_contrasts() -> None:
    design = make_design(8)
    losses = np.random.default_rng(1).normal(0, 1, 16) - 6 * design.signs()[:, 4]
    points = estimate_effects(design, losses.tolist()).half_normal()
    assert len(points) == 14
    assert points[-1][2] == "E"
    assert [p[0] for p in points] == pytest.approx(
        stats.halfnorm.ppf((np.arange(14) + 0.5) / 14).tolist()
    )
