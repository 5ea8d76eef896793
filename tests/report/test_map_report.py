import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from redrop.cli.report import report as report_command
from redrop.errors import UsageError
from redrop.report.map_report import build_map_report, rich_map, write_map_report
from redrop.study.amounts import say_amount
from tests.report.page import Page
from tests.report.protocol_folder import COMMAND, write_amount, write_map

CHANGES = {2_000: -0.05, 8_000: -0.02, 32_000: 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_map(tmp_path_factory.mktemp("map"), CHANGES)
    write_map_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(folder / "map.html")


def same(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").split())


def test_the_page_says_what_the_map_says(folder: Path, page: Page) -> None:
    page.check()
    report = build_map_report(folder)
    text = same(page.text)
    assert text.index(report.headline) < text.index("The map")
    for sentence in report.drawn.sentences:
        assert sentence in text
    assert COMMAND in text
    assert len(page.having("svg")) == 1
    for row in report.drawn.rows:
        assert f"{say_amount(row.unique)} tokens {row.epochs:.3g}" in text


def test_each_amount_links_to_the_report_of_its_study(folder: Path, page: Page) -> None:
    assert page.links() == [f"amount-{n:09d}/report.html" for n in sorted(CHANGES, reverse=True)]
    for link in page.links():
        Page(folder / link).check()


def test_the_json_holds_every_number(folder: Path) -> None:
    found = json.loads((folder / "map.json").read_text())
    report = build_map_report(folder)
    assert json.loads(json.dumps(report.drawn.to_dict())).items() <= found.items()
    assert found["headline"] == report.headline
    assert [row["unique"] for row in found["rows"]] == sorted(CHANGES, reverse=True)
    assert found["studies"][0] == "amount-000032000"


def test_the_markdown_says_what_the_page_says(
    folder: Path, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    report_command(folder, markdown=True)
    text = capsys.readouterr().out
    report = build_map_report(folder)
    assert text.startswith(f"# {report.headline}\n")
    assert all(f"- {sentence}\n" in text for sentence in report.drawn.sentences)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 * (2 + len(CHANGES))
    rows = [row for row in rows if "--:" not in row]
    for row in rows:
        assert " ".join(row.strip("| ").split(" | ")) in same(page.text)


def test_the_same_records_give_the_same_bytes(folder: Path, page: Page) -> None:
    write_map_report(folder)
    assert (folder / "map.html").read_text(encoding="utf-8") == page.html


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (CHANGES, "dropout begins to pay at about"),
        ({2_000: 0.05, 32_000: -0.05}, "dropout stops paying at about"),
        ({2_000: -0.05, 32_000: -0.02}, "lowers the loss from 2.5 to 40 epochs, everywhere"),
        ({2_000: 0.05, 32_000: 0.02}, "not seen to turn from costing to paying from 2.5 to 40"),
        ({2_000: -0.0002, 32_000: 0.0002}, "perhaps"),
    ],
)
def test_the_headline_says_where_it_turns(
    changes: dict[int, float], said: str, tmp_path: Path
) -> None:
    assert said in build_map_report(write_map(tmp_path, changes)).headline


def test_an_unfinished_map_shows_the_amounts_that_are_there(tmp_path: Path) -> None:
    write_map(tmp_path, {2_000: -0.05, 32_000: 0.02})
    write_amount(tmp_path, 8_000, -0.02, runs=2)
    report = write_map_report(tmp_path)
    assert [row.unique for row in report.drawn.rows] == [32_000, 2_000]
    page = Page(tmp_path / "map.html")
    page.check()
    assert "8,000 training targets: 10 of 12 runs are missing" in page.text
    assert len(page.links()) == 2


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="A map has folders amount-"):
        build_map_report(tmp_path)
    write_map(tmp_path, {2_000: -0.05})
    with pytest.raises(UsageError, match="1 of 1 have runs to compare"):
        build_map_report(tmp_path)


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_the_table(folder: Path, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_map(build_map_report(folder), width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for words in ("2,000 tokens", "40", "0.2", "Best p"):
        assert words in text
    assert ("passed its minimum" in text) == (width >= 120)


def test_report_recognises_a_map(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_command(folder)
    shown = same(capsys.readouterr().out)
    assert build_map_report(folder).headline in shown
    assert f"Map: {folder / 'map.html'}" in shown
    report_command(folder, json_=True)
    assert json.loads(capsys.readouterr().out)["kind"] == "map"
    report_command(folder / "amount-000002000")
    assert "report.html" in capsys.readouterr().out
