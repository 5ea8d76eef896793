"""What a study asks about: a task and settings of training, for any arms, seeds and lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redrop.study.plan import make_plan
from redrop.study.run import check_arms, measure_precision, torch_version
from redrop.study.schema import StudyPlan, read_plan
from redrop.tasks.load import AnyTask
from redrop.tasks.parameters import count_parameters
from redrop.tasks.spec import TaskSpec
from redrop.train.config import TrainConfig
from redrop.train.precision import Precision
from redrop.train.recipe import Recipe

EVALUATIONS = 28
"""In a run: enough to see a turning point, few enough to cost little."""
WARMUP = 20
"""One step in so many is warm-up."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A task and how it is trained, where arms, seeds and steps are still open.

    Args:
        spec: Names the task.
        task: Loaded, without any recipe.
        train: Settings of a run; warm-up and evaluations are scaled with its steps.
        margin: Smallest difference in loss that matters.
        command: The exact command that repeats the study.
    """

    spec: TaskSpec
    task: AnyTask
    train: TrainConfig
    margin: float
    command: str

    def plan(
        self,
        arms: Sequence[Recipe],
        seeds: Sequence[int],
        *,
        steps: int | None = None,
        looks: int = 1,
    ) -> StudyPlan:
        """Return the plan of one study.

        Args:
            arms: The first one is the baseline.
            seeds: Of every arm.
            steps: Of every run; by default those of the settings.
            looks: How often it is planned to be judged.

        Raises:
            UsageError: An arm does not fit the task or the training.
        """
        # First: the one model that this builds tells what the description asks of it, too.
        parameters = count_parameters(self.task, arms)
        plan = make_plan(
            name=self.task.name,
            arms=tuple(arms),
            seeds=tuple(seeds),
            task=self.spec,
            model=self.task.settings()["model"],
            train=scaled(self.train, steps or self.train.steps),
            data=self.task.describe(),
            torch_version=torch_version(),
            margin=self.margin,
            command=self.command,
            looks=looks,
            parameters=parameters,
        )
        check_arms(plan, self.task)
        return plan

    def measured(self, arms: Sequence[Recipe], folder: Path) -> Question:
        """Return the question with the precision in which it trains faster on this machine.

        A study that goes on keeps what it has measured, so that all its runs are alike.

        Args:
            arms: The one with the most dropout is timed.
            folder: Of the study, which may have a plan already.
        """
        recorded = read_plan(folder)
        if recorded is not None:
            precision: Precision = recorded.settings["train"]["precision"]
        else:
            precision = measure_precision(self.plan(arms, [0]))
        return self.with_precision(precision)

    def with_precision(self, precision: Precision) -> Question:
        """Return the question for training in that precision."""
        return replace(self, train=replace(self.train, precision=precision))


def scaled(train: TrainConfig, steps: int) -> TrainConfig:
    """Return the settings of a run of that many steps, with warm-up and evaluations in proportion.

    >>> train = scaled(TrainConfig(), 1400)
    >>> train.steps, train.warmup_steps, train.eval_every
    (1400, 70, 50)
    """
    return replace(
        train,
        steps=steps,
        warmup_steps=max(1, steps // WARMUP),
        eval_every=max(1, steps // EVALUATIONS),
    )
