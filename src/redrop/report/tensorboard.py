"""Event files for TensorBoard: a curve per run and quantity.

The `tensorboard` package (extra `tensorboard`) writes them, without torch and without TensorFlow.
"""

import importlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from redrop.disk import disk_error
from redrop.errors import UsageError
from redrop.report.export import records, study_names
from redrop.study.records import Evaluation, RunRecord, Study

_WRITER = "summary.writer.record_writer"

SCALARS = (
    "train_loss",
    "train_eval_loss",
    "validation_loss",
    "gap",
    "learning_rate",
    "gradient_norm",
)


def export_tensorboard(studies: Sequence[Study], to: Path) -> int:
    """Write one event file per run, `to/STUDY/ARM-sSEED-ID/events.out.tfevents.…`.

    An event's time is when the run began plus the seconds it had taken, so curves stand in their
    true order on the time axis. The same records give the same bytes; a second export replaces the
    first one. What was not finite is left out.

    Returns:
        The number of runs.

    Raises:
        UsageError: A folder came twice, TensorBoard is not installed, or the disk
            refuses.
    """
    writing = _load_tensorboard()
    runs = [
        (name, run)
        for name, study in zip(study_names(studies), studies, strict=True)
        for run in records(study)
    ]
    for name, run in runs:
        began = datetime.fromisoformat(run.header.started).timestamp()
        folder = to / name / run.path.stem
        file = folder / f"events.out.tfevents.{began:.0f}.redrop"
        scratch = file.with_name(f".{run.header.id}.tmp")  # no name that a reader would open
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(writing, scratch, run, began)
            scratch.replace(file)
        except OSError as error:
            raise disk_error(error, file, "The runs before it are exported.") from error
    return len(runs)


def scalars(line: Evaluation) -> Iterator[tuple[str, float]]:
    """Yield name and value of what an evaluation measured, its metrics among them.

    A name with a slash in it is a group to TensorBoard and to trackio.
    """
    values = {name: getattr(line, name) for name in SCALARS}
    values |= {f"validation/{name}": value for name, value in line.validation_metrics.items()}
    for name, value in values.items():
        if isinstance(value, int | float):
            yield re.sub(r"[^\w./-]", "_", name), float(value)


def _write(writing: Any, path: Path, run: RunRecord, began: float) -> None:
    event, summary, record_writer = writing
    with path.open("wb") as file:
        writer = record_writer.RecordWriter(file)
        head = event.Event(wall_time=began, file_version="brain.Event:2")
        writer.write(head.SerializeToString())
        for line in run.evals:
            values = [
                summary.Summary.Value(tag=name, simple_value=value) for name, value in scalars(line)
            ]
            measured = event.Event(
                wall_time=began + (line.seconds or 0.0),
                step=line.step,
                summary=summary.Summary(value=values),
            )
            writer.write(measured.SerializeToString())


def _load_tensorboard() -> Any:
    try:
        return [
            importlib.import_module(f"tensorboard.{name}")
            for name in ("compat.proto.event_pb2", "compat.proto.summary_pb2", _WRITER)
        ]
    except ImportError as error:
        raise UsageError(
            "Event files are written by TensorBoard, which is not installed. Install "
            "`redrop[tensorboard]`."
        ) from error
