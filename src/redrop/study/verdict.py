"""From a study to a verdict: what to use, how sure that is, and in which regime it was found."""

from dataclasses import asdict, dataclass
from typing import Any

from redrop.study.against_baseline import Comparison, compare, has_test, validation_difference
from redrop.study.baseline_regime import Regime, is_still_falling, regime_of
from redrop.study.looks import say_looks
from redrop.study.records import Study
from redrop.study.statistics import Outcome
from redrop.study.wording import (
    capital,
    count,
    describe_arm,
    listing,
    plus_minus,
    say_alone,
    say_divergence,
    say_open,
)


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
    best = tuple(compare(study, name, "best") for name in others)
    end = tuple(compare(study, name, "end") for name in others)
    recommended, headline = _headline(study, best)
    return Verdict(
        headline=headline,
        recommended=recommended,
        best=best,
        end=end,
        ending=tuple(_say_end(end, study.plan.short_unit)),
        regime=regime_of(study),
        notes=tuple(_notes(study, best, recommended)),
    )


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
    ranked = sorted(best, key=lambda each: validation_difference(study, each.arm))
    winners = [each for each in ranked if each.outcome is Outcome.BETTER]
    if winners:
        return winners[0].arm, winners[0].sentence
    if all(_is_beaten(each, plan.margin) for each in best):
        advice = "use none" if baseline == "no dropout" else "keep it"
        # An arm that is good where it does not diverge is not beaten, only not to be had this way.
        is_split = any(each.diverged and each.outcome is not Outcome.WORSE for each in best)
        aside = " without diverging" if is_split else ""
        if is_still_falling(list(done.values())):
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


def _notes(study: Study, best: tuple[Comparison, ...], recommended: str | None) -> list[str]:
    """Return what a reader must know to weigh the figures."""
    notes = []
    is_compared = any(each.difference is not None for each in best)
    if not is_compared:
        pass
    elif has_test(study):
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
    if recommended is not None and is_still_falling(list(study.of_arm(recommended).values())):
        notes.append(
            f"{capital(describe_arm(study.plan, recommended))} was still improving when training "
            "ended: a longer run may show more."
        )
    if study.missing:
        total = count(len(study.plan.arms) * len(study.plan.seeds), "run")
        rest = "the rest is judged here" + ", in a look that is not counted" * is_compared
        notes.append(f"{len(study.missing)} of {total} are not complete; {rest}.")
    return notes
