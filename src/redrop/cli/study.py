"""`redrop study`."""

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from redrop.cli.options import DataOptions, Json, ModelOptions, folder_name
from redrop.cli.progress import StudyProgress
from redrop.cli.report import print_report
from redrop.errors import UsageError
from redrop.study.arms import parse_arms
from redrop.study.engine import open_study, run_study
from redrop.study.plan import DataSource, make_plan, plan_digest, planned_runs
from redrop.study.records import read_study
from redrop.study.schema import StudyPlan, read_plan
from redrop.train.config import TrainConfig

DEFAULT_ARMS = ("none", "all-0.1", "all-0.2", "attention_weights-0.2")
_STUDIES = Path("studies")
Precision = Literal["float32", "bfloat16"]


def study(
    data: str = "reference:25000",
    *,
    arms: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = DEFAULT_ARMS,
    seeds: int = 4,
    steps: int = 1400,
    batch_size: int = 24,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.1,
    patience: int = 0,
    margin: float = 0.01,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    workers: int | None = None,
    out: Path | None = None,
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    text: DataOptions = DataOptions(),  # noqa: B008 - frozen
    json_: Json = False,
) -> None:
    """Train matched runs with and without dropout and say what it does to this data.

    At one seed all arms share initial weights, batches and the random numbers behind their masks;
    they differ in their dropout rates alone. Every run is recorded as it goes: after Ctrl-C, or a
    crash, the same command goes on. A larger --seeds adds to what is there.

    Args:
        data: A text file or a folder of text files (UTF-8); reference:25000, the first characters
            of CPython's language reference; or markov:16000, a generated language of known entropy.
        arms: none, or site-p joined by +; the first one is the baseline. Sites: all, embedding,
            attention_weights, attention_residual, feed_forward_hidden, feed_forward_residual.
        seeds: Runs per arm; four or more give an interval that is worth its price.
        steps: Optimizer steps of each run.
        batch_size: Sequences in a batch.
        learning_rate: At its peak, after the warm-up.
        weight_decay: Of AdamW, on matrices only.
        patience: Stop a run after so many evaluations without a better one; 0 never.
        margin: Smallest difference in loss that matters to you, in nats per token.
        precision: auto measures which is faster here.
        workers: Runs side by side, one thread each; by default one per core.
        out: Folder of the study; by default studies/NAME-DIGEST.
        model: Shape of the model.
        text: How text becomes tokens.
        json_: Print report.json on standard output.
    """
    chosen = parse_arms(arms)
    workers = _check_workers(workers)
    if seeds < 1:
        raise UsageError(f"A study needs at least one seed; got {seeds}. Four give an interval.")
    source = DataSource(source=data, tokenizer=text.tokenizer, limit=text.limit)
    train = TrainConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        min_learning_rate=learning_rate / 10,
        warmup_steps=max(1, steps // 20),
        weight_decay=weight_decay,
        patience=patience,
        eval_every=max(1, steps // 28),
        threads=1,
    )
    # These load torch; `redrop study --help` does not wait for it.
    from redrop.study.run import load_source, measure_precision, torch_version

    corpus = load_source(source, model.context)

    def planned(precision: Precision) -> StudyPlan:
        return make_plan(
            name=corpus.name,
            arms=chosen,
            seeds=tuple(range(seeds)),
            model=model.config(corpus.tokenizer.vocab_size),
            train=replace(train, precision=precision),
            data=source,
            corpus=corpus.describe(),
            torch_version=torch_version(),
            margin=margin,
            command=shlex.join(["redrop", *sys.argv[1:]]),
        )

    asked = planned("float32" if precision == "auto" else precision)
    folder = out or _STUDIES / f"{folder_name(corpus.name)}-{plan_digest(asked)}"
    if precision == "auto":
        recorded = read_plan(folder)
        # A study that goes on keeps what it has measured, so that all its runs are alike.
        precision = (
            recorded.settings["train"]["precision"] if recorded else measure_precision(asked)
        )
    plan = open_study(folder, planned(precision))
    _run_missing(folder, plan, workers)
    print_report(folder, as_json=json_)


def _run_missing(folder: Path, plan: StudyPlan, workers: int) -> None:
    missing = set(read_study(folder).missing)
    runs = [run for run in planned_runs(plan) if (run.arm.name, run.seed) in missing]
    if runs:
        with StudyProgress(sum(run.train.steps for run in runs), len(runs)) as progress:
            run_study(folder, plan, workers=workers, observe=progress.observe)


def _check_workers(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0))
    if workers < 1:
        raise UsageError(
            f"`workers` must be at least 1; got {workers}. Leave it out for every core."
        )
    return workers
