import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from redrop.report.content import Report, build_report
from redrop.report.figures import draw_figures
from redrop.report.markdown import report_markdown
from redrop.report.table import markdown_rows, markdown_table, rich_table
from redrop.study.records import read_study
from tests.study import synthetic

BASE = [2.50, 2.52, 2.48]


def report_of(folder: Path) -> Report:
    return build_report(read_study(folder))


def cell(report: Report, arm: str, title: str) -> str:
    row = next(place for place, each in enumerate(report.table.arms) if each.arm == arm)
    titles = [heading.title for heading in report.table.headings]
    return report.table.rows[row][titles.index(title)]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report_of(synthetic.write_study(tmp_path_factory.mktemp("full")))


def test_every_figure_that_was_promised_has_its_column(tmp_path: Path) -> None:
    late = {
        "best_step": 700,
        "final_validation_loss": 2.75,
        "test_loss_best": 2.6,
        "seconds": 754.0,
    }
    runs = [synthetic.end_event(loss, **late) for loss in BASE]
    arms = {"none": BASE, "all-0.2": runs}
    report = report_of(synthetic.write_ends(tmp_path, arms))
    assert cell(report, "all-0.2", "Recipe") == "dropout 0.2 on all sites"
    assert cell(report, "all-0.2", "Best validation loss") == "2.500 ± 0.020"
    assert cell(report, "all-0.2", "at step") == "700"
    assert cell(report, "all-0.2", "Gap at best") == "0.500"
    assert cell(report, "all-0.2", "Gap at end") == "0.750"
    assert cell(report, "all-0.2", "Final validation loss") == "2.750"
    assert cell(report, "all-0.2", "Test loss") == "2.600"
    assert cell(report, "all-0.2", "Difference to baseline") == "+0.100 ± 0.050"
    assert cell(report, "all-0.2", "Outcome") == "worse"
    assert cell(report, "all-0.2", "Seeds") == "3"
    assert cell(report, "all-0.2", "Time") == "13 min"
    assert cell(report, "none", "Difference to baseline") == "baseline"
    assert cell(report, "none", "Outcome") == ""


def test_without_test_data_there_is_no_test_column(tmp_path: Path) -> None:
    report = report_of(synthetic.write_study(tmp_path, test=False))
    titles = [f"{heading.title} {heading.detail}" for heading in report.table.headings]
    assert not any("test" in title.lower() for title in titles)
    assert "Difference to baseline validation loss, 95 %" in titles


def test_missing_and_diverged_runs_show_in_the_table(tmp_path: Path) -> None:
    ends = [BASE[0], None, synthetic.end_event(2.4, status="diverged")]
    report = report_of(synthetic.write_ends(tmp_path, {"none": BASE, "all-0.2": ends}))
    assert cell(report, "all-0.2", "Seeds") == "2 of 3, 1 diverged"
    nothing = report_of(synthetic.write_ends(tmp_path / "b", {"none": BASE, "all-0.2": [None] * 3}))
    assert cell(nothing, "all-0.2", "Best validation loss") == "–"
    assert cell(nothing, "all-0.2", "Difference to baseline") == "–"


def test_a_diverged_study_is_not_called_inconclusive(tmp_path: Path) -> None:
    lost = dict.fromkeys(
        ("best_validation_loss", "final_validation_loss", "test_loss_best", "test_loss_final")
    )
    ends = [synthetic.end_event(0.0, status="diverged", steps=7, best_step=5, **lost)] * 2
    report = report_of(synthetic.write_ends(tmp_path, {"none": ends, "all-0.2": ends}))
    assert cell(report, "all-0.2", "Outcome") == "diverged"
    said = " ".join((*report.verdict.sentences, *report.method))
    assert "after step 7" in said
    assert "test data" not in said.lower()
    assert " yet" not in said
    assert not draw_figures(report)


def test_an_arm_alone_is_compared_with_nothing(tmp_path: Path) -> None:
    report = report_of(synthetic.write_ends(tmp_path, {"all-0.2": BASE}))
    titles = [heading.title for heading in report.table.headings]
    assert "Test loss" in titles
    assert not {"Difference to baseline", "Outcome"} & set(titles)
    text = report_markdown(report)
    for word in ("baseline", "verdict", "difference", "margin", "interval"):
        assert word not in text.lower()
    assert "Test data are read once per checkpoint" in text


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_terminal_table_fits_and_keeps_what_decides(full: Report, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_table(full.table, width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text, "no cell may be cut"
    for row in full.table.arms:
        assert row.arm in text
    assert cell(full, "all-0.2", "Difference to baseline") in text
    assert cell(full, "all-0.2", "Best validation loss") in text
    assert ("Outcome" in text) == (width >= 100)
    assert ("Recipe" in text) == (width >= 200)


CELL = st.text("ab| -1", min_size=1, max_size=6)


@given(st.lists(st.tuples(CELL, CELL), max_size=4))
def test_a_bar_in_a_cell_is_no_border(rows: list[tuple[str, str]]) -> None:
    lines = markdown_rows([("Arm", True), ("Loss", False)], rows).splitlines()
    assert lines[:2] == ["| Arm | Loss |", "| :-- | --: |"]
    for row, line in zip(rows, lines[2:], strict=True):
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        assert [cell[1:-1].replace("\\|", "|") for cell in cells] == list(row)


def test_the_markdown_table_has_all_columns(full: Report) -> None:
    lines = markdown_table(full.table).splitlines()
    assert len(lines) == 2 + len(full.table.arms)
    assert {line.count("|") for line in lines} == {1 + len(full.table.headings)}
