"""First stage: the baseline alone, run longer and longer until it has passed its own minimum."""

from collections.abc import Generator
from dataclasses import dataclass

from redrop.errors import UsageError
from redrop.study.budget import SHARES
from redrop.study.records import Study
from redrop.study.stage import SMALLEST_CONFIRMATION, Journal, Stage, none_recipe
from redrop.study.turning import TurningPoint, turning_point
from redrop.study.wording import count, signed


@dataclass(frozen=True, kw_only=True, slots=True)
class Horizon:
    """How long the runs of all later stages are, and why.

    Args:
        steps: Of every run, each with a schedule of that length.
        turning: Of the baseline at that length, or None where it did not turn.
        is_fixed: Whether the length was asked for.
        sentence: Why it is this length.
    """

    steps: int
    turning: TurningPoint | None
    is_fixed: bool
    sentence: str

    @property
    def may_screen(self) -> bool:
        """Whether arms may be compared at this length.

        Before the baseline's turning point regularizers look worse than they are, so nothing is
        chosen there, unless runs of exactly this length are what was asked about.
        """
        return self.is_fixed or self.turning is not None


def find_horizon(journal: Journal) -> Generator[Stage, Study, Horizon]:
    """Run the baseline, doubling its length, until it has turned or its share is spent.

    Each length is a run from the start with its own schedule: a longer run that is cut off is
    another experiment than a short one. All later stages use the length at which the baseline was
    seen to pass its minimum, so the turning point was measured on just the runs that they compare.
    Doubling costs at most as much as the last run once more.

    Raises:
        UsageError: The budget pays for no study at all, or the baseline diverges.
    """
    settings = journal.settings
    steps, rung = settings.steps or settings.first_steps, 1
    _check_affordable(journal, steps, settings.baseline_seeds + SMALLEST_CONFIRMATION)
    seeds = journal.fresh_seeds(settings.baseline_seeds)
    while True:
        stage = Stage(
            name="1-baseline" if rung == 1 else f"1-baseline-{rung}",
            kind="baseline",
            arms=(none_recipe(),),
            seeds=seeds,
            steps=steps,
            reason=_reason(journal, steps, rung),
        )
        study = yield journal.enter(stage)
        journal.close(study)
        turning = _turning(study, settings.margin)
        if turning is None and settings.steps is None and _may_double(journal, steps):
            steps, rung = 2 * steps, rung + 1
            continue
        _check_affordable(journal, steps, SMALLEST_CONFIRMATION)
        return Horizon(
            steps=steps,
            turning=turning,
            is_fixed=settings.steps is not None,
            sentence=_say_horizon(steps, turning, settings.steps is not None),
        )


def _turning(study: Study, margin: float) -> TurningPoint | None:
    arm = study.plan.arms[0].name
    if study.diverged(arm):
        raise UsageError(
            "A study compares arms with a baseline that trains; this one diverged at seed "
            f"{min(study.diverged(arm))}. Pass a lower --learning-rate."
        )
    curves = [
        {line.step: line.validation_loss for line in run.evals}
        for run in study.of_arm(arm).values()
    ]
    return turning_point(curves, margin)


def _may_double(journal: Journal, steps: int) -> bool:
    account = journal.account
    cost = 2 * steps * (account.per_step or 0.0)
    spent = account.spent + journal.settings.baseline_seeds * cost
    return (
        spent <= SHARES["baseline"] * account.total
        and account.total - spent >= SMALLEST_CONFIRMATION * cost
    )


def _check_affordable(journal: Journal, steps: int, runs: int) -> None:
    """Refuse a budget that does not pay for the least study; before the first run by what is known.

    Raises:
        UsageError: It says which budget would do.
    """
    account = journal.account
    if account.per_step is None or account.runs(steps) >= runs:
        return
    needed = account.say_needed(runs, steps, journal.settings.workers)
    shorter = "" if steps <= 1 else " or shorter runs (--steps)"
    raise UsageError(
        f"A study is at least one baseline and two arms at three seeds; of runs of {steps:,} steps "
        f"a budget of {account.budget} pays for {account.runs(steps)} more, and it takes {runs}. "
        f"Pass a budget of {needed}{shorter}."
    )


def _reason(journal: Journal, steps: int, rung: int) -> str:
    seeds = count(journal.settings.baseline_seeds, "seed")
    if journal.settings.steps is not None:
        return f"The baseline without dropout at the length asked for, {steps:,} steps, {seeds}."
    if rung == 1:
        return f"The baseline without dropout, {steps:,} steps, {seeds}: where does it turn?"
    return (
        f"At {steps // 2:,} steps the baseline had not passed its minimum: again with {steps:,} "
        "steps and a schedule of that length."
    )


def _say_horizon(steps: int, turning: TurningPoint | None, is_fixed: bool) -> str:
    if turning is not None:
        return (
            f"The baseline passed its minimum at step {turning.step:,} of {steps:,} and rose by "
            f"{signed(turning.rise)} beyond: every later run has {steps:,} steps."
        )
    if is_fixed:
        return (
            f"The baseline did not pass its minimum in the {steps:,} steps asked for: what follows "
            "holds for runs of this length only."
        )
    return (
        f"The baseline did not pass its minimum in {steps:,} steps, the most that its share of the "
        "budget pays for. It is limited by training, not by overfitting, and before its turning "
        "point regularizers look worse than they are: nothing is screened."
    )
