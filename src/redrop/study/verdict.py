"""From a study to a verdict: what to use, how sure that is, and in which regime it was found.

Every arm is compared with the baseline over the seeds that both have, at two readings: the best
checkpoint (fair to a network that overfits) and the end (what a fixed schedule ships). The test
loss decides where test data were read; arms and checkpoints are chosen by validation loss only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from typing import Any

from redrop.study.looks import further_tests, say_looks
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
    listing,
    plus_minus,
    say_alone,
    say_divergence,
    say_more_seeds,
    say_no_pair,
    say_open,
    signed,
)

# A best step in the last tenth of a run is taken for "still falling".
_WELL_BEFORE_THE_END = 0.9

_READINGS: Mapping[str, tuple[Callable[[End], float | None], Callable[[End], float | None]]] = {
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
    at: str
    metric: str
    difference: Difference | None
    outcome: Outcome
    further_seeds: int | None
    diverged: int
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison for machines, the ends of the interval written out."""
        fields = asdict(self)
        if self.difference is not None:
            fields["difference"] |= {"low": self.difference.low, "high": self.difference.high}
        return fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """What kind of run the baseline was; `state` is None where no baseline run is complete.

    Args:
        epochs: Targets seen per target of the training data, None where the plan does not say.
        state: "passed its minimum", "level" or "still falling".
        best_step: Median over the seeds, as is `steps`.
        rise: Final minus best validation loss, mean over the seeds.
    """

    epochs: float | None = None
    state: str | None = None
    best_step: int | None = None
    steps: int | None = None
    rise: float | None = None
    gap_at_best: float | None = None
    gap_at_end: float | None = None
    sentence: str = "The regime is unknown: no run of the baseline has a finite loss."


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a study says. `recommended` names an arm, or is None where the study cannot say."""

    headline: str
    recommended: str | None
    best: tuple[Comparison, ...]
    end: tuple[Comparison, ...]
    ending: tuple[str, ...]
    regime: Regime
    notes: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return the verdict in plain language, the most important first."""
        arms = [each.sentence for each in self.best if each.sentence not in self.headline]
        return (self.headline, *arms, *self.ending, self.regime.sentence, *self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict for machines; every number of the sentences is in it."""
        return {
            "headline": self.headline,
            "recommended": self.recommended,
            "sentences": list(self.sentences),
            "best": [comparison.to_dict() for comparison in self.best],
            "end": [comparison.to_dict() for comparison in self.end],
            "regime": asdict(self.regime),
            "notes": list(self.notes),
        }


def judge(study: Study) -> Verdict:
    """Compare every arm of a study with its baseline and say what follows.

    A study with missing runs is judged by the runs it has, and says which ones are missing.
    """
    others = [arm.name for arm in study.plan.arms if arm.name != study.plan.baseline]
    best = tuple(_compare(study, name, "best") for name in others)
    end = tuple(_compare(study, name, "end") for name in others)
    recommended, headline = _headline(study, best)
    return Verdict(
        headline=headline,
        recommended=recommended,
        best=best,
        end=end,
        ending=tuple(_say_end(end, study.plan.short_unit)),
        regime=_regime(study),
        notes=tuple(_notes(study, best, recommended)),
    )


def _values(
    runs: Mapping[int, RunRecord], reading: Callable[[End], float | None]
) -> dict[int, float | None]:
    return {seed: reading(run.end) for seed, run in runs.items() if run.end is not None}


def _has_test(study: Study) -> bool:
    return any(run.end and run.end.test_loss_best is not None for run in study.runs)


def _lost(study: Study, arm: str) -> frozenset[int]:
    """Return the seeds at which the arm diverged and the baseline did not."""
    return study.diverged(arm) - study.diverged(study.plan.baseline)


def values_at(study: Study, arm: str, at: str) -> dict[int, float | None]:
    """Return the deciding loss of each seed of an arm at a reading ("best" or "end")."""
    reading = _READINGS[at][0 if _has_test(study) else 1]
    ours = study.of_arm(arm)
    lost = _lost(study, arm)
    return _values({seed: run for seed, run in ours.items() if seed not in lost}, reading)


def _compare(study: Study, arm: str, at: str) -> Comparison:
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
        metric="test loss" if _has_test(study) else "validation loss",
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


def _say_end(end: tuple[Comparison, ...], unit: str) -> list[str]:
    """Return one sentence on all arms at the end of training."""
    changes = [
        f"{plus_minus(each.difference.mean, each.difference.half_width, plus=True)} {unit} with "
        f"{each.label}"
        for each in end
        if each.difference is not None
    ]
    if not changes:
        return []
    return [f"At the end of training, the {end[0].metric} changes by {listing(changes)}."]


def _headline(study: Study, best: tuple[Comparison, ...]) -> tuple[str | None, str]:
    """Return the recommended arm, if any, and the first sentence."""
    plan = study.plan
    baseline = describe_arm(plan, plan.baseline)
    done = study.of_arm(plan.baseline)
    margin = f"{plan.margin:g} {plan.short_unit}"
    if not best:
        return None, say_alone(study)
    if done and study.diverged(plan.baseline) == done.keys():
        why = say_divergence(study, plan.baseline)
        return None, f"No verdict: every run of the baseline ({baseline}) diverged; {why}."
    if all(each.difference is None and not each.diverged for each in best):
        return None, "No verdict yet: no seed is complete in the baseline and in another arm."
    ranked = sorted(best, key=lambda each: _validation_difference(study, each.arm))
    winners = [each for each in ranked if each.outcome is Outcome.BETTER]
    if winners:
        return winners[0].arm, winners[0].sentence
    if all(_is_beaten(each, plan.margin) for each in best):
        advice = "use none" if baseline == "no dropout" else "keep it"
        # An arm that is good where it does not diverge is not beaten, only not to be had this way.
        is_split = any(each.diverged and each.outcome is not Outcome.WORSE for each in best)
        aside = " without diverging" if is_split else ""
        if _is_still_falling(list(done.values())):
            aside += " while it is still improving"
            advice += " for runs of this length"
        headline = f"Nothing tried here beats {baseline} by {margin}{aside}: {advice}"
        return plan.baseline, headline + (", or a lower learning rate." if is_split else ".")
    open_, *others = [each for each in ranked if not _is_beaten(each, plan.margin)]
    if open_.difference is not None and open_.difference.half_width is None:
        more = count(open_.further_seeds or 1, "more seed")
        return None, f"No verdict yet: one seed may be chance; run at least {more}."
    if len(best) == 1:
        return None, f"No verdict yet. {open_.sentence}"
    return None, f"No verdict yet: {say_open(1 + len(others), len(best))} {baseline} by {margin}."


def _is_beaten(comparison: Comparison, margin: float) -> bool:
    """Say whether the arm is known not to gain the margin."""
    if comparison.outcome in (Outcome.WORSE, Outcome.SAME) or comparison.diverged:
        return True
    low = None if comparison.difference is None else comparison.difference.low
    return low is not None and low > -margin


def _validation_difference(study: Study, arm: str) -> float:
    """Return the mean paired difference in best validation loss: what arms are chosen by."""
    reading = _READINGS["best"][1]
    ours, theirs = study.of_arm(arm), study.of_arm(study.plan.baseline)
    differences = paired_differences(_values(ours, reading), _values(theirs, reading))
    return fmean(differences.values()) if differences else float("inf")


def _regime(study: Study) -> Regime:
    runs = study.of_arm(study.plan.baseline)
    lost = study.diverged(study.plan.baseline)
    kept = [run for seed, run in runs.items() if seed not in lost]
    ends = [run.end for run in kept if run.end is not None and run.end.best_step is not None]
    rises = [
        end.final_validation_loss - end.best_validation_loss
        for end in ends
        if end.final_validation_loss is not None and end.best_validation_loss is not None
    ]
    if not rises:
        return Regime()
    best_step = round(median(end.best_step for end in ends if end.best_step is not None))
    steps, rise = round(median(end.steps for end in ends)), fmean(rises)
    state = "passed its minimum" if rise > study.plan.margin else "level"
    if _is_still_falling(kept):
        state = "still falling"
    unique = study.plan.settings.get("data", {}).get("train_targets")
    epochs = fmean(end.tokens for end in ends) / unique if unique else None
    bare = Regime(
        epochs=epochs,
        state=state,
        best_step=best_step,
        steps=steps,
        rise=rise,
        gap_at_best=_mean_gap([(run, run.end.best_step) for run in kept if run.end]),
        gap_at_end=_mean_gap([(run, run.evals[-1].step) for run in kept if run.evals]),
    )
    return replace(bare, sentence=_say_regime(bare, study))


def _mean_gap(places: list[tuple[RunRecord, int | None]]) -> float | None:
    lines = [run.at(step) for run, step in places]
    gaps = [line.gap for line in lines if line is not None and line.gap is not None]
    return fmean(gaps) if gaps else None


def _say_regime(regime: Regime, study: Study) -> str:
    """Return the sentence on the regime from a regime that has a state."""
    baseline = describe_arm(study.plan, study.plan.baseline)
    seen = ""
    if regime.epochs is not None:
        times = f"{regime.epochs:.0f}" if regime.epochs >= 10 else f"{regime.epochs:.2g}"
        seen = f" saw its training data {times} times and"
    place = f"step {regime.best_step:,} of {regime.steps:,}"
    rise, unit = signed(regime.rise or 0.0), study.plan.short_unit
    tale = {
        "passed its minimum": (
            f"passed its own minimum: best at {place}, then {rise} {unit} worse by the end. "
            "It overfits, which is where dropout can pay"
        ),
        "level": (
            f"came to a halt: best at {place}, and within {study.plan.margin:g} {unit} of it at "
            "the end. It hardly overfits"
        ),
        "still falling": (
            f"was still improving: best at {place}. It is limited by its training, not by "
            "overfitting, and a longer run may end otherwise"
        ),
    }[regime.state or "level"]
    gap = ""
    if regime.gap_at_best is not None:
        gap = f" (gap to training data {signed(regime.gap_at_best)} {unit} at the best checkpoint)"
    who = "The baseline" if len(study.plan.arms) > 1 else "The only arm"
    return f"{who} ({baseline}){seen} {tale}{gap}."


def _is_still_falling(runs: Sequence[RunRecord]) -> bool:
    """Say whether the best step lies in the last tenth of the run, for the median seed."""
    ends = [run.end for run in runs if run.end is not None and run.end.best_step is not None]
    places = [end.best_step / end.steps for end in ends if end.best_step is not None and end.steps]
    return bool(places) and median(places) > _WELL_BEFORE_THE_END


def _notes(study: Study, best: tuple[Comparison, ...], recommended: str | None) -> list[str]:
    """Return what a reader must know to weigh the figures."""
    notes = []
    is_compared = any(each.difference is not None for each in best)
    if not is_compared:
        pass
    elif _has_test(study):
        chosen = "Arms and checkpoints were" if len(best) > 1 else "The checkpoints were"
        notes.append(
            f"{chosen} chosen by validation loss; the differences are in test loss of the best "
            "checkpoint, on data that no choice has seen."
        )
    else:
        notes.append(
            "No test data were read: the differences are in the same validation loss by which "
            "checkpoints" + (" and arms" if len(best) > 1 else "") + " were chosen, which flatters "
            "the best of them a little."
        )
    if is_compared and study.plan.looks * len(best) > 1 and len(study.plan.seeds) > 1:
        notes.append(say_looks(study.plan, len(best)))
    if recommended is not None and _is_still_falling(list(study.of_arm(recommended).values())):
        notes.append(
            f"{capital(describe_arm(study.plan, recommended))} was still improving when training "
            "ended: a longer run may show more."
        )
    if study.missing:
        total = count(len(study.plan.arms) * len(study.plan.seeds), "run")
        rest = "the rest is judged here" + ", in a look that is not counted" * is_compared
        notes.append(f"{len(study.missing)} of {total} are not complete; {rest}.")
    return notes
