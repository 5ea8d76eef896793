"""Several studies beside each other: in which regime each one was, and what paid there.

Each study keeps its own baseline, margin and interval; nothing is pooled, because studies differ in
their data, their networks and their units.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from redrop.report.export import study_names
from redrop.report.markdown import bullets
from redrop.report.table import NOTHING, markdown_rows
from redrop.study.against_baseline import Comparison
from redrop.study.records import Study
from redrop.study.statistics import Outcome, paired_differences
from redrop.study.verdict import Verdict, judge
from redrop.study.wording import plus_minus, signed

FORMAT = 1
TITLES = (
    "Study",
    "Data",
    "Epochs",
    "Turning point",
    "Best arm",
    "Difference",
    "Outcome",
    "Seeds",
)
_NEEDS = {"Data": 110, "Turning point": 90, "Seeds": 75, "Epochs": 75}
"""Columns that a terminal must have for a title; a narrower one goes without it."""

NUMBERS = frozenset({"Epochs", "Difference", "Seeds"})
"""Columns of numbers: they stand at the right."""

_CHOICE = "recommended, or lowest validation loss"
"""How the best arm of a study is chosen."""

HEADINGS = tuple(
    (title, title not in NUMBERS, _CHOICE if title == "Best arm" else "") for title in TITLES
)
"""Each title, whether its column holds text, and its second line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRow:
    """One study among several.

    Args:
        best: Its best arm at the best checkpoint, compared with its own baseline; None where the
            study has no other arm or no complete pair. The recommended arm where there is one,
            otherwise the one with the lowest validation loss.
    """

    name: str
    study: Study
    verdict: Verdict
    best: Comparison | None

    @property
    def data(self) -> str:
        """Name of the data."""
        return str(self.study.plan.settings.get("data", {}).get("name", self.study.plan.name))

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, under `TITLES`."""
        plan, regime, best = self.study.plan, self.verdict.regime, self.best
        difference, outcome, label = NOTHING, NOTHING, NOTHING
        done = min(len(self.study.of_arm(plan.baseline)), len(plan.seeds))
        if best is not None:
            label, outcome = best.label, best.outcome.value
            if best.diverged:
                outcome += f", {best.diverged} diverged"
            if best.difference is not None:
                shown = plus_minus(best.difference.mean, best.difference.half_width, plus=True)
                difference, done = f"{shown} {plan.short_unit}", best.difference.pairs
        seeds = str(done) if done == len(plan.seeds) else f"{done} of {len(plan.seeds)}"
        epochs = NOTHING if regime.epochs is None else f"{regime.epochs:,.3g}"
        return (self.name, self.data, epochs, self.turning, label, difference, outcome, seeds)

    @property
    def turning(self) -> str:
        """Where the baseline passed its minimum, in words."""
        regime = self.verdict.regime
        if regime.state is None or regime.best_step is None or regime.steps is None:
            return NOTHING
        place = f"step {regime.best_step:,} of {regime.steps:,}"
        if regime.state == "passed its minimum":
            return f"{place}, then {signed(regime.rise or 0.0, plus=True)}"
        return (
            f"{regime.state}, {place}"
            if regime.state == "level"
            else f"not by step {regime.steps:,}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the row for machines."""
        plan, regime = self.study.plan, self.verdict.regime
        return {
            "study": self.name,
            "data": self.data,
            "data_sha256": plan.data_sha256,
            "unit": plan.unit,
            "margin": plan.margin,
            "baseline": plan.baseline,
            "seeds": list(plan.seeds),
            "missing": len(self.study.missing),
            "epochs": regime.epochs,
            "turning_point": {
                "state": regime.state,
                "best_step": regime.best_step,
                "steps": regime.steps,
                "rise": regime.rise,
            },
            "best_arm": None if self.best is None else self.best.to_dict(),
            "recommended": self.verdict.recommended,
            "headline": self.verdict.headline,
            "command": plan.command,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyComparison:
    """What there is to say of several studies."""

    rows: tuple[StudyRow, ...]

    @property
    def headline(self) -> str:
        """In how many of the studies an arm beats its baseline, and how many have no verdict."""
        better = sum(_pays(row) for row in self.rows)
        total = len(self.rows)
        open_ = sum(row.verdict.recommended is None for row in self.rows)
        rest = f"; {open_} {'has' if open_ == 1 else 'have'} no verdict" if open_ else ""
        if better == 0:
            return f"In none of {total} studies is an arm shown to beat its baseline{rest}"
        share = "all" if better == total else str(better)
        return f"In {share} of {total} studies an arm is shown to beat its baseline{rest}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know to weigh the table."""
        shares = sorted({row.study.plan.confidence for row in self.rows})
        said = " or ".join(f"{100 * share:g} %" for share in shares)
        notes = [
            "The best arm of a study is the one that its verdict recommends; where it "
            "recommends none but the baseline, the one with the lowest validation loss.",
            "Each difference is that study's best arm minus its own baseline at the same seed, at "
            "the best checkpoint; negative is better.",
            f"An interval holds at {said} for all arms of its study together, not for the best of "
            "several studies.",
            "Epochs: how often the baseline read its training data. Turning point: the step of its "
            "lowest validation loss (median seed), and how far it rose from there to the end.",
        ]
        if len({row.study.plan.unit for row in self.rows}) > 1:
            notes.append("The losses have different units; compare outcomes, not sizes.")
        if len({row.study.plan.margin for row in self.rows}) > 1:
            notes.append("Each outcome is judged by the margin of its own study.")
        missing = [row.name for row in self.rows if row.study.missing]
        if missing:
            notes.append(f"Not complete, judged by the runs there are: {', '.join(missing)}.")
        return tuple(notes)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The headline of each study, then the notes."""
        return (*(f"{row.name}: {row.verdict.headline}" for row in self.rows), *self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison for machines."""
        return {
            "kind": "comparison",
            "format": FORMAT,
            "headline": self.headline,
            "studies": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Return the text of a JSON file; the same records give the same bytes."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def compare_studies(studies: Sequence[Study]) -> StudyComparison:
    """Judge each study by its own baseline, in the order given.

    Raises:
        UsageError: A folder came twice.
    """
    rows = []
    for name, study in zip(study_names(studies), studies, strict=True):
        verdict = judge(study)
        rows.append(StudyRow(name=name, study=study, verdict=verdict, best=_best(study, verdict)))
    return StudyComparison(rows=tuple(rows))


def _pays(row: StudyRow) -> bool:
    return row.best is not None and row.best.outcome is Outcome.BETTER and not row.best.diverged


def _best(study: Study, verdict: Verdict) -> Comparison | None:
    """Return the arm to show; it is chosen by validation loss, as in the verdict."""
    for each in verdict.best:
        if each.arm == verdict.recommended:
            return each
    compared = [each for each in verdict.best if each.difference is not None]
    return min(compared, key=lambda each: _validation_difference(study, each.arm), default=None)


def _validation_difference(study: Study, arm: str) -> float:
    ours, theirs = (
        {
            seed: None
            if seed in study.diverged(name) or run.end is None
            else run.end.best_validation_loss
            for seed, run in study.of_arm(name).items()
        }
        for name in (arm, study.plan.baseline)
    )
    differences = paired_differences(ours, theirs)
    return fmean(differences.values()) if differences else float("inf")


def comparison_markdown(comparison: StudyComparison) -> str:
    """Return table, what each study says, and their commands, as Markdown."""
    commands = [f"```\n{row.study.plan.command}\n```" for row in comparison.rows]
    headings = [(t + (f" ({detail})" if detail else ""), text) for t, text, detail in HEADINGS]
    table = markdown_rows(headings, [row.cells for row in comparison.rows])
    parts = [f"# {comparison.headline}.", table, bullets(comparison.sentences)]
    return "\n\n".join([*parts, "## Repeat them", *commands]) + "\n"


def rich_comparison(comparison: StudyComparison, width: int = 120) -> RichTable:
    """Return the table for a terminal of that width."""
    kept = [place for place, title in enumerate(TITLES) if width >= _NEEDS.get(title, 0)]
    drawn = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for place in kept:
        is_number = TITLES[place] in NUMBERS
        drawn.add_column(TITLES[place], justify="right" if is_number else "left", no_wrap=is_number)
    for row in comparison.rows:
        cells = row.cells
        drawn.add_row(
            *(escape(cells[place]) for place in kept), style="bold green" if _pays(row) else ""
        )
    return drawn
