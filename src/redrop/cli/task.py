"""From the options of a command to a task; loads torch only when the data are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redrop.cli.options import DataOptions, ModelOptions, TaskOptions
from redrop.errors import UsageError
from redrop.tasks.presets import FOR_CLASSES, OWN_MODEL_ARMS, Preset, factors_of, preset
from redrop.tasks.spec import Kind, TaskSpec

if TYPE_CHECKING:
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

    def tokens_per_step(self, batch_size: int) -> int | None:
        """Return the tokens of a batch; None where the data are no text."""
        return batch_size * int(self.model["context"]) if self.spec.kind == "text" else None


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
