"""`redrop.study(...)`: a study from Python, with the plan, runs and records of the command's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal, TypeVar

from redrop.errors import UsageError
from redrop.study import show
from redrop.study.arms import parse_arms
from redrop.study.choose import choose_task
from redrop.study.conduct import Means, compare, spend
from redrop.study.engine import Observer
from redrop.study.importable import check_guard, importable_name
from redrop.study.options import (
    DataOptions,
    EngineOptions,
    ModelOptions,
    TaskOptions,
    TrainOptions,
)
from redrop.study.plan import PlannedRun
from redrop.study.protocol import Finished
from redrop.study.result import StudyResult
from redrop.study.stage import Stage
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe

Function = Callable[..., Any] | str
Arms = Sequence[str | Recipe]
Options = TypeVar("Options", ModelOptions, DataOptions, TrainOptions)


def study(
    data: Function | os.PathLike[str] | None = None,
    *,
    model: Function | None = None,
    arms: Arms = (),
    seeds: int | None = None,
    steps: int | None = None,
    budget: str | None = None,
    factors: Arms = (),
    loss: Function | None = None,
    task: str | None = None,
    network: Literal["transformer", "vision_transformer", "mlp"] | None = None,
    shape: Mapping[str, Any] | None = None,
    read: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    margin: float = 0.01,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    progress: bool = True,
) -> StudyResult:
    """Train matched runs with and without dropout and say what it does to this model and data.

    The same as the command `redrop study`: every run is recorded as it goes, and the same call goes
    on after an interruption, or adds seeds. Runs are processes of their own, so a script makes the
    call under `if __name__ == "__main__":`, and functions stand at the top level of a file.

    Args:
        data: Name or path of a text, images or a table; with a model of one's own a function that
            returns (train, validation) or (train, validation, test) loaders.
        model: A function that builds a torch model, or `hf:` and a causal language model.
        arms: Recipes, or their words; the first one is the baseline.
        seeds: Runs per arm.
        steps: Optimizer steps of each run.
        budget: The most that the study may cost, "10m", "20000 steps"; it then finds its arms.
        factors: What a study with a budget tries, the most promising first.
        loss: A function from outputs and targets to a mean loss; by default cross-entropy for
            integer targets and the squared error for others.
        task: text, digits, images or table.
        network: transformer, vision_transformer or mlp, where the model is not one's own.
        shape: Of such a network: width, layers, heads, context, patch_size, norm.
        read: How the data are read: tokenizer, limit, target, predict, image_size.
        train: batch_size, learning_rate, weight_decay, patience, precision.
        margin: Smallest difference in loss that matters, in its unit.
        out: Folder of the study; by default studies/NAME-DIGEST.
        workers: Runs side by side; by default one per core.
        engine: Processes on this machine, or tasks of Ray.
        ray_address: Of a cluster of Ray.
        progress: Show a bar on standard error.

    Returns:
        Table and verdict; print it, or let a notebook show it.

    Raises:
        UsageError: An argument cannot be honoured, or a run fails; one line says what to do.
        KeyboardInterrupt: After a Ctrl-C; the same call goes on.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    check_guard()
    if budget is not None and (arms or seeds is not None):
        raise UsageError(
            "A study with a budget finds its arms and seeds; got `budget` with `arms` or `seeds`. "
            "Give `factors` to say what is tried, or leave `budget` out."
        )
    roles = {"model": model, "data": data, "loss": loss}
    names = {role: _name(each, role) for role, each in roles.items() if each is not None}
    chosen = choose_task(
        names.get("data"),
        TaskOptions(task=task, network=network, model=names.get("model"), loss=names.get("loss")),
        _filled(ModelOptions, "shape", shape or {}),
        _filled(DataOptions, "read", read or {}),
    )
    trained = _filled(TrainOptions, "train", {"steps": steps, **(train or {})})
    where = EngineOptions(workers=workers, engine=engine, ray_address=ray_address)
    watch, announce = show.progress() if progress else (_unwatched, _unannounced)
    means = Means(
        engine=where.build(),
        watch=watch,
        announce=announce,
        folder=None if out is None else Path(out),
        measures_precision=trained.precision == "auto",
    )
    question = chosen.question(trained, margin, _say_call({**given, **names}))
    if budget is None:
        recipes = read_arms(arms or chosen.arms)
        numbers = range(chosen.preset.seeds if seeds is None else seeds)
        return _reported(compare(question, recipes, numbers, means))
    tried = (_recipe(each) for each in factors or chosen.factors)
    settings = chosen.protocol(question, budget, tried, steps, where.side_by_side)
    return _reported_protocol(*spend(question, settings, means))


def read_arms(arms: Arms) -> tuple[Recipe, ...]:
    """Return the recipes of arms that are words or recipes; the first one is the baseline.

    Raises:
        UsageError: Fewer than two, two of one name, or a word that is no recipe.

    >>> [arm.name for arm in read_arms(["none", Recipe(name="mine", dropout={"all": 0.3})])]
    ['none', 'mine']
    """
    if isinstance(arms, str):
        raise UsageError(f"`arms` is a list of recipes; got the text {arms!r}. Put it in brackets.")
    own = {each.name: each for each in arms if isinstance(each, Recipe)}
    return parse_arms([each.name if isinstance(each, Recipe) else each for each in arms], own)


def _recipe(each: str | Recipe) -> Recipe:
    return each if isinstance(each, Recipe) else parse_recipe(each)


def _name(given: Any, role: str) -> str:
    return os.fspath(given) if isinstance(given, os.PathLike) else importable_name(given, role)


def _filled(kind: type[Options], argument: str, values: Mapping[str, Any]) -> Options:
    """Return options of a study with these values."""
    known = [member.name for member in fields(kind)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise UsageError(
            f"`{argument}` has the settings {', '.join(known)}; got {', '.join(unknown)}."
        )
    return kind(**values)


def _say_call(given: Mapping[str, Any]) -> str:
    """Return the call as Python that repeats it."""
    default = {name: each.default for name, each in signature(study).parameters.items()}
    said = [
        f"{name}={_say(value)}"
        for name, value in given.items()
        if name not in _NO_MATTER and value != default[name]
    ]
    return f"redrop.study({', '.join(said)})"


_NO_MATTER = ("progress", "workers", "engine", "ray_address")


def _say(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    return repr(value)


def _reported(folder: Path) -> StudyResult:
    page, report = show.write_report(folder)
    recommended = report.verdict.recommended
    return StudyResult(
        folder=folder,
        study=report.study,
        verdict=report.verdict,
        recommended=None if recommended is None else report.study.plan.arm(recommended),
        report=page,
        table=report.table,
    )


def _reported_protocol(folder: Path, finished: Finished) -> StudyResult:
    show.write_protocol_report(folder)
    last = _reported(folder / finished.stages[-1].name)
    return replace(
        last,
        folder=folder,
        recommended=finished.confirmed.recommended,
        report=folder / "report.html",
        finished=finished,
    )


@contextmanager
def _unwatched(runs: Sequence[PlannedRun]) -> Iterator[Observer]:  # noqa: ARG001
    yield lambda run, event: None  # noqa: ARG005


def _unannounced(stage: Stage) -> None:
    """Say nothing."""
