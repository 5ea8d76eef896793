"""The settings of one training run; knows no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from redrop.errors import UsageError

_AT_LEAST_ONE = ("steps", "batch_size", "eval_every", "eval_tokens")
_AT_LEAST_ZERO = ("warmup_steps", "patience", "checkpoint_every", "threads")
_NOT_NEGATIVE = ("min_learning_rate", "weight_decay", "clip_norm", "min_delta")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a model is trained.

    Args:
        steps: Optimizer steps of the whole run.
        batch_size: Sequences in a batch.
        learning_rate: Peak of the schedule, reached at the end of the warm-up.
        warmup_steps: Steps over which the learning rate rises linearly from near 0.
            A run shorter than this never reaches the peak.
        min_learning_rate: Where the cosine ends, at the last step.
        weight_decay: Decoupled decay of AdamW, on matrices and embeddings only.
        clip_norm: Gradients with a larger global norm are scaled down to it; 0 never.
        eval_every: Steps from one evaluation to the next; the last step is always evaluated.
        eval_tokens: Most tokens of each evaluation, in windows that never change.
        patience: Stop after so many evaluations in a row without a better validation loss; 0 never.
        min_delta: How many nats lower a validation loss must be to count as better.
        precision: "bfloat16" computes under autocast; weights and optimizer stay float32.
        seed: Of initial weights, batches and masks.
        checkpoint_every: Steps from one checkpoint to the next; 0 writes one at the end only.
        threads: For PyTorch's operators; 0 leaves PyTorch's own number.

    Raises:
        UsageError: A number is out of its range or no number, or `precision` is another word.

    >>> TrainConfig(steps=100).batch_size
    24
    """

    steps: int = 2000
    batch_size: int = 24
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    min_learning_rate: float = 1e-4
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    eval_every: int = 100
    eval_tokens: int = 8192
    patience: int = 0
    min_delta: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    checkpoint_every: int = 200
    threads: int = 0

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            _check_integer(name, getattr(self, name), 1)
        for name in _AT_LEAST_ZERO:
            _check_integer(name, getattr(self, name), 0)
        for name in _NOT_NEGATIVE:
            _check_real(name, getattr(self, name))
        if _check_real("learning_rate", self.learning_rate) == 0:
            raise UsageError("`learning_rate` must be positive; got 0. Pass 1e-3.")
        _check_integer("seed", self.seed, 0)
        if self.seed >= 2**63:
            # torch's generators take 64 bits, but only as a signed integer
            raise UsageError(f"`seed` must lie in [0, 2^63); got {self.seed}.")
        if self.steps >= 2**32:
            raise UsageError(
                f"`steps` must lie below 2^32, the steps a mask knows; got {self.steps}."
            )
        if self.min_learning_rate > self.learning_rate:
            raise UsageError(
                "`min_learning_rate` must not exceed `learning_rate`; got "
                f"{self.min_learning_rate} and {self.learning_rate}."
            )
        if self.precision not in ("float32", "bfloat16"):
            raise UsageError(
                f'`precision` must be "float32" or "bfloat16"; got {self.precision!r}.'
            )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the config that `dataclasses.asdict` made into plain JSON values.

        Raises:
            UsageError: A field is unknown, or its value is refused.

        >>> from dataclasses import asdict
        >>> TrainConfig.from_json(asdict(TrainConfig(steps=7))).steps
        7
        """
        try:
            return cls(**stored)
        except TypeError as error:
            raise UsageError(
                f"A stored train config must have the fields of TrainConfig; {error}. "
                "Was it written by another version?"
            ) from error


def _check_integer(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"`{name}` must be an integer of at least {least}; got {value!r}.")


def _check_real(name: str, value: object) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:  # type: ignore[operator]
        raise UsageError(f"`{name}` must be a finite number of at least 0; got {value!r}.")
    return value  # type: ignore[return-value]
