"""Last stage: the winner against no dropout and against the usual 0.1, on seeds never used before.

What won a screening and a dose curve won partly by luck; its figures there promise too much. Here
nothing is chosen any more: arms, margin, number of looks and of seeds are fixed before the first
run, and the verdict is the same as that of any other study.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

from redrop.study.against_baseline import Comparison
from redrop.study.records import Study
from redrop.study.stage import Journal, Stage, is_same, none_recipe, say_names
from redrop.study.statistics import FEWEST_PAIRS, Outcome
from redrop.study.verdict import Verdict, judge
from redrop.study.wording import capital, count, plus_minus
from redrop.train.recipe import Recipe

_FEWEST_SEEDS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmed:
    """What the confirmation says.

    Args:
        verdict: Of every arm against no dropout, at the planned number of looks.
        winner: The arm that the earlier stages chose, or None where they chose none.
        against_none: The winner's comparison with no dropout.
        against_default: The winner's comparison with the usual 0.1. It is a second question, asked
            only where the first was answered by "better"; asked in this order, both answers keep
            the promised confidence.
        recommended: The recipe to use, or None where the study cannot say.
        seeds: Pairs that were run.
    """

    verdict: Verdict
    winner: Recipe | None
    against_none: Comparison | None
    against_default: Comparison | None
    recommended: Recipe | None
    seeds: int

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict in plain words, and what it says against the usual 0.1."""
        if self.against_default is None:
            return self.verdict.sentences
        asked = f"Against the usual choice: {self.against_default.sentence}"
        return (self.verdict.headline, asked, *self.verdict.sentences[1:])


def confirm(
    journal: Journal, steps: int, winner: Recipe | None
) -> Generator[Stage, Study, Confirmed]:
    """Run the arms at fresh seeds, look once when half of them are done, and stop if all is clear.

    With fewer than twice four seeds there is one look, at the end. Each look is paid for by
    Bonferroni, so the chance of a wrong claim is that promised for all looks together.
    """
    settings = journal.settings
    if winner is not None and is_same(winner, settings.default):
        winner = settings.default
    arms = [none_recipe(), settings.default]
    arms += [winner] if winner is not None and winner is not settings.default else []
    affordable = journal.account.runs(steps) // len(arms)
    number = max(_FEWEST_SEEDS, min(settings.most_seeds, affordable))
    seeds = journal.fresh_seeds(number)
    looks = settings.looks if number >= 2 * FEWEST_PAIRS else 1
    first = number if looks == 1 else -(-number // 2)
    stage = Stage(
        name="4-confirm",
        kind="confirm",
        arms=tuple(arms),
        seeds=seeds[:first],
        steps=steps,
        looks=looks,
        reason=(
            f"{capital(say_names(arms[1:]))}: against no dropout at {count(number, 'seed')} that "
            "no choice has seen"
            + (f", the first {first} of them now; stop if they settle it." if looks > 1 else ".")
        ),
    )
    study = yield journal.enter(stage)
    said = _conclude(study, winner, settings.default, looks)
    if looks > 1 and not _is_settled(said):
        more = "The first look did not settle it: the planned further seeds."
        stage = replace(stage, seeds=seeds, reason=more)
        study = yield journal.enter(stage)
        said = _conclude(study, winner, settings.default, looks)
    journal.close(study)
    return said


def _conclude(study: Study, winner: Recipe | None, default: Recipe, looks: int) -> Confirmed:
    # The number that was planned, whatever the folder counted when seeds were added to it.
    plan = replace(study.plan, looks=looks)
    study = replace(study, plan=plan)
    verdict = judge(study)
    by_arm = {comparison.arm: comparison for comparison in verdict.best}
    against_none = None if winner is None else by_arm.get(winner.name)
    against_default = None
    is_better = against_none is not None and against_none.outcome is Outcome.BETTER
    if winner is not None and winner is not default and is_better:
        turned = judge(replace(study, plan=replace(plan, baseline=default.name)))
        against_default = next(each for each in turned.best if each.arm == winner.name)
        against_default = replace(
            against_default, sentence=_say_against(against_default, default, study)
        )
    recommended = verdict.recommended
    return Confirmed(
        verdict=verdict,
        winner=winner,
        against_none=against_none,
        against_default=against_default,
        recommended=None if recommended is None else plan.arm(recommended),
        seeds=len(plan.seeds),
    )


def _say_against(comparison: Comparison, default: Recipe, study: Study) -> str:
    usual = default.label or default.name
    difference = comparison.difference
    if difference is None:
        return f"no seed is complete in both {comparison.label} and {usual}."
    change = plus_minus(difference.mean, difference.half_width, plus=True)
    figures = f"{change} {study.plan.short_unit}, {count(difference.pairs, 'seed')}"
    answer = {
        Outcome.BETTER: "is better than",
        Outcome.WORSE: "is worse than",
        Outcome.SAME: "makes no difference that matters to",
        Outcome.INCONCLUSIVE: "cannot be told from",
    }[comparison.outcome]
    return f"{comparison.label} {answer} {usual} ({comparison.metric} {figures})."


def _is_settled(said: Confirmed) -> bool:
    """Say whether no planned seed can change the answer.

    Where the winner is better than no dropout and its comparison with the usual 0.1 is settled,
    whether 0.1 alone would help does not matter any more.
    """
    if said.against_default is not None:
        return said.against_default.outcome is not Outcome.INCONCLUSIVE
    return all(each.outcome is not Outcome.INCONCLUSIVE for each in said.verdict.best)
