"""Run the missing runs of a study, several side by side, each in a process of its own.

A fork server with torch loaded starts a run in 0.03 s where a fresh interpreter needs 3 s, and a
run that crashes takes nobody with it. What is done is read from the records alone, so a study that
was killed goes on where it stopped, whoever starts it again; the second of two commands at once is
refused. What another study in the same folder of studies has finished is taken over from there.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from redrop.errors import UsageError
from redrop.study.ledger import Ledger
from redrop.study.lock import exclusive
from redrop.study.plan import PlannedRun, continue_plan, planned_runs
from redrop.study.records import RunRecord, Study, read_study, write_atomically
from redrop.study.reuse import take_over
from redrop.study.schema import PLAN_FILE, StudyPlan, read_plan

Event = Mapping[str, Any]
Observer = Callable[[PlannedRun, Event], None]

_PRELOADED = ["torch", "redrop.study.run"]
_SECONDS_TO_STOP = 30.0


@dataclass(frozen=True, slots=True)
class _Worker:
    run: PlannedRun
    process: ForkServerProcess
    connection: Connection


@dataclass(frozen=True, slots=True)
class _End:
    failure: str | None


def open_study(folder: Path, plan: StudyPlan) -> StudyPlan:
    """Write the plan into a new folder, or go on with the same study in an old one.

    Returns:
        The plan to run; it has the larger number of seeds of the two.

    Raises:
        UsageError: The folder holds another study, is being run, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder):
            recorded = read_plan(folder)
            if recorded is not None:
                plan = continue_plan(plan, recorded, folder)
            (folder / "runs").mkdir(exist_ok=True)
            if plan != recorded:
                write_atomically(folder / PLAN_FILE, plan.to_json())
    except OSError as error:
        raise UsageError(
            f"A study needs a folder to write to; `{folder}` cannot be one: {error.strerror}."
        ) from error
    return plan


def run_study(folder: Path, plan: StudyPlan, *, workers: int, observe: Observer) -> Study:
    """Run every run of the plan that has no complete record, and return the study.

    Args:
        folder: That `open_study` prepared.
        plan: That `open_study` returned.
        workers: Runs side by side.
        observe: Called in this process with each run and each of its events; those of a run that
            is taken over from another study follow a {"kind": "taken over", "study": ...}.

    Raises:
        UsageError: A run was refused or crashed; the others were finished and recorded. Or another
            command is running this study.
        KeyboardInterrupt: The runs have written their checkpoints; the same call goes on.
    """
    with exclusive(folder), Ledger(folder) as ledger:
        _run_missing(folder, plan, workers, observe, ledger)
    return read_study(folder)


def _run_missing(
    folder: Path, plan: StudyPlan, workers: int, observe: Observer, ledger: Ledger
) -> None:
    waiting = missing_runs(folder, plan)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    active: list[_Worker] = []
    failures: list[str] = []
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                run = waiting.pop(0)
                found = take_over(ledger, folder, plan, run)
                if found is None:
                    active.append(_start(context, folder, plan, run))
                else:
                    tell_taken_over(run, found, observe)
            for worker in _ready(active):
                event = _receive(worker)
                if isinstance(event, _End):
                    active.remove(worker)
                    failures += [event.failure] if event.failure else []
                    ledger.note(folder / "runs" / f"{worker.run.name}.jsonl")
                else:
                    observe(worker.run, event)
    except BaseException:
        _stop(active)
        raise
    raise_failures(failures)


def missing_runs(folder: Path, plan: StudyPlan) -> list[PlannedRun]:
    """Return the runs of a plan that have no complete record, in the order of the plan."""
    missing = set(read_study(folder).missing)
    return [run for run in planned_runs(plan) if (run.arm.name, run.seed) in missing]


def raise_failures(failures: Sequence[str]) -> None:
    """Raise UsageError if a run failed: with what the first one said, and the number of others."""
    if failures:
        more = f" ({len(failures) - 1} more runs failed.)" if len(failures) > 1 else ""
        raise UsageError(failures[0] + more)


def tell_taken_over(run: PlannedRun, found: RunRecord, observe: Observer) -> None:
    """Tell the observer of a run that is taken over what it would have seen of it."""
    observe(run, {"kind": "taken over", "study": found.path.parent.parent.name})
    for line in found.evals:
        observe(run, {"kind": "eval", **asdict(line)})
    if found.end is not None:
        observe(run, {"kind": "end", **asdict(found.end)})


def _start(context: ForkServerContext, folder: Path, plan: StudyPlan, run: PlannedRun) -> _Worker:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, folder, plan, run), daemon=True)
    process.start()
    theirs.close()
    return _Worker(run, process, ours)


def _ready(active: list[_Worker]) -> Iterator[_Worker]:
    # Where all runs were taken over nothing is active, and to wait for nothing takes for ever.
    ready = wait([worker.connection for worker in active]) if active else []
    yield from [worker for worker in active if worker.connection in ready]


def _receive(worker: _Worker) -> Event | _End:
    """Return the next event of a run; at its end, what went wrong with it."""
    try:
        event: Event = worker.connection.recv()
    except EOFError:
        event = {"kind": "closed"}
    if event["kind"] not in ("closed", "refused"):
        return event
    worker.process.join()
    worker.connection.close()
    code = worker.process.exitcode
    crash = None if code == 0 else _crash(worker.run, code)
    return _End(event.get("message", crash))


def _crash(run: PlannedRun, code: int | None) -> str:
    cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return (
        f"The run of arm {run.arm.name!r}, seed {run.seed} ended with {cause}; the other runs are "
        "recorded. Repeat the command to run it again."
    )


def _stop(active: list[_Worker]) -> None:
    """Ask the runs to write their checkpoints, and end those that do not."""
    for worker in active:
        worker.process.terminate()
    for worker in active:
        worker.process.join(_SECONDS_TO_STOP)
        if worker.process.exitcode is None:
            worker.process.kill()


def _work(connection: Connection, folder: Path, plan: StudyPlan, run: PlannedRun) -> None:
    """Be the process of one run."""
    # Ctrl-C reaches the whole terminal; only the parent acts on it and asks us with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    from redrop.study.run import execute

    try:
        execute(folder, plan, run, connection.send)
    except UsageError as error:
        connection.send({"kind": "refused", "message": str(error)})
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)
    except BrokenPipeError:  # the parent is gone; the record and the checkpoint are not
        os._exit(1)


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001
    raise KeyboardInterrupt
