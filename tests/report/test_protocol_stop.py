"""Budgeted studies that end at their baseline have a report, too."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from redrop.cli.report import report as report_command
from redrop.errors import UsageError
from redrop.report.protocol import build_protocol_report
from redrop.report.protocol_markdown import protocol_markdown
from redrop.report.protocol_page import protocol_html
from redrop.report.protocol_stop import curves, draw_stop, stop_alt
from redrop.report.protocol_write import write_protocol_report
from redrop.report.write import write_report
from redrop.study.budget import parse_budget
from redrop.study.folders import read_protocol_folder
from redrop.study.protocol import next_stage
from redrop.study.records import read_study
from redrop.study.stage import ProtocolSettings
from tests.report.page import Page
from tests.report.protocol_folder import COMMAND, write_protocol
from tests.study.surface import Surface

SETTINGS = ProtocolSettings(budget=parse_budget("40000 steps"), baseline_seeds=2)
SHORT = ProtocolSettings(budget=parse_budget("20s"), first_steps=800)
HEALTHY, LOST = Surface(), Surface(diverging=frozenset({"none"}))


def write_stopped(folder: Path, settings: ProtocolSettings, *surfaces: Surface) -> tuple[Path, str]:
    """Write baselines, one on each surface, of which the last one meets a rule; return the rule."""
    for surface in surfaces[:-1]:
        write_protocol(folder, settings, surface, stages=1)
    with pytest.raises(UsageError) as rule:
        write_protocol(folder, settings, surfaces[-1])
    return folder, str(rule.value)


CASES = {
    "diverged": (SETTINGS, (LOST,), "the baseline diverged", "Pass a lower --learning-rate."),
    "diverged later": (SETTINGS, (HEALTHY, LOST), "the baseline diverged", "--learning-rate."),
    "too small": (SHORT, (HEALTHY,), "too small for a study of runs of 800 steps", "Pass a budget"),
}


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "-"))
def stopped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    settings, surfaces, *said = CASES[request.param]
    folder, rule = write_stopped(tmp_path_factory.mktemp("stopped"), settings, *surfaces)
    write_protocol_report(folder)
    return folder, rule, len(surfaces), said


def same(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").split())


def test_the_page_says_what_happened_what_was_measured_and_what_to_do(stopped) -> None:
    folder, rule, baselines, (what, advice) = stopped
    page = Page(folder / "report.html")
    page.check()
    text, report = same(page.text), build_protocol_report(folder)
    assert report.headline.startswith("No answer: ")
    assert what in report.headline
    assert text.index(report.headline) < text.index(rule) < text.index("The stages")
    assert advice in rule
    assert "no arm was compared" in text
    assert COMMAND in text
    assert "Go on with it" not in text, "the same command stops again"
    assert [row.state for row in report.stages] == ["complete"] * baselines
    assert len(page.having("svg")) == 1


def test_every_run_is_in_page_json_and_markdown(stopped) -> None:
    folder, rule, _, _ = stopped
    recorded = read_protocol_folder(folder)
    assert recorded is not None
    runs = [(study, run) for study in recorded.studies for run in study.runs]
    found = json.loads((folder / "report.json").read_text())
    told = {(each["stage"], each["seed"]): each for each in found["stopped"]["runs"]}
    assert len(told) == len(runs) == len(found["stopped"]["runs"])
    assert found["stopped"]["rule"] == rule
    assert rule in found["sentences"]
    assert found["spent"] == pytest.approx(
        sum(r.end.seconds if found["unit"] == "seconds" else r.end.steps for _, r in runs)
    )
    text = same(Page(folder / "report.html").text)
    markdown = protocol_markdown(build_protocol_report(folder))
    assert markdown.startswith(f"# {found['headline']}\n")
    for study, run in runs:
        each, cells = told[study.folder.name, run.header.seed], [study.folder.name]
        assert each["status"] == run.end.status
        assert each["best_validation_loss"] == run.end.best_validation_loss
        assert each["curve"]["validation_loss"] == [line.validation_loss for line in run.evals]
        cells += [str(run.header.seed), run.end.status, f"{run.end.steps:,}"]
        assert " ".join(cells) in text
        assert f"| {' | '.join(cells)} |" in markdown
    assert rule in markdown


def test_the_command_prints_it_and_the_same_records_give_the_same_bytes(
    stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rule, _, _ = stopped
    before = [(folder / name).read_bytes() for name in ("report.html", "report.json")]
    report_command(folder)
    assert same(rule) in same(capsys.readouterr().out)
    report_command(folder, json_=True)
    assert json.loads(capsys.readouterr().out)["stopped"]["rule"] == rule
    assert [(folder / name).read_bytes() for name in ("report.html", "report.json")] == before


def test_a_regime_is_read_from_a_baseline_that_did_not_diverge(stopped) -> None:
    folder, _, _, (what, _) = stopped
    report = build_protocol_report(folder)
    assert (report.card is None) == ("diverged" in what)
    assert ("The regime" in Page(folder / "report.html").text) == (report.card is not None)


def test_a_budget_that_paid_for_no_run_is_refused_as_ever(tmp_path: Path) -> None:
    settings = ProtocolSettings(budget=parse_budget("100 steps"))
    _, rule = write_stopped(tmp_path, settings, HEALTHY)
    with pytest.raises(UsageError) as refused:
        build_protocol_report(tmp_path)
    assert str(refused.value) == rule


def test_a_study_that_goes_on_is_not_stopped(tmp_path: Path) -> None:
    report = write_protocol_report(write_protocol(tmp_path, SETTINGS, HEALTHY, stages=2))
    assert report.stop is None
    assert next_stage(SETTINGS, report.recorded.studies) == report.progress.next
    assert json.loads((tmp_path / "report.json").read_text())["stopped"] is None


def test_losses_of_many_sizes_are_drawn_in_decades(tmp_path: Path) -> None:
    folder, _ = write_stopped(tmp_path, SETTINGS, LOST)
    stop = build_protocol_report(folder).stop
    assert stop is not None
    ((name, run, points), *_) = curves(stop)
    wide = [(name, run, [(1, 3.0), (2, 3e6)])]
    labels = [each.get_text() for each in draw_stop(wide, "nats").axes[0].get_yticklabels()]
    assert "10⁴" in labels
    narrow = [(name, run, points)]
    axes = draw_stop(narrow, "nats").axes[0]
    drawn = axes.lines[0].get_ydata()
    assert list(drawn) == [loss for _, loss in points]
    assert "diverged by step" in stop_alt(narrow)


def test_a_run_without_a_single_finite_loss_has_no_curve_and_still_a_page(tmp_path: Path) -> None:
    folder, _ = write_stopped(tmp_path, SETTINGS, LOST)
    for path in (folder / "1-baseline" / "runs").iterdir():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            if line["kind"] == "eval":
                line["validation_loss"] = None
            if line["kind"] == "end":
                line |= {"best_step": None, "best_validation_loss": None, "tokens": 0}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_study(folder / "1-baseline").runs
    report = write_protocol_report(folder)
    assert report.stop is not None
    assert curves(report.stop) == []
    page = Page(folder / "report.html")
    page.check()
    assert page.having("svg") == []
    assert "diverged" in report.stop.rows[0]


def test_a_study_whose_every_run_diverged_has_a_report_without_empty_figures(
    tmp_path: Path,
) -> None:
    folder, _ = write_stopped(tmp_path, SETTINGS, LOST)
    page = Page(write_report(folder / "1-baseline").html)
    assert page.having("svg") == []
    assert "2 diverged" in page.text


def test_names_from_outside_are_text_in_the_page(tmp_path: Path) -> None:
    folder, _ = write_stopped(tmp_path, SETTINGS, LOST)
    report = build_protocol_report(folder)
    evil = "<script>alert(1)</script>"
    html = protocol_html(replace(report, recorded=replace(report.recorded, command=evil)))
    assert "<script" not in html
