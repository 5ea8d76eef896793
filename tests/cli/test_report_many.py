import json

import pytest

from redrop.report import build_report, report_markdown
from redrop.study.records import read_study
from tests.cli.command import redrop
from tests.study import synthetic


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    synthetic.write_ends(root / "pays", {"none": [2.0, 2.1, 2.2], "all-0.1": [1.9, 2.0, 2.1]})
    synthetic.write_ends(root / "costs", {"none": [2.0, 2.1, 2.2], "all-0.1": [2.1, 2.2, 2.3]})
    return root


def test_several_folders_are_compared_and_nothing_is_written_unasked(root):
    before = sorted(path for path in root.rglob("*"))
    result = redrop("report", "pays", "costs", cwd=root)
    assert result.returncode == 0, result.stderr
    assert "In 1 of 2 studies an arm is shown to beat its baseline." in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ("pays", "costs")] == ["pays", "costs"]
    assert "−0.100" in result.stdout
    assert "+0.100" in result.stdout
    assert sorted(path for path in root.rglob("*")) == before


def test_the_page_is_written_where_asked_and_json_says_the_same(root, tmp_path):
    result = redrop("report", "pays", "costs", f"--out={tmp_path}", "--json", cwd=root)
    found = json.loads(result.stdout)
    assert [row["study"] for row in found["studies"]] == ["pays", "costs"]
    assert [row["best_arm"]["outcome"] for row in found["studies"]] == ["better", "worse"]
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert found["headline"] in page
    shown = redrop("report", "pays", "costs", f"--out={tmp_path / 'mine.html'}", cwd=root)
    assert shown.stdout.endswith(f"\nComparison: {tmp_path / 'mine.html'}\n")
    assert (tmp_path / "mine.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pays", "--out=x"], "got one, `pays`. Its report lies in its own folder"),
        (["pays", "nowhere"], "`nowhere` does not"),
        (["pays", "./pays"], "came twice"),
        (["pays", "--json", "--markdown"], "printed in one form; got `--json` and `--markdown`"),
    ],
)
def test_a_mistake_is_one_clear_line(root, arguments, said):
    result = redrop("report", *arguments, cwd=root)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_markdown_is_one_document_on_standard_output(root):
    one = redrop("report", "pays", "--markdown", cwd=root)
    assert one.returncode == 0, one.stderr
    assert one.stdout == report_markdown(build_report(read_study(root / "pays")))
    many = redrop("report", "pays", "costs", "--markdown", cwd=root)
    assert many.stdout.startswith("# In 1 of 2 studies an arm is shown to beat its baseline.\n")
    rows = [line for line in many.stdout.splitlines() if line.startswith(("| pays", "| costs"))]
    assert ["better" in row for row in rows] == [True, False]


def test_the_help_shows_how_markdown_is_asked_for(root):
    shown = " ".join(redrop("report", "--help", cwd=root).stdout.replace("│", " ").split())
    assert "--markdown > report.md" in shown


def test_one_folder_is_reported_as_ever(root):
    result = redrop("report", "pays", cwd=root)
    assert result.stdout.endswith("\nReport: pays/report.html\n")
    assert (root / "pays" / "report.html").exists()
