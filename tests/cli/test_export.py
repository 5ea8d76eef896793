import json

import pytest

from tests.cli.command import redrop
from tests.study import synthetic


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("studies")
    plan = synthetic.make_plan(seeds=(0, 1), steps=100)
    for name in ("one", "two"):
        synthetic.write_study(root / name, plan)
    return root


def test_one_command_writes_the_tables_and_the_event_files(root, tmp_path):
    pytest.importorskip("duckdb")
    pytest.importorskip("tensorboard")
    result = redrop(
        "export", "one", "two", f"--to={tmp_path / 'runs.csv'}", f"--tensorboard={tmp_path / 'tb'}",
        cwd=root,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"16 runs: {tmp_path / 'runs.csv'}",
        f"48 evaluations: {tmp_path / 'runs.evaluations.csv'}",
        f"16 runs: tensorboard --logdir {tmp_path / 'tb'}",
    ]
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 17
    assert len(list((tmp_path / "tb").glob("*/*/events.out.tfevents.*"))) == 16


def test_the_studies_are_left_as_they_are(root, tmp_path):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert redrop("export", str(root / "one"), f"--to={tmp_path / 'r.jsonl'}").returncode == 0
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert {row["study"] for row in rows} == {"one"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs the folder of a study; got none"),
        (["one"], "pass --to runs.parquet, --tensorboard FOLDER or --trackio PROJECT"),
        (["one", "--to=runs.xlsx"], "names the format, .parquet, .csv, .jsonl; got `runs.xlsx`"),
        (["nowhere", "--to=runs.jsonl"], "`nowhere` does not"),
        (["one", "one", "--to=runs.jsonl"], "came twice"),
        (["one", "--to=no/such/runs.jsonl"], "`no/such/runs.jsonl` cannot be written"),
    ],
)
def test_a_mistake_is_one_clear_line(root, arguments, said):
    result = redrop("export", *arguments, cwd=root)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
