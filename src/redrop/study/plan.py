"""The plan of a study: everything that is fixed before its first run; knows no torch.

Arms are matched: at one seed they share initial weights, batches and the random words behind their
masks, so a mask with larger p drops what a smaller one drops, and more. They differ in what their
recipes say and in nothing else.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import redrop
from redrop.errors import UsageError
from redrop.study.looks import continue_looks
from redrop.study.records import canonical_json, run_id
from redrop.study.schema import PLAN_FILE, StudyPlan
from redrop.tasks.spec import TaskSpec, resolve_model
from redrop.train.config import TrainConfig
from redrop.train.recipe import Recipe

ARM_LETTERS = 100
"""Of an arm's name in a file's name: a file system takes 255 in all; the id tells them apart."""

_FIXED = {"seed", "steps", "batch_size", "eval_every", "eval_tokens", "threads", "checkpoint_every"}


_NOT_ASKED = ("command", "seeds", "looks", "parameters", "spent")
"""What may differ in one study; the count of parameters follows from its settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One arm at one seed, with the complete settings of its run."""

    arm: Recipe
    seed: int
    train: TrainConfig
    config: Mapping[str, Any]
    id: str

    @property
    def name(self) -> str:
        """The file name of its record, without the ending."""
        return f"{arm_in_path(self.arm)}-s{self.seed}-{self.id}"


def arm_in_path(arm: Recipe) -> str:
    """Return an arm's name as a part of a file's name.

    >>> arm_in_path(Recipe(name="all-0.1+embedding-0")), arm_in_path(Recipe(name="my/arm"))
    ('all-0.1+embedding-0', 'my_arm')
    """
    return re.sub(r"[^\w.+-]", "_", arm.name)[:ARM_LETTERS]


def folder_name(data: str) -> str:
    """Return the name of the data as a part of a folder's name.

    >>> folder_name("my notes.txt"), folder_name("markov:16000")
    ('my-notes', 'markov-16000')
    """
    return re.sub(r"[^\w.-]+", "-", Path(data).stem).strip("-") or "text"


def make_plan(
    *,
    name: str,
    arms: tuple[Recipe, ...],
    seeds: tuple[int, ...],
    task: TaskSpec,
    model: Mapping[str, Any],
    train: TrainConfig,
    data: Mapping[str, Any],
    torch_version: str,
    margin: float,
    command: str,
    looks: int = 1,
    parameters: int | None = None,
) -> StudyPlan:
    """Fix a study.

    Args:
        name: For titles; the name of the data is usual.
        arms: The first one is the baseline.
        seeds: Of initial weights, batches and masks.
        task: Where the data come from, and which network reads them.
        model: Settings of the network, as `Task.settings` gives them; dropout is each arm's own.
        train: Settings of a run; its own seed is replaced.
        data: What `Task.describe` says of the data.
        torch_version: Part of what decides a run's numbers.
        margin: Smallest difference in loss that matters, in its unit.
        command: The exact command that repeats the study.
        looks: How often the study is planned to be judged, with more seeds each time.
        parameters: Numbers that training changes in the baseline's network.

    Raises:
        UsageError: No seed, arms of one name, or an arm that does not fit task or training.
    """
    settings = {
        "task": task.to_json(),
        "model": {k: v for k, v in model.items() if k != "dropout"},
        "train": {k: v for k, v in train.to_json().items() if k != "seed"},
        "data": dict(data),
    }
    plan = StudyPlan(
        name=name,
        arms=arms,
        baseline=arms[0].name,
        seeds=seeds,
        margin=margin,
        confidence=0.95,
        looks=looks,
        command=command,
        settings=settings,
        data_sha256=str(data["sha256"]),
        versions={
            "redrop": redrop.__version__,
            "spec": redrop.SPEC_VERSION,
            "torch": torch_version,
        },
        parameters=parameters,
        spent=0.0,
    )
    planned_runs(plan)  # refuses an arm that does not fit
    return plan


def planned_runs(plan: StudyPlan) -> tuple[PlannedRun, ...]:
    """Return the runs of a plan, seed by seed: an interrupted study then has complete pairs."""
    return tuple(_planned_run(plan, arm, seed) for seed in plan.seeds for arm in plan.arms)


def _planned_run(plan: StudyPlan, arm: Recipe, seed: int) -> PlannedRun:
    settings = plan.settings
    spec = TaskSpec.from_json(settings["task"])
    train = TrainConfig.from_json({**settings["train"], **_trained(arm), "seed": seed})
    config = {
        "task": settings["task"],
        "model": resolve_model(spec, settings["model"], arm),
        "augment": dict(arm.augment),
        "train": train.to_json(),
        "data": settings["data"],
    }
    code = "redrop {redrop}, spec {spec}, torch {torch}".format(**plan.versions)
    return PlannedRun(
        arm=arm,
        seed=seed,
        train=train,
        config=config,
        id=run_id(config, plan.data_sha256, code),
    )


def _trained(arm: Recipe) -> Mapping[str, Any]:
    """Return the arm's settings of training; those that a study fixes for all arms are refused."""
    fixed = _FIXED & arm.train.keys()
    if fixed:
        raise UsageError(
            f"The arms of a study share seeds, steps and batches; {arm.name!r} changes "
            f"{', '.join(sorted(fixed))}. Give it as a setting of the study."
        )
    known = TrainConfig.__dataclass_fields__.keys() - _FIXED
    unknown = arm.train.keys() - known
    if unknown:
        raise UsageError(
            f"Arm {arm.name!r} changes {', '.join(sorted(unknown))}, which training does not have. "
            f"It has: {', '.join(sorted(known))}."
        )
    return arm.train


def plan_digest(plan: StudyPlan) -> str:
    """Return 8 hex digits that name a study; with more seeds it is the same study."""
    return hashlib.sha256(canonical_json(_question(plan)).encode()).hexdigest()[:8]


def continue_plan(ours: StudyPlan, recorded: StudyPlan, folder: Path) -> StudyPlan:
    """Return the plan that goes on in a folder: the recorded one, with more seeds if ours has more.

    Who adds seeds has looked at the fewer ones; see `study.looks` for what that costs. A recorded
    plan of before parameters were counted takes over the count.

    Raises:
        UsageError: A setting, a version or a seed differs; one folder holds one study.
    """
    for field, mine, theirs in _differences(_question(ours), _question(recorded), ""):
        raise UsageError(
            f"A study folder holds one study; `{folder}` was recorded with {field} = {theirs!r}, "
            f"this one has {mine!r}. Use another folder, or the settings in its {PLAN_FILE}."
        )
    mine, theirs = set(ours.seeds), set(recorded.seeds)
    if not (mine <= theirs or mine > theirs):
        raise UsageError(
            f"A study folder holds one study; `{folder}` has {_say_seeds(recorded)}, and this one "
            f"asks for {_say_seeds(ours)}. Use another folder, or ask for all of them."
        )
    if mine <= theirs:
        is_counted = recorded.parameters is not None
        return recorded if is_counted else replace(recorded, parameters=ours.parameters)
    return continue_looks(ours, recorded)


def _say_seeds(plan: StudyPlan) -> str:
    one, *more = plan.seeds
    return f"seeds {', '.join(map(str, plan.seeds))}" if more else f"seed {one}"


def _question(plan: StudyPlan) -> Any:
    """Return what a study asks, as JSON gives it back: all but seeds, looks and wording."""
    fields = {k: v for k, v in asdict(plan).items() if k not in _NOT_ASKED}
    return json.loads(canonical_json(fields))


def _differences(mine: Any, theirs: Any, at: str) -> list[tuple[str, Any, Any]]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        names = sorted({*mine, *theirs})
        found = [_differences(mine.get(n), theirs.get(n), f"{at}.{n}" if at else n) for n in names]
        return [difference for differences in found for difference in differences]
    return [] if mine == theirs else [(at, mine, theirs)]
