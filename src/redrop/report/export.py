"""Records as tables that other programs read: one of runs, one of evaluations.

Parquet and CSV are written by DuckDB (extra `export`), JSON lines by Python alone. Every record of
every study is in them, finished or not, and the three formats say the same.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redrop.disk import disk_error, write_atomically
from redrop.errors import UsageError
from redrop.study.records import RunRecord, Study
from redrop.study.wording import describe_arm

FORMATS = (".parquet", ".csv", ".jsonl")
UNFINISHED = "unfinished"

Row = dict[str, Any]

# Type of each column, in DuckDB's words.
RUN_COLUMNS: Mapping[str, str] = {
    "study": "VARCHAR",
    "run": "VARCHAR",
    "arm": "VARCHAR",
    "label": "VARCHAR",
    "is_baseline": "BOOLEAN",
    "seed": "BIGINT",
    "status": "VARCHAR",
    "steps": "BIGINT",
    "best_step": "BIGINT",
    "best_validation_loss": "DOUBLE",
    "final_validation_loss": "DOUBLE",
    "test_loss_best": "DOUBLE",
    "test_loss_final": "DOUBLE",
    "test_metrics_best": "VARCHAR",
    "test_metrics_final": "VARCHAR",
    "unit": "VARCHAR",
    "seconds": "DOUBLE",
    "tokens": "BIGINT",
    "started": "VARCHAR",
    "data_sha256": "VARCHAR",
    "config": "VARCHAR",
    "versions": "VARCHAR",
    "machine": "VARCHAR",
}
EVALUATION_COLUMNS: Mapping[str, str] = {
    "study": "VARCHAR",
    "run": "VARCHAR",
    "arm": "VARCHAR",
    "seed": "BIGINT",
    "step": "BIGINT",
    "train_loss": "DOUBLE",
    "train_eval_loss": "DOUBLE",
    "validation_loss": "DOUBLE",
    "gap": "DOUBLE",
    "validation_metrics": "VARCHAR",
    "learning_rate": "DOUBLE",
    "gradient_norm": "DOUBLE",
    "clipped_share": "DOUBLE",
    "seconds": "DOUBLE",
}
_OF_THE_END = (
    "status",
    "steps",
    "best_step",
    "best_validation_loss",
    "final_validation_loss",
    "test_loss_best",
    "test_loss_final",
    "test_metrics_best",
    "test_metrics_final",
    "seconds",
    "tokens",
)
_OF_A_LINE = tuple(
    name for name in EVALUATION_COLUMNS if name not in ("study", "run", "arm", "seed")
)


@dataclass(frozen=True, slots=True)
class ExportPaths:
    """Where the tables lie, and how long they are."""

    runs: Path
    evaluations: Path
    run_count: int
    evaluation_count: int


def export_tables(studies: Sequence[Study], to: Path) -> ExportPaths:
    """Write the table of runs to `to` and that of evaluations beside it.

    `runs.parquet` is joined by `runs.evaluations.parquet`; the columns `study` and `run` tell which
    evaluations are whose. What JSON has no column for (settings, metrics, versions) is one JSON
    text. A number that was not finite is null, as in the records.

    Args:
        studies: At least one.
        to: Ends in .parquet, .csv or .jsonl.

    Raises:
        UsageError: Another ending, a folder came twice, DuckDB is not installed, or the disk
            refuses.
    """
    check_format(to)
    names = study_names(studies)
    runs = [run_row(n, s, run) for n, s in zip(names, studies, strict=True) for run in records(s)]
    lines = [
        row
        for name, study in zip(names, studies, strict=True)
        for run in records(study)
        for row in evaluation_rows(name, run)
    ]
    beside = to.with_name(f"{to.stem}.evaluations{to.suffix}")
    _write(to, runs, RUN_COLUMNS)
    _write(beside, lines, EVALUATION_COLUMNS)
    return ExportPaths(to, beside, len(runs), len(lines))


def check_format(to: Path) -> None:
    """Refuse an ending that names no format.

    Raises:
        UsageError: It is another than .parquet, .csv or .jsonl.
    """
    if to.suffix not in FORMATS:
        raise UsageError(
            f"The ending of `--to` names the format, {', '.join(FORMATS)}; got `{to}`. Pass "
            "runs.parquet."
        )


def study_names(studies: Sequence[Study]) -> list[str]:
    """Return the names by which rows and curves tell studies apart: the ends of their paths.

    The name of the folder does where all differ; the stages of two studies with a budget are
    `mine/4-confirm` and `yours/4-confirm`.

    Raises:
        UsageError: A folder came twice.
    """
    paths = [study.folder.resolve().parts for study in studies]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UsageError(f"Each study is named once; `{Path(*twice)}` came twice. Leave it out.")
    depth = 1
    while len({path[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path[-depth:]) for path in paths]


def records(study: Study) -> tuple[RunRecord, ...]:
    """Return all records of a study, the finished ones first."""
    return (*study.runs, *study.incomplete)


def run_row(name: str, study: Study, run: RunRecord) -> Row:
    """Return the row of a run; of an unfinished one, what is known before its end is null."""
    header, plan = run.header, study.plan
    ended = {field: getattr(run.end, field, None) for field in _OF_THE_END}
    if run.end is None:
        ended |= {"status": UNFINISHED, "steps": run.evals[-1].step if run.evals else 0}
    values = {
        "study": name,
        "run": header.id,
        "arm": header.arm,
        "label": describe_arm(plan, header.arm),
        "is_baseline": header.arm == plan.baseline,
        "seed": header.seed,
        **ended,
        "unit": plan.unit,
        "started": header.started,
        "data_sha256": plan.data_sha256,
        "config": header.config,
        "versions": header.versions,
        "machine": header.machine,
    }
    return {column: values[column] for column in RUN_COLUMNS}


def evaluation_rows(name: str, run: RunRecord) -> Iterator[Row]:
    """Yield the row of each evaluation of a run."""
    header = run.header
    for line in run.evals:
        whose = {"study": name, "run": header.id, "arm": header.arm, "seed": header.seed}
        yield {**whose, **{column: getattr(line, column) for column in _OF_A_LINE}}


def _write(path: Path, rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        write_atomically(path, text)
        return
    duckdb = _load_duckdb()
    scratch = path.with_name(f".{path.name}.tmp")
    lines = path.with_name(f".{path.name}.jsonl")
    try:
        _write(lines, rows, columns)
        _convert(duckdb, lines, scratch, path.suffix, columns)
        scratch.replace(path)
    except (OSError, duckdb.IOException) as error:
        reason = error if isinstance(error, OSError) else OSError(0, str(error).splitlines()[0])
        raise disk_error(reason, path, "What was there before is untouched.") from error
    finally:
        for left in (lines, scratch):
            left.unlink(missing_ok=True)


def _convert(duckdb: Any, lines: Path, to: Path, suffix: str, columns: Mapping[str, str]) -> None:
    """Turn JSON lines into a table: a hundred times as fast as to insert row by row."""
    declared = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    options = "FORMAT parquet, COMPRESSION zstd" if suffix == ".parquet" else "FORMAT csv, HEADER"
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET threads = 1")
        connection.execute(
            f"COPY (FROM read_json({_quoted(lines)}, format = 'newline_delimited', "
            f"columns = {{{declared}}})) TO {_quoted(to)} ({options})"
        )


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _load_duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise UsageError(
            "Parquet and CSV are written by DuckDB, which is not installed. Install "
            "`redrop[export]`, or export to a .jsonl file."
        ) from error
    return duckdb
