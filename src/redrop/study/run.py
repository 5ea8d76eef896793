"""One run of a study, from its plan to its record."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from redrop.errors import UsageError
from redrop.study.code import code_digest
from redrop.study.plan import PlannedRun, planned_runs
from redrop.study.records import RecordWriter
from redrop.study.schema import StudyPlan
from redrop.tasks.load import AnyTask, load_task
from redrop.tasks.spec import TaskSpec
from redrop.train.loop import train
from redrop.train.loss import check_objective
from redrop.train.machine import describe_machine
from redrop.train.memory import keep_memory
from redrop.train.precision import Precision, fastest_precision
from redrop.train.ranks import current_ranks

SECONDS_BETWEEN_STEPS_TOLD = 0.2


def load_planned_task(plan: StudyPlan) -> AnyTask:
    """Load the task of a study, without any recipe; its data are kept for the next run.

    Raises:
        UsageError: The data cannot be read, or are no longer those of the plan.
    """
    settings = plan.settings
    task = load_task(TaskSpec.from_json(settings["task"]), settings["model"])
    if task.sha256 != plan.data_sha256:
        if settings["task"]["kind"] == "module":  # what called these runs had the plan's data
            raise UsageError(
                f"The runs of a study read the same data; `{settings['task']['source']}` gives "
                f"others in each process (here {task.sha256[:12]}…): something is drawn without a "
                "seed, perhaps at the top of its module. Draw from a seeded generator, or call "
                "torch.manual_seed(0) before; if you have just edited it, use another folder."
            )
        raise UsageError(
            f"The runs of a study read the same data; `{settings['task']['source']}` has changed "
            f"since the study began (now {task.sha256[:12]}…). Restore it, or use another folder."
        )
    return task


def check_arms(plan: StudyPlan, task: AnyTask) -> None:
    """Refuse an arm that fits neither the data nor the loss, before any of them trains.

    Args:
        plan: Of the study.
        task: Without any recipe.

    Raises:
        UsageError: An augmentation or a penalty does not fit the task.
    """
    for run in planned_runs(replace(plan, seeds=plan.seeds[:1])):
        check_objective(task, run.train)
        task.check(run.arm)


def measure_precision(plan: StudyPlan) -> Precision:
    """Return the precision in which the arm with the most dropout trains faster on this machine."""
    run = max(planned_runs(plan), key=lambda run: sum(run.arm.dropout.values()))
    task = load_planned_task(plan).with_recipe(run.arm)
    batch = task.batch(seed=0, step=0, batch_size=run.train.batch_size)
    threads = torch.get_num_threads()
    torch.set_num_threads(run.train.threads or threads)
    try:
        return fastest_precision(task, task.build(run.seed), batch)
    finally:
        torch.set_num_threads(threads)


def execute(
    folder: Path,
    plan: StudyPlan,
    run: PlannedRun,
    observe: Callable[[Mapping[str, Any]], None],
) -> None:
    """Train one run and append its record; a run that was interrupted goes on where it stopped.

    Args:
        folder: Of the study.
        plan: Of the study.
        run: One of its runs.
        observe: Called with each line of the record, and with {"kind": "step"} now and then.

    Raises:
        UsageError: The data are no longer those of the plan, or the record cannot be written.
    """
    keep_memory()
    task = load_planned_task(plan).with_recipe(run.arm, run.seed)
    checkpoints = folder / "checkpoints" / run.name
    if not current_ranks().is_first:  # the first of several ranks keeps the record
        train(task, run.train, checkpoints, observe)
        return
    with RecordWriter(folder / "runs" / f"{run.name}.jsonl", describe_run(plan, run)) as writer:
        if writer.is_ended and current_ranks().count == 1:
            return

        def record(event: Mapping[str, Any]) -> None:
            writer.write(event)
            observe(event)

        train(
            task,
            run.train,
            checkpoints,
            record,
            progress=tell_steps(SECONDS_BETWEEN_STEPS_TOLD, observe),
        )


def describe_run(plan: StudyPlan, run: PlannedRun) -> dict[str, Any]:
    """Return the header of the record of a run that begins in this process, now."""
    return {
        "id": run.id,
        "arm": run.arm.name,
        "seed": run.seed,
        "config": run.config,
        "versions": {
            **plan.versions,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "code": code_digest(),
        },
        "machine": describe_machine(run.train.threads),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def tell_steps(
    seconds: float, observe: Callable[[Mapping[str, Any]], object]
) -> Callable[[int], None]:
    """Return a callback that tells the steps done, but not more often than people can read."""
    told = 0.0

    def tell(step: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= seconds:
            told = now
            observe({"kind": "step", "step": step})

    return tell


def torch_version() -> str:
    """Return torch's version without the name of the build (+cpu, +cu130)."""
    return str(torch.__version__).partition("+")[0]
