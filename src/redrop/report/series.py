"""Curves over steps: each seed, their mean, and the spread or the interval around it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redrop.study.records import Evaluation, RunRecord, Study
from redrop.study.statistics import paired_differences, paired_interval, summarize

Quantity = Callable[[Evaluation], float | None]

QUANTITIES: Mapping[str, Quantity] = {
    "validation_loss": lambda line: line.validation_loss,
    "train_loss": lambda line: line.train_loss,
    "train_eval_loss": lambda line: line.train_eval_loss,
    "gap": lambda line: line.gap,
}


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity of one arm.

    Args:
        steps: Steps at which every seed has a value; `mean` and `spread` stand there.
        spread: Around the mean: the standard deviation over seeds, or for a difference the
            half-width of its interval; None for a single seed.
        seeds: Per seed its own (steps, values), which may go on longer than the mean.
        diverged: Seeds that diverged; they have no part in the mean.
    """

    arm: str
    steps: tuple[int, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...] | None
    seeds: Mapping[int, tuple[tuple[int, ...], tuple[float, ...]]]
    diverged: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the series for report.json."""
        seeds = {
            str(seed): {"steps": list(steps), "values": list(values)}
            for seed, (steps, values) in self.seeds.items()
        }
        spread = None if self.spread is None else list(self.spread)
        return {
            "arm": self.arm,
            "steps": list(self.steps),
            "mean": list(self.mean),
            "spread": spread,
            "seeds": seeds,
            "diverged": list(self.diverged),
        }


def arm_series(study: Study, arm: str, quantity: Quantity) -> Series | None:
    """Return a quantity over the steps of an arm, None where no complete run has one.

    `spread` is the sample standard deviation over seeds.
    """
    runs = {seed: _finite(run, quantity) for seed, run in study.of_arm(arm).items()}
    runs = {seed: values for seed, values in runs.items() if values}
    diverged = study.diverged(arm)
    kept = {seed: values for seed, values in runs.items() if seed not in diverged}
    steps = _common_steps(kept)
    if not steps:
        return None
    summaries = [summarize([values[step] for values in kept.values()]) for step in steps]
    known = [summary for summary in summaries if summary is not None]
    spreads = tuple(summary.sd for summary in known if summary.sd is not None)
    return Series(
        arm=arm,
        steps=steps,
        mean=tuple(summary.mean for summary in known),
        spread=spreads or None,
        seeds={seed: _split(values) for seed, values in runs.items()},
        diverged=tuple(sorted(diverged & runs.keys())),
    )


def difference_series(study: Study, arm: str, quantity: Quantity) -> Series | None:
    """Return the paired difference of an arm to the baseline over steps, None without a pair.

    `spread` is the half-width of the paired t interval at that step alone, widened for the number
    of arms and looks as in the verdict. Pairs with a diverged run are left out.
    """
    plan = study.plan
    ours = {seed: _finite(run, quantity) for seed, run in study.of_arm(arm).items()}
    theirs = {seed: _finite(run, quantity) for seed, run in study.of_arm(plan.baseline).items()}
    pairs: dict[int, dict[int, float]] = {}
    diverged = study.diverged(arm) | study.diverged(plan.baseline)
    for seed in sorted((ours.keys() & theirs.keys()) - diverged):
        differences = paired_differences(ours[seed], theirs[seed])
        if differences:
            pairs[seed] = differences
    steps = _common_steps(pairs)
    if not steps:
        return None
    tests = plan.looks * max(1, len(plan.arms) - 1)
    intervals = [
        paired_interval(
            [values[step] for values in pairs.values()], confidence=plan.confidence, tests=tests
        )
        for step in steps
    ]
    known = [interval for interval in intervals if interval is not None]
    half_widths = tuple(each.half_width for each in known if each.half_width is not None)
    return Series(
        arm=arm,
        steps=steps,
        mean=tuple(interval.mean for interval in known),
        spread=half_widths or None,
        seeds={seed: _split(values) for seed, values in pairs.items()},
    )


def _finite(run: RunRecord, quantity: Quantity) -> dict[int, float]:
    values = {line.step: quantity(line) for line in run.evals}
    return {step: value for step, value in values.items() if value is not None}


def _common_steps(values: Mapping[int, Mapping[int, float]]) -> tuple[int, ...]:
    steps = [set(each) for each in values.values()]
    return tuple(sorted(set.intersection(*steps))) if steps else ()


def _split(values: Mapping[int, float]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    return tuple(values), tuple(values.values())
