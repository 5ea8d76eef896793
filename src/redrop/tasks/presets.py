"""What `redrop study --task NAME` does if nothing else is said; knows no torch."""

from dataclasses import dataclass

from redrop.errors import UsageError
from redrop.tasks.spec import Kind, Network, TaskSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A study that says something in minutes on two cores.

    Args:
        kind: Of the task.
        source: Of the data.
        network: That reads them.
        arms: Recipes from several families; the first one is the baseline.
        seeds: Runs per arm.
        steps: Enough for the baseline to pass its own minimum.
        batch_size: Samples, or windows of text, in a batch.
        learning_rate: At its peak, after the warm-up.
        limit: Training samples used; None uses all.
    """

    kind: Kind
    source: str
    network: Network
    arms: tuple[str, ...]
    seeds: int
    steps: int
    batch_size: int
    learning_rate: float = 1e-3
    limit: int | None = None


REFERENCE = Preset(
    kind="text",
    source="reference:25000",
    network="transformer",
    arms=("none", "all-0.1", "all-0.2", "attention_weights-0.2"),
    seeds=4,
    steps=1400,
    batch_size=24,
)
"""Where dropout acts and how strong, on English text: what `redrop study` does by itself."""

MAP = Preset(
    kind="text",
    source="markov",
    network="transformer",
    arms=("none", "all-0.1", "all-0.2"),
    seeds=5,
    steps=1000,
    batch_size=32,
    learning_rate=2e-3,
)
"""Of `redrop map`: a million tokens read by each run, from 4,000 different ones to a million."""

PRESETS = {
    "text": Preset(
        kind="text",
        source="reference:8000",
        network="transformer",
        arms=(
            "none",
            "attention_weights-0.2",
            "weight_decay-1",
            "label_smoothing-0.1",
            "mask-0.1",
            "drop_path-0.2",
        ),
        seeds=3,
        steps=700,
        batch_size=24,
    ),
    "digits": Preset(
        kind="images",
        source="digits",
        network="vision_transformer",
        arms=(
            "none",
            "all-0.1",
            "drop_path-0.2",
            "weight_decay-1",
            "label_smoothing-0.1",
            "mixup-0.2",
            "cutmix-1",
            "ema-0.99",
        ),
        seeds=4,
        steps=400,
        batch_size=64,
        limit=300,
    ),
    "table": Preset(
        kind="table",
        source="breast_cancer",
        network="mlp",
        arms=(
            "modern",
            "old",
            "modern+all-0.2",
            "modern+weight_decay-1",
            "modern+label_smoothing-0.1",
            "modern+mixup-0.2",
            "modern+r_drop-1+all-0.2",
            "modern+early-stopping",
        ),
        seeds=8,
        steps=300,
        batch_size=32,
    ),
}

OWN_MODEL_ARMS = ("none", "as-is", "all-0.1", "all-0.2")
"""For a model of the user's: without dropout, with its own rates, and the same rate everywhere."""

_KINDS = {"images": "digits"}


def preset(task: str | None) -> Preset:
    """Return the preset of a task; None is the reference study.

    Raises:
        UsageError: There is no such task.
    """
    if task is None:
        return REFERENCE
    try:
        return PRESETS[_KINDS.get(task, task)]
    except KeyError:
        known = ", ".join([*PRESETS, *_KINDS])
        raise UsageError(f"`task` must be one of {known}; got {task!r}.") from None


FACTORS = {
    "text": (
        "attention_weights-0.1",
        "feed_forward_residual-0.1",
        "embedding-0.1",
        "weight_decay-1",
        "attention_residual-0.1",
        "feed_forward_hidden-0.1",
        "drop_path-0.1",
        "label_smoothing-0.1",
    ),
    "images": (
        "feed_forward_residual-0.1",
        "weight_decay-1",
        "mixup-0.2",
        "attention_weights-0.1",
        "embedding-0.1",
        "crop-1",
        "drop_path-0.1",
        "label_smoothing-0.1",
    ),
    "table": (
        "feed_forward_hidden-0.1",
        "weight_decay-1",
        "mixup-0.2",
        "feed_forward_residual-0.1",
        "ema-0.99",
    ),
    "module": ("all-0.1", "weight_decay-1", "label_smoothing-0.1", "ema-0.99"),
}
"""What a budgeted study screens, the most promising first: a small budget takes the first four."""

FOR_CLASSES = {"label_smoothing-0.1", "r_drop-1"}
"""Words of presets that make no sense where values are predicted."""


def factors_of(spec: TaskSpec, *, is_classification: bool = True) -> tuple[str, ...]:
    """Return what a budgeted study of a task tries if nothing else is said."""
    factors = FACTORS["module" if spec.network == "module" else spec.kind]
    return tuple(each for each in factors if is_classification or each not in FOR_CLASSES)
