import re
import xml.etree.ElementTree as ElementTree

import pytest

from redrop.report.regime_map import alt_text, caption, draw_regime_map
from redrop.report.svg import INK, PAPER, to_svg
from redrop.study.regime_map import RegimeMap, make_map
from tests.study.test_regime_map import POINTS, at

SIZES = make_map(
    [
        *(at(1, 0.01, 0.02, parameters=1000), at(64, -0.01, -0.02, parameters=1000)),
        *(at(1, 0.01, 0.02, parameters=9000), at(64, 0.01, -0.02, parameters=9000)),
    ]
)


@pytest.mark.parametrize("drawn", [make_map(POINTS), SIZES], ids=["one size", "two sizes"])
def test_it_is_drawn_with_its_numbers_in_words(drawn: RegimeMap) -> None:
    alt = alt_text(drawn)
    svg = to_svg(draw_regime_map(drawn), "map", alt)
    root = ElementTree.fromstring(svg)
    assert root.attrib["aria-label"] == alt
    assert INK not in svg
    assert PAPER not in svg
    shown = " ".join(element.text or "" for element in root.iter())
    for words in ("difference to no dropout", "best p", "epochs: times that"):
        assert words in shown
    for row in drawn.rows:
        assert f"{row.best_p:g} at {row.epochs:.3g} epoch" in alt
    assert caption(drawn).startswith("What to see: ")
    assert "hold together" in caption(drawn)


def test_lines_are_named_at_their_ends() -> None:
    shown = re.sub("<[^>]*>", " ", to_svg(draw_regime_map(make_map(POINTS)), "map", ""))
    assert "dropout 0.1" in shown
    assert "dropout 0.3" in shown
    shown = re.sub("<[^>]*>", " ", to_svg(draw_regime_map(SIZES), "map", ""))
    assert "1,000" in shown
    assert "9,000" in shown


def test_the_same_map_gives_the_same_bytes() -> None:
    first, second = (to_svg(draw_regime_map(make_map(POINTS)), "map", "") for _ in range(2))
    assert first == second
