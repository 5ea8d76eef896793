"""What the page is told of a study, and the cursor that says what it has already."""

import json
from pathlib import Path

import pytest

from redrop.errors import UsageError
from redrop.lab.studies import find_studies, study_payload
from redrop.study.records import read_study
from tests.study.synthetic import make_events, make_plan, write_run, write_study


def test_studies_are_found_two_levels_deep(tmp_path: Path) -> None:
    plan = make_plan(seeds=(0,))
    for place in ("a", "b/c", "d/e/f"):
        write_study(tmp_path / place, plan)
    assert set(find_studies(tmp_path)) == {"a", "b:c"}
    assert find_studies(tmp_path / "a") == {"this": tmp_path / "a"}
    assert find_studies(tmp_path / "nowhere") == {}


def test_the_payload_is_json_and_complete(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", make_plan(seeds=(0, 1, 2)))
    payload = json.loads(json.dumps(study_payload("s", folder, {}, ""), allow_nan=False))
    assert len(payload["runs"]) == 12
    assert {run["status"] for run in payload["runs"]} == {"done"}
    study = read_study(folder)
    run = payload["runs"][0]
    recorded = study.of_arm(run["arm"])[run["seed"]]
    assert run["evals"]["step"] == [line.step for line in recorded.evals]
    assert run["evals"]["gap"] == [line.gap for line in recorded.evals]
    assert {line["arm"] for line in payload["differences"]["validation_loss"]} == {
        arm.name for arm in study.plan.arms
    } - {"none"}
    assert payload["means"]["validation_loss"][0]["count"] == 3
    assert "seeds" not in payload["means"]["validation_loss"][0]


def test_only_what_is_new_travels(tmp_path: Path) -> None:
    plan = make_plan(seeds=(0,))
    folder = write_study(tmp_path / "s", make_plan(seeds=(0,)))
    for file in (folder / "runs").iterdir():
        file.unlink()
    events = make_events(plan.arms[0].dropout, 0)
    write_run(folder, plan, "none", 0, events[:5])
    first = study_payload("s", folder, {}, "")
    (run,) = first["runs"]
    assert (run["status"], run["first"], len(run["evals"]["step"])) == ("unfinished", 0, 5)
    assert study_payload("s", folder, {run["id"]: 5}, first["version"]) == {
        "version": first["version"],
        "is_same": True,
    }
    write_run(folder, plan, "none", 0, events[:8])
    second = study_payload("s", folder, {run["id"]: 5}, first["version"])
    (grown,) = second["runs"]
    assert grown["first"] == 5
    assert grown["evals"]["step"] == [event["step"] for event in events[5:8]]


def test_a_broken_record_is_a_message(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", make_plan(seeds=(0,)))
    record = next((folder / "runs").iterdir())
    record.write_text("ham\n" + record.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UsageError, match="is not a line of JSON"):
        study_payload("s", folder, {}, "")
