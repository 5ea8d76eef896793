"""The arithmetic of matched runs: paired differences, their interval, and what it settles.

Runs of two arms that share a seed share weights, batches and the random words of their masks, so
the unit of the analysis is the pair. With 3 to 10 pairs the paired t interval covers what it
promises (the percentile bootstrap covers 75 to 88 % where it says 95 %), and judging after every
pair turns 5 % false alarms into 10 to 19 %: so looks are planned and paid for by Bonferroni, as is
the number of arms that are compared; what a look costs that was not planned is in `study.looks`.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

# scipy.stats holds the same functions behind an import that takes twice as long.
from scipy.special import nctdtr, stdtrit

from redrop.errors import UsageError

# Power at which a further number of seeds is said to settle a margin.
POWER = 0.8
# Beyond this many pairs a study is told that its margin is out of reach.
MOST_PAIRS = 200
# With 2 or 3 pairs the quantile of t is 12.7 or 4.3: the interval costs more than the next pair.
FEWEST_PAIRS = 4


class Outcome(StrEnum):
    """What an interval of arm - baseline says about a margin; lower loss is better."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference that matters"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and standard deviation of one arm over its seeds; `sd` is None for one seed."""

    mean: float
    sd: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean paired difference with its two-sided interval, mean ± half_width.

    `half_width` and `sd` are None for a single pair: one pair knows nothing about its own spread.
    `agreeing` counts the pairs whose sign is that of the mean.
    """

    mean: float
    sd: float | None
    half_width: float | None
    pairs: int
    agreeing: int
    confidence: float
    tests: int

    @property
    def low(self) -> float | None:
        """Return the lower end of the interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Return the upper end of the interval."""
        return None if self.half_width is None else self.mean + self.half_width

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, the ends of the interval written out."""
        return {**asdict(self), "low": self.low, "high": self.high}


def summarize(values: Sequence[float]) -> Summary | None:
    """Return mean and sample standard deviation, or None for no values.

    >>> summarize([2.0, 3.0, 4.0])
    Summary(mean=3.0, sd=1.0, count=3)
    """
    if not values:
        return None
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), sd, len(values))


def best_step(losses: Mapping[int, float | None]) -> int | None:
    """Return the step of the lowest loss, the earliest among equals; None if none is finite.

    >>> best_step({100: 2.5, 200: 2.25, 300: 2.25, 400: None})
    200
    """
    finite = {step: loss for step, loss in losses.items() if loss is not None}
    return min(finite, key=lambda step: (finite[step], step), default=None)


def paired_differences(
    arm: Mapping[int, float | None], baseline: Mapping[int, float | None]
) -> dict[int, float]:
    """Return arm(s) - baseline(s) for every seed s at which both have a value.

    >>> paired_differences({0: 2.25, 1: 2.5, 2: None}, {0: 2.75, 1: 2.75, 2: 2.5, 3: 2.5})
    {0: -0.5, 1: -0.25}
    """
    differences = {}
    for seed in sorted(arm.keys() & baseline.keys()):
        ours, theirs = arm[seed], baseline[seed]
        if ours is not None and theirs is not None:
            differences[seed] = ours - theirs
    return differences


def critical_t(pairs: int, confidence: float = 0.95, tests: int = 1) -> float:
    """Return the quantile of Student's t, pairs - 1 degrees of freedom, for one of `tests` looks.

    Each of the `tests` two-sided intervals holds at 1 - (1 - confidence) / tests, so that by
    Bonferroni's inequality all of them hold together at `confidence`.

    Raises:
        UsageError: Fewer than 2 pairs, a confidence outside (0, 1), or fewer than 1 test.

    >>> round(critical_t(5), 3), round(critical_t(5, tests=3), 3)
    (2.776, 3.961)
    """
    if pairs < 2 or not 0 < confidence < 1 or tests < 1:
        raise UsageError(
            "An interval needs 2 pairs, a `confidence` in (0, 1) and `tests` >= 1; got "
            f"{pairs} pairs, {confidence} and {tests}. Run more seeds."
        )
    return _student_quantile(pairs - 1, 1 - (1 - confidence) / (2 * tests))


@lru_cache(maxsize=4096)
def _student_quantile(freedom: int, probability: float) -> float:
    return float(stdtrit(freedom, probability))


def paired_interval(
    differences: Sequence[float], *, confidence: float = 0.95, tests: int = 1
) -> Difference | None:
    """Return the paired t interval, mean ± t · sd / √n, or None for no pairs.

    Args:
        differences: arm - baseline, one per seed.
        confidence: With which all `tests` intervals hold together.
        tests: The plan's `looks` times the number of arms compared to the baseline.

    References:
        Student, "The probable error of a mean", Biometrika 6 (1908).

    >>> interval = paired_interval([-0.15, -0.14, -0.16, -0.13, -0.15])
    >>> f"{interval.mean:.3f} ± {interval.half_width:.3f}, {interval.agreeing} of {interval.pairs}"
    '-0.146 ± 0.014, 5 of 5'
    """
    summary = summarize(differences)
    if summary is None:
        return None
    half_width = None
    if summary.sd is not None:
        spread = summary.sd / math.sqrt(summary.count)
        half_width = critical_t(summary.count, confidence, tests) * spread
    sign = math.copysign(1, summary.mean) if summary.mean else 0
    agreeing = sum(1 for value in differences if value * sign > 0 or value == sign == 0)
    return Difference(
        mean=summary.mean,
        sd=summary.sd,
        half_width=half_width,
        pairs=summary.count,
        agreeing=agreeing,
        confidence=confidence,
        tests=tests,
    )


def decide(difference: Difference | None, margin: float) -> Outcome:
    """Say what an interval settles about a margin that was fixed beforehand.

    better: the whole interval lies at or below -margin; worse: at or above +margin; no difference
    that matters: strictly between the two; inconclusive: anything else, and a single pair.

    >>> decide(paired_interval([-0.15, -0.14, -0.16]), margin=0.01).value
    'better'
    >>> decide(paired_interval([-0.15]), margin=0.01).value
    'inconclusive'
    """
    if difference is None or difference.low is None or difference.high is None:
        return Outcome.INCONCLUSIVE
    # With margin 0 a difference of exactly nothing is neither better nor worse.
    if difference.high <= -margin and difference.high < 0:
        return Outcome.BETTER
    if difference.low >= margin and difference.low > 0:
        return Outcome.WORSE
    if -margin < difference.low and difference.high < margin:
        return Outcome.SAME
    return Outcome.INCONCLUSIVE


def pairs_needed(
    mean: float,
    sd: float,
    margin: float,
    *,
    confidence: float = 0.95,
    tests: int = 1,
    power: float = POWER,
) -> int | None:
    """Return how many pairs settle a margin with the given power, or None beyond MOST_PAIRS.

    Taken as if `mean` and `sd` were the truth. Outside the margin the interval has to clear it:
    power = P(T' < -t), T' non-central with (|mean| - margin) √n / sd. Inside, both ends have to
    stay within; 1 - P(one end leaves) - P(the other leaves) bounds the power from below.
    A mean on the margin itself needs infinitely many pairs.

    Raises:
        UsageError: A negative or non-finite sd or margin.

    >>> pairs_needed(mean=-1.0, sd=1.0, margin=0.0), pairs_needed(mean=-0.5, sd=1.0, margin=0.0)
    (10, 34)
    >>> pairs_needed(mean=0.0, sd=0.01, margin=0.01)
    13
    """
    if not (0 <= sd < math.inf and 0 <= margin < math.inf and math.isfinite(mean)):
        raise UsageError(
            f"`sd` and `margin` must be finite and >= 0; got {sd} and {margin} at mean {mean}."
        )
    if sd == 0:
        return None if abs(mean) == margin else 2
    for pairs in range(2, MOST_PAIRS + 1):
        if _settling_power(mean, sd, margin, pairs, critical_t(pairs, confidence, tests)) >= power:
            return pairs
    return None


def _settling_power(mean: float, sd: float, margin: float, pairs: int, critical: float) -> float:
    """Return the probability (inside the margin: a lower bound) that `pairs` settle the matter."""
    scale = math.sqrt(pairs) / sd
    if abs(mean) >= margin:
        shift = (abs(mean) - margin) * scale
        return 1 - float(nctdtr(pairs - 1, shift, critical))
    leaves = (
        float(nctdtr(pairs - 1, (margin + sign * mean) * scale, critical)) for sign in (1, -1)
    )
    return 1 - sum(leaves)


def further_seeds(
    difference: Difference | None,
    margin: float,
    *,
    tests: int | None = None,
    power: float = POWER,
) -> int | None:
    """Return about how many more seeds would settle an inconclusive difference.

    0 where it is settled; None where more than MOST_PAIRS would be needed. One pair has no spread
    to plan with: it is told to reach FEWEST_PAIRS first.

    Args:
        difference: As judged now.
        margin: Fixed beforehand.
        tests: At which the further seeds will be judged, no fewer than now; by default as now.
        power: With which they would settle it.

    >>> further_seeds(paired_interval([-0.05, 0.01, -0.06, -0.01]), margin=0.01)
    26
    """
    if difference is None or difference.sd is None:
        return FEWEST_PAIRS - (0 if difference is None else difference.pairs)
    if decide(difference, margin) is not Outcome.INCONCLUSIVE:
        return 0
    needed = pairs_needed(
        difference.mean,
        difference.sd,
        margin,
        confidence=difference.confidence,
        tests=difference.tests if tests is None else tests,
        power=power,
    )
    # At least 1: an interval that does not clear the margin now has a power below one half.
    return None if needed is None else needed - difference.pairs
