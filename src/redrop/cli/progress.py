"""Progress of a run or of a study: one bar for all steps, with the time left."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from redrop.study.plan import PlannedRun
from redrop.study.wording import count

SECONDS_OF_SPEED = 60.0
"""The time left follows from the speed of the last minute: arms differ in what a step costs."""


def steps_bar(description: str, steps: int) -> tuple[Progress, TaskID]:
    """Return a bar that counts steps on standard error, not yet shown, and its one task."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        speed_estimate_period=SECONDS_OF_SPEED,
    )
    return progress, progress.add_task(description, total=steps)


class StudyProgress:
    """Shows how far a study is, on standard error; nothing where that is not a terminal.

    Args:
        steps: Of all runs that are to be done.
        runs: Their number.
    """

    def __init__(self, steps: int, runs: int) -> None:
        self._progress, self._task = steps_bar(count(runs, "run"), steps)
        self._done: dict[str, int] = {}
        self._left = runs

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def observe(self, run: PlannedRun, event: Mapping[str, Any]) -> None:
        """Take note of an event of a run."""
        if event["kind"] == "end":
            self._advance(run, run.train.steps)
            self._left -= 1
            self._progress.update(self._task, description=f"{count(self._left, 'run')} to go")
            self._say(run, f"{_fate(event)}, {event['seconds']:.0f} s")
        elif event["kind"] == "taken over":
            self._say(run, f"computed before, in {event['study']}")
        elif event["kind"] == "lost":
            self._done[run.name] = 0  # it goes on from its last checkpoint, and says from where
            self._show()
            self._say(run, f"{event['cause']}; it waits to be run again")
        elif event["kind"] in ("step", "eval"):
            self._advance(run, event["step"])

    def _advance(self, run: PlannedRun, step: int) -> None:
        self._done[run.name] = max(step, self._done.get(run.name, 0))
        self._show()

    def _show(self) -> None:
        self._progress.update(self._task, completed=sum(self._done.values()))

    def _say(self, run: PlannedRun, line: str) -> None:
        console = self._progress.console
        console.print(f"  {run.arm.name}, seed {run.seed}: {line}", markup=False, highlight=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


def _fate(end: Mapping[str, Any]) -> str:
    if end["status"] == "diverged":
        return f"diverged by step {end['steps']}"
    return f"best validation loss {end['best_validation_loss']:.3f} at step {end['best_step']}"
