"""Where the runs of a command are computed, and how their progress is shown."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter
from rich.console import Console

from redrop.cli.progress import StudyProgress
from redrop.errors import UsageError
from redrop.study.engine import Observer, run_study
from redrop.study.plan import PlannedRun
from redrop.study.stage import Stage

if TYPE_CHECKING:
    from redrop.study.conduct import Engine


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where runs are computed.

    Args:
        workers: Runs side by side, one thread each; by default one per core.
        engine: Processes on this machine (local), or tasks of Ray (ray; needs redrop[ray]).
        ray_address: Of a cluster; by default Ray is started on this machine.
    """

    workers: int | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None

    @property
    def side_by_side(self) -> int:
        """Runs side by side on this machine.

        Raises:
            UsageError: Less than one.
        """
        if self.workers is None:
            return len(os.sched_getaffinity(0))
        if self.workers < 1:
            raise UsageError(
                f"`workers` must be at least 1; got {self.workers}. Leave it out for every core."
            )
        return self.workers

    def build(self) -> "Engine":
        """Return the engine.

        Raises:
            UsageError: `workers` is less than one, or an address is given for local processes.
        """
        workers = self.side_by_side
        if self.engine == "local":
            if self.ray_address is not None:
                raise UsageError("`--ray-address` is for `--engine ray`. Add it, or leave it out.")
            return partial(run_study, workers=workers)
        from redrop.study.ray_engine import run_study_on_ray

        given = self.workers if self.ray_address else workers
        return partial(run_study_on_ray, address=self.ray_address, workers=given)


@contextmanager
def watch(runs: Sequence[PlannedRun]) -> Iterator[Observer]:
    """Show how far the runs are, on standard error."""
    with StudyProgress(sum(run.train.steps for run in runs), len(runs)) as progress:
        yield progress.observe


def announce(stage: Stage) -> None:
    """Say which stage of a budgeted study begins, and why."""
    Console(stderr=True, highlight=False).print(f"\n[bold]{stage.name}[/bold] {stage.reason}")
