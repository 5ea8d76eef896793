"""A budgeted study that ended at its baseline: why, and what was measured until then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, StrMethodFormatter

from redrop.errors import UsageError
from redrop.report.labels import label_ends
from redrop.report.svg import DASHES, INK, PALETTE, Look, grid, style
from redrop.report.table import NOTHING
from redrop.study.folders import ProtocolFolder
from redrop.study.protocol import Progress, replay
from redrop.study.records import RunRecord, Study
from redrop.study.stage import Stage
from redrop.study.wording import count, signed

RUN_HEADINGS = (
    ("Stage", True),
    ("Seed", False),
    ("Status", True),
    ("Steps", False),
    ("Best step", False),
    ("Best validation loss", False),
    ("Final validation loss", False),
)
_LOGARITHMIC_FROM = 100.0
"""Ratio of the largest loss to the smallest from which on a linear scale hides the smaller ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Why a budgeted study has no comparison.

    Args:
        headline: What happened, in one sentence.
        rule: The rule that ended it, with its figures and what to do.
        studies: The baselines that were run, in order; the last one met the rule.
    """

    headline: str
    rule: str
    studies: tuple[Study, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The rule, what there is, and what becomes of it."""
        runs = sum(len(study.runs) for study in self.studies)
        return (
            self.rule,
            f"Until then {count(runs, 'run')} of the baseline {'was' if runs == 1 else 'were'} "
            "recorded; no arm was compared.",
            "With other settings the command begins another study, in a folder of its own.",
        )

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The runs as text, under `RUN_HEADINGS`."""
        return tuple(_row(study, run) for study in self.studies for run in study.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return the end for machines: why, and each run with its curve."""
        return {
            "rule": self.rule,
            "runs": [_run_dict(study, run) for study in self.studies for run in study.runs],
        }


def replay_to_stop(recorded: ProtocolFolder) -> tuple[Progress, Stop | None]:
    """Return where a budgeted study stands and, if a rule ended it, which one.

    A study that was ended stands at the baseline that met the rule, all of its runs complete and
    paid for.

    Raises:
        UsageError: The budget pays for no first run.
    """
    settings, studies = recorded.settings, {each.folder.name: each for each in recorded.studies}
    try:
        return replay(settings, recorded.studies), None
    except UsageError as error:
        rule = str(error)
    # Both rules belong to the baseline, so one baseline after the other leads to what met them.
    ran: list[Study] = []
    while True:
        progress = replay(settings, ran)
        stage = progress.next
        assert isinstance(stage, Stage), "the replay of all studies was ended"
        study = studies[stage.name]
        ran.append(study)
        try:
            replay(settings, ran)
        except UsageError:
            progress = replace(progress, account=progress.account.after(study))
            return progress, Stop(headline=_headline(study), rule=rule, studies=tuple(ran))


def _headline(study: Study) -> str:
    if study.diverged(study.plan.baseline):
        return "No answer: the baseline diverged, and there is nothing to compare arms with."
    steps = study.plan.settings["train"]["steps"]
    return f"No answer: the budget is too small for a study of runs of {steps:,} steps."


def _row(study: Study, run: RunRecord) -> tuple[str, ...]:
    end = run.end
    assert end is not None, "a study lists its complete runs"
    losses = (end.best_validation_loss, end.final_validation_loss)
    return (
        study.folder.name,
        str(run.header.seed),
        end.status,
        f"{end.steps:,}",
        NOTHING if end.best_step is None else f"{end.best_step:,}",
        *(NOTHING if loss is None else signed(loss) for loss in losses),
    )


def _run_dict(study: Study, run: RunRecord) -> dict[str, Any]:
    end = run.end
    assert end is not None, "a study lists its complete runs"
    return {
        "stage": study.folder.name,
        "id": run.header.id,
        "seed": run.header.seed,
        "status": end.status,
        "steps": end.steps,
        "best_step": end.best_step,
        "best_validation_loss": end.best_validation_loss,
        "final_validation_loss": end.final_validation_loss,
        "curve": {
            "steps": [line.step for line in run.evals],
            "train_loss": [line.train_loss for line in run.evals],
            "validation_loss": [line.validation_loss for line in run.evals],
        },
    }


Curve = tuple[str, RunRecord, list[tuple[int, float]]]


def curves(stop: Stop) -> list[Curve]:
    """Return the validation loss of each run that has any, as far as it is finite, with a name."""
    found = []
    for study in stop.studies:
        for run in study.runs:
            points = [
                (e.step, e.validation_loss) for e in run.evals if e.validation_loss is not None
            ]
            name = f"{study.folder.name}, seed {run.header.seed}"
            found += [(name, run, points)] if points else []
    return found


def draw_stop(drawn: Sequence[Curve], unit: str) -> Figure:
    """Draw the validation loss of every run, with a cross where one stops being a number."""
    values = [value for _, _, points in drawn for _, value in points]
    is_wide = min(values) > 0 and max(values) > _LOGARITHMIC_FROM * min(values)
    with style():
        figure = Figure(figsize=(11.0, 4.5))
        axes = figure.subplots()
        figure.subplots_adjust(left=0.07, right=0.81, top=0.9, bottom=0.13)
        ends = []
        for place, (name, run, points) in enumerate(drawn):
            look = _look(place)
            steps = [step for step, _ in points]
            # Decades on a linear axis: names at the ends of lines need one.
            losses = [math.log10(loss) if is_wide else loss for _, loss in points]
            axes.plot(steps, losses, color=look.colour, linewidth=1.8, linestyle=look.dash)
            lost = run.end is not None and run.end.status == "diverged"
            axes.plot(steps[-1], losses[-1], "X" if lost else "o", color=look.colour, markersize=7)
            ends.append((float(steps[-1]), losses[-1], name + ", diverged" * lost, look))
        if is_wide:
            axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_formatter(FuncFormatter(_power))
        axes.set_title(f"validation loss, {unit}")
        axes.set_xlabel("optimizer step")
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_xlim(0, max(1, *(each.end.steps for _, each, _ in drawn if each.end)))
        grid(axes)
        label_ends(axes, ends)
    return figure


def stop_alt(drawn: Sequence[Curve]) -> str:
    """Say in words what the figure shows."""
    parts = []
    for name, run, points in drawn:
        low = min(points, key=lambda point: point[1])
        lost = run.end is not None and run.end.status == "diverged"
        fate = f"diverged by step {run.end.steps:,}" if run.end and lost else "complete"
        parts.append(f"{name}: lowest {signed(low[1])} at step {low[0]:,}, {fate}")
    return f"Validation loss of the baseline. {'; '.join(parts)}."


STOP_CAPTION = (
    "What to see: how far the runs of the baseline came. Cross: the last loss that was still a "
    "number before a run diverged."
)


def _look(place: int) -> Look:
    if place == 0:
        return Look(INK, "solid")
    cycle, colour = divmod(place - 1, len(PALETTE))
    return Look(PALETTE[colour], DASHES[cycle % len(DASHES)])


def _power(decade: float, _: int | None = None) -> str:
    """Return the loss at a decade.

    >>> _power(6.0), _power(-2.0)
    ('10⁶', '10⁻²')
    """
    return "10" + f"{decade:.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
