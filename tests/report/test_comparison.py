"""Several studies beside each other."""

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from redrop.errors import UsageError
from redrop.report.comparison import (
    TITLES,
    compare_studies,
    comparison_markdown,
    rich_comparison,
)
from redrop.report.comparison_page import comparison_html, draw_comparison, write_comparison
from redrop.study.records import read_study, write_atomically
from redrop.study.verdict import judge
from tests.study import synthetic


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """An arm that pays, one that costs, an unfinished study of other units, and an empty one."""
    root = tmp_path_factory.mktemp("several")
    spread = (0.0, 0.001, -0.001, 0.0005)
    pays = {
        "none": [2.0 + s for s in spread],
        "all-0.1": [1.95 + 1.5 * s for s in spread],
        "all-0.2": [1.9 + 1.5 * s for s in spread],
    }
    costs = {"none": [2.0 + s for s in spread], "all-0.1": [2.2 + 2 * s for s in spread]}
    open_ = {"none": [1.0, 1.1, 1.2], "all-0.1": [1.02, 1.05, None], "all-0.2": [1.5, 1.4, 1.6]}
    synthetic.write_ends(root / "pays", pays)
    synthetic.write_ends(root / "costs", costs, margin=0.05)
    odd = synthetic.write_ends(root / "open <b>", open_)
    plan = json.loads((odd / "study.json").read_text())
    plan["settings"]["data"] |= {"unit": "squared standard deviations", "name": "a [red]table"}
    write_atomically(odd / "study.json", json.dumps(plan))
    synthetic.write_ends(root / "empty", {"none": [None], "all-0.1": [None]})
    return [read_study(root / name) for name in ("pays", "costs", "open <b>", "empty")]


@pytest.fixture(scope="module")
def comparison(studies):
    return compare_studies(studies)


def test_each_row_says_what_the_studys_own_verdict_says(studies, comparison):
    for study, row in zip(studies, comparison.rows, strict=True):
        verdict = judge(study)
        assert row.verdict == verdict
        if row.best is not None:
            assert row.best in verdict.best
    assert [row.best and row.best.arm for row in comparison.rows] == [
        "all-0.2",
        "all-0.1",
        "all-0.1",
        None,
    ]
    assert comparison.headline == (
        "In 1 of 4 studies an arm is shown to beat its baseline; 2 have no verdict"
    )
    assert compare_studies(studies[1:3]).headline == (
        "In none of 2 studies is an arm shown to beat its baseline; 1 has no verdict"
    )


def test_the_best_arm_is_chosen_by_validation_loss_and_not_by_test_loss(tmp_path):
    ends = {
        arm: [
            synthetic.end_event(value + shift, test_loss_best=test + shift)
            for shift in (0.0, 0.001, 0.002)
        ]
        for arm, value, test in (("none", 2.0, 2.0), ("all-0.1", 1.9, 2.05), ("all-0.2", 2.1, 2.02))
    }
    study = read_study(synthetic.write_ends(tmp_path / "s", ends))
    (row,) = compare_studies([study]).rows
    assert row.best.arm == "all-0.1"


def test_the_table_has_a_cell_for_every_title(comparison):
    rows = [dict(zip(TITLES, row.cells, strict=True)) for row in comparison.rows]
    assert [row["Study"] for row in rows] == ["pays", "costs", "open <b>", "empty"]
    assert rows[0]["Difference"].startswith("−0.0999 ± ")
    assert rows[0]["Outcome"] == "better"
    assert rows[1]["Outcome"] == "worse"
    assert rows[2]["Difference"].endswith(" sd²")
    assert [row["Seeds"] for row in rows] == ["4", "4", "2 of 3", "0 of 1"]
    assert rows[3]["Best arm"] == rows[3]["Turning point"] == "–"


@pytest.mark.parametrize(
    ("best", "final", "said"),
    [
        (1.5, 2.0, "step 700 of 1,400, then +0.500"),
        (1.5, 1.505, "level, step 700 of 1,400"),
    ],
)
def test_the_turning_point_is_the_baselines(tmp_path, best, final, said):
    ends = [synthetic.end_event(best, final_validation_loss=final) for _ in range(2)]
    folder = synthetic.write_ends(tmp_path / "s", {"none": ends, "all-0.1": ends})
    (row,) = compare_studies([read_study(folder)]).rows
    assert row.turning == said


def test_a_baseline_that_still_falls_has_no_turning_point(tmp_path):
    ends = [synthetic.end_event(1.5, best_step=1390) for _ in range(2)]
    folder = synthetic.write_ends(tmp_path / "s", {"none": ends, "all-0.1": ends})
    (row,) = compare_studies([read_study(folder)]).rows
    assert row.turning == "not by step 1,400"


def test_the_json_holds_the_numbers_of_the_table(comparison):
    found = json.loads(comparison.to_json())
    assert found["kind"] == "comparison"
    assert [row["study"] for row in found["studies"]] == [row.name for row in comparison.rows]
    first = found["studies"][0]
    assert first["best_arm"]["difference"]["mean"] == pytest.approx(-0.1, abs=1e-3)
    assert first["best_arm"]["difference"]["low"] < first["best_arm"]["difference"]["high"] < 0
    assert first["recommended"] == "all-0.2"
    assert first["epochs"] == pytest.approx(2_000_000 / 25_000)
    assert first["turning_point"]["best_step"] == 700
    assert found["studies"][2]["missing"] == 1
    assert found["studies"][3]["best_arm"] is None


def test_the_notes_say_what_cannot_be_compared(studies, comparison):
    text = " ".join(comparison.notes)
    assert "different units" in text
    assert "margin of its own study" in text
    assert "Not complete, judged by the runs there are: open <b>, empty." in text
    alike = " ".join(compare_studies(studies[:1]).notes)
    assert "different units" not in alike
    assert "margin of its own" not in alike
    assert "Not complete" not in alike


def test_the_page_says_everything_and_needs_nothing_from_outside(comparison, tmp_path):
    path = write_comparison(comparison, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "comparison.html"
    page = path.read_text(encoding="utf-8")
    for row in comparison.rows:
        for cell in row.cells:
            assert cell.replace("<b>", "&lt;b&gt;") in page
    assert "<b>" not in page
    assert comparison.headline in page
    for note in comparison.notes:
        assert note.replace("'", "&#39;").replace("<b>", "&lt;b&gt;").partition(" %")[0] in page
    assert not re.findall(r"<(script|link|img|iframe|object)\b", page)
    names = set(re.findall(r'https?://[^"\s)<]+', page))
    assert names <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    (svg,) = re.findall(r"<svg [^>]*>", page)
    assert 'role="img" aria-label="Difference of each study' in svg
    assert "pays: −0.0999 ± " in svg


def test_the_same_records_give_the_same_bytes(studies, comparison):
    again = compare_studies([read_study(study.folder) for study in studies])
    assert comparison_html(again) == comparison_html(comparison)
    assert again.to_json() == comparison.to_json()


def test_studies_of_one_unit_share_a_panel_and_others_have_their_own(comparison):
    panels = draw_comparison(comparison.rows).axes
    assert [len(axes.get_yticks()) for axes in panels] == [3, 1]
    assert "nats per token" in panels[0].get_xlabel()
    assert "squared standard deviations" in panels[1].get_xlabel()
    low, high = panels[0].get_xlim()
    assert low < -0.1 < 0.2 < high


def test_the_axis_says_which_way_is_better_apart_from_what_it_shows(comparison):
    for axes in draw_comparison(comparison.rows).axes:
        assert "better" not in axes.get_xlabel()
        left, right = (text for text in axes.texts if text.get_text() in ("← better", "worse →"))
        assert (left.get_text(), left.get_position()[0]) == ("← better", 0.0)
        assert (right.get_text(), right.get_position()[0]) == ("worse →", 1.0)


def test_the_table_says_how_the_best_arm_is_chosen(comparison):
    assert "Best arm <small>recommended, or lowest validation loss</small>" in comparison_html(
        comparison
    )
    markdown = comparison_markdown(comparison)
    assert "| Best arm (recommended, or lowest validation loss) |" in markdown
    assert "the one that its verdict recommends" in " ".join(comparison.notes)


def test_a_study_given_twice_is_refused(studies):
    with pytest.raises(UsageError, match="came twice"):
        compare_studies([studies[0], studies[1], studies[0]])


def test_a_file_name_of_ones_own_is_used_and_a_place_that_cannot_be_is_refused(
    comparison, tmp_path
):
    path = tmp_path / "mine.html"
    assert write_comparison(comparison, path) == path
    with pytest.raises(UsageError, match="cannot be written"):
        write_comparison(comparison, path / "below.html")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_terminal_shows_names_as_they_are(comparison, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(rich_comparison(comparison, width))
    text = console.export_text()
    assert "−0.0999 ± " in text
    assert ("a [red]table" in text) == (width >= 120)


def test_a_diverged_arm_is_not_counted_as_paying(tmp_path):
    lost = {"status": "diverged", "final_validation_loss": None, "test_loss_final": None}
    ends = {
        "none": [2.0, 2.001, 2.002, 2.0],
        "all-0.1": [1.5, 1.501, 1.502, synthetic.end_event(1.5, **lost)],
    }
    study = read_study(synthetic.write_ends(tmp_path / "s", ends))
    other = replace(study, folder=tmp_path / "other")
    comparison = compare_studies([study, other])
    assert comparison.headline.startswith("In none of 2 studies is an arm shown")
    assert comparison.rows[0].cells[TITLES.index("Outcome")].endswith(", 1 diverged")
