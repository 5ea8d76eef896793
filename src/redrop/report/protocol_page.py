"""The page of a budgeted study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from redrop.report.curves import draw_validation
from redrop.report.dose_figure import dose_alt, dose_caption, draw_dose, strength_name
from redrop.report.figures import draw_figures
from redrop.report.html import render
from redrop.report.protocol import ProtocolReport
from redrop.report.protocol_stop import (
    RUN_HEADINGS,
    STOP_CAPTION,
    Stop,
    curves,
    draw_stop,
    stop_alt,
)
from redrop.report.screen_figure import draw_screen, screen_alt, screen_caption
from redrop.report.svg import to_svg
from redrop.report.table import NOTHING
from redrop.study.dose import Dosed
from redrop.study.factorial import LETTERS
from redrop.study.prior import LABEL
from redrop.study.screen import Screened
from redrop.study.wording import plus_minus, signed

STAGE_HEADINGS = (
    ("Stage", True),
    ("What", True),
    ("Runs", True),
    ("Steps", False),
    ("Cost", False),
    ("State", True),
    ("Why", True),
)
DROPPED_HEADINGS = (("What", True), ("After", True), ("Why", True))
_EMBEDDED = ("verdict", "validation")
"""Figures of the confirmation that stand in this page; its own report has the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A section: what was found in one stage, as sentences, a table and figures.

    `first` is the class of the table's first column: "text name" keeps its cells on one line.
    """

    title: str
    sentences: tuple[str, ...]
    headings: Sequence[tuple[str, bool]] = ()
    rows: Sequence[Sequence[str]] = ()
    green: frozenset[int] = frozenset()
    figures: Sequence[dict[str, Any]] = ()
    first: str = "text"


def protocol_html(report: ProtocolReport) -> str:
    """Return the page; the same records give the same bytes."""
    confirmed = [] if report.confirmation is None else draw_figures(report.confirmation)
    recommended = report.recommended
    return render(
        "protocol.html",
        report=report,
        budget=str(report.progress.account.budget),
        prior_label=LABEL,
        recommended="" if recommended is None else recommended.label or recommended.name,
        stage_headings=STAGE_HEADINGS,
        stage_rows=stage_cells(report),
        dropped_headings=DROPPED_HEADINGS,
        dropped=dropped_cells(report),
        parts=found_parts(report),
        confirmation_figures=[
            _inline(each.name, each.title, each.caption, each.svg)
            for each in confirmed
            if each.name in _EMBEDDED
        ],
    )


def found_parts(report: ProtocolReport) -> list[Part]:
    """Return what the stages before the confirmation found, as far as there are any."""
    found, parts = report.findings, []
    if report.stop is not None:
        parts.append(_stopped(report.stop))
    elif report.baseline is not None:
        parts.append(_baseline(report))
    if found.screened is not None:
        parts.append(_screening(report, found.screened))
    if found.dosed is not None and found.dosed.doses:
        parts.append(_dosing(report, found.dosed))
    return parts


def stage_cells(report: ProtocolReport) -> list[list[str]]:
    """Return the table of stages as text."""
    return [
        [
            row.name,
            row.what,
            row.size,
            f"{row.steps:,}",
            row.cost,
            row.state,
            " ".join(row.reasons),
        ]
        for row in report.stages
    ]


def dropped_cells(report: ProtocolReport) -> list[tuple[str, str, str]]:
    """Return the table of what was left out."""
    return [(each.what, each.after, each.why) for each in report.progress.dropped]


def _stopped(stop: Stop) -> Part:
    drawn, title = curves(stop), "Validation loss of the baseline"
    figures = []
    if drawn:
        picture = draw_stop(drawn, stop.studies[-1].plan.unit)
        figures.append(_figure("baseline", title, STOP_CAPTION, stop_alt(drawn), picture))
    return Part(
        title="The baseline",
        sentences=(),
        headings=RUN_HEADINGS,
        rows=stop.rows,
        figures=figures,
        first="text name",
    )


def _baseline(report: ProtocolReport) -> Part:
    study = report.baseline
    assert study is not None
    horizon = report.findings.horizon
    steps = f"{study.plan.settings['train']['steps']:,} steps"
    said = f"The baseline without dropout, {steps}; how long the runs are is not settled yet."
    alt = said if horizon is None else horizon.sentence
    caption = (
        "What to see: where the line turns up, the network has begun to memorize its training "
        "data. Only there can a regularizer show what it is worth. Ring: lowest point of the mean."
    )
    title = "Validation loss of the baseline"
    drawn = _figure("baseline", title, caption, alt, draw_validation(study))
    return Part(title="The baseline", sentences=(alt,), figures=(drawn,))


def _screening(report: ProtocolReport, screened: Screened) -> Part:
    settings = report.recorded.settings
    why = {
        each.what: each.why for each in report.progress.dropped if each.after.startswith("2-screen")
    }
    rows, green = [], set()
    for place, (factor, effect) in enumerate(
        zip(screened.factors, screened.effects.main, strict=True)
    ):
        label = factor.label or factor.name
        is_kept = factor in screened.kept
        green |= {place} if is_kept else set()
        fate = "kept" if is_kept else f"left out: {why.get(label, '')}".rstrip(": ")
        change = plus_minus(effect.mean, effect.half_width, plus=True)
        rows.append((LETTERS[place], label, change, fate))
    drawn = _figure(
        "screen",
        "The effects",
        screen_caption(screened, settings.margin),
        screen_alt(screened),
        draw_screen(screened, settings.margin, report.unit),
    )
    return Part(
        title="The screening",
        sentences=screened.sentences,
        headings=(
            ("Factor", True),
            ("High level", True),
            (f"Change, {report.unit}, 95 %", False),
            ("What became of it", True),
        ),
        rows=rows,
        green=frozenset(green),
        figures=(drawn,),
    )


def _dosing(report: ProtocolReport, dosed: Dosed) -> Part:
    margin = report.recorded.settings.margin
    why = {
        each.what: each.why for each in report.progress.dropped if each.after.startswith("3-dose")
    }
    rows, green = [], set()
    for place, dose in enumerate(dosed.doses):
        is_winner = dosed.winner is not None and dose.recipe.name == dosed.winner.name
        green |= {place} if is_winner else set()
        label = dose.recipe.label or dose.recipe.name
        lost = f"left out: {why[label]}" if label in why else ""
        mean = NOTHING if dose.diverged else signed(dose.mean, plus=True)
        seeds = ", ".join(signed(each, plus=True) for each in dose.differences)
        fate = "goes on to the confirmation" if is_winner else lost
        rows.append((f"{dose.strength:g}", label, mean, seeds, fate))
    drawn = _figure(
        "dose",
        "The dose curve",
        dose_caption(dosed, margin),
        dose_alt(dosed),
        draw_dose(dosed, margin, report.unit),
    )
    return Part(
        title="How strong",
        sentences=dosed.sentences,
        headings=(
            (
                strength_name(dosed).capitalize() if "multiple" in strength_name(dosed) else "p",
                True,
            ),
            ("Recipe", True),
            (f"Change, {report.unit}", False),
            ("Of each seed", True),
            ("What became of it", True),
        ),
        rows=rows,
        green=frozenset(green),
        figures=(drawn,),
    )


def _figure(name: str, title: str, caption: str, alt: str, drawn: Drawing) -> dict[str, Any]:
    return _inline(name, title, caption, to_svg(drawn, name, alt))


def _inline(name: str, title: str, caption: str, svg: str) -> dict[str, Any]:
    # Our own drawing, every text in it escaped by matplotlib and by to_svg.
    return {"name": name, "title": title, "caption": caption, "svg": Markup(svg)}
