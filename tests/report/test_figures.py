import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure as Drawing

from redrop.report.content import build_report
from redrop.report.curves import draw_difference, draw_gap, draw_training, draw_validation
from redrop.report.figures import Figure, draw_figures
from redrop.report.labels import spread_out, wrap
from redrop.report.svg import INK, PALETTE, PAPER, looks, style, to_svg
from redrop.study.records import Study, read_study
from tests.study import synthetic
from tests.study.synthetic import ARMS, everywhere, make_plan

NAMES = ["verdict", "validation", "training", "gap", "difference"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    plan = make_plan(seeds=(0, 1, 2), bayes_loss=2.0)
    return read_study(synthetic.write_study(tmp_path_factory.mktemp("study"), plan))


@pytest.fixture(scope="module")
def figures(study: Study) -> tuple[Figure, ...]:
    return draw_figures(build_report(study))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.text]


def test_all_figures_are_drawn_and_say_what_to_see(figures: tuple[Figure, ...]) -> None:
    assert [figure.name for figure in figures] == NAMES
    for figure in figures:
        assert figure.caption.startswith("What to see: ")
        root = ElementTree.fromstring(figure.svg)
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"] == figure.alt


def test_alt_texts_carry_the_numbers(study: Study, figures: tuple[Figure, ...]) -> None:
    by_name = {figure.name: figure for figure in figures}
    best = min(line.validation_loss or 9.0 for line in study.of_arm("all-0.2")[0].evals)
    assert "dropout 0.2 on all sites: lowest 2." in by_name["validation"].alt
    assert f"{best:.1f}" in by_name["validation"].alt
    assert "lowers test loss by" in by_name["verdict"].alt


def test_figures_name_their_lines_where_they_end(figures: tuple[Figure, ...]) -> None:
    for figure in figures:
        shown = " ".join(texts(figure.svg))
        for word in ("0.1", "0.2", "attention weights"):
            assert word in shown
        assert ("no dropout" in shown) == (figure.name not in ("verdict", "difference"))


def test_figures_follow_the_page_and_need_nothing_from_outside(
    figures: tuple[Figure, ...],
) -> None:
    ids: list[str] = []
    for figure in figures:
        assert "currentColor" in figure.svg
        assert INK not in figure.svg
        assert PAPER not in figure.svg
        assert not re.search(r"#0{6}\b|#f{6}\b(?!\))", figure.svg), "black or white would not turn"
        assert "<metadata" not in figure.svg
        assert "<image" not in figure.svg
        links = re.findall(r'(?:xlink:href="|url\()([^")]*)', figure.svg)
        found = re.findall(r'\bid="([^"]*)"', figure.svg)
        assert links
        assert all(link.startswith(f"#{figure.name}-") for link in links)
        assert {link[1:] for link in links} <= set(found)
        ids += found
    assert len(ids) == len(set(ids)), "ids must not meet in one page"


def test_the_same_records_give_the_same_bytes(study: Study, figures: tuple[Figure, ...]) -> None:
    assert draw_figures(build_report(study)) == figures


def test_drawing_leaves_the_settings_of_the_caller_alone(study: Study) -> None:
    with mpl.rc_context({"font.size": 31.0, "svg.hashsalt": "theirs"}):
        svg = to_svg(draw_gap(study), "gap", "")
        assert mpl.rcParams["font.size"] == 31.0
        assert mpl.rcParams["svg.hashsalt"] == "theirs"
    assert svg == to_svg(draw_gap(study), "gap", "")


@pytest.mark.parametrize(
    ("draw", "lowest", "highest"),
    [(draw_validation, 2.0, 3.5), (draw_training, 1.0, 3.8), (draw_gap, 0.0, 2.2)],
)
def test_the_steep_beginning_does_not_flatten_the_rest(
    study: Study, draw: Callable[[Study], Drawing], lowest: float, highest: float
) -> None:
    low, high = draw(study).axes[0].get_ylim()
    assert low <= lowest + 0.3
    assert high < highest


def test_the_difference_shows_zero_and_where_each_arm_ends(study: Study) -> None:
    axes = draw_difference(study).axes[0]
    low, high = axes.get_ylim()
    assert low < -0.5 < 0 < high
    drawn = {line.get_color() for line in axes.lines}
    assert set(PALETTE[:3]) <= drawn


def test_the_scale_ignores_diverged_seeds_but_holds_the_others(tmp_path: Path) -> None:
    plan = make_plan({name: ARMS[name] for name in ("none", "all-0.2")}, seeds=(0, 1))
    folder = synthetic.write_study(tmp_path, plan)
    path = next((folder / "runs").glob("all-0.2-s1-*"))
    path.unlink()
    events = synthetic.make_events(ARMS["all-0.2"], 1)
    events[-2]["validation_loss"] = 1e6
    events[-1]["status"] = "diverged"
    synthetic.write_run(folder, plan, "all-0.2", 1, events)
    low, high = draw_validation(read_study(folder)).axes[0].get_ylim()
    assert high < 5
    highest = max(
        line.validation_loss or 0.0
        for run in read_study(folder).of_arm("none").values()
        for line in run.evals[5:]
    )
    assert low < highest < high


def test_every_arm_has_a_look_of_its_own() -> None:
    arms = {f"all-{p}": everywhere(p / 100) for p in range(14)}
    found = looks(make_plan(arms))
    assert found["all-0"].colour == INK
    assert len({(look.colour, str(look.dash)) for look in found.values()}) == len(arms)


def test_labels_with_signs_of_markup_are_text() -> None:
    with style():
        drawing = Drawing()
        drawing.text(0.5, 0.5, "p < 0.1 & $x_1$ > 0")
    svg = to_svg(drawing, "x", 'a "quoted" <b>')
    assert "p < 0.1 & $x_1$ > 0" in texts(svg)
    assert ElementTree.fromstring(svg).attrib["aria-label"] == 'a "quoted" <b>'


@given(st.lists(st.floats(0, 100), max_size=8))
def test_labels_do_not_cover_each_other_and_stay_inside(wanted: list[float]) -> None:
    placed = spread_out(wanted, [10.0] * len(wanted), top=100.0)
    assert all(5 - 1e-9 <= place <= 95 + 1e-9 for place in placed)
    ordered = sorted(placed)
    assert all(after - before >= 10 - 1e-9 for before, after in pairwise(ordered))
    ranks = sorted(range(len(wanted)), key=lambda place: (wanted[place], place))
    assert ranks == sorted(range(len(wanted)), key=lambda place: (placed[place], place))


def test_labels_with_room_stay_where_their_lines_end() -> None:
    assert spread_out([10.0, 50.0, 90.0], [10.0] * 3, top=100.0) == [10.0, 50.0, 90.0]


@pytest.mark.parametrize(
    ("text", "wrapped"),
    [
        ("no dropout", "no dropout"),
        ("dropout 0.2 on attention weights", "dropout 0.2 on\nattention weights"),
        ("", ""),
    ],
)
def test_labels_break_into_lines_of_about_equal_length(text: str, wrapped: str) -> None:
    assert wrap(text) == wrapped
