"""The figures over steps: validation loss, training loss, gap, and difference to the baseline."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from redrop.report.content import least_loss
from redrop.report.labels import label_ends
from redrop.report.series import QUANTITIES, Series, arm_series, difference_series
from redrop.report.svg import INK, PAPER, Look, grid, looks, style
from redrop.study.records import Study
from redrop.study.wording import describe_arm

_WIDE, _TALL = 11.0, 4.5
# The first steps fall so far that they would flatten all that follows; the picture starts to
# measure its height here, as a share of the run.
_SETTLED = 0.12
_ROOM = 0.05


def draw_validation(study: Study) -> Figure:
    """Draw validation loss over steps, the lowest point of each mean marked."""
    with style():
        figure, (axes,) = _panels(1)
        drawn = _draw_arms(axes, study, "validation_loss")
        for series, look in drawn:
            best = min(range(len(series.mean)), key=lambda place: series.mean[place])
            axes.plot(
                series.steps[best],
                series.mean[best],
                "o",
                markersize=7,
                markerfacecolor=PAPER,
                markeredgecolor=look.colour,
                markeredgewidth=1.8,
                zorder=5,
            )
        least = least_loss(study.plan.settings)
        if least is not None:
            axes.axhline(least, color=INK, linewidth=1, linestyle=(0, (1, 2)))
            axes.annotate(
                "best possible",
                (0.0, least),
                xycoords=("axes fraction", "data"),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=9,
            )
        _finish(axes, drawn, f"validation loss, {study.plan.unit}", least=least)
        _label(axes, study, drawn)
    return figure


def draw_training(study: Study) -> Figure:
    """Draw training loss with dropout on and with dropout off, side by side on one scale."""
    with style():
        figure, (left, right) = _panels(2)
        noisy = _draw_arms(left, study, "train_loss")
        quiet = _draw_arms(right, study, "train_eval_loss")
        both = [*noisy, *quiet]
        _finish(left, both, f"training loss with dropout on, {study.plan.unit}")
        _finish(right, both, "the same with dropout off (eval mode)")
        right.tick_params(labelleft=False)
        _label(right, study, quiet)
    return figure


def draw_gap(study: Study) -> Figure:
    """Draw validation loss minus training loss, both in eval mode, over steps."""
    with style():
        figure, (axes,) = _panels(1)
        drawn = _draw_arms(axes, study, "gap")
        axes.axhline(0, color=INK, linewidth=0.8)
        _finish(
            axes, drawn, f"validation minus training loss (eval mode), {study.plan.unit}", zero=True
        )
        _label(axes, study, drawn)
    return figure


def draw_difference(study: Study) -> Figure:
    """Draw the paired difference to the baseline in validation loss, with zero and margin."""
    plan = study.plan
    with style():
        figure, (axes,) = _panels(1)
        look_of = looks(plan)
        drawn = []
        for arm in plan.arms:
            if arm.name == plan.baseline:
                continue
            series = difference_series(study, arm.name, QUANTITIES["validation_loss"])
            if series is not None:
                _draw(axes, series, look_of[arm.name])
                drawn.append((series, look_of[arm.name]))
        axes.axhspan(-plan.margin, plan.margin, color=INK, alpha=0.1, linewidth=0)
        axes.axhline(0, color=INK, linewidth=1)
        title = f"validation loss minus that of the baseline at the same seed, {study.plan.unit}"
        _finish(axes, drawn, title, zero=True)
        _label(axes, study, drawn)
    return figure


def _panels(columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDE, _TALL))
    found = figure.subplots(1, columns, squeeze=False)
    figure.subplots_adjust(left=0.05, right=0.81, top=0.9, bottom=0.13, wspace=0.12)
    return figure, list(found[0])


def _draw_arms(axes: Axes, study: Study, quantity: str) -> list[tuple[Series, Look]]:
    """Draw one quantity of all arms, the baseline last so that it lies on top."""
    look_of = looks(study.plan)
    names = [arm.name for arm in study.plan.arms if arm.name != study.plan.baseline]
    drawn = []
    for name in (*names, study.plan.baseline):
        series = arm_series(study, name, QUANTITIES[quantity])
        if series is not None:
            _draw(axes, series, look_of[name])
            drawn.append((series, look_of[name]))
    return drawn


def _draw(axes: Axes, series: Series, look: Look) -> None:
    """Draw the seeds faintly, the band, and the mean on top."""
    for steps, values in series.seeds.values():
        axes.plot(steps, values, color=look.colour, linewidth=0.6, alpha=0.35)
    if series.spread is not None:
        low = [mean - wide for mean, wide in zip(series.mean, series.spread, strict=True)]
        high = [mean + wide for mean, wide in zip(series.mean, series.spread, strict=True)]
        axes.fill_between(series.steps, low, high, color=look.colour, alpha=0.16, linewidth=0)
    dash: Any = look.dash
    axes.plot(series.steps, series.mean, color=look.colour, linewidth=2.0, linestyle=dash)


def _finish(
    axes: Axes,
    drawn: Sequence[tuple[Series, Look]],
    title: str,
    *,
    least: float | None = None,
    zero: bool = False,
) -> None:
    """Set limits, grid, axis texts."""
    axes.set_title(title)
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(
        MaxNLocator(7 if len(axes.figure.axes) == 1 else 5, integer=True, steps=[1, 2, 2.5, 5, 10])
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    grid(axes)
    ends = [steps[-1] for series, _ in drawn for steps, _ in series.seeds.values()]
    last = max(ends, default=1)
    axes.set_xlim(0, max(last, 1))
    limits = _limits(
        drawn, [value for value in (least, 0.0 if zero else None) if value is not None]
    )
    if limits is not None:
        axes.set_ylim(*limits)


def _limits(
    drawn: Sequence[tuple[Series, Look]], included: Sequence[float]
) -> tuple[float, float] | None:
    """Return y limits that hold the settled part of everything but diverged seeds."""
    values = list(included)
    for series, _ in drawn:
        begins = _SETTLED * series.steps[-1]
        spread = series.spread or (0.0,) * len(series.mean)
        for step, mean, wide in zip(series.steps, series.mean, spread, strict=True):
            if step >= begins:
                values += [mean - wide, mean + wide]
        for seed, (steps, each) in series.seeds.items():
            if seed not in series.diverged:
                values += [v for step, v in zip(steps, each, strict=True) if step >= begins]
    if not values or min(values) == max(values):
        return None
    room = _ROOM * (max(values) - min(values))
    return min(values) - room, max(values) + room


def _label(axes: Axes, study: Study, drawn: Sequence[tuple[Series, Look]]) -> None:
    ends = [
        (float(series.steps[-1]), series.mean[-1], describe_arm(study.plan, series.arm), look)
        for series, look in drawn
    ]
    label_ends(axes, ends)
