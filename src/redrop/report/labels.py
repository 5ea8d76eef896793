"""Names written at the ends of lines instead of in a legend, kept from covering each other."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes

from redrop.report.svg import INK, Look

_LINE_POINTS = 13.0
_COLUMNS = 22


def spread_out(wanted: Sequence[float], heights: Sequence[float], top: float) -> list[float]:
    """Return positions near the wanted ones at which labels of these heights do not overlap.

    All labels stay within [0, top] if there is room for all; the order is kept.

    >>> spread_out([1.0, 1.0, 9.0], [2.0, 2.0, 2.0], top=10.0)
    [1.0, 3.0, 9.0]
    """
    order = sorted(range(len(wanted)), key=lambda place: (wanted[place], place))
    placed: dict[int, float] = {}
    floor = 0.0
    for place in order:
        placed[place] = max(wanted[place], floor + heights[place] / 2)
        floor = placed[place] + heights[place] / 2
    ceiling = top
    for place in reversed(order):
        placed[place] = min(placed[place], ceiling - heights[place] / 2)
        ceiling = placed[place] - heights[place] / 2
    return [placed[place] for place in range(len(wanted))]


def wrap(text: str, columns: int = _COLUMNS) -> str:
    r"""Break a text into as few lines as the columns allow, of about equal length.

    >>> wrap("dropout 0.1 on all sites")
    'dropout 0.1\non all sites'
    """
    lines = textwrap.wrap(text, columns)
    for narrower in range(columns - 1, 0, -1):
        tried = textwrap.wrap(text, narrower, break_long_words=False)
        if len(tried) > len(lines) or max(map(len, tried), default=0) > columns:
            break
        lines = tried
    return "\n".join(lines)


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, Look]]) -> None:
    """Write each name to the right of the axes, joined to the end of its line.

    Args:
        axes: Complete: its limits must not change any more.
        ends: (x, y, name, look) per line, in data coordinates.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    box = axes.get_window_extent()
    points = 72 / figure.dpi
    top = box.height * points
    low, high = axes.get_ylim()
    wanted = [min(max((y - low) / (high - low), 0.0), 1.0) * top for _, y, _, _ in ends]
    names = [wrap(name) for _, _, name, _ in ends]
    heights = [_LINE_POINTS * (1 + name.count("\n")) + 3 for name in names]
    left, right = axes.get_xlim()
    placed = spread_out(wanted, heights, top)
    for (x, _, _, look), want, place, name in zip(ends, wanted, placed, names, strict=True):
        at = (x - left) / (right - left)
        axes.plot(
            [1.0, 1.03, 1.045],
            [want / top, place / top, place / top],
            transform=axes.transAxes,
            clip_on=False,
            color=look.colour,
            linewidth=1.2,
            alpha=0.85,
        )
        if at < 1:  # a mean that ends early: dots lead to its name
            axes.plot(
                [at, 1.0],
                [want / top, want / top],
                transform=axes.transAxes,
                color=look.colour,
                linewidth=1.0,
                linestyle=(0, (1, 3)),
            )
        axes.text(
            1.055,
            place / top,
            name,
            transform=axes.transAxes,
            verticalalignment="center",
            linespacing=1.15,
            color=INK,
        )
