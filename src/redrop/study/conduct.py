"""Conduct studies: one with given arms, one with a budget, several over amounts of data."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from redrop.data.text import read_text
from redrop.disk import write_atomically
from redrop.errors import UsageError
from redrop.study.engine import Observer, missing_runs, open_study
from redrop.study.folders import PROTOCOL_FILE, read_protocol_file, stage_studies
from redrop.study.ledger import STUDIES
from redrop.study.plan import PlannedRun, folder_name, plan_digest
from redrop.study.protocol import Finished, next_stage
from redrop.study.question import Question
from redrop.study.records import Study, canonical_json, read_study
from redrop.study.regime_map import MapPoint
from redrop.study.schema import StudyPlan
from redrop.study.stage import ProtocolSettings, Stage, settings_digest
from redrop.tasks.load import load_task
from redrop.train.precision import Precision
from redrop.train.recipe import Recipe


class Engine(Protocol):
    """Runs what is missing of a study: `run_study` with its workers, or the one on Ray."""

    def __call__(self, folder: Path, plan: StudyPlan, *, observe: Observer) -> Study:
        """Return the complete study."""


Watch = Callable[[Sequence[PlannedRun]], AbstractContextManager[Observer]]
"""Told the runs to be done; gives the observer of their events."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """How a study is carried out, which changes nothing of what it finds.

    Args:
        engine: Runs what is missing.
        watch: Of the progress.
        announce: Told each stage of a budgeted study.
        folder: Of the study; None for one that is named after data and digest.
        measures_precision: Train in the precision that is faster on this machine.
    """

    engine: Engine
    watch: Watch
    announce: Callable[[Stage], None]
    folder: Path | None = None
    measures_precision: bool = True


def compare(question: Question, arms: Sequence[Recipe], seeds: Sequence[int], means: Means) -> Path:
    """Run a study of given arms and return its folder.

    Raises:
        UsageError: The folder holds another study, or a run fails.
        KeyboardInterrupt: After a Ctrl-C; the same call goes on.
    """
    folder = means.folder or _folder(question, plan_digest(question.plan(arms, seeds)))
    if means.measures_precision:
        question = question.measured(arms, folder)
    conduct_plan(folder, question.plan(arms, seeds), means.engine, means.watch)
    return folder


def spend(question: Question, settings: ProtocolSettings, means: Means) -> tuple[Path, Finished]:
    """Run a study with a budget; return its folder and what it found.

    Raises:
        UsageError: The folder holds another study, the budget is too small, or a run fails.
        KeyboardInterrupt: After a Ctrl-C; the same call goes on.
    """
    folder = budget_folder(question, settings, means)
    if means.measures_precision:
        begun = protocol_precision(folder)
        question = (
            question.measured((settings.default,), folder)
            if begun is None
            else question.with_precision(begun)
        )
    end = conduct_protocol(folder, question, settings, means.engine, means.watch, means.announce)
    return folder, end


def budget_folder(question: Question, settings: ProtocolSettings, means: Means) -> Path:
    """Return the folder of a study with a budget."""
    digest = settings_digest(settings, question.plan((settings.default,), [0]))
    return means.folder or _folder(question, f"budget-{digest}")


def conduct_plan(folder: Path, plan: StudyPlan, engine: Engine, watch: Watch) -> Study:
    """Run every run of a plan that has no complete record yet, and return the study.

    Raises:
        UsageError: The folder holds another study, or a run fails.
        KeyboardInterrupt: After a Ctrl-C; the same call goes on.
    """
    plan = open_study(folder, plan)
    missing = missing_runs(folder, plan)
    if missing:
        with watch(missing) as observe:
            engine(folder, plan, observe=observe)
    return read_study(folder)


def conduct_protocol(
    folder: Path,
    question: Question,
    settings: ProtocolSettings,
    engine: Engine,
    watch: Watch,
    announce: Callable[[Stage], None],
) -> Finished:
    """Run a budgeted study, stage by stage, from wherever it stands.

    Args:
        folder: Of the whole; each stage is an ordinary study in a folder inside.
        question: What is asked.
        settings: Of the protocol; the same ones for a folder as long as it lives.
        engine: Runs the stages.
        watch: Of the progress.
        announce: Told each stage before it runs.

    Raises:
        UsageError: The folder holds another budgeted study, the budget is too small, or a run
            fails.
        KeyboardInterrupt: After a Ctrl-C; the same call goes on.
    """
    _claim(folder, question, settings)
    while True:
        following = next_stage(settings, stage_studies(folder))
        if isinstance(following, Finished):
            return following
        announce(following)
        plan = question.plan(
            following.arms, following.seeds, steps=following.steps, looks=following.looks
        )
        conduct_plan(folder / following.name, plan, engine, watch)


def protocol_precision(folder: Path) -> Precision | None:
    """Return the precision that a budgeted study has been begun in, or None for a new one."""
    recorded = read_protocol_file(folder)
    return None if recorded is None else recorded["precision"]


def conduct_map(
    folder: Path,
    question: Question,
    arms: Sequence[Recipe],
    seeds: Sequence[int],
    amounts: Sequence[int],
    engine: Engine,
    watch: Watch,
) -> list[MapPoint]:
    """Run one study per amount of training data, all of the same steps.

    Args:
        folder: Of the map; each amount has a folder inside.
        question: What is asked.
        arms: The first one is the baseline without dropout.
        seeds: Of every arm.
        amounts: Training tokens, or samples.
        engine: Runs the studies.
        watch: Of the progress.

    Raises:
        UsageError: The data hold less than an amount, or a run fails.
    """
    # The largest first: what the data do not hold is refused before anything is run.
    largest_first = sorted(set(amounts), reverse=True)
    questions = [(amount, with_amount(question, amount)) for amount in largest_first]
    points = []
    for amount, own in reversed(questions):
        plan = own.plan(arms, seeds)
        study = conduct_plan(folder / f"amount-{amount:09d}", plan, engine, watch)
        points.append(MapPoint(study=study, unique=plan.settings["data"]["train_targets"]))
    return points


def with_amount(question: Question, amount: int) -> Question:
    """Return the question on another amount of training data of the same source.

    The generated language takes the amount in its name, a text as so many characters, of which
    the training part is eight tenths; images and tables as so many training samples.

    Raises:
        UsageError: The data hold less, or come from the user's own loaders.
    """
    spec = question.spec
    if spec.kind == "module":
        raise UsageError("A map needs data that can be cut; your own loaders give what they give.")
    base = spec.source.partition(":")[0]
    if spec.kind == "text" and base in ("markov", "reference") and not Path(spec.source).exists():
        spec = replace(spec, source=f"{base}:{amount}", limit=None)
    else:
        if spec.kind == "text":
            _check_amount(question, amount, len(read_text(spec.source)), "characters")
        spec = replace(spec, limit=amount)
    shape = {k: v for k, v in question.task.settings()["model"].items() if k not in _FROM_DATA}
    own = replace(question, spec=spec, task=load_task(spec, shape))
    if spec.kind != "text":
        _check_amount(own, amount, own.task.describe()["train_targets"], "training samples")
    return own


def _check_amount(question: Question, amount: int, held: int, unit: str) -> None:
    if held < amount:
        raise UsageError(
            f"The amounts of a map are parts of the data; `{question.task.name}` has {held} {unit},"
            f" got {amount}. Give amounts up to {held}, such as `--amounts {_some_of(held)}`."
        )


def _some_of(held: int) -> str:
    """Return a fourth, a half and all of the data, as words of a command."""
    return " ".join(str(max(1, held // share)) for share in (4, 2, 1))


_FROM_DATA = ("dropout", "vocab_size", "features", "outputs", "image_size", "channels")
"""Settings of a network that the data decide: another amount of text may have fewer symbols."""


def _claim(folder: Path, question: Question, settings: ProtocolSettings) -> None:
    """Note in a new folder what is asked, or see that it is what was asked there before."""
    asked = json.loads(
        canonical_json(
            {
                "kind": "protocol",
                "settings": asdict(settings),
                "precision": question.train.precision,
                "data_sha256": question.task.sha256,
                "task": question.spec.to_json(),
                "model": question.task.settings()["model"],
                "train": {k: v for k, v in question.train.to_json().items() if k != "precision"},
                "command": question.command,
            }
        )
    )
    recorded = read_protocol_file(folder)
    if recorded is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"A study needs a folder to write to; `{folder}` cannot be one: {error.strerror}."
            ) from error
        write_atomically(folder / PROTOCOL_FILE, json.dumps(asked, indent=1) + "\n")
        return
    for field in ("settings", "precision", "data_sha256", "task", "model", "train"):
        if recorded.get(field) != asked[field]:
            raise UsageError(
                f"A folder holds one budgeted study; `{folder}` was begun with other {field}. Use "
                "another folder, or repeat its command: " + str(recorded.get("command"))
            )


def _folder(question: Question, digest: str) -> Path:
    return Path(STUDIES) / f"{folder_name(question.task.name)}-{digest}"
