"""Everything that the report of a budgeted study says; made of records alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from redrop.errors import UsageError
from redrop.report.content import Facts, Report, build_report
from redrop.report.paste import configurations
from redrop.report.protocol_stop import Stop, replay_to_stop
from redrop.study.budget import say_cost
from redrop.study.folders import PROTOCOL_FILE, ProtocolFolder, read_protocol_folder
from redrop.study.measured_regime import card_of
from redrop.study.prior import Prior, expect
from redrop.study.protocol import Findings, Finished, Progress
from redrop.study.records import Study
from redrop.study.regime import RegimeCard
from redrop.study.stage import Stage, say_names
from redrop.study.wording import count
from redrop.train.recipe import Recipe

_WHAT = {
    "baseline": "the baseline alone",
    "screen": "many factors at once",
    "dose": "how strong",
    "confirm": "fresh seeds, nothing chosen any more",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRow:
    """One stage; what comes later under the same name, with more seeds, is the same stage."""

    name: str
    what: str
    size: str
    steps: int
    cost: str
    state: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolReport:
    """What there is to say of a budgeted study.

    Args:
        folder: Where it lies.
        recorded: What lies there.
        progress: Where it stands.
        stop: What ended it at its baseline, or None.
        headline: The answer, or that there is none yet.
        sentences: The rest of the answer; what screening and dose curve say is left to them.
        stages: One row each.
        card: Of the regime, once a baseline is complete that did not diverge; with it the prior.
        prior: What published work expects there, whatever was measured.
        confirmation: The report of the last stage, once it is finished.
        recommended: The recipe to use, or None.
        pasted: That recipe, to paste.
        account: What was spent of the budget.
    """

    folder: Path
    recorded: ProtocolFolder
    progress: Progress
    stop: Stop | None
    headline: str
    sentences: tuple[str, ...]
    stages: tuple[StageRow, ...]
    card: RegimeCard | None
    prior: Prior | None
    confirmation: Report | None
    recommended: Recipe | None
    pasted: tuple[tuple[str, str], ...]
    account: Facts

    @property
    def findings(self) -> Findings:
        """What the stages before the confirmation found."""
        return self.progress.findings

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to run."""
        return isinstance(self.progress.next, Finished)

    @property
    def baseline(self) -> Study | None:
        """The complete baseline of the length that all later runs have, or the longest so far."""
        return _baseline(self.recorded, self.progress, self.stop)

    @property
    def name(self) -> str:
        """Of the data."""
        studies = self.recorded.studies
        return studies[0].plan.name if studies else self.folder.name

    @property
    def unit(self) -> str:
        """Behind a loss."""
        studies = self.recorded.studies
        return studies[0].plan.short_unit if studies else "nats"


def build_protocol_report(folder: Path) -> ProtocolReport:
    """Replay a budgeted study from its records and gather what its report says.

    Raises:
        UsageError: The folder holds none, a record is broken, or the budget paid for no run.
    """
    recorded = read_protocol_folder(folder)
    if recorded is None:
        raise UsageError(f"A budgeted study has a {PROTOCOL_FILE}; `{folder}` has none.")
    progress, stop = replay_to_stop(recorded)
    end = progress.next
    baseline = _baseline(recorded, progress, stop)
    is_lost = baseline is None or baseline.diverged(baseline.plan.baseline)
    card = None if baseline is None or is_lost else card_of(baseline)
    confirmation, recommended = None, None
    if isinstance(end, Finished):
        study = next(each for each in recorded.studies if each.folder.name == "4-confirm")
        confirmation, recommended = build_report(study), end.confirmed.recommended
    plan = None if confirmation is None else confirmation.study.plan
    headline, sentences = _answer(progress, stop)
    return ProtocolReport(
        folder=folder,
        recorded=recorded,
        progress=progress,
        stop=stop,
        headline=headline,
        sentences=sentences,
        stages=_stages(recorded, progress),
        card=card,
        prior=None if card is None else expect(replace(card, measured=None)),
        confirmation=confirmation,
        recommended=recommended,
        pasted=() if plan is None else configurations(plan, recommended),
        account=_account(recorded, progress),
    )


def _baseline(recorded: ProtocolFolder, progress: Progress, stop: Stop | None) -> Study | None:
    if stop is not None:
        return stop.studies[-1]
    done = progress.stages if isinstance(progress.next, Finished) else progress.stages[:-1]
    names = [stage.name for stage in done if stage.kind == "baseline"]
    found = {study.folder.name: study for study in recorded.studies}
    return found[names[-1]] if names else None


def _answer(progress: Progress, stop: Stop | None) -> tuple[str, tuple[str, ...]]:
    end, findings = progress.next, progress.findings
    if stop is not None:
        return stop.headline, stop.sentences
    if not isinstance(end, Finished):
        horizon = () if findings.horizon is None else (findings.horizon.sentence,)
        return (
            f"No answer yet: stage {end.name} is not finished.",
            (*horizon, "The command at the end of this report goes on where the study stands."),
        )
    told = {*(findings.screened.sentences if findings.screened else ())}
    told |= {*(findings.dosed.sentences if findings.dosed else ())}
    told |= {f"Without {each.what} from {each.after} on: {each.why}." for each in end.dropped}
    headline, *rest = end.sentences
    return headline, tuple(sentence for sentence in rest if sentence not in told)


def _stages(recorded: ProtocolFolder, progress: Progress) -> tuple[StageRow, ...]:
    """Return the stages in order, each with what it cost, at the price that it was paid at."""
    studies = {study.folder.name: study for study in recorded.studies}
    last: dict[str, Stage] = {}
    reasons: dict[str, tuple[str, ...]] = {}
    for stage in progress.stages:
        last[stage.name] = stage
        reasons[stage.name] = (*reasons.get(stage.name, ()), stage.reason)
    account, rows = recorded.settings.account(), []
    for name, stage in last.items():
        before = account.spent
        study = studies.get(name)
        if study is not None:
            account = account.after(study)
        rows.append(
            StageRow(
                name=name,
                what=_what(stage),
                size=f"{count(len(stage.arms), 'arm')} × {count(len(stage.seeds), 'seed')}",
                steps=stage.steps,
                cost=say_cost(account.spent - before, account.budget.unit),
                state=_state(study, stage),
                reasons=reasons[name],
            )
        )
    return tuple(rows)


def _what(stage: Stage) -> str:
    if stage.kind == "confirm":
        return f"{_WHAT[stage.kind]}: {say_names(stage.arms)}"
    return _WHAT[stage.kind]


def _state(study: Study | None, stage: Stage) -> str:
    done = 0 if study is None else len(study.runs)
    return "complete" if done == stage.runs else f"{done} of {stage.runs} runs"


def _account(recorded: ProtocolFolder, progress: Progress) -> Facts:
    account, settings = progress.account, recorded.settings
    unit = account.budget.unit
    facts = [("Budget", str(account.budget))]
    if unit == "seconds" and settings.workers > 1:
        clock = f"{account.budget} on the clock × {settings.workers} runs side by side"
        facts.append(("Counted as", f"{say_cost(account.total, unit)} of runs ({clock})"))
    elif unit == "tokens":
        facts.append(("Counted as", f"{settings.tokens_per_step:,} tokens per optimizer step"))
    facts.append(("Spent by finished stages", say_cost(account.spent, unit)))
    over = "Left" if account.left >= 0 else "Over"
    facts.append((over, say_cost(abs(account.left), unit)))
    return tuple(facts)


def protocol_dict(report: ProtocolReport) -> Mapping[str, Any]:
    """Return the report as plain values; `format` rises when a field changes its meaning."""
    end = report.progress.next
    findings = report.findings
    told = end.to_dict() if isinstance(end, Finished) else _unfinished(report)
    return {
        "kind": "protocol",
        "format": 1,
        "name": report.name,
        "command": report.recorded.command,
        "is_finished": report.is_finished,
        "stopped": None if report.stop is None else report.stop.to_dict(),
        "headline": report.headline,
        **told,
        "stage_table": [
            {name: getattr(row, name) for name in StageRow.__dataclass_fields__}
            for row in report.stages
        ],
        "account": dict(report.account),
        "screen_sentences": list(findings.screened.sentences) if findings.screened else [],
        "dose_sentences": list(findings.dosed.sentences) if findings.dosed else [],
        "regime": None if report.card is None else report.card.to_dict(),
        "prior": None if report.prior is None else report.prior.to_dict(),
        "configurations": dict(report.pasted),
    }


def _unfinished(report: ProtocolReport) -> dict[str, Any]:
    """Return what an unfinished study shares with a finished one."""
    found, account = report.findings, report.progress.account
    return {
        "sentences": [report.headline, *report.sentences],
        "budget": str(account.budget),
        "unit": account.budget.unit,
        "total": account.total,
        "spent": account.spent,
        "horizon": None if found.horizon is None else asdict(found.horizon),
        "stages": [asdict(stage) for stage in report.progress.stages],
        "dropped": [asdict(each) for each in report.progress.dropped],
        "screen": None if found.screened is None else found.screened.to_dict(),
        "dose": None if found.dosed is None else found.dosed.to_dict(),
        "recommended": None,
    }
