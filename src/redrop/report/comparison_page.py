"""comparison.html: several studies in one table and one figure."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from redrop.disk import disk_error, write_atomically
from redrop.report.comparison import HEADINGS, StudyComparison, StudyRow
from redrop.report.forest import name_sides
from redrop.report.html import render
from redrop.report.labels import wrap
from redrop.report.svg import INK, PALETTE, PAPER, grid, style, to_svg
from redrop.study.against_baseline import values_at
from redrop.study.statistics import Outcome, paired_differences
from redrop.study.wording import plus_minus

PAGE = "comparison.html"
_COLOURS = {Outcome.BETTER: PALETTE[2], Outcome.WORSE: PALETTE[1]}
_ROW_INCHES, _FRAME_INCHES = 0.66, 1.15


def write_comparison(comparison: StudyComparison, out: Path) -> Path:
    """Write the page to `out`, a file that ends in .html or a folder, and return where it lies.

    Raises:
        UsageError: The disk refuses.
    """
    path = out if out.suffix == ".html" else out / PAGE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path, "Nothing was written.") from error
    write_atomically(path, comparison_html(comparison))
    return path


def comparison_html(comparison: StudyComparison) -> str:
    """Return the page; the same records give the same bytes."""
    figure = draw_comparison(comparison.rows)
    return render(
        PAGE,
        comparison=comparison,
        headings=HEADINGS,
        rows=[row.cells for row in comparison.rows],
        figure=Markup(to_svg(figure, "studies", alt_text(comparison.rows))),
        caption=_CAPTION,
    )


_CAPTION = (
    "What to see: left of zero the study's best arm is better than its baseline. It is so beyond "
    "chance, and by an amount that matters, where the whole bar lies left of the grey zone, the "
    "margin of that study. Dot: mean; bar: interval of that study; ticks: single seeds. Studies "
    "whose losses have one unit share a scale."
)


def alt_text(rows: Sequence[StudyRow]) -> str:
    """Say in words what the figure shows."""
    parts = [f"{row.name}: {_amount(row)} with {row.best.label}" for row in rows if row.best]
    return f"Difference of each study's best arm to its baseline. {'; '.join(parts)}."


def draw_comparison(rows: Sequence[StudyRow]) -> Figure:
    """Draw a row per study, studies of one unit in one panel."""
    units = list(dict.fromkeys(row.study.plan.unit for row in rows))
    panels = [[row for row in rows if row.study.plan.unit == unit] for unit in units]
    heights = [_FRAME_INCHES + _ROW_INCHES * len(panel) for panel in panels]
    with style():
        figure = Figure(figsize=(11.0, sum(heights)))
        top = sum(heights)
        for panel, unit, height in zip(panels, units, heights, strict=True):
            top -= height
            whole = sum(heights)
            axes = figure.add_axes(
                (0.27, (top + 0.62) / whole, 0.71, (height - _FRAME_INCHES + 0.1) / whole)
            )
            _draw_panel(axes, panel, unit)
    return figure


def _draw_panel(axes: Axes, rows: Sequence[StudyRow], unit: str) -> None:
    axes.axvline(0, color=INK, linewidth=1)
    for place, row in enumerate(rows):
        margin = row.study.plan.margin
        axes.fill_betweenx(
            [place - 0.5, place + 0.5], -margin, margin, color=INK, alpha=0.1, linewidth=0
        )
        _draw_row(axes, place, row)
    names = [f"{row.name}\n{wrap(row.best.label, 34) if row.best else ''}".rstrip() for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.5, -0.75)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    low, high = axes.get_xlim()
    room = 0.08 * (high - low)
    axes.set_xlim(low - room, high + room)
    axes.set_xlabel(f"difference to the study's own baseline, {unit}")
    name_sides(axes)
    grid(axes, "x")


def _draw_row(axes: Axes, place: int, row: StudyRow) -> None:
    best = row.best
    if best is None or best.difference is None:
        axes.text(0.02, place, "no complete pair", transform=axes.get_yaxis_transform())
        return
    colour = _COLOURS.get(best.outcome, INK)
    mean, wide = best.difference.mean, best.difference.half_width
    study = row.study
    seeds = paired_differences(
        values_at(study, best.arm, best.at), values_at(study, study.plan.baseline, best.at)
    )
    axes.plot(list(seeds.values()), [place + 0.22] * len(seeds), "|", color=colour, markersize=6)
    if wide is not None:
        axes.plot([mean - wide, mean + wide], [place, place], color=colour, linewidth=2.4)
    axes.plot([mean], [place], "o", color=colour, markersize=7.5)
    axes.annotate(
        _amount(row),
        (mean, place),
        xytext=(0, 8),
        textcoords="offset points",
        horizontalalignment="center",
        fontsize=9.5,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
    )


def _amount(row: StudyRow) -> str:
    if row.best is None or row.best.difference is None:
        return "no complete pair"
    return plus_minus(row.best.difference.mean, row.best.difference.half_width, plus=True)
