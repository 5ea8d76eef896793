"""The figure of the regime map: gain and best p against epochs over the data."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from redrop.report.labels import label_ends
from redrop.report.svg import INK, PALETTE, Look, grid, style
from redrop.study.amounts import say_amount
from redrop.study.regime_map import MapRow, RegimeMap
from redrop.study.statistics import Difference
from redrop.study.wording import say_epochs, signed

# Intervals of lines that meet at one number of epochs stand side by side.
_ASIDE = 0.008

Line = tuple[str, Sequence[tuple[float, Difference]]]


def draw_regime_map(drawn: RegimeMap) -> Figure:
    """Draw the difference to no dropout over epochs (above) and the best p (below).

    With one size of network each arm is a line; with several, each size is one, and its points
    are those of the best arm.
    """
    lines = _lines(drawn)
    looks = [Look(PALETTE[place % len(PALETTE)], "solid") for place in range(len(lines))]
    with style():
        figure = Figure(figsize=(11.0, 6.4))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        figure.subplots_adjust(left=0.06, right=0.78, top=0.94, bottom=0.1, hspace=0.28)
        ends = []
        for place, ((name, points), look) in enumerate(zip(lines, looks, strict=True)):
            _draw_line(above, points, look, _ASIDE * (place - (len(lines) - 1) / 2))
            ends.append((_place(points[-1][0]), points[-1][1].mean, name, look))
        above.axhspan(-drawn.margin, drawn.margin, color=INK, alpha=0.1, linewidth=0)
        above.axhline(0, color=INK, linewidth=1)
        above.set_title(f"difference to no dropout at the best checkpoint, {drawn.unit}")
        above.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        _draw_best(below, drawn)
        _finish(above, below, drawn.rows)
        label_ends(above, ends)
    return figure


def caption(drawn: RegimeMap) -> str:
    """Say what to see in the figure."""
    share = next((p.confidence for _, line in _lines(drawn) for _, p in line), 0.95)
    return (
        "What to see: below zero dropout pays, above it costs; where a line crosses zero, dropout "
        "stops paying as data are read fewer times. Bars: "
        f"{100 * share:g} % intervals, which hold together for the arms of one study. Grey: the "
        f"margin, ±{drawn.margin:g}. Below: the p with the lowest validation loss; the lines "
        "between the points are no measurements."
    )


def alt_text(drawn: RegimeMap) -> str:
    """Say in words what the figure shows."""
    parts = [
        f"{name}: "
        + ", ".join(f"{signed(each.mean, plus=True)} at {say_epochs(x)}" for x, each in points)
        for name, points in _lines(drawn)
    ]
    best = ", ".join(f"{row.best_p:g} at {say_epochs(row.epochs)}" for row in drawn.rows)
    return f"Difference to no dropout over epochs. {'; '.join(parts)}. Best p: {best}."


def _lines(drawn: RegimeMap) -> list[Line]:
    """Return each line's name and its (epochs, difference) points."""
    found: list[Line] = []
    if len(drawn.sizes) == 1:
        for arm, comparison in drawn.rows[0].arms.items():
            points = [(row.epochs, row.arms[arm].difference) for row in drawn.rows]
            found.append((comparison.label, [(x, each) for x, each in points if each is not None]))
    else:
        for size in drawn.sizes:
            rows = drawn.of_size(size)
            points = [(row.epochs, row.comparison.difference) for row in rows]
            name = f"{_say_size(size)}, best arm"
            found.append((name, [(x, each) for x, each in points if each is not None]))
    return [line for line in found if line[1]]


def _place(epochs: float) -> float:
    """Return where a number of epochs stands: a plain axis of logarithms, for the labels' sake."""
    return math.log10(epochs)


def _say_size(size: int | None) -> str:
    return "unknown size" if size is None else f"{say_amount(size)} parameters"


def _draw_line(
    axes: Axes, points: Sequence[tuple[float, Difference]], look: Look, aside: float
) -> None:
    places = [_place(x) + aside for x, _ in points]
    axes.plot(places, [p.mean for _, p in points], "-o", color=look.colour, markersize=5.5)
    for place, (_, each) in zip(places, points, strict=True):
        if each.low is not None and each.high is not None:
            axes.plot([place, place], [each.low, each.high], color=look.colour, linewidth=2.2)


def _draw_best(axes: Axes, drawn: RegimeMap) -> None:
    for place, size in enumerate(drawn.sizes):
        rows = drawn.of_size(size)
        colour = INK if len(drawn.sizes) == 1 else PALETTE[place % len(PALETTE)]
        places = [_place(row.epochs) for row in rows]
        axes.plot(places, [row.best_p for row in rows], "-o", color=colour)
    axes.set_title("best p")
    top = max(row.best_p for row in drawn.rows)
    axes.set_ylim(-0.05 * max(top, 0.1), 1.15 * max(top, 0.1))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _finish(above: Axes, below: Axes, rows: Sequence[MapRow]) -> None:
    epochs = sorted({row.epochs for row in rows})
    places = [_place(each) for each in epochs]
    below.set_xticks(places, [f"{each:.3g}" for each in epochs])
    below.set_xlabel("epochs: times that the training data are read")
    room = 0.04 * (places[-1] - places[0]) or 0.1
    below.set_xlim(places[0] - room, places[-1] + room)
    for axes in (above, below):
        grid(axes)
