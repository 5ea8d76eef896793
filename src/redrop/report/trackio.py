"""Runs in trackio, a local tracker with a dashboard (`trackio show`)."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from redrop.errors import UsageError
from redrop.report.export import study_names
from redrop.report.tensorboard import scalars
from redrop.study.records import RunRecord, Study


def export_trackio(studies: Sequence[Study], project: str) -> int:
    """Log every finished run into a trackio project, grouped by study.

    A run that the project has already, by its name `STUDY/ARM-sSEED-ID`, is left as it is: records
    of finished runs do not change. Where the runs go is trackio's matter: to its local database,
    unless its own environment variables name a server.

    Returns:
        The number of runs that were new.

    Raises:
        UsageError: A folder came twice, or trackio is not installed.
    """
    names = study_names(studies)
    try:
        import trackio
    except ImportError as error:
        raise UsageError(
            "`--trackio` needs redrop[trackio], which is not installed. "
            "Run: pip install 'redrop[trackio]'."
        ) from error
    with redirect_stdout(io.StringIO()):  # it has two lines to say on every run
        return _log_new(trackio, project, studies, names)


def _log_new(trackio: Any, project: str, studies: Sequence[Study], names: Sequence[str]) -> int:
    known = _known(trackio, project)
    runs = [
        (name, f"{name}/{run.path.stem}", run)
        for name, study in zip(names, studies, strict=True)
        for run in study.runs
    ]
    new = [each for each in runs if each[1] not in known]
    for group, name, run in new:
        _log(trackio, project, group, name, run)
    return len(new)


def _known(trackio: Any, project: str) -> set[str]:
    try:
        return {run.name for run in trackio.Api().runs(project)}
    except ValueError:  # no such project yet
        return set()


def _log(trackio: Any, project: str, group: str, name: str, run: RunRecord) -> None:
    header = run.header
    sink = trackio.init(
        project=project,
        name=name,
        group=group,
        config={
            "arm": header.arm,
            "seed": header.seed,
            "run": header.id,
            "config": dict(header.config),
            "versions": dict(header.versions),
        },
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    for line in run.evals:
        sink.log(dict(scalars(line)), step=line.step)
    trackio.finish()
