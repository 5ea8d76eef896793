"""One arm against the baseline, over the seeds that both have, and the sentence that says it.

There are two readings: the best checkpoint (fair to a network that overfits) and the end (what a
fixed schedule ships). The test loss decides where test data were read; what is chosen, arms and
checkpoints, is chosen by validation loss only.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Literal

from redrop.study.looks import further_tests
from redrop.study.records import End, RunRecord, Study
from redrop.study.statistics import (
    Difference,
    Outcome,
    decide,
    further_seeds,
    paired_differences,
    paired_interval,
)
from redrop.study.wording import (
    capital,
    count,
    describe_arm,
    plus_minus,
    say_divergence,
    say_more_seeds,
    say_no_pair,
)

Reading = Literal["best", "end"]

_READINGS: Mapping[Reading, tuple[Callable[[End], float | None], Callable[[End], float | None]]] = {
    "best": (lambda end: end.test_loss_best, lambda end: end.best_validation_loss),
    "end": (lambda end: end.test_loss_final, lambda end: end.final_validation_loss),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One arm against the baseline at one reading ("best" or "end").

    `further_seeds` is 0 where the matter is settled and None where no affordable number settles it.
    """

    arm: str
    label: str
    at: Reading
    metric: str
    difference: Difference | None
    outcome: Outcome
    further_seeds: int | None
    diverged: int
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison for machines, the ends of the interval written out.

        An arm that was never compared, because no seed is complete in both, has no outcome.
        """
        fields = asdict(self)
        if self.difference is None and not self.diverged:
            fields["outcome"] = None
        elif self.difference is not None:
            fields["difference"] = self.difference.to_dict()
        return fields


def _values(
    runs: Mapping[int, RunRecord], reading: Callable[[End], float | None]
) -> dict[int, float | None]:
    return {seed: reading(run.end) for seed, run in runs.items() if run.end is not None}


def has_test(study: Study) -> bool:
    """Say whether test data were read."""
    return any(run.end and run.end.test_loss_best is not None for run in study.runs)


def _lost(study: Study, arm: str) -> frozenset[int]:
    """Return the seeds at which the arm diverged and the baseline did not."""
    return study.diverged(arm) - study.diverged(study.plan.baseline)


def values_at(study: Study, arm: str, at: Reading) -> dict[int, float | None]:
    """Return the deciding loss of each seed of an arm at a reading ("best" or "end")."""
    reading = _READINGS[at][0 if has_test(study) else 1]
    ours = study.of_arm(arm)
    lost = _lost(study, arm)
    return _values({seed: run for seed, run in ours.items() if seed not in lost}, reading)


def compare(study: Study, arm: str, at: Reading) -> Comparison:
    """Compare an arm of a study with its baseline."""
    plan = study.plan
    lost = _lost(study, arm)
    differences = paired_differences(values_at(study, arm, at), values_at(study, plan.baseline, at))
    tests = plan.looks * (len(plan.arms) - 1)
    difference = paired_interval(
        list(differences.values()), confidence=plan.confidence, tests=tests
    )
    outcome = decide(difference, plan.margin)
    further = further_seeds(difference, plan.margin, tests=further_tests(plan, tests))
    if lost and outcome is not Outcome.WORSE:
        # A run that diverges counts as worse than any other, so the seeds that are left may
        # neither praise the arm nor clear it.
        outcome = Outcome.INCONCLUSIVE if differences else Outcome.WORSE
        further = None if differences else 0
    bare = Comparison(
        arm=arm,
        label=describe_arm(plan, arm),
        at=at,
        metric="test loss" if has_test(study) else "validation loss",
        difference=difference,
        outcome=outcome,
        further_seeds=further,
        diverged=len(lost),
    )
    return replace(bare, sentence=_say(bare, study))


def _say(comparison: Comparison, study: Study) -> str:
    """Return the sentence of one comparison; the end reading says that it is the end."""
    label, margin = comparison.label, study.plan.margin
    where = "" if comparison.at == "best" else "At the end of training, "
    difference = comparison.difference
    if comparison.diverged:
        runs = count(len(study.of_arm(comparison.arm)), "run")
        why = say_divergence(study, comparison.arm)
        lost = f"{comparison.diverged} of {runs} diverged"
        return capital(f"{where}{label}: {lost}; do not use it: {why}.")
    if difference is None:
        return capital(f"{where}{label}: {say_no_pair(study, comparison.arm)}")
    size = plus_minus(abs(difference.mean), difference.half_width)
    verb = "lowers" if difference.mean < 0 else "raises"
    unit = study.plan.short_unit
    moves = f"{label} {verb} {comparison.metric} by {size} {unit}"
    if difference.low is None or difference.high is None:
        return capital(f"{where}{moves} in the one seed there is, which may be chance.")
    share = f"{100 * difference.confidence:g} %"
    agree = f"({share}, {difference.agreeing} of {difference.pairs} seeds agree)"
    if comparison.outcome in (Outcome.BETTER, Outcome.WORSE):
        return capital(f"{where}{moves} {agree}.")
    change = plus_minus(difference.mean, difference.half_width, plus=True)
    changes = f"{comparison.metric} changes by {change} {unit} ({share}, {difference.pairs} seeds)"
    if comparison.outcome is Outcome.SAME:
        return capital(
            f"{where}{label} makes no difference that matters: {changes}, within ±{margin:g}."
        )
    seeds = say_more_seeds(comparison.further_seeds, difference.pairs)
    if difference.high < 0 or difference.low > 0:
        return capital(f"{where}{moves} {agree}, perhaps less than {margin:g}: {seeds}")
    if difference.low > -margin:
        gain = f"gains no {margin:g} {unit}"
        return capital(f"{where}{label} {gain}: {changes}; it may cost that much.")
    return capital(f"{where}{label} is inconclusive: {changes}; {seeds}")


def validation_difference(study: Study, arm: str) -> float:
    """Return the mean paired difference in best validation loss: what arms are chosen by."""
    reading = _READINGS["best"][1]
    ours, theirs = study.of_arm(arm), study.of_arm(study.plan.baseline)
    differences = paired_differences(_values(ours, reading), _values(theirs, reading))
    return fmean(differences.values()) if differences else float("inf")
