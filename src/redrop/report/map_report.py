"""The report of a regime map: its table, its figure, and one study report per amount of data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.table import Table

from redrop.disk import write_atomically
from redrop.errors import UsageError
from redrop.report.html import render
from redrop.report.map_losses import MapLosses, map_losses
from redrop.report.markdown import bullets
from redrop.report.regime_map import alt_text, caption, draw_regime_map
from redrop.report.svg import to_svg
from redrop.report.table import NOTHING, markdown_rows
from redrop.report.write import write_report
from redrop.study.amounts import say_amount
from redrop.study.folders import read_map_folder
from redrop.study.records import Study
from redrop.study.regime_map import MapPoint, MapRow, RegimeMap, make_map
from redrop.study.statistics import Outcome
from redrop.study.verdict import judge
from redrop.study.wording import plus_minus

MAP_HTML = "map.html"
MAP_JSON = "map.json"
_WIDE = 110
"""Columns of a terminal from which on the whole table fits."""

HEADINGS = (
    ("Training data", True),
    ("Epochs", False),
    ("Baseline", True),
    ("Best arm with dropout", True),
    ("Difference to baseline, 95 %", False),
    ("Outcome", True),
    ("Best p", False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MapReport:
    """What there is to say of a map.

    Args:
        drawn: The map of the studies that have a complete pair of every kind.
        studies: The study of each row.
        waiting: What is not complete, in words.
    """

    drawn: RegimeMap
    studies: tuple[Study, ...]
    waiting: tuple[str, ...]

    @property
    def losses(self) -> MapLosses:
        """What every arm lost on each amount."""
        return map_losses(self.studies)

    @property
    def amounts(self) -> list[str]:
        """How much each row trained on, in words."""
        return [
            say_unique(row, study) for row, study in zip(self.drawn.rows, self.studies, strict=True)
        ]

    @property
    def headline(self) -> str:
        """Where dropout begins to pay, or that it does so everywhere or nowhere here."""
        flips = [each for each in self.drawn.flips if each.is_certain] or list(self.drawn.flips)
        rows = self.drawn.rows
        if flips:
            flip = min(flips, key=lambda each: each.at)
            doubt = "" if flip.is_certain else " perhaps"
            verb = "begins to pay" if flip.pays_beyond else "stops paying"
            return f"On these data dropout{doubt} {verb} at about {flip.at:.2g} epochs."
        gains = [row.comparison.difference for row in rows]
        few, many = rows[0].epochs, max(row.epochs for row in rows)
        span = f"from {few:.3g} to {many:.3g} epochs"
        if all(each is not None and each.mean < 0 for each in gains):
            return f"On these data dropout lowers the loss {span}, everywhere that was tried."
        if all(row.comparison.outcome is Outcome.INCONCLUSIVE for row in rows):
            return f"Whether dropout pays on these data is open {span}: more seeds would tell."
        return f"On these data dropout is not seen to turn from costing to paying {span}."


def build_map_report(folder: Path) -> MapReport:
    """Judge the studies of a map and set them side by side, as far as they are complete.

    Raises:
        UsageError: The folder is no map, a record is broken, or fewer than two of its studies have
            a complete pair.
    """
    points = read_map_folder(folder)
    if not points:
        raise UsageError(f"A map has folders amount-…; `{folder}` has none. Run `redrop map`.")
    ready = [point for point in points if _is_ready(point)]
    waiting = [
        f"{_amount(point)}: {len(point.study.missing)} of {_planned(point.study)} runs are missing"
        for point in points
        if point.study.missing
    ]
    if len(ready) < 2:
        raise UsageError(
            f"A map is drawn from studies of two amounts of data or more; in `{folder}` "
            f"{len(ready)} of {len(points)} have runs to compare. The command of the map goes on."
        )
    drawn = make_map(ready)
    by_amount = {point.unique: point.study for point in ready}
    studies = tuple(by_amount[row.unique] for row in drawn.rows)
    return MapReport(drawn=drawn, studies=studies, waiting=tuple(waiting))


def write_map_report(folder: Path) -> MapReport:
    """Write map.html and map.json, and the report of each study that they link to.

    Raises:
        UsageError: As `build_map_report`, or the disk refuses.
    """
    report = build_map_report(folder)
    for study in report.studies:
        write_report(study.folder)
    write_atomically(folder / MAP_HTML, map_html(report))
    write_atomically(folder / MAP_JSON, map_json(report))
    return report


def map_html(report: MapReport) -> str:
    """Return the page; the same records give the same bytes."""
    drawn = report.drawn
    alt = alt_text(drawn)
    figure = {
        "name": "map",
        "title": "Difference to no dropout, and the best p",
        "caption": caption(drawn),
        # Our own drawing, every text in it escaped by matplotlib and by to_svg.
        "svg": Markup(to_svg(draw_regime_map(drawn), "map", alt)),
    }
    plan = report.studies[0].plan
    return render(
        "map.html",
        report=report,
        headings=HEADINGS,
        rows=_rows(report),
        links=[f"{study.folder.name}/report.html" for study in report.studies],
        losses=report.losses,
        figure=figure,
        command=plan.command,
        name=str(plan.settings.get("data", {}).get("name", plan.name)).partition(":")[0],
        seeds=len(plan.seeds),
        arms=[arm.label or arm.name for arm in plan.arms],
    )


def map_json(report: MapReport) -> str:
    """Return the text of map.json; the same records give the same bytes."""
    told: dict[str, Any] = {
        "kind": "map",
        "format": 1,
        "headline": report.headline,
        "command": report.studies[0].plan.command,
        **report.drawn.to_dict(),
        "studies": [study.folder.name for study in report.studies],
        "losses": report.losses.to_dict(),
        "waiting": list(report.waiting),
    }
    return json.dumps(told, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def map_markdown(report: MapReport) -> str:
    """Return answer, table, what is missing, and the command, as Markdown."""
    parts = [f"# {report.headline}", bullets(report.drawn.sentences)]
    parts += [markdown_rows(HEADINGS, _rows(report))]
    losses = report.losses
    parts += [f"## {losses.title}", losses.caption]
    parts += [markdown_rows(losses.headings, losses.cells(report.amounts))]
    parts += ["## Not complete", bullets(report.waiting)] if report.waiting else []
    parts += ["## The command", f"```\n{report.studies[0].plan.command}\n```"]
    return "\n\n".join(parts) + "\n"


def _rows(report: MapReport) -> list[list[str]]:
    rows = zip(report.drawn.rows, report.studies, strict=True)
    return [map_cells(row, study) for row, study in rows]


def map_cells(row: MapRow, study: Study) -> list[str]:
    """Return one row of the table as text."""
    difference = row.comparison.difference
    change = NOTHING
    if difference is not None:
        change = plus_minus(difference.mean, difference.half_width, plus=True)
    return [
        say_unique(row, study),
        f"{row.epochs:.3g}",
        row.state or NOTHING,
        row.label,
        change,
        row.comparison.outcome.value,
        f"{row.best_p:g}",
    ]


def say_unique(row: MapRow, study: Study) -> str:
    """Return how much the runs of a row trained on."""
    counted = "samples" if study.plan.settings.get("data", {}).get("samples") else "tokens"
    return f"{say_amount(row.unique)} {counted}"


def rich_losses(report: MapReport) -> Table:
    """Return the table of losses for a terminal."""
    losses = report.losses
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title, is_text in losses.headings:
        table.add_column(title, justify="left" if is_text else "right")
    for cells in losses.cells(report.amounts):
        table.add_row(*cells)
    return table


def rich_map(report: MapReport, width: int) -> Table:
    """Return the table for a terminal of that width; what the sentences say, too, gives way."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    places = []
    for place, (title, is_text) in enumerate(HEADINGS):
        if width >= _WIDE or title not in ("Baseline", "Outcome"):
            places.append(place)
            table.add_column(title, justify="left" if is_text else "right")
    for cells in _rows(report):
        table.add_row(*(cells[place] for place in places))
    return table


def _is_ready(point: MapPoint) -> bool:
    """Say whether every arm of a study has a complete pair."""
    return all(each.difference is not None or each.diverged for each in judge(point.study).best)


def _amount(point: MapPoint) -> str:
    return f"{point.unique:,} training targets"


def _planned(study: Study) -> int:
    return len(study.plan.arms) * len(study.plan.seeds)
