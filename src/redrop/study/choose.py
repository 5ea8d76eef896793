"""From the options of a study to its task; loads torch only when the data are read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redrop.errors import UsageError
from redrop.study.budget import parse_budget
from redrop.study.options import DataOptions, ModelOptions, TaskOptions, TrainOptions
from redrop.study.stage import ProtocolSettings
from redrop.tasks.presets import FOR_CLASSES, OWN_MODEL_ARMS, Preset, factors_of, preset
from redrop.tasks.spec import Kind, TaskSpec
from redrop.train.recipe import Recipe

if TYPE_CHECKING:
    from redrop.study.question import Question
    from redrop.tasks.load import AnyTask

TABLES = (".csv", ".tsv", ".parquet")
IMAGES = (".jpeg", ".jpg", ".png")
"""Endings by which data are known, here too because `redrop.data` loads torch."""
_WORDS_OF_TEXT = ("markov", "reference")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What is to be trained on: the preset, the spec, and the task without any recipe."""

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

        Raises:
            UsageError: The margin is negative or not finite, or a setting of training is refused.
        """
        from redrop.study.question import Question

        if not 0 <= margin < math.inf:
            raise UsageError(
                "`margin` is the smallest difference in loss that matters to you, 0 or more; got "
                f"{margin:g}. Leave it out if you do not know."
            )
        return Question(
            spec=self.spec,
            task=self.task,
            train=train.config(self.preset),
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


def task_of(data: str | None) -> str | None:
    """Return the task that data name by what they are; None is a text, or no data.

    A table is known by its ending, a folder of images by its files, down to those of its
    subfolders: most of them are images.

    Args:
        data: Name or path of the data.

    >>> task_of("prices.csv"), task_of("reference:25000")
    ('table', None)
    """
    if data is None:
        return None
    path = Path(data)
    if path.suffix.lower() in TABLES:
        return "table"
    if not path.is_dir():
        return None
    files = [file for entry in _entries(path) for file in _entries(entry) or [entry]]
    images = sum(file.suffix.lower() in IMAGES for file in files)
    return "images" if 2 * images > len(files) else None


def _check_options(kind: Kind, options: DataOptions) -> None:
    """Refuse what would be passed over without a word."""
    needs = {"target": "table", "predict": "table", "image_size": "images"}
    for name, needed in needs.items():
        if getattr(options, name) is not None and kind != needed:
            raise UsageError(
                f"`--{name.replace('_', '-')}` is for a task of {needed}; got it with {kind}. "
                f"Leave it out, or name the task: `--task {needed}`."
            )


def _entries(folder: Path) -> list[Path]:
    """Return what a folder holds that is not hidden; nothing of a file, or of a locked folder."""
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError:  # whoever reads the data says what is wrong with it
        return []


def _names_function(data: str) -> bool:
    """Say whether data are written as `module:function`, and are no file and no built-in text."""
    module, colon, function = data.partition(":")
    is_name = module.removesuffix(".py").replace("/", ".").replace(".", "_").isidentifier()
    is_ours = module in _WORDS_OF_TEXT or Path(data).exists()
    return bool(colon) and is_name and function.replace(".", "_").isidentifier() and not is_ours


def choose_task(
    data: str | None,
    wanted: TaskOptions,
    shape: ModelOptions,
    options: DataOptions,
    defaults: Preset | None = None,
) -> Chosen:
    """Return what the options ask for, with its data read.

    Args:
        data: Name or path of the data, or `module:function` of a user's loaders.
        wanted: Which task, and whose model.
        shape: Of the network.
        options: How the data are read.
        defaults: What is done if nothing else is said; by default the task's preset.

    Raises:
        UsageError: The options contradict each other, or the data cannot be read.
    """
    task, builder, network = wanted.task, wanted.model, wanted.network
    task = task or task_of(data)
    defaults = defaults or preset(task)
    if builder is None and data is not None and _names_function(data):
        raise UsageError(
            f"`{data}` names a function of yours, which needs a model of yours: `--model "
            "my_module:build --data my_module:loaders`, in Python `model=build`; got no model."
        )
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
    _check_options(kind, options)
    spec = TaskSpec(
        kind=kind,
        source=data or defaults.source,
        network="module" if builder is not None else network or defaults.network,
        tokenizer=options.tokenizer,
        limit=options.limit if data or options.limit else defaults.limit,
        target=options.target,
        predict=options.predict,
        image_size=options.image_size,
        model=builder,
        loss=wanted.loss,
    )
    from redrop.tasks.load import load_task

    loaded = load_task(spec, shape.settings())
    if builder is not None:  # a user's own loader says how large a batch is
        size = getattr(loaded, "batch_size", None) or defaults.batch_size
        defaults = replace(defaults, arms=OWN_MODEL_ARMS, batch_size=size)
    return Chosen(preset=defaults, spec=spec, task=loaded)
