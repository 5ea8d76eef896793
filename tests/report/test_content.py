"""The regime of a report: what it says of the network's size."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from redrop.report import write_report
from redrop.report.protocol_write import write_protocol_report
from redrop.study.budget import parse_budget
from redrop.study.records import write_atomically
from redrop.study.schema import StudyPlan, read_plan
from redrop.study.stage import ProtocolSettings
from tests.report.page import Page
from tests.report.protocol_folder import write_protocol
from tests.study import synthetic
from tests.study.surface import Surface


def written(folder: Path, parameters: int | None, **data: object) -> tuple[str, dict[str, str]]:
    """Write a study and its report; return the page's text and the regime of report.json."""
    plan = synthetic.make_plan(seeds=(0, 1), steps=200)
    settings = {**plan.settings, "data": {**plan.settings["data"], **data}}
    synthetic.write_study(folder, replace(plan, parameters=parameters, settings=settings))
    paths = write_report(folder)
    regime: dict[str, str] = json.loads(paths.json.read_text(encoding="utf-8"))["regime"]
    return Page(paths.html).text, regime


def test_a_report_says_how_large_the_network_is(tmp_path: Path) -> None:
    text, regime = written(tmp_path, 107_520)
    assert regime["Parameters"] == "107,520 trainable, 4.3 per unique training target"
    assert f"Parameters {regime['Parameters']}" in text


def test_without_the_number_of_targets_there_is_no_ratio(tmp_path: Path) -> None:
    _, regime = written(tmp_path, 107_520, train_targets=None)
    assert regime["Parameters"] == "107,520 trainable"


def test_a_plan_of_before_they_were_counted_has_the_same_report_without_them(
    tmp_path: Path,
) -> None:
    _, counted = written(tmp_path / "counted", 107_520)
    _, old = written(tmp_path / "old", None)
    del counted["Parameters"]
    assert old == counted
    stored = json.loads((tmp_path / "old" / "study.json").read_text())
    del stored["parameters"]
    (tmp_path / "old" / "study.json").write_text(json.dumps(stored))
    before = (tmp_path / "old" / "report.json").read_bytes()
    write_report(tmp_path / "old")
    assert (tmp_path / "old" / "report.json").read_bytes() == before


@pytest.mark.parametrize("parameters", [5000, None])
def test_the_card_of_a_budgeted_study_has_the_parameters_of_its_baseline(
    tmp_path: Path, parameters: int | None
) -> None:
    settings = ProtocolSettings(budget=parse_budget("40000 steps"))
    write_protocol(tmp_path, settings, Surface(), stages=1)
    plan = read_plan(tmp_path / "1-baseline")
    assert isinstance(plan, StudyPlan)
    counted = replace(plan, parameters=parameters)
    write_atomically(tmp_path / "1-baseline" / "study.json", counted.to_json())
    write_protocol_report(tmp_path)
    regime = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["regime"]
    ratio = None if parameters is None else 0.5  # of 10,000 targets
    assert (regime["parameters"], regime["parameters_per_unique"]) == (parameters, ratio)
    said = "Parameters 5,000 0.5 per unique token" in Page(tmp_path / "report.html").text
    assert said == (parameters is not None)
