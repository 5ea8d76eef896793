"""The figure of the verdict: each arm's difference to the baseline with its interval."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from redrop.report.labels import wrap
from redrop.report.svg import INK, PAPER, grid, looks, style
from redrop.study.against_baseline import Comparison, values_at
from redrop.study.records import Study
from redrop.study.statistics import paired_differences
from redrop.study.verdict import Verdict
from redrop.study.wording import plus_minus

_ROW_INCHES, _FRAME_INCHES = 0.62, 1.35


def draw_forest(study: Study, verdict: Verdict) -> Figure:
    """Draw the differences at the best checkpoint (left) and at the end of training (right)."""
    rows = max(1, len(verdict.best))
    height = _FRAME_INCHES + _ROW_INCHES * rows
    with style():
        figure = Figure(figsize=(11.0, height))
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(
            left=0.19, right=0.985, top=1 - 0.55 / height, bottom=0.62 / height, wspace=0.08
        )
        metric = verdict.best[0].metric if verdict.best else "loss"
        _draw_panel(left, study, verdict.best, f"{metric}, best checkpoint")
        _draw_panel(right, study, verdict.end, f"{metric}, end of training")
        names = [wrap(each.label) for each in verdict.best]
        left.set_yticks(range(len(names)), names)
        right.set_yticks([])
    return figure


def _draw_panel(axes: Axes, study: Study, comparisons: Sequence[Comparison], title: str) -> None:
    plan = study.plan
    look_of = looks(plan)
    axes.axvspan(-plan.margin, plan.margin, color=INK, alpha=0.1, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1)
    for row, each in enumerate(comparisons):
        if each.difference is None:
            axes.text(0.02, row, "no complete pair", transform=axes.get_yaxis_transform())
            continue
        colour = look_of[each.arm].colour
        mean, wide = each.difference.mean, each.difference.half_width
        seeds = paired_differences(
            values_at(study, each.arm, each.at), values_at(study, plan.baseline, each.at)
        )
        axes.plot(list(seeds.values()), [row + 0.2] * len(seeds), "|", color=colour, markersize=6)
        if wide is not None:
            axes.plot([mean - wide, mean + wide], [row, row], color=colour, linewidth=2.4)
        axes.plot([mean], [row], "o", color=colour, markersize=7.5)
        # Above the point: beside it the text could run over the edge or over the interval.
        axes.annotate(
            plus_minus(mean, wide, plus=True),
            (mean, row),
            xytext=(0, 8),
            textcoords="offset points",
            horizontalalignment="center",
            fontsize=9.5,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
        )
    axes.set_title(title)
    axes.set_ylim(len(comparisons) - 0.5, -0.75)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    low, high = axes.get_xlim()
    room = 0.12 * (high - low)
    axes.set_xlim(min(low, -plan.margin) - room, max(high, plan.margin) + room)
    axes.set_xlabel(f"difference to baseline, {study.plan.unit}")
    name_sides(axes)
    grid(axes, "x")


def name_sides(axes: Axes) -> None:
    """Say below the ends of an axis of differences which way is better."""
    for side, at, text in (("left", 0.0, "← better"), ("right", 1.0, "worse →")):
        axes.text(
            at,
            -0.72,
            text,
            transform=axes.get_yaxis_transform(),
            horizontalalignment=side,
            verticalalignment="top",
            fontsize=9.5,
            alpha=0.75,
        )
