"""From the options of a command to a task; loads torch only when the data are read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redrop.cli.options import DataOptions, ModelOptions, TaskOptions, TrainOptions
from redrop.errors import UsageError
from redrop.study.budget import parse_budget
from redrop.study.stage import ProtocolSettings
from redrop.tasks.presets import FOR_CLASSES, OWN_MODEL_ARMS, Preset, factors_of, preset
from redrop.tasks.spec import Kind, TaskSpec
from redrop.train.recipe import Recipe

if TYPE_CHECKING:
    from redrop.study.question import Question
    from redrop.tasks.load import AnyTask

_TABLES = (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What a command is to train on: the preset, the spec, and the task without any recipe."""

    preset: Preset
    spec: TaskSpec
    task: AnyTask

    @property
    def model(self) -> dict[str, Any]:
        """The complete settings of the network."""
        settings: dict[str, Any] = self.task.settings()["model"]
        return settings

    @property
    def arms(self) -> tuple[str, ...]:
        """What a study compares if nothing else is said; values have no labels to smooth."""
        if self.task.is_classification:
            return self.preset.arms
        return tuple(arm for arm in self.preset.arms if not set(arm.split("+")) & FOR_CLASSES)

    @property
    def factors(self) -> tuple[str, ...]:
        """What a budgeted study tries if nothing else is said."""
        return factors_of(self.spec, is_classification=self.task.is_classification)

    def question(self, train: TrainOptions, margin: float, command: str) -> Question:
        """Return what is asked of the task; loads torch.

        Args:
            train: How every run is trained.
            margin: Smallest difference in loss that matters.
            command: That repeats it.
        """
        from redrop.study.question import Question

        return Question(
            spec=self.spec,
            task=self.task,
            train=train.config(self.preset.steps, self.preset.batch_size),
            margin=margin,
            command=command,
        )

    def protocol(
        self,
        question: Question,
        budget: str,
        factors: Iterable[Recipe],
        steps: int | None,
        workers: int,
    ) -> ProtocolSettings:
        """Return the settings of a study with a budget.

        Args:
            question: What is asked.
            budget: As it was typed.
            factors: What is tried, the most promising first.
            steps: Of every run, if they are given.
            workers: Runs side by side.

        Raises:
            UsageError: The budget is none, or two factors have one name.
        """
        train = question.train
        is_text = self.spec.kind == "text"
        return ProtocolSettings(
            budget=parse_budget(budget),
            factors=tuple(factors),
            margin=question.margin,
            first_steps=max(1, self.preset.steps // 4),
            steps=steps,
            tokens_per_step=train.batch_size * int(self.model["context"]) if is_text else None,
            workers=workers,
            baseline_seeds=min(2, workers),
        )


def choose_task(
    data: str | None,
    wanted: TaskOptions,
    shape: ModelOptions,
    options: DataOptions,
    defaults: Preset | None = None,
) -> Chosen:
    """Return what the options of a command ask for, with its data read.

    Args:
        data: Name or path of the data, or `module:function` of a user's loaders.
        wanted: Which task, and whose model.
        shape: Of the network.
        options: How the data are read.
        defaults: What the command does if nothing else is said; by default the task's preset.

    Raises:
        UsageError: The options contradict each other, or the data cannot be read.
    """
    task, builder, network = wanted.task, wanted.builder, wanted.network
    if task is None and data is not None and Path(data).suffix.lower() in _TABLES:
        task = "table"
    defaults = defaults or preset(task)
    is_text_model = builder is not None and builder.startswith("hf:")
    kind: Kind = "module" if builder is not None and not is_text_model else defaults.kind
    if builder is not None and network is not None:
        raise UsageError("`--network` names a reference network; `--model` brings your own.")
    if is_text_model and kind != "text":
        raise UsageError(f"A causal language model reads text; the task is {kind}.")
    if kind == "module" and data is None:
        raise UsageError(
            "`--model my_module:build` needs its data: `--data my_module:loaders`, a function that "
            "returns the training, validation and test loaders."
        )
    spec = TaskSpec(
        kind=kind,
        source=data or defaults.source,
        network="module" if builder is not None else network or defaults.network,
        tokenizer=options.tokenizer,
        limit=options.limit if data or options.limit else defaults.limit,
        target=options.target,
        model=builder,
        loss=wanted.loss,
    )
    from redrop.tasks.load import load_task

    loaded = load_task(spec, shape.settings())
    if builder is not None:  # a user's own loader says how large a batch is
        size = getattr(loaded, "batch_size", None) or defaults.batch_size
        defaults = replace(defaults, arms=OWN_MODEL_ARMS, batch_size=size)
    return Chosen(preset=defaults, spec=spec, task=loaded)
