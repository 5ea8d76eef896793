"""`redrop study`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from redrop.cli.engine import announce, watch
from redrop.cli.options import Flat, Json, Words, typed_command
from redrop.cli.report import print_protocol, print_report, print_stopped
from redrop.errors import UsageError
from redrop.study.arms import parse_arms
from redrop.study.choose import Chosen, choose_task
from redrop.study.options import (
    DataOptions,
    EngineOptions,
    ModelOptions,
    TaskOptions,
    TrainOptions,
)
from redrop.study.stage import ProtocolSettings
from redrop.train.recipe import Recipe
from redrop.train.recipe_file import read_recipes
from redrop.train.recipe_word import parse_recipe

if TYPE_CHECKING:
    from redrop.study.conduct import Means
    from redrop.study.question import Question


def study(
    data: str | None = None,
    *,
    arms: Words = (),
    budget: str | None = None,
    factors: Words = (),
    recipes: Path | None = None,
    seeds: int | None = None,
    margin: float = 0.01,
    out: Path | None = None,
    json_: Json = False,
    task: Flat[TaskOptions] = TaskOptions(),  # noqa: B008 - frozen
    train: Flat[TrainOptions] = TrainOptions(),  # noqa: B008 - frozen
    engine: Flat[EngineOptions] = EngineOptions(),  # noqa: B008 - frozen
    model: Flat[ModelOptions] = ModelOptions(),  # noqa: B008 - frozen
    text: Flat[DataOptions] = DataOptions(),  # noqa: B008 - frozen
) -> None:
    """Train matched runs with and without dropout and say what it does to this data.

    At one seed all arms share initial weights, batches and the random numbers behind their masks;
    they differ in their recipes alone. Every run is recorded as it goes: after Ctrl-C, or a
    crash, the same command goes on. A larger --seeds adds to what is there.

    With --budget the arms are found instead of given: a baseline until it overfits, a screening of
    many regularizers at once, a dose curve of what matters, and a confirmation on fresh seeds.

    Args:
        data: A text file or a folder of text files (UTF-8); reference:25000, the first characters
            of CPython's language reference; markov:16000, a generated language of known entropy; a
            folder of images, one subfolder per class; a .csv, .tsv or .parquet table; or
            my_module:loaders with --model.
        arms: Recipes, the first one is the baseline: none, all-0.1, attention_weights-0.1,
            weight_decay-1, mixup-0.2, norm-post, …, joined by +; `redrop recipes` lists them.
        budget: The most that the study may cost: 10m, 2h, 20000 steps, or 5M tokens.
        factors: What the screening of a budgeted study tries, the most promising first.
        recipes: A TOML file with recipes of your own.
        seeds: Runs per arm; four or more give an interval that is worth its price.
        margin: Smallest difference in loss that matters to you, in its unit.
        out: Folder of the study; by default studies/NAME-DIGEST.
        json_: Print the report as JSON on standard output.
        task: Which task, and whose model.
        train: How every run is trained.
        engine: Where runs are computed.
        model: Shape of the model.
        text: How the data are read.
    """
    own = read_recipes(recipes) if recipes else {}
    if budget is not None and (arms or seeds is not None):
        raise UsageError(
            "A budgeted study finds its arms and seeds; got `--budget` with `--arms` or `--seeds`. "
            "Give `--factors` to say what is tried, or leave `--budget` out."
        )
    if arms:
        parse_arms(arms, own)  # a mistyped arm is told before the data are read
    if seeds is not None and seeds < 1:
        raise UsageError(f"A study needs at least one seed; got {seeds}. Four give an interval.")
    chosen = choose_task(data, task, model, text)
    question = chosen.question(train, margin, typed_command())
    if budget is None:
        _compare(question, chosen, arms, own, seeds, train, engine, out, json_)
    else:
        tried = (parse_recipe(word, own) for word in factors or chosen.factors)
        settings = chosen.protocol(question, budget, tried, train.steps, engine.side_by_side)
        _spend(question, settings, train, engine, out, json_)


def _compare(
    question: "Question",
    chosen: Chosen,
    words: tuple[str, ...],
    own: Mapping[str, Recipe],
    seeds: int | None,
    train: TrainOptions,
    engine: EngineOptions,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare given arms."""
    from redrop.study.conduct import compare

    arms = parse_arms(words or chosen.arms, own)
    numbers = range(seeds or chosen.preset.seeds)
    folder = compare(question, arms, numbers, _means(train, engine, out))
    print_report(folder, as_json=as_json)


def _spend(
    question: "Question",
    settings: ProtocolSettings,
    train: TrainOptions,
    engine: EngineOptions,
    out: Path | None,
    as_json: bool,
) -> None:
    """Find the arms within a budget."""
    from redrop.study.conduct import budget_folder, spend

    means = _means(train, engine, out)
    try:
        folder, _ = spend(question, settings, means)
    except UsageError:
        print_stopped(budget_folder(question, settings, means), as_json=as_json)
        raise
    print_protocol(folder, as_json=as_json)


def _means(train: TrainOptions, engine: EngineOptions, out: Path | None) -> "Means":
    from redrop.study.conduct import Means

    return Means(
        engine=engine.build(),
        watch=watch,
        announce=announce,
        folder=out,
        measures_precision=train.precision == "auto",
    )
