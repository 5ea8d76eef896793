"""The protocol of a study with a budget: which runs come next, from what the finished ones say.

    1 baseline   no dropout, longer and longer, until it has passed its own minimum
    2 screen     up to eight factors at once, in a fractional factorial
    3 dose       what matters, at several strengths
    4 confirm    the winner against no dropout and against the usual 0.1, on fresh seeds

It is a pure function of the settings and of the finished studies, replayed from the start each
time: nothing is kept but the folders of the stages, so a study that was killed goes on. All runs
from the screen on have the same length. Arms are dropped for what whole runs showed over seeds,
never for how they stood part of the way: regularizers slow a network down, and before the baseline
has turned the best of them looks worst.
"""

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from redrop.study.baseline import Horizon, find_horizon
from redrop.study.budget import Account, say_cost
from redrop.study.confirm import Confirmed, confirm
from redrop.study.dose import Dosed, find_dose
from redrop.study.records import Study
from redrop.study.screen import Screened, screen
from redrop.study.stage import Dropped, Journal, ProtocolSettings, Stage
from redrop.study.wording import count, signed
from redrop.train.recipe import Recipe

_Story = Generator[Stage, Study, "Finished"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The end of a protocol: what each stage found, and what went out when and why."""

    horizon: Horizon
    screened: Screened | None
    dosed: Dosed | None
    confirmed: Confirmed
    stages: tuple[Stage, ...]
    dropped: tuple[Dropped, ...]
    account: Account

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in plain words, the most important first; then how it was come by."""
        earlier = [self.horizon.sentence]
        earlier += self.screened.sentences if self.screened else ()
        earlier += self.dosed.sentences if self.dosed else ()
        earlier += self._say_flattery()
        out = [f"Without {each.what} from {each.after} on: {each.why}." for each in self.dropped]
        unit = self.account.budget.unit
        cost = f"{say_cost(self.account.spent, unit)} of {say_cost(self.account.total, unit)}"
        whose = "The runs took" if unit == "seconds" else "The budget paid for"
        return (*self.confirmed.sentences, *earlier, *out, f"{whose} {cost}.")

    def _say_flattery(self) -> list[str]:
        """Set the figure that chose the winner beside the one that counts."""
        against, winner = self.confirmed.against_none, self.confirmed.winner
        if against is None or against.difference is None or winner is None or not self.dosed:
            return []
        chose = next((d for d in self.dosed.doses if d.recipe.name == winner.name), None)
        if chose is None:
            return []
        return [
            f"Where it was chosen, the winner stood at {signed(chose.mean, plus=True)} over "
            f"{count(len(chose.differences), 'seed')}, which flatters the best of several; at "
            f"fresh seeds it stands at {signed(against.difference.mean, plus=True)}."
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the end for machines: what was asked, run, dropped and found."""
        screened, dosed, confirmed = self.screened, self.dosed, self.confirmed
        return {
            "sentences": list(self.sentences),
            "budget": str(self.account.budget),
            "unit": self.account.budget.unit,
            "total": self.account.total,
            "spent": self.account.spent,
            "horizon": asdict(self.horizon),
            "stages": [asdict(stage) for stage in self.stages],
            "dropped": [asdict(each) for each in self.dropped],
            "screen": None if screened is None else screened.to_dict(),
            "dose": None if dosed is None else dosed.to_dict(),
            "verdict": confirmed.verdict.to_dict(),
            "winner": None if confirmed.winner is None else confirmed.winner.name,
            "recommended": None if confirmed.recommended is None else confirmed.recommended.name,
            "against_default": (
                None if confirmed.against_default is None else confirmed.against_default.to_dict()
            ),
        }


@dataclass(slots=True)
class Findings:
    """What the stages before the confirmation found; None where one is not finished or left out."""

    horizon: Horizon | None = None
    screened: Screened | None = None
    dosed: Dosed | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a protocol stands: the stages begun so far, the last of them to be run next."""

    stages: tuple[Stage, ...]
    dropped: tuple[Dropped, ...]
    account: Account
    next: Stage | Finished
    findings: Findings


def next_stage(settings: ProtocolSettings, finished: Sequence[Study]) -> Stage | Finished:
    """Return the stage to run now, or the end.

    Args:
        settings: Of the protocol; the same at every call.
        finished: The studies in the folders of the stages, in any order, complete or not; the
            name of a study's folder says which stage it is.

    Returns:
        A stage that is not complete in `finished`; the caller runs what is missing of it and asks
        again. A stage whose folder is there already asks for more seeds of the same study.

    Raises:
        UsageError: The budget pays for no study, or the baseline diverges.
    """
    return replay(settings, finished).next


def replay(settings: ProtocolSettings, finished: Sequence[Study]) -> Progress:
    """Return where the protocol stands, with what was decided so far and why."""
    journal = Journal(settings=settings, account=settings.account(), next_seed=settings.first_seed)
    recorded = {study.folder.name: study for study in finished}
    found = Findings()
    story = _tell(journal, found)
    stage = next(story)
    while (study := _completed(recorded.get(stage.name), stage)) is not None:
        try:
            stage = story.send(study)
        except StopIteration as end:
            return _progress(journal, found, end.value)
    return _progress(journal, found, stage)


def _progress(journal: Journal, found: Findings, following: Stage | Finished) -> Progress:
    return Progress(
        stages=tuple(journal.stages),
        dropped=tuple(journal.dropped),
        account=journal.account,
        next=following,
        findings=found,
    )


def _tell(journal: Journal, found: Findings) -> _Story:
    horizon = found.horizon = yield from find_horizon(journal)
    winner = None
    if horizon.may_screen:
        found.screened = yield from screen(journal, horizon.steps)
        kept = _kept(journal, found.screened)
        if kept:
            found.dosed = yield from find_dose(journal, horizon.steps, kept)
            winner = found.dosed.winner
    else:
        journal.drop("everything but the usual dropout", "the baseline has not turned")
    confirmed = yield from confirm(journal, horizon.steps, winner)
    return Finished(
        horizon=horizon,
        screened=found.screened,
        dosed=found.dosed,
        confirmed=confirmed,
        stages=tuple(journal.stages),
        dropped=tuple(journal.dropped),
        account=journal.account,
    )


def _kept(journal: Journal, screened: Screened | None) -> tuple[Recipe, ...]:
    """Return what goes on to the dose curve; without a screening, the usual dropout or the factor.

    A screening in which nothing gained leaves nothing to go on with: the confirmation then asks
    about the usual dropout alone.
    """
    if screened is not None:
        return screened.kept
    factors = journal.settings.factors
    return factors if len(factors) == 1 else (journal.settings.default,)


def _completed(study: Study | None, stage: Stage) -> Study | None:
    """Return the study with just the runs of the stage, or None while any of them is missing.

    A folder that has gone on to a later look holds more seeds than an earlier one saw; the earlier
    look is replayed with its own.
    """
    if study is None or {arm.name for arm in study.plan.arms} != {arm.name for arm in stage.arms}:
        return None
    wanted = {(arm.name, seed) for arm in stage.arms for seed in stage.seeds}
    runs = tuple(run for run in study.runs if (run.header.arm, run.header.seed) in wanted)
    if len(runs) < len(wanted):
        return None
    return replace(study, plan=replace(study.plan, seeds=stage.seeds), runs=runs, incomplete=())
