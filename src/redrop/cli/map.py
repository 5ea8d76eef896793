"""`redrop map`."""

from dataclasses import replace
from pathlib import Path

from redrop.cli.engine import watch
from redrop.cli.options import Flat, Json, Words, typed_command
from redrop.cli.report import print_map
from redrop.errors import UsageError
from redrop.study.amounts import parse_amount
from redrop.study.arms import parse_arms
from redrop.study.choose import choose_task, task_of
from redrop.study.ledger import STUDIES
from redrop.study.options import (
    DataOptions,
    EngineOptions,
    ModelOptions,
    TaskOptions,
    TrainOptions,
)
from redrop.study.plan import folder_name, plan_digest
from redrop.tasks.presets import MAP

AMOUNTS = ("4k", "16k", "64k", "1024k")
"""Of training data, read 256, 64, 16 times and once by runs of a million tokens."""

_WIDTH, _CONTEXT = 64, 32


def map_(
    data: str | None = None,
    *,
    amounts: Words = AMOUNTS,
    arms: Words = MAP.arms,
    seeds: int = MAP.seeds,
    margin: float = 0.005,
    out: Path | None = None,
    json_: Json = False,
    task: Flat[TaskOptions] = TaskOptions(),  # noqa: B008 - frozen
    train: Flat[TrainOptions] = TrainOptions(),  # noqa: B008 - frozen
    engine: Flat[EngineOptions] = EngineOptions(),  # noqa: B008 - frozen
    model: Flat[ModelOptions] = ModelOptions(),  # noqa: B008 - frozen
    text: Flat[DataOptions] = DataOptions(),  # noqa: B008 - frozen
) -> None:
    """Repeat a study over amounts of data and draw where dropout stops paying.

    All runs have the same steps, so less data are read more often. The map shows what the best p
    gains against that number of epochs.

    Args:
        data: markov or reference, whose amount is changed; or a text, a folder of images or a
            .csv, .tsv or .parquet table, of which only so much is used. By default markov, the
            generated language of known entropy; with --task text reference:8000.
        amounts: Training tokens of the generated language, characters of a text, training samples
            of images and tables; no more than there are.
        arms: Recipes; the first one is the baseline, without dropout.
        seeds: Runs per arm and amount.
        margin: Smallest difference in loss that matters to you, in its unit.
        out: Folder of the map; by default studies/NAME-map-DIGEST.
        json_: Print the map as JSON on standard output.
        task: Which task.
        train: How every run is trained.
        engine: Where runs are computed.
        model: Shape of the model.
        text: How the data are read.
    """
    sizes = [parse_amount(amount, "amounts") for amount in amounts]
    if len(set(sizes)) < 2:
        raise UsageError(f"A map needs at least two amounts of data; got {', '.join(amounts)}.")
    if seeds < 1:
        raise UsageError(f"A map needs at least one seed; got {seeds}. Five give an interval.")
    chosen_arms = parse_arms(arms)
    if task.task is None and task.model is None and task_of(data) is None:
        model = replace(model, width=model.width or _WIDTH, context=model.context or _CONTEXT)
        chosen = choose_task(data, task, model, text, MAP)
    else:
        chosen = choose_task(data, task, model, text)
    question = chosen.question(train, margin, typed_command())
    from redrop.study.conduct import conduct_map

    digest = plan_digest(question.plan(chosen_arms, range(seeds)))
    folder = out or Path(STUDIES) / f"{folder_name(question.task.name)}-map-{digest}"
    if train.precision == "auto":
        first = next(iter(sorted(folder.glob("amount-*"))), folder)
        question = question.measured(chosen_arms, first)
    conduct_map(folder, question, chosen_arms, range(seeds), sizes, engine.build(), watch)
    print_map(folder, as_json=json_)
