"""How figures look, and how a matplotlib figure becomes SVG that lives inside the page.

Text and axes are drawn in stand-in colours that the page replaces by its own (`currentColor`), so a
figure follows the light or dark scheme of whoever reads it. The same figure gives the same bytes:
ids come from a fixed salt, and neither date nor version of the drawing library is written.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from redrop.study.schema import StudyPlan

# Stand-ins: no other colour of a figure may be one of these.
INK = "#010203"
PAPER = "#fdfcfb"

# Okabe & Ito, "Color Universal Design" (2008), without yellow (too pale on white) and black (the
# baseline is drawn in ink). The order keeps neighbours apart for every kind of colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "redrop",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titlepad": 10.0,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.major.size": 0.0,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    # A dollar sign in a label is a dollar sign.
    "text.parse_math": False,
}


@dataclass(frozen=True, slots=True)
class Look:
    """Colour and dash of an arm, the same in every figure."""

    colour: str
    dash: object


def looks(plan: StudyPlan) -> dict[str, Look]:
    """Give every arm its look: ink for the baseline, the palette in order for the others."""
    others = [arm.name for arm in plan.arms if arm.name != plan.baseline]
    found = {plan.baseline: Look(INK, "solid")}
    for place, name in enumerate(others):
        cycle, colour = divmod(place, len(PALETTE))
        found[name] = Look(PALETTE[colour], DASHES[cycle % len(DASHES)])
    return found


@contextmanager
def style() -> Iterator[None]:
    """Draw inside this context; the settings of the caller's matplotlib stay as they are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def grid(axes: Axes, axis: str = "y") -> None:
    """Draw thin lines in ink under the data."""
    axes.grid(visible=True, axis=axis, color=INK, alpha=0.13, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def to_svg(figure: Figure, name: str, alt: str) -> str:
    """Return an inline <svg> element with an accessible name, free of outside references.

    Args:
        figure: Drawn inside `style()`; it is entered again here, where the bytes are made.
        name: Prefix of all ids, so that several figures can share one page.
        alt: What the figure shows, for those who do not see it.
    """
    buffer = io.StringIO()
    # The savefig of a bare Figure uses the SVG backend alone: no display, no global state.
    with style():
        figure.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    body = text[text.index("<svg") :]
    # Date and version of the drawing library: they would change the bytes, and say nothing here.
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', body)
    body = body.replace(INK, "currentColor").replace(PAPER, "var(--paper, #ffffff)")
    view = re.search(r'viewBox="[^"]*"', body)
    assert view is not None, "matplotlib writes a viewBox"
    label = escape(alt, quote=True)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{view[0]} role="img" aria-label="{label}">'
    )
    return opening + body[body.index(">") + 1 :].strip()
