"""The settings of one training run; knows no torch."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from redrop.errors import UsageError
from redrop.regularize.dropout_schedule import parse_dropout_schedule

_AT_LEAST_ONE = ("steps", "batch_size", "eval_every", "eval_tokens")
_AT_LEAST_ZERO = ("warmup_steps", "patience", "checkpoint_every", "threads")
_NOT_NEGATIVE = (
    "min_learning_rate",
    "weight_decay",
    "l2",
    "clip_norm",
    "clip_value",
    "min_delta",
    "entropy_penalty",
    "r_drop",
    "concrete",
)
_BELOW_ONE = ("label_smoothing", "ema")
_WORDS = {
    "precision": ("float32", "bfloat16"),
    "schedule": ("cosine", "linear", "constant"),
    "optimizer": ("adamw", "adam", "sgd"),
}

LATER: Mapping[str, Any] = {"optimizer": "adamw"}
"""Settings that came later, and what was done before: at that value JSON leaves them out, so that
runs keep the id and the record that they had."""


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
        schedule: How the learning rate falls after the warm-up: cosine, linear, or constant.
        optimizer: "adamw", "adam", which is AdamW without decay, or "sgd" with momentum 0.9, which
            needs a learning rate of its own, about a hundred times that of Adam.
        weight_decay: λ of the optimizer's own decay, on matrices and embeddings only. "adamw" takes
            η · λ · w off beside its step (decoupled), "sgd" adds λ · w to the gradient, as it is
            commonly used, so that momentum makes about 10 · η · λ · w of it. "adam" takes 0 only.
        l2: λ of λ/2 · Σ‖w‖² in the loss, on the same parameters; Adam rescales its gradient, which
            is why it differs from `weight_decay`. Under "sgd" the two differ by clipping alone.
        clip_norm: Gradients with a larger global norm are scaled down to it; 0 never.
        clip_value: Each number of a gradient is cut to ± this, before the norm; 0 never.
        label_smoothing: Share of each target that is spread evenly over all classes.
        entropy_penalty: β of loss − β · H(prediction): confident predictions cost.
        r_drop: α of R-Drop: two passes under two masks, and what they disagree costs; 0 is one.
        ema: Decay of an exponential moving average of the weights, which is then what is evaluated
            and kept; 0 is off.
        dropout_schedule: How every p changes over the steps: constant, early-0.2, late-0.5, linear.
        concrete: Weight w of loss − w · Σ H(p) over sites, where each site learns its own p from
            the given one on (concrete dropout); 0 leaves every p as it is.
        eval_every: Steps from one evaluation to the next; the last step is always evaluated.
        eval_tokens: Most targets of each evaluation (tokens, or samples), always the same ones.
        patience: Stop after so many evaluations in a row without a better validation loss; 0 never.
        min_delta: How many nats lower a validation loss must be to count as better.
        precision: "bfloat16" computes under autocast; weights and optimizer stay float32.
        seed: Of initial weights, batches and masks.
        checkpoint_every: Steps from one checkpoint to the next; 0 writes one at the end only.
        threads: For PyTorch's operators; 0 leaves PyTorch's own number.

    Raises:
        UsageError: A number is out of its range or no number, a word is another one, or two
            settings contradict each other.

    >>> TrainConfig(steps=100).batch_size
    24
    """

    steps: int = 2000
    batch_size: int = 24
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    min_learning_rate: float = 1e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float = 0.1
    l2: float = 0.0
    clip_norm: float = 1.0
    clip_value: float = 0.0
    label_smoothing: float = 0.0
    entropy_penalty: float = 0.0
    r_drop: float = 0.0
    ema: float = 0.0
    dropout_schedule: str = "constant"
    concrete: float = 0.0
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
        for name in _BELOW_ONE:
            if _check_real(name, getattr(self, name)) >= 1:
                raise UsageError(f"`{name}` must lie in [0, 1); got {getattr(self, name)}.")
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                expected = " or ".join(f'"{word}"' for word in words)
                raise UsageError(f"`{name}` must be {expected}; got {getattr(self, name)!r}.")
        if not isinstance(self.dropout_schedule, str):
            raise UsageError(
                f"`dropout_schedule` must be a word; got {self.dropout_schedule!r}. Pass "
                '"early-0.2" or "late-0.5".'
            )
        parse_dropout_schedule(self.dropout_schedule)
        if self.optimizer == "adam" and self.weight_decay:
            raise UsageError(
                f"Adam has no decoupled decay; got `weight_decay` {self.weight_decay}. Pass 0 (the "
                'recipe `adam` does), and `l2` for a penalty in the loss; "adamw" has the decay.'
            )
        if self.concrete and self.dropout_schedule != "constant":
            raise UsageError(
                "Rates are learned or follow a schedule, not both; got `concrete` "
                f"{self.concrete} and `dropout_schedule` {self.dropout_schedule!r}."
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, without what came later and is not used (`LATER`).

        >>> "optimizer" in TrainConfig().to_json()
        False
        >>> TrainConfig(optimizer="sgd").to_json()["optimizer"]
        'sgd'
        """
        known = asdict(self).items()
        return {name: value for name, value in known if name not in LATER or value != LATER[name]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the config that `to_json`, or `dataclasses.asdict`, made into plain JSON values.

        Raises:
            UsageError: A field is unknown, or its value is refused.

        >>> TrainConfig.from_json(TrainConfig(steps=7).to_json()).steps
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
