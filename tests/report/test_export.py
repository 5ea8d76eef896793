"""What leaves: every record, in every format, the same numbers."""

import builtins
import csv
import importlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.report.export import (
    EVALUATION_COLUMNS,
    RUN_COLUMNS,
    evaluation_rows,
    export_tables,
    study_names,
)
from redrop.report.tensorboard import export_tensorboard
from redrop.report.trackio import export_trackio
from redrop.study.records import read_study
from tests.study import synthetic

SCALARS = {
    "train_loss",
    "train_eval_loss",
    "validation_loss",
    "gap",
    "learning_rate",
    "gradient_norm",
    "validation/accuracy",
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two studies; in `one` a run diverged, one is unfinished, and one has only begun."""
    root = tmp_path_factory.mktemp("it's here")
    plan = synthetic.make_plan(seeds=(0, 1), steps=100)
    one = synthetic.write_study(root / "one", plan)
    path = next((one / "runs").glob("all-0.1-s0-*"))
    *lines, last = path.read_text().splitlines()
    lost = {**json.loads(lines[-1]), "validation_loss": None, "train_loss": None}
    end = {**json.loads(last), "status": "diverged", "final_validation_loss": None}
    path.write_text("\n".join([*lines[:-1], json.dumps(lost), json.dumps(end)]) + "\n")
    for pattern, kept in (("all-0.1-s1-*", 2), ("all-0.2-s1-*", 1)):
        path = next((one / "runs").glob(pattern))
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:kept]))
    two = synthetic.write_study(root / "two", replace(plan, seeds=(2,)))
    return [read_study(one), read_study(two)]


def table(path):
    """The rows of a file, as JSON would hold them."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(f"FROM read_parquet('{str(path).replace(chr(39), 2 * chr(39))}')")
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def said_by_the_records(studies):
    runs = [
        (study.folder.name, json.loads(path.read_text().splitlines()[0])["id"])
        for study in studies
        for path in (study.folder / "runs").iterdir()
    ]
    lines = [
        (study.folder.name, json.loads(line)["step"], json.loads(line)["validation_loss"])
        for study in studies
        for path in (study.folder / "runs").iterdir()
        for line in path.read_text().splitlines()
        if json.loads(line)["kind"] == "eval"
    ]
    return sorted(runs), sorted(lines, key=str)


def test_json_lines_hold_every_record(studies, tmp_path):
    paths = export_tables(studies, tmp_path / "runs.jsonl")
    runs, lines = table(paths.runs), table(paths.evaluations)
    assert paths.evaluations == tmp_path / "runs.evaluations.jsonl"
    assert (paths.run_count, paths.evaluation_count) == (len(runs), len(lines))
    assert all(list(row) == list(RUN_COLUMNS) for row in runs)
    assert all(list(row) == list(EVALUATION_COLUMNS) for row in lines)
    expected_runs, expected_lines = said_by_the_records(studies)
    assert sorted((row["study"], row["run"]) for row in runs) == expected_runs
    found = [(row["study"], row["step"], row["validation_loss"]) for row in lines]
    assert sorted(found, key=str) == expected_lines
    by_status = {row["status"]: row for row in runs}
    assert by_status.keys() == {"done", "diverged", "unfinished"}
    assert by_status["diverged"]["final_validation_loss"] is None
    unfinished = [row for row in runs if row["status"] == "unfinished"]
    assert [(row["arm"], row["steps"], row["seconds"]) for row in unfinished] == [
        ("all-0.1", 0, None),
        ("all-0.2", 0, None),
    ]
    assert {row["arm"] for row in runs if row["is_baseline"]} == {"none"}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_every_format_says_the_same(studies, tmp_path, suffix):
    pytest.importorskip("duckdb")
    plain = export_tables(studies, tmp_path / "runs.jsonl")
    other = export_tables(studies, tmp_path / f"runs{suffix}")
    for ours, theirs in ((plain.runs, other.runs), (plain.evaluations, other.evaluations)):
        rows, found = table(ours), table(theirs)
        assert len(rows) == len(found)
        for row, cells in zip(rows, found, strict=True):
            assert list(row) == list(cells)
            for name, value in row.items():
                assert same(value, cells[name]), (name, value, cells[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in (plain.runs, plain.evaluations, other.runs, other.evaluations)
    ), "no scrap is left"


def same(value, cell):
    """Whether a cell, which may be a text, says the value."""
    if value is None:
        return cell in (None, "")
    if isinstance(value, dict):
        return json.loads(cell) == value
    if isinstance(value, bool):
        return str(cell).lower() == str(value).lower()
    return type(value)(cell) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=20)
def test_a_loss_keeps_every_bit(tmp_path_factory, loss):
    duckdb = pytest.importorskip("duckdb")
    assert duckdb
    from redrop.report.export import _write

    path = tmp_path_factory.mktemp("bits") / "x.parquet"
    _write(path, [{"loss": loss}, {"loss": None}], {"loss": "DOUBLE"})
    first, second = table(path)
    assert second["loss"] is None
    assert (first["loss"], math.copysign(1, first["loss"])) == (loss, math.copysign(1, loss))


def test_a_study_without_evaluations_gives_empty_tables(tmp_path):
    pytest.importorskip("duckdb")
    folder = synthetic.write_study(tmp_path / "study", synthetic.make_plan(seeds=(0,)))
    for path in (folder / "runs").iterdir():
        path.unlink()
    paths = export_tables([read_study(folder)], tmp_path / "runs.parquet")
    assert (table(paths.runs), table(paths.evaluations)) == ([], [])


def test_studies_are_told_apart_by_the_ends_of_their_paths(tmp_path):
    plan = synthetic.make_plan(seeds=(0,), steps=50)
    places = ["mine/4-confirm", "yours/4-confirm", "yours/1-baseline"]
    found = [read_study(synthetic.write_study(tmp_path / place, plan)) for place in places]
    assert study_names(found) == places
    assert study_names(found[1:]) == ["4-confirm", "1-baseline"]
    with pytest.raises(UsageError, match="4-confirm` came twice"):
        study_names([*found, found[0]])


@pytest.mark.parametrize("name", ["runs.xlsx", "runs", "runs.PARQUET"])
def test_another_ending_is_refused(studies, tmp_path, name):
    with pytest.raises(UsageError, match=r"names the format, \.parquet, \.csv, \.jsonl"):
        export_tables(studies, tmp_path / name)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_folder_that_is_not_there_is_a_clear_error(studies, tmp_path, suffix):
    with pytest.raises(UsageError, match="cannot be written"):
        export_tables(studies, tmp_path / "no" / f"runs{suffix}")


# --- TensorBoard ---


def curves(folder):
    """What TensorBoard's own reader finds: tag -> [(step, value, seconds since the begin)]."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    (file,) = folder.iterdir()
    found, began = {}, None
    for event in loader.EventFileLoader(str(file)).Load():
        began = event.wall_time if began is None else began
        for value in event.summary.value:
            number = value.tensor.float_val[0]
            found.setdefault(value.tag, []).append((event.step, number, event.wall_time - began))
    return found


def test_tensorboard_reads_the_curves_of_every_run(studies, tmp_path):
    pytest.importorskip("tensorboard")
    assert export_tensorboard(studies, tmp_path) == 12
    for study in studies:
        for run in (*study.runs, *study.incomplete):
            found = curves(tmp_path / study.folder.name / run.path.stem)
            assert found.keys() == (SCALARS if run.evals else set())
            for name in SCALARS - {"validation/accuracy"}:
                measured = {line.step: getattr(line, name) for line in run.evals}
                expected = {step: value for step, value in measured.items() if value is not None}
                assert {s: v for s, v, _ in found.get(name, [])} == pytest.approx(expected)
            for step, _, seconds in found.get("learning_rate", []):
                assert seconds == pytest.approx(run.at(step).seconds, abs=1e-5)


def test_a_second_export_replaces_the_first_with_the_same_bytes(studies, tmp_path):
    pytest.importorskip("tensorboard")
    export_tensorboard(studies, tmp_path)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    export_tensorboard(studies, tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == first


# --- trackio ---


def test_trackio_holds_every_finished_run_once(studies, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    import trackio

    finished = [run for study in studies for run in study.runs]
    assert export_trackio(studies, "ours") == len(finished)
    assert export_trackio(studies, "ours") == 0
    assert capsys.readouterr().out == ""
    names = {run.name for run in trackio.Api().runs("ours")}
    assert names == {f"{run.path.parts[-3]}/{run.path.stem}" for run in finished}


# --- What it needs ---


@pytest.mark.parametrize(
    ("module", "export", "said"),
    [
        ("duckdb", lambda s, to: export_tables(s, to / "runs.parquet"), r"redrop\[export\]"),
        ("tensorboard", export_tensorboard, r"redrop\[tensorboard\]"),
        (
            "trackio",
            lambda s, to: export_trackio(s, "ours"),
            r"redrop\[trackio\]",
        ),
    ],
)
def test_what_is_not_installed_is_named(studies, tmp_path, monkeypatch, module, export, said):
    real = {"import": builtins.__import__, "by name": importlib.import_module}

    def hide(way):
        def load(name, *rest, **more):
            if name.partition(".")[0] == module:
                raise ImportError(name)
            return real[way](name, *rest, **more)

        return load

    monkeypatch.setattr(builtins, "__import__", hide("import"))
    monkeypatch.setattr(importlib, "import_module", hide("by name"))
    with pytest.raises(UsageError, match=said):
        export(studies, tmp_path)
    assert not list(tmp_path.iterdir())


def test_exports_and_comparisons_load_no_torch(tmp_path):
    folder = synthetic.write_study(tmp_path / "study", synthetic.make_plan(seeds=(0,), steps=50))
    code = f"""
import sys
from pathlib import Path
from redrop.cli.export import export
from redrop.cli.report import report
export(Path({str(folder)!r}), to=Path({str(tmp_path / "runs.jsonl")!r}))
for name, call in (("duckdb", {{"to": "runs.parquet"}}), ("tensorboard", {{"tensorboard": "tb"}})):
    try:
        __import__(name)
    except ImportError:
        continue
    export(Path({str(folder)!r}), **{{k: Path({str(tmp_path)!r}) / v for k, v in call.items()}})
report(Path({str(folder)!r}), Path({str(folder)!r}) / ".." / "study" / ".." / "other")
sys.exit("torch" in sys.modules)
"""
    synthetic.write_study(tmp_path / "other", synthetic.make_plan(seeds=(0,), steps=50))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root / 'src')!r}){code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_rows_come_in_the_order_of_the_steps(studies):
    for run in studies[1].runs:
        steps = [row["step"] for row in evaluation_rows("two", run)]
        assert steps == sorted(steps) != []
