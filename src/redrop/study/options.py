"""The options of a study, for the command and for the call; knows no torch."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from redrop.errors import UsageError
from redrop.tasks.presets import Preset
from redrop.train.config import TrainConfig

if TYPE_CHECKING:
    from redrop.study.conduct import Engine


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Shape of the network; what is left out, the network's own settings decide.

    Args:
        width: Channels of the residual stream.
        layers: Number of blocks.
        heads: Attention heads; they divide the width. Transformers only.
        context: Tokens that the model reads in a row. Text only.
        patch_size: Side of a patch in pixels. Vision transformer only.
        norm: Normalise before each sub-layer (pre) or after the residual add (post). Transformers.
    """

    width: int | None = None
    layers: int | None = None
    heads: int | None = None
    context: int | None = None
    patch_size: int | None = None
    norm: Literal["pre", "post"] | None = None

    def settings(self) -> dict[str, Any]:
        """Return what was given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How the data are read.

    Args:
        tokenizer: char, byte, or bpe:1024 (trained on the training part; needs redrop[bpe]). Text.
        limit: Use at most so many characters of a text, or training samples of images and tables.
        target: Column to predict; by default the last one. Tables.
        predict: Whether the target is one of classes, or a value; by default text and whole numbers
            are classes, and other numbers values. Tables.
        image_size: Side in pixels that images are resized to; by default all have one size already.
    """

    tokenizer: str = "char"
    limit: int | None = None
    target: str | None = None
    predict: Literal["classes", "values"] | None = None
    image_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Which task, and whose model.

    Args:
        task: text, digits, images or table. Left out, a .csv, .tsv or .parquet file is a table, a
            folder mostly of PNG and JPEG files is images, and all else a text. On a text `redrop
            study` then compares none, all-0.1, all-0.2 and attention_weights-0.2 in 4 seeds of 1400
            steps, by default of reference:25000; with --task text it is another study: none,
            attention_weights-0.2, weight_decay-1, label_smoothing-0.1, mask-0.1 and drop_path-0.2
            in 3 seeds of 700 steps, by default of reference:8000.
        model: my_module:build, a function that returns your own torch model; or hf:FOLDER, or
            hf:gpt2:n_layer=2, a causal language model of Hugging Face, on text.
        loss: my_module:loss, from outputs and targets to a mean; by default cross-entropy for
            integer targets and the squared error for others. With a model of your own.
        network: transformer, vision_transformer or mlp; by default the one of the task.
    """

    task: str | None = None
    model: str | None = None
    loss: str | None = None
    network: Literal["transformer", "vision_transformer", "mlp"] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How every run of a study is trained; what is left out, the task decides.

    Args:
        steps: Optimizer steps of each run.
        batch_size: Samples, or windows of text, in a batch.
        learning_rate: At its peak, after the warm-up; by default 0.001, in a map 0.002.
        weight_decay: Of AdamW, on matrices only.
        patience: Stop a run after so many evaluations without a better one; 0 never.
        precision: auto measures which is faster here.
    """

    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float = 0.1
    patience: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def config(self, preset: Preset) -> TrainConfig:
        """Return the settings of a run: those of the preset where nothing else is said."""
        peak = preset.learning_rate if self.learning_rate is None else self.learning_rate
        return TrainConfig(
            steps=preset.steps if self.steps is None else self.steps,
            batch_size=preset.batch_size if self.batch_size is None else self.batch_size,
            learning_rate=peak,
            min_learning_rate=peak / 10,
            weight_decay=self.weight_decay,
            patience=self.patience,
            precision="float32" if self.precision == "auto" else self.precision,
            threads=1,
        )


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where runs are computed.

    Args:
        workers: Runs side by side, one thread each; by default one per core.
        engine: Processes on this machine (local), or tasks of Ray (ray; needs redrop[ray]).
        ray_address: Of a cluster; by default Ray is started on this machine.
    """

    workers: int | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None

    @property
    def side_by_side(self) -> int:
        """Runs side by side on this machine.

        Raises:
            UsageError: Less than one.
        """
        if self.workers is None:
            return len(os.sched_getaffinity(0))
        if self.workers < 1:
            raise UsageError(
                f"`workers` must be at least 1; got {self.workers}. Leave it out for every core."
            )
        return self.workers

    def build(self) -> Engine:
        """Return the engine.

        Raises:
            UsageError: `workers` is less than one, or an address is given for local processes.
        """
        workers = self.side_by_side
        if self.engine == "local":
            if self.ray_address is not None:
                raise UsageError("`--ray-address` is for `--engine ray`. Add it, or leave it out.")
            from redrop.study.engine import run_study

            return partial(run_study, workers=workers)
        from redrop.study.ray_engine import run_study_on_ray

        given = self.workers if self.ray_address else workers
        return partial(run_study_on_ray, address=self.ray_address, workers=given)
