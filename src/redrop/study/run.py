"""One run of a study, from its plan to its record."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from redrop.data import batch, load_corpus
from redrop.errors import UsageError
from redrop.models.transformer import Transformer
from redrop.study.plan import DataSource, PlannedRun, planned_runs
from redrop.study.records import RecordWriter
from redrop.study.schema import StudyPlan
from redrop.train.loop import train
from redrop.train.machine import describe_machine
from redrop.train.precision import Precision, fastest_precision

if TYPE_CHECKING:
    from redrop.data import Corpus


SECONDS_BETWEEN_STEPS_TOLD = 0.2


@lru_cache(maxsize=1)
def load_source(data: DataSource, context: int) -> Corpus:
    """Load the corpus of a study; kept, because all runs of a study read the same."""
    return load_corpus(data.source, tokenizer=data.tokenizer, limit=data.limit, context=context)


def measure_precision(plan: StudyPlan) -> Precision:
    """Return the precision in which the arm with the most dropout trains faster on this machine."""
    run = max(planned_runs(plan), key=lambda run: sum(run.arm.rates.values()))
    corpus = load_source(_source(plan), run.model.context)
    inputs_and_targets = batch(
        corpus.train,
        seed=0,
        step=0,
        batch_size=run.train.batch_size,
        context=run.model.context,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(run.train.threads or threads)
    try:
        return fastest_precision(Transformer(run.model), inputs_and_targets)
    finally:
        torch.set_num_threads(threads)


def _source(plan: StudyPlan) -> DataSource:
    data = plan.settings["data"]
    return DataSource(source=data["source"], tokenizer=data["tokenizer"], limit=data["limit"])


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
    data = plan.settings["data"]
    source = DataSource(source=data["source"], tokenizer=data["tokenizer"], limit=data["limit"])
    corpus = load_source(source, run.model.context)
    if corpus.sha256 != plan.data_sha256:
        raise UsageError(
            f"The runs of a study read the same data; `{source.source}` has changed since the "
            f"study began (now {corpus.sha256[:12]}…). Restore it, or use another folder."
        )
    header = {
        "id": run.id,
        "arm": run.arm.name,
        "seed": run.seed,
        "config": run.config,
        "versions": {**plan.versions, "numpy": np.__version__, "python": platform.python_version()},
        "machine": describe_machine(run.train.threads),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with RecordWriter(folder / "runs" / f"{run.name}.jsonl", header) as writer:
        if writer.is_ended:
            return

        def record(event: Mapping[str, Any]) -> None:
            writer.write(event)
            observe(event)

        train(
            run.model,
            run.train,
            corpus,
            folder / "checkpoints" / run.name,
            record,
            progress=_every(SECONDS_BETWEEN_STEPS_TOLD, observe),
        )


def _every(seconds: float, observe: Callable[[Mapping[str, Any]], None]) -> Callable[[int], None]:
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
