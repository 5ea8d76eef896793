"""Run the missing runs of a study on a Ray cluster: this machine, or any number of nodes.

The driver, this process, alone owns the study folder. Each run is a task of Ray that trains on
some node and posts its record and its checkpoints to a mailbox beside the driver, which writes them
where the local engine would have written them. So nodes share no disk, a run that is lost with its
worker or its node goes on elsewhere from its newest checkpoint, and a study may change its engine
between two calls.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redrop.errors import UsageError
from redrop.study.engine import Observer, missing_runs, raise_failures, tell_taken_over
from redrop.study.ledger import Ledger
from redrop.study.lock import exclusive
from redrop.study.plan import PlannedRun
from redrop.study.ray_cluster import connect, one_line
from redrop.study.ray_mailbox import Letter, Mailbox
from redrop.study.ray_worker import read_saved, train_run, write_saved
from redrop.study.records import RecordWriter, Study, read_study
from redrop.study.reuse import take_over
from redrop.study.run import load_planned_task
from redrop.study.schema import StudyPlan
from redrop.tasks.load import AnyTask
from redrop.train.interrupt import Interrupt

MOST_LOSSES = 3
"""In a row and without a new checkpoint; a run that kills its worker must not do so for ever."""

_SECONDS_TO_NOTICE = 0.5
"""An interrupt while nothing happens; letters and ends are noticed at once."""

_SECONDS_TO_STOP = 30.0


def run_study_on_ray(
    folder: Path, plan: StudyPlan, *, address: str | None, workers: int | None, observe: Observer
) -> Study:
    """Run every run of the plan that has no complete record, and return the study.

    Args:
        folder: That `open_study` prepared; on a disk of this machine.
        plan: That `open_study` returned.
        address: Of the cluster, HOST:PORT, or "auto" for the one that runs on this machine; None
            starts Ray on this machine and stops it afterwards.
        workers: Runs side by side; None for as many as there are cores, of this machine or of the
            cluster.
        observe: Called in this process with each run and each of its events, as by `run_study`. A
            run that is lost tells {"kind": "lost", "cause": ...}, and repeats its lines when it
            goes on.

    Raises:
        UsageError: Ray is not installed, no cluster answers, a run was refused or failed or was
            lost again and again; the other runs were finished and recorded. Or another command is
            running this study.
        KeyboardInterrupt: The runs have written their checkpoints; the same call goes on.
    """
    with exclusive(folder), Ledger(folder) as ledger:
        waiting = missing_runs(folder, plan)
        if waiting:
            cores = max(run.train.threads or 1 for run in waiting)
            task = load_planned_task(plan)
            with connect(address, workers, cores) as limit:
                _Driver(folder, plan, task, ledger, observe).finish(waiting, limit)
    return read_study(folder)


@dataclass(slots=True, eq=False)
class _Run:
    """A run and what became of it so far."""

    run: PlannedRun
    attempt: int = 0
    losses: int = 0
    writer: RecordWriter | None = None

    @property
    def is_ended(self) -> bool:
        """Whether its record is complete."""
        return self.writer is not None and self.writer.is_ended

    def __str__(self) -> str:
        return f"The run of arm {self.run.arm.name!r}, seed {self.run.seed}"


class _Driver:
    """Gives the runs to the cluster, and keeps what comes back."""

    def __init__(
        self, folder: Path, plan: StudyPlan, task: AnyTask, ledger: Ledger, observe: Observer
    ) -> None:
        import ray

        self._ray = ray
        self._folder = folder
        self._plan = plan
        self._ledger = ledger
        self._observe = observe
        self._train = ray.remote(train_run)
        self._task = ray.put(task)
        self._mailbox = _open_mailbox(ray)
        self._mail = self._mailbox.wait.remote(0)
        self._runs: dict[str, _Run] = {}
        self._active: dict[Any, _Run] = {}
        self._waiting: deque[_Run] = deque()
        self._failures: list[str] = []
        self._letters_done = 0

    def finish(self, runs: Sequence[PlannedRun], limit: int | None) -> None:
        """Run them all, at most `limit` at once.

        Raises:
            UsageError: A run failed; the others were finished.
        """
        self._waiting.extend(_Run(run) for run in runs)
        try:
            while self._waiting or self._active:
                with Interrupt() as interrupt:  # a line is written or it is not
                    while self._waiting and (limit is None or len(self._active) < limit):
                        self._begin(self._waiting.popleft())
                    self._wait()
                    self._see_ends()
                if interrupt.is_requested:
                    raise KeyboardInterrupt
        except BaseException:
            self._stop()
            raise
        finally:
            for run in self._runs.values():
                self._close(run)
        raise_failures(self._failures)

    def _begin(self, run: _Run) -> None:
        """Give a run to the cluster, with its newest checkpoint; or take it over, if it is done."""
        planned = run.run
        found = None if run.attempt else take_over(self._ledger, self._folder, self._plan, planned)
        if found is not None:
            tell_taken_over(planned, found, self._observe)
            return
        try:
            saved = read_saved(self._checkpoints(run))
        except UsageError as error:
            self._fail(run, str(error))
            return
        run.attempt += 1
        task = self._train.options(num_cpus=planned.train.threads or 1, max_retries=0)
        arguments = (self._mailbox, run.attempt, self._task, self._plan, planned, saved)
        self._runs[planned.name] = run
        self._active[task.remote(*arguments)] = run

    def _wait(self) -> None:
        """Wait until a letter has come or a task has ended, but not for long."""
        events = [self._mail, *self._active]
        self._ray.wait(events, num_returns=1, timeout=_SECONDS_TO_NOTICE)

    def _read_mail(self, mail: Any, observe: Observer | None) -> None:
        """Write down what the nodes have posted."""
        try:
            first, letters = self._ray.get(mail)
        except self._ray.exceptions.RayError as error:
            raise UsageError(
                f"The Ray cluster is gone ({one_line(error)}); what the runs had sent is "
                "recorded. Repeat the command to go on."
            ) from error
        for letter in letters[self._letters_done - first :]:
            run = self._runs[letter.run]
            # A worker that was given up may not be as dead as it looked.
            is_current = letter.attempt == run.attempt and run in self._active.values()
            if is_current:
                self._keep_or_fail(run, letter)
            self._letters_done += 1
            if is_current and observe and letter.event["kind"] in ("eval", "end", "step"):
                observe(run.run, letter.event)

    def _keep_or_fail(self, run: _Run, letter: Letter) -> None:
        try:
            self._keep(run, letter)
        except UsageError as error:  # its record cannot be written
            task = next(task for task, active in self._active.items() if active is run)
            del self._active[task]
            self._ray.cancel(task, recursive=False)
            self._fail(run, str(error))

    def _keep(self, run: _Run, letter: Letter) -> None:
        event = letter.event
        if event["kind"] == "checkpoint":
            write_saved(event["saved"], self._checkpoints(run))
            run.losses = 0
        elif run.writer is None:
            run.writer = RecordWriter(self._record(run), event)
        elif event["kind"] != "step":
            run.writer.write(event)

    def _see_ends(self) -> None:
        """Settle the tasks that have ended, by themselves or by the death of a worker."""
        for task in self._read_to_ends(self._observe):
            run = self._active.pop(task, None)
            if run is not None:  # a letter may have been reason to give it up
                self._settle(run, task)

    def _read_to_ends(self, observe: Observer | None) -> list[Any]:
        """Read what has come, and return the tasks that have ended, of which all is read."""
        ended = self._happened(list(self._active))
        if self._happened([self._mail]):
            self._read_mail(self._mail, observe)
            self._mail = self._mailbox.wait.remote(self._letters_done)
        if ended:  # a task ends after its letters have come
            self._read_mail(self._mailbox.take.remote(self._letters_done), observe)
        return ended

    def _happened(self, events: list[Any]) -> list[Any]:
        return self._ray.wait(events, num_returns=len(events), timeout=0)[0] if events else []

    def _settle(self, run: _Run, task: Any) -> None:
        errors = self._ray.exceptions
        failure, cause = "", "was interrupted"
        try:
            self._ray.get(task)
        except errors.RayTaskError as error:
            failure = _reason(run, error.cause, str(error))
        except errors.RayError as error:
            cause = f"was lost ({type(error).__name__})"
        if run.is_ended:
            self._close(run)
            self._ledger.note(self._record(run))
            return
        if failure:
            self._fail(run, failure)
            return
        run.losses += 1
        if run.losses < MOST_LOSSES:
            self._waiting.appendleft(run)
            self._observe(run.run, {"kind": "lost", "cause": cause})
        else:
            self._fail(run, f"{run} {cause} {run.losses} times without a new checkpoint.")

    def _fail(self, run: _Run, message: str) -> None:
        self._close(run)
        self._failures.append(message)

    def _stop(self) -> None:
        """Ask the runs to write their checkpoints, and keep those."""
        deadline = time.monotonic() + _SECONDS_TO_STOP
        for task in self._active:
            self._ray.cancel(task, recursive=False)
        with contextlib.suppress(UsageError):  # the cluster is gone; the first error is told
            while self._active and time.monotonic() < deadline:
                self._wait()
                for task in self._read_to_ends(None):
                    self._active.pop(task, None)

    def _close(self, run: _Run) -> None:
        if run.writer is not None:
            run.writer.close()
            run.writer = None

    def _record(self, run: _Run) -> Path:
        return self._folder / "runs" / f"{run.run.name}.jsonl"

    def _checkpoints(self, run: _Run) -> Path:
        return self._folder / "checkpoints" / run.run.name


def _reason(run: _Run, cause: BaseException, traceback: str) -> str:
    """Return why a run failed: its own words if it was refused, or the end of the traceback."""
    if isinstance(cause, UsageError):
        return str(cause)
    said = traceback.strip().splitlines()[-1]
    return (
        f"{run} failed ({said}); the other runs are recorded. Repeat the command to run it again."
    )


def _open_mailbox(ray: Any) -> Any:
    """Start the mailbox on the driver's node: what it has must survive every other node."""
    import ray.util.scheduling_strategies as strategies

    node = ray.get_runtime_context().get_node_id()
    here = strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
