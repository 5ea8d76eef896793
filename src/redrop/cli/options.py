"""Options that several commands share; knows no torch."""

import re
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from redrop.train.config import TrainConfig


@Parameter(name="*")
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


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How the data are read.

    Args:
        tokenizer: char, byte, or bpe:1024 (trained on the training part; needs redrop[bpe]). Text.
        limit: Use at most so many characters of a text, or training samples of images and tables.
        target: Column to predict; by default the last one. Tables.
    """

    tokenizer: str = "char"
    limit: int | None = None
    target: str | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Which task, and whose model.

    Args:
        task: text, digits, images or table; by default text.
        builder: my_module:build, a function that returns your own torch model; or hf:FOLDER, or
            hf:gpt2:n_layer=2, a causal language model of Hugging Face, on text.
        loss: my_module:loss, from outputs and targets to a mean; by default cross-entropy for
            integer targets and the squared error for others. With --model.
        network: transformer, vision_transformer or mlp; by default the one of the task.
    """

    task: str | None = None
    builder: Annotated[str | None, Parameter(name="--model")] = None
    loss: str | None = None
    network: Literal["transformer", "vision_transformer", "mlp"] | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How every run of a study is trained; what is left out, the task decides.

    Args:
        steps: Optimizer steps of each run.
        batch_size: Samples, or windows of text, in a batch.
        learning_rate: At its peak, after the warm-up.
        weight_decay: Of AdamW, on matrices only.
        patience: Stop a run after so many evaluations without a better one; 0 never.
        precision: auto measures which is faster here.
    """

    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    patience: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def config(self, steps: int, batch_size: int) -> TrainConfig:
        """Return the settings of a run.

        Args:
            steps: If none were given.
            batch_size: If none was given.
        """
        return TrainConfig(
            steps=steps if self.steps is None else self.steps,
            batch_size=batch_size if self.batch_size is None else self.batch_size,
            learning_rate=self.learning_rate,
            min_learning_rate=self.learning_rate / 10,
            weight_decay=self.weight_decay,
            patience=self.patience,
            precision="float32" if self.precision == "auto" else self.precision,
            threads=1,
        )


Json = Annotated[bool, Parameter(name="--json", negative=())]
"""Print one JSON document on standard output instead of text."""


def typed_command() -> str:
    """Return the command as it was typed: what repeats it."""
    return shlex.join(["redrop", *sys.argv[1:]])


def folder_name(corpus: str) -> str:
    """Return the name of a corpus as a part of a folder's name.

    >>> folder_name("my notes.txt"), folder_name("markov:16000")
    ('my-notes', 'markov-16000')
    """
    return re.sub(r"[^\w.-]+", "-", Path(corpus).stem).strip("-") or "text"
