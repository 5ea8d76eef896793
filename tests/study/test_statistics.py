"""Limits of the simulations come from the binomial: a correct program fails each once in 10^6."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from redrop.errors import UsageError
from redrop.study import statistics
from redrop.study.statistics import (
    MOST_PAIRS,
    Outcome,
    best_step,
    critical_t,
    decide,
    further_seeds,
    paired_differences,
    paired_interval,
    pairs_needed,
    summarize,
)

FALSE_ALARM = 1e-6
Samples = NDArray[np.float64]

losses = st.floats(-5, 5, allow_nan=False)
samples = st.lists(losses, min_size=2, max_size=10)


def hits_within(probability: float, count: int) -> tuple[int, int]:
    """Return the fewest and the most hits that a fair coin of that probability may show."""
    low = stats.binom.ppf(FALSE_ALARM / 2, count, probability)
    high = stats.binom.ppf(1 - FALSE_ALARM / 2, count, probability)
    return int(low), int(high)


def share_covering(draws: Samples, truth: float, tests: int = 1) -> int:
    hits = 0
    for row in draws:
        interval = paired_interval(row.tolist(), tests=tests)
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= truth <= interval.high
    return hits


@given(samples)
def test_the_interval_is_that_of_scipy(differences: list[float]) -> None:
    if np.std(differences) < 1e-9:
        return
    zeros = [0.0] * len(differences)
    expected = stats.ttest_rel(differences, zeros).confidence_interval(0.95)
    interval = paired_interval(differences)
    assert interval is not None
    assert interval.low == pytest.approx(expected.low, rel=1e-9, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("tests", [1, 3, 12])
@pytest.mark.parametrize("pairs", [2, 3, 5, 20])
def test_the_quantile_pays_for_every_test(pairs: int, tests: int) -> None:
    expected = stats.t.ppf(1 - 0.05 / tests / 2, pairs - 1)
    assert critical_t(pairs, 0.95, tests) == pytest.approx(expected, rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [3, 5, 8])
def test_the_interval_covers_what_it_promises(pairs: int) -> None:
    draws = np.random.default_rng(pairs).normal(-0.02, 0.01, (4000, pairs))
    low, high = hits_within(0.95, len(draws))
    assert low <= share_covering(draws, -0.02) <= high


@pytest.mark.slow
def test_the_interval_still_covers_most_of_skewed_noise() -> None:
    # Exponential differences, more skewed than matched runs ever are: 88 % instead of 95 % with
    # 5 pairs. The percentile bootstrap, the usual other choice, does worse on the same draws.
    draws = np.random.default_rng(1).exponential(1.0, (4000, 5))
    covered = share_covering(draws, 1.0)
    picks = np.random.default_rng(2).integers(0, 5, (4000, 500, 5))
    means = np.take_along_axis(draws[:, None, :], picks, axis=2).mean(axis=2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    bootstrap = int(((low <= 1.0) & (high >= 1.0)).sum())
    assert covered >= hits_within(0.875, 4000)[0]
    assert bootstrap <= hits_within(0.82, 4000)[1]


def false_alarms(tests: int) -> int:
    """Count studies without any true difference that call one, judged after 3, 4, … 8 pairs."""
    draws = np.random.default_rng(7).normal(0, 1, (2000, 8))
    alarms = 0
    for row in draws:
        looks = [paired_interval(row[:count].tolist(), tests=tests) for count in range(3, 9)]
        alarms += any(decide(look, 0.0) is not Outcome.INCONCLUSIVE for look in looks)
    return alarms


@pytest.mark.slow
def test_planned_looks_keep_their_promise_and_free_looks_do_not() -> None:
    _, most = hits_within(0.05, 2000)
    assert false_alarms(tests=6) <= most
    assert false_alarms(tests=1) > most


@pytest.mark.slow
@pytest.mark.parametrize("truth", [-0.01, 0.01])
def test_a_difference_on_the_margin_is_rarely_called(truth: float) -> None:
    draws = np.random.default_rng(3).normal(truth, 0.005, (4000, 5))
    outcomes = [decide(paired_interval(row.tolist()), 0.01) for row in draws]
    called = Outcome.BETTER if truth < 0 else Outcome.WORSE
    low, high = hits_within(0.025, len(outcomes))
    assert low <= outcomes.count(called) <= high
    assert outcomes.count(Outcome.SAME) <= high


@pytest.mark.slow
def test_true_differences_are_found_and_no_difference_is_told() -> None:
    noise = np.random.default_rng(4).normal(0, 0.002, (500, 5))
    for truth, expected in ((-0.05, Outcome.BETTER), (0.05, Outcome.WORSE), (0.0, Outcome.SAME)):
        outcomes = [decide(paired_interval((row + truth).tolist()), 0.01) for row in noise]
        assert outcomes.count(expected) > 490


@pytest.mark.parametrize(
    ("differences", "outcome"),
    [
        ([-0.15, -0.14, -0.16], Outcome.BETTER),
        ([0.15, 0.14, 0.16], Outcome.WORSE),
        ([0.001, -0.001, 0.0], Outcome.SAME),
        ([-0.03, 0.01, -0.01], Outcome.INCONCLUSIVE),
        ([-0.0251, -0.015, -0.02], Outcome.INCONCLUSIVE),  # lower for sure, but by 0.01?
        ([-0.15], Outcome.INCONCLUSIVE),
        ([], Outcome.INCONCLUSIVE),
        ([-0.01, -0.01], Outcome.BETTER),
        ([0.0, 0.0], Outcome.SAME),
    ],
)
def test_four_outcomes(differences: list[float], outcome: Outcome) -> None:
    assert decide(paired_interval(differences), 0.01) is outcome


@given(samples, st.floats(0, 1))
def test_exchanging_arm_and_baseline_exchanges_better_and_worse(
    differences: list[float], margin: float
) -> None:
    mirrored = {Outcome.BETTER: Outcome.WORSE, Outcome.WORSE: Outcome.BETTER}
    ours = decide(paired_interval(differences), margin)
    theirs = decide(paired_interval([-value for value in differences]), margin)
    assert theirs is mirrored.get(ours, ours)


@given(samples, st.integers(1, 5), st.floats(0, 1))
def test_more_tests_never_settle_more(differences: list[float], more: int, margin: float) -> None:
    one, many = paired_interval(differences), paired_interval(differences, tests=1 + more)
    assert one is not None
    assert many is not None
    assert many.half_width >= one.half_width  # type: ignore[operator]
    if decide(one, margin) is Outcome.INCONCLUSIVE:
        assert decide(many, margin) is Outcome.INCONCLUSIVE


def test_no_margin_needs_a_sign_not_a_zero() -> None:
    assert decide(paired_interval([0.0, 0.0, 0.0]), 0.0) is Outcome.INCONCLUSIVE
    assert decide(paired_interval([-0.1, -0.1, -0.1]), 0.0) is Outcome.BETTER


@pytest.mark.parametrize(
    ("effect", "pairs"), [(0.5, 34), (0.75, 16), (1, 10), (1.5, 6), (2, 5), (3, 4)]
)
def test_pairs_needed_without_margin_are_the_published_ones(effect: float, pairs: int) -> None:
    # Exact power of the two-sided paired t test, 80 % at 5 %, from the non-central t.
    assert pairs_needed(-effect, 1.0, 0.0) == pairs
    assert pairs_needed(effect, 1.0, 0.0) == pairs


def power_by_simulation(mean: float, sd: float, margin: float, pairs: int, wanted: Outcome) -> int:
    draws = np.random.default_rng(5).normal(mean, sd, (2000, pairs))
    return sum(decide(paired_interval(row.tolist()), margin) is wanted for row in draws)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mean", "wanted"), [(-0.02, Outcome.BETTER), (0.025, Outcome.WORSE), (0.002, Outcome.SAME)]
)
def test_the_pairs_needed_settle_the_margin_four_times_in_five(
    mean: float, wanted: Outcome
) -> None:
    pairs = pairs_needed(mean, 0.008, 0.01)
    assert pairs is not None
    low, _ = hits_within(0.8, 2000)
    assert power_by_simulation(mean, 0.008, 0.01, pairs, wanted) >= low
    fewer = power_by_simulation(mean, 0.008, 0.01, pairs - 2, wanted)
    assert fewer < hits_within(0.8, 2000)[1], "two pairs fewer must not do as well"


@pytest.mark.parametrize("pairs", [2, 3, 8, 60, MOST_PAIRS])
def test_the_non_central_t_is_that_of_scipy_stats(pairs: int) -> None:
    critical = critical_t(pairs)
    for shift in (0.0, 0.5, 3.0, 12.0, 80.0):
        ours = 1 - float(statistics.nctdtr(pairs - 1, shift, critical))
        assert ours == pytest.approx(stats.nct.sf(critical, pairs - 1, shift), abs=1e-6)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_pairs_needed_is_a_number_of_pairs_or_none(mean: float, sd: float, margin: float) -> None:
    pairs = pairs_needed(mean, sd, margin)
    assert pairs is None or 2 <= pairs <= MOST_PAIRS
    if sd > 1e-3 and abs(abs(mean) - margin) < 1e-12:
        assert pairs is None


def test_further_seeds() -> None:
    assert further_seeds(paired_interval([-0.15, -0.14, -0.16]), 0.01) == 0
    assert further_seeds(paired_interval([-0.15]), 0.01) == 3
    assert further_seeds(None, 0.01) == 4
    assert further_seeds(paired_interval([-0.009, -0.011, -0.0101, -0.0099]), 0.01) is None
    unsettled = paired_interval([-0.05, 0.01, -0.06, -0.01])
    assert unsettled is not None
    assert unsettled.sd is not None
    needed = pairs_needed(unsettled.mean, unsettled.sd, 0.01)
    assert further_seeds(unsettled, 0.01) == needed - 4  # type: ignore[operator]
    dearer = paired_interval([-0.05, 0.01, -0.06, -0.01], tests=3)
    assert further_seeds(dearer, 0.01) > further_seeds(unsettled, 0.01)  # type: ignore[operator]


@given(samples, st.floats(0, 1))
def test_an_inconclusive_study_asks_for_at_least_one_seed(
    differences: list[float], margin: float
) -> None:
    interval = paired_interval(differences)
    more = further_seeds(interval, margin)
    if decide(interval, margin) is Outcome.INCONCLUSIVE:
        assert more is None or more >= 1
    else:
        assert more == 0


def test_one_pair_has_no_interval() -> None:
    interval = paired_interval([-0.2])
    assert interval is not None
    assert interval.mean == -0.2
    assert (interval.sd, interval.half_width, interval.low, interval.high) == (None,) * 4
    assert paired_interval([]) is None
    with pytest.raises(UsageError, match="needs 2 pairs"):
        critical_t(1)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_outside_its_range_is_refused(confidence: float) -> None:
    with pytest.raises(UsageError, match="`confidence`"):
        paired_interval([0.1, 0.2], confidence=confidence)


@pytest.mark.parametrize(("sd", "margin"), [(-1.0, 0.1), (0.1, -1.0), (math.nan, 0.1)])
def test_pairs_needed_refuses_what_is_no_spread(sd: float, margin: float) -> None:
    with pytest.raises(UsageError, match="`sd` and `margin`"):
        pairs_needed(0.1, sd, margin)


def test_seeds_agree_where_they_have_the_sign_of_the_mean() -> None:
    interval = paired_interval([-0.2, -0.1, 0.1, -0.3, 0.0])
    assert interval is not None
    assert (interval.agreeing, interval.pairs) == (3, 5)
    positive = paired_interval([0.2, -0.1])
    assert positive is not None
    assert positive.agreeing == 1


def test_differences_are_taken_within_a_seed() -> None:
    arm = {3: 2.0, 1: 2.5, 2: None, 4: 1.0}
    baseline = {1: 2.75, 2: 2.0, 3: 3.0, 5: 1.0}
    assert paired_differences(arm, baseline) == {1: -0.25, 3: -1.0}


def test_summaries() -> None:
    assert summarize([]) is None
    one, three = summarize([2.5]), summarize([1.0, 2.0, 6.0])
    assert one is not None
    assert three is not None
    assert (one.mean, one.sd, one.count) == (2.5, None, 1)
    assert three.mean == 3.0
    assert three.sd == pytest.approx(np.std([1, 2, 6], ddof=1))


def test_the_best_step_is_the_first_of_the_lowest() -> None:
    assert best_step({3: 2.0, 1: 2.5, 2: 2.0}) == 2
    assert best_step({1: None}) is None
    assert best_step({}) is None
