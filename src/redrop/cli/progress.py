"""Progress of a study: one bar for all steps, with the time left, and what runs now."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from redrop.study.plan import PlannedRun

SECONDS_OF_SPEED = 60.0
"""The time left follows from the speed of the last minute: arms differ in what a step costs."""


class StudyProgress:
    """Shows how far a study is, on standard error; nothing where that is not a terminal.

    Args:
        steps: Of all runs that are to be done.
        runs: Their number.
    """

    def __init__(self, steps: int, runs: int) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            speed_estimate_period=SECONDS_OF_SPEED,
        )
        self._task = self._progress.add_task(f"{runs} runs", total=steps)
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
            self._progress.update(self._task, description=f"{self._left} runs to go")
            loss = event["best_validation_loss"]
            best = "diverged" if loss is None else f"best validation loss {loss:.3f}"
            self._progress.console.print(
                f"  {run.arm.name}, seed {run.seed}: {best} at step {event['best_step']}, "
                f"{event['seconds']:.0f} s",
                highlight=False,
            )
        elif event["kind"] == "taken over":
            self._progress.console.print(
                f"  {run.arm.name}, seed {run.seed}: computed before, in {event['study']}",
                highlight=False,
            )
        elif event["kind"] in ("step", "eval"):
            self._advance(run, event["step"])

    def _advance(self, run: PlannedRun, step: int) -> None:
        self._done[run.name] = max(step, self._done.get(run.name, 0))
        self._progress.update(self._task, completed=sum(self._done.values()))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
