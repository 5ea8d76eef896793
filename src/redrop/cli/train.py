"""`redrop train`."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from redrop.cli.options import DataOptions, ModelOptions, folder_name
from redrop.study.arms import parse_arm
from redrop.study.engine import open_study
from redrop.study.plan import DataSource, PlannedRun, make_plan, planned_runs
from redrop.study.schema import StudyPlan
from redrop.train.config import TrainConfig


def train(
    data: str = "reference:25000",
    *,
    dropout: str = "all-0.1",
    out: Path | None = None,
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    text: DataOptions = DataOptions(),  # noqa: B008 - frozen
    settings: Annotated[TrainConfig, Parameter(name="*")] = TrainConfig(),  # noqa: B008 - frozen
) -> None:
    """Train one model and record its run; after Ctrl-C the same command goes on, to the same bits.

    A run is a study of one arm: `redrop report` and `redrop generate` read its folder.

    Args:
        data: A text file or folder, reference:25000, or markov:16000, as for `redrop study`.
        dropout: none, or site-p joined by +, as the arms of `redrop study`.
        out: Folder of the run; by default runs/DATA-DROPOUT-sSEED.
        model: Shape of the model.
        text: How text becomes tokens.
        settings: Of the optimizer and the schedule.
    """
    from redrop.study.run import execute, load_source, torch_version

    arm = parse_arm(dropout)
    source = DataSource(source=data, tokenizer=text.tokenizer, limit=text.limit)
    corpus = load_source(source, model.context)
    plan = make_plan(
        name=corpus.name,
        arms=(arm,),
        seeds=(settings.seed,),
        model=model.config(corpus.tokenizer.vocab_size),
        train=settings,
        data=source,
        corpus=corpus.describe(),
        torch_version=torch_version(),
        margin=0.0,
        command=shlex.join(["redrop", *sys.argv[1:]]),
    )
    folder = out or Path("runs") / f"{folder_name(corpus.name)}-{arm.name}-s{settings.seed}"
    plan = open_study(folder, plan)
    (run,) = planned_runs(plan)
    _watch(folder, plan, run, execute)
    print(f"Run: {folder} (redrop report {folder}; redrop generate {folder})")


def _watch(folder: Path, plan: StudyPlan, run: PlannedRun, execute: Any) -> None:
    columns = (
        BarColumn(),
        TextColumn("step {task.completed:,.0f} of {task.total:,.0f}"),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=run.train.steps)

        def observe(event: Mapping[str, Any]) -> None:
            if event["kind"] in ("step", "eval"):
                progress.update(task, completed=event["step"])
            if event["kind"] in ("eval", "end"):
                progress.console.print(_line(event), highlight=False)

        execute(folder, plan, run, observe)


def _line(event: Mapping[str, Any]) -> str:
    if event["kind"] == "end":
        return (
            f"{event['status']} after {event['steps']} steps, {event['seconds']:.0f} s; best "
            f"validation loss {_loss(event['best_validation_loss'])} at step {event['best_step']}, "
            f"test loss there {_loss(event['test_loss_best'])}"
        )
    return (
        f"step {event['step']:>6}   train {_loss(event['train_eval_loss'])}   validation "
        f"{_loss(event['validation_loss'])}   (in train mode {_loss(event['train_loss'])})"
    )


def _loss(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
