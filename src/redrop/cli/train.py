"""`redrop train`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from redrop.cli.options import Flat, typed_command
from redrop.cli.progress import steps_bar
from redrop.study.choose import choose_task
from redrop.study.engine import missing_runs, open_study
from redrop.study.options import DataOptions, ModelOptions, TaskOptions
from redrop.study.plan import PlannedRun, arm_in_path, folder_name, make_plan, planned_runs
from redrop.study.schema import StudyPlan
from redrop.train.config import TrainConfig
from redrop.train.recipe_file import read_recipes
from redrop.train.recipe_word import parse_recipe


def train(
    data: str | None = None,
    *,
    recipe: Annotated[str, Parameter(name=("--recipe", "--dropout"))] = "all-0.1",
    recipes: Path | None = None,
    out: Path | None = None,
    task: Flat[TaskOptions] = TaskOptions(),  # noqa: B008 - frozen
    model: Flat[ModelOptions] = ModelOptions(),  # noqa: B008 - frozen
    text: Flat[DataOptions] = DataOptions(),  # noqa: B008 - frozen
    settings: Flat[TrainConfig] = TrainConfig(),  # noqa: B008 - frozen
) -> None:
    """Train one model and record its run; after Ctrl-C the same command goes on, to the same bits.

    A run is a study of one arm: `redrop report` and `redrop generate` read its folder, which holds
    one seed; a run that is finished is not repeated. Under
    `torchrun --nproc-per-node N -m redrop train …` N processes share each batch, under the masks
    that one process would have.

    Args:
        data: As for `redrop study`; by default reference:25000, the embedded English text.
        recipe: What is put against overfitting, as the arms of `redrop study`.
        recipes: A TOML file with recipes of your own.
        out: Folder of the run; by default runs/DATA-DROPOUT-sSEED.
        task: Which task, and whose model.
        model: Shape of the model.
        text: How text becomes tokens.
        settings: Of the optimizer and the schedule.
    """
    from redrop.study.run import check_arms, execute, torch_version
    from redrop.tasks.parameters import count_parameters
    from redrop.train.ranks import process_group

    arm = parse_recipe(recipe, read_recipes(recipes) if recipes else {})
    chosen = choose_task(data, task, model, text)
    parameters = count_parameters(chosen.task, (arm,))
    plan = make_plan(
        name=chosen.task.name,
        arms=(arm,),
        seeds=(settings.seed,),
        task=chosen.spec,
        model=chosen.model,
        train=settings,
        data=chosen.task.describe(),
        torch_version=torch_version(),
        margin=0.0,
        command=typed_command(),
        parameters=parameters,
    )
    check_arms(plan, chosen.task)
    name = f"{folder_name(chosen.task.name)}-{arm_in_path(arm)}-s{settings.seed}"
    folder = out or Path("runs") / name
    with process_group() as ranks:
        if ranks.is_first:
            plan = open_study(folder, plan)
        run = next(each for each in planned_runs(plan) if each.seed == settings.seed)
        if not ranks.is_first:
            execute(folder, plan, run, lambda _: None)
            return
        is_finished = run.id not in {each.id for each in missing_runs(folder, plan)}
        if not is_finished or ranks.count > 1:  # the other ranks wait for this one
            _watch(folder, plan, run, execute)
    write = f"; redrop generate {folder}" if chosen.spec.network == "transformer" else ""
    said = f"Already finished, seed {run.seed}" if is_finished else "Run"
    print(f"{said}: {folder} (redrop report {folder}{write})")


def _watch(folder: Path, plan: StudyPlan, run: PlannedRun, execute: Any) -> None:
    progress, task = steps_bar(f"{run.arm.name}, seed {run.seed}", run.train.steps)
    with progress:

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
