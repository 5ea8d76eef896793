"""How the progress of runs is shown."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from redrop.cli.progress import StudyProgress
from redrop.study.engine import Observer
from redrop.study.plan import PlannedRun
from redrop.study.stage import Stage


@contextmanager
def watch(runs: Sequence[PlannedRun]) -> Iterator[Observer]:
    """Show how far the runs are, on standard error."""
    with StudyProgress(sum(run.train.steps for run in runs), len(runs)) as progress:
        yield progress.observe


def announce(stage: Stage) -> None:
    """Say which stage of a budgeted study begins, and why."""
    Console(stderr=True, highlight=False).print(f"\n[bold]{stage.name}[/bold] {stage.reason}")
