"""The figure of the dose stage: what each strength changes against no dropout, seed by seed."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from redrop.report.svg import INK, PALETTE, PAPER, grid, style
from redrop.study.dose import Dosed
from redrop.study.wording import count, signed

_LINE, _BEST = PALETTE[0], PALETTE[2]


def strength_name(dosed: Dosed) -> str:
    """Return what a strength is: p, or the multiple of a high level."""
    return "p" if any(dose.recipe.dropout for dose in dosed.doses) else "multiple of the high level"


def draw_dose(dosed: Dosed, margin: float, unit: str) -> Figure:
    """Draw mean and seeds of every strength, the parabola where there is one, and the winner."""
    seen = [dose for dose in dosed.doses if math.isfinite(dose.mean)]
    with style():
        figure = Figure(figsize=(11.0, 4.2))
        axes = figure.subplots()
        figure.subplots_adjust(left=0.06, right=0.97, top=0.9, bottom=0.14)
        axes.axhspan(-margin, margin, color=INK, alpha=0.1, linewidth=0)
        axes.axhline(0, color=INK, linewidth=1)
        if dosed.curve is not None:
            constant, slope, bend = dosed.curve.coefficients
            places = np.linspace(0, max(dose.strength for dose in seen), 100)
            heights = constant + slope * places + bend * places**2
            axes.plot(places, heights, color=_LINE, linewidth=1.6, linestyle=(0, (5, 2)))
            axes.axvspan(*dosed.curve.flat, color=_LINE, alpha=0.08, linewidth=0)
        for dose in seen:
            places_of_seeds = [dose.strength] * len(dose.differences)
            axes.plot(places_of_seeds, dose.differences, "_", color=_LINE, markersize=11)
        axes.plot([0], [0], "o", color=INK, markersize=6)
        axes.plot(
            [dose.strength for dose in seen], [dose.mean for dose in seen], "o", color=_LINE,
            markersize=6.5,
        )  # fmt: skip
        for dose in seen:
            if dosed.winner is not None and dose.recipe.name == dosed.winner.name:
                axes.plot(
                    [dose.strength], [dose.mean], "o", markersize=12, markerfacecolor="none",
                    markeredgecolor=_BEST, markeredgewidth=2,
                )  # fmt: skip
                axes.annotate(
                    "goes on",
                    (dose.strength, dose.mean),
                    xytext=(10, -3),
                    textcoords="offset points",
                    bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
                )
        axes.set_title(f"best validation loss minus that of no dropout at the same seed, {unit}")
        axes.set_xlabel(strength_name(dosed))
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axes.margins(x=0.06, y=0.12)
        grid(axes)
    return figure


def dose_caption(dosed: Dosed, margin: float) -> str:
    """Say what to see in the figure."""
    curve = (
        "Dashed: a parabola through the means; blue zone: where it lies within the margin of its "
        "lowest point, so any strength there is as good. "
        if dosed.curve is not None
        else "No parabola is drawn: the points do not follow one with its lowest point among them, "
        "or are fewer than four. "
    )
    return (
        "What to see: below zero a strength is better than no dropout. Dot: mean; dashes: single "
        f"seeds; black dot: no dropout. {curve}Ring: goes on to the confirmation. Grey: the "
        f"margin, ±{margin:g}. The best of several looks better than it is: the confirmation, on "
        "other seeds, has the figure that counts."
    )


def dose_alt(dosed: Dosed) -> str:
    """Say in words what the figure shows."""
    points = ", ".join(
        f"{dose.strength:g}: {signed(dose.mean, plus=True)} over "
        f"{count(len(dose.differences), 'seed')}"
        for dose in dosed.doses
        if math.isfinite(dose.mean)
    )
    curve = "" if dosed.curve is None else f" A parabola is lowest at {dosed.curve.best:.2g}."
    return f"Change in loss against no dropout by strength. {points}.{curve}"
