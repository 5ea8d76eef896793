import itertools
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from redrop.errors import UsageError
from redrop.report import build_report, report_markdown, write_report
from redrop.study.records import read_study
from tests.report.page import Page
from tests.study import synthetic
from tests.study.synthetic import ARMS, make_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(write_report(folder).html)


def test_the_page_says_everything_the_verdict_says(folder: Path, page: Page) -> None:
    report = build_report(read_study(folder))
    for sentence in report.verdict.sentences:
        assert sentence in page.text
    assert page.text.index(report.verdict.headline) < page.text.index("The arms")
    for part in (*report.method, report.study.plan.command, *report.machines):
        assert part in page.text
    for name, value in (*report.regime, *report.versions):
        assert f"{name} {value}" in page.text
    for row in report.table.rows:
        assert " ".join(cell for cell in row if cell) in page.text


def test_the_page_needs_no_script_and_nothing_from_outside(folder: Path, page: Page) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object"})
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), "no handlers"
            if name in ("src", "href", "xlink:href", "data"):
                assert (value or "").startswith("#")
    assert "@import" not in html
    assert all(link.startswith("#") for link in re.findall(r"url\(([^)]*)\)", html))
    names = set(re.findall(r'https?://[^"\s)<]+', html))
    assert names <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_page_can_be_read_without_eyes_or_light(folder: Path, page: Page) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert page.having("html") == [{"lang": "en"}]
    assert "prefers-color-scheme: dark" in html
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert {cell.get("scope") for cell in page.having("th")} == {"col", "row"}
    pictures = page.having("svg")
    assert len(pictures) == 5
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(link in ids for link in [a.get("aria-labelledby", ids[0]) for _, a in page.tags])


def test_the_recommended_arm_is_marked_in_words_too(page: Page) -> None:
    marked = [row for row in page.having("tr") if row.get("class") == "recommended"]
    assert len(marked) == 1
    assert "In green: what the verdict recommends" in page.text


def test_the_json_says_what_the_page_says(folder: Path) -> None:
    paths = write_report(folder)
    found = json.loads(paths.json.read_text(encoding="utf-8"))
    report = paths.report
    assert found["verdict"]["sentences"] == list(report.verdict.sentences)
    assert found["command"] == report.study.plan.command
    assert [row["arm"] for row in found["arms"]] == list(ARMS)
    assert found["format"] == 3
    assert (found["looks"], found["error_of_all_looks"]) == (1, 0.05)
    assert found["arms"][2]["recipe"] == asdict(report.study.plan.arm("all-0.2"))
    assert found["arms"][2]["recipe"]["dropout"] == ARMS["all-0.2"]
    losses = [run["end"]["best_validation_loss"] for run in found["runs"] if run["arm"] == "none"]
    assert found["arms"][0]["best_validation_loss"]["mean"] == pytest.approx(sum(losses) / 5)
    curve = found["curves"]["validation_loss"][0]
    assert curve["arm"] == "none"
    assert len(curve["steps"]) == len(curve["mean"]) == len(curve["spread"]) == 29
    assert set(curve["seeds"]) == {"0", "1", "2", "3", "4"}
    assert set(found["curves"]) == {"validation_loss", "train_loss", "train_eval_loss", "gap"}
    assert [each["arm"] for each in found["validation_difference"]] == list(ARMS)[1:]
    assert found["table"]["rows"] == [list(row) for row in report.table.rows]
    assert found["method"] == list(report.method)
    assert found["missing"] == []


def test_the_same_records_give_the_same_bytes_anywhere(folder: Path, tmp_path: Path) -> None:
    paths = write_report(folder)
    before = (paths.html.read_bytes(), paths.json.read_bytes())
    copy = tmp_path / "elsewhere"
    (copy / "runs").mkdir(parents=True)
    (copy / "study.json").write_bytes((folder / "study.json").read_bytes())
    for path in sorted((folder / "runs").iterdir(), reverse=True):
        (copy / "runs" / path.name).write_bytes(path.read_bytes())
    again = write_report(copy)
    assert (again.html.read_bytes(), again.json.read_bytes()) == before


def partial(folder: Path) -> Path:
    synthetic.write_study(folder, make_plan(seeds=(0, 1, 2)))
    next((folder / "runs").glob("none-s2-*")).unlink()
    cut = next((folder / "runs").glob("all-0.1-s0-*"))
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:12]))
    return folder


def test_a_partial_study_reports_what_is_there_and_names_the_rest(tmp_path: Path) -> None:
    paths = write_report(partial(tmp_path))
    page = Page(paths.html)
    assert "2 of 12 runs are not complete" in page.text
    assert "no dropout, seed 2: not begun" in page.text
    assert "dropout 0.1 on all sites, seed 0: recorded to step 500" in page.text
    assert "not complete 500" in page.text
    assert len(page.having("svg")) == 5
    assert len(json.loads(paths.json.read_text())["missing"]) == 2


def test_a_study_without_any_complete_run_has_a_report(tmp_path: Path) -> None:
    plan = make_plan(seeds=(0, 1))
    (tmp_path / "study.json").write_text(plan.to_json())
    paths = write_report(tmp_path)
    page = Page(paths.html)
    assert "No verdict yet" in page.text
    assert "8 of 8 runs are not complete" in page.text
    assert page.having("svg") == []
    assert json.loads(paths.json.read_text())["verdict"]["recommended"] is None


def test_one_seed_and_one_arm_have_a_report(tmp_path: Path) -> None:
    plan = make_plan({"none": ARMS["none"]}, seeds=(0,))
    page = Page(write_report(synthetic.write_study(tmp_path, plan)).html)
    assert len(page.having("svg")) == 3
    assert "One seed per arm." in page.text


def test_the_words_test_loss_need_test_data(tmp_path: Path) -> None:
    paths = write_report(synthetic.write_study(tmp_path, make_plan(seeds=(0, 1)), test=False))
    page = Page(paths.html)
    assert "test loss" not in page.text.lower()
    assert "No test data were read" in page.text
    assert "test loss" not in report_markdown(paths.report).lower()


def test_names_from_outside_are_text_in_the_page(tmp_path: Path) -> None:
    plan = make_plan({name: ARMS[name] for name in ("none", "all-0.2")}, seeds=(0, 1))
    evil = "<script>alert(1)</script> & $x$"
    arms = (plan.arms[0], replace(plan.arms[1], label=evil))
    named = replace(plan, arms=arms, command=evil, name=evil)
    paths = write_report(synthetic.write_study(tmp_path, named))
    page = Page(paths.html)
    assert "<script" not in page.html
    assert page.text.count(evil) > 5


def test_the_least_possible_loss_is_told_where_it_is_known(tmp_path: Path) -> None:
    plan = make_plan({"none": ARMS["none"]}, seeds=(0,), bayes_loss=2.188)
    page = Page(write_report(synthetic.write_study(tmp_path, plan)).html)
    assert "Best possible loss 2.188 nats per token (known exactly)" in page.text
    assert "best possible" in page.text


def test_the_markdown_holds_verdict_table_and_command(folder: Path) -> None:
    report = build_report(read_study(folder))
    text = report_markdown(report)
    assert text.startswith(f"# {report.verdict.headline}\n")
    for part in (*report.verdict.sentences, *report.method, report.study.plan.command):
        assert part in text
    assert "| none | no dropout |" in text


def test_a_report_that_cannot_be_written_keeps_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_report(folder).html.read_bytes()

    def refuse(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(UsageError, match=r"disk is full: .*report\.html"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == old
    assert not list(folder.glob(".*tmp"))
