"""A study folder as a whole: its plan, its runs, and what does not belong to it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redrop.errors import UsageError
from redrop.study.records import read_study
from tests.study import synthetic


def test_a_study_knows_what_is_complete_unfinished_and_missing(tmp_path: Path) -> None:
    plan = synthetic.make_plan(seeds=(0, 1))
    folder = synthetic.write_study(tmp_path / "study", plan)
    study = read_study(folder)
    assert study.plan == plan
    assert len(study.runs) == 8
    assert study.missing == ()
    assert list(study.of_arm("all-0.2")) == [0, 1]
    runs = folder / "runs"
    next(runs.glob("none-s1-*")).unlink()
    next(runs.glob("all-0.1-s0-*")).write_bytes(b'{"kind": "ru')
    cut = next(runs.glob("all-0.2-s1-*"))
    cut.write_bytes(cut.read_bytes()[:-3])
    study = read_study(folder)
    assert study.missing == (("none", 1), ("all-0.1", 0), ("all-0.2", 1))
    assert [(run.header.arm, run.header.seed) for run in study.incomplete] == [("all-0.2", 1)]
    assert len(study.runs) == 5


def test_a_folder_that_is_no_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds `study\.json`; .* does not"):
        read_study(tmp_path)
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "`arms` must be a list"),
    ):
        (tmp_path / "study.json").write_text(text)
        with pytest.raises(UsageError, match=message):
            read_study(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "nobody"}, "one of them the baseline"),
        ({"seeds": []}, "at least one"),
        ({"seeds": [1, 1]}, "distinct seeds"),
        ({"margin": -1.0}, "`margin` >= 0"),
        ({"confidence": 95.0}, r"`confidence` in \(0, 1\)"),
        ({"looks": 0}, "`looks` >= 1"),
        ({"margin": "0.01"}, "`margin` must be a number"),
    ],
)
def test_a_plan_against_the_rules_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    plan = json.loads(synthetic.make_plan().to_json())
    (tmp_path / "study.json").write_text(json.dumps(plan | change))
    with pytest.raises(UsageError, match=message):
        read_study(tmp_path)


def test_records_of_another_study_are_refused(tmp_path: Path) -> None:
    folder = synthetic.write_study(tmp_path / "study", synthetic.make_plan(seeds=(0,)))
    path = next((folder / "runs").glob("all-0.2-*"))
    first, *rest = path.read_text().splitlines(keepends=True)
    head = json.loads(first)
    other_data = json.loads(first)
    other_data["config"]["data"]["sha256"] = "dead"
    for changed, message in (
        ({**head, "arm": "all-0.9"}, "does not list"),
        ({**head, "seed": 7}, "does not list"),
        ({**head, "versions": {**head["versions"], "spec": 9}}, "versions.spec = 9, the plan 1"),
        ({**head, "versions": {**head["versions"], "redrop": "9"}}, "versions.redrop = '9'"),
        (other_data, r"data\.sha256 = 'dead'"),
        ({**head, "arm": "none"}, "are both arm 'none', seed 0"),
    ):
        path.write_text("".join([json.dumps(changed) + "\n", *rest]))
        with pytest.raises(UsageError, match=message):
            read_study(folder)


def test_records_statistics_and_reports_load_no_torch() -> None:
    modules = ("records", "schema", "statistics", "wording", "verdict")
    code = "import sys, redrop.report\n"
    code += "".join(f"import redrop.study.{name}\n" for name in modules)
    code += "sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root / "src"), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": paths}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=env).returncode == 0
