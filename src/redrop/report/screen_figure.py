"""The figure of a screening: each effect with its interval, all sizes in a half-normal plot."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from redrop.report.labels import spread_out, wrap
from redrop.report.svg import INK, PALETTE, grid, style
from redrop.study.effects import Effect
from redrop.study.factorial import LETTERS
from redrop.study.screen import Screened
from redrop.study.wording import plus_minus, signed

_KEPT, _OTHER = PALETTE[2], PALETTE[1]
_ROW_INCHES, _FRAME_INCHES, _LEAST_INCHES = 0.42, 1.3, 4.2
_LABEL_POINTS = 13.0


def draw_screen(screened: Screened, margin: float, unit: str) -> Figure:
    """Draw the effects of the factors and their interactions (left), their sizes (right)."""
    rows = [*screened.effects.main, *screened.effects.interactions]
    height = max(_LEAST_INCHES, _FRAME_INCHES + _ROW_INCHES * len(rows))
    with style():
        figure = Figure(figsize=(11.0, height))
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
        figure.subplots_adjust(
            left=0.25, right=0.97, top=1 - 0.5 / height, bottom=0.65 / height, wspace=0.17
        )
        _draw_effects(left, rows, screened, margin)
        left.set_title("change from low to high, 95 % interval")
        left.set_xlabel(f"best validation loss, {unit}; ← better · worse →")
        _draw_half_normal(right, screened)
    return figure


def screen_caption(screened: Screened, margin: float) -> str:
    """Say what to see in the figure."""
    return (
        "What to see: left, a factor whose bar lies left of zero lowers the loss, averaged over "
        f"all settings of the others. Green: kept; grey zone: the margin, ±{margin:g}. Two letters "
        "are an interaction: how much more two factors do together than the sum of both. Right: "
        "the sizes in order against what pure chance would give. Chance alone lies along the "
        "dotted line through zero; what stands well above it is an effect. Intervals: "
        f"{screened.effects.method}, each for itself; nothing is claimed here."
    )


def screen_alt(screened: Screened) -> str:
    """Say in words what the figure shows."""
    effects = [*screened.effects.main, *screened.effects.interactions]
    listed = ", ".join(
        f"{_name(each, screened)} {plus_minus(each.mean, each.half_width, plus=True)}"
        for each in effects
    )
    sizes = screened.effects.half_normal()
    largest = ", ".join(f"{name} {signed(size)}" for _, size, name in reversed(sizes[-3:]))
    return f"Changes in loss from low to high: {listed}. Largest sizes: {largest}."


def _name(effect: Effect, screened: Screened) -> str:
    if not effect.is_main:
        return effect.name.replace("+", " + ")
    factor = screened.factors[LETTERS.index(effect.name)]
    return f"{effect.name} {factor.label or factor.name}"


def _colour(effect: Effect, screened: Screened) -> str:
    if not effect.is_main:
        return INK
    is_kept = screened.factors[LETTERS.index(effect.name)] in screened.kept
    return _KEPT if is_kept else _OTHER


def _draw_effects(axes: Axes, rows: Sequence[Effect], screened: Screened, margin: float) -> None:
    axes.axvspan(-margin, margin, color=INK, alpha=0.1, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1)
    for place, each in enumerate(rows):
        colour = _colour(each, screened)
        alpha = 1.0 if each.is_main else 0.6
        axes.plot([each.low, each.high], [place, place], color=colour, linewidth=2, alpha=alpha)
        axes.plot([each.mean], [place], "o", color=colour, markersize=6, alpha=alpha)
    axes.set_yticks(range(len(rows)), [wrap(_name(each, screened), 36) for each in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    grid(axes, "x")


def _draw_half_normal(axes: Axes, screened: Screened) -> None:
    points = screened.effects.half_normal()
    by_name = {each.name: each for each in (*screened.effects.main, *screened.effects.interactions)}
    top = 1.08 * max(size for _, size, _ in points) or 1.0
    axes.set_ylim(0, top)
    widest = points[-1][0]
    axes.set_xlim(0, 1.35 * widest)
    # The line of chance: the standard error of an effect per unit of the quantile.
    error = 2 * screened.effects.noise / float(np.sqrt(len(screened.design.rows)))
    axes.plot([0, widest], [0, error * widest], color=INK, linewidth=1, linestyle=(0, (1, 2)))
    for quantile, size, name in points:
        axes.plot([quantile], [size], "o", color=_colour(by_name[name], screened), markersize=5.5)
    _label(axes, points[-max(4, len(points) // 3) :], top)
    axes.set_title("size of each effect")
    axes.set_xlabel("half-normal quantile: what pure chance gives")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    grid(axes)


def _label(axes: Axes, points: Sequence[tuple[float, float, str]], top: float) -> None:
    """Write the names of the largest effects beside their points, none over another."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = axes.get_position().height * figure.get_figheight() * 72
    wanted = [size / top * height for _, size, _ in points]
    placed = spread_out(wanted, [_LABEL_POINTS] * len(points), height)
    for (quantile, _, name), place in zip(points, placed, strict=True):
        axes.annotate(
            name.partition("+")[0] + ("+…" if "+" in name else ""),
            (quantile, place / height * top),
            xytext=(7, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=9.5,
        )
